/* A part of a store: all tables under a name of its own. A transaction of a part is the whole
 * store's, seen through the part. */
#include "kv/kv_impl.h"

#include "base/mem.h"

#include <stdio.h>

struct scope {
	struct kv base;
	struct kv *whole;
	char *name;
};

struct scope_txn {
	struct kv_txn base;
	struct kv_txn *inner;
};

struct scope_call {
	struct scope *scope;
	kv_fn fn;
	void *arg;
};

static struct scope *of(struct kv *kv)
{
	return container_of(kv, struct scope, base);
}

/* "<scope>/<table>" */
struct table_name {
	char text[KV_TABLE_NAME_MAX + 1];
};

static struct err *name_in(const struct kv_txn *t, const char *table, struct table_name *ret)
{
	const struct scope *s = of(t->kv);
	int n = snprintf(ret->text, sizeof(ret->text), "%s/%s", s->name, table);

	if (n < 0 || (size_t)n >= sizeof(ret->text))
		return err_new(ERR_INTERNAL, "kv: name of table %s/%s is too long", s->name, table);
	return NULL;
}

static struct kv_txn *inner_of(struct kv_txn *t)
{
	return container_of(t, struct scope_txn, base)->inner;
}

static struct err *call(struct kv_txn *t, void *arg)
{
	struct scope_call *c = arg;
	struct scope_txn st = { .base = { &c->scope->base, t->writable }, .inner = t };

	return c->fn(&st.base, c->arg);
}

static struct err *scope_view(struct kv *kv, kv_fn fn, void *arg)
{
	struct scope_call c = { of(kv), fn, arg };

	return kv_view(c.scope->whole, call, &c);
}

static struct err *scope_update(struct kv *kv, enum kv_mode mode, kv_fn fn, void *arg)
{
	struct scope_call c = { of(kv), fn, arg };

	return kv_update(c.scope->whole, mode, call, &c);
}

static struct err *scope_sync(struct kv *kv)
{
	return kv_sync(of(kv)->whole);
}

static struct err *scope_close(struct kv *kv)
{
	struct scope *s = of(kv);

	free(s->name);
	free(s);
	return NULL;
}

static struct err *scope_get(struct kv_txn *t, const char *table, struct str key, struct str *ret,
			     bool *ret_found)
{
	struct table_name n;

	TRY(name_in(t, table, &n));
	return kv_get(inner_of(t), n.text, key, ret, ret_found);
}

static struct err *scope_put(struct kv_txn *t, const char *table, struct str key, struct str value)
{
	struct table_name n;

	TRY(name_in(t, table, &n));
	return kv_put(inner_of(t), n.text, key, value);
}

static struct err *scope_del(struct kv_txn *t, const char *table, struct str key)
{
	struct table_name n;

	TRY(name_in(t, table, &n));
	return kv_del(inner_of(t), n.text, key);
}

static struct err *scope_scan(struct kv_txn *t, const char *table, struct str prefix,
			      bool (*each)(void *arg, struct str key, struct str value), void *arg)
{
	struct table_name n;

	TRY(name_in(t, table, &n));
	return kv_scan(inner_of(t), n.text, prefix, each, arg);
}

static const struct kv_ops scope_ops = {
	.view = scope_view,
	.update = scope_update,
	.sync = scope_sync,
	.close = scope_close,
	.get = scope_get,
	.put = scope_put,
	.del = scope_del,
	.scan = scope_scan,
};

struct kv *kv_scope(struct kv *whole, const char *name)
{
	struct scope *s = NEW(struct scope);

	s->base.ops = &scope_ops;
	s->whole = whole;
	s->name = mem_strdup(name);
	return &s->base;
}
