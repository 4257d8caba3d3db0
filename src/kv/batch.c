/* Group commit. There is one write baton. Whoever finds it free runs the updates of everybody
 * who waits, in one transaction: a lone update runs on its caller's thread without any
 * hand-over. Syncing is apart from it: one round at a time syncs all that was committed
 * when it began, while further updates go on being committed. */
#include "kv/kv_lmdb.h"

#include "base/clock.h"

#include <errno.h>
#include <sys/statvfs.h>

#define BATCH_MAX 512
#define FULL_BYTES ((uint64_t)16 << 20) /* a short write with less free is a full disk */
#define LAZY_NS NSEC_PER_SEC
#define LOOK_NS (20 * NSEC_PER_SEC)
/* Pages of the last synced state are not used again, so each commit until the next makes the file
 * some pages larger. */
#define COMMITS_MAX 400

struct update {
	struct list link;
	struct kv *kv;
	kv_fn fn;
	void *arg;
	struct cond cond;
	bool done;    /* under the lock */
	bool failed;  /* by its own doing: left out when the others are run again */
	bool changed; /* put or deleted something */
	bool unrun;   /* the environment was broken already: to be tried on a new one */
	uint64_t seq; /* the commit it is in */
	struct err *err;
};

static struct kv_lmdb *of_kv(struct kv *kv)
{
	return container_of(kv, struct kv_lmdb, base);
}

/* ---- the baton ---- */

static void baton_drop_locked(struct kv_lmdb *k)
{
	lock_assert_held(&k->lock);
	k->writing = false;
	if (k->n_baton_waiters)
		cond_signal(&k->baton_cond);
	else if (!list_empty(&k->queue))
		cond_signal(&list_entry(k->queue.next, struct update, link)->cond);
}

/* For work that is no update; goes before waiting updates. */
static void baton_take(struct kv_lmdb *k)
{
	LOCKED(&k->lock);
	k->n_baton_waiters++;
	while (k->writing)
		cond_wait_uninterrupted(&k->baton_cond, &k->lock);
	k->n_baton_waiters--;
	k->writing = true;
}

static void baton_drop(struct kv_lmdb *k)
{
	LOCKED(&k->lock);
	baton_drop_locked(k);
}

/* ---- one transaction ---- */

enum outcome { DONE, AGAIN, GROW, BROKEN };

static struct err *begin(struct kv_lmdb *k, struct lmdb_txn *t, bool *ret_broken)
{
	int rc = k->env ? mdb_txn_begin(k->env, NULL, 0, &t->mdb) : MDB_PANIC;

	*ret_broken = rc == MDB_PANIC;
	if (*ret_broken)
		k->must_reopen = true;
	return rc ? lmdb_err(rc, "begin") : NULL;
}

/* LMDB calls a write that came out short EIO. */
static bool is_full(struct kv_lmdb *k)
{
	struct statvfs fs;

	return fstatvfs(k->dirfd, &fs) == 0 && fs.f_bavail * fs.f_frsize < FULL_BYTES;
}

static void fail_rest(struct list *batch, const struct err *e, bool unrun)
{
	list_each (batch, n) {
		struct update *u = list_entry(n, struct update, link);

		if (!u->failed) {
			u->err = err_dup(e);
			u->unrun = unrun;
		}
		u->failed = true;
	}
}

static struct err *try_batch(struct kv_lmdb *k, struct list *batch, enum outcome *ret)
{
	struct lmdb_txn t = { .base = { .kv = &k->base, .writable = true } };
	struct err *failed;
	bool broken;
	int rc;

	failed = begin(k, &t, &broken);
	if (broken)
		*ret = BROKEN;
	TRY(failed);
	list_each (batch, n) {
		struct update *u = list_entry(n, struct update, link);
		size_t before = t.n_changes;
		struct err *e;

		if (u->failed)
			continue;
		e = u->fn(&t.base, u->arg);
		u->changed = t.n_changes != before;
		if (t.full) {
			err_free(e);
			mdb_txn_abort(t.mdb);
			*ret = GROW;
			return NULL;
		}
		if (!e && !t.broken)
			continue;
		u->err = e ? e : err_new(ERR_INTERNAL, "kv: a change failed");
		u->failed = true;
		if (!u->changed && !t.broken)
			continue;
		mdb_txn_abort(t.mdb);
		*ret = AGAIN;
		return NULL;
	}
	*ret = DONE;
	if (!t.n_changes) {
		mdb_txn_abort(t.mdb);
		return NULL;
	}
	rc = mdb_txn_commit(t.mdb);
	if (rc == MDB_MAP_FULL) {
		*ret = GROW;
		return NULL;
	}
	if (rc == MDB_PANIC)
		k->must_reopen = true;
	if (rc)
		return lmdb_err(rc == EIO && is_full(k) ? ENOSPC : rc, "commit");
	atomic_fetch_add_explicit(&k->n_tables, t.n_new_tables, memory_order_release);
	return NULL;
}

/* With the baton. */
static void run_batch(struct kv_lmdb *k, struct list *batch)
{
	enum outcome out = AGAIN;
	struct err *e = NULL;

	while (!e && out != DONE) {
		e = try_batch(k, batch, &out);
		if (!e && out == GROW)
			e = lmdb_grow(k);
	}
	if (e)
		fail_rest(batch, e, out == BROKEN);
	err_free(e);
}

static void lead_locked(struct kv_lmdb *k)
{
	struct list batch;
	struct list *n;
	bool changed = false;

	lock_assert_held(&k->lock);
	k->writing = true;
	list_init(&batch);
	for (int i = 0; i < BATCH_MAX && (n = list_pop(&k->queue)); i++)
		list_add_tail(&batch, n);
	lock_drop(&k->lock);
	run_batch(k, &batch);
	lock_take(&k->lock);
	list_each (&batch, m) {
		struct update *u = list_entry(m, struct update, link);

		changed |= !u->failed && u->changed;
	}
	if (changed) {
		k->commit_seq++;
		if (k->timer_idle || k->commit_seq - k->synced_seq == COMMITS_MAX)
			cond_signal(&k->timer_cond);
	}
	while ((n = list_pop(&batch))) {
		struct update *u = list_entry(n, struct update, link);

		u->seq = k->commit_seq;
		u->done = true;
		cond_signal(&u->cond);
	}
	baton_drop_locked(k);
}

/* ---- syncing ---- */

/* LMDB has given up on the environment after a failed write of a meta page. */
static struct err *reopen(struct kv_lmdb *k)
{
	struct err *e;

	lmdb_gate_close(k);
	lmdb_env_close(k);
	e = lmdb_env_open(k, k->generation);
	lmdb_gate_open(k);
	return e;
}

static struct err *sync_and_mark(struct kv_lmdb *k, struct mark *m)
{
	int fd;

	(void)mdb_env_get_fd(k->env, &fd);
	if (fdatasync(fd) < 0) {
		/* What the kernel could not write it has also forgotten: only writing all
		 * of it anew can make it durable. */
		k->must_rotate = true;
		return err_errno(errno, "kv: sync");
	}
	/* A new store's files have names by now, but not yet on the disk. */
	if (mark_is_first(&k->marks) && fsync(k->dirfd) < 0)
		return err_errno(errno, "kv: sync %s", k->dir);
	return mark_write(&k->marks, m);
}

static void swap_pin(struct kv_lmdb *k, MDB_txn *pin, bool marked)
{
	MDB_txn *drop = marked ? k->pin : pin;

	if (marked)
		k->pin = pin;
	if (drop) {
		mdb_txn_reset(drop);
		k->spare_pin = drop;
	}
}

/* A file that has become mostly free is copied. With `syncing` and the baton. */
static bool compact(struct kv_lmdb *k)
{
	int64_t now = clock_now();
	bool mostly_free = false;
	struct err *e;

	if (now < k->looked_ns + LOOK_NS)
		return false;
	k->looked_ns = now;
	err_free(lmdb_is_mostly_free(k, &mostly_free));
	if (!mostly_free)
		return false;
	lmdb_gate_close(k);
	e = lmdb_rotate(k);
	lmdb_gate_open(k);
	mostly_free = !e;
	/* No room for the copy: it goes on as it is. */
	err_free(e);
	return mostly_free;
}

/* With `syncing`, without the baton. On failure *ret_seq is what was to be covered. */
static struct err *sync_round(struct kv_lmdb *k, uint64_t *ret_seq)
{
	struct err *e = NULL;
	struct mark m;
	MDB_txn *pin;

	baton_take(k);
	lock_take(&k->lock);
	*ret_seq = k->commit_seq;
	lock_drop(&k->lock);
	if (!k->must_reopen && !k->must_rotate && compact(k)) {
		baton_drop(k);
		return NULL;
	}
	if (k->must_reopen) {
		e = reopen(k);
		if (!e) {
			/* No pin: nothing may be written before the state is marked. */
			e = lmdb_sync_now(k);
			k->must_reopen = e;
		}
		baton_drop(k);
		return e;
	}
	if (k->must_rotate) {
		lmdb_gate_close(k);
		e = lmdb_rotate(k);
		lmdb_gate_open(k);
		k->must_rotate = e;
		baton_drop(k);
		return e;
	}
	e = lmdb_capture(k, &m, &pin);
	baton_drop(k);
	if (e)
		return e;
	e = sync_and_mark(k, &m);
	swap_pin(k, pin, !e);
	return e;
}

struct err *lmdb_sync_now(struct kv_lmdb *k)
{
	struct mark m;
	MDB_txn *pin;
	struct err *e;

	TRY(lmdb_capture(k, &m, &pin));
	e = sync_and_mark(k, &m);
	swap_pin(k, pin, !e);
	return e;
}

struct err *lmdb_mark_new(struct kv_lmdb *k)
{
	struct mark m;
	MDB_txn *pin;
	struct err *e;

	TRY(lmdb_capture(k, &m, &pin));
	e = mark_write_first(&k->marks, &m);
	swap_pin(k, pin, !e);
	return e;
}

static void lead_round_locked(struct kv_lmdb *k)
{
	struct err *e;
	uint64_t seq;

	lock_assert_held(&k->lock);
	k->syncing = true;
	lock_drop(&k->lock);
	e = sync_round(k, &seq);
	lock_take(&k->lock);
	err_free(k->sync_err);
	k->sync_err = e;
	k->tried_seq = seq;
	if (!e)
		k->synced_seq = MAX(k->synced_seq, seq);
	k->syncing = false;
	k->sync_round++;
	cond_broadcast(&k->sync_cond);
}

static struct err *sync_to_locked(struct kv_lmdb *k, uint64_t seq)
{
	lock_assert_held(&k->lock);
	while (k->synced_seq < seq) {
		uint64_t round = k->sync_round;

		if (!k->syncing)
			lead_round_locked(k);
		while (k->sync_round == round)
			cond_wait_uninterrupted(&k->sync_cond, &k->lock);
		if (k->synced_seq < seq && k->sync_err && k->tried_seq >= seq)
			return err_dup(k->sync_err);
	}
	return NULL;
}

struct err *lmdb_sync(struct kv *kv)
{
	struct kv_lmdb *k = of_kv(kv);

	LOCKED(&k->lock);
	return sync_to_locked(k, k->commit_seq);
}

/* ---- updates ---- */

/* Waits for a round that puts the environment right again. */
static struct err *repair_locked(struct kv_lmdb *k)
{
	while (k->must_reopen) {
		uint64_t round = k->sync_round;

		if (!k->syncing)
			lead_round_locked(k);
		while (k->sync_round == round)
			cond_wait_uninterrupted(&k->sync_cond, &k->lock);
		if (k->must_reopen && k->sync_err)
			return err_dup(k->sync_err);
	}
	return NULL;
}

static void run_update_locked(struct kv_lmdb *k, struct update *u)
{
	cond_init(&u->cond);
	list_add_tail(&k->queue, &u->link);
	while (!u->done) {
		if (!k->writing && !k->n_baton_waiters)
			lead_locked(k);
		else
			cond_wait_uninterrupted(&u->cond, &k->lock);
	}
	cond_fini(&u->cond);
}

struct err *lmdb_update(struct kv *kv, enum kv_mode mode, kv_fn fn, void *arg)
{
	struct kv_lmdb *k = of_kv(kv);
	struct update u;
	struct err *e = NULL;

	LOCKED(&k->lock);
	do {
		err_free(e);
		if (k->must_reopen)
			TRY(repair_locked(k));
		u = (struct update) { .kv = kv, .fn = fn, .arg = arg };
		run_update_locked(k, &u);
		e = u.err;
	} while (u.unrun);
	if (!e && mode == KV_DURABLE && u.changed)
		e = sync_to_locked(k, u.seq);
	return e;
}

/* ---- the timer ---- */

static bool is_hurried_locked(const struct kv_lmdb *k)
{
	return k->commit_seq - k->synced_seq >= COMMITS_MAX;
}

static void timer_wait_locked(struct kv_lmdb *k, bool hurry)
{
	int64_t until = clock_now() + LAZY_NS;
	bool timeout = false;

	while (!k->stopping && !timeout && !(hurry && is_hurried_locked(k)))
		err_free(cond_wait_until(&k->timer_cond, &k->lock, k->timer_ctx, until, &timeout));
}

static void *timer_main(void *arg)
{
	struct kv_lmdb *k = arg;
	bool failed = false;

	LOCKED(&k->lock);
	while (!k->stopping) {
		struct err *e;

		if (k->commit_seq == k->synced_seq) {
			k->timer_idle = true;
			cond_wait_uninterrupted(&k->timer_cond, &k->lock);
			k->timer_idle = false;
			continue;
		}
		timer_wait_locked(k, !failed);
		if (k->stopping)
			break;
		/* A failure shows again when somebody needs it to be durable. */
		e = sync_to_locked(k, k->commit_seq);
		failed = e;
		err_free(e);
		lock_drop(&k->lock);
		lmdb_trim(k);
		lock_take(&k->lock);
	}
	return NULL;
}

void lmdb_timer_start(struct kv_lmdb *k)
{
	k->timer_runs = pthread_create(&k->timer, NULL, timer_main, k) == 0;
}

void lmdb_timer_stop(struct kv_lmdb *k)
{
	lock_take(&k->lock);
	k->stopping = true;
	cond_signal(&k->timer_cond);
	lock_drop(&k->lock);
	if (k->timer_runs)
		(void)pthread_join(k->timer, NULL);
	k->timer_runs = false;
}
