#include "fake_bridge.h"

#include "base/mem.h"

#include <stdio.h>
#include <sys/stat.h>

struct fake_ref {
	struct bridge_ref ref; /* first */
	struct arena a;
	const Pb__Definition *def;
	char *dir; /* NULL: nothing can be read */
	const char *dockerfile;
};

static struct err *evaluate(struct bridge_ref *r, struct ctx *ctx)
{
	(void)r;
	(void)ctx;
	return NULL;
}

static char *file_path(struct fake_ref *r, struct str path)
{
	return arena_printf(&r->a, "%s/%.*s", r->dir ? r->dir : "/nonexistent", STR_ARG(path));
}

static struct err *read_file(struct bridge_ref *r, struct ctx *ctx, struct str path, int64_t offset,
			     int64_t length, struct buf *out)
{
	struct fake_ref *fr = (struct fake_ref *)r;
	char chunk[4096];
	FILE *f;
	size_t n;

	(void)ctx;
	(void)offset;
	if (fr->dockerfile && !str_has_suffix(path, STR(".dockerignore"))) {
		buf_add_str(out, str_sub(str_from(fr->dockerfile), 0, (size_t)length));
		return NULL;
	}
	f = fopen(file_path(fr, path), "rb");
	if (!f)
		return err_new(ERR_NOT_FOUND, "open %.*s: no such file or directory",
			       STR_ARG(path));
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0 && length > 0) {
		n = (int64_t)n > length ? (size_t)length : n;
		buf_add(out, chunk, n);
		length -= (int64_t)n;
	}
	fclose(f);
	return NULL;
}

static struct err *stat_file(struct bridge_ref *r, struct ctx *ctx, struct str path,
			     struct arena *a, Fsutil__Types__Stat **ret)
{
	struct stat st;

	(void)ctx;
	if (stat(file_path((struct fake_ref *)r, path), &st) < 0)
		return err_new(ERR_NOT_FOUND, "stat %.*s: no such file or directory",
			       STR_ARG(path));
	*ret = ARENA_NEW(a, Fsutil__Types__Stat);
	fsutil__types__stat__init(*ret);
	(*ret)->size = st.st_size;
	return NULL;
}

static struct err *read_dir(struct bridge_ref *r, struct ctx *ctx, struct str path,
			    struct str include, struct arena *a, Fsutil__Types__Stat ***ret,
			    size_t *ret_n)
{
	(void)r;
	(void)ctx;
	(void)path;
	(void)include;
	(void)a;
	*ret = NULL;
	*ret_n = 0;
	return NULL;
}

static const Pb__Definition *definition(struct bridge_ref *r)
{
	return ((struct fake_ref *)r)->def;
}

static void ref_free(struct bridge_ref *r)
{
	struct fake_ref *f = (struct fake_ref *)r;

	arena_fini(&f->a);
	free(f);
}

static const struct bridge_ref_ops ref_ops = { evaluate, read_file,  stat_file,
					       read_dir, definition, ref_free };

static char *local_dir(struct fake *f, struct fake_ref *r, struct str id)
{
	char *sub = arena_printf(&r->a, "%s/%.*s", f->dir,
				 STR_ARG(str_trim_prefix(id, STR("local://"))));
	struct stat st;

	if (stat(sub, &st) == 0 && S_ISDIR(st.st_mode))
		return sub;
	return arena_strdup(&r->a, f->dir);
}

static struct err *solve_frontend(struct fake *f,
				  const Moby__Buildkit__V1__Frontend__SolveRequest *req,
				  struct frontend_result *ret)
{
	const char *source = PROTO_MAP_GET(req->n_frontendopt, req->frontendopt, "source");

	f->frontend_source = arena_strdup(&f->a, source ? source : "");
	if (strcmp(f->frontend_source, "missing") == 0)
		return err_new(ERR_NOT_FOUND, "missing: not found");
	frontend_result_init(ret);
	return NULL;
}

static struct err *solve(struct bridge *b, struct ctx *ctx,
			 const Moby__Buildkit__V1__Frontend__SolveRequest *req,
			 struct frontend_result *ret)
{
	struct fake *f = (struct fake *)b;
	struct fake_ref *r;

	TRY(ctx_err(ctx));
	if (req->frontend[0])
		return solve_frontend(f, req, ret);
	frontend_result_init(ret);
	if (!req->definition || !req->definition->n_def)
		return NULL;
	r = NEW(struct fake_ref);
	bridge_ref_init(&r->ref, &ref_ops);
	r->def = proto_dup(&r->a, req->definition);
	r->dockerfile = f->dockerfile;
	for (size_t i = 0; i < r->def->n_def; i++) {
		Pb__Op *op;
		struct str id;

		if (PROTO_UNPACK(&r->a, pb__op, proto_bytes(r->def->def[i]), &op))
			abort();
		if (op->op_case != PB__OP__OP_SOURCE)
			continue;
		id = str_from(op->source->identifier);
		if (str_has_prefix(id, STR("local://")))
			r->dir = local_dir(f, r, id);
		else if (str_has_prefix(id, STR("http")))
			r->dir = arena_printf(&r->a, "%s/http", f->dir);
		else if (str_has_prefix(id, STR("git://")))
			r->dir = arena_printf(&r->a, "%s/git", f->dir);
	}
	lock_take(&f->lock);
	f->n_solves++;
	f->last_def = proto_pack_arena(req->definition, &f->a);
	lock_drop(&f->lock);
	frontend_result_set_ref(ret, &r->ref);
	return NULL;
}

static struct err *resolve(struct bridge *b, struct ctx *ctx,
			   const Moby__Buildkit__V1__Frontend__ResolveSourceMetaRequest *req,
			   struct arena *a,
			   Moby__Buildkit__V1__Frontend__ResolveSourceMetaResponse **ret)
{
	struct fake *f = (struct fake *)b;
	struct str id = str_from(req->source->identifier), config;
	const json_t *img;
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaResponse *res;

	TRY(ctx_err(ctx));
	res = ARENA_NEW(a, Moby__Buildkit__V1__Frontend__ResolveSourceMetaResponse);
	moby__buildkit__v1__frontend__resolve_source_meta_response__init(res);
	res->source = proto_dup(a, req->source);
	*ret = res;
	if (str_has_prefix(id, STR("git://")) && f->commit.len) {
		res->git = ARENA_NEW(a, Moby__Buildkit__V1__Frontend__ResolveSourceGitResponse);
		moby__buildkit__v1__frontend__resolve_source_git_response__init(res->git);
		res->git->commitobject = proto_from_str(f->commit);
	}
	if (str_has_prefix(id, STR("http"))) {
		res->http = ARENA_NEW(a, Moby__Buildkit__V1__Frontend__ResolveSourceHTTPResponse);
		moby__buildkit__v1__frontend__resolve_source_httpresponse__init(res->http);
		res->http->lastmodified = proto_timestamp(a, f->last_modified);
	}
	if (!str_has_prefix(id, STR("docker-image://")))
		return NULL;
	id = str_trim_prefix(id, STR("docker-image://"));
	img = json_object_get(f->images, id.ptr);
	if (!img)
		return err_new(ERR_NOT_FOUND, "%s: not found", id.ptr);
	res->image = ARENA_NEW(a, Moby__Buildkit__V1__Frontend__ResolveSourceImageResponse);
	moby__buildkit__v1__frontend__resolve_source_image_response__init(res->image);
	res->image->digest = arena_strdup(a, json_get_str(img, "digest").ptr);
	config = str_dup(a, json_get_str(img, "config"));
	res->image->config = proto_from_str(config);
	return NULL;
}

static struct err *warn(struct bridge *b, struct ctx *ctx,
			const Moby__Buildkit__V1__Frontend__WarnRequest *req)
{
	struct fake *f = (struct fake *)b;
	SCOPED_BUF(t, SIZE_MAX);

	(void)ctx;
	buf_addf(&t, "%lld %.*s ", (long long)req->level, STR_ARG(proto_bytes(req->short_)));
	for (size_t i = 0; i < req->n_detail; i++)
		buf_addf(&t, "%.*s|", STR_ARG(proto_bytes(req->detail[i])));
	buf_addf(&t, " %s [", req->url);
	for (size_t i = 0; i < req->n_ranges; i++)
		buf_addf(&t, "%s{\"start\":{\"line\":%d},\"end\":{\"line\":%d}}", i ? "," : "",
			 req->ranges[i]->start->line, req->ranges[i]->end->line);
	buf_addf(&t, "] %s", req->info ? "true" : "false");
	lock_take(&f->lock);
	if (f->n_warnings < ARRAY_SIZE(f->warnings))
		f->warnings[f->n_warnings++] = buf_take(&t);
	lock_drop(&f->lock);
	return NULL;
}

static const struct bridge_ops ops = { solve, resolve, warn };

static bool any_cap(const char *id)
{
	(void)id;
	return true;
}

static int by_key(const void *x, const void *y)
{
	return str_cmp(((const struct frontend_kv *)x)->key, ((const struct frontend_kv *)y)->key);
}

void fake_init(struct fake *f, const char *dir, const json_t *images, const char *session,
	       char **opts, size_t n_opts)
{
	struct frontend_kv *kv;

	*f = (struct fake) { .dir = dir, .images = images, .frontend_source = "" };
	lock_init(&f->lock, LOCK_LEAF);
	f->platforms[0] = (struct platform) { .os = STR("linux"), .arch = STR("amd64") };
	f->platforms[1] = (struct platform) { .os = STR("linux"), .arch = STR("386") };
	f->worker = (struct bridge_worker) { .id = STR("w"),
					     .platforms = f->platforms,
					     .n_platforms = 2 };
	kv = ARENA_NEW_N(&f->a, struct frontend_kv, n_opts);
	for (size_t i = 0; i < n_opts; i++)
		str_cut(str_dup(&f->a, str_from(opts[i])), '=', &kv[i].key, &kv[i].value);
	if (n_opts)
		qsort(kv, n_opts, sizeof(*kv), by_key);
	f->info = (struct bridge_info) {
		.opts = kv,
		.n_opts = n_opts,
		.session_id = str_from(session),
		.product = STR("buildkit"),
		.workers = &f->worker,
		.n_workers = 1,
		.frontend_cap = any_cap,
		.llb_cap = any_cap,
	};
	f->bridge = (struct bridge) { &ops, &f->info };
}

void fake_fini(struct fake *f)
{
	for (size_t i = 0; i < f->n_warnings; i++)
		free(f->warnings[i]);
	lock_fini(&f->lock);
	arena_fini(&f->a);
}
