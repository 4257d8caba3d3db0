/* Plans of the native runner, its filter, and device rules. Whole steps: the other tests of this
 * folder run with BK_TEST_RUNTIME=native too. */
#include "place.h"

#include "exec/native_compile.h"
#include "exec/seccomp.h"
#include "sys/cgroup.h"
#include "sys/cgroup_devices.h"

#include <errno.h>
#include <linux/filter.h>

static void numbers_and_strings(void **state)
{
	SCOPED_BUF(b, KIB);
	struct plan_reader r;

	plan_put_op(&b, PLAN_CWD);
	plan_put_str(&b, STR("/work"));
	plan_put_num(&b, UINT64_MAX);
	r = (struct plan_reader) { .p = b.data, .end = b.data + b.len };
	assert_int_equal(plan_get_op(&r), PLAN_CWD);
	assert_string_equal(plan_get_str(&r).ptr, "/work");
	assert_true(plan_get_num(&r) == UINT64_MAX);
	assert_false(r.bad);
	assert_int_equal(plan_get_op(&r), PLAN_END);
	assert_true(r.bad);
}

/* However it is cut, reading ends and nothing past the end is looked at. */
static void cut_plans(void **state)
{
	SCOPED_BUF(b, KIB);

	plan_put_op(&b, PLAN_CWD);
	plan_put_str(&b, STR("/work"));
	plan_put_num(&b, 7);
	for (size_t n = 0; n < b.len; n++) {
		CLEANUP_FREE char *copy = mem_alloc(n + 1);
		struct plan_reader r = { .p = copy, .end = copy + n };

		memcpy(copy, b.data, n);
		(void)plan_get_op(&r);
		(void)plan_get_str(&r);
		assert_true(plan_get_num(&r) == 0);
		assert_true(r.bad);
	}
}

static struct err *compile(const char *text)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(plan, MIB);
	SCOPED_JSON(j);
	struct native_config c;

	assert_ok(json_read(str_from(text), "test", &j));
	return native_compile(j, STR_NONE, &a, &c, &plan);
}

#define PROCESS "\"process\":{\"args\":[\"true\"],\"cwd\":\"/\"}"

static void refusals(void **state)
{
	assert_ok(compile("{" PROCESS "}"));
	assert_err(compile("{\"process\":{\"args\":[]}}"),
		   "no process arguments: args must not be empty");
	assert_err(compile("{\"process\":{\"args\":[\"\"]}}"),
		   "no process arguments: args must not be empty");
	assert_err(compile("{}"), "no process arguments: args must not be empty");
	assert_err(compile("{" PROCESS ",\"hooks\":{\"prestart\":[]}}"),
		   "section hooks is not supported by the native runner");
	assert_err(compile("{" PROCESS ",\"linux\":{\"namespaces\":[{\"type\":\"time\"}]}}"),
		   "namespace time is not supported by the native runner");
	assert_err(compile("{" PROCESS ",\"linux\":{\"namespaces\":[{\"type\":\"ipc\","
			   "\"path\":\"/proc/1/ns/ipc\"}]}}"),
		   "path of namespace ipc is not supported by the native runner");
	assert_err(compile("{" PROCESS ",\"mounts\":[{\"destination\":\"x\",\"type\":\"tmpfs\"}]}"),
		   "mount destination x is not absolute");
	assert_err(compile("{" PROCESS ",\"mounts\":[{\"destination\":\"/proc/../proc/fs\","
			   "\"type\":\"bind\",\"source\":\"/\"}]}"),
		   "/proc/fs cannot be mounted because it is inside /proc");
	assert_err(compile("{" PROCESS ",\"mounts\":[{\"destination\":\"/x\",\"type\":\"bind\","
			   "\"source\":\"/\",\"options\":[\"idmap\"]}]}"),
		   "mount option idmap is not supported by the native runner");
	assert_err(
		compile("{\"process\":{\"args\":[\"a\"],\"rlimits\":[{\"type\":\"RLIMIT_X\"}]}}"),
		"invalid rlimit type: RLIMIT_X");
	assert_err(compile("{\"process\":{\"args\":[\"a\"],\"capabilities\":"
			   "{\"effective\":[\"CAP_X\"]}}}"),
		   "unknown capability CAP_X");
}

static void filter(void **state)
{
	struct seccomp s = seccomp_probe();
	SCOPED_BUF(b, MIB);

	if (!s.supported)
		skip();
	assert_ok(seccomp_compile(&s, &b));
	assert_true(b.len > 100 * sizeof(struct sock_filter));
	assert_int_equal(b.len % sizeof(struct sock_filter), 0);
	assert_true(b.len / sizeof(struct sock_filter) <= BPF_MAXINSNS);
}

/* Version 2's program decides, whatever version 1 has: in the unified hierarchy of a hybrid too. */
static void device_program(void **state)
{
	SCOPED_ARENA(a);
	static const struct device_rule rules[] = {
		{ 'c', 1, 3, DEVICE_ALL },
		{ 'c', 1, 5, DEVICE_READ },
		{ 'c', -1, -1, DEVICE_MKNOD },
	};
	const char *dir = cgroup_unified_dir("/bk-test-devices", &a);

	NEED_RUNC();
	if (!dir) {
		print_message("skipped: no unified hierarchy\n");
		skip();
	}
	assert_true(mkdir(dir, 0755) == 0 || errno == EEXIST);
	assert_ok(cgroup_attach_devices(dir, rules, ARRAY_SIZE(rules)));
	run_tool(arena_printf(&a,
			      "sh -ec 'echo 0 >%s/cgroup.procs; cd %s; echo >/dev/null; "
			      "head -c1 /dev/zero >/dev/null; "
			      "if (echo >/dev/zero) 2>/dev/null; then exit 1; fi; "
			      "if head -c1 /dev/urandom 2>/dev/null; then exit 2; fi; "
			      "mknod c.node c 9 9; rm c.node; "
			      "if mknod b.node b 7 1 2>/dev/null; then exit 3; fi'",
			      dir, here.dir));
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_and_strings),
		cmocka_unit_test(cut_plans),
		cmocka_unit_test(refusals),
		cmocka_unit_test(filter),
		cmocka_unit_test(device_program),
	};

	return cmocka_run_group_tests_name("exec/native", tests, place_setup, place_teardown);
}
