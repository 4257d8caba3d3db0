#include "op/workers.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"

/* ---- choosing ---- */

static struct str label_of(const struct worker *w, struct str key)
{
	for (size_t i = 0; i < w->n_labels; i++)
		if (str_eq(w->labels[i].key, key))
			return w->labels[i].value;
	return STR_NONE;
}

static bool field(const void *of, struct str name, struct buf *join, struct str *ret)
{
	const struct worker *w = of;
	SCOPED_ARENA(a);

	*ret = STR_NONE;
	if (str_eq_cstr(name, "id")) {
		*ret = str_from(w->id);
	} else if (str_has_prefix(name, STR("labels."))) {
		*ret = label_of(w, str_trim_prefix(name, STR("labels.")));
	} else if (str_eq_cstr(name, "platform")) {
		for (size_t i = 0; i < w->n_platforms; i++)
			buf_addf(join, "%s%s", i ? ";" : "", platform_format(&a, w->platforms[i]));
		*ret = buf_str(join);
	}
	return ret->len;
}

bool worker_matches(const struct worker *w, const struct filter *f)
{
	return filter_match_fields(f, field, w);
}

static struct err *no_match(const struct worker *w, const struct str *filters, size_t n)
{
	SCOPED_BUF(text, LIMIT_ERROR_TEXT);

	for (size_t i = 0; i < n; i++) {
		buf_add_cstr(&text, i ? " or " : "");
		go_quote(&text, filters[i]);
	}
	buf_add_cstr(&text, "; workers:");
	for (size_t i = 0; i < w->set->n; i++) {
		const struct worker *x = w->set->list[i];

		buf_addf(&text, "%s %s (", i ? "," : "", x->id);
		for (size_t k = 0; k < x->n_labels; k++)
			buf_addf(&text, "%s%.*s=%.*s", k ? " " : "", STR_ARG(x->labels[k].key),
				 STR_ARG(x->labels[k].value));
		buf_add_cstr(&text, ")");
	}
	TRY(buf_check(&text, "list of workers"));
	return err_new(ERR_NOT_FOUND, "no worker matches filter %s", buf_cstr(&text));
}

struct err *worker_select(struct worker *w, const struct str *filters, size_t n,
			  struct worker **ret)
{
	SCOPED_ARENA(a); /* the filter is in it: first made, last freed */
	CLEANUP(filter_freep) struct filter *f = NULL;
	const struct worker_set alone = { &w, 1 };
	const struct worker_set *set = w->set ? w->set : &alone;
	struct worker named = *w;

	*ret = w;
	if (!n)
		return NULL;
	TRY(filter_parse(&a, filters, n, &f));
	for (size_t i = 0; i < set->n; i++) {
		*ret = set->list[i];
		if (worker_matches(*ret, f))
			return NULL;
	}
	named.set = set;
	return no_match(&named, filters, n);
}

/* ---- copying ---- */

/* Where the blob of a layer comes from: the record on the other worker, which is held. */
struct origin {
	struct ref ref;
	struct cache_ref *layer;
	struct content *from, *to;
};

static void origin_ref(void *arg)
{
	struct origin *o = arg;

	ref_get(&o->ref);
}

static void origin_unref(void *arg)
{
	struct origin *o = arg;

	if (!ref_put(&o->ref))
		return;
	cache_ref_release(o->layer);
	free(o);
}

static const struct cache_compress as_it_is = {
	.type = COMPRESSION_GZIP,
	.level = -1,
	.epoch_s = -1,
	.lazy_ok = true,
};

static struct err *copy_blob(void *arg, struct ctx *ctx, const struct oci_descriptor *d)
{
	struct origin *o = arg;
	struct cache_compress here = as_it_is;
	struct cache_layer *layers;
	SCOPED_ARENA(a);
	size_t n;

	here.lazy_ok = false;
	if (!content_has(o->from, ctx, &d->digest))
		TRY(cache_ref_layers(o->layer, ctx, &a, &here, &layers, &n));
	return content_copy(ctx, o->from, o->to, &d->digest);
}

static struct digest chain_of(const struct digest *below, const struct digest *diff_id)
{
	char a[DIGEST_TEXT_MAX], b[DIGEST_TEXT_MAX], both[2 * DIGEST_TEXT_MAX + 1];
	int n;

	if (!digest_is_set(below))
		return *diff_id;
	n = snprintf(both, sizeof(both), "%s %s", digest_format(below, a),
		     digest_format(diff_id, b));
	return digest_sha256(str_make(both, (size_t)n));
}

static struct err *add_layer(struct worker *to, const struct worker *from, struct ctx *ctx,
			     const struct cache_layer *l, struct digest *chain,
			     struct cache_ref **parent)
{
	struct cache_blob b = { .desc = l->desc, .diff_id = l->diff_id };
	struct cache_opts opts = { .description = l->description, .created_ns = l->created_ns };
	struct cache_fetcher f = { copy_blob, origin_ref, origin_unref, .last_resort = true };
	struct origin *o = NEW(struct origin);
	struct cache_ref *below = *parent;
	struct err *e;

	ref_init(&o->ref);
	o->layer = cache_ref_clone(l->ref);
	o->from = cache_content(from->cache);
	o->to = cache_content(to->cache);
	f.arg = o;
	*chain = chain_of(chain, &l->diff_id);
	b.chain_id = *chain;
	e = cache_get_by_blob(to->cache, ctx, below, &b, &f, &opts, parent);
	if (e)
		*parent = below;
	else
		cache_ref_release(below);
	origin_unref(o);
	return e;
}

struct err *worker_bring(struct worker *to, struct ctx *ctx, const struct result *r,
			 struct cache_ref **ret)
{
	const struct worker *from = r ? op_result_worker(r) : to;
	struct cache_ref *ref = op_result_ref(r), *got = NULL;
	struct cache_layer *layers;
	struct digest chain = { 0 };
	struct err *e = NULL;
	SCOPED_ARENA(a);
	size_t n;

	if (!ref || from == to) {
		*ret = ref ? cache_ref_clone(ref) : NULL;
		return NULL;
	}
	TRYW(cache_ref_layers(ref, ctx, &a, &as_it_is, &layers, &n),
	     "failed to copy ref %s::%s to worker %s", from->id, cache_ref_id(ref), to->id);
	for (size_t i = 0; i < n && !e; i++)
		e = add_layer(to, from, ctx, &layers[i], &chain, &got);
	if (e) {
		cache_ref_release(got);
		return err_wrap(e, "failed to copy ref %s::%s to worker %s", from->id,
				cache_ref_id(ref), to->id);
	}
	*ret = got;
	return NULL;
}

struct err *worker_bring_result(struct worker *to, struct ctx *ctx, struct result *r,
				struct result **ret)
{
	struct cache_ref *ref;

	*ret = NULL;
	if (!r)
		return NULL;
	TRY(worker_bring(to, ctx, r, &ref));
	*ret = op_result_new(to, ref);
	return NULL;
}
