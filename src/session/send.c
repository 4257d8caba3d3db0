/* The sending side of a transfer: one task walks and tells what there is, one listens to what is
 * asked for, several read files. */
#include "session/filesync.h"
#include "session/fsutil_wire.h"
#include "session/send_filter.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/task.h"
#include "base/vec.h"
#include "sys/walk.h"
#include "sys/xattr.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#define READERS 4
#define CHUNK (256 * KIB)
#define PROGRESS_EVERY (100 * NSEC_PER_MSEC)

struct send_file {
	struct str path; /* in its tree; NUL-terminated; empty: nothing to ask for */
	int dirfd;       /* of the tree */
	bool asked;
};

struct sender {
	struct grpc_stream *st;
	const struct fsutil_send_opts *o;
	const struct filesync_sink *sink;
	struct task_group tasks;
	atomic_uint_fast64_t bytes;
	atomic_int_fast64_t progress_at;

	struct lock lock;
	struct cond work;            /* ids, or the end of them */
	struct cond drained;         /* all that was asked for is sent */
	VEC(struct send_file) files; /* by id */
	VEC(uint32_t) queue;
	size_t next; /* in queue */
	size_t busy; /* readers at work */
	bool no_more;

	/* The walk's own. */
	struct arena arena;
	struct buf out;
	uint32_t id;
};

static void progress(struct sender *s, size_t n, bool done)
{
	uint64_t total = atomic_fetch_add(&s->bytes, n) + n;
	int64_t now, at = atomic_load(&s->progress_at);

	if (!s->sink || !s->sink->progress)
		return;
	now = clock_now();
	if (!done && (now < at ||
		      !atomic_compare_exchange_strong(&s->progress_at, &at, now + PROGRESS_EVERY)))
		return;
	s->sink->progress(s->sink->arg, total, done);
}

/* ---- telling what there is ---- */

struct visited { /* a directory around the current entry */
	struct str path;
	struct send_verdict verdict;
	struct fs_stat stat;
	bool sent;
};

struct tree_walk {
	struct sender *s;
	const struct filesend_tree *tree;
	struct send_filter filter;
	struct map inodes; /* "dev:ino" -> struct str *: first path sent */
	VEC(struct visited) dirs;
	struct ctx *ctx;
};

static bool want_xattr(struct str name)
{
	return !str_has_prefix(name, STR("com.apple."));
}

static struct err *load_xattrs(const struct walk_entry *we, struct arena *a, struct fs_stat *st)
{
	struct fs_xattr *out;
	struct xattr *x;
	size_t n;

	if (!xattr_any(we->dirfd, we->name))
		return NULL;
	TRYW(xattr_read_all(we->dirfd, we->name, want_xattr, a, &x, &n), "failed to xattr %.*s",
	     STR_ARG(we->path));
	out = ARENA_NEW_N(a, struct fs_xattr, n + 1);
	for (size_t i = 0; i < n; i++)
		out[i] = (struct fs_xattr) { x[i].name, x[i].value };
	st->xattrs = out;
	st->n_xattrs = n;
	return NULL;
}

static struct str with_prefix(struct arena *a, const struct filesend_tree *t, struct str path)
{
	if (!t->prefix.len)
		return path;
	return str_from(arena_printf(a, "%.*s/%.*s", STR_ARG(t->prefix), STR_ARG(path)));
}

/* An absolute target moves along with its tree. */
static struct err *load_link(const struct walk_entry *we, const struct filesend_tree *t,
			     struct arena *a, struct fs_stat *st)
{
	char text[LIMIT_PATH + 1];
	ssize_t n = readlinkat(we->dirfd, we->name, text, sizeof(text) - 1);

	if (n < 0)
		return err_errno(errno, "readlink %.*s", STR_ARG(we->path));
	text[n] = '\0';
	if (t->prefix.len && text[0] == '/')
		st->linkname =
			str_from(arena_printf(a, "/%.*s%s", STR_ARG(t->prefix), n > 1 ? text : ""));
	else
		st->linkname = str_dup(a, str_make(text, (size_t)n));
	return NULL;
}

static struct err *load_stat(struct tree_walk *w, const struct walk_entry *we, struct arena *a,
			     struct fs_stat *ret)
{
	const struct fsutil_send_opts *o = w->s->o;
	const struct stat *s = &we->st;
	struct fs_stat st = {
		.path = with_prefix(a, w->tree, we->path),
		.mode = mode_from_posix(s->st_mode),
		.uid = o->reset_owner ? 0 : s->st_uid,
		.gid = o->reset_owner ? 0 : s->st_gid,
		.size = S_ISDIR(s->st_mode) ? 0 : s->st_size,
		.mtime_ns = o->epoch_ns >= 0 ? o->epoch_ns : clock_from_timespec(s->st_mtim),
	};

	if (S_ISBLK(s->st_mode) || S_ISCHR(s->st_mode)) {
		st.devmajor = major(s->st_rdev);
		st.devminor = minor(s->st_rdev);
	}
	if (S_ISLNK(s->st_mode))
		TRY(load_link(we, w->tree, a, &st));
	TRY(load_xattrs(we, a, &st));
	*ret = st;
	return NULL;
}

static struct err *send_stat(struct sender *s, struct ctx *ctx, const struct fs_stat *st,
			     struct send_file file)
{
	lock_take(&s->lock);
	vec_push(&s->files, file);
	lock_drop(&s->lock);
	if (s->id++ >= LIMIT_FILESYNC_ENTRIES)
		return err_new(ERR_RESOURCE_EXHAUSTED, "more than %d files",
			       LIMIT_FILESYNC_ENTRIES);
	buf_clear(&s->out);
	packet_put_stat(&s->out, st);
	TRY(buf_check(&s->out, "entry"));
	progress(s, s->out.len, false);
	/* Where the stream has ended, its status is the reason. */
	return grpc_send(s->st, ctx, buf_str(&s->out));
}

/* The first name of an inode that is sent is the file; the others are links to it. */
static void link_names(struct tree_walk *w, const struct walk_entry *we, struct fs_stat *st)
{
	char key[48];
	struct str k, *first;

	if (we->st.st_nlink < 2 || S_ISDIR(we->st.st_mode) || S_ISLNK(we->st.st_mode))
		return;
	k = str_make(key, (size_t)snprintf(key, sizeof(key), "%llx:%llx",
					   (unsigned long long)we->st.st_dev,
					   (unsigned long long)we->st.st_ino));
	first = map_get(&w->inodes, k);
	if (first) {
		st->linkname = *first;
		st->size = 0;
		return;
	}
	first = ARENA_NEW(&w->s->arena, struct str);
	*first = str_dup(&w->s->arena, st->path);
	(void)map_put(&w->inodes, k, first);
}

static struct err *send_parents(struct tree_walk *w)
{
	vec_each (&w->dirs, d) {
		if (d->sent)
			continue;
		d->sent = true;
		TRY(send_stat(w->s, w->ctx, &d->stat, (struct send_file) { 0 }));
	}
	return NULL;
}

static struct err *visit_dir(struct tree_walk *w, const struct walk_entry *we,
			     const struct send_verdict *v)
{
	struct arena *a = &w->s->arena;
	struct visited d = { .path = str_dup(a, we->path), .verdict = *v };

	TRY(load_stat(w, we, a, &d.stat));
	/* The walk's path is good for one step only. */
	d.stat.path = with_prefix(a, w->tree, d.path);
	vec_push(&w->dirs, d);
	return v->take ? send_parents(w) : NULL;
}

static struct err *visit_other(struct tree_walk *w, const struct walk_entry *we)
{
	struct send_file f = { .dirfd = w->tree->dirfd };
	struct fs_stat st;
	SCOPED_ARENA(a);

	TRY(send_parents(w));
	TRY(load_stat(w, we, &a, &st));
	link_names(w, we, &st);
	/* A socket is an empty file to the receiver, who will ask for it. */
	if (mode_is_regular(st.mode))
		f.path = str_dup(&w->s->arena, we->path);
	return send_stat(w->s, w->ctx, &st, f);
}

static struct err *visit(struct tree_walk *w, struct walk *walk, const struct walk_entry *we)
{
	bool is_dir = S_ISDIR(we->st.st_mode);
	struct send_verdict v;
	struct visited *top;

	while (w->dirs.len) {
		top = &w->dirs.items[w->dirs.len - 1];
		if (we->path.len > top->path.len && we->path.ptr[top->path.len] == '/' &&
		    str_has_prefix(we->path, top->path))
			break;
		(void)vec_pop(&w->dirs);
	}
	top = w->dirs.len ? &w->dirs.items[w->dirs.len - 1] : NULL;
	if (is_dir) {
		TRY(send_filter_check(&w->filter, &w->s->arena, we->path, true,
				      top ? &top->verdict : NULL, &v));
		if (!v.enter)
			walk_skip(walk);
		return v.take || v.enter ? visit_dir(w, we, &v) : NULL;
	}
	SCOPED_ARENA(a);
	TRY(send_filter_check(&w->filter, &a, we->path, false, top ? &top->verdict : NULL, &v));
	return v.take ? visit_other(w, we) : NULL;
}

static struct err *walk_tree(struct tree_walk *w)
{
	const struct fsutil_send_opts *o = w->s->o;
	CLEANUP(walk_closep) struct walk *walk = NULL;
	const struct walk_entry *we;

	TRY(send_filter_init(&w->filter, &w->s->arena, w->tree->dirfd, o->include, o->n_include,
			     o->exclude, o->n_exclude, o->follow, o->n_follow));
	TRY(walk_open(w->tree->dirfd, 0, &walk));
	for (;;) {
		TRY(walk_next(walk, &we));
		if (!we)
			return NULL;
		TRY(visit(w, walk, we));
	}
}

static struct err *send_tree(struct sender *s, struct ctx *ctx, const struct filesend_tree *t)
{
	struct tree_walk w = { .s = s, .tree = t, .ctx = ctx };
	struct err *e = NULL;

	if (t->prefix.len) {
		struct fs_stat st = { .path = t->prefix,
				      .mode = mode_from_posix(S_IFDIR | 0755),
				      .mtime_ns =
					      s->o->epoch_ns >= 0 ? s->o->epoch_ns : clock_wall() };

		e = send_stat(s, ctx, &st, (struct send_file) { 0 });
	}
	if (!e)
		e = walk_tree(&w);
	map_fini(&w.inodes, NULL);
	vec_fini(&w.dirs);
	return e;
}

static int by_prefix(const void *a, const void *b)
{
	return str_cmp(((const struct filesend_tree *)a)->prefix,
		       ((const struct filesend_tree *)b)->prefix);
}

static struct err *send_all(struct sender *s, struct ctx *ctx, const struct filesend_tree *trees,
			    size_t n)
{
	struct filesend_tree *sorted = arena_dup(&s->arena, trees, n * sizeof(*trees));

	if (n)
		qsort(sorted, n, sizeof(*sorted), by_prefix);
	for (size_t i = 0; i < n; i++)
		TRY(send_tree(s, ctx, &sorted[i]));
	return grpc_send(s->st, ctx, STR_NONE);
}

/* ---- sending what is asked for ---- */

static struct err *send_data(struct sender *s, struct ctx *ctx, uint32_t id, char *mem, size_t n)
{
	uint8_t head[PACKET_HEAD];
	size_t len = packet_data_head(head, id, n);
	char *from = mem + PACKET_HEAD - len;

	memcpy(from, head, len);
	progress(s, len + n, false);
	return grpc_send(s->st, ctx, str_make(from, len + n));
}

/* A file that can't be read is sent as an empty one: it may have gone since the walk. */
static int open_file(const struct send_file *f)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };

	return (int)syscall(SYS_openat2, f->dirfd, f->path.ptr, &how, sizeof(how));
}

static struct err *send_file(struct sender *s, struct ctx *ctx, uint32_t id,
			     const struct send_file *f, char *mem)
{
	CLEANUP_FD int fd = open_file(f);
	ssize_t n = 0;

	while (fd >= 0) {
		n = read(fd, mem + PACKET_HEAD, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(errno, "read %.*s", STR_ARG(f->path));
		if (n == 0)
			break;
		TRY(send_data(s, ctx, id, mem, (size_t)n));
		/* Less than asked for: that was the end of a regular file. */
		if ((size_t)n < CHUNK)
			break;
	}
	return send_data(s, ctx, id, mem, 0);
}

static struct err *read_files(struct ctx *ctx, void *arg)
{
	struct sender *s = arg;
	CLEANUP_FREE char *mem = mem_realloc(NULL, PACKET_HEAD + CHUNK, 1);
	struct err *e = NULL;

	lock_take(&s->lock);
	while (!e) {
		struct send_file f;
		uint32_t id;

		if (s->next == s->queue.len) {
			s->next = s->queue.len = 0;
			if (s->no_more)
				break;
			e = cond_wait(&s->work, &s->lock, ctx);
			continue;
		}
		id = s->queue.items[s->next++];
		f = s->files.items[id];
		s->busy++;
		lock_drop(&s->lock);
		e = send_file(s, ctx, id, &f, mem);
		lock_take(&s->lock);
		s->busy--;
		if (!s->busy && s->next == s->queue.len)
			cond_broadcast(&s->drained);
	}
	lock_drop(&s->lock);
	return e;
}

static struct err *ask_for(struct sender *s, uint32_t id)
{
	LOCKED(&s->lock);
	if (id >= s->files.len || !s->files.items[id].path.len || s->files.items[id].asked)
		return err_new(ERR_INVALID_ARGUMENT, "invalid file id %u", id);
	s->files.items[id].asked = true;
	vec_push(&s->queue, id);
	cond_signal(&s->work);
	return NULL;
}

static struct err *finish(struct sender *s, struct ctx *ctx)
{
	SCOPED_BUF(b, 16);

	lock_take(&s->lock);
	s->no_more = true;
	cond_broadcast(&s->work);
	while (s->busy || s->next < s->queue.len) {
		struct err *e = cond_wait(&s->drained, &s->lock, ctx);

		if (e) {
			lock_drop(&s->lock);
			return e;
		}
	}
	lock_drop(&s->lock);
	packet_put_fin(&b);
	return grpc_send(s->st, ctx, buf_str(&b));
}

static struct err *listen_to_requests(struct ctx *ctx, void *arg)
{
	struct sender *s = arg;
	SCOPED_BUF(msg, LIMIT_GRPC_MESSAGE);
	SCOPED_ARENA(a);
	bool eof;

	for (;;) {
		struct packet p;

		TRY(grpc_recv(s->st, ctx, &msg, &eof));
		if (eof)
			return err_new(ERR_UNKNOWN, "unexpected EOF");
		TRY(packet_parse(buf_str(&msg), &a, &p));
		if (p.type == PACKET_ERR)
			return err_new(ERR_UNKNOWN, "error from receiver: %.*s", STR_ARG(p.data));
		if (p.type == PACKET_FIN)
			return finish(s, ctx);
		if (p.type == PACKET_REQ)
			TRY(ask_for(s, p.id));
		if (a.used)
			arena_fini(&a);
	}
}

struct err *fsutil_send(struct grpc_stream *st, struct ctx *ctx, const struct filesend_tree *trees,
			size_t n, const struct fsutil_send_opts *o,
			const struct filesync_sink *sink)
{
	struct sender s = { .st = st, .o = o, .sink = sink };
	struct err *e, *group;

	lock_init(&s.lock, LOCK_PIPELINE);
	cond_init(&s.work);
	cond_init(&s.drained);
	buf_init(&s.out, LIMIT_GRPC_MESSAGE);
	task_group_init(&s.tasks, ctx, 0);
	task_group_go(&s.tasks, "send requests", listen_to_requests, &s);
	for (int i = 0; i < READERS; i++)
		task_group_go(&s.tasks, "send files", read_files, &s);

	e = send_all(&s, s.tasks.ctx, trees, n);
	if (e) {
		SCOPED_BUF(b, LIMIT_ERROR_TEXT + 64);

		packet_put_err(&b, err_text(e));
		if (!b.overflow)
			err_free(grpc_send_now(st, buf_str(&b)));
		ctx_cancel(s.tasks.ctx, err_dup(e));
	}
	group = task_group_wait(&s.tasks);
	/* A failure in the group is what ended the walk, if both have one. */
	if (e && group && (err_is(e, ERR_CANCELED) || !err_is(group, ERR_CANCELED))) {
		err_free(e);
		e = group;
	} else {
		e = err_first(e, group);
	}
	progress(&s, 0, true);
	vec_fini(&s.files);
	vec_fini(&s.queue);
	buf_fini(&s.out);
	arena_fini(&s.arena);
	cond_fini(&s.work);
	cond_fini(&s.drained);
	lock_fini(&s.lock);
	return e;
}
