/* What both back ends promise. */
#include "kv/kv.h"

#include "base/arena.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	struct kv *kv;
	char dir[64];
};

#define OK(expr)                                                                                   \
	do {                                                                                       \
		struct err *ok_ = (expr);                                                          \
		if (ok_)                                                                           \
			fail_msg("%s", err_text(ok_));                                             \
	} while (0)

static int setup_mem(void **state)
{
	struct fixture *f = NEW(struct fixture);

	f->kv = kv_open_mem();
	*state = f;
	return 0;
}

static int setup_lmdb(void **state)
{
	struct fixture *f = NEW(struct fixture);

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/test-kv-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	OK(kv_open(f->dir, &f->kv));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	OK(kv_close(f->kv));
	if (f->dir[0]) {
		char cmd[128];

		(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", f->dir);
		if (system(cmd))
			return -1;
	}
	free(f);
	return 0;
}

static void expect(struct kv *kv, const char *table, const char *key, const char *value)
{
	SCOPED_ARENA(a);
	struct str got;
	bool found;

	OK(kv_get1(kv, table, str_from(key), &a, &got, &found));
	assert_int_equal(found, value != NULL);
	if (value)
		assert_string_equal(got.ptr, value);
}

static void get_put_del(void **state)
{
	struct kv *kv = ((struct fixture *)*state)->kv;

	expect(kv, "a", "x", NULL);
	OK(kv_put1(kv, KV_DURABLE, "a", STR("x"), STR("1")));
	OK(kv_put1(kv, KV_LAZY, "b", STR("x"), STR("2")));
	expect(kv, "a", "x", "1");
	expect(kv, "b", "x", "2");
	OK(kv_put1(kv, KV_LAZY, "a", STR("x"), STR("")));
	expect(kv, "a", "x", "");
	OK(kv_del1(kv, KV_LAZY, "a", STR("x")));
	OK(kv_del1(kv, KV_LAZY, "a", STR("x")));
	OK(kv_del1(kv, KV_LAZY, "none", STR("x")));
	expect(kv, "a", "x", NULL);
	expect(kv, "b", "x", "2");
	OK(kv_sync(kv));
}

static void limits(void **state)
{
	struct kv *kv = ((struct fixture *)*state)->kv;
	CLEANUP_FREE char *big = mem_alloc(((size_t)16 << 20) + 1);
	SCOPED_ARENA(a);
	SCOPED_ERR(e);
	struct str got;
	bool found;

	e = kv_put1(kv, KV_LAZY, "a", STR(""), STR("1"));
	assert_true(err_is(e, ERR_INVALID_ARGUMENT));
	err_free(e);
	e = kv_put1(kv, KV_LAZY, "a", str_make(big, 501), STR("1"));
	assert_true(err_is(e, ERR_INVALID_ARGUMENT));
	err_free(e);
	e = kv_put1(kv, KV_LAZY, "a", STR("k"), str_make(big, ((size_t)16 << 20) + 1));
	assert_true(err_is(e, ERR_RESOURCE_EXHAUSTED));
	OK(kv_put1(kv, KV_LAZY, "a", str_make(big, 500), str_make(big, (size_t)16 << 20)));
	OK(kv_get1(kv, "a", str_make(big, 500), &a, &got, &found));
	assert_true(found);
	assert_int_equal(got.len, 16 << 20);
}

struct seen {
	char text[256];
	size_t max;
};

static bool note(void *arg, struct str key, struct str value)
{
	struct seen *s = arg;
	size_t n = strlen(s->text);

	(void)snprintf(s->text + n, sizeof(s->text) - n, "%.*s=%.*s ", STR_ARG(key),
		       STR_ARG(value));
	return --s->max > 0;
}

static struct err *scan_pre(struct kv_txn *t, void *arg)
{
	return kv_scan(t, "t", STR("p/"), note, arg);
}

static struct err *scan_all(struct kv_txn *t, void *arg)
{
	return kv_scan(t, "t", STR_NONE, note, arg);
}

static void scan(void **state)
{
	struct kv *kv = ((struct fixture *)*state)->kv;
	struct seen s = { .max = 100 };

	OK(kv_view(kv, scan_all, &s));
	assert_string_equal(s.text, "");
	OK(kv_put1(kv, KV_LAZY, "s", STR("p/0"), STR("no")));
	OK(kv_put1(kv, KV_LAZY, "t", STR("p/2"), STR("b")));
	OK(kv_put1(kv, KV_LAZY, "t", STR("p/10"), STR("a")));
	OK(kv_put1(kv, KV_LAZY, "t", STR("q"), STR("c")));
	OK(kv_put1(kv, KV_LAZY, "t", STR("o"), STR("d")));
	OK(kv_put1(kv, KV_LAZY, "u", STR("p/3"), STR("no")));
	OK(kv_view(kv, scan_pre, &s));
	assert_string_equal(s.text, "p/10=a p/2=b ");
	s = (struct seen) { .max = 100 };
	OK(kv_view(kv, scan_all, &s));
	assert_string_equal(s.text, "o=d p/10=a p/2=b q=c ");
	s = (struct seen) { .max = 1 };
	OK(kv_view(kv, scan_pre, &s));
	assert_string_equal(s.text, "p/10=a ");
}

static struct err *change_and_fail(struct kv_txn *t, void *arg)
{
	struct str got;
	bool found;

	TRY(kv_put(t, "t", STR("a"), STR("changed")));
	TRY(kv_put(t, "t", STR("new"), STR("new")));
	TRY(kv_put(t, "newtable", STR("new"), STR("new")));
	TRY(kv_del(t, "t", STR("b")));
	TRY(kv_get(t, "t", STR("a"), &got, &found));
	assert_true(found && str_eq_cstr(got, "changed"));
	TRY(kv_get(t, "t", STR("b"), &got, &found));
	assert_false(found);
	return arg ? err_new(ERR_ABORTED, "no") : NULL;
}

static void failed_update_leaves_nothing(void **state)
{
	struct kv *kv = ((struct fixture *)*state)->kv;
	SCOPED_ERR(e);

	OK(kv_put1(kv, KV_LAZY, "t", STR("a"), STR("1")));
	OK(kv_put1(kv, KV_LAZY, "t", STR("b"), STR("2")));
	e = kv_update(kv, KV_DURABLE, change_and_fail, kv);
	assert_true(err_is(e, ERR_ABORTED));
	expect(kv, "t", "a", "1");
	expect(kv, "t", "b", "2");
	expect(kv, "t", "new", NULL);
	expect(kv, "newtable", "new", NULL);
	OK(kv_put1(kv, KV_LAZY, "othertable", STR("a"), STR("3")));
	expect(kv, "newtable", "a", NULL);
	OK(kv_update(kv, KV_DURABLE, change_and_fail, NULL));
	expect(kv, "t", "a", "changed");
	expect(kv, "t", "b", NULL);
	expect(kv, "newtable", "new", "new");
}

static struct err *put_in_view(struct kv_txn *t, void *arg)
{
	(void)arg;
	return kv_put(t, "t", STR("a"), STR("1"));
}

static void no_change_in_a_view(void **state)
{
	SCOPED_ERR(e);

	e = kv_view(((struct fixture *)*state)->kv, put_in_view, NULL);
	assert_true(err_is(e, ERR_INTERNAL));
}

#define BOTH(f)                                                                                    \
	cmocka_unit_test_setup_teardown(f, setup_mem, teardown),                                   \
		cmocka_unit_test_setup_teardown(f, setup_lmdb, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(get_put_del),
		BOTH(limits),
		BOTH(scan),
		BOTH(failed_update_leaves_nothing),
		BOTH(no_change_in_a_view),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
