#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "source/source.h"

struct source_table {
	struct map by_scheme;
	VEC(struct source *) owned;
};

struct source_table *source_table_new(void)
{
	return NEW(struct source_table);
}

void source_table_free(struct source_table *t)
{
	if (!t)
		return;
	map_fini(&t->by_scheme, NULL);
	vec_each (&t->owned, s)
		(*s)->ops->free(*s);
	vec_fini(&t->owned);
	free(t);
}

void source_table_add(struct source_table *t, const char *scheme, struct source *s, bool owned)
{
	map_put(&t->by_scheme, str_from(scheme), s);
	if (owned)
		vec_push(&t->owned, s);
}

struct err *source_identify(const struct source_table *t, struct str identifier,
			    const struct source_attr *attrs, size_t n_attrs,
			    struct platform platform, struct source_instance **ret)
{
	ptrdiff_t at = str_find_str(identifier, STR("://"));
	struct source_request r = {
		.identifier = identifier,
		.attrs = attrs,
		.n_attrs = n_attrs,
		.platform = platform,
	};
	struct str scheme;
	struct source *s;

	if (at < 0)
		return err_new(ERR_INVALID_ARGUMENT, "failed to parse %.*s: invalid",
			       STR_ARG(identifier));
	scheme = str_sub(identifier, 0, (size_t)at);
	r.ref = str_sub(identifier, (size_t)at + 3, identifier.len);
	s = map_get(&t->by_scheme, scheme);
	if (!s)
		return err_new(ERR_NOT_FOUND, "unknown scheme %.*s: not found", STR_ARG(scheme));
	return s->ops->identify(s, &r, ret);
}

void source_instance_free(struct source_instance *i)
{
	if (i)
		i->ops->free(i);
}

struct str source_attr_get(const struct source_request *r, const char *key)
{
	for (size_t i = 0; i < r->n_attrs; i++)
		if (str_eq_cstr(r->attrs[i].key, key))
			return r->attrs[i].value;
	return STR_NONE;
}

void source_status(const struct source_progress *p, const char *id, const char *name,
		   int64_t current, int64_t total, bool done)
{
	if (p)
		p->status(p->arg, id, name, current, total, done);
}

void source_log(const struct source_progress *p, int stream, struct str data)
{
	if (p)
		p->log(p->arg, stream, data);
}
