#include "base/clock.h"
#include "snapshot/store.h"

#include <signal.h>

/* Nothing waits for the disk. A record says which boot made it until this thread has seen a syncfs
 * that began after the snapshot was whole; under another boot such a record is dropped. */
#define DELAY_NS (5 * NSEC_PER_SEC)
#define FLUSH_DELAY_NS (200 * NSEC_PER_MSEC)

static bool became_known(const struct layer *l, uint64_t from, uint64_t to)
{
	return l && l->made > from && l->made <= to;
}

/* Its record can now name what was made of others for it. */
static bool has_news(const struct snap *s, uint64_t from, uint64_t to)
{
	bool news = s->own && became_known(s->own->clean_copy, from, to);

	for (size_t i = 0; i < s->n_base; i++)
		news |= became_known(s->base[i]->clean_copy, from, to);
	for (size_t i = 0; i < s->n_joined; i++)
		news |= became_known(s->joined[i], from, to) ||
			became_known(s->joined[i]->clean_copy, from, to);
	return news;
}

static void passed_locked(struct store *st, uint64_t before)
{
	uint64_t last = st->n_synced;

	st->n_synced = before;
	for (struct map_entry *m = map_next(&st->snaps, NULL); m; m = map_next(&st->snaps, m)) {
		struct snap *s = m->value;
		bool news = has_news(s, last, before);

		if (!s->durable && !s->busy && !s->awake && s->made <= before)
			s->durable = news = true;
		if (news)
			store_put_locked(st, s);
	}
}

void store_sync_now(struct store *st)
{
	struct err *e;
	uint64_t before;

	lock_take(&st->lock);
	st->sync_wanted = false;
	before = st->n_made;
	lock_drop(&st->lock);
	e = file_sync_fs(st->dirfd);
	lock_take(&st->lock);
	if (e)
		store_want_sync_locked(st);
	else
		passed_locked(st, before);
	lock_drop(&st->lock);
	err_free(e);
	err_free(store_flush(st));
}

/* Waits for the delay, or less if the store is closed or a sync is wanted before a flush is due. */
static void wait_locked(struct store *st, int64_t delay, bool for_sync)
{
	int64_t until = clock_now() + delay;
	bool timeout = false;

	while (!st->closing && !timeout && (for_sync || !st->sync_wanted))
		err_free(cond_wait_until(&st->sync_cond, &st->lock, st->idle, until, &timeout));
}

/* A sync flushes too. */
static void *syncer_main(void *arg)
{
	struct store *st = arg;

	lock_take(&st->lock);
	while (!st->closing) {
		bool sync = st->sync_wanted;

		if (!sync && !st->flush_wanted) {
			cond_wait_uninterrupted(&st->sync_cond, &st->lock);
			continue;
		}
		wait_locked(st, sync ? DELAY_NS : FLUSH_DELAY_NS, sync);
		if (st->closing)
			break;
		if (st->sync_wanted && !sync)
			continue;
		st->flush_wanted = false;
		lock_drop(&st->lock);
		if (sync)
			store_sync_now(st);
		else
			err_free(store_flush(st));
		lock_take(&st->lock);
	}
	lock_drop(&st->lock);
	return NULL;
}

void store_want_flush_locked(struct store *st)
{
	lock_assert_held(&st->lock);
	if (st->flush_wanted)
		return;
	st->flush_wanted = true;
	cond_signal(&st->sync_cond);
}

void store_want_sync_locked(struct store *st)
{
	lock_assert_held(&st->lock);
	if (st->sync_wanted)
		return;
	st->sync_wanted = true;
	cond_signal(&st->sync_cond);
}

struct err *store_start_syncer(struct store *st)
{
	sigset_t all, old;
	int errnum;

	st->idle = ctx_new_root(NULL);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	errnum = pthread_create(&st->syncer, NULL, syncer_main, st);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (errnum)
		return err_errno(errnum, "pthread_create");
	st->has_syncer = true;
	return NULL;
}

void store_stop_syncer(struct store *st)
{
	if (st->has_syncer) {
		lock_take(&st->lock);
		st->closing = true;
		cond_signal(&st->sync_cond);
		lock_drop(&st->lock);
		(void)pthread_join(st->syncer, NULL);
		/* A clean stop leaves nothing that a reboot would take. */
		if (st->sync_wanted)
			store_sync_now(st);
		else if (st->flush_wanted)
			err_free(store_flush(st));
	}
	ctx_unref(st->idle);
}
