/* Build arguments before the first FROM: predefined ones, those of the file, those given. */
#include "frontend/dockerfile/plan.h"

static void set_predefined(struct plan *p)
{
	const struct platform *b = p->df->opts.build_platform, *t = &p->target;
	struct {
		struct str key, value;
	} all[] = {
		{ STR("BUILDPLATFORM"), str_from(platform_format(&p->a, *b)) },
		{ STR("BUILDOS"), b->os },
		{ STR("BUILDOSVERSION"), b->os_version },
		{ STR("BUILDARCH"), b->arch },
		{ STR("BUILDVARIANT"), b->variant },
		{ STR("TARGETPLATFORM"), str_from(platform_format_all(&p->a, *t)) },
		{ STR("TARGETOS"), t->os },
		{ STR("TARGETOSVERSION"), t->os_version },
		{ STR("TARGETARCH"), t->arch },
		{ STR("TARGETVARIANT"), t->variant },
		{ STR("TARGETSTAGE"), p->target_stage.len ? p->target_stage : STR("default") },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct str value = all[i].value;

		env_get(&p->build_args, all[i].key, &value);
		env_set(&p->a, &p->globals, all[i].key, value);
	}
}

static const struct arg_info *find(const struct outline *o, struct str name)
{
	for (size_t i = 0; i < o->n_args; i++)
		if (str_eq(o->args[i].name, name))
			return &o->args[i];
	return NULL;
}

/* A default that uses the variable's earlier value depends on what that depended on. */
static struct strs deps_of(struct plan *p, const struct outline *o, struct str name,
			   const struct strs *matched)
{
	struct strs deps = strs_clone(&p->a, matched);
	const struct arg_info *old = find(o, name);

	if (!strs_has(&deps, name))
		return deps;
	strs_del(&deps, name);
	for (size_t i = 0; old && i < old->deps.len; i++)
		strs_add_new(&p->a, &deps, old->deps.items[i]);
	return deps;
}

static struct err *apply(struct plan *p, const struct env *given, struct env *env,
			 struct outline *o)
{
	for (size_t i = 0; i < p->file.n_args; i++) {
		const struct instr *in = &p->file.args[i];

		for (size_t k = 0; k < in->n_pairs; k++) {
			const struct pair *v = &in->pairs[k];
			struct arg_info info = { .name = v->key, .doc = v->doc, .loc = in->loc };
			bool set = given && env_get(given, v->key, &info.value);

			if (!set && v->has_value) {
				struct shell_names names;

				TRY(plan_at(p,
					    shell_word(&p->a, &p->shell, v->value, env, &names,
						       &info.value),
					    in->loc));
				info.deps = deps_of(p, o, v->key, &names.matched);
				set = true;
			}
			if (set)
				env_set(&p->a, env, v->key, info.value);
			outline_set_arg(&p->a, o, &info);
		}
	}
	return NULL;
}

struct err *args_globals(struct plan *p)
{
	struct env defaults;
	struct outline unused = { 0 };
	struct err *e;

	set_predefined(p);
	/* Base names must make sense without build arguments, too. */
	defaults = env_clone(&p->a, &p->globals);
	e = apply(p, NULL, &defaults, &unused);
	if (e) {
		err_free(e); /* comes again below, unless an argument prevents it */
		p->n_locs = 0;
	} else {
		struct env given = p->globals;

		p->globals = defaults;
		check_default_bases(p);
		p->globals = given;
	}
	return apply(p, &p->build_args, &p->globals, &p->global_outline);
}

Pb__ProxyEnv *args_proxy(struct arena *a, const struct env *build_args)
{
	Pb__ProxyEnv *proxy = ARENA_NEW(a, Pb__ProxyEnv);
	bool any = false;

	pb__proxy_env__init(proxy);
	for (size_t i = 0; i < build_args->len; i++) { /* by key: of two the lower-case one wins */
		const struct env_var *v = &build_args->vars[i];
		char **to = str_eq_nocase(v->key, STR("http_proxy"))    ? &proxy->http_proxy
			    : str_eq_nocase(v->key, STR("https_proxy")) ? &proxy->https_proxy
			    : str_eq_nocase(v->key, STR("ftp_proxy"))   ? &proxy->ftp_proxy
			    : str_eq_nocase(v->key, STR("no_proxy"))    ? &proxy->no_proxy
			    : str_eq_nocase(v->key, STR("all_proxy"))   ? &proxy->all_proxy
									: NULL;

		if (!to)
			continue;
		*to = llb_text(a, v->value);
		any = true;
	}
	return any ? proxy : NULL;
}
