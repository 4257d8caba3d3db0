#include "session/attach_internal.h"

#include "base/json.h"
#include "base/limits.h"
#include "session/filesync.h"
#include "sys/fd.h"
#include "sys/file.h"

#include <errno.h>

/* ---- files for the daemon ---- */

static void free_local(void *p)
{
	struct attach_local *l = p;

	if (l) {
		(void)close(l->fd);
		free(l);
	}
}

void attach_free_locals(struct attach *a)
{
	map_fini(&a->locals, free_local);
}

struct err *attach_add_local(struct attach *a, const char *name, const char *dir)
{
	struct attach_local *l;
	int fd;

	TRY(fd_open_dir(AT_FDCWD, dir, &fd));
	l = NEW(struct attach_local);
	l->fd = fd;
	free_local(map_put(&a->locals, str_from(name), l));
	return NULL;
}

struct err *attach_filesync(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct attach *a = arg;
	/* Files of a context belong to nobody in particular. */
	struct fsutil_send_opts o = { .reset_owner = true, .epoch_ns = -1 };
	struct filesend_tree tree = { 0 };
	SCOPED_ARENA(mem);
	struct str *include, *exclude, *follow, name = md_get(s, &mem, "dir-name");
	struct attach_local *l = map_get(&a->locals, name);

	if (!l) {
		SCOPED_BUF(b, LIMIT_GRPC_HEADERS * 4);

		go_quote(&b, name);
		return err_new(ERR_NOT_FOUND, "no access allowed to dir %s", buf_cstr(&b));
	}
	o.n_include = md_get_list(s, &mem, "include-patterns", &include);
	o.n_exclude = md_get_list(s, &mem, "exclude-patterns", &exclude);
	o.n_follow = md_get_list(s, &mem, "followpaths", &follow);
	o.include = include;
	o.exclude = exclude;
	o.follow = follow;
	tree.dirfd = l->fd;
	return fsutil_send(s, ctx, &tree, 1, &o, NULL);
}

/* ---- results from the daemon ---- */

void attach_free_exports(struct attach *a)
{
	vec_each (&a->exports, x) {
		free(x->dir);
		if (x->fd >= 0)
			(void)close(x->fd);
	}
	vec_fini(&a->exports);
}

struct err *attach_add_export_dir(struct attach *a, int index, const char *dir, bool mirror)
{
	vec_push(&a->exports,
		 ((struct attach_export) {
			 .index = index, .dir = mem_strdup(dir), .mirror = mirror, .fd = -1 }));
	return NULL;
}

struct err *attach_add_export_fd(struct attach *a, int index, int take_fd)
{
	vec_push(&a->exports, ((struct attach_export) { .index = index, .fd = take_fd }));
	return NULL;
}

static struct err *recv_dir(struct ctx *ctx, struct grpc_stream *s, const struct attach_export *x)
{
	struct fsutil_recv_opts o = { .merge = !x->mirror };
	CLEANUP_FD int fd = -1;

	if (x->mirror && !str_eq_cstr(grpc_md_get(s, EXPORTER_MULTI_KEY), "1"))
		return err_new(ERR_UNKNOWN, "local exporter mode=delete requires a BuildKit daemon "
					    "with multi-platform local export support");
	TRYW(file_mkdirs(AT_FDCWD, x->dir, 0700), "failed to create synctarget dest dir %s",
	     x->dir);
	TRYW(fd_open_dir(AT_FDCWD, x->dir, &fd), "failed to open synctarget dest root %s", x->dir);
	return fsutil_recv(s, ctx, fd, &o, NULL);
}

static struct err *recv_file(struct ctx *ctx, struct grpc_stream *s, int take_fd)
{
	CLEANUP_FD int fd = take_fd;
	SCOPED_BUF(msg, LIMIT_GRPC_MESSAGE);
	struct str data;
	bool eof;

	for (;;) {
		TRY(grpc_recv(s, ctx, &msg, &eof));
		if (eof)
			break;
		TRY(bytes_parse(buf_str(&msg), &data));
		TRYW(fd_write_all(fd, data.ptr, data.len), "write");
	}
	if (close(TAKE_FD(fd)) < 0)
		return err_errno(errno, "close");
	return NULL;
}

struct err *attach_filesend(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct attach *a = arg;
	int64_t index = 0;

	(void)str_to_i64(grpc_md_get(s, EXPORTER_ID_KEY), &index);
	vec_each (&a->exports, x) {
		int fd;

		if (x->index != index)
			continue;
		if (x->dir)
			return recv_dir(ctx, s, x);
		lock_take(&a->lock);
		fd = TAKE_FD(x->fd);
		lock_drop(&a->lock);
		if (fd < 0)
			return err_new(ERR_ALREADY_EXISTS, "target already exists");
		return recv_file(ctx, s, fd);
	}
	return err_new(ERR_UNKNOWN, "exporter %lld not found", (long long)index);
}
