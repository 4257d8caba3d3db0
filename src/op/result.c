#include "op/result.h"

#include "base/mem.h"
#include "op/op.h"

struct result {
	struct ref ref;
	const struct worker *worker;
	struct cache_ref *cache_ref; /* NULL: the empty tree */
	char *id;
};

struct result *op_result_new(const struct worker *w, struct cache_ref *take_ref)
{
	struct result *r = NEW(struct result);

	ref_init(&r->ref);
	r->worker = w;
	r->cache_ref = take_ref;
	r->id = mem_printf("%s::%s", w->id, take_ref ? cache_ref_id(take_ref) : "");
	return r;
}

struct cache_ref *op_result_ref(const struct result *r)
{
	return r ? r->cache_ref : NULL;
}

const struct worker *op_result_worker(const struct result *r)
{
	return r->worker;
}

static struct result *result_ref(struct result *r)
{
	ref_get(&r->ref);
	return r;
}

static void result_unref(struct result *r)
{
	if (!r || !ref_put(&r->ref))
		return;
	cache_ref_release(r->cache_ref);
	free(r->id);
	free(r);
}

static const char *result_id(const struct result *r)
{
	return r->id;
}

static int64_t result_created(const struct result *r)
{
	return r->cache_ref ? cache_ref_created(r->cache_ref) : clock_wall();
}

/* The record id in "<worker>::<record>"; false for another worker's. */
static bool is_of(const struct worker *w, struct str id, struct str *ret)
{
	struct str worker = str_from(w->id);

	if (!str_has_prefix(id, worker))
		return false;
	id = str_sub(id, worker.len, id.len);
	if (!str_has_prefix(id, STR("::")))
		return false;
	*ret = str_sub(id, 2, id.len);
	return true;
}

/* Whose it is; NULL when it is of none that there is. */
static struct worker *worker_of(struct worker *any, struct str id, struct str *ret_record)
{
	if (!any->set)
		return is_of(any, id, ret_record) ? any : NULL;
	for (size_t i = 0; i < any->set->n; i++)
		if (is_of(any->set->list[i], id, ret_record))
			return any->set->list[i];
	return NULL;
}

static struct err *result_load(void *arg, struct ctx *ctx, struct str id, struct result **ret)
{
	struct cache_ref *ref = NULL;
	struct str record;
	struct worker *w = worker_of(arg, id, &record);

	if (!w)
		return err_new(ERR_NOT_FOUND, "result %.*s: not found", STR_ARG(id));
	if (record.len)
		TRY(cache_get(w->cache, ctx, record, &ref));
	*ret = op_result_new(w, ref);
	return NULL;
}

static bool result_exists(void *arg, struct str id)
{
	struct str record, value;
	struct worker *w = worker_of(arg, id, &record);
	bool found;
	struct err *e;
	SCOPED_ARENA(a);

	if (!w)
		return false;
	if (!record.len)
		return true;
	/* In memory: an error is that there is no such record. */
	e = cache_meta_get(w->cache, record, "", &a, &value, &found);
	found = !e;
	err_free(e);
	return found;
}

void op_result_ops_init(struct result_ops *ret, struct worker *w)
{
	*ret = (struct result_ops) {
		.ref = result_ref,
		.unref = result_unref,
		.id = result_id,
		.created = result_created,
		.load = result_load,
		.exists = result_exists,
		.arg = w,
	};
}
