/* Plugins are shell scripts that note what they are given. */
#include "place.h"

#include "exec/cni.h"

static const char *const two =
	"{\"cniVersion\":\"1.0.0\",\"name\":\"net\",\"plugins\":[{\"type\":\"one\",\"key\":1,"
	"\"prevResult\":{}},{\"type\":\"two\"}]}";

static int setup(void **state)
{
	here.pool = task_pool_new();
	here.ctx = ctx_new_root(here.pool);
	(void)snprintf(here.dir, sizeof(here.dir), "/tmp/bk-cni-XXXXXX");
	assert_non_null(mkdtemp(here.dir));
	return 0;
}

static int teardown(void **state)
{
	assert_ok(rmtree(AT_FDCWD, here.dir));
	ctx_unref(here.ctx);
	task_pool_free(here.pool);
	return 0;
}

/* A plugin that notes its call in the file `calls`, then does `script`. */
static void make_plugin(const char *name, const char *script)
{
	SCOPED_ARENA(a);

	assert_ok(
		file_write(AT_FDCWD, at(&a, name),
			   str_from(arena_printf(
				   &a,
				   "#!/bin/sh\n"
				   "echo \"%s $CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME "
				   "$CNI_ARGS $CNI_PATH $(cat)\" >>%s/calls\n%s\n",
				   name, here.dir, script)),
			   0755));
}

static struct cni *parse(const char *text, bool single)
{
	const char *const dirs[] = { "/nowhere", here.dir, NULL };
	struct cni *c = NULL;

	assert_ok(cni_parse(str_from(text), single, "test", dirs, &c));
	return c;
}

static const struct cni_attachment where = { "box", "/ns/box", "eth0", { "name", 4 } };

static void assert_calls(const char *wanted)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(got, MIB);

	assert_ok(file_read(AT_FDCWD, at(&a, "calls"), &got));
	assert_ok(file_unlink(AT_FDCWD, at(&a, "calls")));
	assert_string_equal(buf_cstr(&got), wanted);
}

#define CALL(name, command)                                                                        \
	name " " command " box /ns/box eth0 K8S_POD_NAME=name;IgnoreUnknown=1 /nowhere:%s "

static void a_list_of_two(void **state)
{
	SCOPED_ARENA(a);
	struct cni *c = parse(two, false);
	struct str result;

	make_plugin("one", "test $CNI_COMMAND = DEL || echo '{\"ips\":[1]}'");
	make_plugin("two", "test $CNI_COMMAND = DEL || echo '{\"ips\":[2]}'");
	assert_ok(cni_add(c, here.ctx, &where, &a, &result));
	assert_true(str_eq(result, STR("{\"ips\":[2]}")));
	assert_calls(arena_printf(
		&a,
		CALL("one", "ADD") "{\"type\":\"one\",\"key\":1,\"name\":\"net\",\"cniVersion\":"
				   "\"1.0.0\"}\n" CALL("two",
						       "ADD") "{\"type\":\"two\",\"name\":\"net\","
							      "\"cniVersion\":\"1.0.0\","
							      "\"prevResult\":{\"ips\":[1]}}\n",
		here.dir, here.dir));
	assert_ok(cni_del(c, here.ctx, &where, result));
	assert_calls(arena_printf(
		&a,
		CALL("two", "DEL") "{\"type\":\"two\",\"name\":\"net\",\"cniVersion\":\"1.0.0\","
				   "\"prevResult\":{\"ips\":[2]}}\n" CALL(
					   "one", "DEL") "{\"type\":\"one\",\"key\":1,\"name\":"
							 "\"net\",\"cniVersion\":\"1.0.0\","
							 "\"prevResult\":{\"ips\":[2]}}\n",
		here.dir, here.dir));
	cni_free(c);
}

static void a_failure_is_undone(void **state)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(got, MIB);
	struct cni *c = parse(two, false);
	struct str result;

	make_plugin("one", "test $CNI_COMMAND = DEL || echo '{\"ips\":[1]}'");
	make_plugin("two", "test $CNI_COMMAND = DEL || { echo '{\"code\":7,\"msg\":\"no luck\","
			   "\"details\":\"at all\"}'; exit 1; }");
	assert_err(cni_add(c, here.ctx, &where, &a, &result),
		   "plugin type=\"two\" name=\"net\" failed (add): no luck; at all");
	assert_ok(file_read(AT_FDCWD, at(&a, "calls"), &got));
	assert_non_null(strstr(buf_cstr(&got), "one DEL"));
	assert_ok(file_unlink(AT_FDCWD, at(&a, "calls")));
	make_plugin("two", "echo broken >&2; exit 2");
	assert_err(cni_add(c, here.ctx, &where, &a, &result),
		   "plugin type=\"two\" name=\"net\" failed (add): netplugin failed with no error "
		   "message: broken");
	make_plugin("two", "echo '{'");
	SCOPED_ERR(e);
	e = cni_add(c, here.ctx, &where, &a, &result);
	assert_non_null(strstr(err_text(e), "result of netplugin"));
	cni_free(c);
}

static void a_single_plugin(void **state)
{
	SCOPED_ARENA(a);
	struct cni *c = parse("{\"type\":\"one\",\"name\":\"n\",\"x\":[]}", true);
	struct str result;

	err_free(file_unlink(AT_FDCWD, at(&a, "calls")));
	make_plugin("one", "");
	assert_ok(cni_add(c, here.ctx, &where, &a, &result));
	assert_int_equal(result.len, 0);
	assert_calls(arena_printf(
		&a,
		CALL("one", "ADD") "{\"type\":\"one\",\"x\":[],\"name\":\"n\",\"cniVersion\":"
				   "\"0.1.0\"}\n",
		here.dir));
	cni_free(c);
}

static void missing_plugin(void **state)
{
	SCOPED_ARENA(a);
	struct cni *c = parse("{\"type\":\"none\",\"name\":\"n\"}", true);
	struct str result;

	assert_err(cni_add(c, here.ctx, &where, &a, &result),
		   arena_printf(&a,
				"plugin type=\"none\" name=\"n\" failed (add): failed to find "
				"plugin \"none\" in path [/nowhere %s]",
				here.dir));
	cni_free(c);
}

static void junk(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"{}",
		"{\"name\":\"x\"}",
		"{\"name\":\"x\",\"plugins\":[]}",
		"{\"name\":\"x\",\"plugins\":[1]}",
		"{\"name\":\"x\",\"plugins\":[{\"type\":\"../a\"}]}",
	};
	const char *const dirs[] = { "/", NULL };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct cni *c = NULL;
		struct err *e = cni_parse(str_from(texts[i]), false, "test", dirs, &c);

		assert_int_equal(err_code(e), ERR_INVALID_ARGUMENT);
		err_free(e);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_of_two),
		cmocka_unit_test(a_failure_is_undone),
		cmocka_unit_test(a_single_plugin),
		cmocka_unit_test(missing_plugin),
		cmocka_unit_test(junk),
	};

	return cmocka_run_group_tests_name("exec/cni", tests, setup, teardown);
}
