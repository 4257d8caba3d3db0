/* A whole build of any Dockerfile, up to the graph; every image there is has the same config. */
#include "base/ctx.h"
#include "base/mem.h"
#include "base/task.h"
#include "frontend/bridge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_ref {
	struct bridge_ref ref; /* first */
	struct str file;
};

static struct err *read_file(struct bridge_ref *r, struct ctx *ctx, struct str path, int64_t offset,
			     int64_t length, struct buf *out)
{
	(void)ctx;
	(void)offset;
	(void)length;
	if (str_has_suffix(path, STR(".dockerignore")))
		return err_new(ERR_NOT_FOUND, "not found");
	buf_add_str(out, ((struct fuzz_ref *)r)->file);
	return NULL;
}

static struct err *stat_file(struct bridge_ref *r, struct ctx *ctx, struct str path,
			     struct arena *a, Fsutil__Types__Stat **ret)
{
	(void)r;
	(void)ctx;
	(void)path;
	(void)a;
	(void)ret;
	return err_new(ERR_NOT_FOUND, "not found");
}

static void ref_free(struct bridge_ref *r)
{
	free(r);
}

static const struct bridge_ref_ops ref_ops = { .read_file = read_file,
					       .stat_file = stat_file,
					       .free = ref_free };

struct bridge_of {
	struct bridge b; /* first */
	struct str file;
};

static struct err *solve(struct bridge *b, struct ctx *ctx,
			 const Moby__Buildkit__V1__Frontend__SolveRequest *req,
			 struct frontend_result *ret)
{
	struct fuzz_ref *r;
	SCOPED_ARENA(a);

	(void)ctx;
	frontend_result_init(ret);
	if (req->frontend[0])
		return NULL;
	(void)proto_pack_arena(req, &a);
	r = NEW(struct fuzz_ref);
	bridge_ref_init(&r->ref, &ref_ops);
	r->file = ((struct bridge_of *)b)->file;
	frontend_result_set_ref(ret, &r->ref);
	return NULL;
}

static struct err *resolve(struct bridge *b, struct ctx *ctx,
			   const Moby__Buildkit__V1__Frontend__ResolveSourceMetaRequest *req,
			   struct arena *a,
			   Moby__Buildkit__V1__Frontend__ResolveSourceMetaResponse **ret)
{
	static const char config[] =
		"{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\","
		"\"diff_ids\":[\"sha256:1\"]},\"config\":{\"Env\":[\"A=1\",\"B\"],\"User\":\"u\","
		"\"OnBuild\":[\"RUN x\",\"COPY --from=y a b\"],\"WorkingDir\":\"w\"}}";
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaResponse *res =
		ARENA_NEW(a, Moby__Buildkit__V1__Frontend__ResolveSourceMetaResponse);

	(void)b;
	(void)ctx;
	moby__buildkit__v1__frontend__resolve_source_meta_response__init(res);
	res->source = proto_dup(a, req->source);
	res->image = ARENA_NEW(a, Moby__Buildkit__V1__Frontend__ResolveSourceImageResponse);
	moby__buildkit__v1__frontend__resolve_source_image_response__init(res->image);
	res->image->config = proto_from_str(str_from(config));
	*ret = res;
	return NULL;
}

static struct err *warn(struct bridge *b, struct ctx *ctx,
			const Moby__Buildkit__V1__Frontend__WarnRequest *req)
{
	SCOPED_ARENA(a);

	(void)b;
	(void)ctx;
	(void)proto_pack_arena(req, &a);
	return NULL;
}

static const struct bridge_ops ops = { solve, resolve, warn };

static void run(struct ctx *ctx, struct str file, const struct frontend_kv *opts, size_t n)
{
	SCOPED_FRONTEND_RESULT(res);
	struct bridge_info info = { .opts = opts, .n_opts = n, .session_id = STR("s") };
	struct bridge_of b = { { &ops, &info }, file };

	err_free(dockerfile_build(ctx, &b.b, &res));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct frontend_kv build[] = { { STR("build-arg:G"), STR("given") },
						    { STR("context:ctx"),
						      STR("docker-image://x") } };
	static const struct frontend_kv lint[] = { { STR("requestid"), STR("frontend.lint") } };
	static const struct frontend_kv convert[] = { { STR("requestid"),
							STR("frontend.convertllb") } };
	static const struct frontend_kv outline[] = { { STR("requestid"),
							STR("frontend.outline") } };
	struct task_pool *pool = task_pool_new();
	struct ctx *ctx = ctx_new_root(pool);
	struct str file = str_make(data, size);

	run(ctx, file, build, 2);
	run(ctx, file, lint, 1);
	run(ctx, file, convert, 1);
	run(ctx, file, outline, 1);
	ctx_unref(ctx);
	task_pool_free(pool);
	return 0;
}
