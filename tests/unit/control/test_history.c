#include "base/mem.h"
#include "base/task.h"
#include "control/history.h"
#include "kv/kv.h"
#include "sys/rmtree.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

struct fixture {
	char dir[64];
	struct task_pool *pool;
	struct ctx *ctx;
	struct kv *kv;
	struct history *h;
};

static void open_history(struct fixture *f, int64_t max)
{
	char blobs[80];
	struct history_config cfg = { .dir = blobs, .kv = f->kv, .max_entries = max };

	(void)snprintf(blobs, sizeof(blobs), "%s/h", f->dir);
	assert_null(history_open(&cfg, f->ctx, &f->h));
}

static int setup(void **state)
{
	struct fixture *f = NEW(struct fixture);

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/test-history-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->pool = task_pool_new();
	f->ctx = ctx_new_root(f->pool);
	f->kv = kv_open_mem();
	open_history(f, 3);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	history_close(f->h);
	assert_null(kv_close(f->kv));
	ctx_unref(f->ctx);
	task_pool_free(f->pool);
	assert_null(rmtree(AT_FDCWD, f->dir));
	free(f);
	return 0;
}

static history_record record(struct arena *a, const char *ref)
{
	history_record r = MOBY__BUILDKIT__V1__BUILD_HISTORY_RECORD__INIT;

	r.ref = (char *)ref;
	r.createdat = proto_timestamp(a, clock_wall());
	return r;
}

/* A build with one step, whose log is a few bytes. */
static void build(struct fixture *f, const char *ref, const char *error)
{
	SCOPED_ARENA(a);
	struct progress *p = progress_new(f->ctx, NULL);
	struct vprogress *v = progress_step(p, str_from(ref), "step");
	history_record r = record(&a, ref);
	struct err *e = error ? err_new(ERR_UNKNOWN, "%s", error) : NULL;

	assert_null(history_begin(f->h, &r));
	progress_log(v, 1, str_from(ref));
	vprogress_complete(v, false, e);
	vprogress_unref(v);
	progress_close(p);
	if (e)
		err_add_detail(e, "x.y/z", STR("detail"));
	assert_null(history_end(f->h, f->ctx, &a, &r, p, e));
	assert_int_equal(r.numtotalsteps, 1);
	assert_int_equal(r.numcompletedsteps, 1);
	err_free(e);
	progress_unref(p);
}

static struct history_listener *listen(struct fixture *f, const char *ref, int32_t limit)
{
	Moby__Buildkit__V1__BuildHistoryRequest req =
		MOBY__BUILDKIT__V1__BUILD_HISTORY_REQUEST__INIT;
	struct history_listener *l;

	req.ref = (char *)ref;
	req.limit = limit;
	assert_null(history_listen(f->h, f->ctx, &req, &l));
	return l;
}

/* "0:ref" (type and ref), or "-" for the end of what was there. */
static const char *next(struct fixture *f, struct history_listener *l, struct arena *a)
{
	SCOPED_BUF(out, 1 << 20);
	history_event *ev;
	bool eof;

	assert_null(history_next(l, f->ctx, &out, &eof));
	if (eof)
		return "-";
	assert_null(PROTO_UNPACK(a, moby__buildkit__v1__build_history_event,
				 str_dup(a, buf_str(&out)), &ev));
	return arena_printf(a, "%d:%s", (int)ev->type, ev->record->ref);
}

static void live(void **state)
{
	struct fixture *f = *state;
	SCOPED_ARENA(a);
	history_record running = record(&a, "b");
	struct history_listener *all, *one;

	build(f, "a", NULL);
	assert_null(history_begin(f->h, &running));
	all = listen(f, "", 0);
	one = listen(f, "c", 0);
	assert_string_equal(next(f, all, &a), "0:b");
	assert_string_equal(next(f, all, &a), "1:a");
	assert_string_equal(next(f, all, &a), "-");
	assert_string_equal(next(f, one, &a), "-");
	history_drop(f->h, STR("b"));
	build(f, "c", "broken");
	assert_string_equal(next(f, all, &a), "0:c");
	assert_string_equal(next(f, all, &a), "1:c");
	assert_string_equal(next(f, one, &a), "0:c");
	assert_null(history_pin(f->h, STR("a"), true));
	assert_string_equal(next(f, all, &a), "1:a");
	assert_null(history_delete(f->h, f->ctx, STR("a")));
	assert_string_equal(next(f, all, &a), "2:a");
	history_unlisten(one, f->ctx);
	history_unlisten(all, f->ctx);
}

static void stored(void **state)
{
	struct fixture *f = *state;
	SCOPED_ARENA(a);
	SCOPED_BUF(blob, 1 << 20);
	history_record *r;
	Google__Rpc__Status *st;
	struct digest d;
	struct err *e;
	bool found;

	build(f, "a", "broken");
	history_close(f->h);
	open_history(f, 3);
	assert_null(history_get(f->h, &a, STR("a"), &r, &found));
	assert_true(found);
	assert_string_equal(r->error->message, "broken");
	assert_int_equal(r->error->n_details, 0);
	assert_null(digest_parse(str_from(r->externalerror->digest), &d));
	assert_null(content_read_blob(history_content(f->h), f->ctx, &d, 1 << 20, &blob));
	assert_null(PROTO_UNPACK(&a, google__rpc__status, str_dup(&a, buf_str(&blob)), &st));
	assert_int_equal(st->n_details, 1);
	assert_null(digest_parse(str_from(r->logs->digest), &d));
	assert_true(content_has(history_content(f->h), f->ctx, &d));
	assert_null(history_delete(f->h, f->ctx, STR("a")));
	assert_false(content_has(history_content(f->h), f->ctx, &d));
	assert_null(history_get(f->h, &a, STR("a"), &r, &found));
	assert_false(found);
	e = history_pin(f->h, STR("a"), true);
	assert_string_equal(err_text(e), "failed to retrieve ref a: file does not exist");
	err_free(e);
}

/* A listener on the ref keeps the blobs, not the record. */
static void deleted_while_listened_to(void **state)
{
	struct fixture *f = *state;
	SCOPED_ARENA(a);
	struct history_listener *l;
	history_record *r;
	struct digest d;
	bool found;

	build(f, "a", NULL);
	assert_null(history_get(f->h, &a, STR("a"), &r, &found));
	assert_null(digest_parse(str_from(r->logs->digest), &d));
	l = listen(f, "a", 0);
	assert_null(history_delete(f->h, f->ctx, STR("a")));
	assert_true(content_has(history_content(f->h), f->ctx, &d));
	history_unlisten(l, f->ctx);
	assert_false(content_has(history_content(f->h), f->ctx, &d));
}

static void limits(void **state)
{
	struct fixture *f = *state;
	SCOPED_ARENA(a);
	struct history_listener *l;
	history_record *r;
	bool found;

	build(f, "a", NULL);
	assert_null(history_pin(f->h, STR("a"), true));
	build(f, "b", NULL);
	build(f, "c", NULL);
	build(f, "d", NULL);
	build(f, "e", NULL);
	/* Pinned ones do not count; the oldest of the others has gone. */
	assert_null(history_get(f->h, &a, STR("a"), &r, &found));
	assert_true(found);
	assert_null(history_get(f->h, &a, STR("b"), &r, &found));
	assert_false(found);
	l = listen(f, "", 2);
	assert_string_equal(next(f, l, &a), "1:e");
	assert_string_equal(next(f, l, &a), "1:d");
	assert_string_equal(next(f, l, &a), "-");
	history_unlisten(l, f->ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(live, setup, teardown),
		cmocka_unit_test_setup_teardown(stored, setup, teardown),
		cmocka_unit_test_setup_teardown(deleted_while_listened_to, setup, teardown),
		cmocka_unit_test_setup_teardown(limits, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
