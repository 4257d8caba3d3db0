/* A snapshotter in a scratch folder, and small trees in snapshots. */
#ifndef TESTS_SNAPSHOT_SHOT_H
#define TESTS_SNAPSHOT_SHOT_H

#include "../sys/scratch.h"

#include "base/task.h"
#include "kv/kv.h"
#include "snapshot/mounts.h"
#include "snapshot/snapshot.h"
#include "sys/ns.h"
#include "sys/proc.h"
#include "sys/xattr.h"

#include <sys/mount.h>

struct shot {
	struct scratch scratch;
	struct task_pool *pool;
	struct ctx *ctx;
	struct kv *kv;
	struct snapshotter *s;
	char dir[100];
	bool native;
};

static bool shot_native;

static inline void shot_open(struct shot *t)
{
	if (t->native)
		assert_ok(snapshotter_open_native(t->dir, t->kv, &t->s));
	else
		assert_ok(snapshotter_open_overlay(t->dir, t->kv, &t->s));
}

static inline int shot_setup(void **state)
{
	struct shot *t = NEW(struct shot);
	void *sc = NULL;

	if (scratch_setup(&sc) < 0)
		return -1;
	t->scratch = *(struct scratch *)sc;
	free(sc);
	t->native = shot_native;
	(void)snprintf(t->dir, sizeof(t->dir), "%s/snapshots", t->scratch.path);
	t->pool = task_pool_new();
	t->ctx = ctx_new_root(t->pool);
	t->kv = kv_open_mem();
	shot_open(t);
	*state = t;
	return 0;
}

static inline int shot_teardown(void **state)
{
	struct shot *t = *state;
	struct scratch *sc = NEW(struct scratch);
	void *p = sc;

	snapshotter_free(t->s);
	assert_ok(kv_close(t->kv));
	ctx_unref(t->ctx);
	task_pool_free(t->pool);
	*sc = t->scratch;
	free(t);
	return scratch_teardown(&p);
}

#define SHOT_TEST(fn) cmocka_unit_test_setup_teardown(fn, shot_setup, shot_teardown)

/* Runs a shell script in the root of the snapshot's mount (dir is "."). */
static inline void in_snapshot(struct shot *t, const char *name, const char *script)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(out, 10000);
	struct localmount *l = NULL;
	struct mounts *m;
	const char *const argv[] = { "sh", "-ec", script, NULL };
	struct proc_spec p = PROC_SPEC_INIT;
	struct proc_status st;

	assert_ok(snapshot_mounts(t->s, &a, str_from(name), &m));
	assert_ok(localmount_open(m, t->scratch.path, &l));
	p.file = "sh";
	p.argv = argv;
	p.cwd = localmount_path(l);
	assert_ok(proc_run(&p, t->ctx, STR(""), &out, &out, &st));
	if (!st.exited || st.code)
		print_error("%s: %s\n%s", name, script, buf_cstr(&out));
	assert_true(st.exited && st.code == 0);
	localmount_close(l);
}

/* A committed snapshot made by a script. */
static inline void make(struct shot *t, const char *name, const char *parent, const char *script)
{
	char active[64];

	(void)snprintf(active, sizeof(active), "%s-active", name);
	assert_ok(snapshot_prepare(t->s, str_from(active), str_from(parent)));
	in_snapshot(t, active, script);
	assert_ok(snapshot_commit(t->s, str_from(name), str_from(active)));
}

static inline bool may_mount(void)
{
	struct err *e;

	if (geteuid() != 0)
		return false;
	e = ns_enter_private_mounts();
	err_free(e);
	return !e;
}

#endif
