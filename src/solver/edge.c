#include "base/mem.h"
#include "solver/state.h"

#include <assert.h>

/* ---- keys ---- */

void edge_add_key_sched(struct edge *e, struct ckey *take_k)
{
	vec_each (&e->keys, k) {
		if (*k == take_k) {
			ckey_unref(&e->vs->solver->keys, take_k);
			return;
		}
	}
	vec_push(&e->keys, take_k);
	if (e->result && !take_k->live)
		take_k->live = e;
	e->changed = true;
}

struct lookup {
	struct edge *edge;
	struct match *match;
	struct cache_source *source;
};

static void found_key(void *arg, const struct cache_key_id *id)
{
	struct lookup *l = arg;
	struct ckey_table *t = &l->edge->vs->solver->keys;
	struct ckey *k = ckey_found(t, l->source, id);

	vec_each (&l->match->ids, have) {
		if (*have == k) {
			ckey_unref(t, k);
			return;
		}
	}
	vec_push(&l->match->ids, k);
	l->edge->rematch = true;
}

/* From the input's own key, or from its content key. */
static struct cache_link link_of(const struct edge *e, size_t input, bool content)
{
	const struct vstate *vs = e->vs;

	return (struct cache_link) {
		.input = (uint32_t)input,
		.output = e->output,
		.digest = vs->maps.items[0],
		.selector = content ? (struct digest) { 0 } : vs->dep_info[input].selector,
	};
}

static void look_up(struct edge *e, size_t input, const struct ckey *k, bool content)
{
	struct vstate *vs = e->vs;
	struct ckey_table *t = &vs->solver->keys;
	struct cache_link link = link_of(e, input, content);
	struct lookup l = { e, &e->matches[input], t->local };

	if (ckey_in_source(t, k, t->local))
		t->local->ops->query(t->local, &k->id, &link, found_key, &l);
	vec_each (&vs->sources, s) {
		l.source = *s;
		if (ckey_in_source(t, k, *s))
			(*s)->ops->query(*s, &k->id, &link, found_key, &l);
	}
}

static bool has_id(const struct match *m, const struct ckey *k)
{
	vec_each (&m->ids, id)
		if (*id == k)
			return true;
	return false;
}

/* Keys that every input leads to. */
static void intersect(struct edge *e)
{
	struct vstate *vs = e->vs;
	struct match *least = NULL;

	for (size_t i = 0; i < vs->n_deps; i++) {
		struct match *m = &e->matches[i];

		if (!m->ids.len)
			return;
		if (!least || m->ids.len < least->ids.len)
			least = m;
	}
	vec_each (&least->ids, id) {
		bool all = true;

		for (size_t i = 0; i < vs->n_deps && all; i++)
			all = has_id(&e->matches[i], *id);
		if (all)
			edge_add_key_sched(e, ckey_ref(*id));
	}
}

void edge_match_sched(struct edge *e)
{
	struct vstate *vs = e->vs;

	if (!e->matches)
		e->matches = mem_calloc(vs->n_deps, sizeof(*e->matches));
	for (size_t i = 0; i < vs->n_deps; i++) {
		struct match *m = &e->matches[i];
		struct dep *d = &vs->deps[i];

		while (m->n_seen < d->edge->keys.len)
			look_up(e, i, d->edge->keys.items[m->n_seen++], false);
		if (d->slow_key && !m->slow_seen) {
			m->slow_seen = true;
			look_up(e, i, d->slow_key, true);
		}
	}
	if (e->rematch)
		intersect(e);
	e->rematch = false;
}

static void drop_matches(struct edge *e)
{
	struct ckey_table *t = &e->vs->solver->keys;

	for (size_t i = 0; e->matches && i < e->vs->n_deps; i++) {
		vec_each (&e->matches[i].ids, k)
			ckey_unref(t, *k);
		vec_fini(&e->matches[i].ids);
	}
	free(e->matches);
	e->matches = NULL;
}

/* ---- results in caches ---- */

void candidate_fini(struct candidate *c)
{
	free(c->result_id);
	*c = (struct candidate) { 0 };
}

struct hits {
	struct edge *edge;
	struct cache_source *source;
	struct ckey *key;
	struct candidate *best;
	VEC(char *) gone; /* local ones that exist no more */
};

static bool has_failed(const struct edge *e, struct str result_id)
{
	vec_each (&e->failed_loads, f)
		if (str_eq_cstr(result_id, *f))
			return true;
	return false;
}

static void found_result(void *arg, const struct cache_hit *hit)
{
	struct hits *h = arg;
	struct solver *s = h->edge->vs->solver;
	bool local = h->source == s->keys.local;

	if (has_failed(h->edge, hit->result_id))
		return;
	if (local && !s->results->exists(s->results->arg, hit->result_id)) {
		vec_push(&h->gone, str_heap(hit->result_id));
		return;
	}
	/* The local one wins, then the newest. */
	if (h->best->result_id) {
		bool best_local = h->best->source == s->keys.local;

		if (best_local != local ? best_local : hit->created_ns <= h->best->created_ns)
			return;
	}
	candidate_fini(h->best);
	h->best->source = h->source;
	h->best->key = h->key;
	h->best->result_id = str_heap(hit->result_id);
	h->best->created_ns = hit->created_ns;
}

bool edge_candidate_sched(struct edge *e, struct candidate *ret)
{
	struct vstate *vs = e->vs;
	struct ckey_table *t = &vs->solver->keys;
	struct candidate best = { 0 };
	struct hits h = { .edge = e, .best = &best };

	vec_each (&e->keys, k) {
		if ((*k)->live && (*k)->live != e) {
			*ret = (struct candidate) { .live = (*k)->live };
			return true;
		}
	}
	vec_each (&e->keys, k) {
		h.key = *k;
		h.source = t->local;
		if (ckey_in_source(t, *k, h.source))
			h.source->ops->results(h.source, &(*k)->id, found_result, &h);
		vec_each (&vs->sources, s) {
			h.source = *s;
			if (ckey_in_source(t, *k, *s))
				(*s)->ops->results(*s, &(*k)->id, found_result, &h);
		}
	}
	vec_each (&h.gone, id) {
		keystore_drop_result(vs->solver->store, str_from(*id));
		free(*id);
	}
	vec_fini(&h.gone);
	if (!best.result_id)
		return false;
	*ret = best;
	return true;
}

/* ---- saving ---- */

static struct ckey *own_key(const struct edge *e)
{
	vec_each (&e->keys, k)
		if (!(*k)->source)
			return *k;
	return NULL;
}

static void give_key(struct edge *e)
{
	struct vstate *vs = e->vs;
	struct solver *s = vs->solver;
	bool transient = false;
	struct ckey *key = own_key(e);

	if (!vs->n_deps)
		return; /* sources have theirs from the maps */
	for (size_t i = 0; i < vs->n_deps; i++) {
		const struct ckey *slow = vs->deps[i].slow_key;
		bool found = slow && !slow->transient;

		vec_each (&vs->deps[i].edge->keys, k)
			found = found || ckey_in_source(&s->keys, *k, s->keys.local);
		transient = transient || !found;
	}
	if (!key && !transient) {
		/* Somebody may have stored it meanwhile. */
		drop_matches(e);
		edge_match_sched(e);
		key = own_key(e);
	}
	if (!key) {
		key = ckey_fresh(&s->keys, transient);
		edge_add_key_sched(e, key);
	}
	if (key->transient)
		return;
	for (size_t i = 0; i < vs->n_deps; i++) {
		const struct ckey *slow = vs->deps[i].slow_key;
		struct cache_link link = link_of(e, i, false);

		vec_each (&vs->deps[i].edge->keys, k)
			if (ckey_in_source(&s->keys, *k, s->keys.local))
				keystore_add_link(s->store, &(*k)->id, &link, &key->id);
		link = link_of(e, i, true);
		if (slow && !slow->transient)
			keystore_add_link(s->store, &slow->id, &link, &key->id);
	}
}

void edge_save_key_sched(struct edge *e)
{
	VEC(struct edge *) stack = VEC_INIT;

	vec_push(&stack, e);
	while (stack.len) {
		struct edge *at = stack.items[stack.len - 1];
		size_t before = stack.len;

		/* Those that were found in imported caches only. */
		for (size_t i = 0; i < at->vs->n_deps; i++)
			if (at->vs->deps[i].edge->keys.len && !own_key(at->vs->deps[i].edge))
				vec_push(&stack, at->vs->deps[i].edge);
		if (stack.len > before)
			continue;
		stack.len--;
		give_key(at);
		if (at->changed)
			sched_queue(at->vs);
	}
	vec_fini(&stack);
}

void edge_finish_sched(struct edge *e, struct result *take_r, bool store)
{
	struct vstate *vs = e->vs;
	struct solver *s = vs->solver;
	bool slow = false;

	for (size_t i = 0; i < vs->n_deps; i++)
		slow = slow || vs->deps[i].slow_key;
	if (store || slow)
		edge_save_key_sched(e);
	e->result = take_r;
	e->fast_done = e->slow_done = e->changed = true;
	vec_each (&e->keys, k) {
		const char *id;

		if (!(*k)->live)
			(*k)->live = e;
		if (!store || (*k)->source || (*k)->transient)
			continue;
		id = s->results->id(take_r);
		if (id)
			keystore_add_result(s->store, &(*k)->id, str_from(id),
					    s->results->created(take_r));
	}
	drop_matches(e);
}

void edge_fini_sched(struct edge *e)
{
	struct solver *s = e->vs->solver;

	assert(!e->load && list_empty(&e->consumers) && list_empty(&e->requests));
	vec_each (&e->keys, k) {
		if ((*k)->live == e)
			(*k)->live = NULL;
		ckey_unref(&s->keys, *k);
	}
	vec_fini(&e->keys);
	drop_matches(e);
	candidate_fini(&e->candidate);
	vec_each (&e->failed_loads, f)
		free(*f);
	vec_fini(&e->failed_loads);
	if (e->result)
		vec_push(&s->dead_results, e->result);
}

/* ---- equal work ---- */

static bool share_key(const struct dep *a, const struct dep *b)
{
	if (a->edge == b->edge || (a->slow_key && a->slow_key == b->slow_key))
		return true;
	vec_each (&a->edge->keys, x)
		vec_each (&b->edge->keys, y)
			if (*x == *y)
				return true;
	return false;
}

bool vstate_same_work_sched(const struct vstate *a, const struct vstate *b)
{
	if (a->n_deps != b->n_deps || !digest_eq(&a->maps.items[0], &b->maps.items[0]))
		return false;
	for (size_t i = 0; i < a->n_deps; i++)
		if (!digest_eq(&a->dep_info[i].selector, &b->dep_info[i].selector) ||
		    !share_key(&a->deps[i], &b->deps[i]))
			return false;
	return true;
}
