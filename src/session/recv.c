#include "session/recv.h"

#include "base/glob.h"
#include "base/json.h"
#include "session/filesync.h"
#include "sys/fd.h"
#include "sys/rmtree.h"
#include "sys/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define METADATA_FILE ".fsutil-metadata"
/* First pieces of files kept in memory until it is known whether there is a second. */
#define HELD_MAX (8 * MIB)
#define PROGRESS_EVERY (100 * NSEC_PER_MSEC)

struct recv {
	struct grpc_stream *st;
	struct ctx *ctx; /* the pool's */
	struct arena *a;
	const struct recv_opts *o;
	struct recv_owner owner;
	struct recv_dirs dirs;
	struct recv_dir root;
	struct recv_dir *last_dir; /* of the entry that was emitted last */
	struct recv_pool *pool;
	struct hasher *hash;
	struct order order;
	struct state_cursor *old; /* NULL: not known what is there */

	VEC(struct recv_entry *) entries; /* all, by id */
	VEC(struct recv_entry *) disk;    /* those in the destination */
	VEC(struct recv_dir *) stack;     /* directories around the last entry */
	VEC(struct recv_dir *) touched;
	VEC(struct recv_entry *) links;
	struct buf metadata;

	bool all_stats, told_by_peer;
	bool changing; /* before_change was called */
	size_t left;   /* wanted files that are not complete */
	size_t held;
	uint64_t bytes;
	int64_t progress_at;
};

static struct err *before_change(struct recv *r)
{
	const struct filesync_sink *s = r->o->sink;

	if (r->changing || !s || !s->before_change)
		return NULL;
	r->changing = true;
	return s->before_change(s->arg);
}

/* ---- what was there ---- */

static void skip_below(struct state_cursor *c, struct str dir)
{
	while (c->valid && c->meta.path.len > dir.len && c->meta.path.ptr[dir.len] == '/' &&
	       str_has_prefix(c->meta.path, dir))
		state_next(c);
}

static void touch(struct recv *r, struct recv_dir *d)
{
	if (d->touched || !d->entry)
		return;
	d->touched = true;
	vec_push(&r->touched, d);
}

/* The entry at the cursor is gone from the sender. Its directory is not, and holds the entry that
 * was emitted last. */
static struct err *remove_old(struct recv *r)
{
	struct state_cursor *c = r->old;
	SCOPED_ARENA(a);
	struct str path = str_dup(&a, c->meta.path), dir = order_dir(path);
	bool is_dir = S_ISDIR(c->meta.mode);
	struct recv_dir *d = r->last_dir;

	while (d->entry && !str_eq(d->path, dir))
		d = d->parent;
	if (!str_eq(d->path, dir))
		return err_new(ERR_INTERNAL, "list of entries has %.*s without its directory",
			       STR_ARG(path));
	TRY(before_change(r));
	TRY(recv_remove(&r->dirs, d, order_name(path).ptr));
	touch(r, d);
	state_next(c);
	if (is_dir)
		skip_below(c, path);
	return NULL;
}

static struct err *remove_before(struct recv *r, struct str path)
{
	while (r->old->valid && path_order(r->old->meta.path, path) < 0)
		TRY(remove_old(r));
	return NULL;
}

static struct recv_entry *find(struct recv *r, struct str path)
{
	size_t lo = 0, hi = r->entries.len;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = path_order(r->entries.items[mid]->meta.path, path);

		if (c == 0)
			return r->entries.items[mid];
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static bool is_link(const struct recv_entry *e)
{
	return e->regular && e->meta.linkname.len;
}

static bool is_same(struct recv *r, const struct recv_entry *e)
{
	const struct entry_meta *o = &r->old->meta, *n = &e->meta;

	if (r->o->differ_none || o->mode != n->mode || o->uid != n->uid || o->gid != n->gid ||
	    o->devmajor != n->devmajor || o->devminor != n->devminor ||
	    !str_eq(o->linkname, n->linkname) || o->xattr_hash != n->xattr_hash)
		return false;
	if (!S_ISDIR(n->mode) && (o->size != n->size || o->mtime_ns != n->mtime_ns))
		return false;
	/* Another name of a file that is made anew must be made anew. */
	if (is_link(e)) {
		struct recv_entry *source = find(r, n->linkname);

		return source && source->kept;
	}
	return !r->o->hash || r->old->has_digest;
}

/* ---- making an entry ---- */

static struct err *request(struct recv *r, struct recv_entry *e, uint32_t id)
{
	uint8_t packet[PACKET_HEAD];

	e->wanted = true;
	r->left++;
	/* This thread must never wait for the peer to take a request: the peer may be waiting
	 * for us to take its data. */
	return grpc_send_now(r->st, str_make(packet, packet_req(packet, id)));
}

static struct err *make(struct recv *r, struct recv_entry *e, uint32_t id, enum recv_was was)
{
	TRY(before_change(r));
	switch (e->meta.mode & S_IFMT) {
	case S_IFDIR:
		TRY(recv_place_dir(&r->dirs, &r->owner, e, was));
		touch(r, e->self);
		break;
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
		TRY(recv_place_node(&r->dirs, &r->owner, e, was));
		break;
	default:
		if (!e->regular)
			return err_new(ERR_INVALID_ARGUMENT, "invalid file request %.*s",
				       STR_ARG(e->meta.path));
		if (was == WAS_DIR)
			TRY(recv_remove(&r->dirs, e->dir, e->name));
		e->replace = was == WAS_OTHER;
		touch(r, e->dir);
		if (is_link(e)) {
			/* When its source is complete. */
			vec_push(&r->links, e);
			return NULL;
		}
		return request(r, e, id);
	}
	if (was != WAS_DIR || !S_ISDIR(e->meta.mode))
		touch(r, e->dir);
	if (r->hash)
		recv_digest_entry(r->hash, e);
	return NULL;
}

static struct err *emit(struct recv *r, struct recv_entry *e, uint32_t id)
{
	enum recv_was was = r->old ? WAS_NOTHING : WAS_UNKNOWN;

	if (r->old) {
		TRY(remove_before(r, e->meta.path));
		if (r->old->valid && str_eq(r->old->meta.path, e->meta.path)) {
			was = S_ISDIR(r->old->meta.mode) ? WAS_DIR : WAS_OTHER;
			e->kept = is_same(r, e);
			e->has_digest = e->kept && r->old->has_digest;
			if (e->has_digest)
				memcpy(e->sha, r->old->sha, RECV_SHA);
			if (e->kept)
				e->got = r->old->meta.size;
			state_next(r->old);
			if (was == WAS_DIR && !S_ISDIR(e->meta.mode))
				skip_below(r->old, e->meta.path);
		}
	}
	e->on_disk = true;
	vec_push(&r->disk, e);
	r->last_dir = e->self ? e->self : e->dir;
	if (e->self)
		e->self->placed = true;
	return e->kept ? NULL : make(r, e, id, was);
}

/* Directories of a metadata-only transfer come when something in them does. */
static struct err *emit_dirs(struct recv *r, struct recv_dir *d)
{
	if (d->placed)
		return NULL;
	TRY(emit_dirs(r, d->parent));
	return emit(r, d->entry, 0);
}

/* ---- packets ---- */

static uint64_t hash_xattrs(const struct fs_stat *st)
{
	uint64_t h = 0;

	for (size_t i = 0; i < st->n_xattrs; i++) {
		h = h * 1099511628211u + str_hash(st->xattrs[i].name);
		h = h * 1099511628211u + str_hash(st->xattrs[i].value) + 1;
	}
	return h;
}

static const struct fs_xattr *dup_xattrs(struct arena *a, const struct fs_stat *st)
{
	struct fs_xattr *x = ARENA_NEW_N(a, struct fs_xattr, st->n_xattrs + 1);

	for (size_t i = 0; i < st->n_xattrs; i++)
		x[i] = (struct fs_xattr) { str_dup(a, st->xattrs[i].name),
					   str_dup(a, st->xattrs[i].value) };
	return x;
}

static struct recv_entry *new_entry(struct recv *r, const struct fs_stat *st)
{
	struct recv_entry *e = ARENA_NEW(r->a, struct recv_entry);

	e->meta = (struct entry_meta) {
		.path = str_dup(r->a, st->path),
		.linkname = str_dup(r->a, st->linkname),
		.mode = mode_to_posix(st->mode),
		.uid = r->o->own_ids ? r->owner.uid : st->uid,
		.gid = r->o->own_ids ? r->owner.gid : st->gid,
		.devmajor = (uint32_t)st->devmajor,
		.devminor = (uint32_t)st->devminor,
		.size = st->size > 0 ? (uint64_t)st->size : 0,
		.mtime_ns = st->mtime_ns,
		.xattr_hash = hash_xattrs(st),
	};
	e->regular = mode_is_regular(st->mode);
	if (st->n_xattrs) {
		e->xattrs = dup_xattrs(r->a, st);
		e->n_xattrs = st->n_xattrs;
	}
	return e;
}

static struct err *check_link(struct recv *r, const struct recv_entry *e)
{
	struct recv_entry *source;

	if (!is_link(e))
		return NULL;
	source = find(r, e->meta.linkname);
	if (!source || source == e || S_ISDIR(source->meta.mode) || S_ISLNK(source->meta.mode) ||
	    is_link(source)) {
		SCOPED_BUF(b, 4 * LIMIT_PATH + 16);

		go_quote(&b, e->meta.linkname);
		return err_new(ERR_INVALID_ARGUMENT, "invalid link %.*s to unknown path: %s",
			       STR_ARG(e->meta.path), buf_cstr(&b));
	}
	return NULL;
}

/* Its place in the tree. */
static void attach(struct recv *r, struct recv_entry *e)
{
	struct str dir = order_dir(e->meta.path);

	while (r->stack.len > 1 && !str_eq(r->stack.items[r->stack.len - 1]->path, dir))
		(void)vec_pop(&r->stack);
	e->dir = r->stack.items[r->stack.len - 1];
	e->name = order_name(e->meta.path).ptr;
	if (!S_ISDIR(e->meta.mode))
		return;
	e->self = ARENA_NEW(r->a, struct recv_dir);
	recv_dir_init(e->self);
	e->self->entry = e;
	e->self->parent = e->dir;
	e->self->path = e->meta.path;
	e->self->setgid = e->meta.mode & S_ISGID;
	vec_push(&r->stack, e->self);
}

static struct err *keep_metadata(struct recv *r, struct str raw)
{
	const unsigned char len[4] = { (unsigned char)raw.len, (unsigned char)(raw.len >> 8),
				       (unsigned char)(raw.len >> 16),
				       (unsigned char)(raw.len >> 24) };

	buf_add(&r->metadata, len, sizeof(len));
	buf_add_str(&r->metadata, raw);
	return buf_check(&r->metadata, "metadata of the transfer");
}

static struct err *on_stat(struct recv *r, const struct packet *p)
{
	uint32_t id = (uint32_t)r->entries.len;
	struct recv_entry *e;
	bool with_data = true;

	if (r->all_stats)
		return err_new(ERR_INVALID_ARGUMENT, "entry after the last one");
	if (r->entries.len >= LIMIT_FILESYNC_ENTRIES)
		return err_new(ERR_RESOURCE_EXHAUSTED, "more than %d files",
			       LIMIT_FILESYNC_ENTRIES);
	e = new_entry(r, &p->stat);
	if (r->o->metadata_only && str_eq_cstr(e->meta.path, METADATA_FILE)) {
		vec_push(&r->entries, e); /* it counts, and that is all */
		return NULL;
	}
	TRY(order_check(&r->order, e->meta.path, S_ISDIR(e->meta.mode)));
	vec_push(&r->entries, e);
	TRY(check_link(r, e));
	attach(r, e);
	if (r->o->metadata_only) {
		TRY(keep_metadata(r, p->raw_stat));
		with_data = false;
		if (r->o->except)
			TRY(patterns_match(r->o->except, e->meta.path, &with_data));
	}
	if (!with_data)
		return NULL;
	TRY(emit_dirs(r, e->dir));
	return emit(r, e, id);
}

static struct err *on_data(struct recv *r, const struct packet *p, struct buf *msg)
{
	struct recv_entry *e = p->id < r->entries.len ? r->entries.items[p->id] : NULL;
	struct recv_file *f;

	if (!e || !e->wanted)
		return err_new(ERR_INVALID_ARGUMENT, "invalid file request %u", p->id);
	if (!e->file)
		e->file = recv_file_new(r->pool, e, e->replace);
	f = e->file;
	if (!p->data.len) {
		e->wanted = false;
		e->file = NULL;
		r->left--;
		r->held -= f->held.len;
		return recv_pool_put(r->pool, f, TAKE_PTR(f->held_mem), f->held, true);
	}
	if (f->held_mem) {
		r->held -= f->held.len;
		f->streaming = true;
		TRY(recv_pool_put(r->pool, f, TAKE_PTR(f->held_mem), f->held, false));
		f->held = STR_NONE;
	}
	/* The message's memory goes along with the piece. */
	if (!f->streaming && r->held < HELD_MAX) {
		f->held = p->data;
		f->held_mem = buf_take(msg);
		r->held += f->held.len;
		return NULL;
	}
	f->streaming = true;
	return recv_pool_put(r->pool, f, buf_take(msg), p->data, false);
}

static void progress(struct recv *r, bool done)
{
	const struct filesync_sink *s = r->o->sink;
	int64_t now;

	if (!s || !s->progress)
		return;
	now = clock_now();
	if (!done && now < r->progress_at)
		return;
	r->progress_at = now + PROGRESS_EVERY;
	s->progress(s->arg, r->bytes, done);
}

static struct err *on_packet(struct recv *r, struct buf *msg, struct arena *scratch)
{
	struct packet p;

	TRY(packet_parse(buf_str(msg), scratch, &p));
	switch (p.type) {
	case PACKET_STAT:
		if (p.has_stat)
			return on_stat(r, &p);
		r->all_stats = true;
		/* What comes after everything that was sent. */
		while (r->old && r->old->valid)
			TRY(remove_old(r));
		return NULL;
	case PACKET_DATA:
		return on_data(r, &p, msg);
	case PACKET_ERR:
		r->told_by_peer = true;
		return err_new(ERR_UNKNOWN, "error from sender: %.*s", STR_ARG(p.data));
	default:
		return NULL;
	}
}

static struct err *take_packets(struct recv *r)
{
	SCOPED_BUF(msg, LIMIT_GRPC_MESSAGE);
	SCOPED_ARENA(scratch);
	bool eof;

	while (!r->all_stats || r->left) {
		if (!grpc_recv_ready(r->st))
			recv_pool_flush(r->pool);
		TRY(grpc_recv(r->st, r->ctx, &msg, &eof));
		if (eof)
			return err_new(ERR_UNKNOWN, "unexpected EOF");
		r->bytes += msg.len;
		progress(r, false);
		TRY(on_packet(r, &msg, &scratch));
		if (scratch.used)
			arena_fini(&scratch);
	}
	return NULL;
}

/* ---- the end ---- */

static struct err *make_links(struct recv *r)
{
	vec_each (&r->links, it) {
		struct recv_entry *e = *it, *source = find(r, e->meta.linkname);

		if (!source || !source->on_disk)
			return err_new(ERR_NOT_FOUND, "failed to link %.*s to %.*s",
				       STR_ARG(e->meta.path), STR_ARG(e->meta.linkname));
		TRY(recv_place_link(&r->dirs, e, source));
		e->has_digest = source->has_digest;
		memcpy(e->sha, source->sha, RECV_SHA);
	}
	return NULL;
}

static struct err *remove_others(struct recv *r)
{
	CLEANUP(walk_closep) struct walk *w = NULL;
	const struct walk_entry *we;
	size_t i = 0;

	TRY(walk_open(r->dirs.root, WALK_NO_STAT, &w));
	for (;;) {
		TRY(walk_next(w, &we));
		if (!we)
			return NULL;
		while (i < r->disk.len && path_order(r->disk.items[i]->meta.path, we->path) < 0)
			i++;
		if (i < r->disk.len && str_eq(r->disk.items[i]->meta.path, we->path))
			continue;
		TRYW(rmtree(we->dirfd, we->name), "failed to remove: %.*s", STR_ARG(we->path));
		if (S_ISDIR(we->st.st_mode))
			walk_skip(w);
	}
}

/* Stands in the destination beside what came with data. */
static struct err *write_metadata(struct recv *r)
{
	struct recv_entry *e = ARENA_NEW(r->a, struct recv_entry);
	CLEANUP_FD int fd = -1;
	size_t at = 0;

	TRY(before_change(r));
	if (unlinkat(r->dirs.root, METADATA_FILE, 0) < 0 && errno != ENOENT)
		TRY(rmtree(r->dirs.root, METADATA_FILE));
	fd = openat(r->dirs.root, METADATA_FILE,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_errno(errno, "open " METADATA_FILE);
	if (fchmod(fd, 0644) < 0)
		return err_errno(errno, "chmod " METADATA_FILE);
	TRYW(fd_write_all(fd, r->metadata.data, r->metadata.len), "write " METADATA_FILE);
	e->meta = (struct entry_meta) { .path = STR(METADATA_FILE),
					.mode = S_IFREG | 0644,
					.uid = r->owner.uid,
					.gid = r->owner.gid,
					.size = r->metadata.len };
	e->got = r->metadata.len;
	e->name = e->meta.path.ptr;
	e->dir = &r->root;
	if (r->hash) {
		recv_hash_begin(r->hash, e);
		hasher_add_str(r->hash, buf_str(&r->metadata));
		struct digest d = hasher_sum(r->hash);

		memcpy(e->sha, d.bytes, RECV_SHA);
		e->has_digest = true;
	}
	while (at < r->disk.len && path_order(r->disk.items[at]->meta.path, e->meta.path) < 0)
		at++;
	vec_push(&r->disk, e);
	memmove(r->disk.items + at + 1, r->disk.items + at,
		(r->disk.len - 1 - at) * sizeof(*r->disk.items));
	r->disk.items[at] = e;
	return NULL;
}

static struct err *finish(struct recv *r)
{
	SCOPED_BUF(msg, LIMIT_GRPC_MESSAGE);
	bool eof = false;

	TRY(recv_pool_wait(r->pool));
	TRY(make_links(r));
	if (r->o->mirror)
		TRY(remove_others(r));
	vec_each (&r->touched, d)
		TRY(recv_set_dir_time(&r->dirs, *d));
	if (r->o->metadata_only)
		TRY(write_metadata(r));
	packet_put_fin(&msg);
	TRY(grpc_send_now(r->st, buf_str(&msg)));
	while (!eof) {
		TRY(grpc_recv(r->st, r->ctx, &msg, &eof));
		r->bytes += msg.len;
	}
	return NULL;
}

static void tell_peer(struct recv *r, const struct err *e)
{
	SCOPED_BUF(b, LIMIT_ERROR_TEXT + 64);

	if (r->told_by_peer)
		return;
	packet_put_err(&b, err_text(e));
	if (!b.overflow)
		err_free(grpc_send_now(r->st, buf_str(&b)));
}

static struct err *open_destination(struct recv *r)
{
	if (r->o->merge || r->o->mirror)
		return NULL;
	r->old = NEW(struct state_cursor);
	if (state_open(r->old, r->o->previous))
		return NULL;
	TRY(before_change(r));
	return rmtree_content(r->dirs.root);
}

struct err *recv_run(struct grpc_stream *st, struct ctx *ctx, int dest_dirfd,
		     const struct recv_opts *o, struct arena *a, struct recv_entry ***ret,
		     size_t *ret_n)
{
	struct recv r = { .st = st, .a = a, .o = o };
	struct err *e;

	recv_owner_init(&r.owner);
	recv_dirs_init(&r.dirs, dest_dirfd);
	recv_dir_init(&r.root);
	r.root.placed = true;
	r.last_dir = &r.root;
	r.pool = recv_pool_new(ctx, &r.dirs, &r.owner, o->hash);
	r.ctx = recv_pool_ctx(r.pool);
	r.hash = o->hash ? hasher_new(DIGEST_SHA256) : NULL;
	buf_init(&r.metadata, LIMIT_FILESYNC_METADATA);
	vec_push(&r.stack, &r.root);

	e = open_destination(&r);
	if (!e)
		e = take_packets(&r);
	if (!e)
		e = finish(&r);
	if (e)
		tell_peer(&r, e);
	progress(&r, true);

	recv_pool_stop(r.pool);
	vec_each (&r.entries, it)
		if ((*it)->file)
			recv_file_drop(r.pool, (*it)->file);
	recv_pool_free(r.pool);
	if (!e) {
		*ret = arena_dup(a, r.disk.items, r.disk.len * sizeof(*r.disk.items));
		*ret_n = r.disk.len;
	}
	recv_dirs_fini(&r.dirs);
	hasher_free(r.hash);
	order_fini(&r.order);
	vec_fini(&r.entries);
	vec_fini(&r.disk);
	vec_fini(&r.stack);
	vec_fini(&r.touched);
	vec_fini(&r.links);
	buf_fini(&r.metadata);
	free(r.old);
	return e;
}
