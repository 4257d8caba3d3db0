#include "exporter/exporter.h"

#include "base/lock.h"
#include "base/mem.h"
#include "exporter/kinds.h"

struct err *exporter_new(const struct exporter_host *host, struct str type,
			 const struct exporter_kv *attrs, size_t n, struct exporter **ret)
{
	if (str_eq_cstr(type, "image"))
		return image_exporter_new(host, attrs, n, ret);
	if (str_eq_cstr(type, "oci") || str_eq_cstr(type, "docker"))
		return oci_exporter_new(host, str_eq_cstr(type, "docker"), attrs, n, ret);
	if (str_eq_cstr(type, "local"))
		return local_exporter_new(host, attrs, n, ret);
	if (str_eq_cstr(type, "tar"))
		return tar_exporter_new(host, attrs, n, ret);
	return err_new(ERR_UNKNOWN, "exporter \"%.*s\" could not be found", STR_ARG(type));
}

void exporter_free(struct exporter *e)
{
	if (e)
		e->ops->free(e);
}

void exporter_respond(const struct exporter_env *env, const char *key, struct str value)
{
	LOCKED(env->response_lock);
	free(map_put(env->response, str_from(key), str_heap(value)));
}

struct exporter_kv *exporter_dup_attrs(struct arena *a, const struct exporter_kv *attrs, size_t n)
{
	struct exporter_kv *out = ARENA_NEW_N(a, struct exporter_kv, n);

	for (size_t i = 0; i < n; i++)
		out[i] = (struct exporter_kv) { str_dup(a, attrs[i].key),
						str_dup(a, attrs[i].value) };
	return out;
}

struct err *exporter_session(const struct exporter_env *env, struct session **ret)
{
	return session_get(env->host->sessions, env->ctx, env->session_id, false, ret);
}

struct grpc_md *exporter_metadata(const struct exporter_env *env, struct arena *a, size_t *ret_n)
{
	struct map_entry **all;
	struct grpc_md *out;
	size_t n;

	LOCKED(env->response_lock);
	all = map_sorted(env->response, a);
	n = map_len(env->response);
	out = ARENA_NEW_N(a, struct grpc_md, n);
	for (size_t i = 0; i < n; i++)
		out[i] = (struct grpc_md) {
			str_from(arena_printf(a, "exporter-md-%s", all[i]->key)),
			str_from(arena_strdup(a, all[i]->value)),
		};
	*ret_n = n;
	return out;
}
