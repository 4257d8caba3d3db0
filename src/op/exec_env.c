#include "base/vec.h"
#include "op/exec_impl.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define EMULATOR "/dev/.buildkit_qemu_emulator"

struct env_list {
	struct arena *arena;
	VEC(struct str) list;
};

static void add(struct env_list *l, const char *name, struct str value)
{
	vec_push(&l->list, str_from(arena_printf(l->arena, "%s=%.*s", name, STR_ARG(value))));
}

static bool has(const struct env_list *l, const char *name)
{
	size_t n = strlen(name);

	vec_each (&l->list, e)
		if (e->len > n && e->ptr[n] == '=' && memcmp(e->ptr, name, n) == 0)
			return true;
	return false;
}

static void add_proxy(struct env_list *l, const Pb__ProxyEnv *p)
{
	const struct {
		const char *upper, *lower, *value;
	} all[] = {
		{ "HTTP_PROXY", "http_proxy", p->http_proxy },
		{ "HTTPS_PROXY", "https_proxy", p->https_proxy },
		{ "FTP_PROXY", "ftp_proxy", p->ftp_proxy },
		{ "NO_PROXY", "no_proxy", p->no_proxy },
		{ "ALL_PROXY", "all_proxy", p->all_proxy },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (!all[i].value[0])
			continue;
		add(l, all[i].upper, str_from(all[i].value));
		add(l, all[i].lower, str_from(all[i].value));
	}
}

static struct err *add_secrets(struct env_list *l, struct exec_op *o, const struct op_env *env)
{
	for (size_t i = 0; i < o->pb->n_secretenv; i++) {
		const Pb__SecretEnv *s = o->pb->secretenv[i];
		struct err *e;
		SCOPED_BUF(data, LIMIT_SECRET);

		if (!s->id[0])
			return err_new(ERR_INVALID_ARGUMENT,
				       "secret ID missing for \"%s\" environment variable",
				       s->name);
		e = session_secret(o->base.worker->sessions, env->ctx, op_sessions(env),
				   str_from(s->id), &data);
		if (e && s->optional && err_is(e, ERR_NOT_FOUND))
			err_free(TAKE_PTR(e)); /* it is set, and empty */
		TRY(e);
		add(l, s->name, buf_str(&data));
		if (data.data)
			explicit_bzero(data.data, data.cap);
	}
	return NULL;
}

static struct err *make_env(struct exec_op *o, const struct op_env *env, struct arena *a,
			    struct exec_process *p)
{
	const Pb__Meta *meta = o->pb->meta;
	struct env_list l = { .arena = a };
	struct err *e;

	for (size_t i = 0; i < meta->n_env; i++)
		vec_push(&l.list, str_from(meta->env[i]));
	if (meta->proxy_env)
		add_proxy(&l, meta->proxy_env);
	if (!has(&l, "PATH"))
		add(&l, "PATH", STR(DEFAULT_PATH));
	e = add_secrets(&l, o, env);
	p->env = ARENA_NEW_N(a, struct str, l.list.len + 1);
	for (size_t i = 0; i < l.list.len; i++)
		p->env[p->n_env++] = l.list.items[i];
	vec_fini(&l.list);
	return e;
}

static void make_args(const Pb__Meta *meta, struct arena *a, bool emulated, struct exec_process *p)
{
	p->args = ARENA_NEW_N(a, struct str, meta->n_args + 2);
	if (emulated)
		p->args[p->n_args++] = STR(EMULATOR);
	for (size_t i = 0; i < meta->n_args; i++)
		p->args[p->n_args++] = str_from(meta->args[i]);
}

static void set_lists(const Pb__Meta *meta, struct arena *a, struct exec_spec *s)
{
	s->hosts = ARENA_NEW_N(a, struct exec_kv, meta->n_extrahosts + 1);
	for (size_t i = 0; i < meta->n_extrahosts; i++)
		s->hosts[s->n_hosts++] = (struct exec_kv) { str_from(meta->extrahosts[i]->host),
							    str_from(meta->extrahosts[i]->ip) };
	s->ulimits = ARENA_NEW_N(a, struct exec_ulimit, meta->n_ulimit + 1);
	for (size_t i = 0; i < meta->n_ulimit; i++)
		s->ulimits[s->n_ulimits++] =
			(struct exec_ulimit) { str_from(meta->ulimit[i]->name),
					       meta->ulimit[i]->soft, meta->ulimit[i]->hard };
	s->valid_exit_codes = meta->validexitcodes;
	s->n_valid_exit_codes = meta->n_validexitcodes;
}

static void set_resources(const Pb__LinuxResources *r, struct exec_spec *s)
{
	if (!r)
		return;
	s->memory = r->memory;
	s->memory_swap = r->memoryswap;
	s->cpu_shares = r->cpushares;
	s->cpu_period = r->cpuperiod;
	s->cpu_quota = r->cpuquota;
	s->cpuset_cpus = str_from(r->cpusetcpus);
	s->cpuset_mems = str_from(r->cpusetmems);
}

static const char *emulator_of(const struct exec_op *o)
{
	const struct worker *w = o->base.worker;

	return w->emulator ? w->emulator(w, o->base.meta->platform) : NULL;
}

struct err *exec_op_spec(struct exec_op *o, const struct op_env *env, struct arena *a,
			 struct exec_spec *ret)
{
	const Pb__Meta *meta = o->pb->meta;
	const char *parent = o->base.meta->graph->cgroup_parent;

	*ret = (struct exec_spec) {
		.process = { .cwd = str_from(meta->cwd), .user = str_from(meta->user) },
		.insecure = o->pb->security == PB__SECURITY_MODE__SECURITY_MODE_INSECURE,
		.hostname = str_from(meta->hostname),
		.cgroup_parent = str_from(meta->cgroupparent[0] ? meta->cgroupparent : parent),
		.remove_stubs_recursive = meta->removemountstubsrecursive,
	};
	switch (o->pb->network) {
	case PB__NET_MODE__NET_MODE_HOST:
		ret->net = EXEC_NET_HOST;
		break;
	case PB__NET_MODE__NET_MODE_NONE:
		ret->net = EXEC_NET_NONE;
		break;
	default:
		ret->net = EXEC_NET_DEFAULT;
		break;
	}
	set_lists(meta, a, ret);
	set_resources(o->base.meta->md->linux_resources, ret);
	make_args(meta, a, emulator_of(o), &ret->process);
	return make_env(o, env, a, &ret->process);
}

bool exec_op_emulator(const struct exec_op *o, struct arena *a, struct exec_mount *ret)
{
	const char *path = emulator_of(o);
	struct mounts *m;

	if (!path)
		return false;
	m = ARENA_NEW(a, struct mounts);
	m->kind = MOUNT_BIND;
	m->readonly = true;
	m->source = str_from(path);
	*ret = (struct exec_mount) {
		.dest = STR(EMULATOR),
		.mounts = m,
		.readonly = true,
		.is_file = true,
	};
	return true;
}

const char *exec_op_args(const Pb__ExecOp *pb, struct arena *a)
{
	SCOPED_BUF(b, LIMIT_GRPC_MESSAGE);

	for (size_t i = 0; i < pb->meta->n_args; i++)
		buf_addf(&b, "%s%s", i ? " " : "", pb->meta->args[i]);
	return arena_strdup(a, buf_cstr(&b));
}
