#include "remotecache/objstore.h"

#include "base/mem.h"

#include <stdlib.h>

void objstore_init(struct objstore *s, const struct objstore_ops *ops, struct httpc *http)
{
	ref_init(&s->ref);
	s->ops = ops;
	s->http = http;
	s->parallel = 4;
}

struct objstore *objstore_ref(struct objstore *s)
{
	ref_get(&s->ref);
	return s;
}

void objstore_unref(struct objstore *s)
{
	if (!s || !ref_put(&s->ref))
		return;
	s->ops->free(s);
}

struct str objstore_setting(struct arena *a, const struct objstore_attr *attrs, size_t n,
			    const char *key, const char *env, const char *otherwise)
{
	const char *v;

	for (size_t i = 0; i < n; i++)
		if (str_eq_cstr(attrs[i].key, key))
			return str_dup(a, attrs[i].value);
	v = env ? getenv(env) : NULL;
	if (!v)
		v = otherwise;
	return v ? str_from(arena_strdup(a, v)) : STR_NONE;
}

void objstore_names(struct objstore *s, struct str list)
{
	struct str name;
	bool more = true;

	s->names = ARENA_NEW_N(&s->arena, struct str, list.len + 1);
	while (more) {
		more = str_cut(list, ';', &name, &list);
		s->names[s->n_names++] = str_dup(&s->arena, name);
	}
}

struct err *objbody_open(void *body, struct reader **ret)
{
	const struct objbody *b = body;
	struct content_reader *r;

	if (!b->content) {
		*ret = reader_of_str(b->text);
		return NULL;
	}
	TRYW(content_open(b->content, b->ctx, &b->blob->digest, &r), "error reading layer blob");
	*ret = content_as_reader(r);
	return NULL;
}

int64_t objbody_size(const struct objbody *b)
{
	return b->content ? b->blob->size : (int64_t)b->text.len;
}
