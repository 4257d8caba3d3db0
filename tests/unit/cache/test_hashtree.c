#include "cache/hashtree.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct hashtree *build(const char *const *paths, size_t n)
{
	struct contenthash_known *known = mem_calloc(n, sizeof(*known));
	struct hashtree *t;
	struct err *e;

	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(paths[i]);
		bool dir = paths[i][len - 1] == '/';

		known[i] =
			(struct contenthash_known) { .path = str_make(paths[i], len - dir),
						     .mode = dir ? S_IFDIR : S_IFREG,
						     .digest = digest_sha256(str_from(paths[i])) };
	}
	e = hashtree_build(known, n, &t);
	if (e)
		fail_msg("%s", err_text(e));
	free(known);
	return t;
}

/* All paths, in the order of the tree. */
static void print(struct hashtree *t, uint32_t i, struct buf *out)
{
	SCOPED_ARENA(a);
	struct hashnode *n = hashtree_node(t, i);

	buf_add_str(out, hashtree_path(t, i, &a));
	buf_add_cstr(out, n->type == HASH_DIR ? "/ " : " ");
	for (uint32_t k = n->first; n->type == HASH_DIR && k < n->first + n->count; k++)
		print(t, k, out);
}

static void builds_in_any_order(void **state)
{
	static const char *const paths[] = { "a/", "a.b", "a/x", "a-b", "b/c/d", "a/y/", "a/y/z" };
	SCOPED_BUF(out, 1000);
	SCOPED_BUF(packed, 100000);
	struct hashtree *t = build(paths, ARRAY_SIZE(paths)), *u;
	uint32_t a = hashtree_child(t, 0, STR("a"));

	(void)state;
	print(t, 0, &out);
	assert_string_equal(buf_cstr(&out), "/ /a/ /a/x /a/y/ /a/y/z /a-b /a.b /b/ /b/c/ /b/c/d ");
	assert_true(a);
	assert_true(hashtree_child(t, a, STR("y")));
	assert_false(hashtree_child(t, a, STR("z")));
	assert_false(hashtree_child(t, 0, STR("a/x")));
	assert_true(hashtree_node(t, a)->flags & HASH_HAS_DIGEST);
	assert_false(hashtree_node(t, hashtree_child(t, 0, STR("b")))->flags & HASH_HAS_DIGEST);

	hashtree_pack(t, &packed);
	assert_null(hashtree_unpack(buf_str(&packed), &u));
	buf_clear(&out);
	print(u, 0, &out);
	assert_string_equal(buf_cstr(&out), "/ /a/ /a/x /a/y/ /a/y/z /a-b /a.b /b/ /b/c/ /b/c/d ");
	hashtree_free(u);
	hashtree_free(t);
}

static void damage(void **state)
{
	static const char *const paths[] = { "a/", "a/x", "b" };
	SCOPED_BUF(packed, 100000);
	struct hashtree *t = build(paths, ARRAY_SIZE(paths)), *u;

	(void)state;
	hashtree_pack(t, &packed);
	for (size_t i = 0; i < packed.len; i++) {
		struct err *e = hashtree_unpack(str_sub(buf_str(&packed), 0, i), &u);

		assert_non_null(e);
		err_free(e);
	}
	for (size_t i = 0; i < packed.len; i++) {
		struct err *e;

		packed.data[i] ^= (char)0xff;
		e = hashtree_unpack(buf_str(&packed), &u);
		if (!e) {
			SCOPED_BUF(out, 100000);

			/* Whatever it says now: it can be walked. */
			for (uint32_t k = 0; k < u->nodes.len; k++) {
				struct hashnode *n = hashtree_node(u, k);

				buf_add_str(&out, hashtree_name(u, n));
				for (uint32_t c = n->first;
				     n->type == HASH_DIR && c < n->first + n->count; c++)
					assert_true(c < u->nodes.len);
			}
			hashtree_free(u);
		}
		err_free(e);
		packed.data[i] ^= (char)0xff;
	}
	hashtree_free(t);
}

static void junk(void **state)
{
	struct contenthash_known k = { .path = STR("/abs"), .digest = digest_sha256(STR("")) };
	struct hashtree *t;
	struct err *e;

	(void)state;
	e = hashtree_build(&k, 1, &t);
	assert_true(err_is(e, ERR_INVALID_ARGUMENT));
	err_free(e);
	assert_null(hashtree_build(NULL, 0, &t));
	hashtree_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(builds_in_any_order),
					    cmocka_unit_test(damage), cmocka_unit_test(junk) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
