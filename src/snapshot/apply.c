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

#define WHITEOUT STR(".wh.")
#define WHITEOUT_META STR(".wh..wh.")
#define OPAQUE STR(".wh..wh..opq")

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

static void close_dir(struct apply_dir *d)
{
	if (d->fd >= 0)
		(void)close(d->fd);
	free(d->path);
	*d = (struct apply_dir) { .fd = -1 };
}

/* Makes it ap->dir. */
static struct err *go_to(struct apply *ap, struct str path)
{
	struct stat st;
	int fd = -1;
	struct err *e;

	if (ap->dir.fd >= 0 && str_eq_cstr(path, ap->dir.path))
		return NULL;
	e = inroot_open(ap->root, path, O_RDONLY | O_DIRECTORY, 0, &fd);
	if (err_get_errno(e) == ENOENT) {
		err_free(e);
		TRY(make_implied(ap, path));
		e = inroot_open(ap->root, path, O_RDONLY | O_DIRECTORY, 0, &fd);
	}
	TRY(e);
	if (fstat(fd, &st) < 0) {
		int errnum = errno;

		(void)close(fd);
		return err_errno(errnum, "stat %.*s", STR_ARG(path));
	}
	close_dir(&ap->dir);
	ap->dir = (struct apply_dir) { .fd = fd,
				       .path = mem_strndup(path.ptr ? path.ptr : "", path.len),
				       .setgid = st.st_mode & S_ISGID };
	return NULL;
}

static void meta_of(const struct tar_header *h, struct apply_meta *ret)
{
	/* Times before the epoch are taken for junk. */
	int64_t mtime = MAX(h->mtime_ns, INT64_C(0));

	*ret = (struct apply_meta) {
		.uid = h->uid,
		.gid = h->gid,
		.mode = h->mode & 07777,
		.mtime_ns = mtime,
		.atime_ns = MAX(h->atime_ns, mtime),
		.xattrs = h->xattrs,
		.n_xattrs = h->n_xattrs,
	};
}

static void remember_times(struct apply *ap, struct str path, const struct apply_meta *m)
{
	vec_push(&ap->dirs, ((struct dir_time) { .path = mem_strndup(path.ptr, path.len),
						 .mtime_ns = m->mtime_ns,
						 .atime_ns = m->atime_ns }));
}

static struct err *mark_opaque(struct apply *ap, int fd)
{
	return xattr_set(fd, NULL, ap->userns ? "user.overlay.opaque" : "trusted.overlay.opaque",
			 STR("y"));
}

static struct err *apply_directory(struct apply *ap, const char *name, struct str path,
				   const struct apply_meta *m)
{
	CLEANUP_FD int fd = -1;
	bool hides = false;
	struct stat st;

	if (mkdirat(ap->dir.fd, name, 0700) < 0) {
		if (errno != EEXIST)
			return err_errno(errno, "mkdir");
		if (fstatat(ap->dir.fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_errno(errno, "lstat");
		if (!S_ISDIR(st.st_mode)) {
			/* Over a whiteout: what was deleted must not come back with it. */
			hides = ap->o->whiteouts_overlay && change_is_whiteout(&st);
			if (unlinkat(ap->dir.fd, name, 0) < 0 ||
			    mkdirat(ap->dir.fd, name, 0700) < 0)
				return err_errno(errno, "mkdir");
		}
	}
	TRY(fd_open(ap->dir.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &fd));
	TRY(apply_meta_fd(ap, fd, m, false, false));
	if (hides)
		TRY(mark_opaque(ap, fd));
	remember_times(ap, path, m);
	return NULL;
}

/* ---- whiteouts ---- */

/* Removes what an opaque mark hides: all that is not from this archive. */
static struct err *empty_directory(struct apply *ap)
{
	CLEANUP(walk_closep) struct walk *w = NULL;
	const struct walk_entry *we;

	TRY(walk_open(ap->dir.fd, WALK_NO_STAT, &w));
	for (;;) {
		SCOPED_ARENA(a);
		struct str full;

		TRY(walk_next(w, &we));
		if (!we)
			return NULL;
		full = ap->dir.path[0]
			       ? str_from(arena_printf(&a, "%s/%s", ap->dir.path, we->path.ptr))
			       : we->path;
		if (map_has(&ap->unpacked, full))
			continue;
		TRY(rmtree(we->dirfd, we->name));
		walk_skip(w);
	}
}

static struct err *apply_opaque(struct apply *ap)
{
	if (ap->o->whiteouts_overlay)
		return mark_opaque(ap, ap->dir.fd);
	return empty_directory(ap);
}

static struct err *apply_whiteout(struct apply *ap, const char *name)
{
	struct str victim = str_sub(str_from(name), WHITEOUT.len, strlen(name));
	const char *v = victim.ptr;
	SCOPED_ARENA(a);
	struct str victim_path =
		ap->dir.path[0] ? str_from(arena_printf(&a, "%s/%s", ap->dir.path, v)) : victim;
	struct stat st;

	if (!v[0] || !strcmp(v, ".") || !strcmp(v, ".."))
		return err_new(ERR_INVALID_ARGUMENT, "invalid whiteout name: %s: invalid archive",
			       name);
	/* It is about the layers below, not about what this one brings. */
	if (map_has(&ap->unpacked, victim_path)) {
		CLEANUP_FD int fd = -1;

		if (!ap->o->whiteouts_overlay ||
		    fstatat(ap->dir.fd, v, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
			return NULL;
		TRY(fd_open(ap->dir.fd, v, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &fd));
		return mark_opaque(ap, fd);
	}
	if (ap->o->whiteouts_overlay)
		return link_whiteout(ap->dir.fd, v, ap->userns);
	return rmtree(ap->dir.fd, v);
}

/* ---- entries ---- */

static struct err *apply_kind(struct apply *ap, const struct tar_header *h, const char *name,
			      struct str path)
{
	struct apply_meta m;

	meta_of(h, &m);
	switch (h->type) {
	case '0':
		return apply_regular(ap, name, &m, h->size);
	case '1':
		return apply_link(ap, name, path, h->linkname, &m);
	case '2':
		return apply_node(ap, name, h, S_IFLNK, &m);
	case '3':
	case '4':
		/* Not allowed in a user namespace, and useless there. */
		if (ap->userns)
			return NULL;
		return apply_node(ap, name, h, h->type == '3' ? S_IFCHR : S_IFBLK, &m);
	case '5':
		return apply_directory(ap, name, path, &m);
	case '6':
		return apply_node(ap, name, h, S_IFIFO, &m);
	default:
		return err_new(ERR_INVALID_ARGUMENT, "unhandled tar header type %d", h->type);
	}
}

static struct err *apply_entry(struct apply *ap, const struct tar_header *h, struct arena *a)
{
	struct str path = str_trim_prefix(path_clean(a, h->name), STR("/")), base, dir;
	const char *name;
	ptrdiff_t slash = str_rfind(path, '/');

	/* The root is there already. */
	if (!path.len || str_eq(path, STR(".")))
		return NULL;
	if (str_eq(path, STR("..")) || str_has_prefix(path, STR("../")))
		return err_new(ERR_INVALID_ARGUMENT, "path leads out of the root");
	if (str_has_prefix(path, APPLY_PLINK)) {
		struct apply_meta m;

		meta_of(h, &m);
		return apply_plink(ap, h, path, &m);
	}
	base = str_sub(path, (size_t)(slash + 1), path.len);
	dir = str_sub(path, 0, slash < 0 ? 0 : (size_t)slash);
	name = str_cstr(a, base);
	TRY(go_to(ap, dir));
	if (str_has_prefix(base, WHITEOUT)) {
		if (str_eq(base, OPAQUE))
			return apply_opaque(ap);
		/* AUFS' other notes to itself. */
		if (str_has_prefix(base, WHITEOUT_META))
			return NULL;
		return apply_whiteout(ap, name);
	}
	TRY(apply_kind(ap, h, name, path));
	(void)map_put(&ap->unpacked, path, ap);
	(void)map_del(&ap->implied, path);
	return NULL;
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
		TRY(reader_read(tar, ap->chunk, APPLY_CHUNK, &n));
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

struct err *apply_run(struct ctx *ctx, int rootfd, struct reader *tar,
		      const struct apply_opts *opts, struct apply_later *later, uint64_t *ret_bytes)
{
	struct apply ap = { .ctx = ctx, .root = rootfd, .o = opts, .later = later };
	uint64_t bytes = 0;
	struct err *e;

	ap.dir.fd = -1;
	ap.userns = userns_inside();
	ap.umask = current_umask();
	ap.uid = geteuid();
	ap.gid = getegid();
	ap.tar = tar_reader_new(tar);
	ap.chunk = mem_alloc(APPLY_CHUNK);
	e = run(&ap, &bytes);
	if (!e)
		e = finish_dirs(&ap);
	if (!e)
		e = read_rest(&ap, tar);
	if (!e && ret_bytes)
		*ret_bytes = bytes;
	close_dir(&ap.dir);
	vec_each (&ap.dirs, d)
		free(d->path);
	vec_fini(&ap.dirs);
	map_fini(&ap.unpacked, NULL);
	map_fini(&ap.implied, NULL);
	apply_plinks_fini(&ap);
	tar_reader_free(ap.tar);
	free(ap.chunk);
	return e;
}

struct err *snapshot_apply(struct ctx *ctx, int rootfd, struct reader *tar,
			   const struct apply_opts *opts, uint64_t *ret_bytes)
{
	return apply_run(ctx, rootfd, tar, opts, NULL, ret_bytes);
}
