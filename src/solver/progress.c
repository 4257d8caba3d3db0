#include "solver/progress.h"

#include "base/limits.h"
#include "base/list.h"
#include "base/task.h"
#include "solver/progress_log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#define CHUNK ((size_t)64 * 1024)
#define MEMORY_CHUNKS 8 /* whole ones kept in memory before the file is used */
#define BATCH (1 * MIB)
#define BATCH_INTERVAL (100 * NSEC_PER_MSEC)
#define RECORD_MAX (16 * MIB)

struct record_header {
	uint64_t prev; /* of the same vertex: position + 1 */
	uint32_t len;
} __attribute__((packed));

/* Bytes [i * CHUNK, (i + 1) * CHUNK) of the log; data is NULL once they are in the file. */
struct chunk {
	char *data;
};

struct pvertex {
	struct vbase *base; /* NULL: only known from a warning */
	uint64_t last;
	int64_t started_ns;
	bool sent, started, completed, cached;
};

struct progress {
	struct ref ref;
	struct ctx *ctx;
	struct lock lock;
	struct cond cond;
	VEC(struct chunk) chunks;
	uint64_t len;
	size_t first_in_memory; /* chunks before it are in the file */
	bool spilling, spill_failed;
	atomic_bool wants_spill;
	char *spill_dir;
	int fd;
	bool closed, any_cached;
	size_t n_warnings;
	struct map vertices; /* digest bytes -> struct pvertex */
	struct list readers; /* those that watch */
};

struct progress_reader {
	struct progress *p;
	uint64_t pos;
	int64_t last_batch;
	struct buf raw; /* read, and not yet a whole record */
	struct list link;
	void (*fn)(void *arg);
	void *arg;
	bool watching, notifying;
};

struct progress *progress_new(struct ctx *ctx, const char *spill_dir)
{
	struct progress *p = NEW(struct progress);

	if (ctx)
		p->ctx = ctx_ref(ctx);
	ref_init(&p->ref);
	lock_init(&p->lock, LOCK_PROGRESS);
	cond_init(&p->cond);
	list_init(&p->readers);
	p->fd = -1;
	if (spill_dir)
		p->spill_dir = mem_strdup(spill_dir);
	return p;
}

struct ctx *plog_ctx(struct progress *p)
{
	return p->ctx;
}

struct progress *progress_ref(struct progress *p)
{
	ref_get(&p->ref);
	return p;
}

static void pvertex_free(void *arg)
{
	struct pvertex *v = arg;

	vbase_unref(v->base);
	free(v);
}

void progress_unref(struct progress *p)
{
	if (!p || !ref_put(&p->ref))
		return;
	assert(list_empty(&p->readers));
	vec_each (&p->chunks, c)
		free(c->data);
	vec_fini(&p->chunks);
	map_fini(&p->vertices, pvertex_free);
	if (p->fd >= 0)
		(void)close(p->fd);
	free(p->spill_dir);
	ctx_unref(p->ctx);
	cond_fini(&p->cond);
	lock_fini(&p->lock);
	free(p);
}

/* ---- writing ---- */

static void add_bytes_locked(struct progress *p, const void *data, size_t len)
{
	const char *s = data;

	while (len) {
		size_t at = p->len % CHUNK, n = MIN(CHUNK - at, len);

		if (at == 0)
			vec_push(&p->chunks, ((struct chunk) { mem_alloc(CHUNK) }));
		memcpy(p->chunks.items[p->chunks.len - 1].data + at, s, n);
		p->len += n;
		s += n;
		len -= n;
	}
}

static void append_locked(struct progress *p, struct pvertex *v, struct str field)
{
	struct record_header h = { v ? v->last : 0, (uint32_t)field.len };
	uint64_t pos = p->len;

	if (p->closed || field.len > RECORD_MAX)
		return;
	add_bytes_locked(p, &h, sizeof(h));
	add_bytes_locked(p, field.ptr, field.len);
	if (v)
		v->last = pos + 1;
	if (p->spill_dir && !p->spill_failed &&
	    p->chunks.len - p->first_in_memory > MEMORY_CHUNKS + 1)
		atomic_store(&p->wants_spill, true);
	cond_broadcast(&p->cond);
}

static struct str vertex_key(const struct digest *d)
{
	return str_make(d, 1 + digest_size(d->algo));
}

static struct pvertex *vertex_locked(struct progress *p, const struct digest *d)
{
	struct pvertex *v = map_get(&p->vertices, vertex_key(d));

	if (!v) {
		v = NEW(struct pvertex);
		map_put(&p->vertices, vertex_key(d), v);
	}
	return v;
}

static void send_state_locked(struct progress *p, struct pvertex *v, const struct vstate_event *ev)
{
	SCOPED_BUF(msg, RECORD_MAX);
	SCOPED_BUF(field, RECORD_MAX);

	buf_add_str(&msg, v->base->packed);
	wire_int(&msg, 4, ev->cached);
	wire_time(&msg, 5, ev->started_ns);
	wire_time(&msg, 6, ev->completed_ns);
	if (ev->error && ev->error[0])
		wire_bytes(&msg, 7, str_from(ev->error));
	wire_bytes(&field, PLOG_VERTEX, buf_str(&msg));
	append_locked(p, v, buf_str(&field));
	v->sent = true;
}

static void note_state_locked(struct progress *p, struct pvertex *v, const struct vstate_event *ev)
{
	v->started = ev->started_ns != 0;
	v->started_ns = ev->started_ns;
	v->completed = ev->completed_ns != 0;
	v->cached = ev->cached;
	if (ev->cached)
		p->any_cached = true;
}

/* The inputs of v that nothing was heard of are sent as cached, those below first. */
static void send_cached_inputs_locked(struct progress *p, struct pvertex *v, int64_t now)
{
	VEC(struct pvertex *) stack = VEC_INIT;
	struct vstate_event ev = { now, now, true, NULL };

	vec_push(&stack, v);
	while (stack.len) {
		struct pvertex *at = stack.items[stack.len - 1];
		size_t before = stack.len;

		for (size_t i = at->base->n_inputs; i-- > 0;) {
			struct pvertex *in =
				map_get(&p->vertices, vertex_key(&at->base->inputs[i]));

			if (in && in->base && !in->started && !in->completed)
				vec_push(&stack, in);
		}
		if (stack.len > before)
			continue;
		stack.len--;
		if (at == v || at->started)
			continue;
		note_state_locked(p, at, &ev);
		send_state_locked(p, at, &ev);
	}
	vec_fini(&stack);
}

void plog_vertex(struct progress *p, struct vbase *b, bool quiet)
{
	lock_take(&p->lock);
	if (!p->closed) {
		struct pvertex *v = vertex_locked(p, &b->digest);

		if (!v->base)
			v->base = vbase_ref(b);
		if (quiet)
			v->started = true; /* until its records are here */
		else if (!v->sent)
			send_state_locked(p, v, &(struct vstate_event) { 0 });
	}
	lock_drop(&p->lock);
}

void plog_state(struct progress *p, struct vbase *b, const struct vstate_event *ev)
{
	lock_take(&p->lock);
	if (!p->closed) {
		struct pvertex *v = vertex_locked(p, &b->digest);

		if (!v->base)
			v->base = vbase_ref(b);
		if (ev->started_ns && !v->started)
			send_cached_inputs_locked(p, v, ev->started_ns);
		note_state_locked(p, v, ev);
		send_state_locked(p, v, ev);
	}
	lock_drop(&p->lock);
}

void plog_joined(struct progress *p, struct vbase *b, const struct vstate_event *ev)
{
	LOCKED(&p->lock);
	struct pvertex *v = vertex_locked(p, &b->digest);

	if (!v->base)
		v->base = vbase_ref(b);
	v->sent = true;
	note_state_locked(p, v, ev);
}

void plog_append(struct progress *p, const struct digest *vertex, struct str field)
{
	lock_take(&p->lock);
	append_locked(p, vertex ? vertex_locked(p, vertex) : NULL, field);
	if (field.len && (unsigned char)field.ptr[0] >> 3 == PLOG_WARNING)
		p->n_warnings++;
	lock_drop(&p->lock);
}

void plog_event(struct progress *p, const struct digest *vertex, int field, struct str message)
{
	SCOPED_BUF(b, RECORD_MAX);

	wire_bytes(&b, field, message);
	if (!b.overflow)
		plog_append(p, vertex, buf_str(&b));
}

void progress_close(struct progress *p)
{
	int64_t now = clock_wall();

	lock_take(&p->lock);
	for (struct map_entry *e = p->closed ? NULL : map_next(&p->vertices, NULL); e;
	     e = map_next(&p->vertices, e)) {
		struct pvertex *v = e->value;
		struct vstate_event ev = { v->started_ns, now, v->cached,
					   p->any_cached ? NULL : "context canceled" };

		if (!v->base || !v->sent || !v->started_ns || v->completed)
			continue;
		note_state_locked(p, v, &ev);
		send_state_locked(p, v, &ev);
	}
	p->closed = true;
	cond_broadcast(&p->cond);
	lock_drop(&p->lock);
	plog_settle(p);
}

bool progress_closed(struct progress *p)
{
	LOCKED(&p->lock);
	return p->closed;
}

struct progress_counts progress_counts(struct progress *p)
{
	LOCKED(&p->lock);
	struct progress_counts c = { .warnings = p->n_warnings };

	for (struct map_entry *e = map_next(&p->vertices, NULL); e; e = map_next(&p->vertices, e)) {
		const struct pvertex *v = e->value;

		if (!v->base || !v->sent)
			continue;
		c.total++;
		c.cached += v->cached;
		c.completed += v->completed;
	}
	return c;
}

/* ---- the file ---- */

static int open_spill(const char *dir)
{
	char *name;
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	name = mem_printf("%s/progress-XXXXXX", dir);
	fd = mkostemp(name, O_CLOEXEC);
	if (fd >= 0)
		(void)unlink(name);
	free(name);
	return fd;
}

static bool write_chunk(int fd, size_t i, const char *data)
{
	size_t done = 0;

	while (done < CHUNK) {
		ssize_t n = pwrite(fd, data + done, CHUNK - done, (off_t)(i * CHUNK + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

static struct err *run_spill(struct ctx *ctx, void *arg)
{
	struct progress *p = arg;

	lock_take(&p->lock);
	while (!p->spill_failed && p->chunks.len - p->first_in_memory > MEMORY_CHUNKS) {
		size_t i = p->first_in_memory;
		char *data = p->chunks.items[i].data;
		int fd = p->fd;
		bool ok;

		/* A whole chunk changes no more, and only the spilling thread frees it. */
		lock_drop(&p->lock);
		if (fd < 0)
			fd = open_spill(p->spill_dir);
		ok = fd >= 0 && write_chunk(fd, i, data);
		lock_take(&p->lock);
		p->fd = fd;
		if (!ok) {
			p->spill_failed = true; /* it stays in memory then */
			break;
		}
		p->chunks.items[i].data = NULL;
		p->first_in_memory++;
		free(data);
	}
	p->spilling = false;
	atomic_store(&p->wants_spill, false);
	lock_drop(&p->lock);
	progress_unref(p);
	return NULL;
}

/* Writers have better things to do, and the scheduler must not: it is a task's work. */
static void spill(struct progress *p)
{
	bool start;

	if (!atomic_load_explicit(&p->wants_spill, memory_order_relaxed))
		return;
	lock_take(&p->lock);
	start = !p->spilling;
	p->spilling = true;
	lock_drop(&p->lock);
	if (!start)
		return;
	progress_ref(p);
	if (p->ctx)
		task_go(p->ctx, "progress spill", run_spill, p);
	else
		err_free(run_spill(NULL, p));
}

/* Up to len bytes from pos on, all from memory or all from the file. */
static struct err *read_piece(struct progress *p, uint64_t pos, char *out, size_t len, size_t *ret)
{
	size_t at = pos % CHUNK, n = MIN(len, CHUNK - at);
	int fd;

	lock_take(&p->lock);
	if (pos >= p->len) {
		lock_drop(&p->lock);
		*ret = 0;
		return NULL;
	}
	n = (size_t)MIN((uint64_t)n, p->len - pos);
	if (p->chunks.items[pos / CHUNK].data) {
		memcpy(out, p->chunks.items[pos / CHUNK].data + at, n);
		lock_drop(&p->lock);
		*ret = n;
		return NULL;
	}
	fd = p->fd;
	lock_drop(&p->lock);
	for (;;) {
		ssize_t got = pread(fd, out, n, (off_t)pos);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_errno(errno, "failed to read progress log");
		if (got == 0)
			return err_new(ERR_DATA_LOSS, "progress log is truncated");
		*ret = (size_t)got;
		return NULL;
	}
}

static struct err *read_full(struct progress *p, uint64_t pos, void *out, size_t len)
{
	char *o = out;

	while (len) {
		size_t n;

		TRY(read_piece(p, pos, o, len, &n));
		if (!n)
			return err_new(ERR_DATA_LOSS, "progress log is truncated");
		o += n;
		pos += n;
		len -= n;
	}
	return NULL;
}

uint64_t plog_last(struct progress *p, const struct digest *vertex)
{
	LOCKED(&p->lock);
	const struct pvertex *v = map_get(&p->vertices, vertex_key(vertex));

	return v ? v->last : 0;
}

struct err *plog_record(struct progress *p, uint64_t pos, struct buf *out, uint64_t *ret_prev)
{
	struct record_header h;
	void *room;

	TRY(read_full(p, pos, &h, sizeof(h)));
	buf_clear(out);
	room = buf_reserve(out, h.len);
	if (!room)
		return buf_check(out, "progress record");
	TRY(read_full(p, pos + sizeof(h), room, h.len));
	out->len += h.len;
	*ret_prev = h.prev;
	return NULL;
}

/* ---- readers ---- */

struct progress_reader *progress_reader_new(struct progress *p)
{
	struct progress_reader *r = NEW(struct progress_reader);

	r->p = progress_ref(p);
	buf_init(&r->raw, RECORD_MAX + BATCH);
	list_init(&r->link);
	return r;
}

void progress_reader_free(struct progress_reader *r)
{
	if (!r)
		return;
	progress_unwatch(r);
	buf_fini(&r->raw);
	progress_unref(r->p);
	free(r);
}

/* Moves whole records from raw to out, up to the size of a batch (one at least). True when there is
 * one more that doesn't fit. */
static bool take_records(struct progress_reader *r, struct buf *out)
{
	size_t used = 0;
	bool full = false;

	for (;;) {
		struct record_header h;
		size_t left = r->raw.len - used;

		if (left < sizeof(h))
			break;
		memcpy(&h, r->raw.data + used, sizeof(h));
		if (left - sizeof(h) < h.len)
			break;
		full = out->len && out->len + h.len > BATCH;
		if (full)
			break;
		buf_add(out, r->raw.data + used + sizeof(h), h.len);
		used += sizeof(h) + h.len;
	}
	if (used)
		buf_consume(&r->raw, used);
	return full;
}

struct err *progress_read_now(struct progress_reader *r, struct buf *out, bool *ret_eof)
{
	bool closed;

	buf_clear(out);
	for (;;) {
		size_t n;
		void *room;

		if (take_records(r, out))
			break;
		/* What was closed before the read finds nothing is the end. */
		closed = progress_closed(r->p);
		room = buf_reserve(&r->raw, CHUNK);
		if (!room)
			return buf_check(&r->raw, "progress record");
		TRY(read_piece(r->p, r->pos, room, CHUNK, &n));
		if (!n) {
			*ret_eof = closed && !out->len;
			return NULL;
		}
		r->raw.len += n;
		r->pos += n;
	}
	*ret_eof = false;
	return NULL;
}

struct err *progress_read(struct progress_reader *r, struct ctx *ctx, struct buf *out,
			  bool *ret_eof)
{
	struct progress *p = r->p;
	bool eof;

	lock_take(&p->lock);
	for (;;) {
		int64_t now = clock_now(), next = r->last_batch + BATCH_INTERVAL;
		bool timeout;
		struct err *e;

		if (p->closed)
			break;
		if (p->len <= r->pos && !r->raw.len)
			e = cond_wait(&p->cond, &p->lock, ctx);
		else if (r->last_batch && now < next)
			e = cond_wait_until(&p->cond, &p->lock, ctx, next, &timeout);
		else
			break;
		if (e) {
			lock_drop(&p->lock);
			return e;
		}
	}
	lock_drop(&p->lock);
	r->last_batch = clock_now();
	TRY(progress_read_now(r, out, &eof));
	*ret_eof = eof;
	return NULL;
}

static bool has_news_locked(const struct progress *p, const struct progress_reader *r)
{
	return p->closed || p->len > r->pos || r->raw.len;
}

static struct progress_reader *due_locked(struct progress *p)
{
	list_each (&p->readers, n) {
		struct progress_reader *r = list_entry(n, struct progress_reader, link);

		if (has_news_locked(p, r))
			return r;
	}
	return NULL;
}

static void wake_watchers(struct progress *p)
{
	struct progress_reader *r;

	lock_take(&p->lock);
	while ((r = due_locked(p))) {
		list_del(&r->link);
		r->watching = false;
		r->notifying = true;
		lock_drop(&p->lock);
		r->fn(r->arg);
		lock_take(&p->lock);
		r->notifying = false;
		cond_broadcast(&p->cond);
	}
	lock_drop(&p->lock);
}

void plog_settle(struct progress *p)
{
	wake_watchers(p);
	spill(p);
}

void progress_watch(struct progress_reader *r, void (*fn)(void *arg), void *arg)
{
	struct progress *p = r->p;

	lock_take(&p->lock);
	while (r->notifying)
		cond_wait_uninterrupted(&p->cond, &p->lock);
	r->fn = fn;
	r->arg = arg;
	if (!r->watching)
		list_add_tail(&p->readers, &r->link);
	r->watching = true;
	lock_drop(&p->lock);
	wake_watchers(p);
}

void progress_unwatch(struct progress_reader *r)
{
	LOCKED(&r->p->lock);
	if (r->watching)
		list_del(&r->link);
	r->watching = false;
	while (r->notifying)
		cond_wait_uninterrupted(&r->p->cond, &r->p->lock);
}
