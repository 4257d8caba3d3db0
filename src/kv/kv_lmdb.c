#include "kv/kv_lmdb.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* In an LMDB meta page (LMDB 0.9, 64 bit). */
#define META_MAGIC_AT 16
#define META_MAGIC_LEN 8 /* with the version */

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

struct err *lmdb_load_tables(struct kv_lmdb *k, MDB_txn *txn)
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

/* ---- open, close ---- */

static struct err *open_all(struct kv_lmdb *k)
{
	bool found, free_space = false;
	uint64_t generation;
	MDB_envinfo info;

	TRY(mark_open(k->dirfd, &k->marks));
	if (mark_is_first(&k->marks) && !lmdb_same_boot(k))
		k->marks.found = false;
	found = k->marks.found;
	generation = found ? k->marks.last.generation : 1;
	lmdb_drop_leftovers(k, generation);
	if (found) {
		TRY(lmdb_restore(k));
	} else {
		/* A first start that was cut off, by power loss before the first sync: nobody was
		 * told of anything in it. */
		lmdb_drop_generation(k, generation);
	}
	TRY(lmdb_env_open(k, generation));
	(void)mdb_env_info(k->env, &info);
	if (!found) {
		k->marks.last.seq = 0;
		TRY(lmdb_mark_new(k));
	} else if (k->marks.last.txn_id != info.me_last_txnid || !lmdb_same_boot(k)) {
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
