#include "remotecache/impl.h"

struct err *record_load(struct ctx *ctx, const struct remotecache_results *results,
			struct cache_key *key, const struct export_record *rec, struct result **ret)
{
	struct result *r = NULL;
	struct err *e;

	*ret = NULL;
	if (!rec->has_result || !rec->n_inputs ||
	    (rec->vertex && rec->vertex->export_cache == EXPORT_CACHE_OFF))
		return NULL;
	e = export_record_load(key, ctx, rec, &r);
	if (e && !ctx_done(ctx)) {
		/* Gone from here, or from the cache that it was found in. */
		err_free(e);
		return NULL;
	}
	if (e)
		return e;
	if (results->ref_of(r))
		*ret = r;
	else
		results->unref(r);
	return NULL;
}
