#include "kv/kv_lmdb.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* In an LMDB meta page (LMDB 0.9, 64 bit): page number, then the meta's transaction id. */
#define META_TXN_ID 144
/* A file of at least this many pages that is mostly free is copied at open. */
#define COMPACT_PAGES 4096

static void data_name(char *out, size_t cap, uint64_t generation)
{
	(void)snprintf(out, cap, "data.%llu", (unsigned long long)generation);
}

struct err *lmdb_capture(struct kv_lmdb *k, struct mark *ret, MDB_txn **ret_pin)
{
	MDB_envinfo info;
	MDB_txn *pin = TAKE_PTR(k->spare_pin);
	struct mark m = { .generation = k->generation, .page_size = (uint32_t)k->page_size };
	const unsigned char *meta;
	uint64_t txn_id;
	int rc = pin ? mdb_txn_renew(pin) : mdb_txn_begin(k->env, NULL, MDB_RDONLY, &pin);

	if (rc) {
		if (pin)
			mdb_txn_abort(pin);
		return lmdb_err(rc, "pin");
	}
	(void)mdb_env_info(k->env, &info);
	m.txn_id = info.me_last_txnid;
	meta = k->meta + k->page_size * (m.txn_id & 1);
	memcpy(&txn_id, meta + META_TXN_ID, sizeof(txn_id));
	if (txn_id != m.txn_id || mdb_txn_id(pin) != m.txn_id) {
		mdb_txn_abort(pin);
		return err_new(ERR_INTERNAL, "kv: unknown layout of LMDB's meta page");
	}
	memcpy(m.boot_id, k->boot_id, sizeof(m.boot_id));
	memcpy(m.meta, meta, sizeof(m.meta));
	*ret = m;
	*ret_pin = pin;
	return NULL;
}

void lmdb_env_close(struct kv_lmdb *k)
{
	while (k->n_idle) {
		mdb_txn_abort(k->idle[--k->n_idle]);
		k->n_readers--;
	}
	if (k->pin)
		mdb_txn_abort(TAKE_PTR(k->pin));
	if (k->spare_pin)
		mdb_txn_abort(TAKE_PTR(k->spare_pin));
	if (k->meta)
		(void)munmap((void *)k->meta, 2 * k->page_size);
	k->meta = NULL;
	if (k->env)
		mdb_env_close(TAKE_PTR(k->env));
}

static struct err *env_begin(struct kv_lmdb *k)
{
	MDB_txn *txn;
	MDB_stat st;
	struct err *e;
	int fd;
	int rc = mdb_txn_begin(k->env, NULL, MDB_RDONLY, &txn);

	if (!rc) {
		rc = mdb_dbi_open(txn, NULL, 0, &k->dbi);
		if (rc)
			mdb_txn_abort(txn);
	}
	if (rc)
		return lmdb_err(rc, "first read");
	e = lmdb_load_tables(k, txn);
	/* Committed, not aborted, so that the handle stays. */
	rc = mdb_txn_commit(txn);
	if (e || rc)
		return e ? e : lmdb_err(rc, "first read");
	(void)mdb_env_stat(k->env, &st);
	k->page_size = st.ms_psize;
	rc = mdb_env_get_fd(k->env, &fd);
	if (rc)
		return lmdb_err(rc, "descriptor");
	/* LMDB 0.9.24 leaves it open across exec. */
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	k->meta = mmap(NULL, 2 * k->page_size, PROT_READ, MAP_SHARED, fd, 0);
	if (k->meta == MAP_FAILED) {
		k->meta = NULL;
		return err_errno(errno, "kv: map meta pages");
	}
	return NULL;
}

struct err *lmdb_env_open(struct kv_lmdb *k, uint64_t generation)
{
	char name[32], lock_name[48];
	CLEANUP_FREE char *path = NULL;
	struct stat st;
	struct err *e;
	int rc;

	data_name(name, sizeof(name), generation);
	(void)snprintf(lock_name, sizeof(lock_name), "%s-lock", name);
	/* Nobody else is here (the mark is locked): a table of dead readers would only hurt. */
	(void)unlinkat(k->dirfd, lock_name, 0);
	if (fstatat(k->dirfd, name, &st, 0) == 0)
		while (k->map_size < (size_t)st.st_size + (size_t)st.st_size / 4)
			k->map_size *= 2;
	path = mem_printf("%s/%s", k->dir, name);
	rc = mdb_env_create(&k->env);
	if (rc)
		return lmdb_err(rc, "create environment");
	k->generation = generation;
	rc = mdb_env_set_mapsize(k->env, k->map_size);
	if (!rc)
		rc = mdb_env_set_maxreaders(k->env, READERS_MAX + 8);
	if (!rc)
		rc = mdb_env_open(k->env, path, MDB_NOSUBDIR | MDB_NOTLS | MDB_NOSYNC, 0600);
	e = rc ? lmdb_err(rc, "open") : env_begin(k);
	if (e) {
		lmdb_env_close(k);
		return err_wrap(e, "%s", path);
	}
	return NULL;
}

struct err *lmdb_grow(struct kv_lmdb *k)
{
	size_t size = k->map_size * 2;
	int rc;

	lmdb_gate_close(k);
	rc = mdb_env_set_mapsize(k->env, size);
	if (!rc)
		k->map_size = size;
	lmdb_gate_open(k);
	return rc ? lmdb_err(rc, "grow map") : NULL;
}

/* The newer one of the meta pages of a file just written. */
static struct err *read_meta(struct kv_lmdb *k, int fd, struct mark *m)
{
	bool any = false;

	for (int i = 0; i < 2; i++) {
		unsigned char raw[MARK_META];
		uint64_t txn_id;

		if (pread(fd, raw, sizeof(raw), (off_t)(k->page_size * (size_t)i)) !=
		    (ssize_t)sizeof(raw))
			return err_new(ERR_DATA_LOSS, "kv: copy is too short");
		memcpy(&txn_id, raw + META_TXN_ID, sizeof(txn_id));
		if (any && txn_id <= m->txn_id)
			continue;
		any = true;
		m->txn_id = txn_id;
		memcpy(m->meta, raw, sizeof(raw));
	}
	return NULL;
}

void lmdb_drop_generation(struct kv_lmdb *k, uint64_t generation)
{
	char name[32], lock_name[48];

	data_name(name, sizeof(name), generation);
	if (unlinkat(k->dirfd, name, 0) < 0)
		return;
	(void)snprintf(lock_name, sizeof(lock_name), "%s-lock", name);
	(void)unlinkat(k->dirfd, lock_name, 0);
}

struct err *lmdb_rotate(struct kv_lmdb *k)
{
	struct mark m = { .generation = k->generation + 1, .page_size = (uint32_t)k->page_size };
	uint64_t old = k->generation;
	char name[32];
	CLEANUP_FD int fd = -1;
	int rc;

	memcpy(m.boot_id, k->boot_id, sizeof(m.boot_id));
	data_name(name, sizeof(name), m.generation);
	fd = openat(k->dirfd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(errno, "kv: create %s", name);
	rc = mdb_env_copyfd2(k->env, fd, MDB_CP_COMPACT);
	if (!rc && (fdatasync(fd) < 0 || fsync(k->dirfd) < 0))
		rc = errno;
	if (rc) {
		(void)unlinkat(k->dirfd, name, 0);
		return lmdb_err(rc, "copy");
	}
	TRY(read_meta(k, fd, &m));
	/* From here on a start takes the copy, which holds the same. */
	TRY(mark_write(&k->marks, &m));
	lmdb_env_close(k);
	k->must_reopen = true;
	k->generation = m.generation;
	TRY(lmdb_env_open(k, m.generation));
	TRY(lmdb_capture(k, &m, &k->pin));
	k->must_reopen = false;
	lmdb_drop_generation(k, old);
	return NULL;
}

bool lmdb_same_boot(const struct kv_lmdb *k)
{
	return memcmp(k->marks.last.boot_id, k->boot_id, sizeof(k->boot_id)) == 0;
}

/* After a power loss or reboot: the file as it was when it was last marked. */
struct err *lmdb_restore(struct kv_lmdb *k)
{
	const struct mark *m = &k->marks.last;
	char name[32];
	CLEANUP_FD int fd = -1;

	data_name(name, sizeof(name), m->generation);
	fd = openat(k->dirfd, name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_errno(errno, "kv: open %s", name);
	if (lmdb_same_boot(k))
		return NULL;
	for (uint64_t i = 0; i < 2; i++) {
		unsigned char raw[MARK_META];

		memcpy(raw, m->meta, sizeof(raw));
		memcpy(raw, &i, sizeof(i)); /* the page number */
		if (pwrite(fd, raw, sizeof(raw), (off_t)(i * m->page_size)) != (ssize_t)sizeof(raw))
			return err_errno(errno ? errno : ENOSPC, "kv: write %s", name);
	}
	return NULL;
}

/* The data file of the generation before or after, from a copy that was cut off. */
void lmdb_drop_leftovers(struct kv_lmdb *k, uint64_t keep)
{
	for (uint64_t g = keep - 1; g <= keep + 1; g += 2)
		lmdb_drop_generation(k, g);
}

struct err *lmdb_is_mostly_free(struct kv_lmdb *k, bool *ret)
{
	MDB_envinfo info;
	MDB_val key, value;
	MDB_cursor *c;
	MDB_txn *txn;
	size_t n_free = 0;
	int rc;

	(void)mdb_env_info(k->env, &info);
	if (info.me_last_pgno < COMPACT_PAGES) {
		*ret = false;
		return NULL;
	}
	rc = mdb_txn_begin(k->env, NULL, MDB_RDONLY, &txn);
	if (rc)
		return lmdb_err(rc, "read");
	rc = mdb_cursor_open(txn, 0, &c); /* the tree of free pages: lists with a count in front */
	if (!rc) {
		for (rc = mdb_cursor_get(c, &key, &value, MDB_FIRST); !rc;
		     rc = mdb_cursor_get(c, &key, &value, MDB_NEXT)) {
			size_t n = 0;

			if (value.mv_size >= sizeof(n))
				memcpy(&n, value.mv_data, sizeof(n));
			n_free += n;
		}
		mdb_cursor_close(c);
	}
	mdb_txn_abort(txn);
	if (rc != MDB_NOTFOUND)
		return lmdb_err(rc, "read free pages");
	*ret = n_free > info.me_last_pgno / 4 * 3;
	return NULL;
}
