#include "shot.h"

static void chain(void **state)
{
	struct shot *t = *state;
	struct snapshot_info i;
	uint64_t bytes, inodes;
	SCOPED_ARENA(a);

	make(t, "one", "", "echo 1 > a; mkdir d; echo x > d/x; chmod 711 .");
	make(t, "two", "one", "echo 2 > b; rm d/x");
	in_snapshot(t, "two",
		    "test $(cat a) = 1; test $(cat b) = 2; test ! -e d/x; test -d d;"
		    "test \"$(stat -c %a .)\" = 711");
	/* Committed ones are read-only where there is a mount. */
	if (!t->native)
		in_snapshot(t, "two", "! touch a 2> /dev/null");
	assert_ok(snapshot_stat(t->s, &a, STR("two"), &i));
	assert_int_equal(i.kind, SNAPSHOT_COMMITTED);
	assert_true(str_eq(i.parent, STR("one")));
	assert_ok(snapshot_view(t->s, STR("v"), STR("two")));
	in_snapshot(t, "v", "test $(cat a) = 1");
	assert_ok(snapshot_view(t->s, STR("nothing"), STR("")));
	in_snapshot(t, "nothing", "test -z \"$(ls -A)\"");
	assert_ok(snapshot_usage(t->s, t->ctx, STR("one"), &bytes, &inodes));
	/* The directory of the snapshot, and the four in it. */
	assert_int_equal(inodes, 5);
	assert_true(bytes >= 4096);
	assert_err(snapshot_remove(t->s, STR("one")), "cannot remove snapshot one with child");
	assert_ok(snapshot_remove(t->s, STR("v")));
	assert_ok(snapshot_remove(t->s, STR("two")));
	assert_ok(snapshot_remove(t->s, STR("one")));
	assert_err(snapshot_stat(t->s, &a, STR("one"), &i),
		   "snapshot one does not exist: not found");
}

static void names_and_states(void **state)
{
	struct shot *t = *state;

	assert_err(snapshot_prepare(t->s, STR("a/b"), STR("")), "invalid snapshot name");
	assert_err(snapshot_prepare(t->s, STR(""), STR("")), "invalid snapshot name");
	assert_err(snapshot_prepare(t->s, STR("x"), STR("none")), "none does not exist");
	assert_ok(snapshot_prepare(t->s, STR("x"), STR("")));
	assert_err(snapshot_prepare(t->s, STR("x"), STR("")), "already exists");
	assert_err(snapshot_prepare(t->s, STR("y"), STR("x")), "is not committed");
	assert_ok(snapshot_commit(t->s, STR("x"), STR("x")));
	assert_err(snapshot_commit(t->s, STR("z"), STR("x")), "is not active");
	assert_ok(snapshot_prepare(t->s, STR("y"), STR("x")));
	assert_err(snapshot_commit(t->s, STR("x"), STR("y")), "already exists");
	assert_ok(snapshot_commit(t->s, STR("y2"), STR("y")));
	assert_err(snapshot_commit(t->s, STR("y3"), STR("y")), "y does not exist");
}

static struct err *count(void *arg, const struct snapshot_info *i)
{
	(*(size_t *)arg)++;
	return NULL;
}

static void reopened(void **state)
{
	struct shot *t = *state;
	size_t n = 0;
	SCOPED_ARENA(a);
	struct snapshot_info i;
	char path[200];

	make(t, "one", "", "echo 1 > a");
	make(t, "two", "one", "echo 2 > a");
	assert_ok(snapshot_prepare(t->s, STR("work"), STR("two")));
	in_snapshot(t, "work", "echo 3 > a");
	assert_ok(snapshot_prepare(t->s, STR("lost"), STR("two")));
	snapshotter_free(t->s);
	/* A directory that nobody knows, and one that is gone: the third that was made. */
	(void)snprintf(path, sizeof(path), "%s/999/fs", t->dir);
	assert_ok(file_mkdirs(AT_FDCWD, path, 0755));
	(void)snprintf(path, sizeof(path), "%s/4", t->dir);
	assert_ok(rmtree(AT_FDCWD, path));
	shot_open(t);
	in_snapshot(t, "two", "test $(cat a) = 2");
	in_snapshot(t, "work", "test $(cat a) = 3; echo 4 > a");
	assert_err(snapshot_stat(t->s, &a, STR("lost"), &i), "does not exist");
	assert_ok(t->s->ops->each(t->s, count, &n));
	assert_int_equal(n, 3);
	(void)snprintf(path, sizeof(path), "%s/999", t->dir);
	assert_false(file_exists(AT_FDCWD, path));
	make(t, "three", "two", "echo 5 > a");
	in_snapshot(t, "work", "test $(cat a) = 4");
}

static void mounted_again_and_again(void **state)
{
	struct shot *t = *state;

	make(t, "base", "", "echo 1 > a");
	assert_ok(snapshot_prepare(t->s, STR("w"), STR("base")));
	for (int i = 0; i < 5; i++)
		in_snapshot(t, "w", "n=$(cat a); echo $((n + 1)) > a");
	in_snapshot(t, "w", "test $(cat a) = 6");
	assert_ok(snapshot_commit(t->s, STR("done"), STR("w")));
	in_snapshot(t, "done", "test $(cat a) = 6");
}

static void attached(void **state)
{
	struct shot *t = *state;
	char at[200], file[220];
	SCOPED_ARENA(a);
	struct mounts *m, tmp = { .kind = MOUNT_TMPFS, .size = 1 << 20 };

	make(t, "one", "", "echo 1 > a");
	make(t, "two", "one", "echo 2 > b");
	(void)snprintf(at, sizeof(at), "%s/mnt", t->scratch.path);
	assert_int_equal(mkdir(at, 0755), 0);
	assert_ok(snapshot_mounts(t->s, &a, STR("two"), &m));
	assert_ok(mounts_attach(m, at));
	(void)snprintf(file, sizeof(file), "%s/a", at);
	assert_file(AT_FDCWD, file, "1\n");
	assert_int_equal(open(file, O_WRONLY), -1);
	assert_int_equal(umount2(at, 0), 0);
	assert_ok(mounts_attach(&tmp, at));
	put_file(AT_FDCWD, file, "tmp");
	assert_int_equal(umount2(at, 0), 0);
	assert_false(file_exists(AT_FDCWD, file));
}

/* Far more layers than overlayfs takes. */
static void deep(void **state)
{
	struct shot *t = *state;
	char parent[32] = "", name[32], script[300];

	for (int i = 0; i < 900; i++) {
		int fd = -1;
		struct localmount *l = NULL;
		struct mounts *m;
		SCOPED_ARENA(a);

		(void)snprintf(name, sizeof(name), "s%d", i);
		assert_ok(snapshot_prepare(t->s, STR("active"), str_from(parent)));
		assert_ok(snapshot_mounts(t->s, &a, STR("active"), &m));
		assert_ok(localmount_open(m, NULL, &l));
		fd = localmount_dirfd(l);
		put_file(fd, name, name);
		put_file(fd, "last", name);
		if (i % 10 == 0) {
			assert_ok(rmtree(fd, "dir"));
			assert_int_equal(mkdirat(fd, "dir", 0755), 0);
		}
		(void)snprintf(script, sizeof(script), "dir/%s", name);
		put_file(fd, script, name);
		if (i == 777)
			assert_int_equal(unlinkat(fd, "s1", 0), 0);
		localmount_close(l);
		assert_ok(snapshot_commit(t->s, str_from(name), STR("active")));
		(void)snprintf(parent, sizeof(parent), "%s", name);
	}
	(void)snprintf(script, sizeof(script),
		       "test $(cat last) = s899; test $(cat s0) = s0; test $(cat s500) = s500;"
		       "test ! -e s1; test $(ls | wc -l) = 901; test $(ls dir | wc -l) = 10;"
		       "test $(cat dir/s895) = s895");
	in_snapshot(t, parent, script);
	in_snapshot(t, "s776", "test $(cat s1) = s1; test $(ls dir | wc -l) = 7");
	snapshotter_free(t->s);
	shot_open(t);
	in_snapshot(t, parent, script);
}

/* Directories of the upper layers that overlayfs marks or not, seen alone. */
static void whiteouts_do_not_show(void **state)
{
	struct shot *t = *state;

	make(t, "base", "", "mkdir d e; echo 1 > d/a; echo 2 > d/b; echo 3 > c; echo 4 > e/f");
	make(t, "top", "base", "rm d/a c e/f; touch d/new");
	assert_ok(snapshot_between(t->s, t->ctx, STR("diff"), STR("base"), STR("top")));
	in_snapshot(t, "diff",
		    "ls -lA . d e; test \"$(ls)\" = \"d\ne\"; test \"$(ls d)\" = new;"
		    "test -z \"$(ls e)\"");
	make(t, "on", "diff", "ls -lA d; test \"$(ls d)\" = new; touch d/two; rm d/new");
	in_snapshot(t, "on", "test \"$(ls d)\" = two");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest both[] = {
		SHOT_TEST(chain),
		SHOT_TEST(names_and_states),
		SHOT_TEST(reopened),
		SHOT_TEST(mounted_again_and_again),
	};
	const struct CMUnitTest overlay[] = {
		SHOT_TEST(attached),
		SHOT_TEST(deep),
		SHOT_TEST(whiteouts_do_not_show),
	};
	int r;

	if (!may_mount())
		return 77;
	r = cmocka_run_group_tests_name("overlay", both, NULL, NULL);
	r |= cmocka_run_group_tests_name("overlay only", overlay, NULL, NULL);
	shot_native = true;
	return r | cmocka_run_group_tests_name("native", both, NULL, NULL);
}
