#include "frontend/dockerfile/env.h"

#include "frontend/push.h"

/* From the end: what was set last is asked for most. */
static ptrdiff_t find(const struct env *e, struct str key)
{
	for (size_t i = e->len; i-- > 0;)
		if (str_eq(e->vars[i].key, key))
			return (ptrdiff_t)i;
	return -1;
}

bool env_get(const struct env *e, struct str key, struct str *ret)
{
	ptrdiff_t i = find(e, key);

	if (i < 0)
		return false;
	*ret = e->vars[i].value;
	return true;
}

void env_del(struct env *e, struct str key)
{
	ptrdiff_t i = find(e, key);

	if (i < 0)
		return;
	e->len--;
	memmove(e->vars + i, e->vars + i + 1, (e->len - (size_t)i) * sizeof(*e->vars));
}

void env_set(struct arena *a, struct env *e, struct str key, struct str value)
{
	env_del(e, key);
	ARENA_PUSH(a, e->vars, e->len, e->cap, ((struct env_var) { key, value }));
}

struct env env_clone(struct arena *a, const struct env *e)
{
	struct env c = { .len = e->len, .cap = e->len };

	c.vars = ARENA_NEW_N(a, struct env_var, e->len);
	if (e->len)
		memcpy(c.vars, e->vars, e->len * sizeof(*c.vars));
	return c;
}

struct str env_text(struct arena *a, const struct env_var *v)
{
	return str_from(arena_printf(a, "%.*s=%.*s", STR_ARG(v->key), STR_ARG(v->value)));
}
