/* One of containerd's snapshotters as the worker's. Committed snapshots have our names there,
 * active ones "<name>.a"; a committed one is looked at through a view "<name>.v", made when it is
 * first wanted. Labels say whose they are and what differences are between; all of it is known in
 * memory from the open on. */
#include "containerd/snapshotter.h"

#include "base/mem.h"
#include "snapshot/mounts.h"

#define S(method) CTD_SERVICE("snapshots.v1.Snapshots", method)
#define LABEL_WORKER "buildkit-c/worker"
#define LABEL_LOWER "buildkit-c/diff-lower"
#define LABEL_UPPER "buildkit-c/diff-upper"
#define LABEL_MERGED "buildkit-c/merged"

static void csnap_free(void *p)
{
	struct csnap *s = p;

	if (!s)
		return;
	free(s->parent);
	free(s->lower);
	free(s->upper);
	free(s->merged);
	free(s);
}

/* ---- what is known ---- */

static struct err *missing(struct str name)
{
	return err_new(ERR_NOT_FOUND, "snapshot %.*s does not exist: not found", STR_ARG(name));
}

/* A copy in the arena. */
struct err *csnap_find(struct csnapshotter *cs, struct arena *a, struct str name, struct csnap *ret)
{
	struct csnap *s;

	LOCKED(&cs->lock);
	s = map_get(&cs->snaps, name);
	if (!s)
		return missing(name);
	*ret = *s;
	ret->parent = arena_strdup(a, s->parent);
	ret->lower = s->lower ? arena_strdup(a, s->lower) : NULL;
	ret->upper = s->upper ? arena_strdup(a, s->upper) : NULL;
	ret->merged = s->merged ? arena_strdup(a, s->merged) : NULL;
	return NULL;
}

static void note(struct csnapshotter *cs, struct str name, const struct csnap *s)
{
	struct csnap *n = NEW(struct csnap);

	*n = *s;
	n->parent = mem_strdup(s->parent ? s->parent : "");
	n->lower = s->lower ? mem_strdup(s->lower) : NULL;
	n->upper = s->upper ? mem_strdup(s->upper) : NULL;
	n->merged = s->merged ? mem_strdup(s->merged) : NULL;
	LOCKED(&cs->lock);
	csnap_free(map_put(&cs->snaps, name, n));
}

static void forget(struct csnapshotter *cs, struct str name)
{
	LOCKED(&cs->lock);
	csnap_free(map_del(&cs->snaps, name));
	(void)map_del(&cs->views, name);
}

static bool has_view(struct csnapshotter *cs, struct str name)
{
	LOCKED(&cs->lock);
	return map_has(&cs->views, name);
}

static char *key_of(struct arena *a, struct str name, enum snapshot_kind kind)
{
	return arena_printf(a, "%.*s%s", STR_ARG(name), kind == SNAPSHOT_ACTIVE ? ".a" : "");
}

static char *view_of(struct arena *a, struct str name)
{
	return arena_printf(a, "%.*s.v", STR_ARG(name));
}

/* ---- the calls ---- */

#define label_entry Ctd__PrepareSnapshotRequest__LabelsEntry

static struct err *prepare_key(struct csnapshotter *cs, struct ctx *ctx, const char *method,
			       char *key, struct str parent, struct arena *a,
			       Ctd__MountsResponse **ret)
{
	Ctd__PrepareSnapshotRequest q = CTD__PREPARE_SNAPSHOT_REQUEST__INIT;
	label_entry whose = CTD__PREPARE_SNAPSHOT_REQUEST__LABELS_ENTRY__INIT, *labels[1];
	Ctd__SnapshotRequest mq = CTD__SNAPSHOT_REQUEST__INIT;
	struct err *e;
	bool again;

	whose.key = (char *)LABEL_WORKER;
	whose.value = (char *)cs->ctd->worker_id;
	labels[0] = &whose;
	q.snapshotter = (char *)cs->ctd->snapshotter;
	q.key = key;
	q.parent = str_cstr(a, parent);
	q.labels = labels;
	q.n_labels = 1;
	e = ctd_call(cs->ctd, ctx, method, &q, a, &ctd__mounts_response__descriptor, ret, &again);
	if (!again || !err_is(e, ERR_ALREADY_EXISTS))
		return e;
	/* The first call had done it. */
	err_free(e);
	mq.snapshotter = q.snapshotter;
	mq.key = key;
	return ctd_call(cs->ctd, ctx, S("Mounts"), &mq, a, &ctd__mounts_response__descriptor, ret,
			NULL);
}

static struct err *remove_key(struct csnapshotter *cs, char *key)
{
	Ctd__SnapshotRequest q = CTD__SNAPSHOT_REQUEST__INIT;

	q.snapshotter = (char *)cs->ctd->snapshotter;
	q.key = key;
	return ctd_undo(cs->ctd, cs->ctd->ctx, S("Remove"), &q);
}

static struct err *commit_key(struct csnapshotter *cs, char *name, char *key, const struct csnap *s)
{
	Ctd__CommitSnapshotRequest q = CTD__COMMIT_SNAPSHOT_REQUEST__INIT;
	Ctd__CommitSnapshotRequest__LabelsEntry l[3], *labels[3];
	Google__Protobuf__Empty *reply;
	struct err *e;
	bool again;
	SCOPED_ARENA(a);

	for (size_t i = 0; i < 3; i++) {
		ctd__commit_snapshot_request__labels_entry__init(&l[i]);
		labels[i] = &l[i];
	}
	l[0].key = (char *)LABEL_WORKER;
	l[0].value = (char *)cs->ctd->worker_id;
	l[1].key = (char *)LABEL_LOWER;
	l[1].value = s->lower ? s->lower : (char *)"";
	l[2].key = (char *)LABEL_UPPER;
	l[2].value = s->upper ? s->upper : (char *)"";
	if (s->merged) {
		l[1].key = (char *)LABEL_MERGED;
		l[1].value = s->merged;
	}
	q.snapshotter = (char *)cs->ctd->snapshotter;
	q.name = name;
	q.key = key;
	q.labels = labels;
	q.n_labels = s->is_diff ? 3 : s->merged ? 2 : 1;
	e = ctd_call(cs->ctd, cs->ctd->ctx, S("Commit"), &q, &a,
		     &google__protobuf__empty__descriptor, &reply, &again);
	if (again && (err_is(e, ERR_NOT_FOUND) || err_is(e, ERR_ALREADY_EXISTS))) {
		err_free(e);
		return NULL;
	}
	return e;
}

/* ---- mounts ---- */

static struct str *split_paths(struct arena *a, struct str list, size_t *ret_n)
{
	size_t max = 1, n = 0;
	struct str *out, one;

	for (size_t i = 0; i < list.len; i++)
		max += list.ptr[i] == ':';
	out = ARENA_NEW_N(a, struct str, max);
	while (str_next(&list, ':', &one))
		if (one.len)
			out[n++] = str_dup(a, one);
	*ret_n = n;
	return out;
}

static struct err *parse_mounts(const struct csnapshotter *cs, const Ctd__MountsResponse *r,
				struct arena *a, bool writable, struct mounts **ret)
{
	struct mounts *m = ARENA_NEW(a, struct mounts);
	const Ctd__Mount *w = r->n_mounts == 1 ? r->mounts[0] : NULL;
	bool bind = w && strcmp(w->type, "bind") == 0;

	if (!w || (!bind && strcmp(w->type, "overlay") != 0))
		return err_new(ERR_UNIMPLEMENTED,
			       "snapshotter %s: mounts of type %s are not supported",
			       cs->ctd->snapshotter, w ? w->type : "several");
	m->kind = bind ? MOUNT_BIND : MOUNT_OVERLAY;
	m->readonly = !writable;
	m->is_volatile = true;
	if (bind)
		m->source = str_dup(a, str_from(w->source));
	for (size_t i = 0; i < w->n_options; i++) {
		struct str key, value;

		if (!str_cut(str_from(w->options[i]), '=', &key, &value))
			continue;
		if (str_eq_cstr(key, "lowerdir"))
			m->lowers = split_paths(a, value, &m->n_lowers);
		else if (str_eq_cstr(key, "upperdir"))
			m->upper = str_dup(a, value);
		else if (str_eq_cstr(key, "workdir"))
			m->work = str_dup(a, value);
	}
	if (!bind && (!m->n_lowers || (writable && !m->upper.len)))
		return err_new(ERR_INTERNAL, "snapshotter %s: incomplete overlay mount",
			       cs->ctd->snapshotter);
	*ret = m;
	return NULL;
}

/* A view may be made by two at once; the second finds it. */
static struct err *make_view(struct csnapshotter *cs, struct ctx *ctx, struct str name,
			     struct arena *a)
{
	Ctd__MountsResponse *r;
	struct err *e;

	if (has_view(cs, name))
		return NULL;
	e = prepare_key(cs, ctx, S("View"), view_of(a, name), name, a, &r);
	if (err_is(e, ERR_ALREADY_EXISTS)) {
		err_free(e);
		e = NULL;
	}
	TRY(e);
	LOCKED(&cs->lock);
	(void)map_put(&cs->views, name, cs);
	return NULL;
}

struct err *csnap_mounts(struct snapshotter *sn, struct arena *a, struct str name,
			 struct mounts **ret)
{
	struct csnapshotter *cs = csnapshotter_of(sn);
	Ctd__SnapshotRequest q = CTD__SNAPSHOT_REQUEST__INIT;
	struct ctx *ctx = cs->ctd->ctx;
	Ctd__MountsResponse *r;
	struct csnap s;

	TRY(csnap_find(cs, a, name, &s));
	q.snapshotter = (char *)cs->ctd->snapshotter;
	q.key = key_of(a, name, s.kind);
	if (s.kind == SNAPSHOT_COMMITTED) {
		TRY(make_view(cs, ctx, name, a));
		q.key = view_of(a, name);
	}
	TRY(ctd_call(cs->ctd, ctx, S("Mounts"), &q, a, &ctd__mounts_response__descriptor, &r,
		     NULL));
	return parse_mounts(cs, r, a, s.kind == SNAPSHOT_ACTIVE, ret);
}

/* ---- single snapshots ---- */

static struct err *c_stat(struct snapshotter *sn, struct arena *a, struct str name,
			  struct snapshot_info *ret)
{
	struct csnap s;

	TRY(csnap_find(csnapshotter_of(sn), a, name, &s));
	*ret = (struct snapshot_info) { s.kind, str_dup(a, name), str_from(s.parent) };
	return NULL;
}

static struct err *check_free(struct csnapshotter *cs, struct str name)
{
	LOCKED(&cs->lock);
	if (map_has(&cs->snaps, name))
		return err_new(ERR_ALREADY_EXISTS, "snapshot %.*s: already exists", STR_ARG(name));
	return NULL;
}

static struct err *add(struct snapshotter *sn, const char *method, struct str name,
		       struct str parent, enum snapshot_kind kind)
{
	struct csnapshotter *cs = csnapshotter_of(sn);
	Ctd__MountsResponse *r;
	SCOPED_ARENA(a);

	TRY(check_free(cs, name));
	TRY(prepare_key(cs, cs->ctd->ctx, method, key_of(&a, name, kind), parent, &a, &r));
	note(cs, name, &(struct csnap) { .kind = kind, .parent = str_cstr(&a, parent) });
	return NULL;
}

struct err *csnap_prepare(struct snapshotter *sn, struct str name, struct str parent)
{
	return add(sn, S("Prepare"), name, parent, SNAPSHOT_ACTIVE);
}

static struct err *c_view(struct snapshotter *sn, struct str name, struct str parent)
{
	return add(sn, S("View"), name, parent, SNAPSHOT_VIEW);
}

struct err *csnap_commit_as(struct csnapshotter *cs, struct str name, struct str active,
			    const struct csnap *s)
{
	SCOPED_ARENA(a);

	TRY(commit_key(cs, str_cstr(&a, name), key_of(&a, active, SNAPSHOT_ACTIVE), s));
	forget(cs, active);
	note(cs, name, s);
	return NULL;
}

static struct err *c_commit(struct snapshotter *sn, struct str name, struct str active)
{
	struct csnapshotter *cs = csnapshotter_of(sn);
	struct csnap s;
	SCOPED_ARENA(a);

	TRY(csnap_find(cs, &a, active, &s));
	if (s.kind != SNAPSHOT_ACTIVE)
		return err_new(ERR_FAILED_PRECONDITION, "snapshot %.*s is not active",
			       STR_ARG(active));
	if (!str_eq(name, active))
		TRY(check_free(cs, name));
	s.kind = SNAPSHOT_COMMITTED;
	return csnap_commit_as(cs, name, active, &s);
}

struct err *csnap_remove(struct snapshotter *sn, struct str name)
{
	struct csnapshotter *cs = csnapshotter_of(sn);
	struct csnap s;
	SCOPED_ARENA(a);

	TRY(csnap_find(cs, &a, name, &s));
	if (s.kind == SNAPSHOT_COMMITTED && has_view(cs, name)) {
		TRY(remove_key(cs, view_of(&a, name)));
		LOCKED(&cs->lock);
		(void)map_del(&cs->views, name);
	}
	TRY(remove_key(cs, key_of(&a, name, s.kind)));
	forget(cs, name);
	return NULL;
}

static struct err *c_usage(struct snapshotter *sn, struct ctx *ctx, struct str name,
			   uint64_t *ret_bytes, uint64_t *ret_inodes)
{
	struct csnapshotter *cs = csnapshotter_of(sn);
	Ctd__SnapshotRequest q = CTD__SNAPSHOT_REQUEST__INIT;
	Ctd__UsageResponse *r;
	struct csnap s;
	SCOPED_ARENA(a);

	TRY(csnap_find(cs, &a, name, &s));
	q.snapshotter = (char *)cs->ctd->snapshotter;
	q.key = key_of(&a, name, s.kind);
	TRY(ctd_call(cs->ctd, ctx, S("Usage"), &q, &a, &ctd__usage_response__descriptor, &r, NULL));
	*ret_bytes = (uint64_t)MAX(r->size, INT64_C(0));
	*ret_inodes = (uint64_t)MAX(r->inodes, INT64_C(0));
	return NULL;
}

static struct err *c_each(struct snapshotter *sn,
			  struct err *(*fn)(void *arg, const struct snapshot_info *info), void *arg)
{
	struct csnapshotter *cs = csnapshotter_of(sn);
	struct snapshot_info *all;
	struct map_entry **sorted;
	SCOPED_ARENA(a);
	size_t n;

	lock_take(&cs->lock);
	n = map_len(&cs->snaps);
	sorted = map_sorted(&cs->snaps, &a);
	all = ARENA_NEW_N(&a, struct snapshot_info, n + 1);
	for (size_t i = 0; i < n; i++) {
		const struct csnap *s = sorted[i]->value;

		all[i] = (struct snapshot_info) { s->kind, str_dup(&a, map_key(sorted[i])),
						  str_dup(&a, str_from(s->parent)) };
	}
	lock_drop(&cs->lock);
	for (size_t i = 0; i < n; i++)
		TRY(fn(arg, &all[i]));
	return NULL;
}

/* ---- opening ---- */

static void c_free(struct snapshotter *sn)
{
	struct csnapshotter *cs = csnapshotter_of(sn);

	map_fini(&cs->snaps, csnap_free);
	map_fini(&cs->views, NULL);
	lock_fini(&cs->lock);
	free(cs);
}

static const struct snapshotter_ops ops = {
	.name = "containerd",
	.stat = c_stat,
	.prepare = csnap_prepare,
	.view = c_view,
	.commit = c_commit,
	.mounts = csnap_mounts,
	.remove = csnap_remove,
	.usage = c_usage,
	.each = c_each,
	.merge = csnap_merge,
	.between = csnap_between,
	.free = c_free,
};

static void note_listed(struct csnapshotter *cs, const Ctd__SnapshotInfo *i)
{
	struct str name = str_from(i->name);
	struct csnap s = { .parent = i->parent };

	if (i->kind == CTD__SNAPSHOT_KIND__SNAPSHOT_VIEW && str_has_suffix(name, STR(".v"))) {
		LOCKED(&cs->lock);
		(void)map_put(&cs->views, str_trim_suffix(name, STR(".v")), cs);
		return;
	}
	s.kind = i->kind == CTD__SNAPSHOT_KIND__SNAPSHOT_ACTIVE ? SNAPSHOT_ACTIVE
		 : i->kind == CTD__SNAPSHOT_KIND__SNAPSHOT_VIEW ? SNAPSHOT_VIEW
								: SNAPSHOT_COMMITTED;
	s.lower = PROTO_MAP_GET(i->n_labels, i->labels, LABEL_LOWER);
	s.upper = PROTO_MAP_GET(i->n_labels, i->labels, LABEL_UPPER);
	s.merged = PROTO_MAP_GET(i->n_labels, i->labels, LABEL_MERGED);
	s.is_diff = s.lower || s.upper;
	if (s.is_diff && !s.lower)
		s.lower = (char *)"";
	if (s.is_diff && !s.upper)
		s.upper = (char *)"";
	if (s.kind == SNAPSHOT_ACTIVE)
		name = str_trim_suffix(name, STR(".a"));
	note(cs, name, &s);
}

static struct err *list(struct csnapshotter *cs, struct ctx *ctx)
{
	CLEANUP(grpc_stream_freep) struct grpc_stream *st = NULL;
	Ctd__ListSnapshotsRequest q = CTD__LIST_SNAPSHOTS_REQUEST__INIT;
	struct ctd_conn *conn;
	struct grpc_md md[2];
	size_t n = ctd_md(cs->ctd, md);
	SCOPED_ARENA(a);
	char *filters[] = { arena_printf(&a, "labels.\"" LABEL_WORKER "\"==\"%s\"",
					 cs->ctd->worker_id) };
	struct err *e;

	q.snapshotter = (char *)cs->ctd->snapshotter;
	q.filters = filters;
	q.n_filters = 1;
	TRY(ctd_connect(cs->ctd, ctx, &conn));
	e = grpc_call(conn->client, ctx, S("List"), md, n, &st);
	ctd_conn_unref(conn);
	TRY(e);
	TRY(grpc_send_msg(st, ctx, &q));
	TRY(grpc_close_send(st));
	for (;;) {
		Ctd__ListSnapshotsResponse *r;
		bool eof;

		TRY(grpc_recv_msg(st, ctx, &a, &ctd__list_snapshots_response__descriptor, &r,
				  &eof));
		if (eof)
			return NULL;
		for (size_t i = 0; i < r->n_info; i++)
			note_listed(cs, r->info[i]);
	}
}

struct err *ctd_snapshotter_open(struct ctd *c, struct ctx *ctx, struct snapshotter **ret)
{
	struct csnapshotter *cs = NEW(struct csnapshotter);
	struct err *e;

	cs->base.ops = &ops;
	cs->ctd = c;
	lock_init(&cs->lock, LOCK_SNAPSHOT);
	e = list(cs, ctx);
	if (e) {
		c_free(&cs->base);
		return err_wrap(e, "snapshotter %s", c->snapshotter);
	}
	*ret = &cs->base;
	return NULL;
}
