/* The receiving side against senders that do not keep to the rules. */
#include "world.h"

#include "session/recv.h"

#include <sys/sysmacros.h>

struct peer {
	struct task_pool *pool;
	struct ctx *root;
	struct grpc_loop *loop;
	struct grpc_server *server;
	struct grpc_client *client;
	struct grpc_stream *st;
	char dir[32];
	int dirfd;
	struct recv_opts o;
	struct buf out;
};

static struct err *receive(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct peer *p = arg;
	struct recv_entry **list;
	SCOPED_ARENA(a);
	size_t n;

	return recv_run(s, ctx, p->dirfd, &p->o, &a, &list, &n);
}

static const struct grpc_method methods[] = { { "/t.T/Recv", receive } };

static int setup(void **state)
{
	struct peer *p = NEW(struct peer);
	int fd[2];

	p->pool = task_pool_new();
	p->root = ctx_new_root(p->pool);
	ok(grpc_loop_start(&p->loop));
	p->server = grpc_server_new(p->loop, p->root, methods, 1, p);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	ok(grpc_server_attach_fd(p->server, fd[0], fd[0]));
	ok(grpc_client_attach_fd(p->loop, p->root, fd[1], fd[1], NULL, &p->client));
	(void)snprintf(p->dir, sizeof(p->dir), "/tmp/test-recv-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	ok(fd_open_dir(AT_FDCWD, p->dir, &p->dirfd));
	p->o.hash = true;
	buf_init(&p->out, LIMIT_GRPC_MESSAGE);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct peer *p = *state;

	grpc_stream_free(p->st);
	grpc_client_close(p->client);
	grpc_server_free(p->server);
	grpc_loop_stop(p->loop);
	ctx_unref(p->root);
	task_pool_free(p->pool);
	(void)close(p->dirfd);
	ok(rmtree(AT_FDCWD, p->dir));
	buf_fini(&p->out);
	free(p);
	return 0;
}

static void start(struct peer *p)
{
	grpc_stream_freep(&p->st);
	ok(grpc_call(p->client, p->root, "/t.T/Recv", NULL, 0, &p->st));
}

static void flush(struct peer *p)
{
	err_free(grpc_send(p->st, p->root, buf_str(&p->out)));
	buf_clear(&p->out);
}

static void send_stat(struct peer *p, const char *path, uint32_t mode, const char *link)
{
	struct fs_stat st = { .path = str_from(path),
			      .mode = mode_from_posix(mode),
			      .uid = getuid(),
			      .gid = getgid(),
			      .linkname = str_from(link) };

	packet_put_stat(&p->out, &st);
	flush(p);
}

static void send_data(struct peer *p, uint32_t id, const char *data)
{
	packet_put_data(&p->out, id, str_from(data));
	flush(p);
}

static void send_last(struct peer *p)
{
	packet_put_last_stat(&p->out);
	flush(p);
}

/* The next packet's type, or -1 with the status. */
static int next(struct peer *p, uint32_t *ret_id, struct err **ret_err)
{
	SCOPED_BUF(b, LIMIT_GRPC_MESSAGE);
	SCOPED_ARENA(a);
	struct packet k;
	bool eof;

	*ret_err = grpc_recv(p->st, p->root, &b, &eof);
	if (*ret_err || eof)
		return -1;
	ok(packet_parse(buf_str(&b), &a, &k));
	*ret_id = k.id;
	return (int)k.type;
}

static void ends_with(struct peer *p, const char *text)
{
	struct err *e;
	uint32_t id;

	while (next(p, &id, &e) >= 0)
		;
	assert_non_null(e);
	assert_string_equal(err_text(e), text);
	err_free(e);
}

static void test_paths(void **state)
{
	static const struct {
		const char *path, *text;
	} bad[] = {
		{ "a//b", "unclean path a//b: invalid argument" },
		{ "a/", "unclean path a/: invalid argument" },
		{ "./a", "unclean path ./a: invalid argument" },
		{ "a/../b", "unclean path a/../b: invalid argument" },
		{ "", "unclean path : invalid argument" },
		{ "/", "absolute path /: invalid argument" },
		{ "/etc/passwd", "absolute path /etc/passwd: invalid argument" },
		{ "..", "escape check ..: invalid argument" },
		{ "../a", "escape check ../a: invalid argument" },
		{ "../../a", "escape check ../../a: invalid argument" },
		{ ".", "escape check .: invalid argument" },
		{ "no/parent", "changes out of order: \"no/parent\" \"\"" },
	};
	struct peer *p = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		start(p);
		send_stat(p, bad[i].path, S_IFREG | 0644, "");
		ends_with(p, bad[i].text);
	}
}

static void test_order(void **state)
{
	struct peer *p = *state;

	start(p);
	send_stat(p, "a", S_IFDIR | 0755, "");
	send_stat(p, "a/b", S_IFDIR | 0755, "");
	send_stat(p, "a/b/c", S_IFLNK | 0777, "/");
	send_stat(p, "a/d", S_IFLNK | 0777, "/");
	send_stat(p, "a.b", S_IFDIR | 0755, "");
	send_stat(p, "a/e", S_IFREG | 0644, "");
	ends_with(p, "changes out of order: \"a/e\" \"a.b\"");
	start(p);
	send_stat(p, "b", S_IFREG | 0644, "");
	send_stat(p, "b", S_IFREG | 0644, "");
	ends_with(p, "changes out of order: \"b\" \"b\"");
	/* Below what is no directory. */
	start(p);
	send_stat(p, "c", S_IFLNK | 0777, "/etc");
	send_stat(p, "c/passwd", S_IFREG | 0644, "");
	ends_with(p, "changes out of order: \"c/passwd\" \"c\"");
}

static void test_links(void **state)
{
	struct peer *p = *state;

	start(p);
	send_stat(p, "l", S_IFREG | 0644, "../../etc/passwd");
	ends_with(p, "invalid link l to unknown path: \"../../etc/passwd\"");
	start(p);
	send_stat(p, "l", S_IFREG | 0644, "l");
	ends_with(p, "invalid link l to unknown path: \"l\"");
	start(p);
	send_stat(p, "a", S_IFDIR | 0755, "");
	send_stat(p, "b", S_IFREG | 0644, "a");
	ends_with(p, "invalid link b to unknown path: \"a\"");
	start(p);
	send_stat(p, "a", S_IFLNK | 0777, "/etc/passwd");
	send_stat(p, "b", S_IFREG | 0644, "a");
	ends_with(p, "invalid link b to unknown path: \"a\"");
	start(p);
	send_stat(p, "a", S_IFREG | 0644, "");
	send_stat(p, "b", S_IFREG | 0644, "a");
	send_stat(p, "c", S_IFREG | 0644, "b");
	ends_with(p, "invalid link c to unknown path: \"b\"");
}

static void test_data(void **state)
{
	struct peer *p = *state;

	start(p);
	send_data(p, 0, "x");
	ends_with(p, "invalid file request 0");
	start(p);
	send_stat(p, "d", S_IFDIR | 0755, "");
	send_data(p, 0, "x");
	ends_with(p, "invalid file request 0");
	start(p);
	send_stat(p, "f", S_IFREG | 0644, "");
	send_data(p, 0, "x");
	send_data(p, 0, "");
	send_data(p, 0, "y");
	ends_with(p, "invalid file request 0");
	start(p);
	send_stat(p, "f", S_IFREG | 0644, "");
	buf_add_cstr(&p->out, "\xff\xff\xff");
	flush(p);
	ends_with(p, "failed to parse message fsutil.types.Packet");
	start(p);
	send_stat(p, "f", S_IFREG | 0644, "");
	packet_put_err(&p->out, "disk on fire");
	flush(p);
	ends_with(p, "error from sender: disk on fire");
	start(p);
	send_stat(p, "f", S_IFREG | 0644, "");
	ok(grpc_close_send(p->st));
	ends_with(p, "unexpected EOF");
}

/* A destination full of traps, as it would be after another's visit. */
static void test_traps(void **state)
{
	struct peer *p = *state;
	char v[64] = "";
	struct err *e;
	uint32_t id;
	int fin;

	p->o.merge = true;
	p->o.differ_none = true;
	assert_int_equal(symlinkat("/tmp", p->dirfd, "dir"), 0);
	assert_int_equal(symlinkat("/etc/hostname", p->dirfd, "file"), 0);
	ok(file_mkdirs(p->dirfd, "node/x", 0755));
	start(p);
	send_stat(p, "dir", S_IFDIR | 0755, "");
	send_stat(p, "dir/in", S_IFREG | 0644, "");
	send_stat(p, "file", S_IFREG | 0600, "");
	send_stat(p, "node", S_IFLNK | 0777, "target");
	send_last(p);
	assert_int_equal(next(p, &id, &e), PACKET_REQ);
	assert_int_equal(id, 1);
	assert_int_equal(next(p, &id, &e), PACKET_REQ);
	assert_int_equal(id, 2);
	/* Interleaved, and in several pieces. */
	send_data(p, 2, "fi");
	send_data(p, 1, "in");
	send_data(p, 2, "le");
	send_data(p, 1, "");
	send_data(p, 2, "");
	fin = next(p, &id, &e);
	if (fin < 0)
		fail_msg("%s", err_text(e));
	assert_int_equal(fin, PACKET_FIN);
	packet_put_fin(&p->out);
	flush(p);
	ok(grpc_close_send(p->st));
	assert_int_equal(next(p, &id, &e), -1);
	assert_null(e);
	int fd = openat(p->dirfd, "dir", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	assert_true(fd >= 0);
	(void)close(fd);
	SCOPED_ARENA(a);
	struct str s;
	ok(file_read_str(p->dirfd, "file", &a, 100, &s));
	assert_true(str_eq_cstr(s, "file"));
	ok(file_read_str(p->dirfd, "dir/in", &a, 100, &s));
	assert_true(str_eq_cstr(s, "in"));
	assert_true(readlinkat(p->dirfd, "node", v, sizeof(v) - 1) > 0);
	assert_string_equal(v, "target");
}

/* Many files at once that never end, and a transfer that is given up. */
static void test_abandoned(void **state)
{
	struct peer *p = *state;
	char name[32], *big = mem_alloc(40000);

	memset(big, 'x', 39999);
	start(p);
	for (int i = 0; i < 400; i++) {
		(void)snprintf(name, sizeof(name), "f%04d", i);
		send_stat(p, name, S_IFREG | 0644, "");
		for (int k = 0; k < i % 3; k++)
			send_data(p, (uint32_t)i, big);
	}
	free(big);
	grpc_stream_freep(&p->st);
	/* The connection serves the next one. */
	start(p);
	send_last(p);
	struct err *e;
	uint32_t id;
	assert_int_equal(next(p, &id, &e), PACKET_FIN);
}

static void test_codec(void **state)
{
	struct fs_xattr x[2] = { { STR("user.a"), STR("1") }, { STR("user.b"), STR("\0\1") } };
	struct fs_stat st = { .path = STR("a/b"),
			      .linkname = STR("c"),
			      .mode = 1u << 31 | 0755,
			      .uid = 1,
			      .gid = 4000000000u,
			      .size = 1ll << 40,
			      .mtime_ns = -1,
			      .devmajor = 8,
			      .devminor = 300,
			      .xattrs = x,
			      .n_xattrs = 2 };
	SCOPED_BUF(b, 1000);
	SCOPED_ARENA(a);
	struct packet p;

	packet_put_stat(&b, &st);
	ok(packet_parse(buf_str(&b), &a, &p));
	assert_true(p.type == PACKET_STAT && p.has_stat);
	assert_true(str_eq(p.stat.path, st.path) && str_eq(p.stat.linkname, st.linkname));
	assert_true(p.stat.mode == st.mode && p.stat.uid == 1 && p.stat.gid == st.gid);
	assert_true(p.stat.size == st.size && p.stat.mtime_ns == -1 && p.stat.devminor == 300);
	assert_int_equal(p.stat.n_xattrs, 2);
	assert_true(str_eq(p.stat.xattrs[1].value, x[1].value));
	for (size_t i = 1; i < b.len; i++) /* no prefix is misread beyond its end */
		err_free(packet_parse(str_sub(buf_str(&b), 0, i), &a, &p));
	buf_clear(&b);
	packet_put_data(&b, 300, STR("data"));
	ok(packet_parse(buf_str(&b), &a, &p));
	assert_true(p.type == PACKET_DATA && p.id == 300 && str_eq_cstr(p.data, "data"));
	ok(packet_parse(STR_NONE, &a, &p));
	assert_true(p.type == PACKET_STAT && !p.has_stat);
	for (uint32_t m = 0; m < 0200000; m++) {
		uint32_t t = m & S_IFMT;

		if (t == S_IFREG || t == S_IFDIR || t == S_IFLNK || t == S_IFIFO || t == S_IFCHR ||
		    t == S_IFBLK)
			assert_int_equal(mode_to_posix(mode_from_posix(m)), m);
	}
	assert_true(path_order(STR("a"), STR("a/b")) < 0);
	assert_true(path_order(STR("a/b"), STR("a.b")) < 0);
	assert_true(path_order(STR("a.b"), STR("ab")) < 0);
	assert_true(path_order(STR("\xff"), STR("a")) > 0);
	assert_true(path_order(STR("a/b"), STR("a/b")) == 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_paths),
		T(test_order),
		T(test_links),
		T(test_data),
		T(test_traps),
		T(test_abandoned),
		cmocka_unit_test(test_codec),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
