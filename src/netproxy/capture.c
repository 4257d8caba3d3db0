#include "netproxy/capture.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/vec.h"

struct capture {
	struct lock lock;
	unsigned refs;
	struct arena arena;
	VEC(struct capture_request) requests;
	VEC(struct capture_material) materials;
	VEC(struct capture_incomplete) incomplete;
	bool full;
};

struct capture *capture_new(void)
{
	struct capture *c = NEW(struct capture);

	lock_init(&c->lock, LOCK_LEAF);
	c->refs = 1;
	return c;
}

struct capture *capture_ref(struct capture *c)
{
	LOCKED(&c->lock);
	c->refs++;
	return c;
}

void capture_unref(struct capture *c)
{
	unsigned left;

	if (!c)
		return;
	lock_take(&c->lock);
	left = --c->refs;
	lock_drop(&c->lock);
	if (left)
		return;
	vec_fini(&c->requests);
	vec_fini(&c->materials);
	vec_fini(&c->incomplete);
	lock_fini(&c->lock);
	arena_fini(&c->arena);
	free(c);
}

static bool has_room_locked(struct capture *c, size_t n)
{
	if (n < LIMIT_CAPTURE)
		return true;
	if (!c->full)
		vec_push(&c->incomplete, ((struct capture_incomplete) { STR("GET"), STR_NONE,
									"too_many_requests" }));
	c->full = true;
	return false;
}

void capture_add_request(struct capture *c, const struct capture_request *r)
{
	LOCKED(&c->lock);
	if (!has_room_locked(c, c->requests.len))
		return;
	vec_push(&c->requests, ((struct capture_request) {
				       str_dup(&c->arena, r->method), str_dup(&c->arena, r->url),
				       str_dup(&c->arena, r->redirect), r->status }));
}

void capture_add_material(struct capture *c, const struct capture_material *m)
{
	LOCKED(&c->lock);
	if (has_room_locked(c, c->materials.len))
		vec_push(&c->materials,
			 ((struct capture_material) { str_dup(&c->arena, m->url), m->digest }));
}

void capture_add_incomplete(struct capture *c, const struct capture_incomplete *i)
{
	LOCKED(&c->lock);
	if (has_room_locked(c, c->incomplete.len))
		vec_push(&c->incomplete,
			 ((struct capture_incomplete) { str_dup(&c->arena, i->method),
							str_dup(&c->arena, i->url), i->reason }));
}

const struct capture_request *capture_requests(struct capture *c, size_t *ret_n)
{
	LOCKED(&c->lock);
	*ret_n = c->requests.len;
	return c->requests.items;
}

const struct capture_incomplete *capture_incompletes(struct capture *c, size_t *ret_n)
{
	LOCKED(&c->lock);
	*ret_n = c->incomplete.len;
	return c->incomplete.items;
}

static const struct capture_material *find(const struct capture_material *v, size_t n,
					   struct str url)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(v[i].url, url))
			return &v[i];
	return NULL;
}

const struct capture_material *capture_materials(struct capture *c, struct arena *a, size_t *ret_n)
{
	struct capture_material *out;
	size_t n = 0;
	bool added = true;

	LOCKED(&c->lock);
	out = ARENA_NEW_N(a, struct capture_material, c->materials.len + c->requests.len + 1);
	for (; n < c->materials.len; n++)
		out[n] = (struct capture_material) { str_dup(a, c->materials.items[n].url),
						     c->materials.items[n].digest };
	/* Chains of redirects: each round knows one link more. */
	while (added) {
		added = false;
		vec_each (&c->requests, r) {
			const struct capture_material *to;

			if (!r->redirect.len || str_eq(r->url, r->redirect) || find(out, n, r->url))
				continue;
			to = find(out, n, r->redirect);
			if (!to)
				continue;
			out[n++] = (struct capture_material) { str_dup(a, r->url), to->digest };
			added = true;
		}
	}
	*ret_n = n;
	return out;
}
