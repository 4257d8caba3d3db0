#include "registry/scope.h"

#include "registry/source_label.h"
#include "servers.h"

static const char *merged(struct arena *a, const char *x, const char *y)
{
	struct str in[2] = { str_from(x), str_from(y) }, *out;
	size_t n;

	scope_merge(a, in, 2, &out, &n);
	return str_cstr(a, scope_join(a, out, n));
}

static void test_merge(void **state)
{
	SCOPED_ARENA(a);

	assert_string_equal(merged(&a, "repository:x:pull", ""), "repository:x:pull");
	assert_string_equal(merged(&a, "repository:x:push", "repository:x:pull"),
			    "repository:x:pull,push");
	assert_string_equal(
		merged(&a, "repository:x:pull", "repository:b:pull repository:x:pull,*"),
		"repository:b:pull repository:x:*,pull");
	/* A host with a port in the name. */
	assert_string_equal(merged(&a, "repository:h:50/x:pull,push", "repository:h:50/x:push"),
			    "repository:h:50/x:pull,push");
	assert_string_equal(merged(&a, "odd", "a:b"), "a:b odd");
	assert_string_equal(merged(&a, "repository:x:", ",,  :"), ",, : repository:x");
	assert_string_equal(merged(&a, "", ""), "");
}

static void test_pick(void **state)
{
	struct str none = STR_NONE;

	assert_true(str_eq_cstr(source_label_pick(STR("a/b"), STR("c/d")), "a/b"));
	assert_true(str_eq_cstr(source_label_pick(STR("x,c/b,c,y"), STR("c/d")), "c"));
	assert_true(str_eq_cstr(source_label_pick(STR("c/d/e,c/d,x"), STR("c/d")), "c/d/e"));
	assert_int_equal(source_label_pick(STR("c/d"), STR("c/d")).len, 0);
	assert_int_equal(source_label_pick(none, STR("c/d")).len, 0);
	assert_int_equal(source_label_pick(STR(",,"), STR("c/d")).len, 0);
}

static void test_label(void **state)
{
	struct ctx *ctx = ctx_new_root(NULL);
	struct content *c = content_new_mem();
	SCOPED_ARENA(a);
	struct content_info info;
	struct digest d;

	OK(content_write_blob(c, ctx, STR("x"), NULL, 0, &d));
	OK(source_label_add(c, ctx, &d, STR("k"), STR("m")));
	OK(source_label_add(c, ctx, &d, STR("k"), STR("z")));
	OK(source_label_add(c, ctx, &d, STR("k"), STR("a")));
	OK(source_label_add(c, ctx, &d, STR("k"), STR("n")));
	OK(source_label_add(c, ctx, &d, STR("k"), STR("m")));
	OK(content_info(c, ctx, &a, &d, &info));
	assert_int_equal(info.n_labels, 1);
	assert_true(str_eq_cstr(info.labels[0].value, "a,m,n,z"));
	/* However many there are, the label stays within its bound. */
	for (int i = 0; i < 600; i++)
		OK(source_label_add(c, ctx, &d, STR("k"),
				    str_from(arena_printf(&a, "repository/%d", i))));
	OK(content_info(c, ctx, &a, &d, &info));
	assert_true(info.labels[0].value.len > 4000 && info.labels[0].value.len <= 4096);
	content_free(c);
	ctx_unref(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_pick),
		cmocka_unit_test(test_label),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
