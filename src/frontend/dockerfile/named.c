#include "frontend/dockerfile/named.h"

#include "base/json.h"
#include "codec/imageref.h"
#include "frontend/dockerfile/ignore.h"

#define MAX_REDIRECTS 10

static bool lookup(const struct df *df, struct arena *a, struct str full_name, struct str *ret)
{
	struct str key = str_from(arena_printf(a, "context:%.*s", STR_ARG(full_name)));

	return env_get(&df->opts.all, key, ret);
}

struct err *named_find(const struct df *df, struct arena *a, struct str name,
		       const struct platform *p, bool *ret_found, struct named_context *ret)
{
	struct platform target = platform_normalize(p ? *p : platform_default());
	struct named_context nc = { .has_platform = p != NULL };
	struct imageref ref;

	*ret_found = false;
	if (str_eq_nocase(name, STR("scratch")) || str_eq_nocase(name, STR("context")))
		return NULL;
	TRYW(text_plain_err(imageref_parse(a, name, &ref)), "invalid context name %.*s",
	     STR_ARG(name));
	nc.name = str_trim_suffix(str_from(imageref_familiar(a, &ref)), STR(":latest"));
	if (p)
		nc.platform = *p;
	nc.full_name = str_from(
		arena_printf(a, "%.*s::%s", STR_ARG(nc.name), platform_format_all(a, target)));
	*ret_found = lookup(df, a, nc.full_name, &nc.input);
	if (!*ret_found) {
		nc.full_name = nc.name;
		*ret_found = lookup(df, a, nc.full_name, &nc.input);
	}
	if (!*ret_found)
		return NULL;
	nc.shared_key = opts_get(&df->opts, str_from(arena_printf(a, "sharedkey:localdir:%.*s",
								  STR_ARG(nc.full_name))));
	*ret = nc;
	return NULL;
}

struct load {
	struct df *df;
	struct ctx *ctx;
	struct arena *a;
	const struct named_context *nc;
	struct str input; /* as redirected */
	struct named_result *ret;
};

static const struct platform *platform_of(const struct load *l)
{
	return l->nc->has_platform ? &l->nc->platform : NULL;
}

static struct err *use_config(struct load *l, struct llb_node *n, struct str config)
{
	struct fs_state *st = &l->ret->state;

	*st = state_new(llb_out_of(n));
	if (platform_of(l))
		state_set_platform(st, platform_of(l));
	TRY(image_parse(l->a, config, &l->ret->image));
	l->ret->has_image = true;
	l->ret->image.created = STR("");
	state_use_image(l->a, st, &l->ret->image);
	return NULL;
}

/* A source policy may turn the image into something else: *ret_again with a new input then. */
static struct err *load_image(struct load *l, struct str text, bool *ret_again)
{
	struct str not_image = STR_NONE, log_name;
	struct image_meta meta;
	struct imageref ref;
	struct llb_node *n;

	if (str_eq(text, STR("scratch"))) {
		l->ret->state = state_new(LLB_SCRATCH);
		return NULL;
	}
	TRY(text_plain_err(imageref_parse(l->a, text, &ref)));
	ref = imageref_with_default_tag(ref);
	log_name = str_from(arena_printf(l->a, "[context %.*s] load metadata for %.*s",
					 STR_ARG(l->nc->full_name), STR_ARG(text)));
	TRY(df_image_meta(l->df, l->ctx, l->a, str_from(imageref_format(l->a, &ref)),
			  platform_of(l), log_name, &not_image, &meta));
	if (not_image.len) {
		struct str scheme, rest;

		if (str_find_str(not_image, STR("://")) < 0)
			return err_new(ERR_UNKNOWN, "could not parse ref: %.*s",
				       STR_ARG(not_image));
		str_cut(not_image, ':', &scheme, &rest);
		/* Web addresses keep their slashes, the others are known by their scheme. */
		l->input = not_image;
		if (str_eq(scheme, STR("local")))
			l->input = str_from(arena_printf(l->a, "local:%.*s",
							 STR_ARG(str_sub(rest, 2, rest.len))));
		*ret_again = true;
		return NULL;
	}
	n = image_source(l->a, meta.ref, platform_of(l));
	llb_name(l->a, n,
		 str_from(arena_printf(l->a, "[context %.*s] %.*s", STR_ARG(l->nc->full_name),
				       STR_ARG(text))));
	return use_config(l, n, meta.config);
}

static struct err *load_git(struct load *l, bool *ret_is)
{
	struct git_ref g;
	struct err *e;
	struct llb_node *n;

	*ret_is = git_ref_parse(l->a, l->input, &g, &e);
	if (!*ret_is || e)
		return e;
	n = git_source(l->a, &g, l->df->opts.git_advice);
	llb_name(
		l->a, n,
		str_from(arena_printf(l->a, "[internal] load git source %.*s", STR_ARG(l->input))));
	l->ret->state = state_new(llb_out_of(n));
	return NULL;
}

static struct err *load_url(struct load *l)
{
	bool is_git;

	TRY(load_git(l, &is_git));
	if (!is_git)
		l->ret->state = state_new(llb_out_of(http_source(
			l->a, l->input, STR("context"),
			str_from(arena_printf(l->a, "[context %.*s] %.*s",
					      STR_ARG(l->nc->full_name), STR_ARG(l->input))))));
	return NULL;
}

static struct err *load_layout(struct load *l, struct str text)
{
	struct str store, digest, session = l->df->bridge->info->session_id, log_name, ref_text;
	struct imageref ref;
	struct image_meta meta;
	struct llb_node *n;
	ptrdiff_t colon;

	if (!str_cut(text, '@', &store, &digest))
		return err_new(ERR_UNKNOWN, "oci-layout reference %s has no digest",
			       text_quote(l->a, text));
	colon = str_rfind(store, ':');
	if (colon >= 0 && colon > str_rfind(store, '/'))
		store = str_sub(store, 0, (size_t)colon);
	TRYW(text_plain_err(imageref_parse(l->a, l->nc->name, &ref)),
	     "could not parse oci-layout reference %s", text_quote(l->a, l->nc->name));
	TRYW(text_plain_err(digest_parse(digest, &ref.digest)),
	     "could not parse oci-layout reference %s", text_quote(l->a, text));
	ref_text = str_from(imageref_format(l->a, &ref));
	log_name = str_from(arena_printf(l->a, "[context %.*s] load metadata for %.*s",
					 STR_ARG(l->nc->full_name), STR_ARG(ref_text)));
	TRY(df_layout_meta(l->df, l->ctx, l->a, ref_text, store, platform_of(l), log_name, &meta));

	n = llb_source(l->a, str_from(arena_printf(l->a, "oci-layout://%.*s", STR_ARG(ref_text))));
	if (session.len)
		llb_attr(l->a, n, "oci.session", session);
	llb_attr(l->a, n, "oci.store", store);
	llb_cap(l->a, n, "source.ocilayout");
	llb_platform(l->a, n, platform_of(l));
	llb_name(l->a, n,
		 str_from(arena_printf(l->a, "[context %.*s] OCI load from client",
				       STR_ARG(l->nc->full_name))));
	return use_config(l, n, meta.config);
}

static struct err *local_excludes(struct load *l, struct str name, struct strs *ret)
{
	CLEANUP(bridge_ref_putp) struct bridge_ref *ref = NULL;
	static const struct str file = STR(".dockerignore");
	struct str full = l->nc->full_name, data = STR("");
	struct llb_node *n;
	bool too_large;
	struct err *e;

	n = local_source(
		l->a, l->df, name,
		str_from(arena_printf(l->a, "context:%.*s-%s", STR_ARG(full), file.ptr)),
		str_from(arena_printf(l->a, "[context %.*s] load %s", STR_ARG(full), file.ptr)));
	llb_attr_list(l->a, n, "local.followpaths", &file, 1);
	llb_cap(l->a, n, "source.local.followpaths");
	llb_attr(l->a, n, "local.differ", STR("none"));
	TRY(df_solve(l->df, l->ctx, l->a, llb_out_of(n), true, NULL, &ref));
	e = df_read_file(ref, l->ctx, l->a, file, &data, &too_large);
	if (too_large)
		return e;
	err_free(e);
	return err_wrap(ignore_parse(l->a, data, ret), "failed parsing %s", file.ptr);
}

static struct err *load_local(struct load *l, struct str name)
{
	struct str full = l->nc->full_name;
	struct strs excludes;
	struct llb_node *n;

	TRY(local_excludes(l, name, &excludes));
	n = local_source(
		l->a, l->df, name,
		str_from(arena_printf(l->a, "context:%.*s-%.*s", STR_ARG(full),
				      STR_ARG(l->nc->shared_key))),
		str_from(arena_printf(l->a, "[context %.*s] load from client", STR_ARG(full))));
	if (excludes.len) {
		llb_attr_list(l->a, n, "local.excludepatterns", excludes.items, excludes.len);
		llb_cap(l->a, n, "source.local.excludepatterns");
	}
	l->ret->local = n;
	l->ret->state = state_new(llb_out_of(n));
	return NULL;
}

void named_finish(struct arena *a, struct llb_node *local, const struct strs *paths)
{
	struct strs follow = follow_paths(a, paths);

	if (!follow.len)
		return;
	llb_attr_list(a, local, "local.followpaths", follow.items, follow.len);
	llb_cap(a, local, "source.local.followpaths");
}

static struct err *input_config(struct load *l, struct str text, struct str *ret)
{
	SCOPED_JSON(j);
	const json_t *v;

	TRYW(text_plain_err(json_read(text, "input metadata", &j)),
	     "failed to parse input metadata %.*s", STR_ARG(text));
	v = json_object_get(j, "containerimage.config");
	*ret = STR("");
	if (!v)
		return NULL;
	return text_plain_err(
		base64_decode(l->a, str_make(json_string_value(v), json_string_length(v)), ret));
}

static struct err *load_input(struct load *l, struct str name)
{
	const struct bridge_info *info = l->df->bridge->info;
	struct str md = opts_get(&l->df->opts, str_from(arena_printf(l->a, "input-metadata:%.*s",
								     STR_ARG(name)))),
		   config = STR("");
	const Pb__Definition *def = NULL;
	struct fs_state *st = &l->ret->state;
	struct llb_out out;
	bool found = false;

	for (size_t i = 0; i < info->n_inputs; i++)
		if (str_eq(info->inputs[i].name, name)) {
			def = info->inputs[i].def;
			found = true;
		}
	if (!found)
		return err_new(ERR_UNKNOWN, "invalid input %.*s for %.*s", STR_ARG(name),
			       STR_ARG(l->nc->full_name));
	TRY(llb_import(l->a, def, &out));
	*st = state_new(out);
	if (md.len)
		TRY(input_config(l, md, &config));
	if (config.len) {
		TRYW(image_parse(l->a, config, &l->ret->image),
		     "failed to parse image config for %.*s", STR_ARG(l->nc->full_name));
		l->ret->has_image = true;
		state_use_image(l->a, st, &l->ret->image);
	}
	return NULL;
}

static struct err *load_once(struct load *l, bool *ret_again)
{
	struct str scheme, rest;
	bool is_git;

	*ret_again = false;
	if (!str_cut(l->input, ':', &scheme, &rest))
		return err_new(ERR_UNKNOWN, "invalid context specifier %.*s for %.*s",
			       STR_ARG(l->input), STR_ARG(l->nc->full_name));
	if (str_eq(scheme, STR("docker-image")))
		return load_image(l, str_trim_prefix(rest, STR("//")), ret_again);
	if (str_eq(scheme, STR("git")) || str_has_prefix(scheme, STR("git@"))) {
		TRY(load_git(l, &is_git));
		if (!is_git)
			return err_new(ERR_UNKNOWN, "invalid git context %.*s", STR_ARG(l->input));
		return NULL;
	}
	if (str_eq(scheme, STR("http")) || str_eq(scheme, STR("https")))
		return load_url(l);
	if (str_eq(scheme, STR("oci-layout")))
		return load_layout(l, str_trim_prefix(rest, STR("//")));
	if (str_eq(scheme, STR("local")))
		return load_local(l, rest);
	if (str_eq(scheme, STR("input")))
		return load_input(l, rest);
	return err_new(ERR_UNKNOWN, "unsupported context source %.*s for %.*s", STR_ARG(scheme),
		       STR_ARG(l->nc->full_name));
}

struct err *named_load(struct df *df, struct ctx *ctx, struct arena *a,
		       const struct named_context *nc, struct named_result *ret)
{
	struct load l = { df, ctx, a, nc, nc->input, ret };
	bool again = true;

	*ret = (struct named_result) { 0 };
	for (int i = 0; again; i++) {
		if (i > MAX_REDIRECTS)
			return err_new(ERR_UNKNOWN,
				       "context recursion limit exceeded; this may indicate a "
				       "cycle in the provided source policies: %.*s",
				       STR_ARG(l.input));
		TRY(load_once(&l, &again));
	}
	return NULL;
}
