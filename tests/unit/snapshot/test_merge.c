#include "shot.h"

static void shows(struct shot *t, const char *name, const char *test)
{
	in_snapshot(t, name, test);
}

static void merge(struct shot *t, const char *name, const char *a, const char *b, const char *c)
{
	const struct str in[] = { str_from(a), str_from(b), str_from(c) };

	assert_ok(snapshot_merge(t->s, t->ctx, str_from(name), in, c ? 3 : 2));
}

static void between(struct shot *t, const char *name, const char *lower, const char *upper)
{
	assert_ok(snapshot_between(t->s, t->ctx, str_from(name), str_from(lower), str_from(upper)));
}

static void stacked_in_order(void **state)
{
	struct shot *t = *state;

	make(t, "a", "", "mkdir -m 700 d; echo a > d/a; echo a > same; echo a > t; ln -s x l");
	make(t, "b", "", "mkdir -m 755 d; echo b > d/b; echo b > same; mkdir t; echo b > t/f");
	make(t, "c", "", "mkdir l; echo c > l/c");
	merge(t, "m", "a", "b", "c");
	shows(t, "m",
	      "test \"$(ls d)\" = \"a\nb\"; test $(cat same) = b; test $(cat t/f) = b;"
	      "test $(stat -c %a d) = 755; test $(cat l/c) = c");
	merge(t, "n", "b", "a", NULL);
	shows(t, "n", "test $(cat same) = a; test $(stat -c %a d) = 700; test $(cat t) = a");
	make(t, "on", "m", "rm -r d; echo on > on");
	shows(t, "on", "test ! -e d; test $(cat same) = b");
	/* It stands by itself. */
	assert_ok(snapshot_remove(t->s, STR("c")));
	assert_ok(snapshot_remove(t->s, STR("b")));
	shows(t, "m", "test $(cat l/c) = c");
	snapshotter_free(t->s);
	shot_open(t);
	shows(t, "m", "test $(cat l/c) = c; test $(cat same) = b");
}

static void deletions_count(void **state)
{
	struct shot *t = *state;

	make(t, "base", "", "mkdir d; echo 1 > d/x; echo 2 > d/y; echo 3 > z; mkdir w; echo > w/f");
	make(t, "del", "base", "rm d/x z; rm -r w; echo new > d/new");
	make(t, "other", "", "mkdir d w; echo o > d/x; echo o > d/o; echo o > z; echo o > w/o");
	between(t, "diff", "base", "del");
	merge(t, "m", "other", "diff", NULL);
	shows(t, "m", "ls -lAR; test \"$(ls d)\" = \"new\no\"; test ! -e z; test ! -e w");
	/* Alone it has its additions only. */
	shows(t, "diff", "ls -lAR; test \"$(ls d)\" = new; test ! -e z");
	make(t, "on", "diff", "echo > d/two");
	shows(t, "on", "test \"$(ls d)\" = \"new\ntwo\"");
}

/* A directory removed and made again is opaque: on another base only what the old one had may go.
 */
static void opaque_directories(void **state)
{
	struct shot *t = *state;

	make(t, "base", "", "mkdir -p d/sub e; echo 1 > d/x; echo 1 > d/sub/s; echo 1 > d/keep");
	make(t, "again", "base",
	     "rm -r d; mkdir -p d/sub; echo 2 > d/keep; echo 2 > d/sub/t; mkdir fresh e/fresh;"
	     "echo 2 > fresh/f");
	make(t, "other", "",
	     "mkdir -p d/sub fresh e/fresh; echo o > d/x; echo o > d/o; echo o > d/sub/s;"
	     "echo o > d/sub/o; echo o > fresh/o; echo o > e/fresh/o");
	between(t, "diff", "base", "again");
	merge(t, "m", "other", "diff", NULL);
	shows(t, "m",
	      "ls -lAR; test \"$(ls d)\" = \"keep\no\nsub\"; test \"$(ls d/sub)\" = \"o\nt\";"
	      "test $(cat d/keep) = 2; test \"$(ls fresh)\" = \"f\no\"; test $(cat e/fresh/o) = o");
	/* The same with the whole of it on top. */
	merge(t, "w", "other", "again", NULL);
	shows(t, "w", "test \"$(ls d)\" = \"keep\no\nsub\"; test \"$(ls fresh)\" = \"f\no\"");
	shows(t, "again", "test \"$(ls d)\" = \"keep\nsub\"");
}

/* Opened for writing and left alone. */
static void unchanged_copies_do_not_count(void **state)
{
	struct shot *t = *state;

	make(t, "base", "", "echo 1 > f; echo 1 > g; touch -d @1000 f g");
	make(t, "touched", "base", ": >> f; touch -d @1000 f; echo 22 > g");
	make(t, "other", "base", "echo o > f; echo o > g");
	make(t, "dirs", "base", "mkdir -p e/e d");
	make(t, "left", "dirs", "touch e/e/x d/x; rm e/e/x; chmod 700 d; rm d/x");
	between(t, "l", "dirs", "left");
	shows(t, "l", "ls -lA; test \"$(ls)\" = d");
	between(t, "diff", "base", "touched");
	merge(t, "m", "other", "diff", NULL);
	shows(t, "m", "test $(cat f) = o; test $(cat g) = 22");
}

static void not_below_each_other(void **state)
{
	struct shot *t = *state;

	make(t, "base", "", "mkdir d; echo 1 > d/x; echo 1 > d/y; ln d/x link");
	make(t, "left", "base", "echo l > d/x; touch -d @7.5 d/x; echo l > left; rm d/y");
	make(t, "right", "base", "echo r > d/z; mkfifo pipe; ln d/z zz; chmod 700 d");
	between(t, "diff", "left", "right");
	shows(t, "diff",
	      "ls -lAR; test \"$(ls d)\" = \"x\ny\nz\"; test ! -e left; test -p pipe;"
	      "test $(stat -c %a d) = 700; test $(stat -c %h d/z) -ge 2;"
	      "test $(stat -c %i d/z) = $(stat -c %i zz)");
	make(t, "other", "", "mkdir d; echo o > left; echo o > d/o");
	merge(t, "m", "other", "diff", NULL);
	shows(t, "m", "test ! -e left; test $(cat d/o) = o; test $(cat d/x) = 1");
	between(t, "none", "base", "base");
	shows(t, "none", "test -z \"$(ls -A)\"");
	between(t, "gone", "base", "");
	merge(t, "m2", "right", "gone", NULL);
	shows(t, "m2", "ls -AlR; test \"$(ls)\" = \"pipe\nzz\"");
	between(t, "all", "", "left");
	shows(t, "all", "ls -la; test $(cat left) = l; test -f link");
	between(t, "nil", "", "");
	shows(t, "nil", "test -z \"$(ls -A)\"");
}

static void the_same_twice(void **state)
{
	struct shot *t = *state;

	make(t, "base", "", "echo b > f; echo b > g");
	make(t, "x", "base", "echo xx > f");
	make(t, "y", "base", "echo yy > g");
	merge(t, "m", "x", "y", "x");
	shows(t, "m", "test $(cat f) = xx; test $(cat g) = b");
	merge(t, "n", "x", "y", NULL);
	/* y's base comes again on top of x. */
	shows(t, "n", "test $(cat f) = b; test $(cat g) = yy");
}

static void difference_of_a_merge(void **state)
{
	struct shot *t = *state;

	make(t, "a", "", "echo a > a");
	make(t, "b", "", "echo b > b");
	make(t, "c", "", "echo c > c");
	merge(t, "m", "a", "b", "c");
	between(t, "d", "a", "m");
	shows(t, "d", "test \"$(ls)\" = \"b\nc\"");
	make(t, "on", "m", "rm a; echo on > on");
	between(t, "e", "m", "on");
	merge(t, "n", "a", "e", NULL);
	shows(t, "n", "test \"$(ls)\" = on");
	assert_err(snapshot_merge(t->s, t->ctx, STR("q"), (struct str[]) { STR("zz") }, 1),
		   "failed to merge: snapshot zz does not exist");
	assert_err(snapshot_between(t->s, t->ctx, STR("q"), STR("zz"), STR("a")),
		   "snapshot zz does not exist");
	make(t, "q", "", "true");
}

/* A merge with a merge in it, whose topmost layer deletes what only the merge has. */
static void deletion_on_a_nested_merge(void **state)
{
	struct shot *t = *state;

	make(t, "a", "", "echo a > A");
	make(t, "ab", "a", "echo b > B");
	make(t, "abc", "ab", "echo c > C");
	make(t, "abcd", "abc", "echo d > D");
	make(t, "e", "", "echo e > E");
	merge(t, "ae", "a", "e", NULL);
	make(t, "ae-a", "ae", "rm A");
	merge(t, "nested", "abcd", "ae-a", NULL);
	shows(t, "nested", "test \"$(ls)\" = \"B\nC\nD\nE\"");
	make(t, "nested-d", "nested", "rm D");
	between(t, "diff", "abc", "nested-d");
	shows(t, "diff", "test \"$(ls)\" = E");
	/* Whole copies do not tell of which layers they were made: see docs/internals/snapshot.md.
	 */
	if (t->native)
		return;
	make(t, "abd", "ab", "echo D > D");
	merge(t, "all", "abd", "diff", NULL);
	shows(t, "all", "test \"$(ls)\" = \"B\nE\"");
}

/* More inputs than overlayfs takes. */
static void wide(void **state)
{
	struct shot *t = *state;
	struct str in[600];
	char names[600][8], script[64];

	for (int i = 0; i < 600; i++) {
		SCOPED_ARENA(a);
		struct mounts *m;
		struct localmount *l = NULL;

		(void)snprintf(names[i], sizeof(names[i]), "i%d", i);
		in[i] = str_from(names[i]);
		assert_ok(snapshot_prepare(t->s, STR("w"), STR("")));
		assert_ok(snapshot_mounts(t->s, &a, STR("w"), &m));
		assert_ok(localmount_open(m, NULL, &l));
		put_file(localmount_dirfd(l), names[i], names[i]);
		put_file(localmount_dirfd(l), "last", names[i]);
		localmount_close(l);
		assert_ok(snapshot_commit(t->s, in[i], STR("w")));
	}
	assert_ok(snapshot_merge(t->s, t->ctx, STR("m"), in, 600));
	(void)snprintf(script, sizeof(script), "test $(ls | wc -l) = 601; test $(cat last) = i599");
	shows(t, "m", script);
	make(t, "on", "m", "echo > on");
	shows(t, "on", "test $(ls | wc -l) = 602");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SHOT_TEST(stacked_in_order),
		SHOT_TEST(deletions_count),
		SHOT_TEST(opaque_directories),
		SHOT_TEST(unchanged_copies_do_not_count),
		SHOT_TEST(not_below_each_other),
		SHOT_TEST(the_same_twice),
		SHOT_TEST(difference_of_a_merge),
		SHOT_TEST(deletion_on_a_nested_merge),
		SHOT_TEST(wide),
	};
	int r;

	if (!may_mount())
		return 77;
	r = cmocka_run_group_tests_name("overlay", tests, NULL, NULL);
	shot_native = true;
	return r | cmocka_run_group_tests_name("native", tests, NULL, NULL);
}
