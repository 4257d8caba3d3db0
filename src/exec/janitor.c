#include "exec/exec_impl.h"

#include "base/mem.h"
#include "sys/fd.h"
#include "sys/rmtree.h"

#include <signal.h>

struct janitor_job {
	struct list link;
	char *id, *cgroup;
	bool ended;
};

static void do_job(struct janitor *j, struct janitor_job *job)
{
	if (j->driver)
		j->driver->forget(j->driver->arg, job->id, job->cgroup, job->ended);
	else
		runc_forget(j->runc, job->id, job->cgroup, job->ended);
	err_free(rmtree(j->dirfd, job->id));
	free(job->id);
	free(job->cgroup);
	free(job);
}

static void probe(struct janitor *j)
{
	CLEANUP(ctx_unrefp) struct ctx *root = ctx_new_root(NULL);
	struct err *e = j->runc->program ? runc_probe(j->runc, root) : NULL;

	LOCKED(&j->lock);
	j->probe_err = e;
	j->probed = true;
	cond_broadcast(&j->probe_end);
}

struct err *janitor_wait_probe(struct janitor *j, struct ctx *ctx)
{
	LOCKED(&j->lock);
	while (!j->probed)
		TRY(cond_wait(&j->probe_end, &j->lock, ctx));
	return j->probe_err ? err_dup(j->probe_err) : NULL;
}

static void *janitor_main(void *arg)
{
	struct janitor *j = arg;

	if (!j->driver)
		probe(j);
	lock_take(&j->lock);
	for (;;) {
		struct list *l = list_pop(&j->jobs);

		if (l) {
			lock_drop(&j->lock);
			do_job(j, list_entry(l, struct janitor_job, link));
			lock_take(&j->lock);
		} else if (j->closing) {
			break;
		} else {
			cond_wait_uninterrupted(&j->work, &j->lock);
		}
	}
	lock_drop(&j->lock);
	return NULL;
}

static void janitor_fini(struct janitor *j)
{
	cond_fini(&j->work);
	cond_fini(&j->probe_end);
	lock_fini(&j->lock);
	err_free(j->probe_err);
	(void)close(j->dirfd);
}

struct err *janitor_start(struct janitor *j, struct runc *r, const struct exec_driver *d,
			  const char *dir)
{
	sigset_t all, old;
	int errnum;

	j->runc = r;
	j->driver = d;
	TRY(fd_open_dir(AT_FDCWD, dir, &j->dirfd));
	list_init(&j->jobs);
	lock_init(&j->lock, LOCK_EXEC);
	cond_init(&j->work);
	cond_init(&j->probe_end);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	errnum = pthread_create(&j->thread, NULL, janitor_main, j);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!errnum)
		return NULL;
	janitor_fini(j);
	return err_errno(errnum, "pthread_create");
}

void janitor_put(struct janitor *j, const char *id, const char *cgroup, bool ended)
{
	struct janitor_job *job = NEW(struct janitor_job);

	job->id = mem_strdup(id);
	job->cgroup = mem_strdup(cgroup);
	job->ended = ended;
	LOCKED(&j->lock);
	list_add_tail(&j->jobs, &job->link);
	cond_signal(&j->work);
}

void janitor_stop(struct janitor *j)
{
	lock_take(&j->lock);
	j->closing = true;
	cond_signal(&j->work);
	lock_drop(&j->lock);
	(void)pthread_join(j->thread, NULL);
	janitor_fini(j);
}
