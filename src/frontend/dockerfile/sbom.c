#include "frontend/dockerfile/sbom.h"

#include "base/path.h"

#define SRC_DIR "/run/src"
#define OUT_DIR "/run/out/"

struct err *sbom_init(struct df *df, struct ctx *ctx, struct scanner *ret)
{
	struct image_meta meta;

	*ret = (struct scanner) { .ref = STR("") };
	if (!df->opts.sbom_generator.len)
		return NULL;
	TRY(df_image_meta(df, ctx, &df->a, df->opts.sbom_generator, df->opts.build_platform,
			  STR(""), NULL, &meta));
	TRY(image_parse(&df->a, meta.config, &ret->image));
	ret->ref = meta.ref;
	if (!ret->image.entrypoint.len && !ret->image.cmd.len)
		return err_new(ERR_UNKNOWN, "scanner %.*s does not have cmd", STR_ARG(meta.ref));
	return NULL;
}

struct extra {
	struct str name;
	struct llb_out out;
};

struct scan {
	struct plan *p;
	const struct scanner *s;
	struct extra *extras;
	size_t n, cap;
	bool ignore_cache;
};

/* The build context and other stages, as far as they were asked for. */
static void find_extras(struct scan *sc)
{
	struct plan *p = sc->p;
	struct stage **reach, *target = p->target_ptr;
	size_t n;

	if (target->scan_context) {
		struct extra e = { STR("context"), llb_out_of(p->context) };

		ARENA_PUSH(&p->a, sc->extras, sc->n, sc->cap, e);
	}
	sc->ignore_cache = target->ignore_cache;
	stages_reachable(p, target, &reach, &n);
	for (size_t i = 0; i < n; i++) {
		struct extra e = { reach[i]->label, reach[i]->state.out };

		if (reach[i] == target || !reach[i]->scan_stage)
			continue;
		ARENA_PUSH(&p->a, sc->extras, sc->n, sc->cap, e);
		sc->ignore_cache |= reach[i]->ignore_cache;
	}
}

static void set_env(struct scan *sc, Pb__Meta *meta)
{
	struct arena *a = &sc->p->a;
	const struct env *params = &sc->p->df->opts.sbom_params;
	struct fs_state st = state_new(LLB_SCRATCH);

	state_use_env(a, &st, &sc->s->image.env);
	env_set(a, &st.env, STR("BUILDKIT_SCAN_DESTINATION"), STR(OUT_DIR));
	env_set(a, &st.env, STR("BUILDKIT_SCAN_SOURCE"), STR(SRC_DIR "/core/sbom"));
	if (sc->n)
		env_set(a, &st.env, STR("BUILDKIT_SCAN_SOURCE_EXTRAS"), STR(SRC_DIR "/extras"));
	for (size_t i = 0; i < params->len; i++)
		env_set(a, &st.env,
			str_from(arena_printf(a, "BUILDKIT_SCAN_%.*s",
					      STR_ARG(params->vars[i].key))),
			params->vars[i].value);
	meta->env = ARENA_NEW_N(a, char *, st.env.len);
	for (size_t i = 0; i < st.env.len; i++)
		meta->env[meta->n_env++] = llb_text(a, env_text(a, &st.env.vars[i]));
}

static void set_args(struct scan *sc, Pb__Meta *meta)
{
	const struct strs *lists[] = { &sc->s->image.entrypoint, &sc->s->image.cmd };
	struct arena *a = &sc->p->a;

	meta->args = ARENA_NEW_N(a, char *, lists[0]->len + lists[1]->len);
	for (size_t k = 0; k < 2; k++)
		for (size_t i = 0; i < lists[k]->len; i++)
			meta->args[meta->n_args++] = llb_text(a, lists[k]->items[i]);
	meta->cwd = llb_text(a, path_join(a, STR("/"), sc->s->image.working_dir));
	meta->removemountstubsrecursive = true;
}

static void add_mounts(struct scan *sc, struct llb_node *n, struct llb_out root)
{
	struct arena *a = &sc->p->a;
	Pb__Mount *m;

	llb_exec_mount(a, n, STR("/"), root, false);
	m = llb_exec_mount(a, n, STR("/tmp"), LLB_SCRATCH, false);
	m->mounttype = PB__MOUNT_TYPE__MOUNT_TYPE_TMPFS;
	m->tmpfsopt = ARENA_NEW(a, Pb__TmpfsOpt);
	pb__tmpfs_opt__init(m->tmpfsopt);
	m = llb_exec_mount(a, n, STR(SRC_DIR "/core/sbom"), sc->p->target_ptr->state.out, false);
	m->readonly = true;
	for (size_t i = 0; i < sc->n; i++) {
		struct str dest = str_from(
			arena_printf(a, SRC_DIR "/extras/sbom-%.*s", STR_ARG(sc->extras[i].name)));

		m = llb_exec_mount(a, n, dest, sc->extras[i].out, false);
		m->readonly = true;
	}
	llb_exec_mount(a, n, STR(OUT_DIR), LLB_SCRATCH, false);
	llb_cap(a, n, "exec.mount.bind");
	llb_cap(a, n, "exec.mount.tmpfs");
}

static struct llb_out scan_graph(struct scan *sc, struct str id)
{
	struct arena *a = &sc->p->a;
	const struct platform *os = sc->p->df->opts.build_platform;
	struct llb_node *n = llb_exec(a), *image = image_source(a, sc->s->ref, os);
	struct platform normal = platform_normalize(*os);

	set_args(sc, llb_exec_op(n)->meta);
	set_env(sc, llb_exec_op(n)->meta);
	add_mounts(sc, n, llb_out_of(image));
	llb_cap(a, n, "exec.meta.base");
	llb_platform(a, n, &normal);
	llb_name(a, n,
		 str_from(arena_printf(a, "[%.*s] generating sbom using %.*s", STR_ARG(id),
				       STR_ARG(sc->s->ref))));
	if (sc->ignore_cache)
		llb_ignore_cache(n);
	return (struct llb_out) { n, 1 }; /* the root is output 0 */
}

struct err *sbom_scan(struct plan *p, const struct scanner *s, struct str id,
		      struct frontend_result *res)
{
	static const struct frontend_kv metadata[] = {
		{ STR("reason"), STR("sbom") },
		{ STR("sbom-core"), STR("sbom") },
	};
	struct scan sc = { .p = p, .s = s };
	struct frontend_attestation at = {
		.kind = MOBY__BUILDKIT__V1__FRONTEND__ATTESTATION_KIND__ATTESTATION_KIND_BUNDLE,
		.predicate_type = STR("https://spdx.dev/Document"),
		.metadata = (struct frontend_kv *)metadata,
		.n_metadata = ARRAY_SIZE(metadata),
	};

	find_extras(&sc);
	TRY(df_solve(p->df, p->ctx, &p->a, scan_graph(&sc, id), false, NULL, &at.ref));
	frontend_result_add_attestation(res, id, &at);
	return NULL;
}
