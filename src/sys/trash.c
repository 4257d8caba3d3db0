#include "base/buf.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/mem.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/rmtree.h"
#include "sys/walk.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* A thread of its own: it has no deadline, must not be cancelled with anything, and one remover at
 * a time leaves the disk to the builds. */
struct trash {
	int dirfd;
	pthread_t thread;
	struct lock lock;
	struct cond work, idle;
	uint64_t next;    /* number of the next thing put */
	uint64_t pending; /* put and not yet looked at */
	bool busy, closing;
};

static bool closing(struct trash *t)
{
	LOCKED(&t->lock);
	return t->closing;
}

/* What can't be removed is tried again with the next one, and at the next open. */
static void empty(struct trash *t)
{
	struct walk_names names;
	int fd = -1;
	struct err *e = fd_open_dir(t->dirfd, ".", &fd);

	if (!e) {
		e = walk_read_names(fd, false, &names);
		(void)close(fd);
	}
	if (e) {
		err_free(e);
		return;
	}
	for (size_t i = 0; i < names.n && !closing(t); i++)
		err_free(rmtree(t->dirfd, names.items[i].name));
	walk_names_fini(&names);
}

static void *trash_main(void *arg)
{
	struct trash *t = arg;

	lock_take(&t->lock);
	while (!t->closing) {
		if (!t->pending) {
			cond_wait_uninterrupted(&t->work, &t->lock);
			continue;
		}
		t->pending = 0;
		t->busy = true;
		lock_drop(&t->lock);
		empty(t);
		lock_take(&t->lock);
		t->busy = false;
		cond_broadcast(&t->idle);
	}
	lock_drop(&t->lock);
	return NULL;
}

struct err *trash_open(const char *dir, struct trash **ret)
{
	struct trash *t;
	pthread_attr_t attr;
	sigset_t all, old;
	int fd = -1, errnum;

	TRY(file_mkdirs(AT_FDCWD, dir, 0700));
	TRY(fd_open_dir(AT_FDCWD, dir, &fd));
	t = NEW(struct trash);
	t->dirfd = fd;
	t->next = (uint64_t)clock_wall();
	t->pending = 1; /* an earlier run's */
	lock_init(&t->lock, LOCK_LEAF);
	cond_init(&t->work);
	cond_init(&t->idle);
	(void)pthread_attr_init(&attr);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	errnum = pthread_create(&t->thread, &attr, trash_main, t);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)pthread_attr_destroy(&attr);
	if (errnum) {
		(void)close(fd);
		free(t);
		return err_errno(errnum, "pthread_create");
	}
	*ret = t;
	return NULL;
}

struct err *trash_put(struct trash *t, int dirfd, const char *name)
{
	char as[32];

	lock_take(&t->lock);
	(void)snprintf(as, sizeof(as), "%llx", (unsigned long long)t->next++);
	lock_drop(&t->lock);
	if (renameat(dirfd, name, t->dirfd, as) < 0) {
		if (errno == ENOENT)
			return NULL;
		return err_errno(errno, "remove %s", name);
	}
	LOCKED(&t->lock);
	t->pending++;
	cond_signal(&t->work);
	return NULL;
}

void trash_flush(struct trash *t)
{
	LOCKED(&t->lock);
	while (t->pending || t->busy)
		cond_wait_uninterrupted(&t->idle, &t->lock);
}

void trash_close(struct trash *t)
{
	if (!t)
		return;
	lock_take(&t->lock);
	t->closing = true;
	cond_signal(&t->work);
	lock_drop(&t->lock);
	(void)pthread_join(t->thread, NULL);
	(void)close(t->dirfd);
	cond_fini(&t->work);
	cond_fini(&t->idle);
	lock_fini(&t->lock);
	free(t);
}
