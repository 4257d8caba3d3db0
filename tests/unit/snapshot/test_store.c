#include "shot.h"

#include "base/arena.h"
#include "kv/kv.h"
#include "snapshot/store.h"

struct records {
	struct arena arena;
	struct str keys[20], values[20];
	size_t n;
};

static bool gather(void *arg, struct str key, struct str value)
{
	struct records *r = arg;

	r->keys[r->n] = str_dup(&r->arena, key);
	r->values[r->n++] = str_dup(&r->arena, value);
	return true;
}

static struct err *read_all(struct kv_txn *t, void *arg)
{
	return kv_scan(t, SNAPSHOT_TABLE, STR(""), gather, arg);
}

/* As if the machine had been started anew: another id in place of this boot's. */
static size_t reboot(struct shot *t)
{
	struct records r = { 0 };
	char boot[FILE_BOOT_ID_LEN + 1];
	size_t changed = 0;

	assert_ok(file_boot_id(boot));
	assert_ok(kv_view(t->kv, read_all, &r));
	for (size_t i = 0; i < r.n; i++) {
		char *at = memmem(r.values[i].ptr, r.values[i].len, boot, strlen(boot));

		if (!at)
			continue;
		at[0] = at[0] == '0' ? '1' : '0';
		assert_ok(kv_put1(t->kv, KV_LAZY, SNAPSHOT_TABLE, r.keys[i], r.values[i]));
		changed++;
	}
	arena_fini(&r.arena);
	return changed;
}

/* A clean stop would sync. */
static void power_cut(struct shot *t)
{
	struct store *st = store_of(t->s);

	lock_take(&st->lock);
	st->sync_wanted = false;
	lock_drop(&st->lock);
	snapshotter_free(t->s);
}

static bool exists(struct shot *t, const char *name)
{
	SCOPED_ARENA(a);
	struct snapshot_info i;
	struct err *e = snapshot_stat(t->s, &a, str_from(name), &i);
	bool there = !e;

	err_free(e);
	return there;
}

static void what_was_not_on_the_disk_is_dropped(void **state)
{
	struct shot *t = *state;

	make(t, "one", "", "echo 1 > a");
	make(t, "two", "one", "echo 2 > b");
	store_sync_now(store_of(t->s));
	make(t, "three", "two", "echo 3 > c");
	make(t, "four", "three", "echo 4 > d");
	power_cut(t);
	assert_int_equal(reboot(t), 2);
	shot_open(t);
	assert_true(exists(t, "one"));
	assert_true(exists(t, "two"));
	assert_false(exists(t, "three"));
	assert_false(exists(t, "four"));
	in_snapshot(t, "two", "test $(cat b) = 2");
	/* Gone for good. */
	make(t, "three", "two", "echo 33 > c");
	in_snapshot(t, "three", "test $(cat c) = 33");
}

static void edit(struct shot *t, const char *name, const char *script)
{
	assert_ok(snapshot_wake(t->s, str_from(name)));
	in_snapshot(t, name, script);
}

static void active_ones_are_kept_only_at_rest(void **state)
{
	struct shot *t = *state;

	assert_ok(snapshot_prepare(t->s, STR("idle"), STR_NONE));
	assert_ok(snapshot_prepare(t->s, STR("used"), STR_NONE));
	assert_ok(snapshot_prepare(t->s, STR("new"), STR_NONE));
	in_snapshot(t, "idle", "echo 1 > a");
	in_snapshot(t, "used", "echo 1 > a");
	assert_ok(snapshot_rest(t->s, STR("idle")));
	assert_ok(snapshot_rest(t->s, STR("used")));
	store_sync_now(store_of(t->s));
	/* Torn from here on, also when the next syncfs passes meanwhile. */
	edit(t, "used", "echo 2 > a");
	store_sync_now(store_of(t->s));
	power_cut(t);
	assert_int_equal(reboot(t), 2);
	shot_open(t);
	assert_true(exists(t, "idle"));
	assert_false(exists(t, "used"));
	assert_false(exists(t, "new"));
	/* A kill takes none, and what was let rest again is kept. */
	edit(t, "idle", "echo 2 > a");
	power_cut(t);
	shot_open(t);
	in_snapshot(t, "idle", "test $(cat a) = 2");
	edit(t, "idle", "echo 3 > a");
	assert_ok(snapshot_rest(t->s, STR("idle")));
	store_sync_now(store_of(t->s));
	power_cut(t);
	assert_int_equal(reboot(t), 0);
	shot_open(t);
	in_snapshot(t, "idle", "test $(cat a) = 3");
	assert_err(snapshot_wake(t->s, STR("nothing")), "snapshot nothing does not exist");
	make(t, "whole", "", "true");
	assert_err(snapshot_wake(t->s, STR("whole")), "not active");
}

/* What is joined for a snapshot that is on the disk is itself not there yet. */
static void joined_layers_are_recorded_when_they_are_on_the_disk(void **state)
{
	struct shot *t = *state;
	struct snap *s;
	char name[16], parent[16] = "";

	if (t->native)
		return;
	for (int i = 0; i < 130; i++) {
		(void)snprintf(name, sizeof(name), "s%d", i);
		make(t, name, parent, "echo x > f$(ls | wc -l)");
		(void)snprintf(parent, sizeof(parent), "%s", name);
		if (i == 126)
			store_sync_now(store_of(t->s));
	}
	for (int round = 0; round < 2; round++) {
		bool joined = false;

		if (round)
			store_sync_now(store_of(t->s));
		power_cut(t);
		/* The same boot: only what is on the disk may be named. */
		shot_open(t);
		for (int i = 0; i < 130; i++) {
			(void)snprintf(name, sizeof(name), "s%d", i);
			s = map_get(&store_of(t->s)->snaps, str_from(name));
			assert_non_null(s);
			joined = joined || s->n_joined;
		}
		assert_int_equal(joined, round);
		if (!round) {
			/* Made anew. */
			make(t, "t0", "s129", "test $(ls | wc -l) = 130");
			make(t, "t1", "t0", "true");
		}
	}
	in_snapshot(t, "t1", "test $(ls | wc -l) = 130");
}

static void clean_stop_syncs(void **state)
{
	struct shot *t = *state;

	make(t, "one", "", "echo 1 > a");
	snapshotter_free(t->s);
	assert_int_equal(reboot(t), 0);
	shot_open(t);
	in_snapshot(t, "one", "test $(cat a) = 1");
}

static void junk_is_dropped(void **state)
{
	struct shot *t = *state;

	make(t, "one", "", "echo 1 > a");
	snapshotter_free(t->s);
	assert_ok(kv_put1(t->kv, KV_LAZY, SNAPSHOT_TABLE, STR("junk"), STR("\2\2")));
	assert_ok(kv_put1(t->kv, KV_LAZY, SNAPSHOT_TABLE, STR("old"), STR("\1")));
	/* Two that stand on each other; kind 2, durable, no layers. */
	assert_ok(kv_put1(t->kv, KV_LAZY, SNAPSHOT_TABLE, STR("x"), STR("\2\2\0\1y\0\0\0\0\0\0")));
	assert_ok(kv_put1(t->kv, KV_LAZY, SNAPSHOT_TABLE, STR("y"), STR("\2\2\0\1x\0\0\0\0\0\0")));
	shot_open(t);
	assert_true(exists(t, "one"));
	assert_false(exists(t, "junk"));
	assert_false(exists(t, "x"));
	assert_false(exists(t, "y"));
}

struct worker {
	struct shot *t;
	int n;
};

static struct err *work(struct ctx *ctx, void *arg)
{
	struct worker *w = arg;
	struct snapshotter *s = w->t->s;
	SCOPED_ARENA(a);

	for (int i = 0; i < 20; i++) {
		struct str name = str_from(arena_printf(&a, "w%d-%d", w->n, i));
		struct str parent =
			i ? str_from(arena_printf(&a, "w%d-%d", w->n, i - 1)) : STR("base");
		struct mounts *m;
		uint64_t b, n;

		TRY(snapshot_prepare(s, name, parent));
		TRY(snapshot_mounts(s, &a, name, &m));
		TRY(snapshot_commit(s, name, name));
		TRY(snapshot_usage(s, ctx, name, &b, &n));
		if (i % 5 == 4) {
			const struct str in[] = { STR("base"), name };
			struct str merged = str_from(arena_printf(&a, "m%d-%d", w->n, i));

			TRY(snapshot_merge(s, ctx, merged, in, 2));
			TRY(snapshot_remove(s, merged));
		}
	}
	for (int i = 20; i-- > 0;)
		TRY(snapshot_remove(s, str_from(arena_printf(&a, "w%d-%d", w->n, i))));
	return NULL;
}

static void by_many_threads(void **state)
{
	struct shot *t = *state;
	struct worker w[6];
	struct task_group g;

	make(t, "base", "", "mkdir d; echo > d/f");
	task_group_init(&g, t->ctx, 0);
	for (int i = 0; i < 6; i++) {
		w[i] = (struct worker) { t, i };
		task_group_go(&g, "work", work, &w[i]);
	}
	assert_ok(task_group_wait(&g));
	store_sync_now(store_of(t->s));
	snapshotter_free(t->s);
	shot_open(t);
	assert_true(exists(t, "base"));
	assert_false(exists(t, "w0-0"));
	assert_ok(snapshot_remove(t->s, STR("base")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SHOT_TEST(what_was_not_on_the_disk_is_dropped),
		SHOT_TEST(active_ones_are_kept_only_at_rest),
		SHOT_TEST(joined_layers_are_recorded_when_they_are_on_the_disk),
		SHOT_TEST(clean_stop_syncs),
		SHOT_TEST(junk_is_dropped),
		SHOT_TEST(by_many_threads),
	};
	int r;

	if (!may_mount())
		return 77;
	r = cmocka_run_group_tests_name("overlay", tests, NULL, NULL);
	shot_native = true;
	return r | cmocka_run_group_tests_name("native", tests, NULL, NULL);
}
