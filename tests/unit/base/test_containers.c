/* list.h and vec.h */
#include "check.h"

#include "base/list.h"
#include "base/vec.h"

struct item {
	int n;
	struct list link;
};

static void lists(void **state)
{
	struct list head = LIST_HEAD_INIT(head);
	struct item a = { .n = 1 }, b = { .n = 2 }, c = { .n = 3 };
	int sum = 0, seen = 0;

	assert_true(list_empty(&head));
	assert_null(list_pop(&head));
	list_add_tail(&head, &b.link);
	list_add_tail(&head, &c.link);
	list_add_head(&head, &a.link);
	list_each (&head, n) {
		assert_int_equal(list_entry(n, struct item, link)->n, ++seen);
		sum += seen;
	}
	assert_int_equal(sum, 6);
	list_each_safe (&head, n)
		if (list_entry(n, struct item, link)->n == 2)
			list_del(n);
	list_del(&b.link);
	assert_ptr_equal(list_pop(&head), &a.link);
	assert_ptr_equal(list_pop(&head), &c.link);
	assert_true(list_empty(&head));
}

static void vectors(void **state)
{
	VEC(int) v = VEC_INIT;
	int sum = 0;

	vec_each (&v, x)
		sum += *x;
	for (int i = 0; i < 1000; i++)
		vec_push(&v, i);
	assert_int_equal(v.len, 1000);
	assert_int_equal(vec_pop(&v), 999);
	vec_each (&v, x)
		sum += *x;
	assert_int_equal(sum, 999 * 998 / 2);
	vec_clear(&v);
	assert_int_equal(v.len, 0);
	vec_fini(&v);
	assert_null(v.items);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists),
		cmocka_unit_test(vectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
