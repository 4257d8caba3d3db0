/* Looks at a whole store with no daemon on it: storecheck ROOT [empty] [nosums]. Opens it as the
 * daemon does, which puts right what a crash left, and then expects that all that it holds is
 * whole:
 * - every blob has its digest;
 * - every snapshot can be mounted and read to its end, and has a record that stands on the same;
 * - in committed ones each file SUMS, as sha256sum writes it, is true of its directory;
 * - there is no directory and no blob file without a record, and with "empty" none at all.
 * Prints what is wrong and what there is; exit status 1 if anything is wrong. */
#include "base/limits.h"
#include "base/mem.h"
#include "base/task.h"
#include "base/vec.h"
#include "cache/cache_impl.h"
#include "content/content.h"
#include "kv/kv.h"
#include "snapshot/mounts.h"
#include "snapshot/snapshot.h"
#include "snapshot/store.h"
#include "sys/fd.h"
#include "sys/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#define CHUNK ((size_t)256 * KIB)
#define SUMS_MAX ((size_t)1 * MIB)

struct check {
	struct kv *whole, *kv; /* the latter the worker's part */
	struct content *content;
	struct snapshotter *snapshotter;
	struct cache *cache;
	struct ctx *ctx;
	struct arena arena;
	const char *worker; /* <root>/runc-overlayfs */
	bool no_sums;       /* what a failed step leaves is kept for a look, and may be torn */
	size_t n_files, n_sums, n_wrong;
	char *buf;
	VEC(struct digest) blobs;
	VEC(struct snapshot_info) snapshots;
};

static void wrong(struct check *c, const char *what, const char *name, struct err *take_e)
{
	printf("%s %s: %s\n", what, name, take_e ? err_text(take_e) : "should not be there");
	err_free(take_e);
	c->n_wrong++;
}

/* ---- blobs ---- */

static struct err *note_blob(void *arg, const struct content_info *info)
{
	struct check *c = arg;

	vec_push(&c->blobs, info->digest);
	return NULL;
}

static struct err *read_blob(struct check *c, const struct digest *d)
{
	CLEANUP(content_reader_closep) struct content_reader *r = NULL;
	CLEANUP(hasher_freep) struct hasher *h = NULL;
	struct digest got;
	uint64_t at = 0;
	size_t n;

	TRY(content_open(c->content, c->ctx, d, &r));
	h = hasher_new((enum digest_algo)d->algo);
	do {
		TRY(r->read_at(r, c->buf, CHUNK, at, &n));
		hasher_add(h, c->buf, n);
		at += n;
	} while (n);
	got = hasher_sum(h);
	return digest_eq(&got, d) ? NULL : err_new(ERR_DATA_LOSS, "other bytes than it had");
}

static struct err *check_blobs(struct check *c)
{
	CLEANUP(walk_names_fini) struct walk_names files = { 0 };
	CLEANUP_FD int fd = -1;
	char text[DIGEST_TEXT_MAX];

	TRY(c->content->ops->each(c->content, c->ctx, note_blob, c));
	vec_each (&c->blobs, d) {
		struct err *e = read_blob(c, d);

		if (e)
			wrong(c, "blob", digest_format(d, text), e);
	}
	TRY(fd_open_dir(AT_FDCWD, arena_printf(&c->arena, "%s/content/blobs/sha256", c->worker),
			&fd));
	TRY(walk_read_names(fd, false, &files));
	for (size_t i = 0; i < files.n; i++) {
		struct digest d;
		struct err *e = digest_parse(
			str_from(arena_printf(&c->arena, "sha256:%s", files.items[i].name)), &d);

		if (e || !content_has(c->content, c->ctx, &d))
			wrong(c, "blob file", files.items[i].name, e);
	}
	return NULL;
}

/* ---- snapshots ---- */

static struct err *note_snapshot(void *arg, const struct snapshot_info *info)
{
	struct check *c = arg;

	vec_push(&c->snapshots,
		 ((struct snapshot_info) { info->kind, str_dup(&c->arena, info->name),
					   str_dup(&c->arena, info->parent) }));
	return NULL;
}

static struct err *hash_file(struct check *c, int dirfd, const char *name, struct digest *ret)
{
	CLEANUP(hasher_freep) struct hasher *h = hasher_new(DIGEST_SHA256);
	CLEANUP_FD int fd = -1;
	size_t n;

	TRY(fd_open(dirfd, name, O_RDONLY | O_NOFOLLOW, 0, &fd));
	do {
		TRY(fd_read_full(fd, c->buf, CHUNK, &n));
		hasher_add(h, c->buf, n);
	} while (n == CHUNK);
	*ret = hasher_sum(h);
	return NULL;
}

/* Lines of "<hex>  <name>". */
static struct err *check_sums(struct check *c, int dirfd)
{
	CLEANUP_FREE char *text = mem_alloc(SUMS_MAX);
	CLEANUP_FD int fd = -1;
	SCOPED_ARENA(a);
	struct str rest, line;
	size_t n;

	TRY(fd_open(dirfd, "SUMS", O_RDONLY | O_NOFOLLOW, 0, &fd));
	TRY(fd_read_full(fd, text, SUMS_MAX, &n));
	rest = str_make(text, n);
	if (!n || text[n - 1] != '\n')
		return err_new(ERR_DATA_LOSS, "SUMS is cut off");
	while (rest.len && str_cut(rest, '\n', &line, &rest)) {
		struct digest d;
		struct str hex, name;

		if (line.len < 67)
			return err_new(ERR_DATA_LOSS, "SUMS is no list of sums");
		hex = str_sub(line, 0, 64);
		name = str_dup(&a, str_sub(line, 66, line.len));
		TRY(hash_file(c, dirfd, name.ptr, &d));
		if (!str_eq(hex, str_from(digest_hex(&d, &a))))
			return err_new(ERR_DATA_LOSS, "%s is torn", name.ptr);
	}
	c->n_sums++;
	return NULL;
}

static struct err *check_entry(struct check *c, const struct walk_entry *we, bool whole)
{
	struct digest d;

	if (!S_ISREG(we->st.st_mode))
		return NULL;
	c->n_files++;
	TRY(hash_file(c, we->dirfd, we->name, &d));
	return whole && !c->no_sums && strcmp(we->name, "SUMS") == 0 ? check_sums(c, we->dirfd)
								     : NULL;
}

static struct err *read_snapshot(struct check *c, const struct snapshot_info *s)
{
	CLEANUP(localmount_closep) struct localmount *lm = NULL;
	CLEANUP(walk_closep) struct walk *w = NULL;
	const struct walk_entry *we;
	SCOPED_ARENA(a);
	struct mounts *m;

	TRY(snapshot_mounts(c->snapshotter, &a, s->name, &m));
	TRY(localmount_open(m, NULL, &lm));
	TRY(walk_open(localmount_dirfd(lm), 0, &w));
	for (;;) {
		TRY(walk_next(w, &we));
		if (!we)
			return NULL;
		TRYW(check_entry(c, we, s->kind != SNAPSHOT_ACTIVE), "%.*s", STR_ARG(we->path));
	}
}

static void add_ids(struct map *ids, struct arena *a, struct layer *const *l, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct layer *x = l[i];

		for (; x; x = x->clean_copy)
			(void)map_put(ids,
				      str_from(arena_printf(a, "%llu", (unsigned long long)x->id)),
				      ids);
	}
}

static struct err *check_directories(struct check *c)
{
	CLEANUP(walk_names_fini) struct walk_names dirs = { 0 };
	struct store *st = store_of(c->snapshotter);
	struct map ids = { 0 };

	map_init(&ids);
	for (struct map_entry *e = map_next(&st->snaps, NULL); e; e = map_next(&st->snaps, e)) {
		const struct snap *s = e->value;

		add_ids(&ids, &c->arena, &s->own, s->own ? 1 : 0);
		add_ids(&ids, &c->arena, s->base, s->n_base);
		add_ids(&ids, &c->arena, s->joined, s->n_joined);
	}
	TRY(walk_read_names(st->dirfd, false, &dirs));
	for (size_t i = 0; i < dirs.n; i++) {
		const char *name = dirs.items[i].name;

		if (strcmp(name, "trash") != 0 && strcmp(name, "empty") != 0 &&
		    !map_has(&ids, str_from(name)))
			wrong(c, "directory", name, NULL);
	}
	map_fini(&ids, NULL);
	return NULL;
}

/* The record of the same name stands on what the snapshot stands on. */
static void check_record(struct check *c, const struct snapshot_info *s)
{
	const struct record *r = map_get(&c->cache->records, s->name);
	struct err *e = NULL;

	if (!r)
		e = err_new(ERR_DATA_LOSS, "no record");
	else if (s->parent.len &&
		 !(r->n_parents && r->parents[0] && str_eq_cstr(s->parent, r->parents[0]->id)))
		e = err_new(ERR_DATA_LOSS, "stands on %s, but its record on %s", s->parent.ptr,
			    r->n_parents && r->parents[0] ? r->parents[0]->id : "nothing");
	if (e)
		wrong(c, "snapshot", s->name.ptr, e);
}

static struct err *check_snapshots(struct check *c)
{
	TRY(c->snapshotter->ops->each(c->snapshotter, note_snapshot, c));
	vec_each (&c->snapshots, s) {
		struct err *e = read_snapshot(c, s);

		check_record(c, s);
		if (e)
			wrong(c, "snapshot", s->name.ptr, e);
	}
	return check_directories(c);
}

/* ---- */

static struct err *check(struct check *c, const char *root, bool empty)
{
	struct cache_usage *records;
	size_t n_records;

	c->worker = arena_printf(&c->arena, "%s/runc-overlayfs", root);
	TRY(kv_open(arena_printf(&c->arena, "%s/metadata.db", root), &c->whole));
	c->kv = kv_scope(c->whole, "runc-overlayfs");
	TRY(content_open_fs(arena_printf(&c->arena, "%s/content", c->worker), c->kv, &c->content));
	TRY(snapshotter_open_overlay(arena_printf(&c->arena, "%s/snapshots", c->worker), c->kv,
				     &c->snapshotter));
	TRY(cache_open(c->kv, c->snapshotter, c->content,
		       arena_printf(&c->arena, "%s/tmp", c->worker), c->ctx, &c->cache));
	TRY(check_blobs(c));
	TRY(check_snapshots(c));
	TRY(cache_disk_usage(c->cache, c->ctx, &c->arena, NULL, 0, 0, &records, &n_records));
	for (size_t i = 0; empty && i < n_records; i++)
		wrong(c, "record", records[i].id.ptr, NULL);
	if (empty && c->blobs.len)
		wrong(c, "blobs", "some", NULL);
	printf("%zu records, %zu snapshots, %zu files, %zu sums, %zu blobs, %zu wrong\n", n_records,
	       c->snapshots.len, c->n_files, c->n_sums, c->blobs.len, c->n_wrong);
	return NULL;
}

static bool has(int argc, char **argv, const char *word)
{
	for (int i = 2; i < argc; i++)
		if (strcmp(argv[i], word) == 0)
			return true;
	return false;
}

int main(int argc, char **argv)
{
	struct check c = { .buf = mem_alloc(CHUNK) };
	struct task_pool *pool = task_pool_new();
	struct err *e = NULL;

	if (argc < 2) {
		fprintf(stderr, "usage: storecheck ROOT [empty] [nosums]\n");
		return 2;
	}
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		e = err_errno(errno, "mount namespace");
	c.ctx = ctx_new_root(pool);
	c.no_sums = has(argc, argv, "nosums");
	if (!e)
		e = check(&c, argv[1], has(argc, argv, "empty"));
	if (e)
		wrong(&c, "store", argv[1], e);
	if (c.cache)
		cache_close(c.cache);
	snapshotter_free(c.snapshotter);
	content_free(c.content);
	if (c.kv)
		err_free(kv_close(c.kv));
	if (c.whole)
		err_free(kv_close(c.whole));
	ctx_unref(c.ctx);
	task_pool_free(pool);
	vec_fini(&c.blobs);
	vec_fini(&c.snapshots);
	arena_fini(&c.arena);
	free(c.buf);
	return c.n_wrong != 0;
}
