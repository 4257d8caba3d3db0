/* Files that fail, in the words of the original frontend and at its lines (golden/errors.json). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_bridge.h"

#include "base/ctx.h"
#include "base/task.h"

static json_t *images;

/* The lines in one Source detail against a list of numbers. */
static bool same_lines(struct str detail, const json_t *lines)
{
	SCOPED_JSON(j);
	const json_t *ranges;
	bool ok;

	if (json_read(detail, "detail", &j))
		return false;
	ranges = json_object_get(j, "ranges");
	ok = json_array_size(ranges) == json_array_size(lines);
	for (size_t i = 0; ok && i < json_array_size(lines); i++)
		ok = json_get_int(json_object_get(json_array_get(ranges, i), "start"), "line", 0) ==
		     json_integer_value(json_array_get(lines, i));
	return ok;
}

static bool run(struct ctx *ctx, const json_t *c)
{
	const json_t *opts = json_object_get(c, "opts"), *lines = json_object_get(c, "lines");
	const char *name = json_get_str(c, "name").ptr;
	SCOPED_FRONTEND_RESULT(res);
	SCOPED_ERR(e);
	char *list[16];
	struct fake f;
	size_t n = 0;
	bool ok;

	for (; n < json_array_size(opts); n++)
		list[n] = (char *)json_string_value(json_array_get(opts, n));
	fake_init(&f, "/nonexistent", images, "s", list, n);
	f.dockerfile = json_get_str(c, "dockerfile").ptr;
	e = dockerfile_build(ctx, &f.bridge, &res);
	ok = strcmp(err_text(e), json_get_str(c, "error").ptr) == 0;
	if (!ok)
		print_error("%s: want %s\n   got %s\n", name, json_get_str(c, "error").ptr,
			    err_text(e));
	if (ok && err_detail_count(e) < json_array_size(lines)) {
		print_error("%s: %zu details\n", name, err_detail_count(e));
		ok = false;
	}
	for (size_t i = 0; ok && i < json_array_size(lines); i++) {
		struct str detail;

		err_detail(e, i, &detail);
		ok = same_lines(detail, json_array_get(lines, i));
		if (!ok)
			print_error("%s: other lines in detail %zu: %.*s\n", name, i,
				    STR_ARG(detail));
	}
	fake_fini(&f);
	return ok;
}

static void test_errors(void **state)
{
	struct task_pool *pool = task_pool_new();
	struct ctx *ctx = ctx_new_root(pool);
	json_t *all = json_load_file(GOLDEN_DIR "/errors.json", 0, NULL);
	size_t bad = 0;

	(void)state;
	images = json_load_file(GOLDEN_DIR "/images.json", 0, NULL);
	assert_non_null(all);
	assert_non_null(images);
	for (size_t i = 0; i < json_array_size(all); i++)
		bad += !run(ctx, json_array_get(all, i));
	assert_int_equal(bad, 0);
	json_decref(all);
	json_decref(images);
	ctx_unref(ctx);
	task_pool_free(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_errors) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
