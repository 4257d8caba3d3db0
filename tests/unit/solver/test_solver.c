#include "fake.h"

#include "kv/kv.h"

struct fixture {
	struct fake_world w;
	struct kv *kv;
	struct solver *s;
	int n_jobs;
};

static int setup(void **state)
{
	struct fixture *f = NEW(struct fixture);

	fake_world_init(&f->w);
	f->kv = kv_open_mem();
	f->s = fake_solver(&f->w, f->kv);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	solver_free(f->s);
	fake_world_fini(&f->w);
	assert_ok(kv_close(f->kv));
	free(f);
	return 0;
}

static void restart(struct fixture *f)
{
	solver_free(f->s);
	f->s = fake_solver(&f->w, f->kv);
}

/* Builds the last vertex; gives how many operations ran. */
static size_t build_last(struct fixture *f, const struct fake_spec *specs, size_t n)
{
	struct graph *g = fake_graph(&f->w, specs, n);
	size_t before = atomic_load(&f->w.n_runs);
	char name[16];

	(void)snprintf(name, sizeof(name), "job%d", f->n_jobs++);
	fake_build(f->s, name, g, (uint32_t)n - 1, 0, fake_evaluate(specs, (uint32_t)n - 1, 0));
	graph_unref(g);
	return atomic_load(&f->w.n_runs) - before;
}

#define IN(...)                                                                                    \
	.inputs = (struct vertex_input[])                                                          \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}
#define BY(...)                                                                                    \
	.by_content = (bool[])                                                                     \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}

static void runs_once_then_cached(void **state)
{
	struct fixture *f = *state;
	struct fake_spec specs[] = {
		{ .class = 1, .content = 10 },
		{ .class = 2, .n_inputs = 1, IN({ 0, 0 }) },
		{ .class = 3, .n_inputs = 2, IN({ 0, 0 }, { 1, 0 }) },
	};

	assert_int_equal(build_last(f, specs, 3), 3);
	assert_int_equal(build_last(f, specs, 3), 0);
	/* Found under other vertex digests too. */
	specs[0].salt = 5;
	assert_int_equal(build_last(f, specs, 3), 0);
	restart(f);
	assert_int_equal(build_last(f, specs, 3), 0);
	assert_int_equal(build_last(f, specs, 2), 0);
	/* Another class at the top: what is below is loaded, not run. */
	specs[2].class = 4;
	assert_int_equal(build_last(f, specs, 3), 1);
}

static void runs_again_when_gone(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 1;
	struct fake_spec specs[] = {
		{ .class = 1, .content = 10 },
		{ .class = 2, .n_inputs = 1, IN({ 0, 0 }) },
	};
	struct graph *g;

	assert_int_equal(build_last(f, specs, 2), 2);
	fake_evict(&f->w, 1, &seed);
	assert_int_equal(build_last(f, specs, 2), 2);
	fake_evict(&f->w, 1, &seed);
	assert_ok(solver_release_unreferenced(f->s, f->w.ctx));
	restart(f);
	assert_int_equal(build_last(f, specs, 2), 2);
	/* Keys without results still lead to the results above. */
	g = fake_graph(&f->w, specs, 2);
	graph_unref(g);
	assert_int_equal(build_last(f, specs, 2), 0);
}

static void ignores_cache(void **state)
{
	struct fixture *f = *state;
	struct fake_spec specs[] = {
		{ .class = 1, .content = 10 },
		{ .class = 2, .n_inputs = 1, IN({ 0, 0 }), .ignore_cache = true },
		{ .class = 3, .n_inputs = 1, IN({ 1, 0 }) },
	};

	assert_int_equal(build_last(f, specs, 3), 3);
	/* The middle runs again; it gives the same key, so the top is found. */
	assert_int_equal(build_last(f, specs, 3), 1);
	specs[1].ignore_cache = false;
	assert_int_equal(build_last(f, specs, 3), 0);
}

static void content_keys(void **state)
{
	struct fixture *f = *state;
	/* Sources of different classes, equal contents after an operation that keeps nothing but
	 * the content of its input. */
	struct fake_spec specs[] = {
		{ .class = 1, .content = 10, .random = true },
		{ .class = 2, .n_inputs = 1, IN({ 0, 0 }), BY(true) },
		{ .class = 3, .n_inputs = 1, IN({ 1, 0 }) },
	};
	size_t hashes;

	assert_int_equal(build_last(f, specs, 3), 3);
	assert_int_equal(atomic_load(&f->w.n_hashes), 1);
	/* A random key is not stored: the source runs again, its content is known. */
	assert_int_equal(build_last(f, specs, 3), 1);
	restart(f);
	assert_int_equal(build_last(f, specs, 3), 1);
	hashes = atomic_load(&f->w.n_hashes);
	assert_int_equal(hashes, 3);
	/* A stable source: found by its key, no hash. */
	specs[0].random = false;
	specs[0].class = 8;
	assert_int_equal(build_last(f, specs, 3), 3);
	hashes = atomic_load(&f->w.n_hashes);
	restart(f);
	assert_int_equal(build_last(f, specs, 3), 0);
	assert_int_equal(atomic_load(&f->w.n_hashes), hashes);
}

static void content_is_not_hashed_for_a_miss(void **state)
{
	struct fixture *f = *state;
	struct fake_spec specs[] = {
		{ .class = 1, .content = 10 },
		{ .class = 2, .content = 11 },
		{ .class = 3, .n_inputs = 2, IN({ 0, 0 }, { 1, 0 }), BY(true, false) },
		{ .class = 4, .n_inputs = 1, IN({ 2, 0 }) },
		{ .class = 5, .n_inputs = 2, IN({ 3, 0 }, { 2, 0 }), BY(true, false) },
	};

	assert_int_equal(build_last(f, specs, 5), 5);
	assert_int_equal(atomic_load(&f->w.n_hashes), 2);
	restart(f);
	assert_int_equal(build_last(f, specs, 5), 0);
	assert_int_equal(atomic_load(&f->w.n_hashes), 2);
	assert_int_equal(atomic_load(&f->w.n_loads), 1);
}

static void second_map(void **state)
{
	struct fixture *f = *state;
	struct fake_spec specs[] = {
		{ .class = 1, .content = 10, .two_maps = true, .salt = 1 },
		{ .class = 2, .n_inputs = 1, IN({ 0, 0 }) },
	};

	assert_int_equal(build_last(f, specs, 2), 2);
	assert_int_equal(atomic_load(&f->w.n_keys), 3);
	restart(f);
	/* The first key is enough. */
	assert_int_equal(build_last(f, specs, 2), 0);
	assert_int_equal(atomic_load(&f->w.n_keys), 5);
	/* Another first key, the same second. */
	specs[0].salt = 2;
	assert_int_equal(build_last(f, specs, 2), 0);
	assert_int_equal(atomic_load(&f->w.n_keys), 8);
}

static void outputs(void **state)
{
	struct fixture *f = *state;
	struct fake_spec specs[] = {
		{ .class = 1, .content = 10 },
		{ .class = 2, .n_inputs = 1, IN({ 0, 0 }), .outputs = 3 },
		{ .class = 3, .n_inputs = 2, IN({ 1, 0 }, { 1, 2 }) },
		{ .class = 4, .n_inputs = 1, IN({ 1, 5 }) },
	};
	struct fake_spec swapped[] = {
		specs[0],
		specs[1],
		{ .class = 3, .n_inputs = 2, IN({ 1, 2 }, { 1, 0 }) },
	};

	assert_int_equal(build_last(f, specs, 3), 3);
	restart(f);
	assert_int_equal(build_last(f, specs, 3), 0);
	assert_int_equal(build_last(f, swapped, 3), 1);
	assert_int_equal(build_last(f, specs, 4), 1); /* no such output */
}

static void fails_with_details(void **state)
{
	struct fixture *f = *state;
	struct fake_spec specs[] = {
		{ .class = 1, .content = 10 },
		{ .class = 2, .n_inputs = 1, IN({ 0, 0 }), .fails = true },
		{ .class = 3, .n_inputs = 1, IN({ 1, 0 }) },
	};
	struct graph *g = fake_graph(&f->w, specs, 3);
	struct build_request br = { .graph = g, .vertex = 2 };
	struct build_result r;
	struct job *j, *same;
	struct err *e;
	struct str value;
	char want[200], text[DIGEST_TEXT_MAX];

	assert_ok(job_new(f->s, STR("x"), NULL, &j));
	e = job_new(f->s, STR("x"), NULL, &same);
	assert_string_equal(err_text(e), "job ID x exists");
	assert_int_equal(err_code(e), ERR_ALREADY_EXISTS);
	err_free(e);
	e = solver_build(job_builder(j), f->w.ctx, &br, &r, NULL);
	assert_string_equal(err_text(e), "class 2 fails");
	assert_int_equal(err_detail_count(e), 1);
	assert_string_equal(err_detail(e, 0, &value),
			    "github.com/moby/buildkit/errdefs.Vertex+json");
	(void)snprintf(want, sizeof(want), "{\"digest\":\"%s\"}",
		       digest_format(&g->vertices[1].digest, text));
	assert_true(str_eq_cstr(value, want));
	err_free(e);
	job_discard(j);
	/* Still known. */
	assert_ok(job_get(f->s, f->w.ctx, STR("x"), 0, &same));
	assert_true(progress_closed(job_progress(same)));
	job_unref(same);
	e = job_get(f->s, f->w.ctx, STR("y"), NSEC_PER_MSEC, &same);
	assert_string_equal(err_text(e), "no such job y");
	err_free(e);
	graph_unref(g);
}

/* ---- several at once ---- */

struct racer {
	struct fixture *f;
	const struct fake_spec *specs;
	size_t n;
	int id;
	int64_t cancel_after;
	bool failed;
};

static struct err *race(struct ctx *ctx, void *arg)
{
	struct racer *r = arg;
	struct graph *g = fake_graph(&r->f->w, r->specs, r->n);
	struct build_request br = { .graph = g, .vertex = (uint32_t)r->n - 1 };
	struct build_result res;
	struct ctx *own = r->cancel_after ? ctx_new_timeout(ctx, r->cancel_after) : ctx_ref(ctx);
	struct job *j;
	struct err *e;
	char name[32];

	(void)snprintf(name, sizeof(name), "racer%d", r->id);
	assert_ok(job_new(r->f->s, str_from(name), NULL, &j));
	e = solver_build(job_builder(j), own, &br, &res, NULL);
	r->failed = e;
	if (!e)
		build_result_fini(r->f->s, &res);
	err_free(e);
	job_discard(j);
	ctx_unref(own);
	graph_unref(g);
	return NULL;
}

static void equal_work_runs_once(void **state)
{
	struct fixture *f = *state;
	struct fake_spec specs[2][2] = {
		{ { .class = 1, .content = 1, .leaf = true },
		  { .class = 2,
		    .n_inputs = 1,
		    IN({ 0, 0 }),
		    .leaf = true,
		    .sleep_ns = 50 * NSEC_PER_MSEC } },
	};
	struct racer r[6];
	struct task *t[6];

	/* Two vertex digests, one work. */
	memcpy(specs[1], specs[0], sizeof(specs[0]));
	specs[1][0].salt = specs[1][1].salt = 9;
	for (int i = 0; i < 6; i++) {
		r[i] = (struct racer) { .f = f, .specs = specs[i % 2], .n = 2, .id = i };
		t[i] = task_start(f->w.ctx, "racer", race, &r[i]);
	}
	for (int i = 0; i < 6; i++) {
		assert_ok(task_wait(t[i]));
		assert_false(r[i].failed);
	}
	assert_int_equal(atomic_load(&f->w.n_runs), 2);
}

static void last_waiter_cancels(void **state)
{
	struct fixture *f = *state;
	struct fake_spec specs[] = {
		{ .class = 1, .content = 1, .sleep_ns = 200 * NSEC_PER_MSEC },
	};
	struct fake_spec forever[] = {
		{ .class = 2, .content = 1, .sleep_ns = 3600 * NSEC_PER_SEC },
	};
	struct racer r[3] = {
		{ .f = f, .specs = specs, .n = 1, .id = 0, .cancel_after = 20 * NSEC_PER_MSEC },
		{ .f = f, .specs = specs, .n = 1, .id = 1 },
		{ .f = f, .specs = forever, .n = 1, .id = 2, .cancel_after = 20 * NSEC_PER_MSEC },
	};
	struct task *t[3];

	for (int i = 0; i < 3; i++)
		t[i] = task_start(f->w.ctx, "racer", race, &r[i]);
	for (int i = 0; i < 3; i++)
		assert_ok(task_wait(t[i]));
	assert_true(r[0].failed);
	assert_false(r[1].failed);
	assert_true(r[2].failed);
	assert_int_equal(atomic_load(&f->w.n_runs), 2);
}

static void builds_inside(void **state)
{
	struct fixture *f = *state;
	struct fake_spec inner[] = {
		{ .class = 1, .content = 1 },
		{ .class = 5, .n_inputs = 1, IN({ 0, 0 }) },
	};
	struct fake_spec specs[] = {
		{ .class = 1, .content = 1 },
		{ .class = 2, .n_inputs = 1, IN({ 0, 0 }), .inner = inner, .n_inner = 2 },
	};

	assert_int_equal(build_last(f, specs, 2), 3);
	assert_int_equal(build_last(f, specs, 2), 0);
}

/* ---- walks ---- */

static void walks_and_exports(void **state)
{
	struct fixture *f = *state;
	struct fake_spec specs[] = {
		{ .class = 1, .content = 10 },
		{ .class = 2, .n_inputs = 1, IN({ 0, 0 }) },
		{ .class = 3, .n_inputs = 2, IN({ 1, 0 }, { 0, 0 }), BY(false, true) },
	};

	for (int round = 0; round < 2; round++) {
		struct graph *g = fake_graph(&f->w, specs, 3);
		struct build_request br = { .graph = g, .vertex = 2 };
		struct build_result r;
		struct walk_vertex *v;
		struct export_record *rec;
		struct job *j;
		size_t n;
		SCOPED_ARENA(a);

		assert_ok(job_new(f->s, round ? STR("b") : STR("a"), NULL, &j));
		assert_ok(solver_build(job_builder(j), f->w.ctx, &br, &r, NULL));
		assert_ok(cache_key_walk(r.key, f->w.ctx, &a, &v, &n));
		assert_int_equal(n, 3);
		assert_ptr_equal(v[2].vertex, &g->vertices[2]);
		assert_int_equal(v[2].inputs[0], 1);
		assert_int_equal(v[2].inputs[1], 0);
		assert_int_equal(v[2].executed, round == 0);
		assert_ok(cache_key_export(r.key, f->w.ctx, &a, &rec, &n));
		/* Source, middle, content key of the source, top. */
		assert_int_equal(n, 4);
		assert_int_equal(rec[3].n_inputs, 2);
		assert_int_equal(rec[3].n_links[0], 1);
		assert_int_equal(rec[3].n_links[1], 2);
		for (size_t i = 0; i < n; i++) {
			struct result *loaded;

			assert_int_equal(rec[i].has_result, rec[i].vertex != NULL);
			if (!rec[i].vertex)
				continue;
			assert_ok(export_record_load(r.key, f->w.ctx, &rec[i], &loaded));
			f->w.ops.unref(loaded);
		}
		build_result_fini(f->s, &r);
		job_discard(j);
		graph_unref(g);
		restart(f);
	}
}

/* ---- size ---- */

static void big_graphs(void **state)
{
	struct fixture *f = *state;
	enum { N = 2000 };
	struct fake_spec *chain = mem_calloc(N, sizeof(*chain));
	struct fake_spec *fan = mem_calloc(N + 1, sizeof(*fan));
	struct vertex_input *in = mem_calloc(N, sizeof(*in));

	for (int i = 0; i < N; i++) {
		in[i].vertex = (uint32_t)i;
		chain[i] = (struct fake_spec) { .class = 100 + (uint64_t)i,
						.quick = true,
						.leaf = true };
		if (i) {
			chain[i].n_inputs = 1;
			chain[i].inputs = &in[i - 1];
		}
		fan[i] = (struct fake_spec) { .class = 10000 + (uint64_t)i,
					      .quick = true,
					      .leaf = true };
	}
	fan[N] = (struct fake_spec) { .class = 9, .quick = true, .n_inputs = N, .inputs = in };
	for (int round = 0; round < 3; round++) {
		int64_t start = clock_now(), middle;

		assert_int_equal(build_last(f, chain, N), round ? 0 : N);
		middle = clock_now();
		assert_int_equal(build_last(f, fan, N + 1), round ? 0 : N + 1);
		print_message("round %d: chain %lld us, fan %lld us\n", round,
			      (long long)(middle - start) / 1000,
			      (long long)(clock_now() - middle) / 1000);
		if (round == 1)
			restart(f);
	}
	free(chain);
	free(fan);
	free(in);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(runs_once_then_cached),
		TEST(runs_again_when_gone),
		TEST(ignores_cache),
		TEST(content_keys),
		TEST(content_is_not_hashed_for_a_miss),
		TEST(second_map),
		TEST(outputs),
		TEST(fails_with_details),
		TEST(equal_work_runs_once),
		TEST(last_waiter_cancels),
		TEST(builds_inside),
		TEST(walks_and_exports),
		TEST(big_graphs),
	};

	return cmocka_run_group_tests_name("solver", tests, NULL, NULL);
}
