#include "exec/stubs.h"

#include "base/path.h"
#include "sys/fd.h"
#include "sys/inroot.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static void add(struct stubs *s, struct str path, struct arena *a)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 16;
		struct str *p = ARENA_NEW_N(a, struct str, cap);

		for (size_t i = 0; i < s->n; i++)
			p[i] = s->paths[i];
		s->paths = p;
		s->cap = cap;
	}
	s->paths[s->n++] = path;
}

static bool is_missing(int rootfd, struct str path)
{
	struct stat st;
	struct err *e = inroot_stat(rootfd, path, false, &st);
	bool missing = err_get_errno(e) == ENOENT || err_get_errno(e) == ENOTDIR;

	err_free(e);
	return missing;
}

void stubs_note(struct stubs *s, int rootfd, struct str path, bool recursive, struct arena *a)
{
	struct str real;
	struct err *e = inroot_resolve(rootfd, path, true, a, &real);

	if (e) {
		err_free(e);
		return;
	}
	while (real.len > 1 && is_missing(rootfd, real)) {
		add(s, real, a);
		if (!recursive)
			return;
		real = path_dir(a, real);
	}
}

/* Empty and where it was noted: no symlink took the place of a parent meanwhile. */
static void remove_one(int rootfd, struct str path)
{
	SCOPED_ARENA(a);
	CLEANUP_FD int dir = -1;
	const char *base;
	struct str now;
	struct stat st, parent;
	struct err *e = inroot_resolve(rootfd, path, false, &a, &now);

	if (!e && !str_eq(now, path))
		return;
	if (!e)
		e = inroot_parent(rootfd, path, &a, &dir, &base);
	if (e) {
		err_free(e);
		return;
	}
	if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) < 0 || fstat(dir, &parent) < 0)
		return;
	if (S_ISDIR(st.st_mode)) {
		/* Only an empty one goes. */
		if (unlinkat(dir, base, AT_REMOVEDIR) < 0)
			return;
	} else if (!S_ISREG(st.st_mode) || st.st_size || unlinkat(dir, base, 0) < 0) {
		return;
	}
	(void)utimensat(dir, ".", (struct timespec[2]) { parent.st_atim, parent.st_mtim }, 0);
}

void stubs_remove(const struct stubs *s, int rootfd)
{
	for (size_t i = 0; i < s->n; i++)
		remove_one(rootfd, s->paths[i]);
}
