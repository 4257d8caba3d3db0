#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/ref.h"
#include "base/task.h"
#include "base/vec.h"
#include "sys/copy_internal.h"
#include "sys/fd.h"
#include "sys/walk.h"

#include <errno.h>
#include <unistd.h>

/* One thread walks, makes directories and hard links and hands out files in batches of one
 * directory; the others copy them. */
#define BATCH 32
#define MAX_BATCHES 64 /* queued; the walker then waits */
#define MAX_THREADS 8

/* A pair of directories. Held by the walk while it is inside, by each batch of its files and by
 * each child directory: when the last one lets go all content is there, and owner, mode and times
 * can be set. */
struct dir {
	struct ref ref;
	struct tree *tree;
	struct dir *parent;
	const char *name; /* in the parent's names */
	char *path;       /* from the source root, "" for it */
	int src, dst;     /* dst is -1 until something in it is taken */
	bool existed;
	struct stat st;
	struct copy_attr attr;
	struct walk_names names;
	size_t at;
};

struct item {
	const char *name; /* in dir->names */
	struct stat st;
	struct copy_attr attr;
};

struct batch {
	struct list link;
	struct dir *dir;
	size_t n;
	struct item items[BATCH];
};

struct tree {
	const struct copy_opts *o;
	unsigned hint;
	VEC(struct dir *) stack; /* of the walk, innermost last */
	struct map links;        /* "dev:ino" -> destination path, heap */
	int dst_root;
	struct batch *open; /* being filled; NULL when copying inline */
	bool threaded;

	struct lock lock;
	struct cond work, room;
	struct list queue;
	size_t n_queued;
	bool closed;
	struct err *err; /* the first one */
};

static void tree_fail(struct tree *t, struct err *take_e)
{
	LOCKED(&t->lock);
	t->err = err_first(t->err, take_e);
	cond_broadcast(&t->work);
	cond_broadcast(&t->room);
}

static bool tree_failed(struct tree *t)
{
	LOCKED(&t->lock);
	return t->err != NULL;
}

static void dir_unref(struct dir *d)
{
	while (d && ref_put(&d->ref)) {
		struct dir *parent = d->parent;
		struct tree *t = d->tree;

		if (parent && d->dst >= 0 && (!d->existed || !(t->o->flags & COPY_KEEP_DIR_META))) {
			struct err *e = copy_dir_attrs(d->src, d->dst, &d->attr, t->o->flags);

			if (e)
				tree_fail(t, err_wrap(e, "copy %s", d->path));
		}
		if (d->dst >= 0)
			(void)close(d->dst);
		(void)close(d->src);
		if (parent && d->dst >= 0 && !d->existed && t->o->done)
			t->o->done(t->o->arg, str_from(d->path), &d->st);
		walk_names_fini(&d->names);
		free(d->path);
		free(d);
		d = parent;
	}
}

/* Makes the destination directory, and those above, if they wait for their first child. */
static struct err *dir_need_dst(struct dir *d)
{
	if (d->dst >= 0)
		return NULL;
	TRY(dir_need_dst(d->parent));
	return copy_make_dir(d->parent->dst, d->name, d->path, d->tree->o->flags, &d->dst,
			     &d->existed);
}

static char *child_path(const struct dir *d, const char *name)
{
	return d->path[0] ? mem_printf("%s/%s", d->path, name) : mem_strdup(name);
}

/* Takes src. */
static struct err *dir_new(struct tree *t, struct dir *parent, const char *name, int src,
			   struct dir **ret)
{
	struct dir *d = NEW(struct dir);

	ref_init(&d->ref);
	d->tree = t;
	d->name = name;
	d->src = src;
	d->dst = -1;
	d->path = parent ? child_path(parent, name) : mem_strdup("");
	if (parent)
		ref_get(&parent->ref);
	d->parent = parent;
	*ret = d;
	return walk_read_names(src, true, &d->names);
}

static struct err *copy_item(struct dir *d, const struct item *it)
{
	CLEANUP_FREE char *path = child_path(d, it->name);
	const struct copy_what w = { d->src, it->name, d->dst, it->name, path, &it->st };
	struct tree *t = d->tree;

	TRY(copy_non_dir(&w, &it->attr, t->o->flags, &t->hint));
	if (t->o->done)
		t->o->done(t->o->arg, str_from(path), &it->st);
	return NULL;
}

static void copy_batch(struct batch *take_b)
{
	struct dir *d = take_b->dir;
	struct err *e = NULL;

	for (size_t i = 0; i < take_b->n && !e; i++)
		e = copy_item(d, &take_b->items[i]);
	if (e)
		tree_fail(d->tree, e);
	free(take_b);
	dir_unref(d);
}

static struct batch *next_batch(struct tree *t)
{
	struct list *n = NULL;

	LOCKED(&t->lock);
	while (!(n = list_pop(&t->queue)) && !t->closed)
		cond_wait_uninterrupted(&t->work, &t->lock);
	if (!n)
		return NULL;
	t->n_queued--;
	cond_signal(&t->room);
	return list_entry(n, struct batch, link);
}

static struct err *worker(struct ctx *ctx, void *arg)
{
	struct tree *t = arg;
	struct batch *b;

	while ((b = next_batch(t))) {
		/* After a failure the rest is only let go. */
		if (tree_failed(t))
			b->n = 0;
		else if (ctx_done(ctx)) {
			b->n = 0;
			tree_fail(t, ctx_err(ctx));
		}
		copy_batch(b);
	}
	return NULL;
}

static void flush_batch(struct tree *t)
{
	struct batch *b = TAKE_PTR(t->open);

	if (!b)
		return;
	LOCKED(&t->lock);
	while (t->n_queued >= MAX_BATCHES)
		cond_wait_uninterrupted(&t->room, &t->lock);
	list_add_tail(&t->queue, &b->link);
	t->n_queued++;
	cond_signal(&t->work);
}

static void queue_item(struct dir *d, const struct item *it)
{
	struct tree *t = d->tree;
	struct batch *b = t->open;

	if (b && (b->dir != d || b->n == BATCH)) {
		flush_batch(t);
		b = NULL;
	}
	if (!b) {
		b = t->open = NEW(struct batch);
		list_init(&b->link);
		b->dir = d;
		ref_get(&d->ref);
	}
	b->items[b->n++] = *it;
	/* A big file is work enough for one thread. */
	if (it->st.st_size > (off_t)MIB)
		flush_batch(t);
}

/* A further name of an inode becomes a link to its first copy. *ret_done if so; else the first one
 * is copied at once, so that later ones find it. */
static struct err *copy_linked(struct dir *d, const struct item *it)
{
	struct tree *t = d->tree;
	char key[64];
	const char *first;
	int len = snprintf(key, sizeof(key), "%llx:%llx", (unsigned long long)it->st.st_dev,
			   (unsigned long long)it->st.st_ino);
	struct str k = str_make(key, (size_t)len);

	first = map_get(&t->links, k);
	if (!first) {
		TRY(copy_item(d, it));
		(void)map_put(&t->links, k, child_path(d, it->name));
		return NULL;
	}
	CLEANUP_FREE char *path = child_path(d, it->name);

	if (linkat(t->dst_root, first, d->dst, it->name, 0) < 0) {
		if (errno == EEXIST && (t->o->flags & (COPY_REPLACE | COPY_REPLACE_ANY))) {
			TRY(copy_make_way(d->dst, it->name, path, t->o->flags));
			if (linkat(t->dst_root, first, d->dst, it->name, 0) == 0)
				goto done;
		}
		if (errno == EMLINK)
			return copy_item(d, it);
		return err_errno(errno, "link %s to %s", path, first);
	}
done:
	if (t->o->done)
		t->o->done(t->o->arg, str_from(path), &it->st);
	return NULL;
}

static struct err *take_non_dir(struct dir *d, const struct item *it)
{
	struct tree *t = d->tree;

	TRY(dir_need_dst(d));
	if (it->st.st_nlink > 1 && !(t->o->flags & (COPY_NO_HARDLINKS | COPY_HARDLINK)))
		return copy_linked(d, it);
	if (!t->threaded)
		return copy_item(d, it);
	queue_item(d, it);
	return NULL;
}

static struct err *enter_dir(struct dir *d, const struct item *it, enum copy_verdict v)
{
	struct dir *child = NULL;
	int src = openat(d->src, it->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct err *e;

	if (src < 0)
		return err_errno(errno, "open %s/%s", d->path, it->name);
	e = dir_new(d->tree, d, it->name, src, &child);
	child->st = it->st;
	child->attr = it->attr;
	if (!e && v == COPY_TAKE)
		e = dir_need_dst(child);
	vec_push(&d->tree->stack, child);
	return e;
}

/* The next name of the innermost directory. */
static struct err *step(struct dir *d)
{
	const struct copy_opts *o = d->tree->o;
	struct item it = { .name = d->names.items[d->at++].name };
	enum copy_verdict v = COPY_TAKE;

	if (fstatat(d->src, it.name, &it.st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? NULL : err_errno(errno, "lstat %s/%s", d->path, it.name);
	copy_attr_of(&it.st, &it.attr);
	if (o->filter) {
		CLEANUP_FREE char *path = child_path(d, it.name);

		TRY(o->filter(o->arg, str_from(path), &it.st, &it.attr, &v));
	}
	if (v == COPY_SKIP)
		return NULL;
	if (S_ISDIR(it.st.st_mode))
		return enter_dir(d, &it, v);
	return take_non_dir(d, &it);
}

static struct err *walk_tree(struct ctx *ctx, struct tree *t, struct dir *root)
{
	struct err *e = NULL;

	vec_push(&t->stack, root);
	while (t->stack.len) {
		struct dir *d = t->stack.items[t->stack.len - 1];

		if (!e && d->at < d->names.n) {
			e = step(d);
			continue;
		}
		if (!e && ctx)
			e = ctx_err(ctx);
		if (!e && tree_failed(t))
			e = err_new(ERR_CANCELED, "copy failed");
		(void)vec_pop(&t->stack);
		dir_unref(d);
	}
	vec_fini(&t->stack);
	return e;
}

static unsigned n_threads(struct ctx *ctx, const struct copy_opts *o)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (!ctx || !ctx_pool(ctx))
		return 0;
	if (o->threads)
		return o->threads == 1 ? 0 : MIN(o->threads, (unsigned)MAX_THREADS);
	return cpus < 2 ? 0 : (unsigned)MIN(cpus, (long)MAX_THREADS);
}

static struct err *run(struct ctx *ctx, struct tree *t, struct dir *root)
{
	unsigned n = n_threads(ctx, t->o);
	struct task_group g;
	struct err *e, *ge;

	if (!n)
		return walk_tree(ctx, t, root);
	t->threaded = true;
	task_group_init(&g, ctx, 0);
	for (unsigned i = 0; i < n; i++)
		task_group_go(&g, "copy", worker, t);
	e = walk_tree(ctx, t, root);
	flush_batch(t);
	lock_take(&t->lock);
	t->closed = true;
	cond_broadcast(&t->work);
	lock_drop(&t->lock);
	ge = task_group_wait(&g);
	return err_first(e, ge);
}

struct err *copy_tree(struct ctx *ctx, int src_dirfd, int dst_dirfd, const struct copy_opts *o)
{
	struct tree t = { .o = o };
	struct dir *root = NULL;
	struct err *e;
	int src = -1;

	TRY(fd_open_dir(src_dirfd, ".", &src));
	lock_init(&t.lock, LOCK_QUEUE);
	cond_init(&t.work);
	cond_init(&t.room);
	list_init(&t.queue);
	e = dir_new(&t, NULL, NULL, src, &root);
	if (!e)
		e = fd_open_dir(dst_dirfd, ".", &root->dst);
	t.dst_root = root->dst;
	ref_get(&root->ref); /* the link targets are named relative to it */
	if (e)
		dir_unref(root);
	else
		e = run(ctx, &t, root);
	dir_unref(root);
	/* A thread's failure says more than the walk's that follows from it. */
	e = err_first(t.err, e);
	map_fini(&t.links, free);
	cond_fini(&t.work);
	cond_fini(&t.room);
	lock_fini(&t.lock);
	return e;
}
