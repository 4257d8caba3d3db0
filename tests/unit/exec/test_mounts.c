/* Roots and mounts of all kinds, and what is left of them in the root. */
#include "place.h"

#include <sys/mount.h>

static void put(const char *path, const char *text)
{
	SCOPED_ARENA(a);

	assert_ok(file_write(AT_FDCWD, at(&a, path), str_from(text), 0644));
}

/* A directory with the usual things in it. */
static void make_source(const char *name)
{
	SCOPED_ARENA(a);

	run_tool(arena_printf(
		&a,
		"rm -rf %s/%s; mkdir -p %s/%s/dir/sub; cd %s/%s; echo top >top; echo inner "
		">dir/inner; ln -s /dir abs; ln -s ../../../../../../etc up; ln -s "
		"/etc/passwd out",
		here.dir, name, here.dir, name, here.dir, name));
}

static struct mounts bind_of(struct arena *a, const char *name)
{
	return (struct mounts) { .kind = MOUNT_BIND, .source = str_from(at(a, name)) };
}

static void use(struct step *s, struct exec_mount *m, size_t n)
{
	s->spec.mounts = m;
	s->spec.n_mounts = n;
}

static void overlay_root(void **state)
{
	NEED_RUNC();
	STEP(s, "echo new >/new; rm /etc/group; cat /upper; ls /bin/true");
	SCOPED_ARENA(a);
	struct str lowers[] = { str_from(at(&a, "root")) };

	run_tool(arena_printf(&a, "mkdir -p %s/up %s/work; echo there >%s/up/upper", here.dir,
			      here.dir, here.dir));
	s.root = (struct mounts) { .kind = MOUNT_OVERLAY,
				   .lowers = lowers,
				   .n_lowers = 1,
				   .upper = str_from(at(&a, "up")),
				   .work = str_from(at(&a, "work")),
				   .is_volatile = true };
	s.spec.remove_stubs_recursive = true;
	assert_ok(run_step(&s));
	assert_string_equal(OUT(s), "there\n/bin/true\n");
	/* The upper directory has the step's changes and nothing of ours. */
	run_tool(arena_printf(
		&a,
		"cd %s/up; test \"$(echo $(ls))\" = 'dev etc new proc sys upper'; "
		"test \"$(ls etc)\" = group; test -c etc/group; ! ls /proc/self/mountinfo "
		"| grep %s/up",
		here.dir, here.dir));
	/* The root itself, after it. */
	assert_true(file_exists(AT_FDCWD, at(&a, "root/etc/group")));
}

static void binds(void **state)
{
	NEED_RUNC();
	STEP(s,
	     "cat /rw/top; echo w >/rw/written; echo w 2>/dev/null >/deep/er/ro/x || echo no; cat "
	     "/deep/er/ro/dir/inner /file");
	struct mounts src, file;
	struct exec_mount m[] = { { .dest = STR("/rw"), .mounts = &src },
				  { .dest = STR("/deep/er/ro"), .mounts = &src, .readonly = true },
				  { .dest = STR("/file"), .mounts = &file, .is_file = true } };

	make_source("src");
	src = bind_of(&s.a, "src");
	file = bind_of(&s.a, "src/top");
	use(&s, m, 3);
	assert_ok(run_step(&s));
	assert_string_equal(OUT(s), "top\nno\ninner\ntop\n");
	assert_true(file_exists(AT_FDCWD, at(&s.a, "src/written")));
	/* Only the last component goes, unless asked. */
	assert_false(file_exists(AT_FDCWD, at(&s.a, "root/rw")));
	assert_false(file_exists(AT_FDCWD, at(&s.a, "root/file")));
	assert_false(file_exists(AT_FDCWD, at(&s.a, "root/deep/er/ro")));
	assert_true(file_exists(AT_FDCWD, at(&s.a, "root/deep/er")));
	STEP(again, "true");
	run_tool(arena_printf(&s.a, "rm -r %s/root/deep", here.dir));
	use(&again, m, 3);
	again.spec.remove_stubs_recursive = true;
	assert_ok(run_step(&again));
	assert_false(file_exists(AT_FDCWD, at(&s.a, "root/deep")));
}

static void selectors(void **state)
{
	NEED_RUNC();
	STEP(s, "cat /a/inner /b/inner /c; echo x >/a/new");
	STEP(bad, "");
	struct mounts src;
	struct exec_mount m[] = {
		{ .dest = STR("/a"), .mounts = &src, .selector = STR("/dir") },
		{ .dest = STR("/b"), .mounts = &src, .selector = STR("abs") },
		{ .dest = STR("/c"), .mounts = &src, .selector = STR("dir/../top") }
	};

	make_source("src");
	src = bind_of(&s.a, "src");
	use(&s, m, 3);
	assert_ok(run_step(&s));
	assert_string_equal(OUT(s), "inner\ninner\ntop\n");
	assert_true(file_exists(AT_FDCWD, at(&s.a, "src/dir/new")));
	use(&bad, m, 1);
	m[0].selector = STR("/nope");
	assert_err(run_step(&bad), "open /nope: no such file or directory");
	/* Links can't lead out of the source. */
	m[0].selector = STR("/out");
	assert_err(run_step(&bad), "open /out: no such file or directory");
	m[0].selector = STR("/up");
	assert_err(run_step(&bad), "open /up: no such file or directory");
	m[0].selector = STR("/../../../../../../../../../../etc/passwd");
	assert_err(run_step(&bad),
		   "open /../../../../../../../../../../etc/passwd: no such file or "
		   "directory");
}

static void overlay_and_tmpfs(void **state)
{
	NEED_RUNC();
	STEP(s, "cat /o/top /o/extra; echo w >/o/written; grep ' /t ' /proc/self/mounts | grep -o "
		"'size=[0-9a-z]*'; dd if=/dev/zero of=/t/big bs=1024 count=100 2>/dev/null || echo "
		"full; "
		"touch /tro/x 2>/dev/null || echo ro");
	struct mounts over, tmp = { .kind = MOUNT_TMPFS, .size = 65536 },
			    plain = { .kind = MOUNT_TMPFS };
	struct str lowers[2];
	struct exec_mount m[] = {
		{ .dest = STR("/o"), .mounts = &over },
		{ .dest = STR("/t"), .mounts = &tmp },
		{ .dest = STR("/tro"), .mounts = &plain, .readonly = true },
		{ .dest = STR("/osel"), .mounts = &over, .selector = STR("dir/inner") }
	};

	make_source("low1");
	run_tool(arena_printf(&s.a,
			      "rm -rf %s/low2 %s/oup %s/owork; mkdir %s/low2 %s/oup %s/owork; echo "
			      "extra >%s/low2/extra",
			      here.dir, here.dir, here.dir, here.dir, here.dir, here.dir,
			      here.dir));
	lowers[0] = str_from(at(&s.a, "low2"));
	lowers[1] = str_from(at(&s.a, "low1"));
	over = (struct mounts) { .kind = MOUNT_OVERLAY,
				 .lowers = lowers,
				 .n_lowers = 2,
				 .upper = str_from(at(&s.a, "oup")),
				 .work = str_from(at(&s.a, "owork")) };
	use(&s, m, 3);
	assert_ok(run_step(&s));
	assert_string_equal(OUT(s), "top\nextra\nsize=64k\nfull\nro\n");
	assert_true(file_exists(AT_FDCWD, at(&s.a, "oup/written")));
	/* A read-only one of several, and part of it. */
	STEP(ro, "cat /o/extra /osel; touch /o/x 2>/dev/null || echo ro");
	m[1] = m[3];
	over.upper = over.work = STR_NONE;
	use(&ro, m, 2);
	assert_ok(run_step(&ro));
	assert_string_equal(OUT(ro), "extra\ninner\nro\n");
}

struct half {
	const char *mine, *other;
	struct mounts *over;
};

/* Makes a file and waits for the other step's. */
static struct err *run_half(struct ctx *ctx, void *arg)
{
	struct half *h = arg;
	struct exec_mount m[] = { { .dest = STR("/c"), .mounts = h->over },
				  { .dest = STR("/c2"), .mounts = h->over, .readonly = true } };
	struct step s;
	struct err *e;

	step_init(&s, "");
	s.args[2] = str_from(arena_printf(&s.a,
					  "ls /c/old; touch /c/%s; while ! ls /c2 | grep -q ^%s$; "
					  "do sleep 0.01; done",
					  h->mine, h->other));
	use(&s, m, 2);
	e = run_step_in(&s, ctx);
	step_fini(&s);
	return e;
}

static void one_upper_for_several(void **state)
{
	NEED_RUNC();
	SCOPED_ARENA(a);
	struct mounts over;
	struct str low;
	struct half h[2] = { { "one", "two", &over }, { "two", "one", &over } };
	CLEANUP(ctx_unrefp) struct ctx *ctx = ctx_new_timeout(here.ctx, 20 * NSEC_PER_SEC);
	struct task_group g;

	/* Both steps have the same root: a mount point that the first to end removes would take the
	 * other's mount with it. */
	run_tool(arena_printf(&a,
			      "cd %s; rm -rf slow sup swork; mkdir slow sup swork root/c root/c2; "
			      "touch slow/old",
			      here.dir));
	low = str_from(at(&a, "slow"));
	over = (struct mounts) { .kind = MOUNT_OVERLAY,
				 .lowers = &low,
				 .n_lowers = 1,
				 .upper = str_from(at(&a, "sup")),
				 .work = str_from(at(&a, "swork")) };
	task_group_init(&g, ctx, 0);
	for (int i = 0; i < 2; i++)
		task_group_go(&g, "half", run_half, &h[i]);
	assert_ok(task_group_wait(&g));
	run_tool(arena_printf(&a,
			      "cd %s; test \"$(echo $(ls sup))\" = 'one two'; test -z \"$(ls "
			      "exec/shared)\"; rmdir root/c root/c2; "
			      "! grep sup /proc/self/mountinfo",
			      here.dir));
}

static void the_later_wins(void **state)
{
	NEED_RUNC();
	STEP(s, "cat /m/top /m/in/inner; grep -c ' /m ' /proc/self/mounts; grep -o "
		"'shm.*size=[0-9a-z]*' "
		"/proc/self/mounts");
	struct mounts src, other, tmp = { .kind = MOUNT_TMPFS, .size = 1048576 };
	struct exec_mount m[] = { { .dest = STR("/m"), .mounts = &other },
				  { .dest = STR("/m/"), .mounts = &src },
				  { .dest = STR("/m/in"), .mounts = &src, .selector = STR("dir") },
				  { .dest = STR("/dev/shm"), .mounts = &tmp } };

	make_source("src");
	run_tool(arena_printf(&s.a, "mkdir -p %s/other %s/src/in", here.dir, here.dir));
	src = bind_of(&s.a, "src");
	other = bind_of(&s.a, "other");
	use(&s, m, 4);
	assert_ok(run_step(&s));
	assert_string_equal(OUT(s), "top\ninner\n1\nshm tmpfs rw,nosuid,relatime,size=1024k\n");
}

static void stubs_with_content_stay(void **state)
{
	NEED_RUNC();
	STEP(s, "umount /gone; echo x >/gone/x; umount /both; true");
	struct mounts src;
	struct exec_mount m[] = { { .dest = STR("/gone"), .mounts = &src },
				  { .dest = STR("/both"), .mounts = &src } };
	struct stat before, after;

	make_source("src");
	src = bind_of(&s.a, "src");
	use(&s, m, 2);
	s.spec.insecure = true;
	assert_ok(run_step(&s));
	assert_true(file_exists(AT_FDCWD, at(&s.a, "root/gone/x")));
	assert_false(file_exists(AT_FDCWD, at(&s.a, "root/both")));
	run_tool(arena_printf(&s.a, "rm -r %s/root/gone", here.dir));
	/* Times that the step gave a directory survive the removal in it. */
	STEP(t, "touch -d '2001-02-03 04:05:06' /; touch -d '2002-02-03 04:05:06' /etc");
	use(&t, m, 2);
	assert_ok(run_step(&t));
	assert_int_equal(stat(at(&s.a, "root"), &after), 0);
	assert_int_equal(after.st_mtim.tv_sec, 981173106);
	assert_int_equal(stat(at(&s.a, "root/etc"), &before), 0);
	assert_int_equal(before.st_mtim.tv_sec, 1012709106);
	assert_false(file_exists(AT_FDCWD, at(&s.a, "root/etc/hosts")));
	assert_false(file_exists(AT_FDCWD, at(&s.a, "root/etc/resolv.conf")));
}

/* A root whose /etc leads out of it. */
static void hostile_root(void **state)
{
	NEED_RUNC();
	STEP(s, "cat /etc/hosts | head -1 | cut -c1-9");
	const char *outside = at(&s.a, "outside");

	run_tool(arena_printf(
		&s.a,
		"rm -rf %s/evil; cp -a %s/root %s/evil; rm -rf %s/evil/etc; mkdir -p %s; echo "
		"keep >%s/passwd; touch %s/empty; ln -s %s %s/evil/etc",
		here.dir, here.dir, here.dir, here.dir, outside, outside, outside, outside,
		here.dir));
	s.root.source = str_from(at(&s.a, "evil"));
	s.spec.process.cwd = STR("/etc/new/dir");
	assert_ok(run_step(&s));
	run_tool(arena_printf(&s.a, "test \"$(echo $(ls %s))\" = 'empty passwd'", outside));
}

static void names_in_resolv_conf(void **state)
{
	NEED_RUNC();
	STEP(s, "cat /etc/resolv.conf; echo 2>/dev/null >/etc/resolv.conf || echo ro");
	SCOPED_BUF(own, MIB);
	static const char *const servers[] = { "9.9.9.9" }, *const search[] = { "a.b", "c" },
				 *const options[] = { "ndots:2" };
	struct executor_config c = { .root = at(&s.a, "dns"),
				     .runtime = test_runtime(),
				     .net_mode = "host",
				     .dns_nameservers = servers,
				     .n_dns_nameservers = 1,
				     .dns_search = search,
				     .n_dns_search = 2,
				     .dns_options = options,
				     .n_dns_options = 1 };
	struct executor *old = here.e;

	assert_ok(executor_open(&c, here.ctx, &here.e));
	assert_ok(run_step(&s));
	executor_close(here.e);
	here.e = old;
	assert_true(str_has_prefix(buf_str(&s.out[0]),
				   STR("nameserver 9.9.9.9\nsearch a.b c\noptions ndots:2\n")));
	assert_true(str_has_suffix(buf_str(&s.out[0]), STR("ro\n")));
}

static void trace_socket(void **state)
{
	NEED_RUNC();
	STEP(s, "test -e /dev/otel-grpc.sock && env | grep OTEL | sort");
	struct executor_config c = { .root = at(&s.a, "otel"),
				     .runtime = test_runtime(),
				     .net_mode = "host",
				     .otel_socket = at(&s.a, "sock") };
	struct executor *old = here.e;

	put("sock", "");
	s.env[1] = STR("OTEL_TRACES_EXPORTER=none");
	s.spec.process.n_env = 2;
	assert_ok(executor_open(&c, here.ctx, &here.e));
	assert_ok(run_step(&s));
	executor_close(here.e);
	here.e = old;
	assert_string_equal(OUT(s),
			    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=unix:///dev/otel-grpc.sock\n"
			    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc\nOTEL_TRACES_EXPORTER=none\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(overlay_root),
		cmocka_unit_test(binds),
		cmocka_unit_test(selectors),
		cmocka_unit_test(overlay_and_tmpfs),
		cmocka_unit_test(one_upper_for_several),
		cmocka_unit_test(the_later_wins),
		cmocka_unit_test(stubs_with_content_stay),
		cmocka_unit_test(hostile_root),
		cmocka_unit_test(names_in_resolv_conf),
		cmocka_unit_test(trace_socket),
	};

	return cmocka_run_group_tests_name("exec/mounts", tests, place_setup, place_teardown);
}
