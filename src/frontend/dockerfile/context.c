/* Where the files of a build come from: the Dockerfile, the main context, its ignore file. */
#include "frontend/dockerfile/df.h"

#include "base/id.h"
#include "base/limits.h"
#include "base/path.h"
#include "codec/compress.h"
#include "frontend/dockerfile/ignore.h"

#define IGNORE_FILE ".dockerignore"

/* ---- local sources ---- */

static struct str local_session(const struct df *df, struct str name)
{
	struct str id;

	for (size_t i = 0; i < df->opts.all.len; i++) {
		struct str key = df->opts.all.vars[i].key;

		if (str_has_prefix(key, STR("local-sessionid:")) &&
		    str_eq(str_trim_prefix(key, STR("local-sessionid:")), name))
			return df->opts.all.vars[i].value;
	}
	id = df->bridge->info->session_id;
	return id;
}

struct llb_node *local_source(struct arena *a, const struct df *df, struct str name,
			      struct str shared_key, struct str custom_name)
{
	struct llb_node *n =
		llb_source(a, str_from(arena_printf(a, "local://%.*s", STR_ARG(name))));
	struct str session = local_session(df, name);

	if (session.len) {
		llb_attr(a, n, "local.session", session);
		llb_cap(a, n, "source.local.sessionid");
	} else {
		llb_attr(a, n, "local.unique", str_from(id_new(a)));
		llb_cap(a, n, "source.local.unique");
	}
	if (shared_key.len) {
		llb_attr(a, n, "local.sharedkeyhint", shared_key);
		llb_cap(a, n, "source.local.sharedkeyhint");
	}
	llb_cap(a, n, "source.local");
	llb_name(a, n, custom_name);
	return n;
}

static void set_follow(struct arena *a, struct llb_node *n, const struct strs *paths)
{
	if (!paths->len)
		return;
	llb_attr_list(a, n, "local.followpaths", paths->items, paths->len);
	llb_cap(a, n, "source.local.followpaths");
}

/* Sent as a whole every time: small, and must not be stale. */
static void set_no_diff(struct arena *a, struct llb_node *n)
{
	llb_attr(a, n, "local.differ", STR("none"));
}

struct strs follow_paths(struct arena *a, const struct strs *paths)
{
	struct strs out = { 0 };

	for (size_t i = 0; i < paths->len; i++) {
		if (str_eq(paths->items[i], STR("/")))
			return (struct strs) { 0 };
		strs_add(a, &out, path_join(a, STR("."), paths->items[i]));
	}
	strs_sort(&out);
	strs_unique(&out);
	return out;
}

/* ---- what the main context is ---- */

static struct llb_node *http_context(struct arena *a, struct str url)
{
	struct llb_node *n = llb_source(a, url);

	llb_attr(a, n, "http.filename", STR("context"));
	llb_cap(a, n, "source.http");
	llb_name(a, n, STR("[internal] load remote build context"));
	return n;
}

/* A ustar or older header: its checksum is right. */
static bool is_tar(struct str head)
{
	unsigned sum = 0, want = 0;

	if (head.len < 512)
		return false;
	for (size_t i = 0; i < 512; i++)
		sum += i >= 148 && i < 156 ? ' ' : (unsigned char)head.ptr[i];
	for (size_t i = 148; i < 156; i++) {
		char c = head.ptr[i];

		if (c >= '0' && c <= '7')
			want = want * 8 + (unsigned)(c - '0');
		else if (want || (c != ' ' && c != '\0'))
			break;
	}
	return sum == want && sum != 8 * ' ';
}

static struct err *init_http(struct df *df, struct ctx *ctx, struct str url)
{
	struct main_context *c = &df->context;
	SCOPED_ARENA(scratch);
	SCOPED_BUF(head, 1024);

	c->url = url;
	TRYW(df_solve(df, ctx, &scratch, llb_out_of(http_context(&scratch, url)), false, NULL,
		      &c->http_ref),
	     "failed to resolve httpcontext");
	if (!c->http_ref)
		return err_new(ERR_UNKNOWN, "failed to read downloaded context: empty result");
	TRYW(c->http_ref->ops->read_file(c->http_ref, ctx, STR("context"), 0, 1024, &head),
	     "failed to read downloaded context");
	c->kind = CONTEXT_ARCHIVE;
	if (compression_detect(buf_str(&head)) == COMPRESSION_NONE && !is_tar(buf_str(&head))) {
		c->kind = CONTEXT_HTTP;
		c->filename = STR("context");
	}
	return NULL;
}

static void init_git(struct df *df, struct git_ref *g, struct str url)
{
	struct str epoch = opts_get(&df->opts, STR("build-arg:SOURCE_DATE_EPOCH"));
	bool keep;

	if (str_to_bool(opts_get(&df->opts, STR("build-arg:BUILDKIT_CONTEXT_KEEP_GIT_DIR")),
			&keep) &&
	    keep)
		g->keep_git_dir = YES;
	if (epoch.len && !g->mtime.len)
		g->mtime = STR("commit");
	df->context.kind = CONTEXT_GIT;
	df->context.git = *g;
	df->context.url = url;
}

static const Pb__Definition *find_input(const struct df *df, struct str name)
{
	for (size_t i = 0; i < df->bridge->info->n_inputs; i++)
		if (str_eq(df->bridge->info->inputs[i].name, name))
			return df->bridge->info->inputs[i].def;
	return NULL;
}

static bool has_input(const struct df *df, struct str name)
{
	for (size_t i = 0; i < df->bridge->info->n_inputs; i++)
		if (str_eq(df->bridge->info->inputs[i].name, name))
			return true;
	return false;
}

static struct err *init_inputs(struct df *df)
{
	struct main_context *c = &df->context;

	for (size_t i = 0; i < df->bridge->info->n_inputs; i++)
		if (llb_is_nil(df->bridge->info->inputs[i].def))
			return err_wrap(llb_nil_input(), "failed to get frontend inputs");
	if (!c->local_dockerfile)
		c->dockerfile_input = find_input(df, c->dockerfile_local);
	if (has_input(df, STR("context"))) {
		c->kind = CONTEXT_INPUT;
		c->input = find_input(df, STR("context"));
	}
	return NULL;
}

struct err *context_init(struct df *df, struct ctx *ctx)
{
	struct main_context *c = &df->context;
	struct str key = STR("context"), value;
	struct git_ref git;
	struct err *e;

	*c = (struct main_context) {
		.local = STR("context"),
		.dockerfile_local = STR("dockerfile"),
		.filename = STR("Dockerfile"),
	};
	env_get(&df->opts.all, STR("contextkey"), &key);
	env_get(&df->opts.all, STR("filename"), &c->filename);
	c->local_dockerfile = env_get(&df->opts.all, STR("dockerfilekey"), &c->dockerfile_local);
	c->has_subdir = env_get(&df->opts.all, STR("contextsubdir"), &c->subdir);
	value = opts_get(&df->opts, key);
	if (git_ref_parse(&df->a, value, &git, &e)) {
		if (e)
			return e;
		init_git(df, &git, value);
		return NULL;
	}
	if (str_has_prefix(value, STR("http://")) || str_has_prefix(value, STR("https://")))
		return init_http(df, ctx, value);
	return init_inputs(df);
}

/* ---- the Dockerfile ---- */

/* Of a remote context, without its sub-directory. */
static struct err *remote_graph(struct df *df, struct arena *a, struct llb_out *ret)
{
	const struct main_context *c = &df->context;
	struct llb_node *n;

	switch (c->kind) {
	case CONTEXT_GIT:
		n = git_source(a, &c->git, df->opts.git_advice);
		llb_name(a, n,
			 str_from(arena_printf(a, "[internal] load git source %.*s",
					       STR_ARG(c->url))));
		*ret = llb_out_of(n);
		return NULL;
	case CONTEXT_HTTP:
		*ret = llb_out_of(http_context(a, c->url));
		return NULL;
	case CONTEXT_ARCHIVE: {
		Pb__FileActionCopy *copy;

		n = llb_file(a, LLB_SCRATCH);
		copy = llb_copy(a, n, llb_out_of(http_context(a, c->url)), STR("/context"),
				STR("/"));
		copy->attemptunpackdockercompatibility = true;
		*ret = llb_out_of(n);
		return NULL;
	}
	default:
		return llb_import(a, c->input, ret);
	}
}

static struct llb_out local_dockerfile(struct df *df)
{
	const struct main_context *c = &df->context;
	struct arena *a = &df->a;
	struct strs names = { 0 };
	struct llb_node *n;

	strs_add(a, &names, c->filename);
	strs_add(a, &names, str_from(arena_printf(a, "%.*s" IGNORE_FILE, STR_ARG(c->filename))));
	if (str_eq(path_base(c->filename), STR("Dockerfile")))
		strs_add(a, &names, path_join(a, path_dir(a, c->filename), STR("dockerfile")));
	n = local_source(a, df, c->dockerfile_local, c->dockerfile_local,
			 str_from(arena_printf(a, "[internal] load build definition from %.*s",
					       STR_ARG(c->filename))));
	set_follow(a, n, &names);
	set_no_diff(a, n);
	return llb_out_of(n);
}

static struct err *read_dockerfile(struct df *df, struct ctx *ctx, struct bridge_ref *ref,
				   struct str *ret)
{
	struct str name = df->context.filename;
	bool too_large;
	struct err *e, *e2;

	e = df_read_file(ref, ctx, &df->a, name, ret, &too_large);
	if (err_is(e, ERR_NOT_FOUND)) /* of a file, not of what the client asked for */
		e = text_plain_err(e);
	if (!e || too_large || !str_eq(path_base(name), STR("Dockerfile")))
		return e;
	name = path_join(&df->a, path_dir(&df->a, name), STR("dockerfile"));
	e2 = df_read_file(ref, ctx, &df->a, name, ret, NULL);
	if (e2) {
		err_free(e2);
		return e;
	}
	err_free(e);
	return NULL;
}

struct err *context_load_dockerfile(struct df *df, struct ctx *ctx)
{
	Moby__Buildkit__V1__Frontend__SolveRequest req =
		MOBY__BUILDKIT__V1__FRONTEND__SOLVE_REQUEST__INIT;
	const struct main_context *c = &df->context;
	SCOPED_FRONTEND_RESULT(res);
	struct bridge_ref *ref;
	struct llb_out out;
	bool too_large;
	struct err *e;

	if (c->dockerfile_input)
		TRY(llb_import(&df->a, c->dockerfile_input, &out));
	else if (!c->local_dockerfile && c->kind != CONTEXT_LOCAL && c->kind != CONTEXT_INPUT)
		TRY(remote_graph(df, &df->a, &out));
	else
		out = local_dockerfile(df);
	TRYW(llb_marshal(&df->a, out, df->opts.build_platform, &req.definition, &df->load_digest),
	     "failed to marshal local source");
	TRYW(df->bridge->ops->solve(df->bridge, ctx, &req, &res), "failed to resolve dockerfile");
	TRY(frontend_result_single(&res, &ref));
	TRYW(read_dockerfile(df, ctx, ref, &df->data), "failed to read dockerfile");
	df->map = (struct llb_source_map) {
		.filename = c->filename,
		.language = STR("Dockerfile"),
		.data = df->data,
		.definition = req.definition,
	};
	df->ignore_name = str_from(arena_printf(&df->a, "%.*s" IGNORE_FILE, STR_ARG(c->filename)));
	e = df_read_file(ref, ctx, &df->a, df->ignore_name, &df->ignore_data, &too_large);
	if (too_large)
		return e;
	df->ignore_known = !e;
	err_free(e);
	return NULL;
}

/* ---- the ignore file ---- */

static struct err *load_ignore(struct ctx *ctx, void *arg)
{
	struct df *df = arg;
	struct arena *a = &df->ignore_arena;
	struct str data = df->ignore_data, name = df->ignore_name;

	if (!df->ignore_known) {
		CLEANUP(bridge_ref_putp) struct bridge_ref *ref = NULL;
		struct strs follow = { 0 };
		struct llb_node *n;
		bool too_large;
		struct err *e;

		name = STR(IGNORE_FILE);
		strs_add(a, &follow, name);
		n = local_source(
			a, df, df->context.local,
			str_from(arena_printf(a, "%.*s-" IGNORE_FILE, STR_ARG(df->context.local))),
			STR("[internal] load " IGNORE_FILE));
		set_follow(a, n, &follow);
		set_no_diff(a, n);
		TRY(df_solve(df, ctx, a, llb_out_of(n), false, NULL, &ref));
		data = STR("");
		e = df_read_file(ref, ctx, a, name, &data, &too_large);
		if (too_large)
			return e;
		err_free(e); /* there need be none */
	}
	TRYW(ignore_parse(a, data, &df->ignore), "failed parsing %.*s", STR_ARG(name));
	return NULL;
}

struct err *context_ignore(struct df *df, struct ctx *ctx, const struct strs **ret)
{
	static const struct strs none = { 0 };

	*ret = &none;
	if (df->context.kind != CONTEXT_LOCAL)
		return NULL;
	TRY(once_do(&df->ignore_once, ctx, load_ignore, df));
	*ret = &df->ignore;
	return NULL;
}

/* ---- the context itself ---- */

struct err *context_main(struct df *df, struct ctx *ctx, struct arena *a, const struct strs *follow,
			 struct llb_out *ret)
{
	const struct main_context *c = &df->context;
	const struct strs *excludes;
	struct llb_node *n;

	if (c->kind != CONTEXT_LOCAL) {
		TRY(remote_graph(df, a, ret));
		if (c->has_subdir) {
			n = llb_file(a, LLB_SCRATCH);
			llb_copy(a, n, *ret, path_clean(a, path_join(a, STR("/"), c->subdir)),
				 STR("/"))
				->dircopycontents = true;
			*ret = llb_out_of(n);
		}
		return NULL;
	}
	TRYW(context_ignore(df, ctx, &excludes), "failed to read dockerignore patterns");
	n = local_source(a, df, c->local, c->local, STR("[internal] load build context"));
	if (excludes->len) {
		llb_attr_list(a, n, "local.excludepatterns", excludes->items, excludes->len);
		llb_cap(a, n, "source.local.excludepatterns");
	}
	set_follow(a, n, follow);
	*ret = llb_out_of(n);
	return NULL;
}
