/* What a build asks of the daemon: other frontends, remote contexts, inputs, epochs, scans. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_bridge.h"

#include "base/ctx.h"
#include "base/mem.h"
#include "base/task.h"
#include "frontend/llbgen.h"

static struct task_pool *pool;
static struct ctx *ctx;
static json_t *images;

static int setup(void **state)
{
	(void)state;
	pool = task_pool_new();
	ctx = ctx_new_root(pool);
	images = json_load_file(GOLDEN_DIR "/images.json", 0, NULL);
	return images ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	json_decref(images);
	ctx_unref(ctx);
	task_pool_free(pool);
	return 0;
}

static void start(struct fake *f, const char *dockerfile, char **opts, size_t n)
{
	fake_init(f, "/nonexistent", images, "s", opts, n);
	f->dockerfile = dockerfile;
}

/* A source op with that identifier among the ops last solved. */
static Pb__SourceOp *find_source(struct arena *a, const struct fake *f, const char *prefix)
{
	Pb__Definition *def;

	assert_null(PROTO_UNPACK(a, pb__definition, f->last_def, &def));
	for (size_t i = 0; i < def->n_def; i++) {
		Pb__Op *op;

		assert_null(PROTO_UNPACK(a, pb__op, proto_bytes(def->def[i]), &op));
		if (op->op_case == PB__OP__OP_SOURCE &&
		    strncmp(op->source->identifier, prefix, strlen(prefix)) == 0)
			return op->source;
	}
	return NULL;
}

static void test_forward(void **state)
{
	struct fake f;
	struct err *e;

	(void)state;
	{
		SCOPED_FRONTEND_RESULT(res);

		start(&f, "# syntax=other/frontend:1 arg\nnot a dockerfile", NULL, 0);
		assert_null(dockerfile_build(ctx, &f.bridge, &res));
		assert_string_equal(f.frontend_source, "other/frontend:1");
		fake_fini(&f);
	}
	{
		SCOPED_FRONTEND_RESULT(res);
		char *opts[] = { "build-arg:BUILDKIT_SYNTAX=arg/one" };

		start(&f, "# syntax=other\nFROM scratch", opts, 1);
		assert_null(dockerfile_build(ctx, &f.bridge, &res));
		assert_string_equal(f.frontend_source, "arg/one");
		fake_fini(&f);
	}
	{
		SCOPED_FRONTEND_RESULT(res);
		char *opts[] = { "cmdline=x" }; /* it was forwarded to us */

		start(&f, "# syntax=other\nFROM scratch", opts, 1);
		assert_null(dockerfile_build(ctx, &f.bridge, &res));
		assert_string_equal(f.frontend_source, "");
		fake_fini(&f);
	}
	{
		SCOPED_FRONTEND_RESULT(res);

		start(&f, "# syntax=missing\nFROM scratch", NULL, 0);
		e = dockerfile_build(ctx, &f.bridge, &res);
		assert_string_equal(err_text(e), "missing: not found");
		assert_true(err_has_detail(e, "github.com/moby/buildkit/errdefs.Source+json"));
		err_free(e);
		fake_fini(&f);
	}
	{
		SCOPED_FRONTEND_RESULT(res);
		char *opts[] = { "frontend.caps=x.y+forward" };

		start(&f, "# syntax=other\nFROM scratch", opts, 1);
		assert_null(dockerfile_build(ctx, &f.bridge, &res));
		assert_string_equal(f.frontend_source, "other");
		fake_fini(&f);
		start(&f, "FROM scratch", opts, 1);
		e = dockerfile_build(ctx, &f.bridge, &res);
		assert_int_equal(err_code(e), ERR_UNIMPLEMENTED);
		err_free(e);
		fake_fini(&f);
	}
}

static void test_git_context(void **state)
{
	SCOPED_FRONTEND_RESULT(res);
	SCOPED_ARENA(a);
	char *opts[] = { "build-arg:SOURCE_DATE_EPOCH=context",
			 "context=https://example.com/x.git#main:sub" };
	struct fake f;
	Pb__SourceOp *s;
	struct str v;

	(void)state;
	start(&f, "FROM scratch\nCOPY . /\nLABEL a=b", opts, 2);
	f.commit = STR("tree 1\nauthor a <a> 1 +0000\ncommitter c <c> 1600000000 +0230\n\nmsg");
	assert_null(dockerfile_build(ctx, &f.bridge, &res));
	s = find_source(&a, &f, "git://");
	assert_non_null(s);
	assert_string_equal(s->identifier, "git://example.com/x.git#main:sub");
	assert_string_equal(PROTO_MAP_GET(s->n_attrs, s->attrs, "git.mtime"), "commit");
	assert_true(frontend_result_meta(&res, STR("source.date.epoch"), &v));
	assert_string_equal(v.ptr, "1600000000");
	assert_true(frontend_result_meta(&res, STR("containerimage.config"), &v));
	assert_non_null(strstr(v.ptr, "\"created\":\"2020-09-13T14:56:40+02:30\""));
	fake_fini(&f);
}

static void test_http_context(void **state)
{
	SCOPED_FRONTEND_RESULT(res);
	SCOPED_ARENA(a);
	char *opts[] = { "build-arg:SOURCE_DATE_EPOCH=context", "context=https://example.com/ctx",
			 "contextsubdir=sub/dir" };
	struct fake f;
	struct str v;

	(void)state;
	/* The file is no archive: it is the Dockerfile. */
	start(&f, "FROM scratch\nCOPY . /", opts, 3);
	f.last_modified = INT64_C(1234567890) * 1000000000;
	assert_null(dockerfile_build(ctx, &f.bridge, &res));
	assert_non_null(find_source(&a, &f, "https://example.com/ctx"));
	assert_true(frontend_result_meta(&res, STR("source.date.epoch"), &v));
	assert_string_equal(v.ptr, "1234567890");
	fake_fini(&f);
}

static void test_inputs(void **state)
{
	SCOPED_FRONTEND_RESULT(res);
	SCOPED_ARENA(a);
	static const struct platform os = { .os = STR("linux"), .arch = STR("amd64") };
	Pb__Definition *context, *dockerfile, empty = PB__DEFINITION__INIT;
	struct bridge_input inputs[2];
	struct err *e;
	struct fake f;

	(void)state;
	assert_null(llb_marshal(&a, llb_out_of(llb_source(&a, STR("local://in-context"))), &os,
				&context, NULL));
	assert_null(llb_marshal(&a, llb_out_of(llb_source(&a, STR("local://in-file"))), &os,
				&dockerfile, NULL));
	inputs[0] = (struct bridge_input) { STR("context"), context };
	inputs[1] = (struct bridge_input) { STR("dockerfile"), dockerfile };
	start(&f, "FROM scratch\nCOPY a /", NULL, 0);
	f.info.inputs = inputs;
	f.info.n_inputs = 2;
	assert_null(dockerfile_build(ctx, &f.bridge, &res));
	assert_non_null(find_source(&a, &f, "local://in-context"));
	fake_fini(&f);

	frontend_result_fini(&res);
	for (int i = 0; i < 2; i++) {
		start(&f, "FROM scratch\nCOPY a /", NULL, 0);
		inputs[0].def = i ? &empty : NULL;
		f.info.inputs = inputs;
		f.info.n_inputs = 2;
		e = dockerfile_build(ctx, &f.bridge, &res);
		assert_string_equal(err_text(e), "failed to get frontend inputs: invalid nil input "
						 "definition to definition op");
		err_free(e);
		fake_fini(&f);
	}
}

static void test_input_context(void **state)
{
	SCOPED_FRONTEND_RESULT(res);
	SCOPED_ARENA(a);
	static const struct platform os = { .os = STR("linux"), .arch = STR("amd64") };
	char *opts[] = {
		"context:base=input:x",
		/* {"config":{"Env":["FROM_INPUT=1"],"WorkingDir":"/wd"}} */
		"input-metadata:x={\"containerimage.config\":"
		"\"eyJjb25maWciOnsiRW52IjpbIkZST01fSU5QVVQ9MSJdLCJXb3JraW5nRGlyIjoiL3dkIn19"
		"\"}"
	};
	struct bridge_input input = { .name = STR("x") };
	Pb__Definition *def;
	struct fake f;
	struct str v;

	(void)state;
	assert_null(llb_marshal(&a, llb_out_of(llb_source(&a, STR("local://the-input"))), &os, &def,
				NULL));
	input.def = def;
	start(&f, "FROM base\nRUN x", opts, 2);
	f.info.inputs = &input;
	f.info.n_inputs = 1;
	assert_null(dockerfile_build(ctx, &f.bridge, &res));
	assert_non_null(find_source(&a, &f, "local://the-input"));
	assert_true(frontend_result_meta(&res, STR("containerimage.config"), &v));
	assert_non_null(strstr(v.ptr, "FROM_INPUT=1"));
	fake_fini(&f);
}

static void test_platforms(void **state)
{
	SCOPED_FRONTEND_RESULT(res);
	char *opts[] = { "platform=linux/amd64,linux/arm64,linux/s390x,linux/386,linux/riscv64" };
	struct fake f;
	struct str v;

	(void)state;
	start(&f,
	      "FROM --platform=$BUILDPLATFORM busybox AS b\nRUN x\nFROM alpine\nARG TARGETARCH\n"
	      "COPY --from=b a b\nRUN y\n",
	      opts, 1);
	assert_null(dockerfile_build(ctx, &f.bridge, &res));
	assert_true(res.is_map);
	assert_int_equal(res.n_refs, 5);
	assert_true(frontend_result_meta(&res, STR("containerimage.config/linux/s390x"), &v));
	assert_non_null(strstr(v.ptr, "\"architecture\":\"s390x\""));
	/* The base images are for amd64 only, so one warning for all platforms. */
	assert_true(f.n_warnings <= 1);
	fake_fini(&f);
}

static void test_sbom(void **state)
{
	SCOPED_FRONTEND_RESULT(res);
	SCOPED_ARENA(a);
	char *opts[] = { "attest:sbom=generator=busybox,X=y" };
	Pb__Definition *def;
	struct fake f;
	Pb__Op *op;

	(void)state;
	start(&f,
	      "ARG BUILDKIT_SBOM_SCAN_CONTEXT=true\nARG BUILDKIT_SBOM_SCAN_STAGE=b\n"
	      "FROM alpine AS b\nFROM scratch\nCOPY --from=b / /\n",
	      opts, 1);
	assert_null(dockerfile_build(ctx, &f.bridge, &res));
	assert_int_equal(res.n_attestations, 1);
	assert_true(str_eq(res.attestations[0].key, STR("linux/amd64")));
	assert_non_null(res.attestations[0].list[0].ref);
	assert_null(PROTO_UNPACK(&a, pb__definition, f.last_def, &def));
	assert_null(PROTO_UNPACK(&a, pb__op, proto_bytes(def->def[def->n_def - 2]), &op));
	assert_int_equal(op->exec->n_mounts, 6);
	assert_string_equal(op->exec->mounts[1]->dest, "/run/out/");
	assert_string_equal(op->exec->mounts[3]->dest, "/run/src/extras/sbom-b");
	fake_fini(&f);
}

static void test_cancel(void **state)
{
	SCOPED_FRONTEND_RESULT(res);
	struct ctx *c = ctx_new(ctx);
	struct fake f;
	struct err *e;

	(void)state;
	start(&f, "FROM busybox", NULL, 0);
	ctx_cancel(c, NULL);
	e = dockerfile_build(c, &f.bridge, &res);
	assert_non_null(e);
	err_free(e);
	fake_fini(&f);
	ctx_unref(c);
}

/* Variables that double, stages without end: bounded in memory, and no deep stack. */
static void test_hostile(void **state)
{
	SCOPED_BUF(text, 1 << 24);
	struct fake f;
	struct err *e;

	(void)state;
	{
		SCOPED_FRONTEND_RESULT(res);

		buf_add_cstr(&text, "FROM scratch\nENV a=xxxxxxxxxxxxxxxx\n");
		for (int i = 0; i < 64; i++)
			buf_add_cstr(&text, "ENV a=$a$a\n");
		start(&f, buf_cstr(&text), NULL, 0);
		e = dockerfile_build(ctx, &f.bridge, &res);
		assert_int_equal(err_code(e), ERR_RESOURCE_EXHAUSTED);
		err_free(e);
		fake_fini(&f);
	}
	{
		SCOPED_FRONTEND_RESULT(res);

		buf_clear(&text);
		buf_add_cstr(&text, "FROM scratch AS s0\n");
		for (int i = 1; i < 3000; i++)
			buf_addf(&text, "FROM s%d AS s%d\nCOPY --from=s%d / /\n", i - 1, i, i - 1);
		start(&f, buf_cstr(&text), NULL, 0);
		e = dockerfile_build(ctx, &f.bridge, &res);
		assert_string_equal(err_text(e), "");
		fake_fini(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forward),       cmocka_unit_test(test_git_context),
		cmocka_unit_test(test_http_context),  cmocka_unit_test(test_inputs),
		cmocka_unit_test(test_input_context), cmocka_unit_test(test_platforms),
		cmocka_unit_test(test_sbom),          cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
