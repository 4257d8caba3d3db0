/* Against a containerd of our own that does little: what goes over the wire, and what is made of
 * the answers. */
#include "containerd/ctd.h"

#include "../grpc/world.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/mem.h"
#include "containerd.pb-c.h"
#include "net/listen.h"
#include "snapshot/mounts.h"
#include "snapshot/snapshot.h"

#include <unistd.h>

struct fake {
	struct task_pool *pool;
	struct ctx *root;
	struct grpc_loop *loop;
	struct grpc_server *server;
	struct ctd *ctd;
	char dir[64], path[96], address[112];

	struct lock lock;
	struct map keys;        /* snapshots: key -> heap parent */
	struct map leased;      /* "type id" */
	const char *mount_type; /* of what Mounts gives */
	int calls;
};

static void note_lease(struct fake *f, struct grpc_stream *s)
{
	assert_true(str_eq_cstr(grpc_md_get(s, "containerd-namespace"), "test"));
	f->calls++;
}

/* ---- the methods ---- */

#define HANDLER(name) static struct err *name(struct ctx *ctx, struct grpc_stream *s, void *arg)

HANDLER(uuid)
{
	Google__Protobuf__Empty *q;
	Ctd__ServerResponse r = CTD__SERVER_RESPONSE__INIT;
	SCOPED_ARENA(a);

	TRY(grpc_recv_request(s, ctx, &a, &google__protobuf__empty__descriptor, &q));
	r.uuid = (char *)"some-uuid";
	return grpc_send_msg(s, ctx, &r);
}

HANDLER(make_namespace)
{
	(void)arg;
	return err_new(ERR_ALREADY_EXISTS, "namespace \"test\": already exists");
}

HANDLER(make_lease)
{
	Ctd__CreateLeaseRequest *q;
	Ctd__CreateLeaseResponse r = CTD__CREATE_LEASE_RESPONSE__INIT;
	SCOPED_ARENA(a);

	TRY(grpc_recv_request(s, ctx, &a, &ctd__create_lease_request__descriptor, &q));
	assert_string_equal(q->id, "buildkit-c-w1");
	return grpc_send_msg(s, ctx, &r);
}

static Ctd__Mount *mount_of(struct fake *f, struct arena *a)
{
	Ctd__Mount *m = ARENA_NEW(a, Ctd__Mount);
	static char *options[] = { (char *)"index=off", (char *)"lowerdir=/l2:/l1",
				   (char *)"upperdir=/u", (char *)"workdir=/w" };

	ctd__mount__init(m);
	m->type = (char *)f->mount_type;
	m->source = (char *)"/src";
	m->options = options;
	m->n_options = ARRAY_SIZE(options);
	return m;
}

static struct err *answer_mounts(struct fake *f, struct ctx *ctx, struct grpc_stream *s,
				 struct arena *a)
{
	Ctd__MountsResponse r = CTD__MOUNTS_RESPONSE__INIT;
	Ctd__Mount *one[1] = { mount_of(f, a) };

	r.mounts = one;
	r.n_mounts = 1;
	return grpc_send_msg(s, ctx, &r);
}

HANDLER(prepare)
{
	struct fake *f = arg;
	Ctd__PrepareSnapshotRequest *q;
	SCOPED_ARENA(a);

	TRY(grpc_recv_request(s, ctx, &a, &ctd__prepare_snapshot_request__descriptor, &q));
	assert_string_equal(q->snapshotter, "overlayfs");
	assert_true(str_eq_cstr(grpc_md_get(s, "containerd-lease"), "buildkit-c-w1"));
	assert_int_equal(q->n_labels, 1);
	lock_take(&f->lock);
	note_lease(f, s);
	if (map_has(&f->keys, str_from(q->key))) {
		lock_drop(&f->lock);
		return err_new(ERR_ALREADY_EXISTS, "snapshot \"%s\": already exists", q->key);
	}
	(void)map_put(&f->keys, str_from(q->key), mem_strdup(q->parent));
	lock_drop(&f->lock);
	return answer_mounts(f, ctx, s, &a);
}

HANDLER(mounts)
{
	struct fake *f = arg;
	Ctd__SnapshotRequest *q;
	SCOPED_ARENA(a);
	bool there;

	TRY(grpc_recv_request(s, ctx, &a, &ctd__snapshot_request__descriptor, &q));
	lock_take(&f->lock);
	there = map_has(&f->keys, str_from(q->key));
	lock_drop(&f->lock);
	if (!there)
		return err_new(ERR_NOT_FOUND, "snapshot %s does not exist: not found", q->key);
	return answer_mounts(f, ctx, s, &a);
}

HANDLER(commit)
{
	struct fake *f = arg;
	Ctd__CommitSnapshotRequest *q;
	Google__Protobuf__Empty r = GOOGLE__PROTOBUF__EMPTY__INIT;
	SCOPED_ARENA(a);
	char *parent;

	TRY(grpc_recv_request(s, ctx, &a, &ctd__commit_snapshot_request__descriptor, &q));
	lock_take(&f->lock);
	parent = map_del(&f->keys, str_from(q->key));
	if (parent)
		free(map_put(&f->keys, str_from(q->name), parent));
	lock_drop(&f->lock);
	return parent ? grpc_send_msg(s, ctx, &r) : err_new(ERR_NOT_FOUND, "%s: not found", q->key);
}

HANDLER(remove_one)
{
	struct fake *f = arg;
	Ctd__SnapshotRequest *q;
	Google__Protobuf__Empty r = GOOGLE__PROTOBUF__EMPTY__INIT;
	SCOPED_ARENA(a);
	bool child = false;

	TRY(grpc_recv_request(s, ctx, &a, &ctd__snapshot_request__descriptor, &q));
	lock_take(&f->lock);
	for (struct map_entry *e = map_next(&f->keys, NULL); e; e = map_next(&f->keys, e))
		child |= strcmp(e->value, q->key) == 0;
	if (!child)
		free(map_del(&f->keys, str_from(q->key)));
	lock_drop(&f->lock);
	return child ? err_new(ERR_FAILED_PRECONDITION, "%s has children", q->key)
		     : grpc_send_msg(s, ctx, &r);
}

HANDLER(list)
{
	Ctd__ListSnapshotsRequest *q;
	Ctd__ListSnapshotsResponse r = CTD__LIST_SNAPSHOTS_RESPONSE__INIT;
	Ctd__SnapshotInfo active = CTD__SNAPSHOT_INFO__INIT, *all[1] = { &active };
	SCOPED_ARENA(a);

	TRY(grpc_recv_request(s, ctx, &a, &ctd__list_snapshots_request__descriptor, &q));
	assert_int_equal(q->n_filters, 1);
	assert_string_equal(q->filters[0], "labels.\"buildkit-c/worker\"==\"w1\"");
	active.name = (char *)"old.a";
	active.parent = (char *)"below";
	active.kind = CTD__SNAPSHOT_KIND__SNAPSHOT_ACTIVE;
	r.info = all;
	r.n_info = 1;
	return grpc_send_msg(s, ctx, &r);
}

#define S(service, method) "/containerd.services." service "/" method

static const struct grpc_method methods[] = {
	{ S("introspection.v1.Introspection", "Server"), uuid },
	{ S("namespaces.v1.Namespaces", "Create"), make_namespace },
	{ S("leases.v1.Leases", "Create"), make_lease },
	{ S("snapshots.v1.Snapshots", "Prepare"), prepare },
	{ S("snapshots.v1.Snapshots", "View"), prepare },
	{ S("snapshots.v1.Snapshots", "Mounts"), mounts },
	{ S("snapshots.v1.Snapshots", "Commit"), commit },
	{ S("snapshots.v1.Snapshots", "Remove"), remove_one },
	{ S("snapshots.v1.Snapshots", "List"), list },
};

/* ---- the world ---- */

static void serve(struct fake *f)
{
	struct net_listen_opts o = { .uid = geteuid(), .gid = getegid() };
	int fd;

	f->server = grpc_server_new(f->loop, f->root, methods, ARRAY_SIZE(methods), f);
	ok(net_listen(str_from(f->address), &o, &fd));
	ok(grpc_server_listen(f->server, fd, NULL));
}

static int setup(void **state)
{
	struct fake *f = NEW(struct fake);
	struct ctd_config c = { .address = f->path,
				.namespace = "test",
				.snapshotter = "overlayfs",
				.runtime = "none" };

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/test-ctd-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
	(void)snprintf(f->address, sizeof(f->address), "unix://%s", f->path);
	f->pool = task_pool_new();
	f->root = ctx_new_root(f->pool);
	f->mount_type = "overlay";
	lock_init(&f->lock, LOCK_LEAF);
	ok(grpc_loop_start(&f->loop));
	serve(f);
	ok(ctd_open(f->loop, f->root, &c, 5 * NSEC_PER_SEC, &f->ctd));
	ok(ctd_use_lease(f->ctd, f->root, "w1"));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fake *f = *state;

	ctd_close(f->ctd);
	grpc_server_free(f->server);
	grpc_loop_stop(f->loop);
	ctx_unref(f->root);
	task_pool_free(f->pool);
	map_fini(&f->keys, free);
	lock_fini(&f->lock);
	(void)unlink(f->path);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

/* ---- tests ---- */

static bool has_key(struct fake *f, const char *key)
{
	LOCKED(&f->lock);
	return map_has(&f->keys, str_from(key));
}

static void survives_a_restart(void **state)
{
	struct fake *f = *state;
	SCOPED_ARENA(a);
	struct str id;

	ok(ctd_uuid(f->ctd, f->root, &a, &id));
	assert_true(str_eq_cstr(id, "some-uuid"));
	grpc_server_free(f->server);
	serve(f);
	ok(ctd_uuid(f->ctd, f->root, &a, &id));
	assert_true(str_eq_cstr(id, "some-uuid"));
}

static void nobody_there(void **state)
{
	struct fake *f = *state;
	struct ctd_config c = { .address = "/nonexistent/socket",
				.namespace = "test",
				.snapshotter = "overlayfs",
				.runtime = "none" };
	struct ctd *none;
	struct err *e = ctd_open(f->loop, f->root, &c, 0, &none);

	assert_non_null(e);
	assert_non_null(strstr(err_text(e), "make sure containerd is running"));
	err_free(e);
}

static void names_of_snapshots(void **state)
{
	struct fake *f = *state;
	struct snapshotter *s;
	struct snapshot_info i;
	struct mounts *m;
	SCOPED_ARENA(a);

	ok(ctd_snapshotter_open(f->ctd, f->root, &s));
	/* What an earlier daemon left. */
	ok(snapshot_stat(s, &a, STR("old"), &i));
	assert_int_equal(i.kind, SNAPSHOT_ACTIVE);
	assert_true(str_eq_cstr(i.parent, "below"));
	ok(snapshot_prepare(s, STR("x"), STR("")));
	assert_true(has_key(f, "x.a"));
	fails(snapshot_prepare(s, STR("x"), STR("")), ERR_ALREADY_EXISTS,
	      "snapshot x: already exists");
	ok(snapshot_mounts(s, &a, STR("x"), &m));
	assert_int_equal(m->kind, MOUNT_OVERLAY);
	assert_false(m->readonly);
	assert_int_equal(m->n_lowers, 2);
	assert_true(str_eq_cstr(m->lowers[0], "/l2"));
	assert_true(str_eq_cstr(m->upper, "/u"));
	assert_true(str_eq_cstr(m->work, "/w"));
	ok(snapshot_commit(s, STR("x"), STR("x")));
	assert_true(has_key(f, "x"));
	assert_false(has_key(f, "x.a"));
	/* Looked at through a view, which goes with it. */
	ok(snapshot_mounts(s, &a, STR("x"), &m));
	assert_true(m->readonly);
	assert_true(has_key(f, "x.v"));
	ok(snapshot_remove(s, STR("x")));
	assert_false(has_key(f, "x"));
	assert_false(has_key(f, "x.v"));
	fails(snapshot_mounts(s, &a, STR("x"), &m), ERR_NOT_FOUND,
	      "snapshot x does not exist: not found");
	snapshotter_free(s);
}

static void other_mounts_are_refused(void **state)
{
	struct fake *f = *state;
	struct snapshotter *s;
	struct mounts *m;
	SCOPED_ARENA(a);

	f->mount_type = "fuse3.something";
	ok(ctd_snapshotter_open(f->ctd, f->root, &s));
	ok(snapshot_prepare(s, STR("x"), STR("")));
	fails(snapshot_mounts(s, &a, STR("x"), &m), ERR_UNIMPLEMENTED,
	      "snapshotter overlayfs: mounts of type fuse3.something are not supported");
	f->mount_type = "bind";
	ok(snapshot_mounts(s, &a, STR("x"), &m));
	assert_int_equal(m->kind, MOUNT_BIND);
	assert_true(str_eq_cstr(m->source, "/src"));
	snapshotter_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(survives_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_there, setup, teardown),
		cmocka_unit_test_setup_teardown(names_of_snapshots, setup, teardown),
		cmocka_unit_test_setup_teardown(other_mounts_are_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
