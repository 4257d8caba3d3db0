/* Devices by name: files, requests, and what they change in a configuration. */
#include "place.h"

#include "exec/cdi.h"
#include "exec/seccomp.h"
#include "exec/spec.h"

#include <sys/sysmacros.h>

static const char first[] =
	"cdiVersion: \"0.6.0\"\n"
	"kind: \"vendor.com/device\"\n"
	"annotations:\n  org.mobyproject.buildkit.device.autoallow: true\n"
	"containerEdits:\n  env: [ALL=1]\n"
	"devices:\n"
	"- name: foo\n  annotations:\n    org.mobyproject.buildkit.device.class: fast\n"
	"  containerEdits:\n    env: [FOO=1, PATH=/dev]\n"
	"- name: bar\n  annotations:\n    org.mobyproject.buildkit.device.autoallow: false\n"
	"  containerEdits:\n"
	"    deviceNodes:\n    - {path: /dev/n0, hostPath: /dev/null, permissions: rw}\n"
	"    mounts:\n    - {hostPath: /etc/hostname, containerPath: /opt/h, options: [ro, bind]}\n"
	"    additionalGids: [7, 0]\n"
	"    hooks:\n    - {hookName: createRuntime, path: /bin/true, args: [true], env: [A=b]}\n";

static struct cdi_devices parse(const char *const *texts, size_t n)
{
	const struct cdi_config c = { 0 };
	struct cdi_devices d = { 0 };

	for (size_t i = 0; i < n; i++)
		assert_ok(cdi_parse(&c, str_from(texts[i]), "file", true, i, &d));
	return d;
}

static const char *names(const struct cdi_devices *d, const char *request, struct arena *a)
{
	struct cdi_found f = { 0 };
	const char *out = "";
	struct err *e = cdi_find(d, str_from(request), false, &f);

	for (size_t i = 0; i < f.list.len; i++)
		out = arena_printf(a, "%s %s", out, f.list.items[i]->name);
	if (e)
		out = arena_printf(a, "%s!%s", out, err_text(e));
	err_free(e);
	cdi_found_fini(&f);
	return out;
}

static void requests(void **state)
{
	SCOPED_ARENA(a);
	const char *const texts[] = { first };
	struct cdi_devices d = parse(texts, 1);

	assert_string_equal(names(&d, "vendor.com/device=bar", &a), " vendor.com/device=bar");
	assert_string_equal(names(&d, "vendor.com/device", &a), " vendor.com/device=foo");
	assert_string_equal(names(&d, "vendor.com/device=*", &a),
			    " vendor.com/device=foo vendor.com/device=bar");
	assert_string_equal(names(&d, "fast", &a), " vendor.com/device=foo");
	assert_string_equal(names(&d, "vendor.com/device=no", &a),
			    "!required device \"vendor.com/device=no\" is not registered");
	assert_string_equal(names(&d, "", &a), "!required device \"\" is not registered");
	/* A device's own annotation goes over the file's. */
	assert_true(d.list[0].auto_allow);
	assert_false(d.list[1].auto_allow);
	cdi_devices_fini(&d);
}

static void broken_files(void **state)
{
	static const char *const bad[] = {
		"kind: a.b/c\ndevices: [{name: x}]\n",
		"cdiVersion: 0.6.0\nkind: nothing\ndevices: [{name: x}]\n",
		"cdiVersion: 0.6.0\nkind: a.b/c\ndevices: []\n",
		"cdiVersion: 0.6.0\nkind: a.b/c\ndevices: [{name: x/y}]\n",
		"cdiVersion: 0.6.0\nkind: a.b/c\ndevices: [{name: x}, {name: x}]\n",
		"cdiVersion: 0.6.0\nkind: ../c\ndevices: [{name: x}]\n",
		"[]",
		"7",
	};
	const struct cdi_config c = { 0 };
	struct cdi_devices d = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err *e = cdi_parse(&c, str_from(bad[i]), "file", true, 0, &d);

		assert_non_null(e);
		err_free(e);
	}
	assert_int_equal(d.n, 0);
	cdi_devices_fini(&d);
}

static void directories(void **state)
{
	SCOPED_ARENA(a);
	char one[] = "/tmp/bk-cdi-XXXXXX", two[] = "/tmp/bk-cdi-XXXXXX";
	const char *const dirs[] = { mkdtemp(one), mkdtemp(two), "/nowhere" };
	const char *const allowed[] = { "v.w/y" };
	const struct cdi_config c = {
		.dirs = dirs, .n_dirs = 3, .auto_allowed = allowed, .n_auto_allowed = 1
	};
	struct cdi_devices d;

#define PUT(dir, name, text)                                                                       \
	assert_ok(file_write(AT_FDCWD, arena_printf(&a, "%s/%s", dir, name), str_from(text), 0644))
	PUT(one, "a.yaml", "cdiVersion: 0.6.0\nkind: v.w/x\ndevices: [{name: d}, {name: e}]\n");
	PUT(one, "b.json",
	    "{\"cdiVersion\":\"0.6.0\",\"kind\":\"v.w/y\",\"devices\":[{\"name\":\"d\"}]}");
	PUT(one, "c.yaml", "cdiVersion: 0.6.0\nkind: v.w/x\ndevices: [{name: e}]\n");
	PUT(one, "d.yaml", "junk");
	PUT(one, "ignored.txt", "junk");
	PUT(two, "a.yaml",
	    "cdiVersion: 0.6.0\nkind: v.w/x\nannotations: {from: two}\n"
	    "devices: [{name: d}]\n");
	cdi_load(&c, &d);
	/* e is there twice in one directory: nobody's. d is the later directory's. */
	assert_int_equal(d.n, 2);
	assert_string_equal(d.list[0].name, "v.w/x=d");
	assert_int_equal(d.list[0].n_annotations, 1);
	assert_string_equal(d.list[1].name, "v.w/y=d");
	assert_true(d.list[1].auto_allow);
	assert_false(d.list[0].auto_allow);
	assert_non_null(d.problem);
	cdi_devices_fini(&d);
	assert_ok(rmtree(AT_FDCWD, one));
	assert_ok(rmtree(AT_FDCWD, two));
}

static void changes(void **state)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(out, MIB);
	SCOPED_JSON(j);
	const char *const texts[] = { first };
	struct cdi_devices d = parse(texts, 1);
	struct cdi_found f = { 0 };
	struct str args[] = { STR("true") }, env[] = { STR("PATH=/bin"), STR("X=y") };
	struct exec_spec x = { .process = { .args = args, .n_args = 1, .env = env, .n_env = 2 } };
	struct exec_user user = { .uid = 5, .gid = 6 };
	struct seccomp sc = { 0 };
	struct spec_in in = { .exec = &x, .user = &user, .root = STR("/r"), .seccomp = &sc };
	const json_t *list, *node, *linux_part;

	assert_ok(cdi_find(&d, STR("vendor.com/device=*"), false, &f));
	assert_ok(cdi_edits(&f, &a, &x.edits));
	assert_int_equal(x.edits->n_mounts, 1);
	spec_write(&in, &out);
	assert_ok(json_read(buf_str(&out), "spec", &j));
	list = json_object_get(json_object_get(j, "process"), "env");
	assert_int_equal(json_array_size(list), 4);
	assert_string_equal(json_string_value(json_array_get(list, 0)), "X=y");
	assert_string_equal(json_string_value(json_array_get(list, 1)), "ALL=1");
	assert_string_equal(json_string_value(json_array_get(list, 3)), "PATH=/dev");
	list = json_object_get(json_object_get(json_object_get(j, "process"), "user"),
			       "additionalGids");
	assert_int_equal(json_array_size(list), 2);
	assert_int_equal(json_integer_value(json_array_get(list, 1)), 7);
	linux_part = json_object_get(j, "linux");
	node = json_array_get(json_object_get(linux_part, "devices"), 0);
	assert_int_equal(json_get_int(node, "major", 0), 1);
	assert_int_equal(json_get_int(node, "minor", 0), 3);
	assert_int_equal(json_get_int(node, "uid", 0), 5);
	list = json_object_get(json_object_get(linux_part, "resources"), "devices");
	assert_int_equal(json_array_size(list), 2);
	assert_false(json_get_bool(json_array_get(list, 0), "allow", true));
	assert_true(json_get_bool(json_array_get(list, 1), "allow", false));
	list = json_object_get(json_object_get(j, "hooks"), "createRuntime");
	assert_int_equal(json_array_size(list), 1);
	assert_null(json_object_get(json_array_get(list, 0), "hookName"));
	cdi_found_fini(&f);
	cdi_devices_fini(&d);
}

static void bad_edits(void **state)
{
	static const char *const bad[] = {
		"env: [=x]",
		"env: [7]",
		"deviceNodes: [{path: relative}]",
		"deviceNodes: [{path: /dev/x, type: z}]",
		"deviceNodes: [{path: /dev/null, permissions: rwx}]",
		"deviceNodes: [{path: /dev/none/such}]",
		"deviceNodes: [{path: /etc/passwd}]",
		"deviceNodes: [{path: /dev/null, type: b}]",
		"mounts: [{hostPath: /x}]",
		"mounts: [{hostPath: /x, containerPath: y}]",
		"mounts: [{hostPath: /x, containerPath: /y, options: [1,2,3,4,5,6,7,8,9,10]}]",
		"hooks: [{hookName: no, path: /x}]",
		"hooks: [{hookName: prestart}]",
		"netDevices: [{hostInterfaceName: eth0, name: eth1}]",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		SCOPED_ARENA(a);
		const char *text = arena_printf(&a,
						"cdiVersion: 0.6.0\nkind: v.w/x\ndevices:\n"
						"- name: d\n  containerEdits: {%s}\n",
						bad[i]);
		struct cdi_devices d = parse(&text, 1);
		struct cdi_found f = { 0 };
		const struct exec_edits *edits;
		struct err *e;

		assert_ok(cdi_find(&d, STR("v.w/x=d"), false, &f));
		e = cdi_edits(&f, &a, &edits);
		assert_true(str_has_prefix(str_from(err_text(e)),
					   STR("CDI device injection failed: v.w/x=d: ")));
		err_free(e);
		cdi_found_fini(&f);
		cdi_devices_fini(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests),    cmocka_unit_test(broken_files),
		cmocka_unit_test(directories), cmocka_unit_test(changes),
		cmocka_unit_test(bad_edits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
