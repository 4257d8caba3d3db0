#include "progress/display.h"
#include "progress/model.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/mman.h>

#define T0 INT64_C(1700000000000000000)

static Moby__Buildkit__V1__StatusResponse *one_vertex(struct arena *a, const char *digest,
						      const char *name, int64_t started,
						      int64_t completed, bool cached,
						      const char *error)
{
	Moby__Buildkit__V1__StatusResponse *r = ARENA_NEW(a, Moby__Buildkit__V1__StatusResponse);
	Moby__Buildkit__V1__Vertex *v = ARENA_NEW(a, Moby__Buildkit__V1__Vertex);

	moby__buildkit__v1__status_response__init(r);
	moby__buildkit__v1__vertex__init(v);
	v->digest = arena_strdup(a, digest);
	v->name = arena_strdup(a, name);
	v->started = proto_timestamp(a, started);
	v->completed = proto_timestamp(a, completed);
	v->cached = cached;
	v->error = arena_strdup(a, error);
	r->vertexes = ARENA_NEW_N(a, Moby__Buildkit__V1__Vertex *, 1);
	r->vertexes[0] = v;
	r->n_vertexes = 1;
	return r;
}

static Moby__Buildkit__V1__StatusResponse *one_log(struct arena *a, const char *digest,
						   const char *text)
{
	Moby__Buildkit__V1__StatusResponse *r = ARENA_NEW(a, Moby__Buildkit__V1__StatusResponse);
	Moby__Buildkit__V1__VertexLog *l = ARENA_NEW(a, Moby__Buildkit__V1__VertexLog);

	moby__buildkit__v1__status_response__init(r);
	moby__buildkit__v1__vertex_log__init(l);
	l->vertex = arena_strdup(a, digest);
	l->stream = 1;
	l->msg = proto_from_str(str_from(text));
	l->timestamp = proto_timestamp(a, T0);
	r->logs = ARENA_NEW_N(a, Moby__Buildkit__V1__VertexLog *, 1);
	r->logs[0] = l;
	r->n_logs = 1;
	return r;
}

/* What was written to a display's descriptor so far. */
static struct str contents(struct arena *a, int fd)
{
	off_t n = lseek(fd, 0, SEEK_END);
	char *s = arena_alloc(a, (size_t)n + 1);

	assert_int_equal(pread(fd, s, (size_t)n, 0), n);
	return str_make(s, (size_t)n);
}

static void assert_has(struct str text, const char *needle)
{
	if (str_find_str(text, str_from(needle)) < 0)
		fail_msg("no \"%s\" in:\n%.*s", needle, STR_ARG(text));
}

static void test_plain(void **state)
{
	SCOPED_ARENA(a);
	CLEANUP_FD int fd = memfd_create("out", MFD_CLOEXEC);
	struct display *p = display_new(DISPLAY_PLAIN, fd);
	struct err *e;
	struct str out;

	(void)state;
	display_update(p, one_vertex(&a, "sha256:1", "[1/2] FROM x", T0, T0, true, ""));
	display_update(p, one_vertex(&a, "sha256:2", "[2/2] RUN y", T0, 0, false, ""));
	display_update(p, one_log(&a, "sha256:2", "first\nsec"));
	display_update(p, one_log(&a, "sha256:2", "ond\n"));
	display_update(p, one_vertex(&a, "sha256:2", "[2/2] RUN y", T0, T0 + 1500 * NSEC_PER_MSEC,
				     false, "exit code: 1"));
	e = err_new(ERR_UNKNOWN, "exit code: 1");
	display_finish(p, e);
	err_free(e);
	out = contents(&a, fd);
	assert_has(out, "#1 [1/2] FROM x\n#1 CACHED\n");
	assert_has(out, "#2 [2/2] RUN y\n");
	assert_has(out, " first\n");
	assert_has(out, " second\n");
	assert_has(out, "#2 ERROR: exit code: 1\n");
	assert_has(out, "------\n > [2/2] RUN y:\nfirst\nsecond\n------\n");
	display_free(p);
}

static void test_plain_interleaves_by_vertex(void **state)
{
	SCOPED_ARENA(a);
	CLEANUP_FD int fd = memfd_create("out", MFD_CLOEXEC);
	struct display *p = display_new(DISPLAY_PLAIN, fd);
	struct str out;

	(void)state;
	display_update(p, one_vertex(&a, "sha256:1", "one", T0, 0, false, ""));
	display_update(p, one_vertex(&a, "sha256:2", "two", T0, T0, false, ""));
	display_update(p, one_vertex(&a, "sha256:1", "one", T0, T0, false, ""));
	display_finish(p, NULL);
	out = contents(&a, fd);
	assert_has(out, "#1 one\n#1 ...\n\n#2 two\n#2 DONE 0.0s\n\n#1 one\n#1 DONE 0.0s\n");
	display_free(p);
}

static void test_canceled_is_no_failure(void **state)
{
	SCOPED_ARENA(a);
	CLEANUP_FD int fd = memfd_create("out", MFD_CLOEXEC);
	struct display *p = display_new(DISPLAY_PLAIN, fd);
	struct err *e = err_new(ERR_UNKNOWN, "x");
	struct str out;

	(void)state;
	display_update(p, one_vertex(&a, "sha256:1", "one", T0, T0, false, "context canceled"));
	display_finish(p, e);
	err_free(e);
	out = contents(&a, fd);
	assert_has(out, "#1 CANCELED\n");
	assert_int_equal(str_find_str(out, STR("------")), -1);
	display_free(p);
}

static void test_tty_draws(void **state)
{
	SCOPED_ARENA(a);
	CLEANUP_FD int fd = memfd_create("out", MFD_CLOEXEC);
	struct display *p = display_new(DISPLAY_TTY, fd);
	struct str out;

	(void)state;
	display_update(p, one_vertex(&a, "sha256:1", "one", T0, 0, false, ""));
	display_update(p, one_log(&a, "sha256:1", "a\nb\n"));
	display_tick(p);
	display_update(p, one_vertex(&a, "sha256:1", "one", T0, T0, false, ""));
	display_finish(p, NULL);
	out = contents(&a, fd);
	assert_has(out, "[+] Building ");
	assert_has(out, " => one");
	assert_has(out, " => => # b");
	assert_has(out, "(1/1) FINISHED");
	display_free(p);
}

static void test_log_tail_is_bounded(void **state)
{
	SCOPED_ARENA(a);
	struct pmodel m;
	struct pvertex *v;
	char *chunk = arena_alloc(&a, 10001);

	(void)state;
	memset(chunk, 'x', 10000);
	pmodel_init(&m);
	for (int i = 0; i < 100; i++) {
		pmodel_update(&m, one_log(&a, "sha256:1", chunk));
		v = m.order.items[0];
		buf_clear(&v->pending);
	}
	v = m.order.items[0];
	assert_true(v->log.len <= 2 * DISPLAY_LOG_TAIL);
	assert_false(v->log.overflow);
	pmodel_fini(&m);
}

static void test_restart_adds_up(void **state)
{
	SCOPED_ARENA(a);
	struct pmodel m;

	(void)state;
	pmodel_init(&m);
	pmodel_update(&m, one_vertex(&a, "sha256:1", "x", T0, T0 + NSEC_PER_SEC, false, ""));
	pmodel_update(&m, one_vertex(&a, "sha256:1", "x", T0 + 5 * NSEC_PER_SEC, 0, false, ""));
	pmodel_update(&m, one_vertex(&a, "sha256:1", "x", T0 + 5 * NSEC_PER_SEC,
				     T0 + 7 * NSEC_PER_SEC, false, ""));
	assert_int_equal(pvertex_elapsed(m.order.items[0], T0), 3 * NSEC_PER_SEC);
	assert_int_equal(m.n_started, 1);
	pmodel_fini(&m);
}

static void test_rawjson(void **state)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(out, MIB);

	(void)state;
	display_rawjson(one_vertex(&a, "sha256:1", "a<b", T0, T0 + 5, true, ""), &out);
	assert_string_equal(buf_cstr(&out),
			    "{\"vertexes\":[{\"digest\":\"sha256:1\",\"name\":\"a\\u003cb\","
			    "\"started\":\"2023-11-14T22:13:20Z\",\"completed\":\"2023-11-14T22:13:"
			    "20.000000005Z\",\"cached\":true}]}\n");
	buf_clear(&out);
	display_rawjson(one_log(&a, "sha256:1", "hi"), &out);
	assert_string_equal(buf_cstr(&out),
			    "{\"logs\":[{\"vertex\":\"sha256:1\",\"stream\":1,\"data\":\"aGk=\","
			    "\"timestamp\":\"2023-11-14T22:13:20Z\"}]}\n");
}

static void test_mode_names(void **state)
{
	enum display_mode m;
	struct err *e = display_parse_mode(STR("tty"), &m);

	(void)state;
	assert_null(e);
	assert_int_equal(m, DISPLAY_TTY);
	e = display_parse_mode(STR("x"), &m);
	assert_string_equal(err_text(e), "invalid progress mode x");
	err_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_plain_interleaves_by_vertex),
		cmocka_unit_test(test_canceled_is_no_failure),
		cmocka_unit_test(test_tty_draws),
		cmocka_unit_test(test_log_tail_is_bounded),
		cmocka_unit_test(test_restart_adds_up),
		cmocka_unit_test(test_rawjson),
		cmocka_unit_test(test_mode_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
