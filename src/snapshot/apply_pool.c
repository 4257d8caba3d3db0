#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"
#include "snapshot/apply_impl.h"

#include <stdio.h>
#include <unistd.h>

/* Bytes and files waiting at most: the archive is not read faster than it is written. */
#define MAX_BYTES ((size_t)16 * MIB)
#define MAX_JOBS ((size_t)512)
#define MAX_THREADS 4

struct job {
	struct list link;
	struct apply_dir *dir;
	struct arena arena; /* names, xattrs */
	const char *name;
	struct str key;
	struct apply_meta meta;
	char *data;
	size_t len;
};

struct apply_pool {
	const struct apply_env *env;
	struct task_group group;
	struct lock lock;
	struct cond work, changed;
	struct list queue;
	struct map pending; /* keys of jobs that are not done */
	size_t n_jobs, n_bytes;
	bool closed;
	struct err *err;
};

/* A directory may be reached by several paths: its inode and the name tell an entry. */
static struct str key_of(struct arena *a, const struct apply_dir *d, const char *name)
{
	return str_from(arena_printf(a, "%llx:%llx/%s", (unsigned long long)d->dev,
				     (unsigned long long)d->ino, name));
}

static void job_free(struct job *j)
{
	apply_dir_unref(j->dir);
	free(j->data);
	arena_fini(&j->arena);
	free(j);
}

static struct job *next_job(struct apply_pool *p)
{
	struct list *n;

	LOCKED(&p->lock);
	while (!(n = list_pop(&p->queue)) && !p->closed)
		cond_wait_uninterrupted(&p->work, &p->lock);
	return n ? list_entry(n, struct job, link) : NULL;
}

static void finish_job(struct apply_pool *p, struct job *take_j, struct err *take_e)
{
	lock_take(&p->lock);
	(void)map_del(&p->pending, take_j->key);
	p->n_jobs--;
	p->n_bytes -= take_j->len;
	p->err = err_first(p->err, take_e);
	/* The producer alone waits here, for room or for the end of all. */
	if (!p->n_jobs || p->n_jobs == MAX_JOBS / 2 || p->n_bytes < MAX_BYTES / 2)
		cond_broadcast(&p->changed);
	lock_drop(&p->lock);
	job_free(take_j);
}

static struct err *writer(struct ctx *ctx, void *arg)
{
	struct apply_pool *p = arg;
	struct job *j;

	while ((j = next_job(p))) {
		struct err *e = NULL;

		if (!apply_pool_failed(p))
			e = apply_file(p->env, j->dir, j->name, &j->meta, j->data, j->len);
		if (e)
			e = err_wrap(e, "failed to extract %.*s/%s", STR_ARG(j->dir->path),
				     j->name);
		finish_job(p, j, e);
	}
	return NULL;
}

struct apply_pool *apply_pool_new(struct ctx *ctx, const struct apply_env *env)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct apply_pool *p;

	if (!ctx_pool(ctx) || cpus < 2)
		return NULL;
	p = NEW(struct apply_pool);
	p->env = env;
	lock_init(&p->lock, LOCK_QUEUE);
	cond_init(&p->work);
	cond_init(&p->changed);
	list_init(&p->queue);
	task_group_init(&p->group, ctx, 0);
	for (long i = 0; i < MIN(cpus, (long)MAX_THREADS); i++)
		task_group_go(&p->group, "unpack", writer, p);
	return p;
}

static void copy_meta(struct arena *a, const struct apply_meta *m, struct apply_meta *ret)
{
	*ret = *m;
	if (!m->n_xattrs)
		return;
	ret->xattrs = ARENA_NEW_N(a, struct tar_xattr, m->n_xattrs);
	for (size_t i = 0; i < m->n_xattrs; i++)
		ret->xattrs[i] = (struct tar_xattr) { str_dup(a, m->xattrs[i].name),
						      str_dup(a, m->xattrs[i].value) };
}

void apply_pool_add(struct apply_pool *p, struct apply_dir *d, const char *name,
		    const struct apply_meta *m, char *take_data, size_t len)
{
	struct job *j = NEW(struct job);

	list_init(&j->link);
	atomic_fetch_add(&d->refs, 1);
	j->dir = d;
	j->key = key_of(&j->arena, d, name);
	j->name = j->key.ptr + j->key.len - strlen(name);
	copy_meta(&j->arena, m, &j->meta);
	j->data = take_data;
	j->len = len;
	LOCKED(&p->lock);
	while (p->n_jobs >= MAX_JOBS || (p->n_jobs && p->n_bytes + len > MAX_BYTES))
		cond_wait_uninterrupted(&p->changed, &p->lock);
	p->n_jobs++;
	p->n_bytes += len;
	(void)map_put(&p->pending, j->key, j);
	list_add_tail(&p->queue, &j->link);
	cond_signal(&p->work);
}

bool apply_pool_has(struct apply_pool *p, const struct apply_dir *d, const char *name)
{
	SCOPED_ARENA(a);
	struct str key = key_of(&a, d, name);

	LOCKED(&p->lock);
	return map_has(&p->pending, key);
}

bool apply_pool_failed(struct apply_pool *p)
{
	LOCKED(&p->lock);
	return p->err != NULL;
}

struct err *apply_pool_drain(struct apply_pool *p)
{
	LOCKED(&p->lock);
	while (p->n_jobs)
		cond_wait_uninterrupted(&p->changed, &p->lock);
	return TAKE_PTR(p->err);
}

struct err *apply_pool_free(struct apply_pool *p)
{
	struct err *e;

	if (!p)
		return NULL;
	e = apply_pool_drain(p);
	lock_take(&p->lock);
	p->closed = true;
	cond_broadcast(&p->work);
	lock_drop(&p->lock);
	e = err_first(e, task_group_wait(&p->group));
	map_fini(&p->pending, NULL);
	cond_fini(&p->work);
	cond_fini(&p->changed);
	lock_fini(&p->lock);
	free(p);
	return e;
}
