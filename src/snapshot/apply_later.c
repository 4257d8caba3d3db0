#include "base/limits.h"
#include "base/mem.h"
#include "snapshot/apply_impl.h"
#include "sys/copy.h"
#include "sys/fd.h"
#include "sys/inroot.h"

#include <errno.h>
#include <unistd.h>

void apply_later_fini(struct apply_later *l)
{
	vec_fini(&l->implied);
	vec_fini(&l->links);
	arena_fini(&l->arena);
}

struct err *apply_fix_dir(int rootfd, int lower_fd, struct str path)
{
	const struct copy_opts o = { 0 };
	CLEANUP_FD int to = -1;
	CLEANUP_FD int from = -1;
	struct err *e = inroot_open(rootfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &to);

	/* Replaced by a later entry; or nothing, or no directory, below: then the layer's own
	 * defaults stay. */
	if (!e)
		e = inroot_open(lower_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &from);
	if (e) {
		int errnum = err_get_errno(e);

		if (errnum != ENOENT && errnum != ENOTDIR && errnum != ELOOP)
			return e;
		err_free(e);
		return NULL;
	}
	return copy_dir_meta(from, to, &o);
}

struct made {
	VEC(char *) paths;
};

static void note(void *arg, struct str path)
{
	struct made *m = arg;

	vec_push(&m->paths, mem_strndup(path.ptr, path.len));
}

/* The directories above a path, as they are below. */
static struct err *make_dirs(int rootfd, int lower_fd, struct str dir)
{
	struct made m = { 0 };
	const struct inroot_mkdirs_opts o = {
		.mode = 0755, .uid = (uid_t)-1, .gid = (gid_t)-1, .created = note, .arg = &m
	};
	struct err *e = inroot_mkdirs(rootfd, dir, &o, NULL);

	vec_each (&m.paths, p) {
		if (!e)
			e = apply_fix_dir(rootfd, lower_fd, str_from(*p));
		free(*p);
	}
	vec_fini(&m.paths);
	return e;
}

struct err *apply_copy_up(int rootfd, int lower_fd, struct str path)
{
	const struct copy_opts o = { .flags = COPY_REPLACE };
	ptrdiff_t slash = str_rfind(path, '/');
	CLEANUP_FD int from = -1;
	CLEANUP_FD int to = -1;
	const char *base, *same;
	SCOPED_ARENA(a);
	struct stat st;

	TRY(inroot_parent(lower_fd, path, &a, &from, &base));
	if (fstatat(from, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(errno, "link to %.*s", STR_ARG(path));
	if (S_ISDIR(st.st_mode))
		return err_errno(EPERM, "link to %.*s", STR_ARG(path));
	if (slash > 0)
		TRY(make_dirs(rootfd, lower_fd, str_sub(path, 0, (size_t)slash)));
	TRY(inroot_parent(rootfd, path, &a, &to, &same));
	if (strcmp(base, same) != 0)
		return err_errno(ENOENT, "link to %.*s", STR_ARG(path));
	return copy_entry(from, base, to, base, &o);
}

static struct err *fix_link(int rootfd, int lower_fd, const struct later_link *l)
{
	CLEANUP_FD int from = -1;
	CLEANUP_FD int to = -1;
	const char *source, *name;
	SCOPED_ARENA(a);
	struct stat st;
	struct err *e;

	TRY(inroot_parent(rootfd, l->path, &a, &to, &name));
	/* A later entry took the name. */
	if (fstatat(to, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return NULL;
	e = inroot_stat(rootfd, l->target, false, &st);
	if (e) {
		err_free(e);
		TRY(apply_copy_up(rootfd, lower_fd, l->target));
	}
	TRY(inroot_parent(rootfd, l->target, &a, &from, &source));
	if (linkat(from, source, to, name, 0) < 0)
		return err_errno(errno, "link to %.*s", STR_ARG(l->target));
	return NULL;
}

struct err *apply_fix(int rootfd, int lower_fd, struct apply_later *l)
{
	vec_each (&l->links, it)
		TRYW(fix_link(rootfd, lower_fd, it), "failed to extract %.*s", STR_ARG(it->path));
	vec_each (&l->implied, it)
		TRY(apply_fix_dir(rootfd, lower_fd, *it));
	return NULL;
}
