#include "shot.h"

#include "snapshot/mounts_impl.h"
#include "sys/mount.h"

/* n layers s/<prefix>/<i>/fs, each with a file of its own and one that all have. */
static struct mounts *layers(struct shot *t, struct arena *a, const char *prefix, int n)
{
	struct mounts *m = ARENA_NEW(a, struct mounts);

	m->kind = MOUNT_OVERLAY;
	m->lowers = ARENA_NEW_N(a, struct str, (size_t)n);
	for (int i = 0; i < n; i++) {
		char *p = arena_printf(a, "%s/%s/%d/fs", t->scratch.path, prefix, i);

		assert_ok(file_mkdirs(AT_FDCWD, p, 0755));
		put_file(AT_FDCWD, arena_printf(a, "%s/f%d", p, i), "x");
		put_file(AT_FDCWD, arena_printf(a, "%s/all", p), arena_printf(a, "%d", i));
		m->lowers[m->n_lowers++] = str_from(p);
	}
	return m;
}

static void add_upper(struct shot *t, struct arena *a, const char *prefix, struct mounts *m)
{
	m->upper = str_from(arena_printf(a, "%s/%s/up/fs", t->scratch.path, prefix));
	m->work = str_from(arena_printf(a, "%s/%s/up/work", t->scratch.path, prefix));
	m->is_volatile = true;
	assert_ok(file_mkdirs(AT_FDCWD, m->upper.ptr, 0755));
}

static void check(int mnt, int n, bool writable)
{
	char last[16];

	(void)snprintf(last, sizeof(last), "f%d", n - 1);
	assert_file(mnt, "all", "0");
	assert_true(file_exists(mnt, "f0"));
	assert_true(file_exists(mnt, last));
	if (writable)
		put_file(mnt, "new", "n");
	else
		assert_int_equal(openat(mnt, "new", O_WRONLY | O_CREAT, 0600), -1);
}

static void many_lowers_both_ways(void **state)
{
	struct shot *t = *state;
	SCOPED_ARENA(a);
	struct mounts *m = layers(t, &a, "l", 400);
	CLEANUP_FREE char *work = NULL;
	int mnt = -1;

	assert_ok(mounts_open(m, &mnt));
	check(mnt, 400, false);
	(void)close(mnt);
	assert_ok(mounts_open_classic(m, NULL, false, &mnt));
	check(mnt, 400, false);
	(void)close(mnt);
	add_upper(t, &a, "l", m);
	assert_ok(mounts_open(m, &mnt));
	check(mnt, 400, true);
	(void)close(mnt);
	assert_ok(mounts_make_work(m->work, &work));
	assert_ok(mounts_open_classic(m, work, false, &mnt));
	assert_file(mnt, "new", "n");
	check(mnt, 400, true);
	(void)close(mnt);
	m->readonly = true;
	assert_ok(mounts_open(m, &mnt));
	check(mnt, 400, false);
	(void)close(mnt);
}

static void hard_names(void **state)
{
	struct shot *t = *state;
	SCOPED_ARENA(a);
	char prefix[300];
	struct mounts *m;
	int mnt = -1;
	CLEANUP_FREE char *work = NULL;

	/* Longer than an option's value may be. */
	memset(prefix, 'p', 250);
	prefix[250] = '\0';
	memcpy(prefix, "a,b:c", 5);
	m = layers(t, &a, prefix, 3);
	add_upper(t, &a, prefix, m);
	assert_ok(mounts_open(m, &mnt));
	check(mnt, 3, true);
	(void)close(mnt);
	assert_ok(mounts_make_work(m->work, &work));
	assert_ok(mounts_open_classic(m, work, false, &mnt));
	check(mnt, 3, true);
	(void)close(mnt);
}

static void escaped_in_the_classic_way(void **state)
{
	struct shot *t = *state;
	SCOPED_ARENA(a);
	struct mounts *m = layers(t, &a, "x", 2);
	char *odd = arena_printf(&a, "%s/x/o,d:d/fs", t->scratch.path);
	int mnt = -1;

	assert_ok(file_mkdirs(AT_FDCWD, odd, 0755));
	put_file(AT_FDCWD, arena_printf(&a, "%s/all", odd), "0");
	put_file(AT_FDCWD, arena_printf(&a, "%s/f0", odd), "");
	m->lowers[0] = str_from(odd);
	assert_ok(mounts_open_classic(m, NULL, false, &mnt));
	check(mnt, 2, false);
	(void)close(mnt);
}

static void errors(void **state)
{
	struct shot *t = *state;
	SCOPED_ARENA(a);
	struct mounts *m = layers(t, &a, "e", 2);
	struct mounts bind = { .kind = MOUNT_BIND, .source = STR("/no/such/dir") };
	struct localmount *l = NULL;
	int mnt = -1;

	m->lowers[1] = STR("/no/such/dir");
	assert_err(mounts_open(m, &mnt), "failed to mount overlay");
	assert_err(mounts_open(&bind, &mnt), "open_tree /no/such/dir: no such file");
	assert_err(localmount_open(&bind, t->scratch.path, &l), "open /no/such/dir: no such file");
	localmount_close(NULL);
}

static void path_of_a_mount(void **state)
{
	struct shot *t = *state;
	SCOPED_ARENA(a);
	struct mounts *m = layers(t, &a, "p", 2);
	struct localmount *l = NULL;
	char *path;

	add_upper(t, &a, "p", m);
	assert_ok(localmount_open(m, t->scratch.path, &l));
	assert_file(localmount_dirfd(l), "all", "0");
	path = arena_strdup(&a, localmount_path(l));
	assert_string_equal(path, localmount_path(l));
	assert_true(mount_is_mountpoint(AT_FDCWD, path));
	put_file(AT_FDCWD, arena_printf(&a, "%s/made", path), "m");
	localmount_close(l);
	assert_false(file_exists(AT_FDCWD, path));
	assert_file(AT_FDCWD, arena_printf(&a, "%s/made", m->upper.ptr), "m");
	/* The workdir of that mount is gone. */
	assert_int_equal(rmdir(m->work.ptr), 0);
	/* Without a place there is still a name for this process. */
	assert_ok(localmount_open(m, NULL, &l));
	assert_file(AT_FDCWD, arena_printf(&a, "%s/made", localmount_path(l)), "m");
	localmount_close(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SHOT_TEST(many_lowers_both_ways),
		SHOT_TEST(hard_names),
		SHOT_TEST(escaped_in_the_classic_way),
		SHOT_TEST(errors),
		SHOT_TEST(path_of_a_mount),
	};

	if (!may_mount())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
