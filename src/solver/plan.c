#include "solver/state.h"

/* What is known of the inputs of an edge, for its next step. */
struct inputs {
	bool all_fast;   /* all keys that come without work are here */
	bool all_slow;   /* all keys short of results */
	bool all_result; /* and all content keys */
	bool none_empty; /* each input leads to some key */
	bool miss;       /* one input leads nowhere and never will: no cached result */
};

static void set_done(struct edge *e, bool fast, bool slow)
{
	if ((fast && !e->fast_done) || (slow && !e->slow_done))
		e->changed = true;
	e->fast_done = e->fast_done || fast;
	e->slow_done = e->slow_done || slow;
}

static void ask(struct plan *p, size_t i, enum level level)
{
	if (p->asks[i] < level)
		p->asks[i] = level;
}

static void ask_all(const struct vstate *vs, struct plan *p, enum level level)
{
	for (size_t i = 0; i < vs->n_deps; i++)
		ask(p, i, level);
}

/* A result that can be had without running; true when one is being got. */
static bool plan_load(struct edge *e)
{
	if (e->load || e->has_candidate)
		return true;
	e->has_candidate = edge_candidate_sched(e, &e->candidate);
	return e->has_candidate;
}

/* Sources: keys come from the maps alone, the first is quick to get. */
static void plan_root(struct edge *e, struct plan *p)
{
	struct vstate *vs = e->vs;
	struct ckey_table *t = &vs->solver->keys;
	size_t next = vs->maps_done ? 0 : vs->maps.len + 1;

	while (e->n_maps < vs->maps.len)
		edge_add_key_sched(e, ckey_root(t, &vs->maps.items[e->n_maps++], e->output));
	set_done(e, true, vs->maps_done);
	if (e->want == LEVEL_SLOW)
		p->want_maps = MAX(p->want_maps, next);
	if (e->want < LEVEL_RESULT || (!vs->ignore_cache && plan_load(e)))
		return;
	if (next)
		p->want_maps = MAX(p->want_maps, next);
	else
		p->run = true;
}

static bool hash_pending(const struct dep *d)
{
	return !d->slow_done;
}

static bool is_empty(const struct edge *e, size_t i)
{
	return !e->matches || !e->matches[i].ids.len;
}

static struct inputs survey(const struct edge *e)
{
	const struct vstate *vs = e->vs;
	struct inputs in = { true, true, true, true, vs->ignore_cache };

	for (size_t i = 0; i < vs->n_deps; i++) {
		const struct dep *d = &vs->deps[i];
		bool empty = is_empty(e, i), have = d->edge->result;
		bool slow = d->edge->slow_done || have;

		in.all_fast = in.all_fast && (d->edge->fast_done || have);
		in.all_slow = in.all_slow && slow;
		in.all_result = in.all_result && have && !hash_pending(d);
		in.none_empty = in.none_empty && !empty;
		in.miss = in.miss || (empty && slow && !hash_pending(d));
	}
	return in;
}

/* The content key of input i, or first its result. */
static void want_content(const struct vstate *vs, struct plan *p, size_t i)
{
	if (!vs->deps[i].edge->result)
		ask(p, i, LEVEL_RESULT);
	else if (hash_pending(&vs->deps[i]))
		p->slow[i] = true;
}

/* All keys, running as little as possible. True when something is still to come. */
static bool plan_keys(struct edge *e, struct plan *p, const struct inputs *in)
{
	const struct vstate *vs = e->vs;
	bool waiting = false;

	for (size_t i = 0; i < vs->n_deps; i++) {
		const struct edge *d = vs->deps[i].edge;

		ask(p, i, LEVEL_FAST);
		if (!d->fast_done && !d->result) {
			waiting = true;
		} else if ((is_empty(e, i) || in->none_empty) && !d->slow_done && !d->result) {
			ask(p, i, LEVEL_SLOW);
			waiting = true;
		}
	}
	/* Content keys cost most, and only those that can still decide are made. */
	for (size_t i = 0; !waiting && i < vs->n_deps; i++)
		if ((is_empty(e, i) || in->none_empty) && hash_pending(&vs->deps[i]))
			want_content(vs, p, i);
	for (size_t i = 0; !waiting && i < vs->n_deps; i++)
		waiting = p->slow[i] || p->asks[i] == LEVEL_RESULT;
	return waiting;
}

static void plan_result(struct edge *e, struct plan *p, const struct inputs *in, bool miss)
{
	const struct vstate *vs = e->vs;

	for (size_t i = 0; i < vs->n_deps; i++) {
		const struct edge *d = vs->deps[i].edge;
		bool stuck = in->none_empty && in->all_fast; /* they lead to different keys */

		if (miss || (stuck && in->all_slow))
			want_content(vs, p, i);
		else if (!d->fast_done && !d->result)
			ask(p, i, LEVEL_FAST);
		else if (!is_empty(e, i) && !stuck)
			ask(p, i, LEVEL_FAST);
		else if (!d->slow_done && !d->result)
			ask(p, i, LEVEL_SLOW);
		else if (is_empty(e, i))
			want_content(vs, p, i); /* its result is needed in any case */
	}
	p->run = p->run || (in->all_result && (miss || in->none_empty));
}

static bool plan_failure(const struct vstate *vs, struct plan *p)
{
	for (size_t i = 0; i < vs->n_deps && !p->fail; i++) {
		const struct vstate *d = vs->deps[i].edge->vs;

		if (d->err && !vs->deps[i].edge->result) {
			p->fail = err_dup(d->err);
			p->failure = failure_ref(d->failure);
		}
	}
	return p->fail;
}

static void plan_inner(struct edge *e, struct plan *p)
{
	struct vstate *vs = e->vs;
	struct inputs in;
	bool miss;

	if (!vs->ignore_cache)
		edge_match_sched(e);
	if (e->keys.len && !vs->ignore_cache) {
		if (e->want < LEVEL_RESULT) {
			set_done(e, true, true);
			return;
		}
		if (plan_load(e))
			return;
	}
	if (plan_failure(vs, p))
		return;
	in = survey(e);
	/* With keys but no result: it has to run. */
	miss = in.miss || e->keys.len;
	set_done(e, in.all_fast || miss, miss);
	switch (e->want) {
	case LEVEL_FAST:
		ask_all(vs, p, LEVEL_FAST);
		break;
	case LEVEL_SLOW:
		if (!miss && !plan_keys(e, p, &in))
			set_done(e, true, true);
		break;
	case LEVEL_RESULT:
		plan_result(e, p, &in, miss);
		break;
	default:
		break;
	}
}

void vstate_plan_sched(struct vstate *vs, struct plan *p)
{
	list_each (&vs->edges, n) {
		struct edge *e = list_entry(n, struct edge, link);

		if (e->result || e->want == LEVEL_NONE || vs->ran || vs->err)
			continue;
		if (p->fail)
			return;
		if (!vs->maps.len) {
			p->want_maps = MAX(p->want_maps, (size_t)1);
			ask_all(vs, p,
				vs->ignore_cache && e->want == LEVEL_RESULT ? LEVEL_RESULT
									    : LEVEL_FAST);
			continue;
		}
		if (vs->n_deps)
			plan_inner(e, p);
		else
			plan_root(e, p);
	}
}
