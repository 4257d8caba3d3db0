#include "exec/netpool.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/mem.h"
#include "exec/proxynet.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/ns.h"
#include "sys/walk.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define IFNAME "eth0"
#define LIMIT_RECORD (8 * MIB)
/* An unused one beyond the target is kept this long. */
#define GRACE (300 * NSEC_PER_SEC)
#define UNDO_TIMEOUT (60 * NSEC_PER_SEC)

struct netns {
	struct list link;
	struct arena arena;
	const char *id, *path, *record; /* record: file with what undoing needs */
	struct str hostname, result;
	bool reusable;
	int64_t unused_since;
};

struct netpool {
	const struct cni *cni;
	char *dir;
	struct lock lock;
	struct cond work;
	struct list unused; /* most recently used first */
	struct list doomed;
	size_t count; /* reusable ones, in use or not */
	size_t target;
	struct ctx *ctx; /* of the thread */
	bool closing, filled;
	pthread_t thread;
};

const char *netns_path(const struct netns *n)
{
	return n->path;
}

/* ---- one namespace ---- */

static void netns_free(struct netns *n)
{
	arena_fini(&n->arena);
	free(n);
}

static struct netns *netns_named(const char *dir, const char *id)
{
	struct netns *n = NEW(struct netns);

	list_init(&n->link);
	n->id = arena_strdup(&n->arena, id);
	n->path = arena_printf(&n->arena, "%s/%s", dir, id);
	n->record = arena_printf(&n->arena, "%s/%s.json", dir, id);
	return n;
}

static struct err *write_record(const struct netns *n)
{
	SCOPED_BUF(b, LIMIT_RECORD);
	struct json_out j;

	json_out_init(&j, &b, NULL);
	json_obj_begin(&j);
	json_kstr(&j, "hostname", n->hostname);
	if (n->result.len) {
		json_key(&j, STR("result"));
		json_raw(&j, n->result);
	}
	json_obj_end(&j);
	TRY(buf_check(&b, "network record"));
	return file_replace(AT_FDCWD, n->record, buf_str(&b), 0600, FILE_NO_SYNC);
}

/* What an earlier run wrote; a torn or missing one only means that plugins are told less. */
static void read_record(struct netns *n)
{
	SCOPED_JSON(j);
	SCOPED_BUF(b, LIMIT_RECORD);
	struct json_out out;
	struct str text;
	const json_t *result;
	struct err *e = file_read_str(AT_FDCWD, n->record, &n->arena, LIMIT_RECORD, &text);

	if (!e)
		e = json_read(text, n->record, &j);
	if (e) {
		err_free(e);
		return;
	}
	n->hostname = str_dup(&n->arena, json_get_str(j, "hostname"));
	result = json_object_get(j, "result");
	if (!result)
		return;
	json_out_init(&out, &b, NULL);
	json_value(&out, result);
	n->result = str_dup(&n->arena, buf_str(&b));
}

static struct cni_attachment attachment(const struct netns *n)
{
	return (struct cni_attachment) { n->id, n->path, IFNAME, n->hostname };
}

/* Best effort: the namespace goes in any case, and with it what is in it. */
static struct err *netns_undo(const struct cni *c, struct netns *n)
{
	CLEANUP(ctx_unrefp) struct ctx *root = ctx_new_root(NULL);
	CLEANUP(ctx_unrefp) struct ctx *ctx = ctx_new_timeout(root, UNDO_TIMEOUT);
	struct cni_attachment at = attachment(n);
	struct err *e = c ? cni_del(c, ctx, &at, n->result) : NULL;

	e = err_first(e, ns_net_remove(n->path));
	return err_first(e, file_unlink(AT_FDCWD, n->record));
}

static struct err *netns_setup(const struct cni *c, struct ctx *ctx, struct netns *n)
{
	struct cni_attachment at = attachment(n);
	struct err *e;

	/* The record first: whatever is begun is known to a later run. */
	TRY(write_record(n));
	e = ns_net_create(n->path);
	if (!e) {
		if (c)
			e = err_wrap(cni_add(c, ctx, &at, &n->arena, &n->result),
				     "CNI setup error");
		else
			e = proxynet_setup(n->path);
		if (!e && !(e = write_record(n)))
			return NULL;
		err_free(netns_undo(c, n));
	}
	err_free(file_unlink(AT_FDCWD, n->record));
	return e;
}

static struct err *netns_make(struct netpool *p, struct ctx *ctx, struct str hostname,
			      struct netns **ret)
{
	SCOPED_ARENA(a);
	struct netns *n = netns_named(p->dir, id_new(&a));
	struct err *e;

	n->hostname = str_dup(&n->arena, hostname);
	n->reusable = !hostname.len;
	e = netns_setup(p->cni, ctx, n);
	if (e) {
		netns_free(n);
		return e;
	}
	if (n->reusable) {
		LOCKED(&p->lock);
		p->count++;
	}
	*ret = n;
	return NULL;
}

/* ---- what earlier runs left ---- */

static struct err *undo_old(const char *dir, const struct cni *c)
{
	CLEANUP(walk_names_fini) struct walk_names names = { 0 };
	CLEANUP_FD int fd = -1;

	TRY(fd_open_dir(AT_FDCWD, dir, &fd));
	TRY(walk_read_names(fd, true, &names));
	for (size_t i = 0; i < names.n; i++) {
		struct str name = str_from(names.items[i].name);
		SCOPED_ARENA(a);
		struct netns *n;

		/* The name of either file, once. */
		if (str_has_suffix(name, STR(".json")))
			name = str_trim_suffix(name, STR(".json"));
		else if (file_exists(fd, arena_printf(&a, "%s.json", name.ptr)))
			continue;
		n = netns_named(dir, str_cstr(&a, name));
		read_record(n);
		/* With the namespace gone plugins don't look into it. */
		err_free(ns_net_remove(n->path));
		err_free(netns_undo(c, n));
		netns_free(n);
	}
	return NULL;
}

struct err *netpool_forget(const char *dir)
{
	return undo_old(dir, NULL);
}

/* ---- the thread ---- */

/* The least recently used one that is beyond the target for long enough; else when to look again.
 */
static struct netns *take_idle_locked(struct netpool *p, int64_t *ret_when)
{
	struct netns *n;

	*ret_when = 0;
	if (list_empty(&p->unused) || p->count <= p->target)
		return NULL;
	n = list_entry(p->unused.prev, struct netns, link);
	if (clock_now() < n->unused_since + GRACE) {
		*ret_when = n->unused_since + GRACE;
		return NULL;
	}
	list_del(&n->link);
	p->count--;
	return n;
}

/* One piece of work, with the lock dropped meanwhile; false when there is none. */
static bool work_locked(struct netpool *p, int64_t *ret_when)
{
	struct netns *n = NULL;
	struct list *l = list_pop(&p->doomed);
	struct err *e;

	*ret_when = 0;
	if (l)
		n = list_entry(l, struct netns, link);
	else
		n = take_idle_locked(p, ret_when);
	if (n) {
		lock_drop(&p->lock);
		err_free(netns_undo(p->cni, n));
		netns_free(n);
		lock_take(&p->lock);
		return true;
	}
	if (p->closing || p->filled)
		return false;
	if (p->count >= p->target) {
		p->filled = true;
		return false;
	}
	lock_drop(&p->lock);
	e = netns_make(p, p->ctx, STR_NONE, &n);
	lock_take(&p->lock);
	if (e) {
		/* The next step that needs one meets the same error. */
		err_free(e);
		p->filled = true;
		return true;
	}
	n->unused_since = clock_now();
	list_add_head(&p->unused, &n->link);
	return true;
}

static void *pool_main(void *arg)
{
	struct netpool *p = arg;
	bool timeout;
	int64_t when;

	lock_take(&p->lock);
	for (;;) {
		if (work_locked(p, &when))
			continue;
		if (p->closing)
			break;
		if (when)
			err_free(cond_wait_until(&p->work, &p->lock, p->ctx, when, &timeout));
		else
			cond_wait_uninterrupted(&p->work, &p->lock);
	}
	lock_drop(&p->lock);
	return NULL;
}

static struct err *start_thread(struct netpool *p)
{
	sigset_t all, old;
	int errnum;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	errnum = pthread_create(&p->thread, NULL, pool_main, p);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return errnum ? err_errno(errnum, "pthread_create") : NULL;
}

/* ---- calls ---- */

static void pool_free(struct netpool *p)
{
	ctx_unref(p->ctx);
	cond_fini(&p->work);
	lock_fini(&p->lock);
	free(p->dir);
	free(p);
}

struct err *netpool_open(const char *dir, const struct cni *c, size_t target, struct ctx *ctx,
			 struct netpool **ret)
{
	struct netpool *p = NEW(struct netpool);
	struct netns *first = NULL;
	struct err *e;

	p->cni = c;
	p->dir = mem_strdup(dir);
	p->target = target;
	p->ctx = ctx_new_root(NULL);
	list_init(&p->unused);
	list_init(&p->doomed);
	lock_init(&p->lock, LOCK_NETPOOL);
	cond_init(&p->work);
	e = undo_old(dir, c);
	if (!e && c)
		e = netns_make(p, ctx, STR_NONE, &first);
	if (!e)
		e = start_thread(p);
	if (e) {
		if (first) {
			err_free(netns_undo(c, first));
			netns_free(first);
		}
		pool_free(p);
		return e;
	}
	if (first)
		netpool_put(p, first, false);
	*ret = p;
	return NULL;
}

void netpool_close(struct netpool *p)
{
	if (!p)
		return;
	lock_take(&p->lock);
	p->closing = true;
	list_each_safe (&p->unused, l) {
		list_del(l);
		list_add_tail(&p->doomed, l);
	}
	cond_signal(&p->work);
	lock_drop(&p->lock);
	/* Of a namespace that is being made. */
	ctx_cancel(p->ctx, NULL);
	(void)pthread_join(p->thread, NULL);
	pool_free(p);
}

struct err *netpool_get(struct netpool *p, struct ctx *ctx, struct str hostname, struct netns **ret)
{
	if (!hostname.len) {
		LOCKED(&p->lock);
		struct list *l = list_pop(&p->unused);

		if (l) {
			*ret = list_entry(l, struct netns, link);
			return NULL;
		}
	}
	return netns_make(p, ctx, hostname, ret);
}

void netpool_put(struct netpool *p, struct netns *n, bool touched)
{
	LOCKED(&p->lock);
	if (touched && n->reusable) {
		n->reusable = false;
		p->count--;
		p->filled = false;
	}
	n->unused_since = clock_now();
	list_add_head(n->reusable ? &p->unused : &p->doomed, &n->link);
	cond_signal(&p->work);
}
