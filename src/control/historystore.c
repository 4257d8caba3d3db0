#include "control/history.h"

#include "base/limits.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "kv/kv.h"

#define TABLE "history"
#define LOGS_TYPE "application/vnd.buildkit.status.v0"
#define ERROR_TYPE "application/vnd.googleapis.google.rpc.status+proto"
/* Events that a listener has not taken yet. */
#define LIMIT_LISTENER_EVENTS 10000

struct packed {
	char *data;
	size_t len;
	char *ref;
};
typedef VEC(struct packed) packed_vec;

struct history {
	struct kv *kv, *blobs_kv; /* the latter is a part of the former */
	struct content *blobs;
	int64_t max_entries, max_age_ns;
	struct lock lock;
	struct map active;     /* ref -> char *: packed record; its length is in active_len */
	struct map active_len; /* ref -> size_t as a pointer */
	struct list listeners;
	struct map doomed; /* ref -> struct packed * that is deleted while listened to */
};

struct history_listener {
	struct history *history;
	struct list link;
	struct cond more;
	char *ref; /* "": all */
	packed_vec events;
	size_t at, n_first; /* how many were there at the beginning */
	bool told_eof, too_slow;
};

/* ---- life ---- */

struct err *history_open(const struct history_config *cfg, struct ctx *ctx, struct history **ret)
{
	struct history *h = NEW(struct history);
	struct err *e;

	h->kv = cfg->kv;
	h->max_entries = cfg->max_entries;
	h->max_age_ns = cfg->max_age_ns;
	lock_init(&h->lock, LOCK_HISTORY);
	list_init(&h->listeners);
	h->blobs_kv = kv_scope(cfg->kv, "history");
	e = content_open_fs(cfg->dir, h->blobs_kv, &h->blobs);
	if (!e)
		e = history_collect(h, ctx);
	if (e) {
		history_close(h);
		return e;
	}
	*ret = h;
	return NULL;
}

static void free_packed(struct packed *p)
{
	free(p->data);
	free(p->ref);
}

static void free_doomed(void *arg)
{
	free_packed(arg);
	free(arg);
}

void history_close(struct history *h)
{
	if (!h)
		return;
	map_fini(&h->active, free);
	map_fini(&h->active_len, NULL);
	map_fini(&h->doomed, free_doomed);
	if (h->blobs)
		content_free(h->blobs);
	err_free(kv_close(h->blobs_kv));
	lock_fini(&h->lock);
	free(h);
}

struct content *history_content(struct history *h)
{
	return h->blobs;
}

/* ---- telling listeners ---- */

static void push_event(struct history_listener *l, struct str ref, struct str event)
{
	struct packed p = { mem_dup(event.ptr, event.len), event.len, str_heap(ref) };

	vec_push(&l->events, p);
}

static struct str pack_event(struct arena *a, int type, const history_record *r)
{
	history_event ev = MOBY__BUILDKIT__V1__BUILD_HISTORY_EVENT__INIT;

	ev.type = type;
	ev.record = (history_record *)r;
	return proto_pack_arena(&ev, a);
}

static void tell_locked(struct history *h, struct str ref, struct str event)
{
	lock_assert_held(&h->lock);
	list_each (&h->listeners, n) {
		struct history_listener *l = list_entry(n, struct history_listener, link);

		if (*l->ref && !str_eq_cstr(ref, l->ref))
			continue;
		if (l->events.len - l->at > LIMIT_LISTENER_EVENTS)
			l->too_slow = true;
		else
			push_event(l, ref, event);
		cond_broadcast(&l->more);
	}
}

/* ---- records ---- */

static struct err *put(struct history *h, const history_record *r)
{
	SCOPED_ARENA(a);

	return kv_put1(h->kv, KV_LAZY, TABLE, str_from(r->ref), proto_pack_arena(r, &a));
}

struct err *history_get(struct history *h, struct arena *a, struct str ref, history_record **ret,
			bool *ret_found)
{
	struct str value;

	*ret_found = false;
	if (!ref.len)
		return NULL;
	TRY(kv_get1(h->kv, TABLE, ref, a, &value, ret_found));
	if (!*ret_found)
		return NULL;
	return PROTO_UNPACK(a, moby__buildkit__v1__build_history_record, value, ret);
}

struct gathering {
	struct arena *a;
	VEC(struct str) values;
};

static bool gather(void *arg, struct str key, struct str value)
{
	struct gathering *g = arg;

	(void)key;
	vec_push(&g->values, str_dup(g->a, value));
	return true;
}

static struct err *scan(struct kv_txn *t, void *arg)
{
	struct gathering *g = arg;

	vec_clear(&g->values);
	return kv_scan(t, TABLE, STR_NONE, gather, g);
}

/* All finished ones, in the arena. */
static struct err *all_records(struct history *h, struct arena *a, history_record ***ret,
			       size_t *ret_n)
{
	struct gathering g = { .a = a };
	struct err *e = kv_view(h->kv, scan, &g);

	*ret = ARENA_NEW_N(a, history_record *, g.values.len + 1);
	*ret_n = 0;
	for (size_t i = 0; i < g.values.len && !e; i++)
		e = PROTO_UNPACK(a, moby__buildkit__v1__build_history_record, g.values.items[i],
				 &(*ret)[(*ret_n)++]);
	vec_fini(&g.values);
	return e;
}

static struct err *no_ref(struct str ref)
{
	return err_new(ERR_NOT_FOUND, "failed to retrieve ref %.*s: file does not exist",
		       STR_ARG(ref));
}

struct err *history_begin(struct history *h, const history_record *r)
{
	SCOPED_ARENA(a);
	struct str ref = str_from(r->ref), packed = proto_pack_arena(r, &a);
	struct str event = pack_event(
		&a, MOBY__BUILDKIT__V1__BUILD_HISTORY_EVENT_TYPE__BUILD_HISTORY_EVENT_TYPE_STARTED,
		r);

	LOCKED(&h->lock);
	free(map_put(&h->active, ref, mem_dup(packed.ptr, packed.len)));
	(void)map_put(&h->active_len, ref, (void *)packed.len);
	tell_locked(h, ref, event);
	return NULL;
}

void history_drop(struct history *h, struct str ref)
{
	LOCKED(&h->lock);
	free(map_del(&h->active, ref));
	(void)map_del(&h->active_len, ref);
}

/* ---- the end of a build ---- */

static Moby__Buildkit__V1__Descriptor *descriptor(struct arena *a, const char *type,
						  const struct digest *d, uint64_t size)
{
	Moby__Buildkit__V1__Descriptor *out = ARENA_NEW(a, Moby__Buildkit__V1__Descriptor);

	moby__buildkit__v1__descriptor__init(out);
	out->media_type = (char *)type;
	out->digest = digest_text(d, a);
	out->size = (int64_t)size;
	return out;
}

/* The log as it was sent, each message with its length (32 bits, little endian) in front. */
static struct err *write_log(struct history *h, struct ctx *ctx, struct arena *a,
			     struct progress *log, Moby__Buildkit__V1__Descriptor **ret)
{
	CLEANUP(content_writer_closep) struct content_writer *w = NULL;
	struct progress_reader *r;
	SCOPED_BUF(batch, LIMIT_GRPC_MESSAGE);
	uint64_t size = 0;
	struct digest d;
	struct err *e;
	bool eof = false;

	TRY(content_writer_open(h->blobs, ctx,
				str_from(arena_printf(a, "history-log-%p", (void *)log)), &w));
	r = progress_reader_new(log);
	for (;;) {
		uint8_t head[4];

		e = progress_read(r, ctx, &batch, &eof);
		if (e || eof)
			break;
		for (int i = 0; i < 4; i++)
			head[i] = (uint8_t)(batch.len >> (8 * i));
		e = w->io.write(&w->io, head, sizeof(head));
		if (!e)
			e = w->io.write(&w->io, batch.data, batch.len);
		if (e)
			break;
		size += sizeof(head) + batch.len;
	}
	progress_reader_free(r);
	TRY(e);
	e = content_commit(w, size, NULL, NULL, 0, &d);
	if (e && !err_is(e, ERR_ALREADY_EXISTS))
		return e;
	err_free(e);
	*ret = descriptor(a, LOGS_TYPE, &d, size);
	return NULL;
}

static struct err *write_error(struct history *h, struct ctx *ctx, struct arena *a,
			       const struct err *failed, history_record *r)
{
	Google__Rpc__Status *full = proto_status_from_err(a, failed);
	Google__Rpc__Status *plain = ARENA_NEW(a, Google__Rpc__Status);
	struct str packed = proto_pack_arena(full, a);
	struct digest d;
	struct err *e = content_write_blob(h->blobs, ctx, packed, NULL, 0, &d);

	if (e && !err_is(e, ERR_ALREADY_EXISTS))
		return e;
	err_free(e);
	*plain = *full;
	plain->n_details = 0;
	plain->details = NULL;
	r->error = plain;
	r->externalerror = descriptor(a, ERROR_TYPE, &d, packed.len);
	return NULL;
}

struct err *history_end(struct history *h, struct ctx *ctx, struct arena *a, history_record *r,
			struct progress *log, const struct err *failed)
{
	struct progress_counts n = progress_counts(log);
	struct str ref = str_from(r->ref), event;
	struct err *e;

	r->completedat = proto_timestamp(a, clock_wall());
	r->numcachedsteps = (int32_t)n.cached;
	r->numtotalsteps = (int32_t)n.total;
	r->numcompletedsteps = (int32_t)n.completed;
	r->numwarnings = (int32_t)n.warnings;
	r->generation = 1;
	e = write_log(h, ctx, a, log, &r->logs);
	if (!e && failed)
		e = write_error(h, ctx, a, failed, r);
	if (!e)
		e = put(h, r);
	event = pack_event(
		a, MOBY__BUILDKIT__V1__BUILD_HISTORY_EVENT_TYPE__BUILD_HISTORY_EVENT_TYPE_COMPLETE,
		r);
	lock_take(&h->lock);
	free(map_del(&h->active, ref));
	(void)map_del(&h->active_len, ref);
	if (!e)
		tell_locked(h, ref, event);
	lock_drop(&h->lock);
	return e ? e : history_collect(h, ctx);
}

/* ---- changes ---- */

struct err *history_pin(struct history *h, struct str ref, bool pinned)
{
	SCOPED_ARENA(a);
	history_record *r;
	struct str event;
	bool found;

	TRY(history_get(h, &a, ref, &r, &found));
	if (!found)
		return no_ref(ref);
	r->pinned = pinned;
	r->generation++;
	TRY(put(h, r));
	event = pack_event(
		&a, MOBY__BUILDKIT__V1__BUILD_HISTORY_EVENT_TYPE__BUILD_HISTORY_EVENT_TYPE_COMPLETE,
		r);
	LOCKED(&h->lock);
	tell_locked(h, ref, event);
	return NULL;
}

struct wanted {
	const char *digest;
	bool found;
};

static bool has_blob(const history_record *r, const char *digest)
{
	const Moby__Buildkit__V1__Descriptor *const all[] = { r->logs, r->externalerror, r->trace };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i] && strcmp(all[i]->digest, digest) == 0)
			return true;
	return false;
}

/* Blobs of a record that is gone, unless another has them too (two builds may have failed alike).
 */
static struct err *remove_blobs(struct history *h, struct ctx *ctx, const history_record *r)
{
	const Moby__Buildkit__V1__Descriptor *const all[] = { r->logs, r->externalerror, r->trace };
	SCOPED_ARENA(a);
	history_record **others;
	size_t n;

	TRY(all_records(h, &a, &others, &n));
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct digest d;
		bool shared = false;
		struct err *e;

		for (size_t k = 0; k < n && all[i]; k++)
			shared |= has_blob(others[k], all[i]->digest);
		if (!all[i] || shared)
			continue;
		TRY(digest_parse(str_from(all[i]->digest), &d));
		e = content_remove(h->blobs, ctx, &d);
		if (e && !err_is(e, ERR_NOT_FOUND))
			return e;
		err_free(e);
	}
	return NULL;
}

static bool listened_locked(struct history *h, struct str ref)
{
	list_each (&h->listeners, n)
		if (str_eq_cstr(ref, list_entry(n, struct history_listener, link)->ref))
			return true;
	return false;
}

struct err *history_delete(struct history *h, struct ctx *ctx, struct str ref)
{
	SCOPED_ARENA(a);
	history_record *r;
	struct str event, packed;
	bool found, later;

	TRY(history_get(h, &a, ref, &r, &found));
	if (!found)
		return no_ref(ref);
	TRY(kv_del1(h->kv, KV_LAZY, TABLE, ref));
	event = pack_event(
		&a, MOBY__BUILDKIT__V1__BUILD_HISTORY_EVENT_TYPE__BUILD_HISTORY_EVENT_TYPE_DELETED,
		r);
	packed = proto_pack_arena(r, &a);
	lock_take(&h->lock);
	tell_locked(h, ref, event);
	later = listened_locked(h, ref);
	if (later && !map_has(&h->doomed, ref)) {
		struct packed *p = NEW(struct packed);

		*p = (struct packed) { mem_dup(packed.ptr, packed.len), packed.len, str_heap(ref) };
		(void)map_put(&h->doomed, ref, p);
	}
	lock_drop(&h->lock);
	return later ? NULL : remove_blobs(h, ctx, r);
}

static int newest_first(const void *a, const void *b)
{
	int64_t x = proto_time_ns((*(history_record *const *)a)->completedat);
	int64_t y = proto_time_ns((*(history_record *const *)b)->completedat);

	return x < y ? 1 : x > y ? -1 : 0;
}

struct err *history_collect(struct history *h, struct ctx *ctx)
{
	SCOPED_ARENA(a);
	history_record **all;
	int64_t kept = 0;
	size_t n;

	TRY(all_records(h, &a, &all, &n));
	if ((int64_t)n <= h->max_entries)
		return NULL;
	qsort(all, n, sizeof(history_record *), newest_first);
	for (size_t i = 0; i < n; i++) {
		bool old = clock_wall() - proto_time_ns(all[i]->completedat) > h->max_age_ns;

		if (all[i]->pinned)
			continue;
		if (kept++ >= h->max_entries && (old || !h->max_entries))
			TRY(history_delete(h, ctx, str_from(all[i]->ref)));
	}
	return NULL;
}

/* ---- listening ---- */

static int newest_created_first(const void *a, const void *b)
{
	int64_t x = proto_time_ns((*(history_record *const *)a)->createdat);
	int64_t y = proto_time_ns((*(history_record *const *)b)->createdat);

	return x < y ? 1 : x > y ? -1 : 0;
}

static struct err *push_finished(struct history_listener *l, struct arena *a,
				 const Moby__Buildkit__V1__BuildHistoryRequest *req)
{
	struct history_filter *f;
	history_record **all;
	size_t n, k = 0;
	struct err *e;

	TRY(history_filter_new(a, req->filter, req->n_filter, &f));
	e = all_records(l->history, a, &all, &n);
	for (size_t i = 0; i < n && !e; i++)
		if ((!*l->ref || strcmp(all[i]->ref, l->ref) == 0) &&
		    history_filter_match(f, all[i]))
			all[k++] = all[i];
	history_filter_free(f);
	TRY(e);
	if (req->limit && k)
		qsort(all, k, sizeof(history_record *), newest_created_first);
	if (req->limit && k > (size_t)req->limit)
		k = (size_t)req->limit;
	for (size_t i = 0; i < k; i++)
		push_event(
			l, str_from(all[i]->ref),
			pack_event(
				a,
				MOBY__BUILDKIT__V1__BUILD_HISTORY_EVENT_TYPE__BUILD_HISTORY_EVENT_TYPE_COMPLETE,
				all[i]));
	return NULL;
}

static struct err *push_active_locked(struct history_listener *l, struct arena *a)
{
	struct history *h = l->history;

	for (struct map_entry *e = map_next(&h->active, NULL); e; e = map_next(&h->active, e)) {
		size_t len = (size_t)map_get(&h->active_len, map_key(e));
		history_record *r;

		if (*l->ref && !str_eq_cstr(map_key(e), l->ref))
			continue;
		TRY(PROTO_UNPACK(a, moby__buildkit__v1__build_history_record,
				 str_make(e->value, len), &r));
		push_event(
			l, map_key(e),
			pack_event(
				a,
				MOBY__BUILDKIT__V1__BUILD_HISTORY_EVENT_TYPE__BUILD_HISTORY_EVENT_TYPE_STARTED,
				r));
	}
	return NULL;
}

struct err *history_listen(struct history *h, struct ctx *ctx,
			   const Moby__Buildkit__V1__BuildHistoryRequest *req,
			   struct history_listener **ret)
{
	SCOPED_ARENA(a);
	struct history_listener *l;
	struct err *e = NULL;

	if (req->limit < 0)
		return err_new(ERR_UNKNOWN, "invalid limit %d", req->limit);
	l = NEW(struct history_listener);
	l->history = h;
	l->ref = mem_strdup(req->ref);
	cond_init(&l->more);
	lock_take(&h->lock);
	e = push_active_locked(l, &a);
	list_add_tail(&h->listeners, &l->link);
	lock_drop(&h->lock);
	/* One that ends meanwhile may come twice, but is not missed. */
	if (!e && !req->activeonly) {
		struct history_listener first = { .history = h, .ref = l->ref };

		e = push_finished(&first, &a, req);
		lock_take(&h->lock);
		vec_each (&first.events, p)
			vec_push(&l->events, *p);
		lock_drop(&h->lock);
		vec_fini(&first.events);
	}
	if (e) {
		history_unlisten(l, ctx);
		return e;
	}
	lock_take(&h->lock);
	l->n_first = l->events.len;
	lock_drop(&h->lock);
	*ret = l;
	return NULL;
}

struct err *history_next(struct history_listener *l, struct ctx *ctx, struct buf *out,
			 bool *ret_eof)
{
	struct history *h = l->history;
	struct packed p;

	*ret_eof = false;
	LOCKED(&h->lock);
	if (l->at >= l->n_first && !l->told_eof) {
		*ret_eof = l->told_eof = true;
		return NULL;
	}
	while (l->at == l->events.len && !l->too_slow)
		TRY(cond_wait(&l->more, &h->lock, ctx));
	if (l->at == l->events.len)
		return err_new(ERR_RESOURCE_EXHAUSTED, "too many events wait for this listener");
	p = l->events.items[l->at++];
	buf_clear(out);
	buf_add(out, p.data, p.len);
	free_packed(&p);
	if (l->at == l->events.len) {
		l->n_first = l->n_first > l->at ? l->n_first - l->at : 0;
		l->events.len = l->at = 0;
	}
	return buf_check(out, "build record");
}

void history_unlisten(struct history_listener *l, struct ctx *ctx)
{
	struct history *h = l->history;
	struct packed *gone = NULL;
	history_record *r;
	SCOPED_ARENA(a);

	lock_take(&h->lock);
	list_del(&l->link);
	if (*l->ref && !listened_locked(h, str_from(l->ref)))
		gone = map_del(&h->doomed, str_from(l->ref));
	lock_drop(&h->lock);
	if (gone) {
		struct err *e = PROTO_UNPACK(&a, moby__buildkit__v1__build_history_record,
					     str_make(gone->data, gone->len), &r);

		/* What stays behind is of no record: a later start may remove it. */
		err_free(e ? e : remove_blobs(h, ctx, r));
		free_doomed(gone);
	}
	for (size_t i = l->at; i < l->events.len; i++)
		free_packed(&l->events.items[i]);
	vec_fini(&l->events);
	cond_fini(&l->more);
	free(l->ref);
	free(l);
}
