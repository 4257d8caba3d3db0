#include "cache/contenthash.h"

#include "base/glob.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/path.h"
#include "cache/hashtree.h"
#include "kv/kv.h"

#include <sys/stat.h>

#define CHUNK_SIZE ((size_t)1 << 20)
#define STORED_MAX ((size_t)4 << 30)

/* ---- digest of one entry ---- */

static void add_field(struct hasher *h, const char *name, unsigned long long value)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%s%llu", name, value);

	hasher_add(h, text, (size_t)n);
}

static bool counts_xattr(struct str name)
{
	if (str_eq_cstr(name, "security.capability"))
		return true;
	return !str_has_prefix(name, STR("security.")) && !str_has_prefix(name, STR("system."));
}

static char type_flag(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return '5';
	case S_IFLNK:
		return '2';
	case S_IFCHR:
		return '3';
	case S_IFBLK:
		return '4';
	case S_IFIFO:
		return '6';
	default:
		return '0'; /* sockets, too */
	}
}

/* The header fields of tarsum version 1: name (left empty), mode, uid, gid, size, typeflag,
 * linkname, uname, gname (empty), devmajor, devminor, then xattrs. */
void contenthash_begin(struct hasher *h, const struct contenthash_entry *e)
{
	char type[] = { 't', 'y', 'p', 'e', 'f', 'l', 'a', 'g', type_flag(e->mode) };
	bool is_link = S_ISLNK(e->mode);
	uint32_t mode = e->mode & 07777;

	if (is_link)
		mode |= 0777;
	add_field(h, "namemode", mode);
	add_field(h, "uid", e->uid);
	add_field(h, "gid", e->gid);
	add_field(h, "size", type[8] == '0' ? e->size : 0);
	hasher_add(h, type, sizeof(type));
	hasher_add_str(h, STR("linkname"));
	if (is_link)
		hasher_add_str(h, e->linkname);
	hasher_add_str(h, STR("unamegname"));
	add_field(h, "devmajor", e->devmajor);
	add_field(h, "devminor", e->devminor);
	for (size_t i = 0; i < e->n_xattrs; i++) {
		if (!counts_xattr(e->xattr_names[i]))
			continue;
		hasher_add_str(h, e->xattr_names[i]);
		hasher_add_str(h, e->xattr_values[i]);
	}
}

/* ---- kept trees: table "cache.hash", key and chunk number -> a piece of the packed tree ---- */

struct chunk_key {
	char bytes[ID_LEN + 4];
};

static struct str chunk_key(const char *key, uint32_t i, struct chunk_key *k)
{
	memcpy(k->bytes, key, ID_LEN);
	k->bytes[ID_LEN] = (char)(i >> 24);
	k->bytes[ID_LEN + 1] = (char)(i >> 16);
	k->bytes[ID_LEN + 2] = (char)(i >> 8);
	k->bytes[ID_LEN + 3] = (char)i;
	return str_make(k->bytes, sizeof(k->bytes));
}

struct err *hashtree_store_txn(struct kv_txn *t, const struct hashtree *tree, struct str packed)
{
	struct chunk_key k;
	uint32_t i = 0;
	struct str old;
	bool found;

	for (size_t at = 0; at < packed.len; at += CHUNK_SIZE, i++)
		TRY(kv_put(t, TABLE_HASHES, chunk_key(tree->key, i, &k),
			   str_sub(packed, at, at + CHUNK_SIZE)));
	/* What a longer one left. */
	for (;; i++) {
		TRY(kv_get(t, TABLE_HASHES, chunk_key(tree->key, i, &k), &old, &found));
		if (!found)
			return NULL;
		TRY(kv_del(t, TABLE_HASHES, chunk_key(tree->key, i, &k)));
	}
}

struct load {
	const char *key;
	struct buf data;
};

static bool add_chunk(void *arg, struct str key, struct str value)
{
	struct load *l = arg;

	buf_add_str(&l->data, value);
	return !l->data.overflow;
}

static struct err *load_chunks(struct kv_txn *t, void *arg)
{
	struct load *l = arg;

	return kv_scan(t, TABLE_HASHES, str_make(l->key, ID_LEN), add_chunk, l);
}

/* What is not there, or damaged, is computed again. */
static struct hashtree *load_tree(struct cache *c, const char *key)
{
	struct load l = { .key = key, .data = BUF_INIT(STORED_MAX) };
	struct hashtree *t = NULL;
	struct err *e = kv_view(c->kv, load_chunks, &l);

	if (!e && l.data.len)
		e = hashtree_unpack(buf_str(&l.data), &t);
	err_free(e);
	buf_fini(&l.data);
	if (t)
		memcpy(t->key, key, sizeof(t->key));
	return t;
}

struct hashtree *hashtree_take_unstored_locked(struct cache *c, const char *key)
{
	list_each (&c->unstored, n) {
		struct hashtree *t = list_entry(n, struct hashtree, unstored);

		if (strcmp(t->key, key) == 0) {
			list_del(&t->unstored);
			return t;
		}
	}
	return NULL;
}

/* ---- one computation at a time for each record ---- */

static struct err *claim(struct record *r, struct ctx *ctx)
{
	struct cache *c = r->cache;

	LOCKED(&c->lock);
	while (r->hashing)
		TRY(cond_wait(&c->changed, &c->lock, ctx));
	r->hashing = true;
	return NULL;
}

static void unclaim(struct record *r)
{
	LOCKED(&r->cache->lock);
	r->hashing = false;
	cond_broadcast(&r->cache->changed);
}

static void get_tree(struct record *r)
{
	struct cache *c = r->cache;
	struct hashtree *t = NULL;
	char key[ID_LEN + 1];

	lock_take(&c->lock);
	memcpy(key, r->hash_key, sizeof(key));
	if (!r->tree && key[0])
		t = hashtree_take_unstored_locked(c, key);
	if (r->tree || t) {
		if (t)
			r->tree = t;
		lock_drop(&c->lock);
		return;
	}
	/* What is being written now is in neither place. */
	while (key[0] && c->flushing)
		cond_wait_uninterrupted(&c->flushed, &c->lock);
	lock_drop(&c->lock);
	if (key[0])
		t = load_tree(c, key);
	if (!t)
		t = hashtree_new();
	lock_take(&c->lock);
	if (!r->hash_key[0]) {
		id_make(r->hash_key);
		cache_mark_dirty_locked(r);
	}
	memcpy(t->key, r->hash_key, sizeof(t->key));
	r->tree = t;
	lock_drop(&c->lock);
}

static struct err *plain(struct hashwork *w, struct str path, bool follow, struct digest *ret)
{
	struct digest d = { .algo = DIGEST_SHA256 };
	SCOPED_ARENA(a);
	uint32_t node;
	bool found;

	TRY(hashwork_resolve(w, path, follow, &node, &found));
	if (!found)
		return hash_not_found(
			path_clean(&a, str_from(arena_printf(&a, "/%.*s", STR_ARG(path)))));
	TRY(hashwork_digest(w, node, d.bytes));
	*ret = d;
	return NULL;
}

static struct err *compute(struct hashwork *w, struct str path, const struct contenthash_opts *o,
			   struct digest *ret)
{
	if ((o->wildcard && glob_has_meta(path)) || o->n_include || o->n_exclude || o->n_required)
		return hashwork_match(w, path, o, ret);
	return plain(w, path, o->follow_links, ret);
}

/* Nothing but a root directory. */
static struct err *compute_empty(struct cache *c, struct ctx *ctx, struct str path,
				 const struct contenthash_opts *o, struct digest *ret)
{
	struct hashwork w = { .cache = c, .ctx = ctx, .tree = hashtree_new(), .rootfd = -1 };
	struct digest empty = digest_sha256(STR_NONE);
	struct hashnode *root = hashtree_node(w.tree, 0);
	struct err *e;

	memcpy(root->digest, empty.bytes, sizeof(root->digest));
	root->flags |= HASH_HAS_DIGEST;
	e = compute(&w, path, o, ret);
	hashtree_free(w.tree);
	return e;
}

struct err *contenthash_checksum(struct cache *c, struct ctx *ctx, struct cache_ref *ref,
				 struct str path, const struct contenthash_opts *o,
				 struct digest *ret)
{
	struct hashwork w = { .cache = c, .ctx = ctx, .ref = ref, .rootfd = -1 };
	struct err *e;

	if (path.len > LIMIT_PATH || memchr(path.ptr ? path.ptr : "", 0, path.len))
		return err_new(ERR_INVALID_ARGUMENT, "invalid path");
	if (!ref)
		return compute_empty(c, ctx, path, o, ret);
	TRY(claim(ref->rec, ctx));
	get_tree(ref->rec);
	w.tree = ref->rec->tree;
	e = compute(&w, path, o, ret);
	hashwork_fini(&w);
	unclaim(ref->rec);
	return e;
}

/* ---- what it is made of ---- */

static void give_part(struct hashtree *t, uint32_t i, bool all_below,
		      void (*each)(void *arg, const struct contenthash_part *p), void *arg)
{
	SCOPED_ARENA(a);
	const struct hashnode *n = hashtree_node(t, i);

	each(arg, &(struct contenthash_part) {
			  .path = i ? hashtree_path(t, i, &a) : STR("/"),
			  .digest = all_below ? hashtree_content(t, n) : n->digest,
			  .all_below = all_below,
		  });
}

/* Directories are gone into, one level after the other, while there is room for all they have. */
static void walk_parts(struct hashtree *t, uint32_t top, size_t max,
		       void (*each)(void *arg, const struct contenthash_part *p), void *arg)
{
	VEC(uint32_t) queue = VEC_INIT;

	vec_push(&queue, top);
	for (size_t at = 0; at < queue.len; at++) {
		uint32_t i = queue.items[at];
		const struct hashnode *n = hashtree_node(t, i);
		bool known = n->type != HASH_DIR || n->flags & HASH_HAS_CONTENT;
		bool enter = n->type == HASH_DIR && n->flags & HASH_SCANNED &&
			     queue.len + n->count <= max;

		if (!known)
			continue;
		give_part(t, i, n->type == HASH_DIR && !enter, each, arg);
		for (uint32_t c = n->first; enter && c < n->first + n->count; c++)
			vec_push(&queue, c);
	}
	vec_fini(&queue);
}

static struct err *parts(struct hashwork *w, struct str path, const struct contenthash_opts *o,
			 size_t max, void (*each)(void *arg, const struct contenthash_part *p),
			 void *arg)
{
	uint32_t node;
	bool found;

	if ((o->wildcard && glob_has_meta(path)) || o->n_include || o->n_exclude || o->n_required)
		return hashwork_match_parts(w, path, o, max, each, arg);
	TRY(hashwork_resolve(w, path, o->follow_links, &node, &found));
	if (found)
		walk_parts(w->tree, node, max, each, arg);
	return NULL;
}

struct err *contenthash_parts(struct cache *c, struct ctx *ctx, struct cache_ref *ref,
			      struct str path, const struct contenthash_opts *o, size_t max,
			      void (*each)(void *arg, const struct contenthash_part *p), void *arg)
{
	struct hashwork w = { .cache = c, .ctx = ctx, .ref = ref, .rootfd = -1 };
	struct err *e;

	if (path.len > LIMIT_PATH || memchr(path.ptr ? path.ptr : "", 0, path.len))
		return err_new(ERR_INVALID_ARGUMENT, "invalid path");
	TRY(claim(ref->rec, ctx));
	get_tree(ref->rec);
	w.tree = ref->rec->tree;
	e = parts(&w, path, o, max, each, arg);
	hashwork_fini(&w);
	unclaim(ref->rec);
	return e;
}

/* ---- what a transfer knows ---- */

struct err *contenthash_seed(struct cache *c, struct str record_id,
			     const struct contenthash_known *known, size_t n)
{
	struct digest empty = digest_sha256(STR_NONE);
	struct hashtree *t;
	struct hashnode *root;
	struct record *r;

	TRY(hashtree_build(known, n, &t));
	/* The root of what was sent has no properties of its own. */
	root = hashtree_node(t, 0);
	memcpy(root->digest, empty.bytes, sizeof(root->digest));
	root->flags |= HASH_HAS_DIGEST;
	id_make(t->key);
	lock_take(&c->lock);
	r = record_find_locked(c, record_id);
	while (r && r->hashing) {
		cond_wait_uninterrupted(&c->changed, &c->lock);
		r = record_find_locked(c, record_id);
	}
	if (r) {
		cache_drop_hash_locked(r);
		memcpy(r->hash_key, t->key, sizeof(r->hash_key));
		r->hash_stale = false;
		list_add_tail(&c->unstored, &t->unstored);
		cache_mark_dirty_locked(r);
	}
	lock_drop(&c->lock);
	if (!r) {
		hashtree_free(t);
		return err_new(ERR_NOT_FOUND, "%.*s: not found", STR_ARG(record_id));
	}
	return NULL;
}

void contenthash_unchanged(struct cache *c, struct str record_id)
{
	struct record *r;

	LOCKED(&c->lock);
	r = record_find_locked(c, record_id);
	if (r)
		r->hash_stale = false;
}
