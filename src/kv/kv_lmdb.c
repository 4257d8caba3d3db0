#include "kv/kv_lmdb.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* In an LMDB meta page (LMDB 0.9, 64 bit): page number, then the meta's transaction id. */
#define META_TXN_ID 144
#define META_MAGIC_AT 16
#define META_MAGIC_LEN 8 /* with the version */
/* A file of at least this many pages that is mostly free is copied at open. */
#define COMPACT_PAGES 4096

struct err *lmdb_err(int rc, const char *what)
{
	if (rc > 0)
		return err_errno(rc, "kv: %s", what);
	return err_new(rc == MDB_MAP_FULL || rc == MDB_TXN_FULL ? ERR_RESOURCE_EXHAUSTED
								: ERR_INTERNAL,
		       "kv: %s: %s", what, mdb_strerror(rc));
}

static struct kv_lmdb *of_kv(struct kv *kv)
{
	return container_of(kv, struct kv_lmdb, base);
}

static void data_name(char *out, size_t cap, uint64_t generation)
{
	(void)snprintf(out, cap, "data.%llu", (unsigned long long)generation);
}

/* ---- tables ---- */

/* Its byte; 0 when there is no such table. */
static unsigned table_byte(const struct kv_lmdb *k, const struct lmdb_txn *t, const char *name)
{
	size_t n = atomic_load_explicit(&k->n_tables, memory_order_acquire) + t->n_new_tables;

	for (size_t i = 0; i < n; i++)
		if (strcmp(k->tables[i], name) == 0)
			return (unsigned)i + 1;
	return 0;
}

struct key {
	char bytes[KV_KEY_MAX + 1];
	size_t len;
};

static MDB_val make_key(struct key *k, unsigned byte, struct str key)
{
	k->bytes[0] = (char)byte;
	if (key.len)
		memcpy(k->bytes + 1, key.ptr, key.len);
	k->len = key.len + 1;
	return (MDB_val) { .mv_size = k->len, .mv_data = k->bytes };
}

/* Of a change that failed: tells whoever runs the transaction what to do about it. */
static struct err *change_err(struct lmdb_txn *t, int rc, const char *what)
{
	if (rc == MDB_MAP_FULL)
		t->full = true;
	t->broken = true;
	return lmdb_err(rc, what);
}

static struct err *new_table(struct kv_lmdb *k, struct lmdb_txn *t, const char *name, unsigned *ret)
{
	size_t n = atomic_load(&k->n_tables) + t->n_new_tables;
	unsigned char byte = (unsigned char)(n + 1);
	struct key kb;
	MDB_val key, value = { .mv_size = 1, .mv_data = &byte };
	int rc;

	if (n == TABLES_MAX || strlen(name) > KV_TABLE_NAME_MAX)
		return err_new(ERR_INTERNAL, "kv: no room for table %s", name);
	key = make_key(&kb, 0, str_from(name));
	rc = mdb_put(t->mdb, k->dbi, &key, &value, 0);
	if (rc)
		return change_err(t, rc, "new table");
	t->n_changes++;
	/* Readers don't look past n_tables; a name left by an abandoned try is replaced. */
	free(k->tables[n]);
	k->tables[n] = mem_strdup(name);
	t->n_new_tables++;
	*ret = byte;
	return NULL;
}

static struct err *load_tables(struct kv_lmdb *k, MDB_txn *txn)
{
	MDB_val key, value;
	MDB_cursor *c;
	size_t n = 0;
	int rc = mdb_cursor_open(txn, k->dbi, &c);

	if (rc)
		return lmdb_err(rc, "cursor");
	for (size_t i = 0; i < TABLES_MAX; i++)
		free(TAKE_PTR(k->tables[i]));
	for (rc = mdb_cursor_get(c, &key, &value, MDB_FIRST); !rc;
	     rc = mdb_cursor_get(c, &key, &value, MDB_NEXT)) {
		const char *s = key.mv_data;
		size_t i;

		if (key.mv_size < 2 || s[0] != 0)
			break;
		i = value.mv_size == 1 ? *(unsigned char *)value.mv_data : 0;
		if (!i || i > TABLES_MAX || k->tables[i - 1])
			break;
		k->tables[i - 1] = mem_strndup(s + 1, key.mv_size - 1);
		n = MAX(n, i);
	}
	mdb_cursor_close(c);
	if (rc && rc != MDB_NOTFOUND)
		return lmdb_err(rc, "read tables");
	for (size_t i = 0; i < n; i++)
		if (!k->tables[i])
			return err_new(ERR_DATA_LOSS, "kv: list of tables is damaged");
	atomic_store(&k->n_tables, n);
	return NULL;
}

/* ---- get, put, del, scan ---- */

static struct err *lmdb_get(struct kv_txn *txn, const char *table, struct str key, struct str *ret,
			    bool *ret_found)
{
	struct kv_lmdb *k = of_kv(txn->kv);
	struct lmdb_txn *t = container_of(txn, struct lmdb_txn, base);
	unsigned byte = table_byte(k, t, table);
	struct key kb;
	MDB_val mk, mv;
	int rc;

	if (!byte) {
		*ret_found = false;
		return NULL;
	}
	mk = make_key(&kb, byte, key);
	rc = mdb_get(t->mdb, k->dbi, &mk, &mv);
	if (rc && rc != MDB_NOTFOUND)
		return lmdb_err(rc, "get");
	if (!rc)
		*ret = str_make(mv.mv_data, mv.mv_size);
	*ret_found = !rc;
	return NULL;
}

static struct err *lmdb_put(struct kv_txn *txn, const char *table, struct str key, struct str value)
{
	struct kv_lmdb *k = of_kv(txn->kv);
	struct lmdb_txn *t = container_of(txn, struct lmdb_txn, base);
	unsigned byte = table_byte(k, t, table);
	struct key kb;
	MDB_val mk, mv = { .mv_size = value.len, .mv_data = (void *)value.ptr };
	int rc;

	if (!byte)
		TRY(new_table(k, t, table, &byte));
	mk = make_key(&kb, byte, key);
	rc = mdb_put(t->mdb, k->dbi, &mk, &mv, 0);
	if (rc)
		return change_err(t, rc, "put");
	t->n_changes++;
	return NULL;
}

static struct err *lmdb_del(struct kv_txn *txn, const char *table, struct str key)
{
	struct kv_lmdb *k = of_kv(txn->kv);
	struct lmdb_txn *t = container_of(txn, struct lmdb_txn, base);
	unsigned byte = table_byte(k, t, table);
	struct key kb;
	MDB_val mk;
	int rc;

	if (!byte)
		return NULL;
	mk = make_key(&kb, byte, key);
	rc = mdb_del(t->mdb, k->dbi, &mk, NULL);
	if (rc == MDB_NOTFOUND)
		return NULL;
	if (rc)
		return change_err(t, rc, "del");
	t->n_changes++;
	return NULL;
}

static struct err *lmdb_scan(struct kv_txn *txn, const char *table, struct str prefix,
			     bool (*each)(void *arg, struct str key, struct str value), void *arg)
{
	struct kv_lmdb *k = of_kv(txn->kv);
	struct lmdb_txn *t = container_of(txn, struct lmdb_txn, base);
	unsigned byte = table_byte(k, t, table);
	struct key kb;
	MDB_val mk, mv;
	MDB_cursor *c;
	int rc;

	if (!byte)
		return NULL;
	rc = mdb_cursor_open(t->mdb, k->dbi, &c);
	if (rc)
		return lmdb_err(rc, "cursor");
	mk = make_key(&kb, byte, prefix);
	for (rc = mdb_cursor_get(c, &mk, &mv, MDB_SET_RANGE); !rc;
	     rc = mdb_cursor_get(c, &mk, &mv, MDB_NEXT)) {
		struct str key = str_make(mk.mv_data, mk.mv_size);

		if (!str_has_prefix(key, str_make(kb.bytes, kb.len)) ||
		    !each(arg, str_sub(key, 1, key.len), str_make(mv.mv_data, mv.mv_size)))
			break;
	}
	mdb_cursor_close(c);
	return rc && rc != MDB_NOTFOUND ? lmdb_err(rc, "scan") : NULL;
}

/* ---- views ---- */

static void view_end(struct kv_lmdb *k, MDB_txn *txn)
{
	LOCKED(&k->lock);
	if (txn)
		k->idle[k->n_idle++] = txn;
	else
		k->n_readers--;
	k->n_views--;
	if (k->gated)
		cond_broadcast(&k->views_cond);
	else
		cond_signal(&k->views_cond);
}

static struct err *lmdb_view(struct kv *kv, kv_fn fn, void *arg)
{
	struct kv_lmdb *k = of_kv(kv);
	struct lmdb_txn t = { .base = { .kv = kv } };
	struct err *e;
	int rc;

	lock_take(&k->lock);
	while (k->gated || (!k->n_idle && k->n_readers == READERS_MAX))
		cond_wait_uninterrupted(&k->views_cond, &k->lock);
	k->n_views++;
	if (k->n_idle)
		t.mdb = k->idle[--k->n_idle];
	else
		k->n_readers++;
	lock_drop(&k->lock);

	if (!k->env)
		rc = MDB_PANIC;
	else if (t.mdb)
		rc = mdb_txn_renew(t.mdb);
	else
		rc = mdb_txn_begin(k->env, NULL, MDB_RDONLY, &t.mdb);
	if (rc) {
		if (t.mdb)
			mdb_txn_abort(t.mdb);
		view_end(k, NULL);
		return lmdb_err(rc, "read");
	}
	e = fn(&t.base, arg);
	mdb_txn_reset(t.mdb);
	view_end(k, t.mdb);
	return e;
}

/* Where LMDB has mapped the file: each page begins with its number. NULL if that is not so. */
static char *find_map(const struct kv_lmdb *k, const void *in_page)
{
	uintptr_t page = (uintptr_t)in_page & ~(uintptr_t)(k->page_size - 1);
	unsigned char resident;
	MDB_envinfo info;
	uint64_t number;
	char *base;

	(void)mdb_env_info(k->env, &info);
	memcpy(&number, (const void *)page, sizeof(number));
	if (number > info.me_last_pgno)
		return NULL;
	base = (char *)(page - number * k->page_size);
	if (mincore(base, k->page_size, &resident) != 0 ||
	    memcmp(base + META_MAGIC_AT, k->meta + META_MAGIC_AT, META_MAGIC_LEN) != 0)
		return NULL;
	return base;
}

static struct err *let_pages_go(struct kv_txn *txn, void *arg)
{
	struct kv_lmdb *k = arg;
	struct lmdb_txn *t = container_of(txn, struct lmdb_txn, base);
	MDB_val key, value;
	MDB_cursor *c;
	char *map;

	if (mdb_cursor_open(t->mdb, k->dbi, &c))
		return NULL;
	if (!mdb_cursor_get(c, &key, &value, MDB_FIRST)) {
		map = find_map(k, key.mv_data);
		if (map)
			(void)madvise(map, k->map_size, MADV_DONTNEED);
	}
	mdb_cursor_close(c);
	return NULL;
}

void lmdb_trim(struct kv_lmdb *k)
{
	err_free(lmdb_view(&k->base, let_pages_go, k));
}

void lmdb_gate_close(struct kv_lmdb *k)
{
	LOCKED(&k->lock);
	k->gated = true;
	while (k->n_views)
		cond_wait_uninterrupted(&k->views_cond, &k->lock);
}

void lmdb_gate_open(struct kv_lmdb *k)
{
	LOCKED(&k->lock);
	k->gated = false;
	cond_broadcast(&k->views_cond);
}

/* ---- the environment ---- */

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
	e = load_tables(k, txn);
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

static void drop_generation(struct kv_lmdb *k, uint64_t generation)
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
	drop_generation(k, old);
	return NULL;
}

/* ---- open, close ---- */

static bool same_boot(const struct kv_lmdb *k)
{
	return memcmp(k->marks.last.boot_id, k->boot_id, sizeof(k->boot_id)) == 0;
}

/* After a power loss or reboot: the file as it was when it was last marked. */
static struct err *restore(struct kv_lmdb *k)
{
	const struct mark *m = &k->marks.last;
	char name[32];
	CLEANUP_FD int fd = -1;

	data_name(name, sizeof(name), m->generation);
	fd = openat(k->dirfd, name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_errno(errno, "kv: open %s", name);
	if (same_boot(k))
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
static void drop_leftovers(struct kv_lmdb *k, uint64_t keep)
{
	for (uint64_t g = keep - 1; g <= keep + 1; g += 2)
		drop_generation(k, g);
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

static struct err *open_all(struct kv_lmdb *k)
{
	bool found, free_space = false;
	uint64_t generation;
	MDB_envinfo info;

	TRY(mark_open(k->dirfd, &k->marks));
	if (mark_is_first(&k->marks) && !same_boot(k))
		k->marks.found = false;
	found = k->marks.found;
	generation = found ? k->marks.last.generation : 1;
	drop_leftovers(k, generation);
	if (found) {
		TRY(restore(k));
	} else {
		/* A first start that was cut off, by power loss before the first sync: nobody was
		 * told of anything in it. */
		char name[32];

		data_name(name, sizeof(name), generation);
		(void)unlinkat(k->dirfd, name, 0);
	}
	TRY(lmdb_env_open(k, generation));
	(void)mdb_env_info(k->env, &info);
	if (!found) {
		k->marks.last.seq = 0;
		TRY(lmdb_mark_new(k));
	} else if (k->marks.last.txn_id != info.me_last_txnid || !same_boot(k)) {
		/* Before the first change: from here on the pin keeps this state whole. */
		TRY(lmdb_sync_now(k));
	} else {
		struct mark m;

		TRY(lmdb_capture(k, &m, &k->pin));
	}
	TRY(lmdb_is_mostly_free(k, &free_space));
	return free_space ? lmdb_rotate(k) : NULL;
}

static void free_all(struct kv_lmdb *k)
{
	lmdb_env_close(k);
	mark_close(&k->marks);
	if (k->dirfd >= 0)
		(void)close(k->dirfd);
	for (size_t i = 0; i < TABLES_MAX; i++)
		free(k->tables[i]);
	err_free(k->sync_err);
	ctx_unref(k->timer_ctx);
	cond_fini(&k->views_cond);
	cond_fini(&k->baton_cond);
	cond_fini(&k->sync_cond);
	cond_fini(&k->timer_cond);
	lock_fini(&k->lock);
	free(k->dir);
	free(k);
}

static struct err *lmdb_close(struct kv *kv)
{
	struct kv_lmdb *k = of_kv(kv);
	struct err *e;

	lmdb_timer_stop(k);
	e = lmdb_sync(kv);
	free_all(k);
	return e;
}

static const struct kv_ops lmdb_ops = {
	.view = lmdb_view,
	.update = lmdb_update,
	.sync = lmdb_sync,
	.close = lmdb_close,
	.get = lmdb_get,
	.put = lmdb_put,
	.del = lmdb_del,
	.scan = lmdb_scan,
};

struct err *kv_open_as(const char *dir, struct str boot_id, size_t map_size, struct kv **ret)
{
	struct kv_lmdb *k = NEW(struct kv_lmdb);
	struct err *e = NULL;

	k->base.ops = &lmdb_ops;
	k->dir = mem_strdup(dir);
	k->marks.fd = -1;
	k->map_size = map_size ? map_size : MAP_MIN;
	memcpy(k->boot_id, boot_id.ptr, MIN(boot_id.len, sizeof(k->boot_id)));
	lock_init(&k->lock, LOCK_KV);
	cond_init(&k->views_cond);
	cond_init(&k->baton_cond);
	cond_init(&k->sync_cond);
	cond_init(&k->timer_cond);
	list_init(&k->queue);
	k->timer_ctx = ctx_new_root(NULL);
	k->dirfd = -1;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		e = err_errno(errno, "kv: mkdir %s", dir);
	if (!e) {
		k->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (k->dirfd < 0)
			e = err_errno(errno, "kv: open %s", dir);
	}
	if (!e)
		e = open_all(k);
	if (e) {
		free_all(k);
		return e;
	}
	lmdb_timer_start(k);
	*ret = &k->base;
	return NULL;
}

struct err *kv_open(const char *dir, struct kv **ret)
{
	char boot_id[MARK_BOOT_ID];

	boot_id_read(boot_id);
	return kv_open_as(dir, str_make(boot_id, sizeof(boot_id)), 0, ret);
}
