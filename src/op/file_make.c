/* mkdir, mkfile, symlink, rm, and the helpers they share with copy. */
#include "base/glob.h"
#include "base/id.h"
#include "base/path.h"
#include "base/vec.h"
#include "op/file.h"
#include "sys/fd.h"
#include "sys/inroot.h"
#include "sys/rmtree.h"
#include "sys/walk.h"

#define WILDCARD_MATCHES_MAX 1000000

/* ---- owner, times ---- */

static struct err *set_times(int dirfd, const char *name, int64_t timestamp)
{
	struct timespec ts[2];

	if (timestamp == -1)
		return NULL;
	ts[0] = ts[1] = clock_to_timespec(timestamp);
	if (utimensat(dirfd, name, ts, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(errno, "failed to set times of %s", name);
	return NULL;
}

struct err *file_set_meta(int dirfd, const char *name, const struct file_owner *o,
			  int64_t timestamp)
{
	if (o->set && fchownat(dirfd, name, o->uid, o->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(errno, "failed to chown %s", name);
	return set_times(dirfd, name, timestamp);
}

static void note_made(void *arg, struct str path)
{
	struct file_made_dirs *m = arg;

	if (m->n == m->cap) {
		struct str *more = ARENA_NEW_N(m->arena, struct str, m->cap * 2 + 8);

		if (m->n)
			memcpy(more, m->paths, m->n * sizeof(*more));
		m->paths = more;
		m->cap = m->cap * 2 + 8;
	}
	m->paths[m->n++] = str_dup(m->arena, path);
}

struct err *file_make_dirs(int root, struct str path, mode_t mode, const struct file_owner *o,
			   int64_t timestamp, struct file_made_dirs *made, int *ret_fd)
{
	struct inroot_mkdirs_opts opts = {
		.mode = mode,
		.uid = o->set ? o->uid : (uid_t)-1,
		.gid = o->set ? o->gid : (gid_t)-1,
		.set_mtime = timestamp != -1,
		.mtime_ns = timestamp,
		.created = made ? note_made : NULL,
		.arg = made,
	};

	return inroot_mkdirs(root, path, &opts, ret_fd);
}

struct err *file_fix_times(int root, const struct file_made_dirs *made, int64_t timestamp)
{
	for (size_t i = made->n; timestamp != -1 && i-- > 0;) {
		CLEANUP_FD int fd = -1;

		TRY(inroot_open(root, made->paths[i], O_RDONLY | O_DIRECTORY, 0, &fd));
		TRY(set_times(fd, ".", timestamp));
	}
	return NULL;
}

/* ---- paths ---- */

struct str file_clean_path(struct arena *a, struct str path)
{
	struct str clean = path_join(a, STR("/"), path);
	bool is_root = str_eq(clean, STR("/"));

	if (str_has_suffix(path, STR("/.")))
		return str_from(arena_printf(a, "%.*s%s.", STR_ARG(clean), is_root ? "" : "/"));
	if (str_has_suffix(path, STR("/")) && !is_root)
		return str_from(arena_printf(a, "%.*s/", STR_ARG(clean)));
	return clean;
}

struct wild {
	struct arena *arena;
	VEC(struct str) found;
};

/* rest: components still to match, below dirfd whose path is prefix. */
static struct err *match_below(struct wild *w, int dirfd, struct str prefix, struct str rest)
{
	struct str pattern, deeper = STR_NONE;
	bool last = !str_cut(rest, '/', &pattern, &deeper);
	struct walk_names names;
	struct err *e = NULL;

	TRY(walk_read_names(dirfd, true, &names));
	for (size_t i = 0; i < names.n && !e; i++) {
		CLEANUP_FD int sub = -1;
		struct str path;
		bool ok;

		e = glob_match(pattern, str_from(names.items[i].name), &ok);
		if (e || !ok)
			continue;
		path = str_from(
			arena_printf(w->arena, "%.*s/%s", STR_ARG(prefix), names.items[i].name));
		if (last) {
			if (w->found.len >= WILDCARD_MATCHES_MAX)
				e = err_new(ERR_RESOURCE_EXHAUSTED, "too many matches of %.*s",
					    STR_ARG(rest));
			vec_push(&w->found, path);
			continue;
		}
		sub = openat(dirfd, names.items[i].name,
			     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0)
			e = match_below(w, sub, path, deeper);
	}
	walk_names_fini(&names);
	return e;
}

struct err *file_wildcards(int root, struct str pattern, struct arena *a, struct str **ret,
			   size_t *ret_n)
{
	struct str base = STR(""), rest = str_trim_prefix(pattern, STR("/"));
	struct wild w = { .arena = a };
	CLEANUP_FD int fd = -1;
	struct err *e;

	while (rest.len) {
		struct str part, after;
		bool more = str_cut(rest, '/', &part, &after);

		if (glob_has_meta(part))
			break;
		base = str_from(arena_printf(a, "%.*s/%.*s", STR_ARG(base), STR_ARG(part)));
		rest = more ? after : STR_NONE;
	}
	rest = str_trim_suffix(rest, STR("/"));
	if (!rest.len) {
		*ret = arena_dup(a, &pattern, sizeof(pattern));
		*ret_n = 1;
		return NULL;
	}
	e = inroot_open(root, base, O_RDONLY | O_DIRECTORY, 0, &fd);
	if (err_is(e, ERR_NOT_FOUND) || err_get_errno(e) == ENOTDIR)
		err_free(e);
	else if (e)
		return e;
	else
		e = match_below(&w, fd, base, rest);
	*ret = ARENA_NEW_N(a, struct str, w.found.len + 1);
	*ret_n = w.found.len;
	for (size_t i = 0; i < w.found.len; i++)
		(*ret)[i] = w.found.items[i];
	vec_fini(&w.found);
	return fd >= 0 ? e : NULL;
}

/* ---- actions ---- */

struct err *file_mkdir(int root, const Pb__FileActionMkDir *m, const struct file_owner *o)
{
	mode_t mode = (mode_t)m->mode & 0777;
	CLEANUP_FD int dirfd = -1;
	const char *base;
	SCOPED_ARENA(a);
	struct str path = path_join(&a, STR("/"), str_from(m->path));

	if (m->makeparents)
		return file_make_dirs(root, path, mode, o, m->timestamp, NULL, NULL);
	if (str_eq(path, STR("/")))
		return NULL;
	TRY(inroot_resolve(root, path, true, &a, &path));
	if (str_eq(path, STR("/")))
		return NULL;
	TRY(inroot_parent(root, path, &a, &dirfd, &base));
	if (mkdirat(dirfd, base, mode) < 0) {
		if (errno == EEXIST)
			return NULL;
		return err_errno(errno, "mkdir %s", m->path);
	}
	if (fchmodat(dirfd, base, mode, 0) < 0)
		return err_errno(errno, "chmod %s", m->path);
	return file_set_meta(dirfd, base, o, m->timestamp);
}

static struct err *fill_file(int fd, const Pb__FileActionMkFile *m, const struct file_owner *o)
{
	struct timespec ts[2];

	TRY(fd_write_all(fd, m->data.data, m->data.len));
	if (fchmod(fd, (mode_t)m->mode & 0777) < 0)
		return err_errno(errno, "chmod %s", m->path);
	if (o->set && fchown(fd, o->uid, o->gid) < 0)
		return err_errno(errno, "failed to chown %s", m->path);
	ts[0] = ts[1] = clock_to_timespec(m->timestamp);
	if (m->timestamp != -1 && futimens(fd, ts) < 0)
		return err_errno(errno, "failed to set times of %s", m->path);
	return NULL;
}

/* Beside what is there and then in its place: what is there may be a device or a pipe, and is never
 * opened. */
static struct err *replace_file(int dirfd, const char *base, const Pb__FileActionMkFile *m,
				const struct file_owner *o)
{
	char tmp[ID_LEN + 8], id[ID_LEN + 1];
	CLEANUP_FD int fd = -1;
	struct err *e;

	id_make(id);
	(void)snprintf(tmp, sizeof(tmp), ".tmp-%s", id);
	TRY(fd_open(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, &fd));
	e = fill_file(fd, m, o);
	if (!e && renameat(dirfd, tmp, dirfd, base) < 0)
		e = err_errno(errno, "rename %s", m->path);
	if (e)
		(void)unlinkat(dirfd, tmp, 0);
	return e;
}

/* Through symlinks, also those that lead nowhere yet. */
struct err *file_mkfile(int root, const Pb__FileActionMkFile *m, const struct file_owner *o)
{
	CLEANUP_FD int fd = -1;
	CLEANUP_FD int dirfd = -1;
	const char *base;
	SCOPED_ARENA(a);
	struct str path = path_join(&a, STR("/"), str_from(m->path));
	struct err *e = inroot_open(root, path, O_WRONLY | O_CREAT | O_EXCL, 0600, &fd);

	if (!e)
		return fill_file(fd, m, o);
	if (err_get_errno(e) != EEXIST)
		return e;
	err_free(e);
	if (!str_eq(path, STR("/")))
		TRY(inroot_resolve(root, path, true, &a, &path));
	if (str_eq(path, STR("/")))
		return err_errno(EISDIR, "mkfile %s", m->path);
	TRY(inroot_parent(root, path, &a, &dirfd, &base));
	return replace_file(dirfd, base, m, o);
}

struct err *file_symlink(int root, const Pb__FileActionSymlink *m, const struct file_owner *o)
{
	CLEANUP_FD int dirfd = -1;
	const char *base;
	SCOPED_ARENA(a);
	struct str path = path_join(&a, STR("/"), str_from(m->newpath));

	/* Where a link of that name leads. */
	if (!str_eq(path, STR("/")))
		TRY(inroot_resolve(root, path, true, &a, &path));
	if (str_eq(path, STR("/")))
		return err_errno(EEXIST, "symlink %s %s", m->oldpath, m->newpath);
	TRY(inroot_parent(root, path, &a, &dirfd, &base));
	if (symlinkat(m->oldpath, dirfd, base) < 0)
		return err_errno(errno, "symlink %s %s", m->oldpath, m->newpath);
	return file_set_meta(dirfd, base, o, m->timestamp);
}

static struct err *rm_path(int root, struct str path, bool allow_missing)
{
	CLEANUP_FD int dirfd = -1;
	const char *base;
	struct stat st;
	struct err *e;
	SCOPED_ARENA(a);
	struct str clean = path_join(&a, STR("/"), path);

	if (str_eq(clean, STR("/")))
		return err_new(ERR_INVALID_ARGUMENT, "rmPath: invalid empty path");
	e = inroot_parent(root, clean, &a, &dirfd, &base);
	if (e) {
		if (!allow_missing || (!err_is(e, ERR_NOT_FOUND) && err_get_errno(e) != ENOTDIR))
			return e;
		err_free(e);
		return NULL;
	}
	if (!allow_missing && fstatat(dirfd, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(errno, "stat %.*s", STR_ARG(clean));
	return rmtree(dirfd, base);
}

struct err *file_rm(int root, const Pb__FileActionRm *m)
{
	struct str *found;
	size_t n;
	SCOPED_ARENA(a);

	if (!m->allowwildcard)
		return rm_path(root, str_from(m->path), m->allownotfound);
	TRY(file_wildcards(root, file_clean_path(&a, str_from(m->path)), &a, &found, &n));
	for (size_t i = 0; i < n; i++)
		TRY(rm_path(root, found[i], m->allownotfound));
	return NULL;
}
