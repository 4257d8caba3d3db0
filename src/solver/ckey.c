#include "solver/ckey.h"

#include "base/id.h"
#include "base/mem.h"

#include <assert.h>

struct table_key {
	const void *source;
	struct cache_key_id id;
};

static struct str table_key(struct table_key *out, const struct cache_source *source,
			    const struct cache_key_id *id)
{
	*out = (struct table_key) { source, { .len = id->len } };
	memcpy(out->id.bytes, id->bytes, id->len);
	return str_make(out, offsetof(struct table_key, id) + 1 + id->len);
}

static struct ckey *intern(struct ckey_table *t, struct cache_source *source,
			   const struct cache_key_id *id)
{
	struct table_key tk;
	struct str key = table_key(&tk, source, id);
	struct ckey *k = map_get(&t->keys, key);

	if (k)
		return ckey_ref(k);
	k = NEW(struct ckey);
	k->refs = 1;
	k->id = *id;
	if (source)
		k->source = cache_source_ref(source);
	map_put(&t->keys, key, k);
	return k;
}

struct ckey *ckey_root(struct ckey_table *t, const struct digest *d, uint32_t output)
{
	struct cache_key_id id = cache_key_root(d, output);
	struct ckey *k = intern(t, NULL, &id);

	k->root = true;
	k->transient = d->algo == DIGEST_RANDOM;
	k->digest = *d;
	return k;
}

struct ckey *ckey_found(struct ckey_table *t, struct cache_source *source,
			const struct cache_key_id *id)
{
	return intern(t, source == t->local ? NULL : source, id);
}

struct ckey *ckey_fresh(struct ckey_table *t, bool transient)
{
	struct cache_key_id id = { .len = 16 };
	struct ckey *k;

	id_random(id.bytes, id.len);
	k = intern(t, NULL, &id);
	k->transient = transient;
	return k;
}

struct ckey *ckey_ref(struct ckey *k)
{
	k->refs++;
	return k;
}

void ckey_unref(struct ckey_table *t, struct ckey *k)
{
	struct table_key tk;

	if (!k || --k->refs)
		return;
	assert(!k->live);
	map_del(&t->keys, table_key(&tk, k->source, &k->id));
	cache_source_unref(k->source);
	free(k);
}

bool ckey_known(const struct ckey_table *t, const struct cache_key_id *id)
{
	struct table_key tk;

	return map_has(&t->keys, table_key(&tk, NULL, id));
}

bool ckey_in_source(const struct ckey_table *t, const struct ckey *k, const struct cache_source *s)
{
	if (k->transient)
		return false;
	if (k->root)
		return true;
	return k->source ? k->source == s : s == t->local;
}
