#include "base/limits.h"
#include "base/mem.h"
#include "base/task.h"
#include "snapshot/apply_impl.h"
#include "snapshot/layers.h"
#include "snapshot/mounts.h"
#include "sys/fd.h"

#include <unistd.h>

/* Layers of an image, each unpacked into an upper directory of its own, several at a time, whatever
 * is below it. What needs what is below (attributes of directories without an entry, hard links to
 * files of lower layers) is done in order afterwards, when that is there. */

/* Archives read at a time: each has a thread that inflates and one that unpacks. */
#define AT_ONCE 3
/* Between those two. */
#define READ_AHEAD ((size_t)4 * MIB)

struct chain_layer {
	struct chain *chain;
	size_t i;
	struct layer *layer; /* counted, until its snapshot has it */
	int fd;
	bool bottom; /* nothing below */
	bool done;   /* unpacked */
	struct apply_later later;
};

struct chain {
	struct snapshotter *s;
	struct err *(*open_layer)(void *arg, struct ctx *ctx, size_t i, struct reader **ret);
	void *arg;
	size_t n;
	struct chain_layer *layers;
};

struct pumped {
	struct reader *from;
	struct writer *to;
};

static struct err *pump(struct ctx *ctx, void *arg)
{
	struct pumped *p = arg;
	struct err *e = io_copy(ctx, p->to, p->from, NULL);

	if (!e)
		e = writer_finish(p->to);
	if (e)
		io_pipe_fail(p->to, e);
	writer_close(p->to);
	return NULL;
}

/* Reads the archive on another thread than it is unpacked on. */
static struct err *apply_ahead(struct ctx *ctx, struct reader *from, int fd,
			       const struct apply_opts *o, struct apply_later *later)
{
	struct pumped p = { .from = from };
	struct reader *r;
	struct task *t;
	struct err *e;

	if (!ctx_pool(ctx))
		return apply_run(ctx, fd, from, o, later, NULL);
	io_pipe(ctx, READ_AHEAD, &r, &p.to);
	t = task_start(ctx, "read layer", pump, &p);
	e = apply_run(ctx, fd, r, o, later, NULL);
	reader_close(r);
	return err_first(e, task_wait(t));
}

static struct err *open_and_apply(struct chain *c, struct ctx *ctx, size_t i, int fd,
				  const struct apply_opts *o, struct apply_later *later)
{
	CLEANUP(reader_closep) struct reader *from = NULL;

	TRY(ctx_err(ctx));
	TRY(c->open_layer(c->arg, ctx, i, &from));
	return apply_ahead(ctx, from, fd, o, later);
}

static struct err *unpack(struct ctx *ctx, void *arg)
{
	struct chain_layer *cl = arg;
	const struct apply_opts o = { .whiteouts_overlay = !cl->bottom, .lower_fd = -1 };

	TRY(open_and_apply(cl->chain, ctx, cl->i, cl->fd, &o, cl->bottom ? NULL : &cl->later));
	cl->done = true;
	return NULL;
}

/* ---- overlay ---- */

static struct err *make_layers(struct store *st, struct chain *c, struct str parent)
{
	struct layer *like = NULL;
	struct err *e = NULL;

	if (parent.len) {
		struct layers l = { 0 };
		struct snap *p;

		lock_take(&st->lock);
		e = store_find_parent_locked(st, parent, &p);
		if (!e)
			store_stack_locked(p, false, &l);
		if (l.len)
			like = store_layer_ref_locked(l.items[0]);
		lock_drop(&st->lock);
		vec_fini(&l);
	}
	for (size_t i = 0; i < c->n && !e; i++) {
		struct chain_layer *cl = &c->layers[i];

		cl->bottom = i == 0 && !parent.len;
		e = store_layer_new(st, like, &cl->layer);
		if (!e)
			e = store_layer_open(st, cl->layer, &cl->fd);
	}
	if (like)
		store_layer_unref(st, like);
	return e;
}

/* What needs the layers below, through a view of them. */
static struct err *fix(struct store *st, struct chain_layer *cl, struct snap *parent)
{
	struct layers l = { 0 };
	struct localmount *view = NULL;
	struct layer *tmp = NULL;
	struct err *e;

	if (!parent || (!cl->later.implied.len && !cl->later.links.len))
		return NULL;
	lock_take(&st->lock);
	store_stack_locked(parent, false, &l);
	lock_drop(&st->lock);
	e = layers_open_view(st, l.items, l.len, &view, &tmp);
	if (!e)
		e = apply_fix(cl->fd, localmount_dirfd(view), &cl->later);
	localmount_close(view);
	if (tmp)
		store_layer_unref(st, tmp);
	vec_fini(&l);
	return e;
}

static struct err *commit_layer(struct store *st, struct chain_layer *cl, struct str name,
				struct str parent)
{
	struct snap *s;
	struct err *e;

	TRY(store_add(st, name, SNAPSHOT_COMMITTED, parent, &s));
	e = fix(st, cl, s->parent);
	if (!e && s->parent)
		e = layers_limit(st, s->parent);
	cl->layer->whiteouts = !cl->bottom;
	cl->layer->clean = cl->bottom;
	s->own = TAKE_PTR(cl->layer);
	return store_finish(st, s, e);
}

static struct err *unpack_overlay(struct store *st, struct ctx *ctx, struct chain *c,
				  struct str parent, const struct str *names)
{
	struct err *e = make_layers(st, c, parent), *failed;
	struct task_group g;

	if (!e) {
		task_group_init(&g, ctx, AT_ONCE);
		for (size_t i = 0; i < c->n; i++)
			task_group_go(&g, "unpack layer", unpack, &c->layers[i]);
		e = task_group_wait(&g);
	}
	/* Those below the first that failed are good. */
	failed = e;
	for (size_t i = 0; i < c->n && c->layers[i].done; i++) {
		e = commit_layer(st, &c->layers[i], names[i], i ? names[i - 1] : parent);
		failed = err_first(failed, e);
		if (e)
			break;
	}
	return failed;
}

static void chain_fini(struct chain *c)
{
	for (size_t i = 0; i < c->n; i++) {
		struct chain_layer *cl = &c->layers[i];

		if (cl->fd >= 0)
			(void)close(cl->fd);
		if (cl->layer)
			store_layer_unref(store_of(c->s), cl->layer);
		apply_later_fini(&cl->later);
	}
	free(c->layers);
}

/* ---- others: each layer on a copy of the one below ---- */

static struct err *unpack_on_copy(struct chain *c, struct ctx *ctx, size_t i, struct str active)
{
	const struct apply_opts o = { .lower_fd = -1 };
	CLEANUP(localmount_closep) struct localmount *l = NULL;
	struct mounts *m;
	SCOPED_ARENA(a);

	TRY(snapshot_mounts(c->s, &a, active, &m));
	TRY(localmount_open(m, NULL, &l));
	return open_and_apply(c, ctx, i, localmount_dirfd(l), &o, NULL);
}

static struct err *unpack_copies(struct chain *c, struct ctx *ctx, struct str parent,
				 const struct str *names)
{
	for (size_t i = 0; i < c->n; i++) {
		struct err *e;

		TRY(snapshot_prepare(c->s, names[i], i ? names[i - 1] : parent));
		e = unpack_on_copy(c, ctx, i, names[i]);
		if (!e)
			e = snapshot_commit(c->s, names[i], names[i]);
		if (e) {
			err_free(snapshot_remove(c->s, names[i]));
			return e;
		}
	}
	return NULL;
}

struct err *snapshot_unpack_chain(struct snapshotter *s, struct ctx *ctx, struct str parent,
				  const struct str *names, size_t n,
				  struct err *(*open_layer)(void *arg, struct ctx *ctx, size_t i,
							    struct reader **ret),
				  void *arg)
{
	struct chain c = { .s = s, .open_layer = open_layer, .arg = arg, .n = n };
	struct err *e;

	c.layers = mem_calloc(n + 1, sizeof(*c.layers));
	for (size_t i = 0; i < n; i++) {
		c.layers[i].chain = &c;
		c.layers[i].i = i;
		c.layers[i].fd = -1;
	}
	if (snapshot_is_overlay(s))
		e = unpack_overlay(store_of(s), ctx, &c, parent, names);
	else
		e = unpack_copies(&c, ctx, parent, names);
	chain_fini(&c);
	return e;
}
