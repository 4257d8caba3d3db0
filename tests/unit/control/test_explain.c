/* The store of builds and the comparison of vertices behind `buildctl explain`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "control/explain.h"

#include "base/mem.h"
#include "base/task.h"
#include "kv/kv.h"

#define assert_ok(expr)                                                                            \
	do {                                                                                       \
		struct err *e_ = (expr);                                                           \
		if (e_)                                                                            \
			fail_msg("%s", err_text(e_));                                              \
	} while (0)

struct world {
	struct task_pool *pool;
	struct ctx *ctx;
	struct kv *kv;
	struct explain_store *store;
	struct arena a;
};

static int setup(void **state)
{
	struct world *w = NEW(struct world);

	w->pool = task_pool_new();
	w->ctx = ctx_new_root(w->pool);
	w->kv = kv_open_mem();
	w->store = explain_store_new(w->kv);
	arena_init(&w->a);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	explain_store_free(w->store);
	assert_ok(kv_close(w->kv));
	ctx_unref(w->ctx);
	task_pool_free(w->pool);
	arena_fini(&w->a);
	free(w);
	return 0;
}

/* ---- the store ---- */

static void add_build(struct world *w, const char *ref, size_t n_vertices, const char *filler)
{
	Buildkitc__V1__StoredBuild b = BUILDKITC__V1__STORED_BUILD__INIT;
	Buildkitc__V1__StoredVertex *v =
		ARENA_NEW_N(&w->a, Buildkitc__V1__StoredVertex, n_vertices + 1);

	b.ref = (char *)ref;
	b.n_vertices = n_vertices;
	b.vertices = ARENA_NEW_N(&w->a, Buildkitc__V1__StoredVertex *, n_vertices + 1);
	for (size_t i = 0; i < n_vertices; i++) {
		buildkitc__v1__stored_vertex__init(&v[i]);
		v[i].name = (char *)filler;
		b.vertices[i] = &v[i];
	}
	explain_store_add(w->store, w->ctx, &b);
}

struct seen {
	char refs[4096];
	size_t n, stop_after, vertices;
	uint64_t last;
};

static bool see(void *arg, uint64_t number, const Buildkitc__V1__StoredBuild *b, struct arena *a)
{
	struct seen *s = arg;

	if (s->n < 100)
		(void)snprintf(s->refs + strlen(s->refs), sizeof(s->refs) - strlen(s->refs), "%s ",
			       b->ref);
	assert_true(!s->n || number < s->last);
	s->last = number;
	s->vertices += b->n_vertices;
	return ++s->n != s->stop_after;
}

static void newest_first(void **state)
{
	struct world *w = *state;
	struct seen s = { 0 }, two = { .stop_after = 2 }, rest = { 0 };

	add_build(w, "a", 1, "x");
	/* Long enough to be compressed. */
	add_build(w, "b", 5000, "a long name of a step that is the same for all of them");
	add_build(w, "c", 0, "");
	assert_ok(explain_store_each(w->store, w->ctx, UINT64_MAX, see, &s));
	assert_string_equal(s.refs, "c b a ");
	assert_int_equal(s.vertices, 5001);
	assert_ok(explain_store_each(w->store, w->ctx, UINT64_MAX, see, &two));
	assert_string_equal(two.refs, "c b ");
	assert_ok(explain_store_each(w->store, w->ctx, two.last, see, &rest));
	assert_string_equal(rest.refs, "a ");
}

static void survives_restart(void **state)
{
	struct world *w = *state;
	struct seen s = { 0 };

	add_build(w, "a", 1, "x");
	explain_store_free(w->store);
	w->store = explain_store_new(w->kv);
	add_build(w, "b", 1, "x");
	assert_ok(explain_store_each(w->store, w->ctx, UINT64_MAX, see, &s));
	assert_string_equal(s.refs, "b a ");
}

static void passes_over_damage(void **state)
{
	struct world *w = *state;
	struct seen s = { 0 };

	add_build(w, "a", 1, "x");
	assert_ok(kv_put1(w->kv, KV_LAZY, "explain", str_make("\0\0\0\0\0\0\0\2", 8),
			  str_make("\1junk that is no zstd", 20)));
	assert_ok(kv_put1(w->kv, KV_LAZY, "explain", str_make("\0\0\0\0\0\0\0\3", 8),
			  str_make("\0\377\377\377", 4)));
	assert_ok(kv_put1(w->kv, KV_LAZY, "explain", str_make("\0\0\0\0\0\0\0\4", 8), STR_NONE));
	explain_store_free(w->store);
	w->store = explain_store_new(w->kv);
	add_build(w, "z", 1, "x");
	assert_ok(explain_store_each(w->store, w->ctx, UINT64_MAX, see, &s));
	assert_string_equal(s.refs, "z a ");
}

static bool add_size(void *arg, struct str key, struct str value)
{
	*(size_t *)arg += value.len;
	return true;
}

static struct err *total_size(struct kv_txn *t, void *arg)
{
	return kv_scan(t, "explain", STR_NONE, add_size, arg);
}

static void is_bounded(void **state)
{
	struct world *w = *state;
	struct seen s = { 0 };
	size_t total = 0;

	for (unsigned i = 0; i < EXPLAIN_BUILDS_MAX + 100; i++)
		add_build(w, "r", 150,
			  "a name of a hundred bytes or so, which are not compressed as the "
			  "whole is not long enough for that");
	assert_ok(kv_view(w->kv, total_size, &total));
	assert_true(total <= EXPLAIN_STORED_MAX && total > EXPLAIN_STORED_MAX / 2);
	assert_ok(explain_store_each(w->store, w->ctx, UINT64_MAX, see, &s));
	assert_true(s.n > 500 && s.n < EXPLAIN_BUILDS_MAX);
}

/* ---- comparison ---- */

struct made {
	Buildkitc__V1__StoredBuild build;
	Buildkitc__V1__StoredVertex *list[4], v[4];
	Buildkitc__V1__StoredInput *in_list[4], in[4];
	Buildkitc__V1__StoredPart *part_list[4][2], part[4][2];
	Buildkitc__V1__StoredEntry *entry_list[2], entry[2];
	uint64_t key[4];
};

/* A source and a step that stands on it by content. */
static struct made *make(struct world *w)
{
	struct made *m = ARENA_NEW(&w->a, struct made);

	buildkitc__v1__stored_build__init(&m->build);
	m->build.vertices = m->list;
	m->build.n_vertices = 2;
	for (size_t i = 0; i < 2; i++) {
		Buildkitc__V1__StoredVertex *v = &m->v[i];

		buildkitc__v1__stored_vertex__init(v);
		m->list[i] = v;
		v->kind = (char *)(i ? "exec" : "source");
		v->name = (char *)(i ? "step" : "base");
		v->fate = VERTEX_RAN;
		v->key = proto_from_str(STR("0123456789abcdef"));
		v->parts = m->part_list[i];
		v->n_parts = 1;
		buildkitc__v1__stored_part__init(&m->part[i][0]);
		buildkitc__v1__stored_part__init(&m->part[i][1]);
		m->part_list[i][0] = &m->part[i][0];
		m->part_list[i][1] = &m->part[i][1];
		m->part[i][0].name = (char *)(i ? "argument 0" : "digest");
		m->part[i][0].value = (char *)"one";
	}
	buildkitc__v1__stored_input__init(&m->in[0]);
	m->in_list[0] = &m->in[0];
	m->in[0].vertex = 1;
	m->key[0] = 7;
	m->in[0].keys = &m->key[0];
	m->in[0].n_keys = 1;
	m->in[0].entries = m->entry_list;
	m->v[1].inputs = m->in_list;
	m->v[1].n_inputs = 1;
	for (size_t i = 0; i < 2; i++) {
		buildkitc__v1__stored_entry__init(&m->entry[i]);
		m->entry_list[i] = &m->entry[i];
		m->entry[i].path = (char *)(i ? "/b" : "/a");
	}
	return m;
}

static const char *why(struct world *w, struct made *m, struct made *old, bool exists)
{
	struct explain_pair p = {
		.build = &m->build,
		.vertex = m->list[1],
		.earlier_build = old ? &old->build : NULL,
		.earlier = old ? old->list[1] : NULL,
		.result_exists = exists,
	};
	size_t n;
	char **r = explain_reasons(&p, &w->a, &n);
	SCOPED_BUF(b, 65536);

	for (size_t i = 0; i < n; i++)
		buf_addf(&b, "%s%s", i ? "; " : "", r[i]);
	return str_cstr(&w->a, buf_str(&b));
}

static void same_key(void **state)
{
	struct world *w = *state;
	struct made *m = make(w), *old = make(w);

	assert_string_equal(
		why(w, m, old, false),
		"the key is the same, but its result is gone: it was pruned or evicted");
	assert_string_equal(why(w, m, old, true),
			    "the key is the same and the result exists, but it could not be used");
	m->v[1].transient = true;
	assert_string_equal(why(w, m, old, true),
			    "the key is of this session only: it stands on an input that is never "
			    "found again");
	m->v[1].ignore_cache = true;
	assert_string_equal(why(w, m, old, true), "the cache is ignored for this step");
	assert_string_equal(why(w, make(w), NULL, false),
			    "nothing like it was built before, as far as is remembered");
}

static void operation(void **state)
{
	struct world *w = *state;
	struct made *m = make(w), *old = make(w);

	m->v[1].key = proto_from_str(STR("0123456789abcdeX"));
	m->part[1][0].value = (char *)"two";
	m->v[1].n_parts = 2;
	m->part[1][1].name = (char *)"new";
	m->part[1][1].value = (char *)"x";
	old->v[1].n_parts = 2;
	old->part[1][1].name = (char *)"old";
	old->part[1][1].value = (char *)"y\n";
	assert_string_equal(
		why(w, m, old, true),
		"argument 0 has changed: \"two\", it was \"one\"; new is new: \"x\"; old is "
		"gone: it was \"y\\n\"");
}

static void base_digest(void **state)
{
	struct world *w = *state;
	struct made *m = make(w), *old = make(w);

	m->key[0] = 8;
	m->part[0][0].value = (char *)"sha256:two";
	m->v[0].key = proto_from_str(STR("other key bytes!"));
	assert_string_equal(why(w, m, old, true),
			    "input \"base\": digest has changed: \"sha256:two\", it was \"one\"");
}

static void selector_and_ran(void **state)
{
	struct world *w = *state;
	struct made *m = make(w), *old = make(w);

	m->in[0].selector = proto_from_str(STR("sel"));
	m->v[0].kind = old->v[0].kind = (char *)"file";
	m->v[0].key = proto_from_str(STR("other key bytes!"));
	assert_string_equal(why(w, m, old, true),
			    "other paths of input \"base\" are read; input \"base\" ran");
}

static void files(void **state)
{
	struct world *w = *state;
	struct made *m = make(w), *old = make(w);

	m->key[0] = 8;
	m->in[0].content = proto_from_str(STR("content of now.."));
	old->in[0].content = proto_from_str(STR("content before.."));
	assert_string_equal(why(w, m, old, true), "the content of input \"base\" has changed");
	m->in[0].n_entries = 2;
	old->in[0].n_entries = 2;
	m->entry[0].digest = 5;
	m->entry[1].path = (char *)"/dir";
	m->entry[1].all_below = true;
	assert_string_equal(
		why(w, m, old, true),
		"file /a of input \"base\" has changed; something in directory /dir of input "
		"\"base\" is new; file /b of input \"base\" is gone");
	/* The same content is the same input, whatever its key. */
	m->in[0].content = old->in[0].content;
	assert_string_equal(
		why(w, m, old, false),
		"the key is the same, but its result is gone: it was pruned or evicted");
}

/* Keys that were pruned get new names: what they stand on is the same all the same. */
static void pruned_below(void **state)
{
	struct world *w = *state;
	struct made *m = make(w), *old = make(w);

	m->key[0] = 8;
	m->v[0].kind = old->v[0].kind = (char *)"exec";
	assert_string_equal(
		why(w, m, old, false),
		"the key is the same, but its result is gone: it was pruned or evicted");
}

static void nearness(void **state)
{
	struct world *w = *state;
	struct made *m = make(w), *old = make(w);
	unsigned same = explain_nearness(&m->v[1], &old->v[1]), other;

	old->v[1].name = (char *)"another";
	other = explain_nearness(&m->v[1], &old->v[1]);
	assert_true(same > other && other > 0);
	old->v[1].key = proto_from_str(STR("other key bytes!"));
	assert_true(explain_nearness(&m->v[1], &old->v[1]) < other);
	old->key[0] = 1;
	assert_int_equal(explain_nearness(&m->v[1], &old->v[1]), 0);
	assert_int_equal(explain_nearness(&m->v[0], &old->v[1]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(newest_first), T(survives_restart), T(passes_over_damage), T(is_bounded),
		T(same_key),     T(operation),        T(base_digest),        T(selector_and_ran),
		T(files),        T(pruned_below),     T(nearness),
	};

	return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}
