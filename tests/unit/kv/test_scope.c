/* Parts of a store. */
#include "kv/kv.h"

#include "base/arena.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define OK(expr)                                                                                   \
	do {                                                                                       \
		struct err *ok_ = (expr);                                                          \
		if (ok_)                                                                           \
			fail_msg("%s", err_text(ok_));                                             \
	} while (0)

static void put(struct kv *kv, const char *table, const char *key, const char *value)
{
	OK(kv_put1(kv, KV_LAZY, table, str_from(key), str_from(value)));
}

static void expect(struct kv *kv, const char *table, const char *key, const char *value)
{
	SCOPED_ARENA(a);
	struct str v;
	bool found;

	OK(kv_get1(kv, table, str_from(key), &a, &v, &found));
	assert_int_equal(found, value != NULL);
	if (value)
		assert_true(str_eq_cstr(v, value));
}

static void are_apart(void **state)
{
	struct kv *whole = kv_open_mem();
	struct kv *a = kv_scope(whole, "a"), *b = kv_scope(whole, "b");

	put(whole, "t", "k", "whole");
	put(a, "t", "k", "a's");
	put(b, "t", "k", "b's");
	expect(whole, "t", "k", "whole");
	expect(a, "t", "k", "a's");
	expect(b, "t", "k", "b's");
	expect(whole, "a/t", "k", "a's");
	OK(kv_del1(a, KV_DURABLE, "t", STR("k")));
	expect(a, "t", "k", NULL);
	expect(b, "t", "k", "b's");
	OK(kv_sync(a));
	OK(kv_close(a));
	expect(b, "t", "k", "b's");
	OK(kv_close(b));
	OK(kv_close(whole));
}

struct seen {
	char text[64];
};

static bool note(void *arg, struct str key, struct str value)
{
	struct seen *s = arg;

	(void)snprintf(s->text + strlen(s->text), sizeof(s->text) - strlen(s->text), "%.*s=%.*s ",
		       STR_ARG(key), STR_ARG(value));
	return true;
}

static struct err *scan(struct kv_txn *t, void *arg)
{
	return kv_scan(t, "t", STR("x"), note, arg);
}

static struct err *put_two_and_fail(struct kv_txn *t, void *arg)
{
	TRY(kv_put(t, "t", STR("x9"), STR("9")));
	return err_new(ERR_ABORTED, "no");
}

static void scans_and_failures(void **state)
{
	struct kv *whole = kv_open_mem(), *a = kv_scope(whole, "a");
	struct seen s = { "" };
	struct err *e;

	put(whole, "t", "x0", "not this");
	put(a, "t", "x2", "2");
	put(a, "t", "x1", "1");
	put(a, "t", "y", "not this");
	e = kv_update(a, KV_LAZY, put_two_and_fail, NULL);
	assert_true(err_is(e, ERR_ABORTED));
	err_free(e);
	OK(kv_view(a, scan, &s));
	assert_string_equal(s.text, "x1=1 x2=2 ");
	OK(kv_close(a));
	OK(kv_close(whole));
}

static struct err *put_in_view(struct kv_txn *t, void *arg)
{
	return kv_put(t, "t", STR("k"), STR("v"));
}

static void views_are_read_only(void **state)
{
	struct kv *whole = kv_open_mem(), *a = kv_scope(whole, "a");
	struct err *e = kv_view(a, put_in_view, NULL);

	assert_non_null(e);
	err_free(e);
	OK(kv_close(a));
	OK(kv_close(whole));
}

static void long_names_are_refused(void **state)
{
	struct kv *whole = kv_open_mem();
	struct kv *a = kv_scope(whole, "a-name-of-a-part-that-is-almost-as-long-as-a-table-may-be");
	struct err *e = kv_put1(a, KV_LAZY, "a-table", STR("k"), STR("v"));

	assert_non_null(e);
	err_free(e);
	OK(kv_close(a));
	OK(kv_close(whole));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(are_apart),
		cmocka_unit_test(scans_and_failures),
		cmocka_unit_test(views_are_read_only),
		cmocka_unit_test(long_names_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
