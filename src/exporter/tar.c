#include "exporter/kinds.h"

#include "base/limits.h"
#include "base/mem.h"
#include "codec/tar.h"
#include "exporter/treeattrs.h"
#include "exporter/trees.h"
#include "session/filesync.h"
#include "sys/walk.h"
#include "sys/xattr.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>

struct tar_exporter {
	struct exporter base;
	struct arena arena;
	struct tree_attrs attrs;
};

/* First paths of files with several names. */
struct links {
	struct map by_inode; /* dev and ino -> heap path */
};

static struct str inode_key(const struct stat *st, char buf[sizeof(dev_t) + sizeof(ino_t)])
{
	memcpy(buf, &st->st_dev, sizeof(dev_t));
	memcpy(buf + sizeof(dev_t), &st->st_ino, sizeof(ino_t));
	return str_make(buf, sizeof(dev_t) + sizeof(ino_t));
}

static char type_of(mode_t mode)
{
	switch (mode & S_IFMT) {
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

static struct err *copy_data(struct ctx *ctx, struct tar_writer *t, int fd, uint64_t size,
			     char *chunk)
{
	while (size) {
		ssize_t n = read(fd, chunk, MIN(size, (uint64_t)MIB));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(errno, "read");
		if (n == 0)
			return err_new(ERR_DATA_LOSS, "unexpected EOF");
		TRY(ctx_err(ctx));
		TRY(tar_write(t, chunk, (size_t)n));
		size -= (uint64_t)n;
	}
	return NULL;
}

static struct err *add_xattrs(const struct walk_entry *en, struct arena *a, struct tar_header *h)
{
	struct xattr *x;
	size_t n;

	TRY(xattr_read_all(en->dirfd, en->name, NULL, a, &x, &n));
	h->xattrs = ARENA_NEW_N(a, struct tar_xattr, n);
	for (size_t i = 0; i < n; i++)
		/* What overlayfs keeps for itself is no part of the tree. */
		if (!str_has_prefix(x[i].name, STR("trusted.overlay.")) &&
		    !str_has_prefix(x[i].name, STR("user.overlay.")))
			h->xattrs[h->n_xattrs++] = (struct tar_xattr) { x[i].name, x[i].value };
	return NULL;
}

static struct err *put_entry(struct ctx *ctx, struct tar_writer *t, const struct tree *tree,
			     const struct walk_entry *en, struct links *links, char *chunk)
{
	SCOPED_ARENA(a);
	struct tar_header h = {
		.type = type_of(en->st.st_mode),
		.mode = en->st.st_mode & 07777,
		.uid = en->st.st_uid,
		.gid = en->st.st_gid,
		.mtime_ns = tree->epoch_s >= 0 ? tree->epoch_s * NSEC_PER_SEC
					       : clock_from_timespec(en->st.st_mtim),
	};
	char target[LIMIT_PATH + 1], key[sizeof(dev_t) + sizeof(ino_t)];
	CLEANUP_FD int fd = -1;
	ssize_t n;

	h.name = str_from(arena_printf(&a, "%.*s%s%.*s%s", STR_ARG(tree->prefix),
				       tree->prefix.len ? "/" : "", STR_ARG(en->path),
				       h.type == '5' ? "/" : ""));
	if (h.type == '2') {
		n = readlinkat(en->dirfd, en->name, target, LIMIT_PATH);
		if (n < 0)
			return err_errno(errno, "readlink %.*s", STR_ARG(en->path));
		h.linkname = str_make(target, (size_t)n);
	} else if (h.type == '3' || h.type == '4') {
		h.devmajor = major(en->st.st_rdev);
		h.devminor = minor(en->st.st_rdev);
	} else if (h.type == '0') {
		h.size = (uint64_t)en->st.st_size;
	}
	if (h.type != '5' && en->st.st_nlink > 1) {
		char *first = map_get(&links->by_inode, inode_key(&en->st, key));

		if (first) {
			h.type = '1';
			h.size = 0;
			h.linkname = str_from(first);
		} else {
			(void)map_put(&links->by_inode, inode_key(&en->st, key), str_heap(h.name));
		}
	}
	if (h.type == '0') {
		fd = openat(en->dirfd, en->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return err_errno(errno, "open %.*s", STR_ARG(en->path));
	}
	if (h.type != '1')
		TRY(add_xattrs(en, &a, &h));
	TRY(tar_write_header(t, &h));
	return h.type == '0' ? copy_data(ctx, t, fd, h.size, chunk) : NULL;
}

static struct err *put_tree(struct ctx *ctx, struct tar_writer *t, const struct tree *tree,
			    char *chunk)
{
	CLEANUP(walk_closep) struct walk *w = NULL;
	struct links links = { MAP_INIT };
	const struct walk_entry *en;
	struct err *e = NULL;

	if (tree->prefix.len) {
		SCOPED_ARENA(a);
		struct tar_header h = {
			.type = '5',
			.mode = 0755,
			.name = str_from(arena_printf(&a, "%.*s/", STR_ARG(tree->prefix))),
			.mtime_ns = tree->epoch_s >= 0 ? tree->epoch_s * NSEC_PER_SEC : 0,
		};

		TRY(tar_write_header(t, &h));
	}
	if (tree->dirfd < 0)
		return NULL;
	TRY(walk_open(tree->dirfd, 0, &w));
	while (!(e = walk_next(w, &en)) && en) {
		if (S_ISSOCK(en->st.st_mode))
			continue;
		e = put_entry(ctx, t, tree, en, &links, chunk);
		if (e)
			break;
	}
	map_fini(&links.by_inode, free);
	return e;
}

static struct err *tar_export(struct exporter *e, const struct exporter_env *env,
			      const struct export_input *in)
{
	struct tar_exporter *x = container_of(e, struct tar_exporter, base);
	CLEANUP(writer_closep) struct writer *w = NULL;
	CLEANUP(tar_writer_freep) struct tar_writer *t = NULL;
	CLEANUP_FREE char *chunk = mem_alloc(MIB);
	SCOPED_ARENA(a);
	struct trees trees = { 0 };
	struct session *s;
	struct grpc_md *md;
	size_t n_md;
	int64_t started;
	struct err *er;

	if (!in->is_map && in->n_items > 1)
		return err_new(ERR_UNKNOWN, "unable to export multiple platforms without map");
	TRY(exporter_session(env, &s));
	started = progress_status_begin(env->progress, STR("sending tarball"));
	er = trees_open(env, in, &x->attrs, in->is_map || (x->attrs.split_set && x->attrs.split),
			&a, &trees);
	md = exporter_metadata(env, &a, &n_md);
	if (!er)
		er = filesend_stream(s, env->ctx, env->index, md, n_md, &w);
	if (!er)
		t = tar_writer_new(w);
	for (size_t i = 0; i < trees.n && !er; i++)
		er = put_tree(env->ctx, t, &trees.items[i], chunk);
	if (!er)
		er = tar_finish(t);
	if (!er)
		er = writer_finish(w);
	trees_close(&trees);
	session_unref(s);
	if (!er)
		progress_status_done(env->progress, STR("sending tarball"), started);
	return er;
}

static bool no_finalize(const struct exporter *e)
{
	(void)e;
	return false;
}

static const struct cache_compress *no_compression(const struct exporter *e)
{
	(void)e;
	return NULL;
}

static void tar_free(struct exporter *e)
{
	struct tar_exporter *x = container_of(e, struct tar_exporter, base);

	arena_fini(&x->arena);
	free(x);
}

static const struct exporter_ops tar_ops = {
	.export = tar_export,
	.needs_finalize = no_finalize,
	.compression = no_compression,
	.free = tar_free,
};

struct err *tar_exporter_new(const struct exporter_host *h, const struct exporter_kv *attrs,
			     size_t n, struct exporter **ret)
{
	struct attrs at = { attrs, n };
	struct tree_attrs t;
	struct tar_exporter *x;

	(void)h;
	TRY(tree_attrs_parse(&at, false, &t));
	x = NEW(struct tar_exporter);
	x->base = (struct exporter) { &tar_ops, "tar", "exporting to client tarball" };
	x->attrs = t;
	x->attrs.src = str_dup(&x->arena, t.src);
	*ret = &x->base;
	return NULL;
}
