#include "session/filesync.h"

#include "base/glob.h"
#include "base/limits.h"
#include "session/internal.h"
#include "session/recv.h"

#include <sys/stat.h>

#define METHOD "/moby.filesync.v1.FileSync/DiffCopy"

static struct err *open_stream(struct session *s, struct ctx *ctx, const struct filesync_opts *o,
			       struct grpc_stream **ret)
{
	SCOPED_ARENA(a);
	SCOPED_MD(md, &a);

	if (!session_has_method(s, METHOD))
		return err_new(ERR_UNKNOWN, "no local sources enabled");
	md_add_list(&md, "dir-name", &o->dir_name, 1);
	md_add_list(&md, "include-patterns", o->include, o->n_include);
	md_add_list(&md, "exclude-patterns", o->exclude, o->n_exclude);
	md_add_list(&md, "followpaths", o->follow, o->n_follow);
	return grpc_call(session_client(s), ctx, METHOD, md.v.items, md.v.len, ret);
}

static void write_state(struct buf *out, struct recv_entry *const *list, size_t n)
{
	struct state_writer w;

	state_begin(&w, out);
	for (size_t i = 0; i < n; i++) {
		struct entry_meta m = list[i]->meta;

		if (!list[i]->dir->entry && str_eq_cstr(m.path, ".fsutil-metadata"))
			continue;
		/* What came may not be what was announced: then it will be asked for again. */
		if (list[i]->regular && !m.linkname.len)
			m.size = list[i]->got;
		state_put(&w, &m, list[i]->has_digest ? list[i]->sha : NULL);
	}
	state_end(&w);
}

static struct contenthash_known *make_known(struct arena *a, struct recv_entry *const *list,
					    size_t n)
{
	struct contenthash_known *k = ARENA_NEW_N(a, struct contenthash_known, n + 1);

	for (size_t i = 0; i < n; i++) {
		k[i].path = list[i]->meta.path;
		k[i].mode = list[i]->meta.mode;
		if ((k[i].mode & S_IFMT) == S_IFLNK)
			k[i].linkname = list[i]->meta.linkname;
		if (list[i]->has_digest) {
			k[i].digest.algo = DIGEST_SHA256;
			memcpy(k[i].digest.bytes, list[i]->sha, RECV_SHA);
		}
	}
	return k;
}

struct err *filesync_receive(struct session *s, struct ctx *ctx, const struct filesync_opts *o,
			     int dest_dirfd, struct str previous_state, struct buf *ret_state,
			     struct arena *a, struct contenthash_known **ret_known,
			     size_t *ret_n_known, const struct filesync_sink *sink)
{
	CLEANUP(grpc_stream_freep) struct grpc_stream *st = NULL;
	struct recv_opts r = {
		.previous = previous_state,
		.differ_none = o->differ_none,
		.hash = true,
		.metadata_only = o->metadata_only,
		.sink = sink,
	};
	struct patterns *except = NULL;
	struct recv_entry **list;
	size_t n;

	if (o->metadata_only && o->n_metadata_except)
		TRY(patterns_new(a, o->metadata_except, o->n_metadata_except, &except));
	r.except = except;
	TRY(open_stream(s, ctx, o, &st));
	TRY(recv_run(st, ctx, dest_dirfd, &r, a, &list, &n));
	err_free(grpc_close_send(st));
	write_state(ret_state, list, n);
	TRY(buf_check(ret_state, "list of entries"));
	*ret_known = make_known(a, list, n);
	*ret_n_known = n;
	return NULL;
}

struct err *fsutil_recv(struct grpc_stream *st, struct ctx *ctx, int dest_dirfd,
			const struct fsutil_recv_opts *o, const struct filesync_sink *sink)
{
	struct recv_opts r = {
		.merge = o->merge,
		.mirror = !o->merge,
		.differ_none = true,
		.own_ids = true,
		.sink = sink,
	};
	struct recv_entry **list;
	SCOPED_ARENA(a);
	size_t n;

	return recv_run(st, ctx, dest_dirfd, &r, &a, &list, &n);
}
