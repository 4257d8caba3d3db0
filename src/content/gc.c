#include "content/content_impl.h"

#include "base/mem.h"
#include "base/vec.h"

struct gc {
	int64_t before_ns;
	bool (*keep)(void *arg, const struct content_info *info);
	void *arg;
	struct {
		struct content_info *items;
		size_t len, cap;
	} victims; /* digest and size only */
};

static bool is_root(const struct content_info *info)
{
	for (size_t i = 0; i < info->n_labels; i++)
		if (str_eq_cstr(info->labels[i].key, CONTENT_LABEL_ROOT))
			return true;
	return false;
}

static struct err *judge(void *arg, const struct content_info *info)
{
	struct gc *g = arg;

	if (info->updated_ns > g->before_ns || is_root(info) || g->keep(g->arg, info))
		return NULL;
	vec_push(&g->victims,
		 ((struct content_info) { .digest = info->digest, .size = info->size }));
	return NULL;
}

struct err *content_gc(struct content *c, struct ctx *ctx, int64_t min_age_ns,
		       bool (*keep)(void *arg, const struct content_info *info), void *arg,
		       uint64_t *ret_bytes)
{
	struct gc g = { .before_ns = clock_wall() - min_age_ns, .keep = keep, .arg = arg };
	struct err *e = c->ops->each(c, ctx, judge, &g);
	uint64_t bytes = 0;

	for (size_t i = 0; !e && i < g.victims.len; i++) {
		e = content_remove(c, ctx, &g.victims.items[i].digest);
		if (err_is(e, ERR_NOT_FOUND))
			err_free(TAKE_PTR(e));
		else if (!e)
			bytes += g.victims.items[i].size;
	}
	vec_fini(&g.victims);
	if (!e && c->ops->collect)
		e = c->ops->collect(c, ctx);
	if (!e && ret_bytes)
		*ret_bytes = bytes;
	return e;
}
