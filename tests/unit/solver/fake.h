/* A table of operations that compute numbers, for tests of the solver. An operation of a class on
 * inputs gives a value that is a function of the class and the inputs; results can be evicted, so
 * that they are not found any more. */
#ifndef TEST_SOLVER_FAKE_H
#define TEST_SOLVER_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/lock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/task.h"
#include "base/vec.h"
#include "solver/solver.h"

/* As the assertions, for any thread. */
#define check(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                 \
			abort();                                                                   \
		}                                                                                  \
	} while (0)
#define assert_ok(expr)                                                                            \
	do {                                                                                       \
		struct err *e_ = (expr);                                                           \
		if (e_) {                                                                          \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, err_text(e_));          \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* What a vertex does. */
struct fake_spec {
	uint64_t class;   /* decides digest and value */
	uint64_t content; /* a source: its value, and the digest of its second map if two_maps */
	unsigned n_inputs;
	struct vertex_input *inputs;
	bool *by_content; /* one an input, or NULL: only the content part of the value counts */
	bool two_maps, random, ignore_cache, fails, quick, leaf;
	unsigned outputs; /* 0 is 1 */
	int64_t sleep_ns; /* in run */
	int64_t key_sleep_ns;
	uint64_t salt; /* of the vertex digest */
	/* A build inside the operation; its value is added. */
	const struct fake_spec *inner;
	size_t n_inner;
};

struct fake_world {
	struct lock lock;
	struct map live; /* result id -> value + 1: what load finds */
	size_t n_results, next_id;
	atomic_size_t n_runs, n_keys, n_hashes, n_loads, n_imports;
	struct result_ops ops;
	struct task_pool *pool;
	struct ctx *ctx;
};

void fake_world_init(struct fake_world *w);
void fake_world_fini(struct fake_world *w); /* no result may be left */
void fake_evict(struct fake_world *w, unsigned one_in, uint64_t *seed);
struct graph *fake_graph(struct fake_world *w, const struct fake_spec *specs, size_t n);
uint64_t fake_result_value(const struct result *r);
/* The value as it must be, or UINT64_MAX when something below fails. */
uint64_t fake_evaluate(const struct fake_spec *specs, uint32_t vertex, uint32_t output);
/* Builds, checks the value (expected UINT64_MAX: fails). */
void fake_build(struct solver *s, const char *job, struct graph *g, uint32_t vertex,
		uint32_t output, uint64_t expected);
struct solver *fake_solver(struct fake_world *w, struct kv *kv);
uint64_t fake_random(uint64_t *seed);
/* What was exported, as an imported cache would have it. Copies the records and loads their results
 * (those that can be). */
struct cache_source *fake_source(struct fake_world *w, struct cache_key *k,
				 const struct export_record *rec, size_t n);

#endif
