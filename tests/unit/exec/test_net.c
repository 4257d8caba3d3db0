/* Networks by Debian's CNI plugins, in a network namespace of our own. */
#include "place.h"

#include <net/if.h>
#include <sched.h>

#define PLUGINS "/usr/lib/cni"

static int setup(void **state)
{
	int n = place_setup(state);

	if (!skip_reason && access(PLUGINS "/bridge", X_OK) < 0)
		skip_reason = "no CNI plugins";
	/* What host-local notes must not mix with that of others. */
	if (!skip_reason)
		run_tool("mkdir -p /var/lib/cni && mount -t tmpfs cni /var/lib/cni");
	if (!skip_reason && unshare(CLONE_NEWNET) < 0)
		skip_reason = "no network namespace";
	if (!skip_reason)
		run_tool("ip link set lo up");
	return n;
}

static struct executor *open_with(const char *root, const char *mode, const char *config, int pool)
{
	struct executor_config c = { .root = root,
				     .runtime = test_runtime(),
				     .net_mode = mode,
				     .cni_config = config,
				     .cni_bin_dir = PLUGINS,
				     .cni_pool_size = pool,
				     .bridge_name = "bktest0",
				     .bridge_subnet = "10.123.0.0/24" };
	struct executor *e = NULL;

	assert_ok(executor_open(&c, here.ctx, &e));
	return e;
}

static void run_on(struct executor *e, struct step *s)
{
	struct executor *old = here.e;

	here.e = e;
	assert_ok(run_step(s));
	here.e = old;
}

#define ADDRESS                                                                                    \
	"ip -4 addr show eth0 | grep -o '10.123.[0-9.]*/'; ls -l /proc/self/ns/net | grep -o "     \
	"'net:.*'; ip route | grep -c default"

static void bridge(void **state)
{
	NEED_RUNC();
	STEP(s1, ADDRESS);
	STEP(s2, ADDRESS);
	STEP(s3, ADDRESS);
	const char *root = at(&s1.a, "bridge");
	struct executor *e;

	run_tool(arena_printf(&s1.a, "ln -sf busybox %s/root/bin/ip", here.dir));
	e = open_with(root, "bridge", NULL, 0);
	assert_string_equal(executor_net_label(e), "cni");
	assert_true(if_nametoindex("bktest0") != 0);
	run_on(e, &s1);
	run_on(e, &s2);
	assert_non_null(strstr(OUT(s1), "10.123.0."));
	assert_non_null(strstr(OUT(s1), "\n1\n"));
	/* The same namespace once more, but not for a host with a name. */
	assert_string_equal(OUT(s1), OUT(s2));
	s3.spec.hostname = STR("named");
	run_on(e, &s3);
	assert_string_not_equal(OUT(s1), OUT(s3));
	executor_close(e);
	assert_int_equal(if_nametoindex("bktest0"), 0);
	run_tool(arena_printf(&s1.a,
			      "test -z \"$(ls %s/net)\"; "
			      "test -z \"$(ls /var/lib/cni/networks/buildkit | grep ^10)\"",
			      root));
}

static void configuration_file(void **state)
{
	NEED_RUNC();
	STEP(s, ADDRESS);
	STEP(host, "ls -l /proc/self/ns/net | grep -o 'net:.*'");
	const char *conf = at(&s.a, "cni.json");
	char ours[64] = "";
	struct executor *e;

	assert_ok(file_write(
		AT_FDCWD, conf,
		STR("{\"cniVersion\":\"1.0.0\",\"name\":\"t\",\"type\":\"bridge\",\"bridge\":"
		    "\"bktest1\",\"isDefaultGateway\":true,\"ipam\":{\"type\":\"host-local\","
		    "\"subnet\":\"10.123.1.0/24\"}}"),
		0644));
	e = open_with(at(&s.a, "conf"), "auto", conf, 2);
	assert_string_equal(executor_net_label(e), "cni");
	run_on(e, &s);
	assert_non_null(strstr(OUT(s), "10.123.1."));
	host.spec.net = EXEC_NET_HOST;
	run_on(e, &host);
	assert_true(readlink("/proc/self/ns/net", ours, sizeof(ours) - 1) > 0);
	assert_string_equal(str_cstr(&s.a, str_trim(buf_str(&host.out[0]))), ours);
	executor_close(e);
	run_tool("ip link del bktest1");
}

static void errors(void **state)
{
	NEED_RUNC();
	SCOPED_ARENA(a);
	struct executor_config c = { .root = at(&a, "bad"), .net_mode = "wifi" };
	struct executor *e = NULL;

	assert_err(executor_open(&c, here.ctx, &e), "invalid network mode: \"wifi\"");
	c.net_mode = "cni";
	c.cni_config = "/no/such.json";
	SCOPED_ERR(err);
	err = executor_open(&c, here.ctx, &e);
	assert_non_null(strstr(err_text(err), "failed to read cni config \"/no/such.json\""));
	c.net_mode = "bridge";
	c.cni_bin_dir = "/no/bin";
	assert_err(executor_open(&c, here.ctx, &e),
		   "failed to find CNI bridge \"/no/bin/bridge\" or buildkit-cni-bridge");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bridge),
		cmocka_unit_test(configuration_file),
		cmocka_unit_test(errors),
	};

	return cmocka_run_group_tests_name("exec/net", tests, setup, place_teardown);
}
