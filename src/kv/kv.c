#include "kv/kv_impl.h"

#include "base/buf.h"

struct err *kv_close(struct kv *kv)
{
	return kv ? kv->ops->close(kv) : NULL;
}

struct err *kv_sync(struct kv *kv)
{
	return kv->ops->sync(kv);
}

struct err *kv_view(struct kv *kv, kv_fn fn, void *arg)
{
	return kv->ops->view(kv, fn, arg);
}

struct err *kv_update(struct kv *kv, enum kv_mode mode, kv_fn fn, void *arg)
{
	return kv->ops->update(kv, mode, fn, arg);
}

static struct err *check_key(const char *table, struct str key)
{
	if (!key.len || key.len > KV_KEY_MAX)
		return err_new(ERR_INVALID_ARGUMENT, "kv: key of %zu bytes in table %s", key.len,
			       table);
	return NULL;
}

struct err *kv_get(struct kv_txn *t, const char *table, struct str key, struct str *ret,
		   bool *ret_found)
{
	TRY(check_key(table, key));
	return t->kv->ops->get(t, table, key, ret, ret_found);
}

struct err *kv_put(struct kv_txn *t, const char *table, struct str key, struct str value)
{
	TRY(check_key(table, key));
	if (value.len > KV_VALUE_MAX)
		return err_new(ERR_RESOURCE_EXHAUSTED, "kv: value of %zu bytes in table %s",
			       value.len, table);
	if (!t->writable)
		return err_new(ERR_INTERNAL, "kv: change of table %s in a view", table);
	return t->kv->ops->put(t, table, key, value);
}

struct err *kv_del(struct kv_txn *t, const char *table, struct str key)
{
	TRY(check_key(table, key));
	if (!t->writable)
		return err_new(ERR_INTERNAL, "kv: change of table %s in a view", table);
	return t->kv->ops->del(t, table, key);
}

struct err *kv_scan(struct kv_txn *t, const char *table, struct str prefix,
		    bool (*each)(void *arg, struct str key, struct str value), void *arg)
{
	if (prefix.len > KV_KEY_MAX)
		return err_new(ERR_INVALID_ARGUMENT, "kv: prefix of %zu bytes in table %s",
			       prefix.len, table);
	return t->kv->ops->scan(t, table, prefix, each, arg);
}

/* ---- conveniences ---- */

struct one {
	const char *table;
	struct str key, value;
	struct arena *arena;
	bool found;
};

static struct err *get_one(struct kv_txn *t, void *arg)
{
	struct one *o = arg;

	TRY(kv_get(t, o->table, o->key, &o->value, &o->found));
	if (o->found)
		o->value = str_dup(o->arena, o->value);
	return NULL;
}

struct err *kv_get1(struct kv *kv, const char *table, struct str key, struct arena *a,
		    struct str *ret, bool *ret_found)
{
	struct one o = { .table = table, .key = key, .arena = a };

	TRY(kv_view(kv, get_one, &o));
	if (o.found)
		*ret = o.value;
	*ret_found = o.found;
	return NULL;
}

static struct err *put_one(struct kv_txn *t, void *arg)
{
	const struct one *o = arg;

	return kv_put(t, o->table, o->key, o->value);
}

struct err *kv_put1(struct kv *kv, enum kv_mode mode, const char *table, struct str key,
		    struct str value)
{
	struct one o = { .table = table, .key = key, .value = value };

	return kv_update(kv, mode, put_one, &o);
}

static struct err *del_one(struct kv_txn *t, void *arg)
{
	const struct one *o = arg;

	return kv_del(t, o->table, o->key);
}

struct err *kv_del1(struct kv *kv, enum kv_mode mode, const char *table, struct str key)
{
	struct one o = { .table = table, .key = key };

	return kv_update(kv, mode, del_one, &o);
}
