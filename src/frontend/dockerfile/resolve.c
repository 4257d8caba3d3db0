/* Base images: one look-up a stage, all at once. */
#include "frontend/dockerfile/plan.h"

#include "base/mem.h"
#include "base/task.h"
#include "codec/imageref.h"

#include <stdatomic.h>

struct job {
	struct plan *p;
	struct stage *s;
	struct jobs *all;
	struct arena *a;  /* outlives the job, freed with the plan */
	struct str given; /* the name in the file */
	struct imageref ref;
	const struct platform *platform; /* wanted */
	struct strs labels;              /* of stages, for "did you mean" */
	struct err *err;

	/* The answer: */
	enum { JOB_STAGE, JOB_NAMED, JOB_IMAGE } kind;
	struct named_result named;
	struct image image;
	struct str full_ref;
};

struct jobs {
	struct task_group group;
	struct job *items;
	size_t n;
	_Atomic(struct job *) failed; /* the first one */
};

static const char *const common_images[] = { "alpine", "busybox", "centos", "debian",
					     "golang", "ubuntu",  "fedora" };

static struct err *wrap_lookup_error(struct job *j, struct err *e)
{
	struct strs options = j->labels;

	e = err_wrap(e, "%.*s", STR_ARG(j->given));
	for (size_t i = 0; i < ARRAY_SIZE(common_images); i++) {
		strs_add(j->a, &options, str_from(common_images[i]));
		strs_add(j->a, &options,
			 str_from(arena_printf(j->a, "%s:latest", common_images[i])));
	}
	return text_suggest_err(j->a, e, j->given, &options, true);
}

static struct err *look_up_image(struct job *j, struct ctx *ctx)
{
	const char *os = "", *space = "";
	struct image_meta meta;
	struct imageref ref = j->ref;
	struct err *e;

	if (j->p->df->opts.multi_platform) {
		os = platform_format_all(j->a, *j->platform);
		space = " ";
	}
	e = df_image_meta(j->p->df, ctx, j->a, j->s->base_name, j->platform,
			  str_from(arena_printf(j->a, "[%s%sinternal] load metadata for %.*s", os,
						space, STR_ARG(j->s->base_name))),
			  NULL, &meta);
	if (e)
		return wrap_lookup_error(j, e);
	TRYW(text_plain_err(imageref_parse(j->a, meta.ref, &ref)), "failed to parse ref %s",
	     text_quote(j->a, meta.ref));
	TRYW(image_parse(j->a, meta.config, &j->image), "failed to parse image config");
	if (meta.digest.len)
		TRY(text_plain_err(digest_parse(meta.digest, &ref.digest)));
	j->full_ref = str_from(imageref_format(j->a, &ref));
	j->kind = JOB_IMAGE;
	return NULL;
}

static struct err *look_up(struct job *j, struct ctx *ctx)
{
	struct plan *p = j->p;
	struct named_context nc;
	bool found;

	if (j->s->has_named) {
		j->kind = JOB_STAGE;
		return named_load(p->df, ctx, j->a, &j->s->named, &j->named);
	}
	TRY(named_find(p->df, j->a, j->s->base_name, j->platform, &found, &nc));
	if (!found)
		return look_up_image(j, ctx);
	j->kind = JOB_NAMED;
	return named_load(p->df, ctx, j->a, &nc, &j->named);
}

static struct err *run_job(struct ctx *ctx, void *arg)
{
	struct job *j = arg, *none = NULL;

	j->err = look_up(j, ctx);
	if (j->err && atomic_compare_exchange_strong(&j->all->failed, &none, j))
		ctx_cancel(ctx, NULL);
	return NULL;
}

/* ---- what the answers mean for a stage ---- */

/* Layers that a stage starts from; an image without any is as good as scratch. */
static bool has_layers(const struct image *img)
{
	if (img->diff_ids.len)
		return true;
	for (size_t i = 0; i < img->n_history; i++)
		if (!img->history[i].empty_layer)
			return true;
	return false;
}

static void use_stage_context(struct job *j)
{
	struct stage *s = j->s;

	s->dispatched = true;
	s->state = j->named.state;
	s->local = j->named.local;
	if (!j->named.has_image)
		return;
	s->image = j->named.image;
	if (s->image.platform.arch.len && s->image.platform.os.len) {
		s->has_platform = true;
		s->platform = s->image.platform;
	}
}

static void keep_base(struct plan *p, struct stage *s, const struct image *img)
{
	s->base_image = ARENA_NEW(&p->a, struct image);
	*s->base_image = *img; /* its lists are not changed: the stage works on copies */
	s->image = image_clone(&p->a, img);
	s->image.created = STR("");
}

static void use_named(struct job *j)
{
	struct stage *s = j->s;
	struct image img = j->named.has_image ? j->named.image : image_empty(&j->p->a, j->platform);

	keep_base(j->p, s, &img);
	s->state = j->named.state;
	s->local = j->named.local;
	state_set_platform(&s->state, j->platform);
	s->has_platform = true;
	s->platform = *j->platform;
}

/* The node of a base image; also for stages that are not needed. */
static void use_image(struct plan *p, struct stage *s, const struct platform *os)
{
	struct str mode = p->df->opts.resolve_mode;
	struct llb_node *n = image_source(&p->a, s->base_name, os);
	static const struct env no_env = { 0 };

	llb_describe(&p->a, n, "com.docker.dockerfile.v1.command", s->from.code);
	if (!str_eq(mode, STR("default")))
		llb_attr(&p->a, n, "image.resolvemode", mode);
	if (str_eq(mode, STR("pull")))
		llb_cap(&p->a, n, "source.image.resolvemode");
	llb_name(&p->a, n,
		 step_name(p, s, str_from(arena_printf(&p->a, "FROM %.*s", STR_ARG(s->base_name))),
			   os, &no_env));
	llb_locate(&p->a, n, &p->map, s->from.loc.start, s->from.loc.set ? s->from.loc.end : -1);
	s->state = state_new(llb_out_of(n));
	state_set_platform(&s->state, os);
}

static void use_image_answer(struct job *j)
{
	struct plan *p = j->p;
	struct stage *s = j->s;
	const struct platform *os = j->platform, *build = p->df->opts.build_platform;
	const struct platform *have = &j->image.platform;

	keep_base(p, s, &j->image);
	s->base_name = j->full_ref;
	/* Nothing was asked for, and the image is not for the default: one the worker can run. */
	if (!s->has_platform && !p->has_target &&
	    !(str_eq(os->os, have->os) && str_eq(os->arch, have->arch)) &&
	    str_eq(build->os, have->os) && str_eq(build->arch, have->arch))
		os = build;
	if (has_layers(&j->image)) {
		use_image(p, s, os);
		check_base_platform(p, s, j->given, os, have);
	} else {
		s->state = state_new(LLB_SCRATCH);
	}
	s->has_platform = true;
	s->platform = *os;
}

/* ---- all stages ---- */

static void use_scratch(struct plan *p, struct stage *s)
{
	s->state = state_new(LLB_SCRATCH);
	s->image = image_empty(&p->a, &p->target);
	s->has_platform = true;
	s->platform = p->target;
	if (s->unregistered)
		s->dispatched = true;
}

static struct err *prepare(struct plan *p, struct stage *s, bool needed, struct jobs *jobs)
{
	struct imageref ref;
	struct job *j;

	TRYW(text_plain_err(imageref_parse(&p->a, s->base_name, &ref)),
	     "failed to parse stage name %s", text_quote(&p->a, s->base_name));
	if (!needed) {
		ref = imageref_with_default_tag(ref);
		s->base_name = str_from(imageref_format(&p->a, &ref));
		use_image(p, s, s->has_platform ? &s->platform : &p->target);
		if (s->unregistered)
			s->dispatched = true;
		return NULL;
	}
	j = &jobs->items[jobs->n++];
	*j = (struct job) {
		.p = p,
		.s = s,
		.all = jobs,
		.a = NEW(struct arena),
		.given = s->base_name,
		.platform = s->has_platform ? &s->platform : &p->target,
		.labels = stage_labels(p),
	};
	ARENA_PUSH(&p->a, p->arenas, p->n_arenas, p->cap_arenas, j->a);
	j->platform = arena_dup(&p->a, j->platform, sizeof(*j->platform));
	j->labels = strs_clone(&p->a, &j->labels);
	j->ref = ref = imageref_with_default_tag(ref);
	s->base_name = str_from(imageref_format(&p->a, &ref));
	return NULL;
}

/* Stages get one each, in the order of the file, so that steps are numbered the same every time. */
static void use_answers(struct jobs *jobs)
{
	for (size_t i = 0; i < jobs->n; i++) {
		struct job *j = &jobs->items[i];

		if (j->kind == JOB_STAGE)
			use_stage_context(j);
		else if (j->kind == JOB_NAMED)
			use_named(j);
		else
			use_image_answer(j);
		if (j->s->unregistered)
			j->s->dispatched = true;
	}
}

/* The ignore file is needed next: it is fetched meanwhile. A failure is kept and told then. */
static struct err *fetch_ignore(struct ctx *ctx, void *arg)
{
	struct plan *p = arg;
	const struct strs *list;

	err_free(context_ignore(p->df, ctx, &list));
	return NULL;
}

static struct err *run_jobs(struct plan *p, struct jobs *jobs)
{
	struct job *failed;
	struct err *e;

	task_group_init(&jobs->group, p->ctx, 0);
	task_group_go(&jobs->group, "frontend: ignore file", fetch_ignore, p);
	for (size_t i = 0; i < jobs->n; i++)
		task_group_go(&jobs->group, "frontend: base image", run_job, &jobs->items[i]);
	e = task_group_wait(&jobs->group);
	failed = atomic_load(&jobs->failed);
	for (size_t i = 0; i < jobs->n; i++)
		if (&jobs->items[i] != failed)
			err_free(jobs->items[i].err);
	if (failed) {
		err_free(e);
		return plan_at(p, failed->err, failed->s->from.loc);
	}
	if (e)
		return e;
	use_answers(jobs);
	return NULL;
}

struct err *stages_resolve(struct plan *p)
{
	struct jobs jobs = { .items = ARENA_NEW_N(&p->a, struct job, p->n_stages) };

	for (size_t i = 0; i < p->n_stages; i++) {
		struct stage *s = p->stages[i];
		bool needed = p->all_stages || stage_needed(p, s);

		if (s->base || s->dispatched || s->resolved)
			continue;
		s->resolved = needed; /* not again when triggers bring more */
		if (str_eq(s->base_name, STR("scratch")) && !s->has_named)
			use_scratch(p, s);
		else
			TRY(plan_at(p, prepare(p, s, needed, &jobs), s->from.loc));
	}
	return jobs.n ? run_jobs(p, &jobs) : NULL;
}
