#include "cache/materialise.h"

#include "base/limits.h"

/* Merges may hold each other many times over, so lists are made once a record. */
struct flattening {
	struct map lists; /* by record -> struct record_vec */
	size_t total;
};

static struct err *flatten(struct flattening *f, struct record *r, unsigned depth,
			   const struct record_vec **ret);

static struct err *add(struct flattening *f, struct record_vec *out, struct record *const *items,
		       size_t n)
{
	f->total += n;
	if (f->total > LIMIT_FLAT_LAYERS)
		return err_new(ERR_RESOURCE_EXHAUSTED, "more than %d layers", LIMIT_FLAT_LAYERS);
	for (size_t i = 0; i < n; i++)
		vec_push(out, items[i]);
	return NULL;
}

/* What upper has above lower, if lower is below it; else the difference is a layer of its own. */
static struct err *add_diff(struct flattening *f, struct record *r, unsigned depth,
			    struct record_vec *out)
{
	const struct record_vec *low, *up;
	bool below;

	if (!r->parents[0] || !r->parents[1])
		return add(f, out, &r, 1);
	TRY(flatten(f, r->parents[0], depth, &low));
	TRY(flatten(f, r->parents[1], depth, &up));
	below = low->len <= up->len;
	for (size_t i = 0; below && i < low->len; i++)
		below = low->items[i] == up->items[i];
	if (!below)
		return add(f, out, &r, 1);
	return add(f, out, up->items + low->len, up->len - low->len);
}

static struct err *add_record(struct flattening *f, struct record *r, unsigned depth,
			      struct record_vec *out)
{
	if (r->kind == RECORD_DIFF)
		return add_diff(f, r, depth, out);
	if (r->kind != RECORD_MERGE)
		return add(f, out, &r, 1);
	for (size_t i = 0; i < r->n_parents; i++) {
		const struct record_vec *part;

		TRY(flatten(f, r->parents[i], depth, &part));
		TRY(add(f, out, part->items, part->len));
	}
	return NULL;
}

static struct err *flatten(struct flattening *f, struct record *r, unsigned depth,
			   const struct record_vec **ret)
{
	struct str key = str_make((const char *)&r, sizeof(r));
	struct record_vec chain = { 0 }, *list = map_get(&f->lists, key);
	struct err *e = NULL;

	*ret = list;
	if (list)
		return NULL;
	if (depth > LIMIT_FLAT_DEPTH)
		return err_new(ERR_RESOURCE_EXHAUSTED, "merges are nested more than %d deep",
			       LIMIT_FLAT_DEPTH);
	/* Down the chain to what is no plain layer. (The key is the bytes of r itself.) */
	for (struct record *x = r; x;
	     x = x->kind == RECORD_LAYER && x->n_parents ? x->parents[0] : NULL) {
		vec_push(&chain, x);
		if (x->kind != RECORD_LAYER)
			break;
	}
	*ret = list = NEW(struct record_vec);
	(void)map_put(&f->lists, key, list);
	while (chain.len && !e)
		e = add_record(f, vec_pop(&chain), depth + 1, list);
	vec_fini(&chain);
	return e;
}

static void list_free(void *list)
{
	vec_fini((struct record_vec *)list);
	free(list);
}

struct err *record_flatten(struct record *r, struct record_vec *out)
{
	struct flattening f = { 0 };
	const struct record_vec *list;
	struct err *e;

	map_init(&f.lists);
	e = flatten(&f, r, 0, &list);
	for (size_t i = 0; !e && i < list->len; i++)
		vec_push(out, list->items[i]);
	map_fini(&f.lists, list_free);
	return e;
}
