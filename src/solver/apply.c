#include "base/mem.h"
#include "solver/state.h"

#include <assert.h>

/* ---- asking ---- */

void edge_set_asked_sched(struct edge *e, enum level from, enum level to)
{
	enum level want = LEVEL_NONE;

	if (from == to)
		return;
	if (from != LEVEL_NONE)
		e->n_asked[from]--;
	if (to != LEVEL_NONE)
		e->n_asked[to]++;
	for (int l = LEVEL_RESULT; l > LEVEL_NONE && want == LEVEL_NONE; l--)
		if (e->n_asked[l])
			want = (enum level)l;
	if (want == e->want)
		return;
	e->want = want;
	sched_queue(e->vs);
}

static void set_asks(struct vstate *vs, const enum level *asks)
{
	for (size_t i = 0; i < vs->n_deps; i++) {
		struct dep *d = &vs->deps[i];
		enum level to = asks ? asks[i] : LEVEL_NONE;

		edge_set_asked_sched(d->edge, d->asked, to);
		d->asked = to;
	}
}

/* ---- the end of a vertex ---- */

static void add_vertex_detail(struct err *e, const struct digest *d)
{
	static const char type[] = "github.com/moby/buildkit/errdefs.Vertex+json";
	char text[DIGEST_TEXT_MAX];
	SCOPED_BUF(b, 256);

	if (err_has_detail(e, type))
		return;
	buf_addf(&b, "{\"digest\":\"%s\"}", digest_format(d, text));
	err_add_detail(e, type, buf_str(&b));
}

/* Clients get a code only for causes that say what to do about it: a missing file of a step is no
 * missing object of the API. */
static void plain_code(struct err *e)
{
	switch (err_code(e)) {
	case ERR_NOT_FOUND:
	case ERR_INVALID_ARGUMENT:
	case ERR_ALREADY_EXISTS:
	case ERR_FAILED_PRECONDITION:
	case ERR_DATA_LOSS:
	case ERR_PERMISSION_DENIED:
		err_set_code(e, ERR_UNKNOWN);
		break;
	default:
		break;
	}
}

static void fail(struct vstate *vs, struct err *take_e, struct failure *take_f)
{
	assert(!vs->err);
	plain_code(take_e);
	add_vertex_detail(take_e, &vs->digest);
	vs->err = take_e;
	vs->failure = take_f;
	list_each (&vs->edges, n)
		list_entry(n, struct edge, link)->changed = true;
}

static void tell(struct edge *e)
{
	e->changed = false;
	list_each (&e->consumers, n)
		sched_queue(list_entry(n, struct dep, consumer)->consumer_vs);
	if (!e->result && !e->vs->err)
		return;
	while (!list_empty(&e->requests))
		request_finish_sched(list_entry(e->requests.next, struct request, link), e);
}

/* ---- running ---- */

static struct str digest_key(const struct digest *d)
{
	return str_make(d, sizeof(*d));
}

static void note_running(struct vstate *vs)
{
	struct solver *s = vs->solver;
	struct str key = digest_key(&vs->maps.items[0]);
	struct list *head = map_get(&s->running, key);

	if (!head) {
		head = NEW(struct list);
		list_init(head);
		map_put(&s->running, key, head);
	}
	list_add_tail(head, &vs->running);
}

static void note_ended(struct vstate *vs)
{
	struct solver *s = vs->solver;
	struct str key = digest_key(&vs->maps.items[0]);
	struct list *head = map_get(&s->running, key);

	list_del(&vs->running);
	if (list_empty(head)) {
		map_del(&s->running, key);
		free(head);
	}
}

static struct vstate *equal_running(struct vstate *vs)
{
	struct list *head = map_get(&vs->solver->running, digest_key(&vs->maps.items[0]));

	if (!head || vs->ignore_cache)
		return NULL;
	list_each (head, n) {
		struct vstate *other = list_entry(n, struct vstate, running);

		if (other != vs && !other->run->dropped && vstate_same_work_sched(vs, other))
			return other;
	}
	return NULL;
}

void vstate_stop_waiting_sched(struct vstate *vs)
{
	if (!vs->waits_for)
		return;
	list_del(&vs->waiting);
	sched_queue(vs->waits_for); /* perhaps it was the last who wanted it */
	vs->waits_for = NULL;
}

static struct result **input_results(struct vstate *vs, struct result *(*ref)(struct result *))
{
	struct result **r = mem_calloc(vs->n_deps + 1, sizeof(struct result *));

	for (size_t i = 0; i < vs->n_deps; i++)
		r[i] = ref(vs->deps[i].edge->result);
	return r;
}

static void start_run(struct vstate *vs)
{
	struct vstate *other;
	struct work *w;

	if (vs->waits_for)
		return;
	other = vs->op->ops->leaf ? equal_running(vs) : NULL;
	if (other) {
		vs->waits_for = other;
		list_add_tail(&other->waiters, &vs->waiting);
		return;
	}
	w = work_new_sched(vs, WORK_RUN);
	w->inputs = input_results(vs, vs->solver->results->ref);
	w->n_inputs = vs->n_deps;
	vs->run = w;
	note_running(vs);
	work_start_sched(w);
}

static void copy_outputs(const struct result_ops *ops, struct op_outputs *to,
			 const struct op_outputs *from)
{
	for (size_t i = 0; i < from->n; i++)
		op_outputs_add(to, ops->ref(from->items[i]));
}

/* Those who wait for equal work get what came of it. */
static void tell_waiters(struct vstate *vs, bool dropped)
{
	struct list *n;

	while ((n = list_pop(&vs->waiters))) {
		struct vstate *w = list_entry(n, struct vstate, waiting);

		w->waits_for = NULL;
		sched_queue(w);
		if (w->err || w->ran || dropped)
			continue;
		if (vs->err) {
			fail(w, err_dup(vs->err), failure_ref(vs->failure));
			vprogress_complete(w->progress, false, w->err);
		} else {
			copy_outputs(vs->solver->results, &w->outputs, &vs->outputs);
			w->ran = w->joined = true;
			vprogress_cached(w->progress);
		}
	}
}

/* ---- starting and stopping ---- */

static void want_map(struct vstate *vs, size_t n)
{
	struct work *w;
	struct err *e;

	if (vs->map) {
		if (n <= vs->maps.len)
			work_drop_sched(vs->map);
		return;
	}
	if (n <= vs->maps.len)
		return;
	if (!vs->op) {
		e = vs->vertex->make_op(vs->vertex, &vs->op);
		if (e) {
			vprogress_complete(vs->progress, false, e);
			fail(vs, e, NULL);
			return;
		}
	}
	w = work_new_sched(vs, WORK_MAP);
	w->index = (unsigned)vs->maps.len;
	vs->map = w;
	work_start_sched(w);
}

static void want_slow(struct vstate *vs, size_t i, bool want)
{
	struct dep *d = &vs->deps[i];
	struct work *w = d->slow;

	if (w && !want)
		work_drop_sched(w);
	if (w || !want)
		return;
	w = work_new_sched(vs, WORK_SLOW);
	w->index = (unsigned)i;
	w->inputs = mem_calloc(1, sizeof(struct result *));
	w->inputs[0] = vs->solver->results->ref(d->edge->result);
	w->n_inputs = 1;
	d->slow = w;
	work_start_sched(w);
}

static void want_load(struct edge *e)
{
	struct solver *s = e->vs->solver;
	struct candidate *c = &e->candidate;
	struct work *w;

	if (e->load && (e->want < LEVEL_RESULT || e->vs->err))
		work_drop_sched(e->load);
	if (!e->has_candidate)
		return;
	e->has_candidate = false;
	if (c->live) {
		vprogress_cached(e->vs->progress);
		edge_finish_sched(e, s->results->ref(c->live->result), false);
		return;
	}
	assert(!e->load);
	w = work_new_sched(e->vs, WORK_LOAD);
	w->edge = e;
	w->source = cache_source_ref(c->source);
	w->key = ckey_ref(c->key);
	w->result_id = TAKE_PTR(c->result_id);
	candidate_fini(c);
	e->load = w;
	work_start_sched(w);
}

static void take_output(struct edge *e)
{
	struct vstate *vs = e->vs;
	struct solver *s = vs->solver;

	if (e->result || e->want == LEVEL_NONE || vs->err)
		return;
	if (e->output >= vs->outputs.n) {
		fail(vs,
		     err_new(ERR_INVALID_ARGUMENT, "invalid output index %u of %zu of %s",
			     e->output, vs->outputs.n, vs->vertex->name),
		     NULL);
		return;
	}
	e->executed = true;
	edge_finish_sched(e, s->results->ref(vs->outputs.items[e->output]), true);
}

#define SMALL 16

void vstate_step_sched(struct vstate *vs)
{
	enum level small_asks[SMALL] = { 0 };
	bool small_slow[SMALL] = { 0 };
	struct plan p = { .asks = small_asks, .slow = small_slow };

	if (vs->n_deps > SMALL) {
		p.asks = mem_calloc(vs->n_deps, sizeof(*p.asks));
		p.slow = mem_calloc(vs->n_deps, sizeof(*p.slow));
	}
	vstate_plan_sched(vs, &p);
	if (p.fail)
		fail(vs, p.fail, p.failure);
	if (p.fail || vs->err) {
		p.run = false;
		p.want_maps = 0;
		memset(p.asks, 0, vs->n_deps * sizeof(*p.asks));
		memset(p.slow, 0, vs->n_deps * sizeof(*p.slow));
	}
	want_map(vs, p.want_maps);
	for (size_t i = 0; i < vs->n_deps; i++)
		want_slow(vs, i, p.slow[i] && !vs->err);
	if (p.run && !vs->err && !vs->run && !vs->ran)
		start_run(vs);
	if (!p.run) {
		vstate_stop_waiting_sched(vs);
		if (vs->run && list_empty(&vs->waiters))
			work_drop_sched(vs->run);
	}
	list_each (&vs->edges, n) {
		struct edge *e = list_entry(n, struct edge, link);

		want_load(e);
		if (vs->ran)
			take_output(e);
	}
	/* Only now: what was asked for before goes on without a break where it is still needed. */
	set_asks(vs, vs->err ? NULL : p.asks);
	list_each (&vs->edges, n) {
		struct edge *e = list_entry(n, struct edge, link);

		if (e->changed)
			tell(e);
	}
	if (p.asks != small_asks) {
		free(p.asks);
		free(p.slow);
	}
}

/* ---- the end of works ---- */

static void map_done(struct vstate *vs, struct work *w)
{
	if (w->index == 0) {
		vs->dep_info = w->info.deps;
		for (size_t i = 0; i < vs->n_deps; i++)
			vs->deps[i].slow_done = !vs->dep_info[i].content_hash;
	}
	vec_push(&vs->maps, w->info.digest);
	vs->maps_done = w->info.done || vs->n_deps;
}

static void slow_done(struct vstate *vs, struct work *w)
{
	struct dep *d = &vs->deps[w->index];

	d->slow_done = true;
	if (digest_is_set(&w->digest))
		d->slow_key = ckey_root(&vs->solver->keys, &w->digest, CACHE_CONTENT_OUTPUT);
}

static void load_done(struct edge *e, struct work *w)
{
	struct solver *s = e->vs->solver;

	if (w->err) {
		vec_push(&e->failed_loads, mem_strdup(w->result_id));
		if (w->source == s->keys.local && err_is(w->err, ERR_NOT_FOUND))
			keystore_drop_result(s->store, str_from(w->result_id));
		return;
	}
	if (!e->result)
		edge_finish_sched(e, TAKE_PTR(w->result), w->source != s->keys.local);
}

static void run_done(struct vstate *vs, struct work *w)
{
	note_ended(vs);
	if (!w->err) {
		vs->outputs = w->outputs;
		w->outputs = (struct op_outputs) { 0 };
		vs->ran = true;
		/* Before the waiters look for the keys. */
		list_each (&vs->edges, n)
			take_output(list_entry(n, struct edge, link));
	} else if (!w->dropped) {
		fail(vs, TAKE_PTR(w->err), TAKE_PTR(w->failure));
	}
	tell_waiters(vs, !vs->err && !vs->ran);
}

void work_done_sched(struct solver *s, struct msg *m)
{
	struct work *w = container_of(m, struct work, done);
	struct vstate *vs = w->vs;

	switch (w->kind) {
	case WORK_MAP:
		vs->map = NULL;
		if (!w->err)
			map_done(vs, w);
		break;
	case WORK_SLOW:
		vs->deps[w->index].slow = NULL;
		if (!w->err)
			slow_done(vs, w);
		break;
	case WORK_RUN:
		vs->run = NULL;
		run_done(vs, w);
		break;
	case WORK_LOAD:
		w->edge->load = NULL;
		if (!w->dropped || !w->err)
			load_done(w->edge, w);
		break;
	}
	if ((w->kind == WORK_MAP || w->kind == WORK_SLOW) && w->err && !w->dropped && !vs->err)
		fail(vs, TAKE_PTR(w->err), TAKE_PTR(w->failure));
	sched_queue(vs);
	work_end_sched(w);
}
