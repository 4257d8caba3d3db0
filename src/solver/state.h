/* Inside of the solver: states of vertices and their outputs (edges), owned by the scheduler
 * thread. Functions named *_sched run on it only.
 *
 * The graph moves by two facts an edge knows about the edges it needs: how far they have been asked
 * to go, and what they have come to know. vstate_plan() looks at a vertex and says what it needs
 * next; vstate_apply() starts and stops work accordingly. Whatever changes queues the vertices
 * concerned, which are planned again; nothing else moves anything. So nobody has to undo: what is
 * needed no more is simply no longer asked for. */
#ifndef SOLVER_STATE_H
#define SOLVER_STATE_H

#include "base/list.h"
#include "base/lock.h"
#include "base/task.h"
#include "base/vec.h"
#include "solver/ckey.h"
#include "solver/solver.h"
#include "solver/store.h"

struct vstate;
struct work;

/* How far an edge is asked to go. */
enum level {
	LEVEL_NONE,
	LEVEL_FAST,   /* the keys that need no input's result */
	LEVEL_SLOW,   /* all keys short of running it; inputs may have to run for it */
	LEVEL_RESULT, /* the result */
	N_LEVELS
};

/* Keys found by way of one input, of one edge. */
struct match {
	size_t n_seen;  /* keys of the input that were looked up */
	bool slow_seen; /* its content key too */
	VEC(struct ckey *) ids;
};

/* A result that an edge can have without running. */
struct candidate {
	struct edge *live; /* this one has it already */
	struct cache_source *source;
	struct ckey *key;
	char *result_id; /* heap */
	int64_t created_ns;
};

struct edge {
	struct vstate *vs;
	struct list link; /* in vs->edges */
	uint32_t output;
	enum level want;
	size_t n_asked[N_LEVELS]; /* by consumers and requests */
	struct list consumers;    /* dep.consumer */
	struct list requests;     /* of builds */
	VEC(struct ckey *) keys;
	size_t n_maps;         /* maps whose keys are here (no deps) */
	struct match *matches; /* one a dep */
	bool rematch;          /* a match has changed */
	bool fast_done, slow_done;
	bool changed;  /* consumers are to be told */
	bool executed; /* by this process, not found */
	struct result *result;
	struct work *load;
	/* Planned: to be loaded next. */
	bool has_candidate;
	struct candidate candidate;
	/* What could not be loaded. */
	VEC(char *) failed_loads;
};

struct dep {
	struct edge *edge;
	struct vstate *consumer_vs;
	struct list consumer; /* in edge->consumers */
	enum level asked;
	bool slow_done; /* slow_key is set, or it has none */
	struct ckey *slow_key;
	struct work *slow;
};

struct builder {
	struct solver *solver;
	struct job *job;   /* one of */
	struct vstate *vs; /* the two */
};

struct vstate {
	struct solver *solver;
	uint32_t refs;
	struct list ready; /* in solver->ready while queued */
	bool queued;
	struct digest digest;
	bool ignore_cache;
	struct graph *graph;
	const struct vertex *vertex;
	struct op *op;
	void *sessions;
	struct vprogress *progress;
	struct builder builder;
	VEC(struct job *) jobs;
	VEC(struct vstate *) children; /* of builds inside its operation */
	VEC(struct cache_source *) sources;
	struct dep *deps;
	size_t n_deps;
	struct list edges;

	VEC(struct digest) maps; /* digests of cache maps */
	bool maps_done;
	const struct cache_dep *dep_info; /* of map 0; lives in op */
	struct work *map;

	struct work *run;
	struct vstate *waits_for; /* equal work of another vertex that runs now */
	struct list waiting;      /* in its waiters */
	struct list waiters;
	struct list running; /* with those of equal op digest, in solver->running */
	bool ran;
	bool joined; /* what ran was the equal work of another */
	struct op_outputs outputs;

	struct err *err; /* final */
	struct failure *failure;
};

/* What a vertex needs next. */
struct plan {
	enum level *asks; /* one a dep */
	bool *slow;       /* content key of that dep */
	size_t want_maps; /* how many */
	bool run;
	struct err *fail; /* of an input */
	struct failure *failure;
};

/* Something done by a task; its end is a message. */
enum work_kind { WORK_MAP, WORK_SLOW, WORK_RUN, WORK_LOAD };
struct msg {
	struct list link;
	void (*fn)(struct solver *s, struct msg *m);
};
struct work {
	struct msg done;
	enum work_kind kind;
	struct solver *solver;
	struct vstate *vs; /* holds a reference */
	struct ctx *ctx;
	bool dropped; /* nobody needs it any more */
	bool leaf;
	struct list pending; /* while it waits for its turn */

	unsigned index; /* of the map; of the dep */
	struct cache_key_info info;
	struct digest digest;
	struct result **inputs;
	size_t n_inputs;
	struct op_outputs outputs;
	struct failure *failure;
	struct edge *edge; /* of a load */
	struct ckey *key;
	char *result_id;
	struct cache_source *source;
	struct result *result;
	struct err *err;
};

struct job {
	struct ref ref;
	struct solver *solver;
	char *id;
	void *session;
	struct progress *progress;
	struct builder builder;
	int64_t expires; /* monotonic; 0: not over. Guarded by solver->lock */
	/* Of the scheduler. */
	VEC(struct vstate *) vertices;
};

struct request {
	struct msg msg, cancel;
	struct ref ref; /* the caller's and the scheduler's */
	struct list link;
	struct solver *solver;
	struct builder *builder; /* used when the build starts */
	struct graph *graph;
	uint32_t vertex, output;
	struct cache_source *const *sources; /* of the caller; used when the build starts */
	size_t n_sources;
	struct edge *edge;
	struct lock lock;
	struct cond cond;
	bool done;
	struct err *err;
	struct failure *failure;
	struct build_result result;
};

struct solver {
	struct ctx *ctx;
	const struct result_ops *results;
	struct solver_sessions sessions;
	char *spill_dir;
	struct progress_limits limits;
	size_t max_leaf, max_quick;

	/* Messages to the scheduler. */
	struct lock queue_lock;
	struct cond queue_cond;
	struct list queue;
	bool sleeping; /* the scheduler waits for one */
	struct task *thread_task;
	pthread_t thread;
	bool started;
	struct ctx *wait_ctx; /* never cancelled: for timed waits */

	/* Jobs by id. */
	struct lock lock;
	struct cond jobs_cond;
	struct map jobs;

	/* Of the scheduler. */
	struct map vertices; /* digest -> struct vstate */
	struct list ready;
	struct ckey_table keys;
	struct store *store;
	struct store_batch *writing;
	int64_t write_at;   /* monotonic; 0: nothing to write */
	struct map running; /* op digest -> struct list of vstate.running */
	struct list leaf_pending;
	size_t n_leaf, n_works, n_reapers;
	bool quit;

	/* What is let go of here, by a task. */
	VEC(struct op *) dead_ops;
	VEC(struct result *) dead_results;
	VEC(void *) dead_sessions;
	VEC(struct failure *) dead_failures;
	VEC(struct graph *) dead_graphs;

	/* Quick work, shared with its runners. */
	struct lock quick_lock;
	struct cond quick_cond;
	struct list quick;
	size_t n_quick_runners;
};

/* ---- vstate.c ---- */
/* The state of a vertex of a graph and of all below it, with the job(s) of the builder attached. */
struct edge *vstate_load_sched(struct builder *b, struct graph *g, uint32_t vertex, uint32_t output,
			       struct cache_source *const *sources, size_t n_sources);
struct vstate *vstate_ref_sched(struct vstate *vs);
void vstate_unref_sched(struct vstate *vs);
void job_detach_sched(struct job *j);
struct edge *vstate_edge(struct vstate *vs, uint32_t output);

/* ---- plan.c: decisions, no work ---- */
/* asks and slow have room for n_deps, all zero. */
void vstate_plan_sched(struct vstate *vs, struct plan *p);

/* ---- edge.c: keys and results of an edge ---- */
/* Looks the keys of the inputs up in the caches; new keys of the edge go to e->keys. */
void edge_match_sched(struct edge *e);
void edge_add_key_sched(struct edge *e, struct ckey *take_k);
/* The best result to load for an edge that has keys; false when there is none (left). */
bool edge_candidate_sched(struct edge *e, struct candidate *ret);
void candidate_fini(struct candidate *c);
/* Gives the edge a key of the local cache (its inputs get theirs first) with links from all keys of
 * the inputs. */
void edge_save_key_sched(struct edge *e);
/* The edge has its result: takes it. store: the result is new to the local cache. */
void edge_finish_sched(struct edge *e, struct result *take_r, bool store);
void edge_fini_sched(struct edge *e);
/* Would running both do the same? */
bool vstate_same_work_sched(const struct vstate *a, const struct vstate *b);

/* ---- sched.c ---- */
void solver_post(struct solver *s, struct msg *m, void (*fn)(struct solver *s, struct msg *m));
/* Runs fn on the scheduler thread and waits for it. */
void solver_call(struct solver *s, void (*fn)(struct solver *s, void *arg), void *arg);
void sched_queue(struct vstate *vs);
void sched_assert(const struct solver *s);
struct err *sched_main(struct ctx *ctx, void *arg);

/* ---- work.c ---- */
struct work *work_new_sched(struct vstate *vs, enum work_kind kind);
void work_start_sched(struct work *w);
/* Nobody needs it any more. It ends soon; a success is welcome all the same. */
void work_drop_sched(struct work *w);
/* Its end was dealt with. */
void work_end_sched(struct work *w);

/* ---- apply.c ---- */
/* Plans the vertex, starts and stops work, tells those who care. */
void vstate_step_sched(struct vstate *vs);
void work_done_sched(struct solver *s, struct msg *m);
void vstate_stop_waiting_sched(struct vstate *vs);
void edge_set_asked_sched(struct edge *e, enum level from, enum level to);
/* ---- build.c ---- */
void request_finish_sched(struct request *r, struct edge *e);
struct vstate *cache_key_vstate(const struct cache_key *k, uint32_t *ret_output);
/* Keeps the result as long as the key. */
void cache_key_hold_sched(struct cache_key *k, struct result *take_r);
struct solver *cache_key_solver(const struct cache_key *k);

#endif
