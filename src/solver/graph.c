#include "base/buf.h"
#include "base/mem.h"
#include "solver/cachesource.h"
#include "solver/types.h"

struct graph *graph_new(void)
{
	struct graph *g = NEW(struct graph);

	ref_init(&g->ref);
	arena_init(&g->arena);
	return g;
}

struct graph *graph_ref(struct graph *g)
{
	ref_get(&g->ref);
	return g;
}

void graph_unref(struct graph *g)
{
	if (!g || !ref_put(&g->ref))
		return;
	if (g->free_owner)
		g->free_owner(g->owner);
	arena_fini(&g->arena);
	free(g);
}

void graph_unrefp(struct graph **g)
{
	graph_unref(*g);
	*g = NULL;
}

struct failure *failure_ref(struct failure *f)
{
	if (f)
		ref_get(&f->ref);
	return f;
}

void failure_unref(struct failure *f)
{
	if (f && ref_put(&f->ref))
		f->free(f);
}

void op_outputs_add(struct op_outputs *o, struct result *take_r)
{
	o->items = mem_realloc(o->items, o->n + 1, sizeof(*o->items));
	o->items[o->n++] = take_r;
}

struct cache_source *cache_source_ref(struct cache_source *s)
{
	ref_get(&s->ref);
	return s;
}

void cache_source_unref(struct cache_source *s)
{
	if (s && ref_put(&s->ref))
		s->ops->free(s);
}

struct cache_key_id cache_key_root(const struct digest *d, uint32_t output)
{
	struct cache_key_id id = { 0 };
	char text[DIGEST_TEXT_MAX];
	struct digest sum;
	SCOPED_BUF(b, DIGEST_TEXT_MAX + 16);

	buf_addf(&b, "%s@%d", digest_format(d, text), (int)output);
	sum = digest_sha256(buf_str(&b));
	/* The identity of a random digest stays one. */
	id.bytes[0] = d->algo == DIGEST_RANDOM ? DIGEST_RANDOM : DIGEST_SHA256;
	memcpy(id.bytes + 1, sum.bytes, 32);
	id.len = 33;
	return id;
}

bool cache_key_root_digest(const struct cache_key_id *id, struct digest *ret)
{
	if (id->len != 33)
		return false;
	*ret = (struct digest) { .algo = id->bytes[0] };
	memcpy(ret->bytes, id->bytes + 1, 32);
	return true;
}
