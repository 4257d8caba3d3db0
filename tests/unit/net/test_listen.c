#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/listen.h"

#include <sys/socket.h>
#include <sys/stat.h>

static char dir[] = "/tmp/test-listen-XXXXXX";

static void fails(struct err *e, const char *text)
{
	assert_non_null(e);
	assert_string_equal(err_text(e), text);
	err_free(e);
}

static struct str in_dir(const char *scheme, const char *name)
{
	static char path[400];

	(void)snprintf(path, sizeof(path), "%s%s/%s", scheme, dir, name);
	return str_from(path);
}

static void test_addresses(void **state)
{
	int fd;

	fails(net_listen(STR("/run/x.sock"), NULL, &fd),
	      "address /run/x.sock does not contain proto, you meant unix:///run/x.sock ?");
	fails(net_listen(STR("udp://1"), NULL, &fd), "addr udp://1 not supported");
	fails(net_listen(STR("fd://x"), NULL, &fd), "not supported yet");
	(void)unsetenv("LISTEN_PID");
	fails(net_listen(STR("fd://"), NULL, &fd),
	      "no sockets found via socket activation: make sure the service was started by "
	      "systemd");
	assert_true(net_address_is_unix(STR("unix:///x")));
	assert_false(net_address_is_unix(STR("tcp://x:1")));
}

static void talk(struct ctx *ctx, int listener, struct str addr)
{
	int c, s;

	assert_null(net_dial(ctx, addr, &c));
	s = accept(listener, NULL, NULL);
	assert_true(s >= 0);
	(void)close(c);
	(void)close(s);
}

static void test_unix(void **state)
{
	struct ctx *root = ctx_new_root(NULL);
	struct net_listen_opts o = { .uid = (uid_t)-1, .gid = getgid(), .mode = 0600 };
	struct stat st;
	int fd, fd2;

	assert_null(net_listen(in_dir("unix://", "a/b/c.sock"), NULL, &fd));
	assert_int_equal(stat(in_dir("", "a/b/c.sock").ptr, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	talk(root, fd, in_dir("unix://", "a/b/c.sock"));
	/* A stale socket is replaced. */
	assert_null(net_listen(in_dir("unix://", "a/b/c.sock"), &o, &fd2));
	assert_int_equal(stat(in_dir("", "a/b/c.sock").ptr, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	talk(root, fd2, in_dir("unix://", "a/b/c.sock"));
	(void)close(fd);
	(void)close(fd2);
	struct err *e = net_dial(root, in_dir("unix://", "a/b/c.sock"), &fd);
	assert_int_equal(err_code(e), ERR_UNAVAILABLE);
	assert_non_null(strstr(err_text(e), "connect: connection refused\""));
	err_free(e);
	(void)unlink(in_dir("", "a/b/c.sock").ptr);
	e = net_dial(root, in_dir("unix://", "a/b/c.sock"), &fd);
	assert_non_null(strstr(err_text(e), "connect: no such file or directory\""));
	err_free(e);
	(void)rmdir(in_dir("", "a/b").ptr);
	(void)rmdir(in_dir("", "a").ptr);
	ctx_unref(root);
}

static void test_long_path(void **state)
{
	struct ctx *root = ctx_new_root(NULL);
	char name[200];
	int fd;

	memset(name, 'd', sizeof(name));
	memcpy(name + 150, "/s", 3);
	assert_null(net_listen(in_dir("unix://", name), NULL, &fd));
	talk(root, fd, in_dir("unix://", name));
	(void)close(fd);
	(void)unlink(in_dir("", name).ptr);
	name[150] = '\0';
	(void)rmdir(in_dir("", name).ptr);
	ctx_unref(root);
}

static void test_cancelled_dial(void **state)
{
	struct ctx *root = ctx_new_root(NULL);
	int fd;

	ctx_cancel(root, NULL);
	struct err *e = net_dial(root, STR("tcp://192.0.2.1:9"), &fd);
	assert_non_null(e);
	err_free(e);
	fails(net_dial(root, STR("x"), &fd),
	      "address x does not contain proto, you meant unix://x ?");
	fails(net_dial(root, STR("npipe://x"), &fd), "addr npipe://x not supported");
	ctx_unref(root);
}

static int make_dir(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_unix),
		cmocka_unit_test(test_long_path),
		cmocka_unit_test(test_cancelled_dial),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
