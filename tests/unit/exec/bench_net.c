/* Not a test: what a step pays for a network namespace, each way, in turn with the others so that a
 * busy machine is the same for all. */
#include "place.h"

#include "exec/net.h"

#include <sched.h>

#define PLUGINS "/usr/lib/cni"
#define N 200

enum way { POOLED, PROXIED, FRESH, N_WAYS };
static const char *const names[N_WAYS] = { "pooled CNI namespace", "proxy namespace",
					   "new CNI namespace (custom host name)" };

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static int64_t once(struct net *n, enum way way)
{
	struct net_lease l;
	int64_t t = clock_now();

	if (way == PROXIED)
		assert_ok(net_get_proxied(n, here.ctx, EXEC_NET_DEFAULT, &l));
	else
		assert_ok(net_get(n, here.ctx, EXEC_NET_DEFAULT,
				  way == FRESH ? STR("custom") : STR_NONE, &l));
	net_put(n, &l, false);
	return clock_now() - t;
}

static void measure(void **state)
{
	static int64_t took[N_WAYS][N];
	SCOPED_ARENA(a);
	struct net_config c = { .dir = at(&a, "net"),
				.proxy_dir = at(&a, "net-proxy"),
				.mode = "bridge",
				.cni_bin_dir = PLUGINS,
				.pool_size = 1,
				.bridge_name = "bkbench0",
				.bridge_subnet = "10.124.0.0/24" };
	struct net *n;

	NEED_RUNC();
	run_tool("mkdir -p /var/lib/cni && mount -t tmpfs cni /var/lib/cni");
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	run_tool("ip link set lo up");
	assert_ok(file_mkdirs(AT_FDCWD, c.dir, 0700));
	assert_ok(file_mkdirs(AT_FDCWD, c.proxy_dir, 0700));
	assert_ok(net_open(&c, here.ctx, &n));
	for (int i = 0; i < N; i++)
		for (int w = 0; w < (i < 10 ? N_WAYS : FRESH); w++)
			took[w][i] = once(n, (enum way)w);
	for (int w = 0; w < N_WAYS; w++) {
		size_t count = w == FRESH ? 10 : N;

		qsort(took[w], count, sizeof(took[w][0]), by_value);
		print_message("%s: median %.3f ms, worst %.3f ms of %zu\n", names[w],
			      (double)took[w][count / 2] / 1e6, (double)took[w][count - 1] / 1e6,
			      count);
	}
	net_close(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(measure) };

	return cmocka_run_group_tests_name("exec/bench-net", tests, place_setup, place_teardown);
}
