#include "session/internal.h"

struct session_group {
	struct ref ref;
	struct lock lock;
	VEC(char *) ids; /* in the order they came; never shrinks */
};

struct session_group *session_group_new(const char *id)
{
	struct session_group *g = NEW(struct session_group);

	ref_init(&g->ref);
	lock_init(&g->lock, LOCK_SESSION);
	if (id && *id)
		vec_push(&g->ids, mem_strdup(id));
	return g;
}

struct session_group *session_group_ref(struct session_group *g)
{
	ref_get(&g->ref);
	return g;
}

void session_group_unref(struct session_group *g)
{
	if (!g || !ref_put(&g->ref))
		return;
	vec_each (&g->ids, id)
		free(*id);
	vec_fini(&g->ids);
	lock_fini(&g->lock);
	free(g);
}

void session_group_add(struct session_group *g, const char *id)
{
	if (!id || !*id)
		return;
	LOCKED(&g->lock);
	vec_each (&g->ids, have)
		if (strcmp(*have, id) == 0)
			return;
	vec_push(&g->ids, mem_strdup(id));
}

/* The i-th id in the arena, or NULL: the group may grow while it is walked. */
static const char *nth(struct session_group *g, size_t i, struct arena *a)
{
	LOCKED(&g->lock);
	return i < g->ids.len ? arena_strdup(a, g->ids.items[i]) : NULL;
}

void session_group_add_all(struct session_group *g, struct session_group *from)
{
	SCOPED_ARENA(a);
	const char *id;

	if (!from || from == g)
		return;
	for (size_t i = 0; (id = nth(from, i, &a)); i++)
		session_group_add(g, id);
}

/* ---- a ctx that ends with either of two ---- */

static void on_other_end(void *arg)
{
	struct joined_ctx *j = arg;

	ctx_cancel(j->ctx, ctx_err(j->other));
}

void joined_ctx_init(struct joined_ctx *j, struct ctx *parent, struct ctx *other)
{
	j->ctx = ctx_new(parent);
	j->other = other;
	if (!ctx_watch(other, &j->watch, on_other_end, j))
		on_other_end(j);
}

void joined_ctx_fini(struct joined_ctx *j)
{
	ctx_unwatch(j->other, &j->watch);
	ctx_unref(j->ctx);
}

static struct err *call_with(struct ctx *ctx, struct session *s,
			     struct err *(*fn)(struct ctx *, struct session *, void *), void *arg)
{
	struct joined_ctx j;
	struct err *e;

	joined_ctx_init(&j, ctx, s->ctx);
	e = fn(j.ctx, s, arg);
	joined_ctx_fini(&j);
	return e;
}

struct err *session_any(struct session_manager *m, struct ctx *ctx, struct session_group *g,
			struct err *(*fn)(struct ctx *ctx, struct session *s, void *arg), void *arg)
{
	SCOPED_ARENA(a);
	SCOPED_ERR(last);
	const char *id;

	for (size_t i = 0; g && (id = nth(g, i, &a)); i++) {
		struct session *s;
		struct err *e;

		TRY(ctx_err(ctx));
		e = session_get(m, ctx, str_from(id), false, &s);
		if (!e) {
			e = call_with(ctx, s, fn, arg);
			session_unref(s);
		}
		if (!e)
			return NULL;
		err_free(last);
		last = e;
	}
	return last ? TAKE_PTR(last) : err_new(ERR_UNKNOWN, "no active sessions");
}
