#include "snapshot/diff.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "codec/tar.h"
#include "snapshot/changes.h"
#include "snapshot/layers.h"
#include "snapshot/mounts.h"
#include "snapshot/store.h"
#include "sys/fd.h"
#include "sys/inroot.h"
#include "sys/xattr.h"

#include <errno.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Bytes read from files at a time. */
#define CHUNK ((size_t)256 * KIB)

struct link_refs {
	VEC(char *) names; /* unchanged names of an inode, told if another name of it changed */
};

/* A layer archive being written from changes, as containerd's archive writer makes it: header
 * fields, parents that have not been told before their first child, whiteouts, hard links. */
struct layer_tar {
	struct ctx *ctx;
	struct tar_writer *tar;
	int root;           /* of the upper tree */
	int64_t epoch_s;    /* < 0: times as they are */
	struct map told;    /* directories that have an entry */
	struct map sources; /* inode -> first name */
	struct map refs;    /* inode -> struct link_refs */
	char *chunk;
};

struct inode_key {
	dev_t dev;
	ino_t ino;
};

static struct str key_of(const struct stat *st, struct inode_key *k)
{
	memset(k, 0, sizeof(*k));
	k->dev = st->st_dev;
	k->ino = st->st_ino;
	return str_make(k, sizeof(*k));
}

static char type_of(const struct stat *st)
{
	switch (st->st_mode & S_IFMT) {
	case S_IFDIR:
		return '5';
	case S_IFLNK:
		return '2';
	case S_IFCHR:
		return '3';
	case S_IFBLK:
		return '4';
	case S_IFIFO:
		return '6';
	default:
		return '0';
	}
}

static void fill_header(const struct layer_tar *lt, const struct stat *st, struct str name,
			struct tar_header *h)
{
	int64_t sec = st->st_mtim.tv_sec; /* the fraction is cut off */

	if (lt->epoch_s >= 0 && sec >= lt->epoch_s)
		sec = lt->epoch_s;
	*h = (struct tar_header) {
		.format = TAR_FORMAT_PAX,
		.type = type_of(st),
		.name = name,
		.mode = st->st_mode & 07777,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0,
		.mtime_ns = sec * NSEC_PER_SEC,
	};
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
		h->devmajor = major(st->st_rdev);
		h->devminor = minor(st->st_rdev);
	}
}

static struct err *tell_dir(struct layer_tar *lt, struct str path, const struct stat *st)
{
	struct tar_header h;
	SCOPED_ARENA(a);

	fill_header(lt, st, str_from(arena_printf(&a, "%.*s/", STR_ARG(path))), &h);
	(void)map_put(&lt->told, path, lt);
	return tar_write_header(lt->tar, &h);
}

/* Outermost first. */
static struct err *tell_parents(struct layer_tar *lt, struct change_dir *d)
{
	if (!d->up || d->told)
		return NULL;
	d->told = true;
	if (map_has(&lt->told, d->path))
		return NULL;
	TRY(tell_parents(lt, d->up));
	return tell_dir(lt, d->path, &d->st);
}

/* The same for a name that was walked before, without its directories at hand. */
static struct err *tell_parents_of(struct layer_tar *lt, struct str path)
{
	for (size_t i = 0; i < path.len; i++) {
		struct str dir = str_sub(path, 0, i);
		struct stat st;

		if (path.ptr[i] != '/' || map_has(&lt->told, dir))
			continue;
		TRY(inroot_stat(lt->root, dir, false, &st));
		TRY(tell_dir(lt, dir, &st));
	}
	return NULL;
}

/* containerd gives whiteouts the times of the epoch, and no format: cut to ustar. */
static struct err *tell_whiteout(struct layer_tar *lt, const struct change *c)
{
	struct str dir = str_sub(c->path, 0, c->path.len - strlen(c->name));
	SCOPED_ARENA(a);
	struct tar_header h = { .type = '0', .format = TAR_FORMAT_ANY };

	TRY(tell_parents(lt, c->dir));
	h.name = str_from(arena_printf(&a, "%.*s.wh.%s", STR_ARG(dir), c->name));
	return tar_write_header(lt->tar, &h);
}

static struct err *write_data(struct layer_tar *lt, int fd, uint64_t size)
{
	while (size) {
		size_t n, want = (size_t)MIN(size, (uint64_t)CHUNK);

		TRY(ctx_err(lt->ctx));
		TRY(fd_read_full(fd, lt->chunk, want, &n));
		if (n < want)
			return err_new(ERR_UNKNOWN, "file shrank while it was read");
		TRY(tar_write(lt->tar, lt->chunk, n));
		size -= n;
	}
	return NULL;
}

/* The one attribute that layers have. */
static struct err *add_capability(int fd, struct arena *a, struct tar_header *h)
{
	struct str v = STR_NONE;
	bool found;

	TRY(xattr_get(fd, NULL, "security.capability", a, &v, &found));
	if (!found || !v.len)
		return NULL;
	h->xattrs = ARENA_NEW(a, struct tar_xattr);
	h->xattrs[0] = (struct tar_xattr) { STR("security.capability"), v };
	h->n_xattrs = 1;
	return NULL;
}

/* What the other names of an inode have to do with this one. *ret_skip: nothing to tell now.
 * *ret_refs: names to tell as links to this one. */
static void resolve_links(struct layer_tar *lt, const struct change *c, struct tar_header *h,
			  struct link_refs **ret_refs, bool *ret_skip)
{
	struct inode_key k;
	struct str key = key_of(c->st, &k);
	const char *source = map_get(&lt->sources, key);
	struct link_refs *refs;

	*ret_skip = false;
	*ret_refs = NULL;
	if (source) {
		h->type = '1';
		h->linkname = str_from(source);
		h->size = 0;
		return;
	}
	if (c->kind == CHANGE_SAME) {
		refs = map_get(&lt->refs, key);
		if (!refs)
			(void)map_put(&lt->refs, key, refs = NEW(struct link_refs));
		vec_push(&refs->names, mem_strndup(c->path.ptr, c->path.len));
		*ret_skip = true;
		return;
	}
	(void)map_put(&lt->sources, key, mem_strndup(c->path.ptr, c->path.len));
	*ret_refs = map_del(&lt->refs, key);
}

static void refs_free(void *p)
{
	struct link_refs *r = p;

	if (!r)
		return;
	vec_each (&r->names, n)
		free(*n);
	vec_fini(&r->names);
	free(r);
}

static struct err *tell_refs(struct layer_tar *lt, struct tar_header *h, struct link_refs *refs)
{
	h->linkname = h->name;
	h->type = '1';
	h->size = 0;
	vec_each (&refs->names, n) {
		h->name = str_from(*n);
		TRY(tell_parents_of(lt, h->name));
		TRY(tar_write_header(lt->tar, h));
	}
	return NULL;
}

static struct err *read_target(const struct change *c, struct arena *a, struct tar_header *h)
{
	char *target = arena_alloc(a, LIMIT_PATH);
	ssize_t n = readlinkat(c->dir->fd, c->name, target, LIMIT_PATH);

	if (n < 0)
		return err_errno(errno, "readlink");
	h->linkname = str_make(target, (size_t)n);
	return NULL;
}

static struct err *write_entry(struct layer_tar *lt, const struct change *c, struct tar_header *h,
			       struct link_refs *refs)
{
	SCOPED_ARENA(a);
	CLEANUP_FD int fd = -1;

	if (S_ISREG(c->st->st_mode)) {
		TRY(fd_open(c->dir->fd, c->name, O_RDONLY | O_NOFOLLOW | O_NOCTTY, 0, &fd));
		TRY(add_capability(fd, &a, h));
	}
	TRY(tell_parents(lt, c->dir));
	TRY(tar_write_header(lt->tar, h));
	if (h->type == '0' && h->size)
		TRY(write_data(lt, fd, h->size));
	return refs ? tell_refs(lt, h, refs) : NULL;
}

static struct err *tell_entry(struct layer_tar *lt, const struct change *c)
{
	SCOPED_ARENA(a);
	struct link_refs *refs = NULL;
	struct tar_header h;
	struct err *e = NULL;
	bool skip = false;

	fill_header(lt, c->st, c->path, &h);
	if (S_ISLNK(c->st->st_mode))
		e = read_target(c, &a, &h);
	if (!e && c->st->st_nlink > 1)
		resolve_links(lt, c, &h, &refs, &skip);
	if (!e && !skip)
		e = write_entry(lt, c, &h, refs);
	refs_free(refs);
	return err_wrap(e, "%s", c->path.ptr);
}

static struct err *tell_change(void *arg, const struct change *c)
{
	struct layer_tar *lt = arg;

	if (c->kind == CHANGE_DELETE)
		return tell_whiteout(lt, c);
	if (S_ISSOCK(c->st->st_mode))
		return NULL;
	if (S_ISDIR(c->st->st_mode)) {
		TRY(tell_parents(lt, c->dir));
		return tell_dir(lt, c->path, c->st);
	}
	return tell_entry(lt, c);
}

static struct err *write_layer(struct ctx *ctx, int upper, int lower, bool bare, int64_t epoch_s,
			       struct writer *out)
{
	struct layer_tar lt = { .ctx = ctx, .root = upper, .epoch_s = epoch_s };
	struct err *e;

	lt.tar = tar_writer_new(out);
	lt.chunk = mem_alloc(CHUNK);
	e = bare ? changes_of_upper(ctx, upper, lower, tell_change, &lt, NULL)
		 : changes_between(ctx, lower, upper, tell_change, &lt);
	if (!e)
		e = tar_finish(lt.tar);
	tar_writer_free(lt.tar);
	free(lt.chunk);
	map_fini(&lt.told, NULL);
	map_fini(&lt.sources, free);
	map_fini(&lt.refs, refs_free);
	return e;
}

static struct err *open_view(struct snapshotter *s, struct str name, struct localmount **ret)
{
	struct mounts *m;
	SCOPED_ARENA(a);

	TRY(snapshot_mounts(s, &a, name, &m));
	return localmount_open(m, NULL, ret);
}

struct err *snapshot_diff(struct snapshotter *s, struct ctx *ctx, struct str lower,
			  struct str upper, int64_t epoch_s, struct writer *out)
{
	CLEANUP(localmount_closep) struct localmount *low = NULL;
	CLEANUP(localmount_closep) struct localmount *up = NULL;
	CLEANUP_FD int layer = -1;
	int lower_fd = -1;

	if (lower.len) {
		TRYW(open_view(s, lower, &low), "diff of %.*s", STR_ARG(upper));
		lower_fd = localmount_dirfd(low);
	}
	if (snapshot_is_overlay(s))
		TRY(layers_open_single(store_of(s), lower, upper, &layer));
	if (layer >= 0)
		return write_layer(ctx, layer, lower_fd, true, epoch_s, out);
	TRYW(open_view(s, upper, &up), "diff of %.*s", STR_ARG(upper));
	return write_layer(ctx, localmount_dirfd(up), lower_fd, false, epoch_s, out);
}
