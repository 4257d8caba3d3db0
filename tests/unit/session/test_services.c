#include "world.h"

#include "codec/io.h"
#include "content/content.h"

#include <sys/un.h>

static int setup(void **state)
{
	struct world *w = NEW(struct world);

	world_open(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	world_close(*state);
	free(*state);
	return 0;
}

/* ---- manager and groups ---- */

static void test_lookup(void **state)
{
	struct world *w = *state;
	struct session *s;
	char prefixed[64];

	attach_set_shared_key(w->attach, "k\xc3\xa4y");
	world_start(w);
	assert_string_equal(session_id(w->session), attach_id(w->attach));
	assert_string_equal(session_shared_key(w->session), "k\xc3\xa4y");
	(void)snprintf(prefixed, sizeof(prefixed), "x:%s", attach_id(w->attach));
	ok(session_get(w->manager, w->root, str_from(prefixed), true, &s));
	assert_ptr_equal(s, w->session);
	session_unref(s);
	fails(session_get(w->manager, w->root, STR("nope"), true, &s), ERR_NOT_FOUND,
	      "no active session for nope");
	struct ctx *c = ctx_new_timeout(w->root, 30 * NSEC_PER_MSEC);
	fails(session_get(w->manager, c, STR("nope"), false, &s), ERR_DEADLINE_EXCEEDED,
	      "no active session for nope: context deadline exceeded");
	ctx_unref(c);
	assert_false(session_has_method(w->session, "/moby.filesync.v1.FileSync/DiffCopy"));
	assert_true(session_has_method(w->session, "/grpc.health.v1.health/check"));
}

static struct err *count(struct ctx *ctx, struct session *s, void *arg)
{
	int *n = arg;

	++*n;
	return err_new(ERR_ABORTED, "try %d", *n);
}

static void test_group(void **state)
{
	struct world *w = *state;
	struct session_group *g = session_group_new(NULL), *all = session_group_new(NULL);
	int n = 0;

	world_start(w);
	fails(session_any(w->manager, w->root, g, count, &n), ERR_UNKNOWN, "no active sessions");
	fails(session_any(w->manager, w->root, NULL, count, &n), ERR_UNKNOWN, "no active sessions");
	session_group_add(g, attach_id(w->attach));
	session_group_add(g, attach_id(w->attach));
	session_group_add_all(all, g);
	session_group_add_all(all, all);
	fails(session_any(w->manager, w->root, all, count, &n), ERR_ABORTED, "try 1");
	assert_int_equal(n, 1);
	session_group_unref(g);
	session_group_unref(all);
}

static void test_session_ends(void **state)
{
	struct world *w = *state;
	struct session *s;
	SCOPED_BUF(b, 1000);
	int ready;

	world_start(w);
	s = session_ref(w->session);
	world_stop(w);
	/* The handle is still good, and its calls fail. */
	struct err *e = ctx_poll(session_ctx(s), NULL, 0, -1, &ready);
	assert_non_null(e);
	err_free(e);
	e = grpc_unary(session_client(s), w->root, "/x/y", NULL, 0, STR(""), &b);
	assert_int_equal(err_code(e), ERR_UNAVAILABLE);
	err_free(e);
	session_unref(s);
}

/* A client that opens the stream and says nothing in it. */
static void test_health(void **state)
{
	struct world *w = *state;
	const struct grpc_md md[] = {
		{ STR("x-docker-expose-session-uuid"), STR("silent") },
		{ STR("x-buildkit-session-health-custom-timeout"), STR("1") },
	};
	struct grpc_stream *st;
	struct session *s;
	SCOPED_BUF(b, 1 * MIB);
	struct err *e = NULL;
	bool eof;

	ok(grpc_call(w->client, w->root, world_methods[0].path, md, ARRAY_SIZE(md), &st));
	ok(session_get(w->manager, w->root, STR("silent"), false, &s));
	while (!e)
		e = grpc_recv(st, w->root, &b, &eof);
	assert_string_equal(err_text(e),
			    "session healthcheck failed fatally: context deadline exceeded");
	err_free(e);
	fails(session_get(w->manager, w->root, STR("silent"), true, &(struct session *) { NULL }),
	      ERR_NOT_FOUND, "no active session for silent");
	assert_true(ctx_done(session_ctx(s)));
	session_unref(s);
	grpc_stream_free(st);
	/* Without an id. */
	ok(grpc_call(w->client, w->root, world_methods[0].path, NULL, 0, &st));
	fails(grpc_recv(st, w->root, &b, &eof), ERR_INVALID_ARGUMENT, "session has no id");
	grpc_stream_free(st);
}

/* ---- secrets ---- */

static void test_secrets(void **state)
{
	struct world *w = *state;
	SCOPED_BUF(b, LIMIT_SECRET);

	put_file(w, "secret", "very");
	ok(attach_add_secret_file(w->attach, "file", in(w, "secret")));
	ok(attach_add_secret_env(w->attach, "env", "PATH"));
	struct err *e = attach_add_secret_file(w->attach, "no", in(w, "nope"));
	assert_non_null(strstr(err_text(e), "failed to stat "));
	err_free(e);
	world_start(w);
	ok(session_secret(w->manager, w->root, w->group, STR("file"), &b));
	assert_string_equal(buf_cstr(&b), "very");
	buf_clear(&b);
	ok(session_secret(w->manager, w->root, w->group, STR("env"), &b));
	assert_string_equal(buf_cstr(&b), getenv("PATH"));
	fails(session_secret(w->manager, w->root, w->group, STR("none"), &b), ERR_NOT_FOUND,
	      "secret none: not found");
}

static void test_no_secrets(void **state)
{
	struct world *w = *state;
	SCOPED_BUF(b, LIMIT_SECRET);

	world_start(w);
	fails(session_secret(w->manager, w->root, w->group, STR("x"), &b), ERR_NOT_FOUND,
	      "secret x: not found");
}

/* ---- uploads ---- */

static void test_upload(void **state)
{
	struct world *w = *state;
	SCOPED_ARENA(a);
	SCOPED_BUF(big, 8 * MIB);
	SCOPED_BUF(got, 8 * MIB);
	struct reader *r;
	const char *url;

	(void)buf_reserve(&big, 5 * MIB);
	memset(big.data, 'u', 5 * MIB);
	big.len = 5 * MIB;
	url = attach_add_upload(w->attach, reader_of_str(buf_str(&big)), &a);
	assert_true(str_has_prefix(str_from(url), STR("http://buildkit-session/")));
	world_start(w);
	ok(session_upload_pull(w->session, w->root, str_from(url + 23), STR("buildkit-session"),
			       &r));
	ok(reader_read_all(r, &got));
	reader_close(r);
	assert_int_equal(got.len, big.len);
	assert_memory_equal(got.data, big.data, got.len);
	ok(session_upload_pull(w->session, w->root, STR("/abc"), STR("buildkit-session"), &r));
	buf_clear(&got);
	fails(reader_read_all(r, &got), ERR_UNKNOWN, "no http response from session for abc");
	reader_close(r);
}

/* ---- ssh ---- */

struct agent {
	int fd;
	int requests;
};

/* An agent that answers each request with its own bytes as "identities". */
static struct err *serve_agent(struct ctx *ctx, void *arg)
{
	struct agent *a = arg;
	unsigned char m[64];
	int c = accept4(a->fd, NULL, NULL, SOCK_CLOEXEC);

	while (read(c, m, 4) == 4) {
		assert_int_equal(read(c, m + 4, m[3]), m[3]);
		a->requests++;
		m[4] = 12;
		assert_int_equal(write(c, m, 4 + (size_t)m[3]), 4 + m[3]);
	}
	(void)close(c);
	return NULL;
}

static int listen_unix(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 5), 0);
	return fd;
}

static int dial_unix(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void test_ssh(void **state)
{
	struct world *w = *state;
	struct agent agent = { .fd = listen_unix(in(w, "agent")) };
	struct sshforward *f;
	struct task *t;
	struct stat st;
	unsigned char m[16];
	int fd;

	put_file(w, "key", "-----BEGIN");
	struct err *e = attach_add_ssh_socket(w->attach, "k", in(w, "key"));
	assert_int_equal(err_code(e), ERR_UNIMPLEMENTED);
	err_free(e);
	ok(attach_add_ssh_socket(w->attach, "", in(w, "agent")));
	world_start(w);
	t = task_start(w->root, "agent", serve_agent, &agent);
	ok(session_ssh_check(w->manager, w->root, w->group, STR("")));
	fails(session_ssh_check(w->manager, w->root, w->group, STR("other")), ERR_UNKNOWN,
	      "unset ssh forward key other");
	ok(sshforward_open(w->manager, w->root, w->group, STR("default"), in(w, "forward"),
			   getuid(), getgid(), 0600, &f));
	assert_int_equal(stat(in(w, "forward"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	fd = dial_unix(in(w, "forward"));
	/* Identities and a signature go through, in pieces too; removing keys does not. */
	assert_int_equal(write(fd, "\0\0\0\1", 4), 4);
	assert_int_equal(write(fd, "\x0b\0\0\0\2\x0d!\0\0\0\1\x13", 12), 12);
	for (size_t got = 0; got < 16;) {
		ssize_t n = read(fd, m + got, sizeof(m) - got);
		assert_true(n > 0);
		got += (size_t)n;
	}
	assert_memory_equal(m, "\0\0\0\1\x0c\0\0\0\2\x0c!\0\0\0\1\5", 16);
	(void)close(fd);
	ok(task_wait(t));
	assert_int_equal(agent.requests, 2);
	sshforward_close(f);
	assert_int_equal(access(in(w, "forward"), F_OK), -1);
	(void)close(agent.fd);
}

/* ---- content ---- */

static struct err *note(void *arg, const struct content_info *info)
{
	*(struct content_info *)arg = *info;
	return NULL;
}

static void test_content(void **state)
{
	struct world *w = *state;
	struct content *c, *other;
	struct content_writer *cw;
	struct content_reader *r;
	struct content_info info;
	struct digest d, got;
	SCOPED_ARENA(a);
	SCOPED_BUF(big, 8 * MIB);
	SCOPED_BUF(back, 8 * MIB);
	char mem[10];
	size_t n;

	ok(attach_add_content_dir(w->attach, "local:x", in(w, "store"), true));
	world_start(w);
	ok(session_content(w->session, STR("local:x"), &c));
	ok(session_content(w->session, STR("local:y"), &other));
	(void)buf_reserve(&big, 5 * MIB + 3);
	for (size_t i = 0; i < 5 * MIB + 3; i++)
		big.data[i] = (char)(i ^ i / 777);
	big.len = 5 * MIB + 3;
	d = digest_sha256(buf_str(&big));

	fails(content_open(other, w->root, &d, &r), ERR_NOT_FOUND,
	      "unknown store local:y: not found");
	struct err *e = content_open(c, w->root, &d, &r);
	assert_int_equal(err_code(e), ERR_NOT_FOUND);
	err_free(e);

	/* An ingest, left and resumed. */
	ok(content_writer_open(c, w->root, STR("ref"), &cw));
	ok(writer_write(&cw->io, big.data, 2 * MIB));
	struct content_writer *second;
	fails(content_writer_open(c, w->root, STR("ref"), &second), ERR_UNAVAILABLE,
	      "ref ref locked: unavailable");
	content_writer_close(cw);
	for (;;) { /* the other side lets go a little later */
		e = content_writer_open(c, w->root, STR("ref"), &cw);
		if (!e)
			break;
		assert_int_equal(err_code(e), ERR_UNAVAILABLE);
		err_free(e);
	}
	assert_true(cw->offset <= 2 * MIB);
	ok(writer_write(&cw->io, big.data + cw->offset, big.len - cw->offset));
	ok(content_commit(cw, big.len, &d, NULL, 0, &got));
	assert_true(digest_eq(&d, &got));
	content_writer_close(cw);

	ok(content_info(c, w->root, &a, &d, &info));
	assert_int_equal(info.size, big.len);
	ok(content_read_blob(c, w->root, &d, 8 * MIB, &back));
	assert_memory_equal(back.data, big.data, big.len);
	ok(content_open(c, w->root, &d, &r));
	ok(r->read_at(r, mem, sizeof(mem), 3 * MIB + 1, &n));
	assert_true(n > 0);
	assert_memory_equal(mem, big.data + 3 * MIB + 1, n);
	ok(r->read_at(r, mem, sizeof(mem), 5, &n));
	assert_memory_equal(mem, big.data + 5, n);
	ok(r->read_at(r, mem, sizeof(mem), big.len, &n));
	assert_int_equal(n, 0);
	content_reader_close(r);
	memset(&info, 0, sizeof(info));
	ok(c->ops->each(c, w->root, note, &info));
	assert_true(digest_eq(&info.digest, &d));

	/* Again: it is there. Another digest than promised: no. */
	ok(content_writer_open(c, w->root, STR("ref2"), &cw));
	ok(writer_write(&cw->io, big.data, 10));
	e = content_commit(cw, big.len, &d, NULL, 0, &got);
	assert_int_equal(err_code(e), ERR_ALREADY_EXISTS);
	err_free(e);
	content_writer_close(cw);
	got = digest_sha256(STR("x"));
	ok(content_writer_open(c, w->root, STR("ref3"), &cw));
	ok(writer_write(&cw->io, "y", 1));
	e = content_commit(cw, 1, &got, NULL, 0, &d);
	assert_int_equal(err_code(e), ERR_FAILED_PRECONDITION);
	err_free(e);
	content_writer_close(cw);
	ok(content_remove(c, w->root, &info.digest));
	assert_false(content_has(c, w->root, &info.digest));
	content_free(c);
	content_free(other);
}

/* ---- auth ---- */

static void test_auth(void **state)
{
	struct world *w = *state;
	struct session_credentials c;
	uint8_t key[32], other[32];
	SCOPED_ARENA(a);
	struct str token;
	int64_t expires, issued;
	bool yes;

	put_file(w, "docker/config.json",
		 "{\"auths\":{"
		 "\"https://index.docker.io/v1/\":{\"auth\":\"dXNlcjpwYTpzcw==\"},"
		 "\"http://old.example/v1/\":{\"username\":\"o\",\"password\":\"p\"},"
		 "\"id.example\":{\"identitytoken\":\"it\"},"
		 "\"reg.example\":{\"registrytoken\":\"rt\"}}}");
	(void)setenv("DOCKER_CONFIG", in(w, "docker"), 1);
	ok(attach_add_auth(w->attach));
	world_start(w);
	ok(session_credentials(w->session, w->root, &a, STR("registry-1.docker.io"), &c));
	assert_true(str_eq_cstr(c.username, "user") && str_eq_cstr(c.secret, "pa:ss"));
	ok(session_credentials(w->session, w->root, &a, STR("old.example"), &c));
	assert_true(str_eq_cstr(c.username, "o") && str_eq_cstr(c.secret, "p"));
	ok(session_credentials(w->session, w->root, &a, STR("id.example"), &c));
	assert_true(!c.username.len && str_eq_cstr(c.secret, "it"));
	ok(session_credentials(w->session, w->root, &a, STR("none.example"), &c));
	assert_true(!c.username.len && !c.secret.len);
	ok(session_fetch_token(w->session, w->root, &a, STR("reg.example"), STR("http://x"),
			       STR("s"), NULL, 0, &token, &expires, &issued));
	assert_true(str_eq_cstr(token, "rt") && expires == 60 && issued == 0);

	ok(session_token_authority(w->session, w->root, STR("id.example"), STR("salt"), key, &yes));
	assert_true(yes);
	ok(session_token_authority(w->session, w->root, STR("id.example"), STR("pepper"), other,
				   &yes));
	assert_memory_not_equal(key, other, 32);
	ok(session_verify_authority(w->session, w->root, STR("id.example"), STR("salt"), key,
				    &yes));
	assert_true(yes);
	ok(session_verify_authority(w->session, w->root, STR("id.example"), STR("salt"), other,
				    &yes));
	assert_false(yes);
	/* The seed is kept. */
	assert_non_null(strstr(get_file(w, "docker/.token_seed", &a), "\"id.example\": {"));
	ok(session_token_authority(w->session, w->root, STR("id.example"), STR("salt"), other,
				   &yes));
	assert_memory_equal(key, other, 32);
	(void)setenv("BUILDKIT_NO_CLIENT_TOKEN", "1", 1);
	ok(session_token_authority(w->session, w->root, STR("id.example"), STR("salt"), other,
				   &yes));
	assert_false(yes);
	(void)unsetenv("BUILDKIT_NO_CLIENT_TOKEN");
	(void)unsetenv("DOCKER_CONFIG");
}

static void test_cred_helper(void **state)
{
	struct world *w = *state;
	struct session_credentials c;
	SCOPED_ARENA(a);
	char *path = getenv("PATH"), *with = arena_printf(&a, "%s:%s", in(w, "bin"), path);
	char *old = arena_strdup(&a, path);

#ifdef __SANITIZE_THREAD__
	skip(); /* a child that shares memory until it executes is beyond TSan */
#endif
	put_file(w, "docker/config.json",
		 "{\"credsStore\":\"all\",\"credHelpers\":{\"one.example\":\"one\"}}");
	put_file(w, "bin/docker-credential-one",
		 "#!/bin/sh\nread h\n[ \"$1\" = get ] && "
		 "echo '{\"Username\":\"<token>\",\"Secret\":\"s-'$h'\"}'\n");
	put_file(w, "bin/docker-credential-all",
		 "#!/bin/sh\nread h\ncase $h in bad*) echo boom; exit 2;; esac\n"
		 "echo credentials not found in native keychain; exit 1\n");
	assert_int_equal(fchmodat(w->dirfd, "bin/docker-credential-one", 0755, 0), 0);
	assert_int_equal(fchmodat(w->dirfd, "bin/docker-credential-all", 0755, 0), 0);
	(void)setenv("DOCKER_CONFIG", in(w, "docker"), 1);
	(void)setenv("PATH", with, 1);
	ok(attach_add_auth(w->attach));
	world_start(w);
	ok(session_credentials(w->session, w->root, &a, STR("one.example"), &c));
	assert_true(!c.username.len && str_eq_cstr(c.secret, "s-one.example"));
	ok(session_credentials(w->session, w->root, &a, STR("two.example"), &c));
	assert_true(!c.username.len && !c.secret.len);
	fails(session_credentials(w->session, w->root, &a, STR("bad.example"), &c), ERR_UNKNOWN,
	      "resolving credentials from session: error getting credentials - err: exit status "
	      "2, out: `boom`");
	(void)setenv("PATH", old, 1);
	(void)unsetenv("DOCKER_CONFIG");
}

static void test_no_auth(void **state)
{
	struct world *w = *state;
	struct session_credentials c;
	SCOPED_ARENA(a);
	uint8_t key[32];
	bool yes;

	world_start(w);
	ok(session_credentials(w->session, w->root, &a, STR("x"), &c));
	assert_true(!c.username.len && !c.secret.len);
	ok(session_token_authority(w->session, w->root, STR("x"), STR("salt"), key, &yes));
	assert_false(yes);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_lookup),  T(test_group),      T(test_session_ends), T(test_health),
		T(test_secrets), T(test_no_secrets), T(test_upload),       T(test_ssh),
		T(test_content), T(test_auth),       T(test_cred_helper),  T(test_no_auth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
