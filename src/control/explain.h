/* Why steps ran: what the keys of each build were made of is kept (`explain_note`), and compared
 * with earlier ones when somebody asks (`buildctl explain`).
 *
 * Kept in kv, table "explain": number of the build, big-endian -> a flag byte (1: zstd), then
 * StoredBuild of insight.proto. Oldest go first when there are too many. Losing them costs an
 * explanation, no more: written lazily, errors are ignored. */
#ifndef CONTROL_EXPLAIN_H
#define CONTROL_EXPLAIN_H

#include "base/limits.h"
#include "control/build.h"

/* Bounds: of all that is kept, of builds, of one build (packed), of vertices of a build with all
 * that their keys were made of, and of entries of one input's tree. */
#define EXPLAIN_STORED_MAX (16 * MIB)
#define EXPLAIN_BUILDS_MAX 2000
#define EXPLAIN_BUILD_MAX (32 * MIB)
#define EXPLAIN_DETAILED_MAX 4000
#define EXPLAIN_ENTRIES_MAX 2000
/* What one answer may take. */
#define EXPLAIN_ANSWER_MAX (256 * MIB)

/* At the end of a build, before its job is discarded. */
void explain_note(struct build *b);

/* ---- explainstore.c ---- */
void explain_store_add(struct explain_store *s, struct ctx *ctx, Buildkitc__V1__StoredBuild *build);
/* The newest first, from number `before` down (UINT64_MAX: all); each() gets an arena of its own
 * and returns false to stop. Damaged ones are passed over. */
struct err *explain_store_each(struct explain_store *s, struct ctx *ctx, uint64_t before,
			       bool (*each)(void *arg, uint64_t number,
					    const Buildkitc__V1__StoredBuild *b, struct arena *a),
			       void *arg) ERR_RESULT;

/* ---- explaincompare.c ---- */
/* One vertex of a build and the earlier one that it is compared with. */
struct explain_pair {
	const Buildkitc__V1__StoredBuild *build, *earlier_build;
	const Buildkitc__V1__StoredVertex *vertex, *earlier; /* earlier NULL: there is none */
	bool result_exists;                                  /* that of the earlier one */
};
/* How near an earlier vertex is; 0 is not at all. */
unsigned explain_nearness(const Buildkitc__V1__StoredVertex *v,
			  const Buildkitc__V1__StoredVertex *earlier);
/* Reasons, most important first, as sentences without a full stop, in the arena. */
char **explain_reasons(const struct explain_pair *p, struct arena *a, size_t *ret_n);

#endif
