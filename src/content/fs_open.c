#include "content/content_fs.h"

#include "base/mem.h"
#include "base/vec.h"
#include "sys/file.h"
#include "sys/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define SYNC_DELAY_NS (3 * NSEC_PER_SEC)
#define INGEST_DAYS 1
/* In table "content", beside the blobs: under which boot id the store was last opened. */
#define BOOT_KEY STR("boot")

enum state { AS_IT_WAS, SUSPECT, PENDING };

struct known {
	struct digest digest;
	uint64_t size;
	enum state state;
	bool seen; /* has a file */
};

struct opening {
	struct content_fs *fs;
	VEC(struct known) blobs; /* in key order */
	bool rebooted;
	struct err *err;
};

static bool add_known(void *arg, struct str key, struct str value)
{
	struct opening *o = arg;
	SCOPED_ARENA(a);
	struct content_info info = { 0 };
	struct str boot_id;
	enum state state;

	if (!content_key_parse(key, &info.digest))
		return true;
	o->err = content_record_unpack(value, &a, &info, &boot_id);
	if (o->err)
		return false;
	if (!boot_id.len)
		state = AS_IT_WAS;
	else
		state = str_eq(boot_id, str_make(o->fs->boot_id, BOOT_ID_LEN)) ? PENDING : SUSPECT;
	vec_push(&o->blobs, ((struct known) { info.digest, info.size, state, false }));
	return true;
}

static struct err *read_known(struct kv_txn *t, void *arg)
{
	struct opening *o = arg;
	struct str boot;
	bool found;

	TRY(kv_get(t, TABLE, BOOT_KEY, &boot, &found));
	o->rebooted = !found || !str_eq(boot, str_make(o->fs->boot_id, BOOT_ID_LEN));
	TRY(kv_scan(t, TABLE, STR_NONE, add_known, o));
	return o->err;
}

static int by_digest(const void *a, const void *b)
{
	const struct digest *x = &((const struct known *)a)->digest;
	const struct digest *y = &((const struct known *)b)->digest;

	return x->algo != y->algo ? x->algo - y->algo : memcmp(x->bytes, y->bytes, 64);
}

/* A file of blobs/<algo>: true when it belongs to a record. */
static bool claims_file(struct opening *o, const char *algo, const struct walk_name *file)
{
	struct known key = { 0 }, *k;
	SCOPED_ARENA(a);
	SCOPED_ERR(e);

	e = digest_parse(str_from(arena_printf(&a, "%s:%s", algo, file->name)), &key.digest);
	if (e || !o->blobs.len)
		return false;
	k = bsearch(&key, o->blobs.items, o->blobs.len, sizeof(key), by_digest);
	if (k)
		k->seen = true;
	return k;
}

static struct err *check_files(struct opening *o, const char *algo)
{
	CLEANUP(walk_names_fini) struct walk_names files = { 0 };
	CLEANUP_FD int fd = openat(o->fs->blobs_fd, algo, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(errno, "open %s/blobs/%s", o->fs->dir, algo);
	TRY(walk_read_names(fd, false, &files));
	for (size_t i = 0; i < files.n; i++)
		if (!claims_file(o, algo, &files.items[i]) &&
		    unlinkat(fd, files.items[i].name, 0) < 0)
			return err_errno(errno, "remove %s/blobs/%s/%s", o->fs->dir, algo,
					 files.items[i].name);
	return NULL;
}

/* Is the file all there? After a reboot the size is looked at, and of those that may not have
 * reached the disk the bytes. */
static bool is_whole(struct opening *o, const struct known *k)
{
	CLEANUP(hasher_freep) struct hasher *h = NULL;
	CLEANUP_FD int fd = -1;
	SCOPED_ERR(e);
	struct digest got;
	struct stat st;
	uint64_t size;
	char name[BLOB_NAME_MAX];

	if (!k->seen)
		return false;
	if (!o->rebooted && k->state != SUSPECT)
		return true;
	fd = openat(o->fs->blobs_fd, fs_blob_name(&k->digest, name),
		    O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != k->size)
		return false;
	if (k->state != SUSPECT)
		return true;
	h = hasher_new((enum digest_algo)k->digest.algo);
	e = fs_hash_file(fd, h, &size);
	got = hasher_sum(h);
	return !e && size == k->size && digest_eq(&got, &k->digest);
}

/* A verified blob is in the page cache now, which says nothing of the disk: it waits for a syncfs
 * under the boot id of today. */
static struct err *adopt(struct kv_txn *t, void *arg)
{
	const struct opening *o = arg;

	TRY(kv_put(t, TABLE, BOOT_KEY, str_make(o->fs->boot_id, BOOT_ID_LEN)));
	for (size_t i = 0; i < o->blobs.len; i++) {
		const struct known *k = &o->blobs.items[i];
		SCOPED_BUF(out, LIMIT_RECORD);
		SCOPED_ARENA(a);
		struct content_info info = { .digest = k->digest };
		struct str value, boot_id, key;
		char raw[CONTENT_KEY_MAX];
		bool found;

		if (k->state != SUSPECT)
			continue;
		key = content_key(&k->digest, raw);
		TRY(kv_get(t, TABLE, key, &value, &found));
		if (!found)
			continue;
		TRY(content_record_unpack(value, &a, &info, &boot_id));
		content_record_pack(&info, str_make(o->fs->boot_id, BOOT_ID_LEN), &out);
		TRY(kv_put(t, TABLE, key, buf_str(&out)));
	}
	return NULL;
}

static struct err *check_blobs(struct opening *o)
{
	struct content_fs *fs = o->fs;
	bool suspects = false;

	for (size_t i = 0; i < o->blobs.len; i++) {
		struct known *k = &o->blobs.items[i];

		if (is_whole(o, k)) {
			suspects |= k->state == SUSPECT;
			if (k->state != AS_IT_WAS)
				durable_note(fs->durable, &k->digest);
		} else {
			TRY(fs_drop_blob(fs, &k->digest));
		}
	}
	if (!o->rebooted && !suspects)
		return NULL;
	return kv_update(fs->kv, KV_LAZY, adopt, o);
}

/* Bytes of a cut-off ingest are only what they seem within one boot. */
static struct err *drop_old_ingests(struct opening *o)
{
	CLEANUP(walk_names_fini) struct walk_names files = { 0 };
	int64_t oldest = clock_wall() - INGEST_DAYS * 24 * 3600 * NSEC_PER_SEC;
	struct content_fs *fs = o->fs;

	TRY(walk_read_names(fs->ingest_fd, false, &files));
	for (size_t i = 0; i < files.n; i++) {
		struct stat st;

		if (!o->rebooted &&
		    fstatat(fs->ingest_fd, files.items[i].name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    file_mtime_ns(&st) > oldest)
			continue;
		if (unlinkat(fs->ingest_fd, files.items[i].name, 0) < 0 && errno != ENOENT)
			return err_errno(errno, "remove %s/ingest/%s", fs->dir,
					 files.items[i].name);
	}
	return NULL;
}

static struct err *open_dirs(struct content_fs *fs)
{
	static const char *const algos[] = { "sha256", "sha384", "sha512" };
	CLEANUP_FD int dirfd = -1;

	TRY(file_mkdirs(AT_FDCWD, fs->dir, 0700));
	dirfd = open(fs->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return err_errno(errno, "open %s", fs->dir);
	if ((mkdirat(dirfd, "blobs", 0700) < 0 && errno != EEXIST) ||
	    (mkdirat(dirfd, "ingest", 0700) < 0 && errno != EEXIST))
		return err_errno(errno, "mkdir in %s", fs->dir);
	fs->blobs_fd = openat(dirfd, "blobs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fs->ingest_fd = openat(dirfd, "ingest", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fs->blobs_fd < 0 || fs->ingest_fd < 0)
		return err_errno(errno, "open in %s", fs->dir);
	for (size_t i = 0; i < ARRAY_SIZE(algos); i++)
		if (mkdirat(fs->blobs_fd, algos[i], 0700) < 0 && errno != EEXIST)
			return err_errno(errno, "mkdir %s/blobs/%s", fs->dir, algos[i]);
	return NULL;
}

static struct err *put_right(struct content_fs *fs)
{
	struct opening o = { .fs = fs };
	struct err *e = kv_view(fs->kv, read_known, &o);

	if (!e)
		e = check_files(&o, "sha256");
	if (!e)
		e = check_files(&o, "sha384");
	if (!e)
		e = check_files(&o, "sha512");
	if (!e)
		e = check_blobs(&o);
	if (!e)
		e = drop_old_ingests(&o);
	vec_fini(&o.blobs);
	return e;
}

void fs_free(struct content *c)
{
	struct content_fs *fs = container_of(c, struct content_fs, base);

	durable_free(fs->durable);
	if (fs->blobs_fd >= 0)
		(void)close(fs->blobs_fd);
	if (fs->ingest_fd >= 0)
		(void)close(fs->ingest_fd);
	map_fini(&fs->ingests, NULL);
	map_fini(&fs->busy, NULL);
	cond_fini(&fs->idle);
	lock_fini(&fs->lock);
	free(fs->dir);
	free(fs);
}

struct err *content_open_fs_as(const char *dir, struct kv *kv, struct str boot_id,
			       int64_t sync_delay_ns, struct content **ret)
{
	struct content_fs *fs = NEW(struct content_fs);
	struct err *e;

	*fs = (struct content_fs) { .base = { &fs_ops },
				    .kv = kv,
				    .dir = mem_strdup(dir),
				    .blobs_fd = -1,
				    .ingest_fd = -1 };
	memcpy(fs->boot_id, boot_id.ptr, MIN(boot_id.len, (size_t)BOOT_ID_LEN));
	lock_init(&fs->lock, LOCK_CONTENT);
	cond_init(&fs->idle);
	e = open_dirs(fs);
	if (!e) {
		fs->durable = durable_new(fs->blobs_fd, sync_delay_ns, fs_passed, fs);
		e = put_right(fs);
	}
	if (e) {
		fs_free(&fs->base);
		return err_wrap(e, "content store");
	}
	*ret = &fs->base;
	return NULL;
}

struct err *content_open_fs(const char *dir, struct kv *kv, struct content **ret)
{
	char boot_id[FILE_BOOT_ID_LEN + 1];

	TRY(file_boot_id(boot_id));
	return content_open_fs_as(dir, kv, str_from(boot_id), SYNC_DELAY_NS, ret);
}

struct err *content_sync(struct content *c)
{
	return durable_flush(container_of(c, struct content_fs, base)->durable);
}
