#include "session/recv.h"

#include "cache/contenthash.h"
#include "sys/fd.h"
#include "sys/xattr.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define MAX_WRITERS 4
#define QUEUE_MAX (16 * MIB)
/* A sleeping writer is woken for this much work, or when the receiver is about to sleep: a
 * hand-over costs more than writing a small file. */
#define WAKE_JOBS 16
#define WAKE_BYTES (256 * KIB)
/* Neighbours go to the same writer. */
#define RUN 16

struct job {
	struct list link;
	struct recv_file *file;
	char *mem;
	struct str data;
	bool last;
};

struct writer_thread {
	struct recv_pool *pool;
	struct cond work;
	struct list jobs;
	size_t n_jobs, bytes;
	bool idle;
	struct hasher *hash;
};

struct recv_pool {
	struct task_group tasks;
	struct recv_dirs *dirs;
	const struct recv_owner *owner;
	bool hash;
	struct lock lock;
	struct cond changed; /* room, or a writer that has become idle */
	size_t bytes;        /* queued */
	bool stopping;
	unsigned n_writers, next, in_run;
	struct writer_thread writers[MAX_WRITERS];
};

/* ---- digests ---- */

void recv_hash_begin(struct hasher *h, const struct recv_entry *e)
{
	struct contenthash_entry c = {
		.path = e->meta.path,
		.mode = e->meta.mode,
		.uid = e->meta.uid,
		.gid = e->meta.gid,
		.devmajor = e->meta.devmajor,
		.devminor = e->meta.devminor,
		.size = e->meta.size,
		.linkname = e->meta.linkname,
	};
	SCOPED_ARENA(a);
	struct str *names = ARENA_NEW_N(&a, struct str, 2 * e->n_xattrs + 1);

	for (size_t i = 0; i < e->n_xattrs; i++) {
		names[i] = e->xattrs[i].name;
		names[e->n_xattrs + i] = e->xattrs[i].value;
	}
	c.xattr_names = names;
	c.xattr_values = names + e->n_xattrs;
	c.n_xattrs = e->n_xattrs;
	contenthash_begin(h, &c);
}

static void keep_digest(struct hasher *h, struct recv_entry *e)
{
	struct digest d = hasher_sum(h);

	memcpy(e->sha, d.bytes, RECV_SHA);
	e->has_digest = true;
}

void recv_digest_entry(struct hasher *h, struct recv_entry *e)
{
	recv_hash_begin(h, e);
	keep_digest(h, e);
}

/* ---- one file ---- */

static int create(int dirfd, const char *name, const struct recv_entry *e)
{
	return openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		      e->meta.mode & 0777);
}

static struct err *open_file(struct recv_pool *p, struct recv_file *f)
{
	struct recv_entry *e = f->entry;
	int dirfd;

	TRY(recv_dir_get(p->dirs, e->dir, &dirfd));
	if (!f->replace)
		f->fd = create(dirfd, e->name, e);
	if (f->replace || (f->fd < 0 && errno == EEXIST)) {
		recv_temp_name(f->temp);
		f->fd = create(dirfd, f->temp, e);
	}
	if (f->fd < 0) {
		int why = errno;

		recv_dir_put(p->dirs, e->dir);
		return err_errno(why, "open");
	}
	return NULL; /* the directory stays pinned until the file is done */
}

static struct err *set_meta(struct recv_pool *p, struct recv_file *f)
{
	const struct recv_owner *o = p->owner;
	const struct entry_meta *m = &f->entry->meta;
	struct timespec t = clock_to_timespec(m->mtime_ns), times[2] = { t, t };
	mode_t mode = m->mode & 07777;

	for (size_t i = 0; i < f->entry->n_xattrs; i++) {
		const struct fs_xattr *x = &f->entry->xattrs[i];

		/* The original sets the owner afterwards, which takes capabilities away. */
		if (str_eq_cstr(x->name, "security.capability"))
			continue;
		/* Not every file system takes every attribute. */
		err_free(xattr_set(f->fd, NULL, x->name.ptr, x->value));
	}
	if ((m->uid != o->uid || m->gid != o->gid || f->entry->dir->setgid) &&
	    fchown(f->fd, m->uid, m->gid) < 0)
		return err_errno(errno, "chown");
	if ((mode & 07000 || mode & o->umask) && fchmod(f->fd, mode) < 0)
		return err_errno(errno, "chmod");
	if (futimens(f->fd, times) < 0)
		return err_errno(errno, "utimensat");
	return NULL;
}

/* Closes, and undoes what was not finished. */
static void drop_file(struct recv_pool *p, struct recv_file *f, bool undo)
{
	int dirfd;

	if (f->fd >= 0) {
		(void)close(f->fd);
		if (undo && f->temp[0]) {
			struct err *e = recv_dir_get(p->dirs, f->entry->dir, &dirfd);

			if (!e) {
				(void)unlinkat(dirfd, f->temp, 0);
				recv_dir_put(p->dirs, f->entry->dir);
			}
			err_free(e);
		}
		recv_dir_put(p->dirs, f->entry->dir);
	}
	hasher_free(f->hash);
	free(f->held_mem);
	free(f);
}

static struct err *finish_file(struct recv_pool *p, struct recv_file *f)
{
	struct err *e = set_meta(p, f);
	int dirfd;

	if (!e && f->temp[0]) {
		e = recv_dir_get(p->dirs, f->entry->dir, &dirfd);
		if (!e) {
			e = recv_rename(dirfd, f->temp, f->entry->name);
			recv_dir_put(p->dirs, f->entry->dir);
		}
	}
	return e;
}

static struct err *run_job(struct writer_thread *w, struct job *j)
{
	struct recv_pool *p = w->pool;
	struct recv_file *f = j->file;
	struct recv_entry *e = f->entry;
	/* A file that comes in one piece does with the writer's own hasher. */
	struct hasher *h = f->hash ? f->hash : w->hash;
	bool first = f->fd < 0;

	if (first)
		TRY(open_file(p, f));
	if (first && p->hash) {
		if (!j->last)
			h = f->hash = hasher_new(DIGEST_SHA256);
		recv_hash_begin(h, e);
	}
	if (j->data.len) {
		TRY(fd_write_all(f->fd, j->data.ptr, j->data.len));
		e->got += j->data.len;
		if (p->hash)
			hasher_add_str(h, j->data);
	}
	if (!j->last)
		return NULL;
	if (p->hash)
		keep_digest(h, e);
	return finish_file(p, f);
}

/* ---- the writers ---- */

static void free_job(struct job *j)
{
	free(j->mem);
	free(j);
}

static struct err *write_one(struct writer_thread *w, struct job *j)
{
	struct recv_file *f = j->file;
	struct err *e = run_job(w, j);

	if (e)
		e = err_wrap(e, "failed to write %.*s", STR_ARG(f->entry->meta.path));
	if (j->last)
		drop_file(w->pool, f, e != NULL);
	return e;
}

static struct err *write_files(struct ctx *ctx, void *arg)
{
	struct writer_thread *w = arg;
	struct recv_pool *p = w->pool;
	struct err *e = NULL;

	lock_take(&p->lock);
	while (!e) {
		struct list batch, *n;
		size_t bytes = 0;

		if (list_empty(&w->jobs)) {
			if (p->stopping)
				break;
			w->idle = true;
			cond_broadcast(&p->changed);
			e = cond_wait(&w->work, &p->lock, ctx);
			w->idle = false;
			continue;
		}
		/* All that is there, at once. */
		list_init(&batch);
		list_add_tail(&w->jobs, &batch);
		list_del(&w->jobs);
		w->n_jobs = w->bytes = 0;
		lock_drop(&p->lock);
		while (!e && (n = list_pop(&batch))) {
			struct job *j = list_entry(n, struct job, link);

			bytes += j->data.len;
			e = write_one(w, j);
			free_job(j);
		}
		lock_take(&p->lock);
		p->bytes -= bytes;
		cond_broadcast(&p->changed);
		/* What is left of the batch is for recv_pool_free to clean up. */
		while ((n = list_pop(&batch)))
			list_add_tail(&w->jobs, n);
	}
	lock_drop(&p->lock);
	return e;
}

struct recv_pool *recv_pool_new(struct ctx *ctx, struct recv_dirs *ds, const struct recv_owner *o,
				bool hash)
{
	struct recv_pool *p = NEW(struct recv_pool);
	long n_cpu = sysconf(_SC_NPROCESSORS_ONLN);

	p->dirs = ds;
	p->owner = o;
	p->hash = hash;
	lock_init(&p->lock, LOCK_PIPELINE);
	cond_init(&p->changed);
	p->n_writers = (unsigned)MAX(1, MIN(n_cpu, (long)MAX_WRITERS));
	task_group_init(&p->tasks, ctx, 0);
	for (unsigned i = 0; i < p->n_writers; i++) {
		struct writer_thread *w = &p->writers[i];

		w->pool = p;
		cond_init(&w->work);
		list_init(&w->jobs);
		w->hash = hash ? hasher_new(DIGEST_SHA256) : NULL;
		task_group_go(&p->tasks, "write files", write_files, w);
	}
	return p;
}

struct ctx *recv_pool_ctx(struct recv_pool *p)
{
	return p->tasks.ctx;
}

struct recv_file *recv_file_new(struct recv_pool *p, struct recv_entry *e, bool replace)
{
	struct recv_file *f = NEW(struct recv_file);

	f->entry = e;
	f->replace = replace;
	f->fd = -1;
	f->writer = p->next;
	if (++p->in_run == RUN) {
		p->in_run = 0;
		p->next = (p->next + 1) % p->n_writers;
	}
	return f;
}

struct err *recv_pool_put(struct recv_pool *p, struct recv_file *f, char *take_mem, struct str data,
			  bool last)
{
	struct writer_thread *w = &p->writers[f->writer];
	struct job *j = NEW(struct job);
	struct err *e = NULL;

	*j = (struct job) { .file = f, .mem = take_mem, .data = data, .last = last };
	lock_take(&p->lock);
	while (p->bytes > QUEUE_MAX && !e) {
		for (unsigned i = 0; i < p->n_writers; i++)
			cond_signal(&p->writers[i].work);
		e = cond_wait(&p->changed, &p->lock, p->tasks.ctx);
	}
	/* Queued even then, so that it is cleaned up with the others. */
	list_add_tail(&w->jobs, &j->link);
	w->n_jobs++;
	w->bytes += data.len;
	p->bytes += data.len;
	if (w->idle && (w->n_jobs >= WAKE_JOBS || w->bytes >= WAKE_BYTES))
		cond_signal(&w->work);
	lock_drop(&p->lock);
	return e;
}

void recv_pool_flush(struct recv_pool *p)
{
	LOCKED(&p->lock);
	for (unsigned i = 0; i < p->n_writers; i++)
		if (p->writers[i].idle && !list_empty(&p->writers[i].jobs))
			cond_signal(&p->writers[i].work);
}

static bool all_idle_locked(struct recv_pool *p)
{
	for (unsigned i = 0; i < p->n_writers; i++)
		if (!p->writers[i].idle || !list_empty(&p->writers[i].jobs))
			return false;
	return true;
}

struct err *recv_pool_wait(struct recv_pool *p)
{
	recv_pool_flush(p);
	LOCKED(&p->lock);
	while (!all_idle_locked(p))
		TRY(cond_wait(&p->changed, &p->lock, p->tasks.ctx));
	return NULL;
}

void recv_pool_stop(struct recv_pool *p)
{
	ctx_cancel(p->tasks.ctx, NULL);
	lock_take(&p->lock);
	p->stopping = true;
	for (unsigned i = 0; i < p->n_writers; i++)
		cond_broadcast(&p->writers[i].work);
	lock_drop(&p->lock);
	/* The first failure was the cause of the group's ctx: told already. */
	err_free(task_group_wait(&p->tasks));
	for (unsigned i = 0; i < p->n_writers; i++) {
		struct writer_thread *w = &p->writers[i];
		struct list *n;

		while ((n = list_pop(&w->jobs))) {
			struct job *j = list_entry(n, struct job, link);

			if (j->last)
				drop_file(p, j->file, true);
			free_job(j);
		}
	}
}

void recv_file_drop(struct recv_pool *p, struct recv_file *f)
{
	drop_file(p, f, true);
}

void recv_pool_free(struct recv_pool *p)
{
	for (unsigned i = 0; i < p->n_writers; i++) {
		hasher_free(p->writers[i].hash);
		cond_fini(&p->writers[i].work);
	}
	cond_fini(&p->changed);
	lock_fini(&p->lock);
	free(p);
}
