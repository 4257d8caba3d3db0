/* What needs neither root nor a runtime: files made or read. */
#include "place.h"

#include "base/json.h"
#include "exec/hosts.h"
#include "exec/resolvconf.h"
#include "exec/seccomp.h"
#include "exec/spec.h"
#include "exec/stubs.h"
#include "exec/users.h"

static int rootfd = -1;

static int setup(void **state)
{
	(void)snprintf(here.dir, sizeof(here.dir), "/tmp/bk-text-XXXXXX");
	assert_non_null(mkdtemp(here.dir));
	assert_ok(fd_open_dir(AT_FDCWD, here.dir, &rootfd));
	assert_ok(file_mkdirs(rootfd, "etc", 0755));
	return 0;
}

static int teardown(void **state)
{
	(void)close(rootfd);
	assert_ok(rmtree(AT_FDCWD, here.dir));
	return 0;
}

/* ---- resolv.conf ---- */

static void assert_resolv(const char *source, const struct resolvconf_opts *o, const char *wanted)
{
	SCOPED_BUF(out, MIB);

	assert_ok(resolvconf_make(str_from(source), o, &out));
	assert_string_equal(buf_cstr(&out), wanted);
}

#define PUBLIC                                                                                     \
	"nameserver 8.8.8.8\nnameserver 8.8.4.4\nnameserver 2001:4860:4860::8888\nnameserver "     \
	"2001:4860:4860::8844\n"

static void resolv_conf(void **state)
{
	static const char *const servers[] = { "127.0.0.1", "fe80::1%eth0" },
				 *const dot[] = { "." }, *const bad[] = { "example.com" };
	struct resolvconf_opts o = { 0 }, host = { .host_net = true };

	assert_resolv(
		"# comment\n; other\n\n  nameserver\t1.2.3.4 \nnameserver junk\nnameserver ::2\n"
		"domain old\nsearch  a  b\noptions x\noptions y z\nsortlist 1.0.0.0\n",
		&o,
		"nameserver 1.2.3.4\nnameserver ::2\nsearch a b\noptions x y z\n"
		"sortlist 1.0.0.0\n");
	assert_resolv("", &o, PUBLIC);
	assert_resolv("", &host, PUBLIC);
	assert_resolv("nameserver 127.0.0.53\nnameserver ::1\noptions edns0", &o,
		      PUBLIC "options edns0\n");
	assert_resolv("nameserver 127.0.0.53\nnameserver 1.1.1.1\n", &o, "nameserver 1.1.1.1\n");
	assert_resolv("nameserver 127.0.0.53\n", &host, "nameserver 127.0.0.53\n");
	o.nameservers = servers;
	o.n_nameservers = 2;
	o.search = dot;
	o.n_search = 1;
	assert_resolv("nameserver 1.2.3.4\nsearch a\n", &o,
		      "nameserver 127.0.0.1\nnameserver fe80::1%eth0\n");
	o.nameservers = bad;
	o.n_nameservers = 1;
	SCOPED_BUF(out, MIB);
	assert_err(resolvconf_make(STR_NONE, &o, &out), "bad nameserver address: example.com");
}

static void hosts(void **state)
{
	const struct exec_kv more[] = { { STR("a"), STR("1.2.3.4") } };
	SCOPED_BUF(out, MIB);

	hosts_make(STR_NONE, more, 1, &out);
	assert_string_equal(buf_cstr(&out), "127.0.0.1\tlocalhost buildkitsandbox\n"
					    "::1\tlocalhost ip6-localhost ip6-loopback\n"
					    "1.2.3.4\ta\n");
}

/* ---- users ---- */

static void files(const char *passwd, const char *group)
{
	assert_ok(file_write(rootfd, "etc/passwd", str_from(passwd), 0644));
	assert_ok(file_write(rootfd, "etc/group", str_from(group), 0644));
}

static void assert_user(const char *user, uint32_t uid, uint32_t gid, size_t n_groups)
{
	SCOPED_ARENA(a);
	struct exec_user u;

	assert_ok(users_lookup(rootfd, str_from(user), &a, &u));
	assert_int_equal(u.uid, uid);
	assert_int_equal(u.gid, gid);
	assert_int_equal(u.n_groups, n_groups);
}

static void assert_no_user(const char *user, const char *text)
{
	SCOPED_ARENA(a);
	struct exec_user u;

	assert_err(users_lookup(rootfd, str_from(user), &a, &u), text);
}

static void users(void **state)
{
	files("# comment\n\nbroken\nodd:x:one:two\nroot:x:0:0:r:/root:/bin/sh\r\n ann : x : 5 : 6 "
	      "::/:\n"
	      "5:x:7:8::/:\nlast:x:9:10",
	      "root:x:0:\nmany:x:11:bob,ann,last\nmore:x:12:ann\n13:x:14:\nno:x:y:ann");
	assert_user("", 0, 0, 0);
	assert_user("root", 0, 0, 0);
	assert_user("ann", 5, 6, 2);
	/* The first that fits, by name or by number. */
	assert_user("5", 5, 6, 2);
	assert_user("last", 9, 10, 1);
	assert_user("77", 77, 0, 0);
	assert_user("77:88", 77, 88, 0);
	assert_user("root:88", 0, 88, 0);
	assert_user("ann:more", 5, 12, 0);
	assert_user("ann:13", 5, 14, 0);
	assert_user("77:more", 77, 12, 0);
	assert_user(":more", 0, 12, 0);
	assert_user("4294967295:1", UINT32_MAX, 1, 0);
	assert_no_user("odd", "unable to find user odd: no matching entries in passwd file");
	assert_no_user("broken", "unable to find user broken: no matching entries in passwd file");
	assert_no_user("-1", "unable to find user -1: no matching entries in passwd file");
	assert_no_user("4294967295", "uids and gids must be in range 0-2147483647");
	assert_no_user("ann:no", "unable to find group no: no matching entries in group file");
	assert_no_user("ann:4294967295", "uids and gids must be in range 0-2147483647");
}

static void user_files_that_are_none(void **state)
{
	SCOPED_ARENA(a);
	struct exec_user u;
	struct err *e;

	assert_ok(file_unlink(rootfd, "etc/passwd"));
	assert_ok(file_unlink(rootfd, "etc/group"));
	assert_user("", 0, 0, 0);
	assert_user("1", 1, 0, 0);
	assert_no_user("ann", "unable to find user ann: no matching entries in passwd file");
	/* Neither a pipe to hang on nor a link out of the root. */
	assert_int_equal(mkfifoat(rootfd, "etc/passwd", 0644), 0);
	e = users_lookup(rootfd, STR("ann"), &a, &u);
	assert_non_null(e);
	err_free(e);
	assert_ok(file_unlink(rootfd, "etc/passwd"));
	assert_int_equal(symlinkat("/etc/hostname", rootfd, "etc/passwd"), 0);
	assert_no_user("ann", "unable to find user ann: no matching entries in passwd file");
	assert_ok(file_unlink(rootfd, "etc/passwd"));
	assert_int_equal(openat(rootfd, "etc/passwd", O_CREAT | O_WRONLY | O_CLOEXEC, 0644) >= 0,
			 1);
	assert_int_equal(
		truncate(arena_printf(&a, "%s/etc/passwd", here.dir), (off_t)LIMIT_PASSWD_FILE + 1),
		0);
	e = users_lookup(rootfd, STR("ann"), &a, &u);
	assert_int_equal(err_code(e), ERR_RESOURCE_EXHAUSTED);
	err_free(e);
}

/* ---- stubs ---- */

static void stubs(void **state)
{
	SCOPED_ARENA(a);
	struct stubs s = { 0 };

	assert_ok(file_mkdirs(rootfd, "there/x", 0755));
	assert_int_equal(symlinkat("/there", rootfd, "link"), 0);
	assert_int_equal(symlinkat("../../../../tmp", rootfd, "out"), 0);
	stubs_note(&s, rootfd, STR("/there/x"), true, &a);
	assert_int_equal(s.n, 0);
	stubs_note(&s, rootfd, STR("/"), true, &a);
	assert_int_equal(s.n, 0);
	stubs_note(&s, rootfd, STR("/link/new/dir"), false, &a);
	assert_int_equal(s.n, 1);
	assert_true(str_eq(s.paths[0], STR("/there/new/dir")));
	stubs_note(&s, rootfd, STR("/link/other/dir"), true, &a);
	assert_int_equal(s.n, 3);
	/* Made by whatever ran; one has got something in it. */
	assert_ok(file_mkdirs(rootfd, "there/new/dir", 0755));
	assert_ok(file_mkdirs(rootfd, "there/other", 0755));
	assert_ok(file_write(rootfd, "there/other/dir", STR("text"), 0644));
	stubs_remove(&s, rootfd);
	assert_false(file_exists(rootfd, "there/new/dir"));
	assert_true(file_exists(rootfd, "there/new"));
	assert_true(file_exists(rootfd, "there/other/dir"));
	assert_ok(file_write(rootfd, "there/other/dir", STR(""), 0644));
	stubs_remove(&s, rootfd);
	assert_false(file_exists(rootfd, "there/other"));
	/* A parent that became a link leads nowhere. */
	assert_ok(file_mkdirs(rootfd, "victim/dir", 0755));
	assert_int_equal(renameat(rootfd, "there/new", rootfd, "there/old"), 0);
	assert_int_equal(symlinkat("/victim", rootfd, "there/new"), 0);
	stubs_remove(&s, rootfd);
	assert_true(file_exists(rootfd, "victim/dir"));
}

/* ---- the specification ---- */

static json_t *spec_of(const struct exec_spec *x, struct spec_in in)
{
	static const struct exec_user root = { 0 };
	struct seccomp sec = { .supported = true, .x32 = true };
	SCOPED_BUF(out, 16 * MIB);
	json_t *j = NULL;

	in.exec = x;
	in.user = in.user ? in.user : &root;
	in.seccomp = &sec;
	in.root = STR("/r");
	spec_write(&in, &out);
	assert_false(out.overflow);
	assert_ok(json_read(buf_str(&out), "spec", &j));
	return j;
}

/* The compact JSON of a member by a path of keys. */
static void assert_member(const json_t *j, const char *path, const char *wanted)
{
	SCOPED_BUF(out, 16 * MIB);
	struct str rest = str_from(path), key;
	struct json_out o;

	while (j && rest.len && str_next(&rest, '.', &key)) {
		SCOPED_ARENA(a);

		j = json_object_get(j, str_cstr(&a, key));
	}
	if (!wanted) {
		assert_null(j);
		return;
	}
	assert_non_null(j);
	json_out_init(&o, &out, NULL);
	json_value(&o, j);
	assert_string_equal(buf_cstr(&out), wanted);
}

static void specification(void **state)
{
	struct str args[] = { STR("a"), STR("b c") };
	struct exec_ulimit u[] = { { STR("nofile"), 5, 100 } };
	uint32_t groups[] = { 3, 2, 9 };
	struct exec_user user = { 1, 2, groups, 3 };
	struct exec_spec x = { .process = { .args = args, .n_args = 2, .tty = true },
			       .root_readonly = true,
			       .memory = 1000,
			       .memory_swap = -1,
			       .cpu_quota = 5,
			       .cpu_period = 6,
			       .cpu_shares = 7,
			       .cpuset_cpus = STR("0"),
			       .cpuset_mems = STR("1"),
			       .ulimits = u,
			       .n_ulimits = 1 };
	json_t *j = spec_of(&x, (struct spec_in) { .user = &user,
						   .cgroup = STR("/c"),
						   .new_netns = true,
						   .cgroup_ns = true,
						   .apparmor = STR("prof") });

	assert_member(j, "process.args", "[\"a\",\"b c\"]");
	assert_member(j, "process.env", "[]");
	assert_member(j, "process.cwd", "\"/\"");
	assert_member(j, "process.terminal", "true");
	assert_member(j, "process.user", "{\"additionalGids\":[2,3,9],\"gid\":2,\"uid\":1}");
	assert_member(j, "process.rlimits",
		      "[{\"hard\":100,\"soft\":5,\"type\":\"RLIMIT_NOFILE\"}]");
	assert_member(j, "process.apparmorProfile", "\"prof\"");
	assert_member(j, "process.noNewPrivileges", NULL);
	assert_member(j, "root", "{\"path\":\"/r\",\"readonly\":true}");
	assert_member(j, "hostname", "\"buildkitsandbox\"");
	assert_member(j, "linux.cgroupsPath", "\"/c\"");
	assert_member(
		j, "linux.resources",
		"{\"cpu\":{\"cpus\":\"0\",\"mems\":\"1\",\"period\":6,\"quota\":5,\"shares\":7},"
		"\"devices\":[{\"access\":\"rwm\",\"allow\":false}],\"memory\":{\"limit\":1000,"
		"\"swap\":-1}}");
	assert_member(
		j, "linux.namespaces",
		"[{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"mount\"},"
		"{\"type\":\"network\"},{\"type\":\"cgroup\"}]");
	assert_member(j, "linux.seccomp.defaultAction", "\"SCMP_ACT_ERRNO\"");
	json_decref(j);
	x.ulimits = NULL;
	x.n_ulimits = 0;
	x.insecure = true;
	j = spec_of(&x, (struct spec_in) { .apparmor = STR("prof"), .netns = STR("/ns") });
	assert_member(j, "process.rlimits", NULL);
	assert_member(j, "process.apparmorProfile", NULL);
	assert_member(j, "linux.seccomp", NULL);
	assert_member(j, "linux.maskedPaths", NULL);
	assert_member(j, "linux.cgroupsPath", NULL);
	assert_member(
		j, "linux.namespaces",
		"[{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"mount\"},"
		"{\"path\":\"/ns\",\"type\":\"network\"}]");
	json_decref(j);
}

static void without_a_process_sandbox(void **state)
{
	struct str arg = STR("a");
	struct exec_spec x = { .process = { .args = &arg, .n_args = 1 } };
	json_t *j = spec_of(&x, (struct spec_in) { .rootless = true, .host_pid = true });

	assert_member(j, "linux.namespaces",
		      "[{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"mount\"}]");
	assert_member(j, "linux.resources", NULL);
	assert_member(j, "linux.readonlyPaths", "[]");
	assert_member(j, "linux.maskedPaths",
		      "[\"/sys/firmware\",\"/sys/devices/virtual/powercap\"]");
	assert_member(
		json_array_get(json_object_get(j, "mounts"), 0), "",
		"{\"destination\":\"/proc\",\"options\":[\"rbind\"],\"source\":\"/proc\",\"type\":"
		"\"bind\"}");
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resolv_conf),
		cmocka_unit_test(hosts),
		cmocka_unit_test(users),
		cmocka_unit_test(user_files_that_are_none),
		cmocka_unit_test(stubs),
		cmocka_unit_test(specification),
		cmocka_unit_test(without_a_process_sandbox),
	};

	return cmocka_run_group_tests_name("exec/text", tests, setup, teardown);
}
