#include "fake.h"

#include "base/limits.h"

typedef Moby__Buildkit__V1__StatusResponse Status;

static const struct progress_limits no_limits = { -1, -1 };

static struct vprogress *vertex(const char *name, const struct vprogress *const *inputs, size_t n,
				struct progress_limits limits)
{
	struct digest d[4];
	struct vprogress_info info = {
		.digest = digest_sha256(str_from(name)), .name = name, .inputs = d, .n_inputs = n
	};

	for (size_t i = 0; i < n; i++)
		d[i] = vprogress_digest(inputs[i]);
	return vprogress_new(&info, limits);
}

/* All that is there now, as one message. */
static Status *read_all(struct progress_reader *r, struct arena *a, bool *ret_eof)
{
	SCOPED_BUF(all, 64 * MIB);
	SCOPED_BUF(b, 64 * MIB);
	Status *s;

	for (;;) {
		assert_ok(progress_read_now(r, &b, ret_eof));
		if (!b.len)
			break;
		assert_true(b.len < MIB + 300 * KIB);
		buf_add_str(&all, buf_str(&b));
	}
	assert_ok(PROTO_UNPACK(a, moby__buildkit__v1__status_response, str_dup(a, buf_str(&all)),
			       &s));
	return s;
}

static void vertices(void **state)
{
	struct progress *p = progress_new(NULL, NULL);
	struct progress_reader *r = progress_reader_new(p), *late;
	struct vprogress *a = vertex("a", NULL, 0, no_limits);
	struct vprogress *b = vertex("b", (const struct vprogress *[]) { a }, 1, no_limits);
	struct vprogress *c = vertex("c", (const struct vprogress *[]) { b }, 1, no_limits);
	struct vprogress *d = vertex("d", NULL, 0, no_limits);
	struct err *e;
	bool eof;
	Status *s;
	SCOPED_ARENA(mem);

	vprogress_attach(a, p);
	vprogress_attach(b, p);
	vprogress_attach(c, p);
	vprogress_attach(d, p);
	vprogress_attach(d, p);
	s = read_all(r, &mem, &eof);
	assert_false(eof);
	assert_int_equal(s->n_vertexes, 4);
	assert_string_equal(s->vertexes[1]->name, "b");
	assert_int_equal(s->vertexes[1]->n_inputs, 1);
	assert_string_equal(s->vertexes[1]->inputs[0], s->vertexes[0]->digest);
	assert_null(s->vertexes[0]->started);
	/* Nothing was heard of a and b: cached, lowest first, at the same time. */
	vprogress_start(c);
	e = err_new(ERR_UNKNOWN, "broken");
	vprogress_complete(c, false, e);
	err_free(e);
	vprogress_start(d);
	s = read_all(r, &mem, &eof);
	assert_int_equal(s->n_vertexes, 5);
	assert_string_equal(s->vertexes[0]->name, "a");
	assert_true(s->vertexes[0]->cached);
	assert_int_equal(proto_time_ns(s->vertexes[0]->started),
			 proto_time_ns(s->vertexes[2]->started));
	assert_int_equal(proto_time_ns(s->vertexes[0]->completed),
			 proto_time_ns(s->vertexes[2]->started));
	assert_string_equal(s->vertexes[1]->name, "b");
	assert_null(s->vertexes[2]->completed);
	assert_string_equal(s->vertexes[3]->error, "broken");
	assert_non_null(s->vertexes[3]->completed);
	progress_close(p);
	s = read_all(r, &mem, &eof);
	assert_true(eof);
	assert_int_equal(s->n_vertexes, 1);
	assert_string_equal(s->vertexes[0]->name, "d");
	assert_non_null(s->vertexes[0]->completed);
	assert_string_equal(s->vertexes[0]->error, ""); /* since an output was cached */
	late = progress_reader_new(p);
	s = read_all(late, &mem, &eof);
	assert_int_equal(s->n_vertexes, 10);
	assert_int_equal(progress_counts(p).total, 4);
	assert_int_equal(progress_counts(p).cached, 2);
	assert_int_equal(progress_counts(p).completed, 4);
	progress_reader_free(late);
	progress_reader_free(r);
	vprogress_unref(a);
	vprogress_unref(b);
	vprogress_unref(c);
	vprogress_unref(d);
	progress_unref(p);
}

static void cancelled(void **state)
{
	struct progress *p = progress_new(NULL, NULL);
	struct progress_reader *r = progress_reader_new(p);
	struct vprogress *v = progress_step(p, STR("some id"), "exporting");
	bool eof;
	Status *s;
	SCOPED_ARENA(mem);

	progress_close(p);
	s = read_all(r, &mem, &eof);
	assert_int_equal(s->n_vertexes, 3);
	assert_string_equal(s->vertexes[2]->error, "context canceled");
	assert_int_equal(proto_time_ns(s->vertexes[1]->started),
			 proto_time_ns(s->vertexes[2]->started));
	vprogress_unref(v);
	progress_reader_free(r);
	progress_unref(p);
}

static void events(void **state)
{
	struct progress *p = progress_new(NULL, NULL);
	struct progress_reader *r = progress_reader_new(p);
	struct vprogress *v = vertex("v", NULL, 0, no_limits);
	Pb__Range range = PB__RANGE__INIT, *ranges[] = { &range };
	Pb__Position pos = PB__POSITION__INIT;
	struct str detail[] = { STR("more"), STR("and more") };
	struct progress_warning w = {
		.level = 1,
		.short_text = STR("short"),
		.detail = detail,
		.n_detail = 2,
		.url = STR("http://x"),
		.ranges = ranges,
		.n_ranges = 1,
	};
	int64_t start;
	bool eof;
	Status *s;
	SCOPED_ARENA(mem);

	pos.line = 7;
	range.start = &pos;
	vprogress_attach(v, p);
	start = progress_status_begin(v, STR("id"));
	progress_status(v, &(struct progress_status) { STR("id"), STR("n"), 5, 10, start, 0 });
	progress_status_done(v, STR("id"), start);
	progress_log(v, 2, STR("text\n"));
	progress_warn(v, &w);
	progress_warn_digest(p, NULL, &w);
	s = read_all(r, &mem, &eof);
	assert_int_equal(s->n_statuses, 3);
	assert_string_equal(s->statuses[1]->id, "id");
	assert_int_equal(s->statuses[1]->current, 5);
	assert_int_equal(s->statuses[1]->total, 10);
	assert_string_equal(s->statuses[1]->vertex, s->vertexes[0]->digest);
	assert_non_null(s->statuses[2]->completed);
	assert_int_equal(proto_time_ns(s->statuses[2]->started), start);
	assert_int_equal(s->n_logs, 1);
	assert_int_equal(s->logs[0]->stream, 2);
	assert_true(str_eq_cstr(proto_bytes(s->logs[0]->msg), "text\n"));
	assert_int_equal(s->n_warnings, 2);
	assert_int_equal(s->warnings[0]->n_detail, 2);
	assert_int_equal(s->warnings[0]->ranges[0]->start->line, 7);
	assert_string_equal(s->warnings[1]->vertex, "");
	assert_int_equal(progress_counts(p).warnings, 2);
	assert_int_equal(progress_counts(p).total, 1);
	vprogress_unref(v);
	progress_reader_free(r);
	progress_unref(p);
}

static void log_text(const Status *s, struct buf *out)
{
	for (size_t i = 0; i < s->n_logs; i++)
		buf_add_str(out, proto_bytes(s->logs[i]->msg));
}

static void clipping(void **state)
{
	struct progress *p = progress_new(NULL, NULL);
	struct progress_reader *r = progress_reader_new(p);
	struct vprogress *v = vertex("v", NULL, 0, (struct progress_limits) { 1024, -1 });
	struct vprogress *fast = vertex("w", NULL, 0, (struct progress_limits) { -1, 1536 });
	char *data = mem_alloc(MIB);
	struct err *e = err_new(ERR_UNKNOWN, "x");
	bool eof;
	SCOPED_ARENA(mem);
	SCOPED_BUF(text, 4 * MIB);

	for (size_t i = 0; i < MIB; i++)
		data[i] = (char)('a' + i % 26);
	vprogress_attach(v, p);
	vprogress_start(v);
	progress_log(v, 1, str_make(data, 1000));
	progress_log(v, 1, str_make(data + 1000, 1000));
	progress_log(v, 1, str_make(data + 2000, 1000));
	progress_log(v, 2, STR("other stream"));
	log_text(read_all(r, &mem, &eof), &text);
	assert_int_equal(text.len,
			 1024 + strlen("\n[output clipped, log limit 1KiB reached]\n") + 12);
	assert_memory_equal(text.data, data, 1024);
	assert_memory_equal(text.data + 1024, "\n[output clipped, log limit 1KiB reached]\n", 42);
	/* The end of what was dropped comes when it fails. */
	progress_log(v, 1, str_make(data + 3000, 500000));
	vprogress_complete(v, false, e);
	buf_clear(&text);
	log_text(read_all(r, &mem, &eof), &text);
	assert_int_equal(text.len, 256 * KIB);
	assert_memory_equal(text.data, data + 3000 + 500000 - 256 * KIB, 256 * KIB);
	/* By speed. */
	vprogress_attach(fast, p);
	vprogress_start(fast);
	progress_log(fast, 1, str_make(data, 100000));
	vprogress_complete(fast, false, NULL);
	buf_clear(&text);
	log_text(read_all(r, &mem, &eof), &text);
	assert_int_equal(text.len, 1536 + 46);
	assert_memory_equal(text.data + 1536, "\n[output clipped, log limit 1.5KiB/s reached]\n",
			    46);
	err_free(e);
	free(data);
	vprogress_unref(v);
	vprogress_unref(fast);
	progress_reader_free(r);
	progress_unref(p);
}

/* More than fits in memory: everything comes out as it went in, from the file. */
static void spilling(void **state)
{
	struct task_pool *pool = task_pool_new();
	struct ctx *ctx = ctx_new_root(pool);
	struct progress *p = progress_new(ctx, "/tmp"), *q = progress_new(ctx, "/tmp");
	struct progress_reader *r = progress_reader_new(p), *r2;
	struct vprogress *v = vertex("v", NULL, 0, no_limits);
	struct vprogress *other = vertex("o", NULL, 0, no_limits);
	size_t n = 0;
	uint64_t seed = 3;
	bool eof = false;
	char *data = mem_alloc(MIB);
	SCOPED_BUF(sent, 64 * MIB);
	SCOPED_BUF(got, 64 * MIB);
	SCOPED_BUF(b, 64 * MIB);

	vprogress_attach(v, p);
	vprogress_attach(other, p);
	vprogress_start(v);
	for (int i = 0; i < 200; i++) {
		size_t len = i % 50 == 0 ? MIB : (size_t)(fake_random(&seed) % 20000) + 1;

		memset(data, 'a' + i % 26, len);
		buf_add(&sent, data, len);
		progress_log(v, 1, str_make(data, len));
		progress_log(other, 1, STR("noise"));
	}
	/* A job that joins now gets it all, and what comes meanwhile. */
	vprogress_attach(v, q);
	vprogress_attach(other, q);
	for (int i = 0; i < 100; i++) {
		buf_add_cstr(&sent, "later\n");
		progress_log(v, 1, STR("later\n"));
	}
	vprogress_complete(v, false, NULL);
	while (task_pool_active(pool))
		assert_ok(ctx_sleep(ctx, NSEC_PER_MSEC));
	progress_close(p);
	progress_close(q);
	r2 = progress_reader_new(q);
	for (int i = 0; i < 2; i++) {
		struct progress_reader *rd = i ? r2 : r;

		buf_clear(&got);
		n = 0;
		for (eof = false; !eof;) {
			SCOPED_ARENA(mem);
			Status *s;

			assert_ok(progress_read(rd, ctx, &b, &eof));
			assert_ok(PROTO_UNPACK(&mem, moby__buildkit__v1__status_response,
					       buf_str(&b), &s));
			for (size_t k = 0; k < s->n_logs; k++) {
				if (str_eq_cstr(proto_bytes(s->logs[k]->msg), "noise"))
					n++;
				else
					buf_add_str(&got, proto_bytes(s->logs[k]->msg));
			}
		}
		assert_int_equal(n, 200);
		assert_int_equal(got.len, sent.len);
		assert_memory_equal(got.data, sent.data, got.len);
	}
	free(data);
	progress_reader_free(r);
	progress_reader_free(r2);
	vprogress_unref(v);
	vprogress_unref(other);
	progress_unref(p);
	progress_unref(q);
	ctx_unref(ctx);
	task_pool_free(pool);
}

static void count(void *arg)
{
	atomic_fetch_add((atomic_int *)arg, 1);
}

static void watching(void **state)
{
	struct progress *p = progress_new(NULL, NULL);
	struct progress_reader *r = progress_reader_new(p);
	struct vprogress *v = vertex("v", NULL, 0, no_limits);
	atomic_int n = 0;
	bool eof;
	SCOPED_ARENA(mem);

	progress_watch(r, count, &n);
	assert_int_equal(atomic_load(&n), 0);
	vprogress_attach(v, p);
	assert_int_equal(atomic_load(&n), 1);
	vprogress_start(v);
	assert_int_equal(atomic_load(&n), 1);
	progress_watch(r, count, &n);
	assert_int_equal(atomic_load(&n), 2);
	(void)read_all(r, &mem, &eof);
	progress_watch(r, count, &n);
	progress_unwatch(r);
	progress_close(p);
	assert_int_equal(atomic_load(&n), 2);
	progress_watch(r, count, &n);
	assert_int_equal(atomic_load(&n), 3);
	vprogress_unref(v);
	progress_reader_free(r);
	progress_unref(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vertices), cmocka_unit_test(cancelled), cmocka_unit_test(events),
		cmocka_unit_test(clipping), cmocka_unit_test(spilling),  cmocka_unit_test(watching),
	};

	return cmocka_run_group_tests_name("progress", tests, NULL, NULL);
}
