#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/path.h"
#include "snapshot/apply_impl.h"
#include "snapshot/changes.h"
#include "snapshot/link.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/inroot.h"
#include "sys/rmtree.h"
#include "sys/userns.h"
#include "sys/walk.h"
#include "sys/xattr.h"

#include <errno.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define CHUNK ((size_t)256 * KIB)
#define WHITEOUT STR(".wh.")
#define WHITEOUT_META STR(".wh..wh.")
#define OPAQUE STR(".wh..wh..opq")
#define PLINK STR(".wh..wh.plnk/") /* AUFS kept files with several names here */
#define MAX_PLINKS 4096

/* Values in the map of unpacked paths. */
static char from_pool, from_here;

struct dir_time {
	char *path;
	int64_t mtime_ns, atime_ns;
};

struct apply {
	struct ctx *ctx;
	int root;
	const struct apply_opts *o;
	struct apply_later *later;
	struct apply_env env;
	struct tar_reader *tar;
	struct apply_pool *pool;
	struct apply_dir *dir;     /* of the last entry */
	VEC(struct dir_time) dirs; /* times to be set at the end */
	struct map unpacked;       /* paths with an entry, so not of the layers below */
	struct map implied;        /* directories without one */
	struct map plinks;         /* AUFS link sources: fd + 1 as a pointer */
	char *chunk;
};

static struct err *drain(struct apply *ap)
{
	return ap->pool ? apply_pool_drain(ap->pool) : NULL;
}

/* ---- directories ---- */

static void note_implied(void *arg, struct str path)
{
	struct apply *ap = arg;

	(void)map_put(&ap->implied, str_sub(path, 1, path.len), ap);
}

static struct err *make_implied(struct apply *ap, struct str path)
{
	const struct inroot_mkdirs_opts o = {
		.mode = 0755, .uid = (uid_t)-1, .gid = (gid_t)-1, .created = note_implied, .arg = ap
	};

	return inroot_mkdirs(ap->root, path, &o, NULL);
}

static struct err *open_dir(struct apply *ap, struct str path, struct apply_dir **ret)
{
	struct apply_dir *d;
	struct stat st;
	int fd = -1;
	struct err *e;

	if (ap->dir && str_eq(ap->dir->path, path)) {
		*ret = ap->dir;
		return NULL;
	}
	/* A file to be: it will not be a directory. */
	if (map_get(&ap->unpacked, path) == &from_pool)
		TRY(drain(ap));
	e = inroot_open(ap->root, path, O_RDONLY | O_DIRECTORY, 0, &fd);
	if (err_get_errno(e) == ENOENT) {
		err_free(e);
		TRY(make_implied(ap, path));
		e = inroot_open(ap->root, path, O_RDONLY | O_DIRECTORY, 0, &fd);
	}
	TRY(e);
	if (fstat(fd, &st) < 0) {
		(void)close(fd);
		return err_errno(errno, "stat %.*s", STR_ARG(path));
	}
	d = NEW(struct apply_dir);
	atomic_init(&d->refs, 1);
	d->fd = fd;
	d->path = str_make(mem_strndup(path.ptr ? path.ptr : "", path.len), path.len);
	d->dev = st.st_dev;
	d->ino = st.st_ino;
	d->setgid = st.st_mode & S_ISGID;
	apply_dir_unref(ap->dir);
	*ret = ap->dir = d;
	return NULL;
}

static void remember_times(struct apply *ap, struct str path, const struct apply_meta *m)
{
	vec_push(&ap->dirs, ((struct dir_time) { .path = mem_strndup(path.ptr, path.len),
						 .mtime_ns = m->mtime_ns,
						 .atime_ns = m->atime_ns }));
}

static struct err *mark_opaque(struct apply *ap, int fd)
{
	return xattr_set(fd, NULL,
			 ap->env.userns ? "user.overlay.opaque" : "trusted.overlay.opaque",
			 STR("y"));
}

static struct err *apply_directory(struct apply *ap, struct apply_dir *d, const char *name,
				   struct str path, const struct apply_meta *m)
{
	CLEANUP_FD int fd = -1;
	bool hides = false;
	struct stat st;

	if (mkdirat(d->fd, name, 0700) < 0) {
		if (errno != EEXIST)
			return err_errno(errno, "mkdir");
		TRY(drain(ap));
		if (fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_errno(errno, "lstat");
		if (!S_ISDIR(st.st_mode)) {
			/* Over a whiteout: what was deleted must not come back with it. */
			hides = ap->o->whiteouts_overlay && change_is_whiteout(&st);
			if (unlinkat(d->fd, name, 0) < 0 || mkdirat(d->fd, name, 0700) < 0)
				return err_errno(errno, "mkdir");
		}
	}
	TRY(fd_open(d->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &fd));
	TRY(apply_meta_fd(&ap->env, fd, m, false, false));
	if (hides)
		TRY(mark_opaque(ap, fd));
	remember_times(ap, path, m);
	return NULL;
}

/* ---- whiteouts ---- */

/* Removes what an opaque mark hides: all that is not from this archive. */
static struct err *empty_directory(struct apply *ap, int fd, struct str path)
{
	CLEANUP(walk_closep) struct walk *w = NULL;
	const struct walk_entry *we;

	TRY(drain(ap));
	TRY(walk_open(fd, WALK_NO_STAT, &w));
	for (;;) {
		SCOPED_ARENA(a);
		struct str full;

		TRY(walk_next(w, &we));
		if (!we)
			return NULL;
		full = path.len ? str_from(arena_printf(&a, "%.*s/%s", STR_ARG(path), we->path.ptr))
				: we->path;
		if (map_has(&ap->unpacked, full))
			continue;
		TRY(rmtree(we->dirfd, we->name));
		walk_skip(w);
	}
}

static struct err *apply_opaque(struct apply *ap, struct apply_dir *d)
{
	struct err *e;

	if (ap->o->whiteouts_overlay)
		return mark_opaque(ap, d->fd);
	e = empty_directory(ap, d->fd, d->path);
	return e;
}

static struct err *apply_whiteout(struct apply *ap, struct apply_dir *d, const char *name,
				  struct str path)
{
	struct str victim = str_sub(str_from(name), WHITEOUT.len, strlen(name));
	const char *v = victim.ptr;
	SCOPED_ARENA(a);
	struct str victim_path =
		d->path.len ? str_from(arena_printf(&a, "%.*s/%s", STR_ARG(d->path), v)) : victim;
	struct stat st;

	if (!v[0] || !strcmp(v, ".") || !strcmp(v, ".."))
		return err_new(ERR_INVALID_ARGUMENT, "invalid whiteout name: %s: invalid archive",
			       name);
	if (ap->pool && apply_pool_has(ap->pool, d, v))
		TRY(drain(ap));
	/* It is about the layers below, not about what this one brings. */
	if (map_has(&ap->unpacked, victim_path)) {
		CLEANUP_FD int fd = -1;

		TRY(drain(ap));
		if (!ap->o->whiteouts_overlay || fstatat(d->fd, v, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISDIR(st.st_mode))
			return NULL;
		TRY(fd_open(d->fd, v, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &fd));
		return mark_opaque(ap, fd);
	}
	if (ap->o->whiteouts_overlay)
		return link_whiteout(d->fd, v, ap->env.userns);
	TRY(drain(ap));
	return rmtree(d->fd, v);
}

/* ---- files ---- */

static bool all_zero(const char *p, size_t len)
{
	return !len || (!p[0] && memcmp(p, p + 1, len - 1) == 0);
}

/* Long runs of zeros become holes: a sparse file reads as if whole. */
static struct err *write_big(struct apply *ap, int fd, uint64_t size)
{
	uint64_t at = 0;

	if (ftruncate(fd, (off_t)size) < 0)
		return err_errno(errno, "truncate");
	while (at < size) {
		size_t want = (size_t)MIN(size - at, (uint64_t)CHUNK), got = 0, n;

		TRY(ctx_err(ap->ctx));
		while (got < want) {
			TRY(tar_read(ap->tar, ap->chunk + got, want - got, &n));
			if (!n)
				return err_new(ERR_DATA_LOSS, "unexpected EOF");
			got += n;
		}
		if (!all_zero(ap->chunk, want))
			TRY(fd_pwrite_all(fd, ap->chunk, want, at));
		at += want;
	}
	return NULL;
}

static struct err *read_small(struct apply *ap, char *p, size_t size)
{
	size_t got = 0, n;

	while (got < size) {
		TRY(tar_read(ap->tar, p + got, size - got, &n));
		if (!n)
			return err_new(ERR_DATA_LOSS, "unexpected EOF");
		got += n;
	}
	return NULL;
}

static struct err *apply_regular(struct apply *ap, struct apply_dir *d, const char *name,
				 const struct apply_meta *m, uint64_t size, bool by_pool)
{
	CLEANUP_FD int fd = -1;

	if (by_pool) {
		CLEANUP_FREE char *data = size ? malloc((size_t)size) : NULL;

		if (size && !data)
			abort();
		TRY(read_small(ap, data, (size_t)size));
		apply_pool_add(ap->pool, d, name, m, TAKE_PTR(data), (size_t)size);
		return NULL;
	}
	if (size <= CHUNK) {
		TRY(read_small(ap, ap->chunk, (size_t)size));
		return apply_file(&ap->env, d, name, m, ap->chunk, (size_t)size);
	}
	TRY(apply_create(&ap->env, d, name, m, &fd));
	TRY(write_big(ap, fd, size));
	return apply_close_file(&ap->env, d, fd, m);
}

/* Symlinks, devices, pipes. */
static struct err *make_node(const struct apply *ap, int dirfd, const char *name,
			     const struct tar_header *h, mode_t type, const char *target)
{
	for (int tries = 0;; tries++) {
		int r = type == S_IFLNK
				? symlinkat(target, dirfd, name)
				: mknodat(dirfd, name, type | 0600,
					  type == S_IFIFO ? 0 : makedev(h->devmajor, h->devminor));

		if (r == 0)
			return NULL;
		if (errno != EEXIST || tries)
			return err_errno(errno, type == S_IFLNK ? "symlink" : "mknod");
		TRY(rmtree(dirfd, name));
	}
}

static struct err *apply_node(struct apply *ap, struct apply_dir *d, const char *name,
			      const struct tar_header *h, mode_t type, const struct apply_meta *m)
{
	SCOPED_ARENA(a);

	TRY(make_node(ap, d->fd, name, h, type, str_cstr(&a, h->linkname)));
	return apply_meta_at(&ap->env, d->fd, name, type, m);
}

/* ---- hard links ---- */

static struct err *relink(int from, const char *base, struct apply_dir *d, const char *name)
{
	if (linkat(from, base, d->fd, name, 0) == 0)
		return NULL;
	if (errno == EEXIST) {
		struct stat a, b;

		if (fstatat(from, base, &a, AT_SYMLINK_NOFOLLOW) == 0 &&
		    fstatat(d->fd, name, &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_dev == b.st_dev &&
		    a.st_ino == b.st_ino)
			return NULL;
		TRY(rmtree(d->fd, name));
		if (linkat(from, base, d->fd, name, 0) == 0)
			return NULL;
	}
	return err_errno(errno, "link");
}

/* A link to one of AUFS' hidden files, which have no name here. */
static struct err *link_plink(struct apply *ap, struct apply_dir *d, const char *name,
			      struct str target)
{
	uintptr_t n = (uintptr_t)map_get(&ap->plinks, target);
	char path[FD_PATH_MAX];

	if (!n)
		return err_errno(ENOENT, "link to %.*s", STR_ARG(target));
	TRY(rmtree(d->fd, name));
	if (linkat(AT_FDCWD, fd_path((int)n - 1, NULL, path), d->fd, name, AT_SYMLINK_FOLLOW) < 0)
		return err_errno(errno, "link to %.*s", STR_ARG(target));
	return NULL;
}

static struct err *link_to(struct apply *ap, struct apply_dir *d, const char *name,
			   struct str target)
{
	SCOPED_ARENA(a);
	CLEANUP_FD int from = -1;
	const char *base;
	struct err *e = inroot_parent(ap->root, target, &a, &from, &base);

	return e ? e : relink(from, base, d, name);
}

/* The link's own header counts for the inode, as for any entry. */
static struct err *meta_of_link(struct apply *ap, struct apply_dir *d, const char *name,
				const struct apply_meta *m)
{
	struct stat st;

	if (fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(errno, "lstat");
	if (st.st_uid == m->uid && st.st_gid == m->gid && !m->n_xattrs &&
	    (S_ISLNK(st.st_mode) || (st.st_mode & 07777) == m->mode) &&
	    file_mtime_ns(&st) == m->mtime_ns)
		return NULL;
	return apply_meta_at(&ap->env, d->fd, name, st.st_mode & S_IFMT, m);
}

static struct err *apply_link(struct apply *ap, struct apply_dir *d, const char *name,
			      struct str path, struct str target, const struct apply_meta *m)
{
	SCOPED_ARENA(a);
	struct err *e;

	target = str_trim_prefix(path_clean(&a, target), STR("/"));
	if (str_eq(target, STR("..")) || str_has_prefix(target, STR("../")))
		return err_new(ERR_INVALID_ARGUMENT, "link to %.*s leads out of the root",
			       STR_ARG(target));
	if (str_has_prefix(target, PLINK)) {
		TRY(link_plink(ap, d, name, target));
		return meta_of_link(ap, d, name, m);
	}
	e = link_to(ap, d, name, target);
	if (e && ap->pool) {
		err_free(e);
		TRY(drain(ap));
		e = link_to(ap, d, name, target);
	}
	if (err_get_errno(e) == ENOENT && ap->o->lower_fd >= 0) {
		err_free(e);
		TRY(apply_copy_up(ap->root, ap->o->lower_fd, target));
		e = link_to(ap, d, name, target);
	} else if (err_get_errno(e) == ENOENT && ap->later) {
		struct arena *la = &ap->later->arena;

		err_free(e);
		vec_push(&ap->later->links,
			 ((struct later_link) { .path = str_dup(la, path),
						.target = str_dup(la, target) }));
		return NULL;
	}
	TRY(e);
	return meta_of_link(ap, d, name, m);
}

/* AUFS' own folder: only the data of files is of interest, for links to them. */
static struct err *apply_plink(struct apply *ap, const struct tar_header *h, struct str path,
			       const struct apply_meta *m)
{
	CLEANUP_FD int fd = -1;

	if (h->type != '0')
		return NULL;
	if (map_len(&ap->plinks) == MAX_PLINKS)
		return err_new(ERR_RESOURCE_EXHAUSTED, "more than %d AUFS links", MAX_PLINKS);
	TRY(fd_open(ap->root, ".", O_TMPFILE | O_RDWR, 0600, &fd));
	TRY(write_big(ap, fd, h->size));
	TRY(apply_meta_fd(&ap->env, fd, m, false, false));
	fd = (int)(uintptr_t)map_put(&ap->plinks, path, (void *)(uintptr_t)(TAKE_FD(fd) + 1)) - 1;
	return NULL;
}

/* ---- entries ---- */

static struct err *apply_kind(struct apply *ap, const struct tar_header *h, struct apply_dir *d,
			      const char *name, struct str path, bool by_pool)
{
	struct apply_meta m;

	apply_meta_of(h, &m);
	switch (h->type) {
	case '0':
		return apply_regular(ap, d, name, &m, h->size, by_pool);
	case '1':
		return apply_link(ap, d, name, path, h->linkname, &m);
	case '2':
		return apply_node(ap, d, name, h, S_IFLNK, &m);
	case '3':
	case '4':
		/* Not allowed in a user namespace, and useless there. */
		if (ap->env.userns)
			return NULL;
		return apply_node(ap, d, name, h, h->type == '3' ? S_IFCHR : S_IFBLK, &m);
	case '5':
		return apply_directory(ap, d, name, path, &m);
	case '6':
		return apply_node(ap, d, name, h, S_IFIFO, &m);
	default:
		return err_new(ERR_INVALID_ARGUMENT, "unhandled tar header type %d", h->type);
	}
}

static struct err *apply_named(struct apply *ap, const struct tar_header *h, struct apply_dir *d,
			       const char *name, struct str path)
{
	bool by_pool = ap->pool && h->type == '0' && h->size <= APPLY_SMALL;

	/* What was there before goes, perhaps with things below it that are still to be made. */
	if (map_has(&ap->unpacked, path) || map_has(&ap->implied, path) ||
	    (ap->pool && apply_pool_has(ap->pool, d, name))) {
		TRY(drain(ap));
		by_pool = false;
	}
	TRY(apply_kind(ap, h, d, name, path, by_pool));
	(void)map_put(&ap->unpacked, path, by_pool ? &from_pool : &from_here);
	(void)map_del(&ap->implied, path);
	return NULL;
}

static struct err *apply_entry(struct apply *ap, const struct tar_header *h, struct arena *a)
{
	struct str path = str_trim_prefix(path_clean(a, h->name), STR("/")), base, dir;
	struct apply_dir *d;
	const char *name;
	ptrdiff_t slash = str_rfind(path, '/');

	/* The root is there already. */
	if (!path.len || str_eq(path, STR(".")))
		return NULL;
	if (str_eq(path, STR("..")) || str_has_prefix(path, STR("../")))
		return err_new(ERR_INVALID_ARGUMENT, "path leads out of the root");
	if (str_has_prefix(path, PLINK)) {
		struct apply_meta m;

		apply_meta_of(h, &m);
		return apply_plink(ap, h, path, &m);
	}
	base = str_sub(path, (size_t)(slash + 1), path.len);
	dir = str_sub(path, 0, slash < 0 ? 0 : (size_t)slash);
	name = str_cstr(a, base);
	TRY(open_dir(ap, dir, &d));
	if (str_has_prefix(base, WHITEOUT)) {
		if (str_eq(base, OPAQUE))
			return apply_opaque(ap, d);
		/* AUFS' other notes to itself. */
		if (str_has_prefix(base, WHITEOUT_META))
			return NULL;
		return apply_whiteout(ap, d, name, path);
	}
	return apply_named(ap, h, d, name, path);
}

static struct err *finish_dirs(struct apply *ap)
{
	for (struct map_entry *e = map_next(&ap->implied, NULL); e; e = map_next(&ap->implied, e)) {
		if (ap->o->lower_fd >= 0)
			TRY(apply_fix_dir(ap->root, ap->o->lower_fd, map_key(e)));
		else if (ap->later)
			vec_push(&ap->later->implied, str_dup(&ap->later->arena, map_key(e)));
	}
	vec_each (&ap->dirs, d) {
		const struct timespec ts[2] = { clock_to_timespec(d->atime_ns),
						clock_to_timespec(d->mtime_ns) };
		int fd = -1;
		struct err *e =
			inroot_open(ap->root, str_from(d->path), O_RDONLY | O_DIRECTORY, 0, &fd);

		/* Replaced by a later entry. */
		if (e) {
			err_free(e);
			continue;
		}
		if (futimens(fd, ts) < 0)
			e = err_errno(errno, "utimes %s", d->path);
		(void)close(fd);
		TRY(e);
	}
	return NULL;
}

static struct err *run(struct apply *ap, uint64_t *bytes)
{
	struct arena a = ARENA_INIT;
	struct err *e = NULL;
	bool eof = false;

	while (!e) {
		struct tar_header h;

		arena_fini(&a);
		arena_init(&a);
		e = ctx_err(ap->ctx);
		if (!e)
			e = tar_next(ap->tar, &a, &h, &eof);
		if (e || eof)
			break;
		*bytes += h.size;
		e = err_wrap(apply_entry(ap, &h, &a), "failed to extract %.*s", STR_ARG(h.name));
		if (!e && ap->pool && apply_pool_failed(ap->pool))
			e = drain(ap);
	}
	arena_fini(&a);
	return e;
}

/* What is behind the archive is read too, so that the stream is seen to its end. */
static struct err *read_rest(struct apply *ap, struct reader *tar)
{
	size_t n;

	do {
		TRY(ctx_err(ap->ctx));
		TRY(reader_read(tar, ap->chunk, CHUNK, &n));
	} while (n);
	return NULL;
}

static mode_t current_umask(void)
{
	SCOPED_BUF(b, 64 * KIB);
	struct err *e = file_read(AT_FDCWD, "/proc/self/status", &b);
	struct str rest = buf_str(&b), line;

	err_free(e);
	while (rest.len && str_next(&rest, '\n', &line))
		if (str_has_prefix(line, STR("Umask:")))
			return (mode_t)strtoul(line.ptr + 6, NULL, 8);
	return 0777; /* not known: modes are set by hand */
}

static void close_plinks(struct apply *ap)
{
	for (struct map_entry *e = map_next(&ap->plinks, NULL); e; e = map_next(&ap->plinks, e))
		(void)close((int)(uintptr_t)e->value - 1);
	map_fini(&ap->plinks, NULL);
}

struct err *apply_run(struct ctx *ctx, int rootfd, struct reader *tar,
		      const struct apply_opts *opts, struct apply_later *later, uint64_t *ret_bytes)
{
	struct apply ap = { .ctx = ctx, .root = rootfd, .o = opts, .later = later };
	uint64_t bytes = 0;
	struct err *e;

	ap.env = (struct apply_env) { .userns = userns_inside(),
				      .umask = current_umask(),
				      .uid = geteuid(),
				      .gid = getegid() };
	ap.tar = tar_reader_new(tar);
	ap.chunk = mem_alloc(CHUNK);
	ap.pool = apply_pool_new(ctx, &ap.env);
	e = run(&ap, &bytes);
	e = err_first(e, apply_pool_free(TAKE_PTR(ap.pool)));
	if (!e)
		e = finish_dirs(&ap);
	if (!e)
		e = read_rest(&ap, tar);
	if (!e && ret_bytes)
		*ret_bytes = bytes;
	apply_dir_unref(ap.dir);
	vec_each (&ap.dirs, d)
		free(d->path);
	vec_fini(&ap.dirs);
	map_fini(&ap.unpacked, NULL);
	map_fini(&ap.implied, NULL);
	close_plinks(&ap);
	tar_reader_free(ap.tar);
	free(ap.chunk);
	return e;
}

struct err *snapshot_apply(struct ctx *ctx, int rootfd, struct reader *tar,
			   const struct apply_opts *opts, uint64_t *ret_bytes)
{
	return apply_run(ctx, rootfd, tar, opts, NULL, ret_bytes);
}
