/* Random graphs, many at once, with cancels, evictions and restarts, against a naive evaluator. */
#include "fake.h"

#include "kv/kv.h"

#define UNIVERSE 40
#define BUILDERS 6

struct universe {
	struct fake_spec specs[UNIVERSE];
	struct vertex_input inputs[UNIVERSE][4];
	bool by_content[UNIVERSE][4];
};

static struct vertex_input inner_input;
static const struct fake_spec inner_specs[2][2] = {
	{ { .class = 1, .content = 1 }, { .class = 2000, .n_inputs = 1, .inputs = &inner_input } },
	{ { .class = 2, .content = 2, .sleep_ns = 100000 },
	  { .class = 2001, .n_inputs = 1, .inputs = &inner_input, .leaf = true } },
};

/* Vertices with salts of their own per graph: different digests, often equal work. */
static void make_universe(struct universe *u, uint64_t shape, uint64_t variant, unsigned failing)
{
	uint64_t s = shape, v = variant;

	for (unsigned i = 0; i < UNIVERSE; i++) {
		struct fake_spec *sp = &u->specs[i];
		uint64_t r = fake_random(&s), w = fake_random(&v);

		*sp = (struct fake_spec) {
			.class = i / 2, /* neighbours may be the same work */
			.salt = w % 3 ? 0 : w % 5,
			.quick = r & 1,
			.leaf = r & 2,
			.ignore_cache = w % 17 == 0,
			.fails = failing && r % 97 < failing,
			.sleep_ns = (r >> 8) % 4 ? 0 : (int64_t)((r >> 16) % 2000) * 1000,
			.key_sleep_ns = r & 1 || (r >> 9) % 8 ? 0 : 300000,
			.outputs = r % 5 == 0 ? 2 : 1,
			.inputs = u->inputs[i],
			.by_content = u->by_content[i],
		};
		if (i > 3 && r % 7)
			sp->n_inputs = 1 + (unsigned)((r >> 20) % 4);
		for (unsigned k = 0; k < sp->n_inputs; k++) {
			unsigned in = (unsigned)(fake_random(&s) % i);

			u->inputs[i][k].vertex = in;
			u->inputs[i][k].output = (uint32_t)(fake_random(&s) % u->specs[in].outputs);
			u->by_content[i][k] = fake_random(&s) % 3 == 0;
		}
		if (!sp->n_inputs) {
			/* Few contents, so that content keys meet. */
			sp->content = (r >> 32) % 3;
			sp->two_maps = r % 11 < 4;
			sp->random = r % 13 == 0;
		} else {
			sp->class += 1000 + (r >> 40) % 2;
		}
		if (sp->fails)
			sp->class += 5000;
		if (i % 9 == 8) {
			/* A build inside, of what others build too. */
			sp->inner = inner_specs[i % 2];
			sp->n_inner = 2;
			sp->leaf = false;
			sp->class += 7000;
		}
	}
}

struct shared {
	struct fake_world *w;
	struct solver *s;
	atomic_uint next_job;
	atomic_uint n_cancelled;
	/* Caches exported before, to be imported. */
	struct lock lock;
	struct cache_source *imports[8];
};

static size_t take_imports(struct shared *sh, uint64_t *seed, struct cache_source *out[2])
{
	size_t n = 0;

	LOCKED(&sh->lock);
	for (size_t i = fake_random(seed) % 3; i > 0; i--) {
		struct cache_source *s = sh->imports[fake_random(seed) % 8];

		if (s)
			out[n++] = cache_source_ref(s);
	}
	return n;
}

static void put_import(struct shared *sh, uint64_t *seed, struct cache_source *s)
{
	struct cache_source **slot = &sh->imports[fake_random(seed) % 8], *old;

	lock_take(&sh->lock);
	old = *slot;
	*slot = s;
	lock_drop(&sh->lock);
	cache_source_unref(old);
}

struct builder_arg {
	struct shared *sh;
	uint64_t seed;
	unsigned rounds;
};

static void one_build(struct shared *sh, uint64_t *seed)
{
	struct universe *u = NEW(struct universe);
	struct graph *g;
	struct ctx *ctx;
	struct job *j;
	char name[32];
	unsigned builds = 1 + (unsigned)(fake_random(seed) % 3);

	make_universe(u, fake_random(seed) % 4, fake_random(seed), fake_random(seed) % 4 ? 0 : 8);
	g = fake_graph(sh->w, u->specs, UNIVERSE);
	(void)snprintf(name, sizeof(name), "job%u", atomic_fetch_add(&sh->next_job, 1));
	assert_ok(job_new(sh->s, str_from(name), NULL, &j));
	for (unsigned i = 0; i < builds; i++) {
		uint32_t top = (uint32_t)(fake_random(seed) % UNIVERSE);
		struct cache_source *imports[2];
		size_t n_imports = take_imports(sh, seed, imports);
		struct build_request br = {
			.graph = g, .vertex = top, .sources = imports, .n_sources = n_imports
		};
		struct build_result r = { 0 };
		uint64_t want = fake_evaluate(u->specs, top, 0);
		bool cancels = fake_random(seed) % 4 == 0;
		struct err *e;

		ctx = cancels ? ctx_new_timeout(sh->w->ctx,
						(int64_t)(fake_random(seed) % 3000) * 1000)
			      : ctx_ref(sh->w->ctx);
		e = solver_build(job_builder(j), ctx, &br, &r, NULL);
		if (e && cancels && err_is(e, ERR_DEADLINE_EXCEEDED)) {
			atomic_fetch_add(&sh->n_cancelled, 1);
		} else if (want == UINT64_MAX) {
			check(e);
		} else {
			assert_ok(e);
			check(fake_result_value(r.result) == want);
		}
		if (!e && fake_random(seed) % 8 == 0) {
			SCOPED_ARENA(a);
			struct export_record *rec;
			size_t n;

			assert_ok(cache_key_export(r.key, sh->w->ctx, &a, &rec, &n));
			for (size_t k = 0; k < n; k++)
				for (size_t d = 0; d < rec[k].n_inputs; d++)
					for (size_t l = 0; l < rec[k].n_links[d]; l++)
						check(rec[k].inputs[d][l].record < k);
			put_import(sh, seed, fake_source(sh->w, r.key, rec, n));
		}
		while (n_imports)
			cache_source_unref(imports[--n_imports]);
		err_free(e);
		build_result_fini(sh->s, &r);
		ctx_unref(ctx);
	}
	job_discard(j);
	graph_unref(g);
	free(u);
}

static struct err *builder_task(struct ctx *ctx, void *arg)
{
	struct builder_arg *b = arg;

	for (unsigned i = 0; i < b->rounds; i++)
		one_build(b->sh, &b->seed);
	return NULL;
}

static void run_model(uint64_t seed, unsigned restarts, unsigned rounds)
{
	struct fake_world w;
	struct kv *kv = kv_open_mem();
	struct shared sh = { .w = &w };

	fake_world_init(&w);
	lock_init(&sh.lock, LOCK_LEAF);
	for (unsigned r = 0; r < restarts; r++) {
		struct builder_arg b[BUILDERS];
		struct task *t[BUILDERS];
		struct solver_stats st;

		sh.s = fake_solver(&w, r % 4 == 3 ? NULL : kv);
		for (unsigned i = 0; i < BUILDERS; i++) {
			b[i] = (struct builder_arg) { &sh, fake_random(&seed), rounds };
			t[i] = task_start(w.ctx, "builder", builder_task, &b[i]);
		}
		for (unsigned i = 0; i < 4; i++) {
			assert_ok(ctx_sleep(w.ctx, 2 * NSEC_PER_MSEC));
			fake_evict(&w, 3, &seed);
			if (i % 2)
				assert_ok(solver_release_unreferenced(sh.s, w.ctx));
		}
		for (unsigned i = 0; i < BUILDERS; i++)
			assert_ok(task_wait(t[i]));
		/* Cancelled work ends by itself, and then nothing is left. */
		for (unsigned i = 0; i < 1000 && (st = solver_stats(sh.s)).vertices; i++)
			assert_ok(ctx_sleep(w.ctx, NSEC_PER_MSEC));
		check(st.vertices == 0 && st.keys == 0);
		solver_free(sh.s);
	}
	for (size_t i = 0; i < ARRAY_SIZE(sh.imports); i++)
		cache_source_unref(sh.imports[i]);
	lock_fini(&sh.lock);
	print_message("%u jobs, %zu runs, %zu loads, %zu imports, %zu hashes, %u cancelled\n",
		      atomic_load(&sh.next_job), atomic_load(&w.n_runs), atomic_load(&w.n_loads),
		      atomic_load(&w.n_imports), atomic_load(&w.n_hashes),
		      atomic_load(&sh.n_cancelled));
	fake_world_fini(&w);
	assert_ok(kv_close(kv));
}

static void model(void **state)
{
	/* A longer run: MODEL_SEED, MODEL_RESTARTS, MODEL_ROUNDS. */
	const char *seed = getenv("MODEL_SEED"), *restarts = getenv("MODEL_RESTARTS"),
		   *rounds = getenv("MODEL_ROUNDS");
	uint64_t s = 1, r = 6, n = 20;

	if (seed)
		(void)str_to_u64(str_from(seed), &s);
	if (restarts)
		(void)str_to_u64(str_from(restarts), &r);
	if (rounds)
		(void)str_to_u64(str_from(rounds), &n);
	run_model(s, (unsigned)r, (unsigned)n);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(model) };

	return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
