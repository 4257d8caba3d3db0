/* Cache keys in memory. Equal keys are one object, so comparing is comparing pointers. Owned by
 * the scheduler thread: plain counts. */
#ifndef SOLVER_CKEY_H
#define SOLVER_CKEY_H

#include "base/map.h"
#include "solver/cachesource.h"

struct edge;

struct ckey {
	uint32_t refs;
	bool root;      /* named by a digest: the same in every source */
	bool transient; /* never stored: stands on a random digest */
	struct cache_source
		*source;   /* of a key that only means something there; NULL: root or local */
	struct edge *live; /* an edge with that key and a result, or NULL */
	struct cache_key_id id;
	struct digest digest; /* of roots: what was hashed into the id */
};

struct ckey_table {
	struct map keys;
	struct cache_source *local;
};

/* Each gives a reference. */
struct ckey *ckey_root(struct ckey_table *t, const struct digest *d, uint32_t output);
struct ckey *ckey_found(struct ckey_table *t, struct cache_source *source,
			const struct cache_key_id *id);
struct ckey *ckey_fresh(struct ckey_table *t, bool transient);
struct ckey *ckey_ref(struct ckey *k);
void ckey_unref(struct ckey_table *t, struct ckey *k); /* NULL is fine */

/* Is there a local key with that id? */
bool ckey_known(const struct ckey_table *t, const struct cache_key_id *id);
/* Can links from this key be looked up, or stored, in that source? */
bool ckey_in_source(const struct ckey_table *t, const struct ckey *k, const struct cache_source *s);

#endif
