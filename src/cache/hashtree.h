/* Inside cache: the tree of content digests of one file tree, filled in as far as somebody asked.
 * Nodes are an array; the children of a directory stand together, sorted by name. Node 0 is the
 * root. One thread at a time, but digests of different nodes may be set by several. */
#ifndef CACHE_HASHTREE_H
#define CACHE_HASHTREE_H

#include "cache/cache_impl.h"
#include "cache/contenthash.h"

#include "base/buf.h"
#include "kv/kv.h"

#define LIMIT_TREE_NODES 20000000
#define LIMIT_TREE_TEXT ((size_t)1 << 31)

enum hash_type { HASH_FILE, HASH_DIR, HASH_SYMLINK, HASH_OTHER };

enum hash_flag {
	HASH_HAS_DIGEST = 1,  /* of the file, or of the directory's own header */
	HASH_HAS_CONTENT = 2, /* of a directory with all below */
	HASH_SCANNED = 4,     /* the children are known */
};

struct hashnode {
	uint32_t parent;
	uint32_t name; /* into text */
	uint16_t name_len;
	uint8_t type, flags;
	uint32_t first, count; /* directory: children; symlink: link text and its length */
	uint32_t content;      /* directory: into contents */
	uint8_t digest[32];
};

struct hashtree {
	char key[ID_LEN + 1]; /* under which it is stored */
	bool changed;         /* since it was stored */
	VEC(struct hashnode) nodes;
	VEC(uint8_t) contents; /* 32 bytes a directory */
	struct buf text;       /* names and link texts */
	struct list unstored;  /* of the cache, when nobody holds the record any more */
};

struct hashtree *hashtree_new(void);
static inline struct hashnode *hashtree_node(struct hashtree *t, uint32_t i)
{
	return &t->nodes.items[i];
}
static inline struct str hashtree_name(const struct hashtree *t, const struct hashnode *n)
{
	return str_make(t->text.data + n->name, n->name_len);
}
static inline struct str hashtree_link(const struct hashtree *t, const struct hashnode *n)
{
	return str_make(t->text.data + n->first, n->count);
}
static inline uint8_t *hashtree_content(struct hashtree *t, const struct hashnode *n)
{
	return t->contents.items + (size_t)n->content * 32;
}

struct hashchild {
	struct str name, link;
	enum hash_type type;
};
/* Gives a directory its children, sorted by name. */
struct err *hashtree_add_children(struct hashtree *t, uint32_t dir, const struct hashchild *c,
				  size_t n) ERR_RESULT;
/* 0 (the root is nobody's child) when there is none. The directory has been scanned. */
uint32_t hashtree_child(const struct hashtree *t, uint32_t dir, struct str name);
/* Absolute; "" for the root. */
struct str hashtree_path(const struct hashtree *t, uint32_t i, struct arena *a);
/* From what a transfer knows, sorted in any byte order. */
struct err *hashtree_build(const struct contenthash_known *known, size_t n,
			   struct hashtree **ret) ERR_RESULT;
/* "sha256:<64 hex digits>" */
#define HASH_TEXT_LEN 71
void hashtree_digest_text(const uint8_t digest[32], char out[HASH_TEXT_LEN]);

/* The stored form. */
void hashtree_pack(const struct hashtree *t, struct buf *out);
struct err *hashtree_unpack(struct str data, struct hashtree **ret) ERR_RESULT;

/* ---- hashscan.c: what is missing, from the files ---- */

struct hashwork {
	struct cache *cache;
	struct ctx *ctx;
	struct hashtree *tree;
	struct cache_ref *ref; /* NULL: nothing is there that is not in the tree */
	struct localmount *mount;
	int rootfd; /* -1 until something has to be read */
};
struct err *hashwork_scan(struct hashwork *w, uint32_t dir) ERR_RESULT;
struct err *hashwork_scan_below(struct hashwork *w, uint32_t top) ERR_RESULT;
/* Digests of these nodes themselves (directories: header). */
struct err *hashwork_hash(struct hashwork *w, const uint32_t *nodes, size_t n) ERR_RESULT;
/* A node's digest: of a directory with all below. */
struct err *hashwork_digest(struct hashwork *w, uint32_t node, uint8_t ret[32]) ERR_RESULT;
/* Intermediate symlinks are followed always, the last one if asked. */
struct err *hashwork_resolve(struct hashwork *w, struct str path, bool follow, uint32_t *ret_node,
			     bool *ret_found) ERR_RESULT;
void hashwork_fini(struct hashwork *w);

/* ---- hashmatch.c: wildcards and patterns ---- */
struct err *hashwork_match(struct hashwork *w, struct str path, const struct contenthash_opts *o,
			   struct digest *ret) ERR_RESULT;
/* What hashwork_match sums up. */
struct err *hashwork_match_parts(struct hashwork *w, struct str path,
				 const struct contenthash_opts *o, size_t max,
				 void (*each)(void *arg, const struct contenthash_part *p),
				 void *arg) ERR_RESULT;
/* NOT_FOUND `"/path": not found`. */
struct err *hash_not_found(struct str path) ERR_RESULT;

/* ---- contenthash.c ---- */
/* Of the cache's list of trees nobody holds: written to kv with the records. */
struct err *hashtree_store_txn(struct kv_txn *t, const struct hashtree *tree,
			       struct str packed) ERR_RESULT;

#endif
