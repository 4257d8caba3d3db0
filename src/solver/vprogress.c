#include "base/limits.h"
#include "base/list.h"
#include "base/task.h"
#include "solver/progress_log.h"

#include <assert.h>
#include <math.h>

#define LOG_PIECE (256 * KIB) /* of one log message */
#define TAIL_MAX (256 * KIB)  /* kept of what is clipped */
#define MESSAGE_MAX (16 * MIB)

/* Where events go. While a join is under way (earlier events are being copied) events reach it by
 * the copying only. */
struct target {
	struct progress *p;
	bool joining;
};

/* Clipping of one stream. */
struct clip {
	uint64_t size;
	bool clipping;
	char *tail; /* ring of the dropped bytes */
	size_t tail_len, tail_at;
};

struct vprogress {
	struct ref ref;
	struct vbase *base;
	struct progress_limits limits;
	struct lock lock;
	VEC(struct target) targets;
	struct vstate_event state;
	char *error;
	bool has_history;
	int64_t log_start; /* monotonic */
	struct clip clip[2];
};

/* ---- the fixed part ---- */

struct vbase *vbase_new(const struct vprogress_info *info)
{
	struct vbase *b = mem_alloc(sizeof(*b) + info->n_inputs * sizeof(struct digest));
	char text[DIGEST_TEXT_MAX];
	SCOPED_BUF(out, MESSAGE_MAX);

	ref_init(&b->ref);
	b->digest = info->digest;
	b->inputs = (struct digest *)(b + 1);
	b->n_inputs = info->n_inputs;
	wire_bytes(&out, 1, str_from(digest_format(&info->digest, text)));
	for (size_t i = 0; i < info->n_inputs; i++) {
		b->inputs[i] = info->inputs[i];
		wire_bytes(&out, 2, str_from(digest_format(&info->inputs[i], text)));
	}
	if (info->name && info->name[0])
		wire_bytes(&out, 3, str_from(info->name));
	if (info->group) {
		SCOPED_BUF(group, MESSAGE_MAX);

		proto_pack(info->group, &group);
		wire_bytes(&out, 8, buf_str(&group));
	}
	b->packed.len = out.len;
	b->packed.ptr = buf_take(&out);
	return b;
}

struct vbase *vbase_ref(struct vbase *b)
{
	ref_get(&b->ref);
	return b;
}

void vbase_unref(struct vbase *b)
{
	if (!b || !ref_put(&b->ref))
		return;
	free((char *)b->packed.ptr);
	free(b);
}

/* ---- life ---- */

struct vprogress *vprogress_new(const struct vprogress_info *info, struct progress_limits limits)
{
	struct vprogress *v = NEW(struct vprogress);

	ref_init(&v->ref);
	lock_init(&v->lock, LOCK_JOB);
	v->base = vbase_new(info);
	v->limits = limits;
	return v;
}

struct vprogress *vprogress_ref(struct vprogress *v)
{
	ref_get(&v->ref);
	return v;
}

void vprogress_unref(struct vprogress *v)
{
	if (!v || !ref_put(&v->ref))
		return;
	vec_each (&v->targets, t)
		progress_unref(t->p);
	vec_fini(&v->targets);
	for (size_t i = 0; i < ARRAY_SIZE(v->clip); i++)
		free(v->clip[i].tail);
	vbase_unref(v->base);
	free(v->error);
	lock_fini(&v->lock);
	free(v);
}

struct digest vprogress_digest(const struct vprogress *v)
{
	return v->base->digest;
}

static struct target *find_target(struct vprogress *v, const struct progress *p)
{
	vec_each (&v->targets, t)
		if (t->p == p)
			return t;
	return NULL;
}

/* After events, with no lock held: readers are woken, and logs that grew too much in memory get the
 * time to write. */
static void settle(struct vprogress *v)
{
	VEC(struct progress *) logs = VEC_INIT;

	lock_take(&v->lock);
	vec_each (&v->targets, t)
		if (!t->joining)
			vec_push(&logs, progress_ref(t->p));
	lock_drop(&v->lock);
	vec_each (&logs, p) {
		plog_settle(*p);
		progress_unref(*p);
	}
	vec_fini(&logs);
}

/* ---- joining a log late ---- */

struct join {
	struct vprogress *v;
	struct progress *from, *to;
};

/* Copies the records of the vertex after position `after` (plus one) up to `last`, oldest first. */
static struct err *copy_records(struct join *j, uint64_t after, uint64_t last)
{
	const struct digest *d = &j->v->base->digest;
	VEC(uint64_t) at = VEC_INIT;
	SCOPED_BUF(field, MESSAGE_MAX);
	struct err *e = NULL;
	uint64_t prev;

	while (!e && last > after) {
		vec_push(&at, last);
		e = plog_record(j->from, last - 1, &field, &prev);
		last = prev;
	}
	while (!e && at.len) {
		e = plog_record(j->from, vec_pop(&at) - 1, &field, &prev);
		if (!e)
			plog_append(j->to, d, buf_str(&field));
		plog_settle(j->to);
	}
	vec_fini(&at);
	return e;
}

static struct err *run_join(struct ctx *ctx, void *arg)
{
	struct join *j = arg;
	struct vprogress *v = j->v;
	uint64_t done = 0;
	struct err *e = NULL;

	for (;;) {
		struct target *t;
		uint64_t last;

		lock_take(&v->lock);
		t = find_target(v, j->to);
		last = plog_last(j->from, &v->base->digest);
		if (!t || last == done || e) {
			/* Nothing came meanwhile: from here on events go there directly. */
			if (t) {
				t->joining = false;
				if (find_target(v, j->from))
					plog_joined(j->to, v->base, &v->state);
				else /* it may have missed some */
					plog_state(j->to, v->base, &v->state);
			}
			lock_drop(&v->lock);
			plog_settle(j->to);
			break;
		}
		lock_drop(&v->lock);
		e = copy_records(j, done, last);
		done = last;
	}
	/* Without the earlier events the later ones still make sense. */
	err_free(e);
	progress_unref(j->from);
	progress_unref(j->to);
	vprogress_unref(v);
	free(j);
	return NULL;
}

void vprogress_attach(struct vprogress *v, struct progress *p)
{
	struct join *j = NULL;

	lock_take(&v->lock);
	if (!find_target(v, p)) {
		struct progress *from = NULL;

		vec_each (&v->targets, t)
			if (!t->joining)
				from = t->p;
		if (v->has_history && from) {
			j = NEW(struct join);
			*j = (struct join) { vprogress_ref(v), progress_ref(from),
					     progress_ref(p) };
		}
		vec_push(&v->targets, ((struct target) { progress_ref(p), j != NULL }));
		plog_vertex(p, v->base, j != NULL);
		if (!j && v->state.started_ns)
			plog_state(p, v->base, &v->state);
	}
	lock_drop(&v->lock);
	if (j && plog_ctx(p))
		task_go(plog_ctx(p), "progress join", run_join, j);
	else if (j)
		err_free(run_join(NULL, j));
	else
		plog_settle(p);
}

void vprogress_detach(struct vprogress *v, struct progress *p)
{
	bool found = false;

	lock_take(&v->lock);
	for (size_t i = 0; i < v->targets.len; i++) {
		if (v->targets.items[i].p != p)
			continue;
		v->targets.items[i] = vec_pop(&v->targets);
		found = true;
		break;
	}
	lock_drop(&v->lock);
	if (found)
		progress_unref(p);
}

/* ---- state ---- */

static void send_state_locked(struct vprogress *v)
{
	vec_each (&v->targets, t)
		if (!t->joining)
			plog_state(t->p, v->base, &v->state);
}

static void send_event_locked(struct vprogress *v, int field, struct str message)
{
	v->has_history = true;
	vec_each (&v->targets, t)
		if (!t->joining)
			plog_event(t->p, &v->base->digest, field, message);
}

static void set_error_locked(struct vprogress *v, const char *text)
{
	free(v->error);
	v->error = text ? mem_strdup(text) : NULL;
	v->state.error = v->error;
}

void vprogress_start(struct vprogress *v)
{
	lock_take(&v->lock);
	set_error_locked(v, NULL);
	v->state = (struct vstate_event) { .started_ns = clock_wall() };
	v->has_history = true;
	v->log_start = clock_now();
	for (size_t i = 0; i < ARRAY_SIZE(v->clip); i++) {
		free(v->clip[i].tail);
		v->clip[i] = (struct clip) { 0 };
	}
	send_state_locked(v);
	lock_drop(&v->lock);
	settle(v);
}

static void send_log_locked(struct vprogress *v, int stream, struct str data);

/* Shows the end of what was dropped. */
static void flush_tail_locked(struct vprogress *v, int stream)
{
	struct clip *c = &v->clip[stream - 1];

	if (!c->tail_len)
		return;
	if (c->tail_len == TAIL_MAX)
		send_log_locked(v, stream, str_make(c->tail + c->tail_at, TAIL_MAX - c->tail_at));
	send_log_locked(v, stream, str_make(c->tail, c->tail_at));
	free(c->tail);
	c->tail = NULL;
	c->tail_len = c->tail_at = 0;
}

void vprogress_complete(struct vprogress *v, bool cached, const struct err *e)
{
	lock_take(&v->lock);
	if (e) {
		flush_tail_locked(v, 1);
		flush_tail_locked(v, 2);
	}
	v->state.completed_ns = clock_wall();
	if (!v->state.started_ns)
		v->state.started_ns = v->state.completed_ns;
	v->state.cached = cached && !e;
	v->has_history = true;
	set_error_locked(v, e ? err_text(e) : NULL);
	send_state_locked(v);
	lock_drop(&v->lock);
	settle(v);
}

void vprogress_cached(struct vprogress *v)
{
	lock_take(&v->lock);
	if (!v->state.cached) {
		int64_t now = clock_wall();

		set_error_locked(v, NULL);
		v->state = (struct vstate_event) { now, now, true, NULL };
		v->has_history = true;
		send_state_locked(v);
	}
	lock_drop(&v->lock);
	settle(v);
}

/* ---- status ---- */

void progress_status(struct vprogress *v, const struct progress_status *s)
{
	char text[DIGEST_TEXT_MAX];
	SCOPED_BUF(b, MESSAGE_MAX);

	wire_bytes(&b, 1, s->id);
	wire_bytes(&b, 2, str_from(digest_format(&v->base->digest, text)));
	if (s->name.len)
		wire_bytes(&b, 3, s->name);
	wire_int(&b, 4, s->current);
	wire_int(&b, 5, s->total);
	wire_time(&b, 6, clock_wall());
	wire_time(&b, 7, s->started_ns);
	wire_time(&b, 8, s->completed_ns);
	lock_take(&v->lock);
	send_event_locked(v, PLOG_STATUS, buf_str(&b));
	lock_drop(&v->lock);
	settle(v);
}

int64_t progress_status_begin(struct vprogress *v, struct str id)
{
	int64_t now = clock_wall();

	progress_status(v, &(struct progress_status) { .id = id, .started_ns = now });
	return now;
}

void progress_status_done(struct vprogress *v, struct str id, int64_t started_ns)
{
	progress_status(v, &(struct progress_status) {
				   .id = id,
				   .started_ns = started_ns,
				   .completed_ns = clock_wall(),
			   });
}

/* ---- logs ---- */

static void send_log_locked(struct vprogress *v, int stream, struct str data)
{
	char text[DIGEST_TEXT_MAX];

	digest_format(&v->base->digest, text);
	while (data.len) {
		struct str piece = str_sub(data, 0, LOG_PIECE);
		SCOPED_BUF(b, MESSAGE_MAX);

		wire_bytes(&b, 1, str_from(text));
		wire_time(&b, 2, clock_wall());
		wire_int(&b, 3, stream);
		wire_bytes(&b, 4, piece);
		send_event_locked(v, PLOG_LOG, buf_str(&b));
		data = str_sub(data, piece.len, data.len);
	}
}

static void keep_tail(struct clip *c, struct str data)
{
	if (!c->tail)
		c->tail = mem_alloc(TAIL_MAX);
	if (data.len > TAIL_MAX)
		data = str_sub(data, data.len - TAIL_MAX, data.len);
	while (data.len) {
		size_t n = MIN(data.len, TAIL_MAX - c->tail_at);

		memcpy(c->tail + c->tail_at, data.ptr, n);
		c->tail_len = MIN(MAX(c->tail_len, c->tail_at + n), TAIL_MAX);
		c->tail_at = (c->tail_at + n) % TAIL_MAX;
		data = str_sub(data, n, data.len);
	}
}

/* "2MiB", "1.5KiB": binary units as the original prints limits. */
static void format_bytes(struct buf *out, int64_t n)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double x = (double)n;
	size_t u = 0;

	for (; x >= 1024 && u + 1 < ARRAY_SIZE(units); u++)
		x /= 1024;
	buf_addf(out, "%g%s", x, units[u]);
}

/* How much of len more bytes may be shown; says why if not all. */
static size_t allowed_locked(struct vprogress *v, struct clip *c, size_t len, bool *ret_by_speed)
{
	uint64_t old = c->size, max = UINT64_MAX;

	*ret_by_speed = false;
	if (v->limits.max_speed >= 0) {
		int64_t ns = clock_now() - v->log_start;
		int64_t seconds = (ns + NSEC_PER_SEC - 1) / NSEC_PER_SEC;

		max = (uint64_t)MAX(seconds, INT64_C(1)) * (uint64_t)v->limits.max_speed;
		*ret_by_speed = true;
	}
	if (v->limits.max_size >= 0 && (uint64_t)v->limits.max_size < max) {
		max = (uint64_t)v->limits.max_size;
		*ret_by_speed = false;
	}
	c->size += len;
	if (old >= max)
		return 0;
	return (size_t)MIN((uint64_t)len, max - old);
}

void progress_log(struct vprogress *v, int stream, struct str data)
{
	struct clip *c = &v->clip[stream == 2];
	bool by_speed;
	size_t n;

	if (!data.len)
		return;
	lock_take(&v->lock);
	n = allowed_locked(v, c, data.len, &by_speed);
	if (n)
		send_log_locked(v, stream, str_sub(data, 0, n));
	if (n == data.len) {
		c->clipping = false;
		free(c->tail);
		c->tail = NULL;
		c->tail_len = c->tail_at = 0;
	} else {
		keep_tail(c, str_sub(data, n, data.len));
	}
	if (n < data.len && !c->clipping) {
		SCOPED_BUF(b, 128);

		buf_add_cstr(&b, "\n[output clipped, log limit ");
		format_bytes(&b, by_speed ? v->limits.max_speed : v->limits.max_size);
		buf_add_cstr(&b, by_speed ? "/s reached]\n" : " reached]\n");
		c->clipping = true;
		send_log_locked(v, stream, buf_str(&b));
	}
	lock_drop(&v->lock);
	settle(v);
}

static int64_t limit_from_env(const char *name, int64_t otherwise)
{
	const char *s = getenv(name);
	int64_t v;

	if (s && str_to_i64(str_from(s), &v))
		return v;
	return otherwise;
}

struct progress_limits progress_limits_from_env(void)
{
	return (struct progress_limits) {
		limit_from_env("BUILDKIT_STEP_LOG_MAX_SIZE", 2 * (int64_t)MIB),
		limit_from_env("BUILDKIT_STEP_LOG_MAX_SPEED", 200 * (int64_t)KIB),
	};
}

/* ---- warnings ---- */

static void pack_warning(struct buf *b, const struct digest *vertex,
			 const struct progress_warning *w)
{
	char text[DIGEST_TEXT_MAX];

	if (vertex && digest_is_set(vertex))
		wire_bytes(b, 1, str_from(digest_format(vertex, text)));
	wire_int(b, 2, w->level);
	if (w->short_text.len)
		wire_bytes(b, 3, w->short_text);
	for (size_t i = 0; i < w->n_detail; i++)
		wire_bytes(b, 4, w->detail[i]);
	if (w->url.len)
		wire_bytes(b, 5, w->url);
	if (w->info) {
		SCOPED_BUF(m, MESSAGE_MAX);

		proto_pack(w->info, &m);
		wire_bytes(b, 6, buf_str(&m));
	}
	for (size_t i = 0; i < w->n_ranges; i++) {
		SCOPED_BUF(m, MESSAGE_MAX);

		proto_pack(w->ranges[i], &m);
		wire_bytes(b, 7, buf_str(&m));
	}
}

void progress_warn(struct vprogress *v, const struct progress_warning *w)
{
	SCOPED_BUF(b, MESSAGE_MAX);

	pack_warning(&b, &v->base->digest, w);
	lock_take(&v->lock);
	send_event_locked(v, PLOG_WARNING, buf_str(&b));
	lock_drop(&v->lock);
	settle(v);
}

void progress_warn_digest(struct progress *p, const struct digest *vertex,
			  const struct progress_warning *w)
{
	SCOPED_BUF(b, MESSAGE_MAX);

	pack_warning(&b, vertex, w);
	plog_event(p, vertex && digest_is_set(vertex) ? vertex : NULL, PLOG_WARNING, buf_str(&b));
	plog_settle(p);
}

struct vprogress *progress_step(struct progress *p, struct str id_text, const char *name)
{
	struct vprogress_info info = { .digest = digest_sha256(id_text), .name = name };
	struct vprogress *v = vprogress_new(&info, (struct progress_limits) { -1, -1 });

	vprogress_attach(v, p);
	vprogress_start(v);
	return v;
}
