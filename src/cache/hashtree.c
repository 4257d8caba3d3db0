#include "cache/hashtree.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>

#define FORMAT 1

struct hashtree *hashtree_new(void)
{
	struct hashtree *t = NEW(struct hashtree);

	buf_init(&t->text, LIMIT_TREE_TEXT);
	list_init(&t->unstored);
	vec_push(&t->nodes, ((struct hashnode) { .type = HASH_DIR }));
	for (int i = 0; i < 32; i++)
		vec_push(&t->contents, 0);
	return t;
}

void hashtree_free(struct hashtree *t)
{
	if (!t)
		return;
	vec_fini(&t->nodes);
	vec_fini(&t->contents);
	buf_fini(&t->text);
	free(t);
}

void hashtree_digest_text(const uint8_t digest[32], char out[HASH_TEXT_LEN])
{
	static const char hex[] = "0123456789abcdef";

	memcpy(out, "sha256:", 7);
	for (int i = 0; i < 32; i++) {
		out[7 + 2 * i] = hex[digest[i] >> 4];
		out[8 + 2 * i] = hex[digest[i] & 15];
	}
}

/* Room for n contents and nodes at once: vec_push would copy more often. */
static void reserve(struct hashtree *t, size_t n)
{
	if (t->nodes.len + n <= t->nodes.cap)
		return;
	t->nodes.cap = MAX(t->nodes.cap * 2, t->nodes.len + n);
	t->nodes.items = mem_realloc(t->nodes.items, t->nodes.cap, sizeof(*t->nodes.items));
}

static uint32_t new_content(struct hashtree *t)
{
	static const uint8_t zero[32];
	uint32_t i = (uint32_t)(t->contents.len / 32);

	if (t->contents.len + 32 > t->contents.cap) {
		t->contents.cap = MAX(t->contents.cap * 2, (size_t)1024);
		t->contents.items = mem_realloc(t->contents.items, t->contents.cap, 1);
	}
	memcpy(t->contents.items + t->contents.len, zero, sizeof(zero));
	t->contents.len += 32;
	return i;
}

struct err *hashtree_add_children(struct hashtree *t, uint32_t dir, const struct hashchild *c,
				  size_t n)
{
	uint32_t first = (uint32_t)t->nodes.len;

	if (n > LIMIT_TREE_NODES || t->nodes.len + n > LIMIT_TREE_NODES)
		return err_new(ERR_RESOURCE_EXHAUSTED, "more than %d files to checksum",
			       LIMIT_TREE_NODES);
	reserve(t, n);
	for (size_t i = 0; i < n; i++) {
		struct hashnode *x = &t->nodes.items[t->nodes.len++];

		*x = (struct hashnode) { .parent = dir,
					 .name = (uint32_t)t->text.len,
					 .name_len = (uint16_t)c[i].name.len,
					 .type = (uint8_t)c[i].type };
		buf_add_str(&t->text, c[i].name);
		if (c[i].type == HASH_SYMLINK) {
			x->first = (uint32_t)t->text.len;
			x->count = (uint32_t)c[i].link.len;
			buf_add_str(&t->text, c[i].link);
		} else if (c[i].type == HASH_DIR) {
			x->content = new_content(t);
		}
	}
	TRY(buf_check(&t->text, "list of files"));
	hashtree_node(t, dir)->first = first;
	hashtree_node(t, dir)->count = (uint32_t)n;
	hashtree_node(t, dir)->flags |= HASH_SCANNED;
	t->changed = true;
	return NULL;
}

uint32_t hashtree_child(const struct hashtree *t, uint32_t dir, struct str name)
{
	const struct hashnode *d = &t->nodes.items[dir];
	uint32_t from = d->first, to = d->first + d->count;

	if (d->type != HASH_DIR)
		return 0;
	while (from < to) {
		uint32_t mid = from + (to - from) / 2;
		int c = str_cmp(hashtree_name(t, &t->nodes.items[mid]), name);

		if (c == 0)
			return mid;
		if (c < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return 0;
}

struct str hashtree_path(const struct hashtree *t, uint32_t node, struct arena *a)
{
	size_t len = 0;
	char *p;

	for (uint32_t i = node; i; i = t->nodes.items[i].parent)
		len += t->nodes.items[i].name_len + 1U;
	p = (char *)arena_alloc(a, len + 1) + len;
	for (uint32_t i = node; i; i = t->nodes.items[i].parent) {
		struct str name = hashtree_name(t, &t->nodes.items[i]);

		p -= name.len;
		memcpy(p, name.ptr, name.len);
		*--p = '/';
	}
	return str_make(p, len);
}

/* ---- building from a list ---- */

/* The order of a walk: as if '/' came before every other byte. */
static int by_tree_order(const void *a, const void *b)
{
	struct str x = (*(const struct contenthash_known *const *)a)->path;
	struct str y = (*(const struct contenthash_known *const *)b)->path;
	size_t n = MIN(x.len, y.len), i = 0;

	while (i < n && x.ptr[i] == y.ptr[i])
		i++;
	if (i == n)
		return x.len < y.len ? -1 : x.len > y.len;
	if (x.ptr[i] == '/')
		return -1;
	if (y.ptr[i] == '/')
		return 1;
	return (unsigned char)x.ptr[i] < (unsigned char)y.ptr[i] ? -1 : 1;
}

static enum hash_type type_of_mode(uint32_t mode)
{
	switch (mode & 0170000) {
	case 0100000:
		return HASH_FILE;
	case 0040000:
		return HASH_DIR;
	case 0120000:
		return HASH_SYMLINK;
	default:
		return HASH_OTHER;
	}
}

/* What of path stands directly in the directory whose path is the first `at` bytes. */
static struct str component(struct str path, size_t at)
{
	struct str rest = str_sub(path, at, path.len);
	ptrdiff_t slash = str_find(rest, '/');

	return slash < 0 ? rest : str_sub(rest, 0, (size_t)slash);
}

struct children {
	struct hashchild *items;
	size_t len, cap;
};

/* Entries [from, to) are below dir, whose path takes `at` bytes with its slash. */
static struct err *build_dir(struct hashtree *t, uint32_t dir, const struct contenthash_known **all,
			     size_t from, size_t to, size_t at)
{
	struct children kids = { 0 };
	struct err *e;
	uint32_t first;

	for (size_t i = from; i < to; i++) {
		const struct contenthash_known *k = all[i];
		struct str name = component(k->path, at);
		bool direct = at + name.len == k->path.len;

		if (kids.len && str_eq(kids.items[kids.len - 1].name, name))
			continue;
		/* A parent that is not in the list is a directory nobody has looked at. */
		vec_push(&kids, ((struct hashchild) { .name = name,
						      .link = direct ? k->linkname : STR_NONE,
						      .type = direct ? type_of_mode(k->mode)
								     : HASH_DIR }));
	}
	e = hashtree_add_children(t, dir, kids.items, kids.len);
	first = hashtree_node(t, dir)->first;
	for (size_t i = from, c = 0; !e && i < to; c++) {
		struct hashnode *x = hashtree_node(t, first + (uint32_t)c);
		size_t end = i, below;

		if (at + kids.items[c].name.len == all[i]->path.len) {
			memcpy(x->digest, all[i]->digest.bytes, sizeof(x->digest));
			x->flags |= HASH_HAS_DIGEST;
		}
		while (end < to && str_eq(component(all[end]->path, at), kids.items[c].name))
			end++;
		below = i + (x->flags & HASH_HAS_DIGEST ? 1 : 0);
		if (x->type == HASH_DIR)
			e = build_dir(t, first + (uint32_t)c, all, below, end,
				      at + kids.items[c].name.len + 1);
		i = end;
	}
	vec_fini(&kids);
	return e;
}

/* Clean, relative, no name of a directory's own. */
static bool is_good_path(struct str path)
{
	struct str name;

	if (!path.len || path.len > LIMIT_PATH || memchr(path.ptr, 0, path.len))
		return false;
	while (str_next(&path, '/', &name))
		if (!name.len || name.len > LIMIT_FILE_NAME || str_eq(name, STR(".")) ||
		    str_eq(name, STR("..")))
			return false;
	return true;
}

struct err *hashtree_build(const struct contenthash_known *known, size_t n, struct hashtree **ret)
{
	CLEANUP_FREE const struct contenthash_known **all = mem_calloc(n, sizeof(*all));
	struct hashtree *t = hashtree_new();
	struct err *e = NULL;

	for (size_t i = 0; i < n && !e; i++) {
		all[i] = &known[i];
		if (!is_good_path(known[i].path) || known[i].digest.algo != DIGEST_SHA256)
			e = err_new(ERR_INVALID_ARGUMENT, "invalid checksum of \"%.*s\"",
				    STR_ARG(known[i].path));
	}
	if (!e) {
		if (n)
			qsort(all, n, sizeof(*all), by_tree_order);
		for (size_t i = 1; i < n && !e; i++)
			if (str_eq(all[i - 1]->path, all[i]->path))
				e = err_new(ERR_INVALID_ARGUMENT, "checksum of \"%.*s\" twice",
					    STR_ARG(all[i]->path));
	}
	if (!e) {
		e = build_dir(t, 0, all, 0, n, 0);
	}
	if (e) {
		hashtree_free(t);
		return e;
	}
	*ret = t;
	return NULL;
}

/* ---- stored form: the arrays as they are; only this machine reads it ---- */

struct header {
	uint32_t format, node_size;
	uint64_t n_nodes, n_contents, n_text;
};

void hashtree_pack(const struct hashtree *t, struct buf *out)
{
	struct header h = { .format = FORMAT,
			    .node_size = sizeof(struct hashnode),
			    .n_nodes = t->nodes.len,
			    .n_contents = t->contents.len,
			    .n_text = t->text.len };

	buf_add(out, &h, sizeof(h));
	buf_add(out, t->nodes.items, t->nodes.len * sizeof(struct hashnode));
	buf_add(out, t->contents.items, t->contents.len);
	buf_add(out, t->text.data, t->text.len);
}

static bool is_sound(const struct hashtree *t)
{
	for (size_t i = 0; i < t->nodes.len; i++) {
		const struct hashnode *n = &t->nodes.items[i];

		if ((i && n->parent >= i) || (size_t)n->name + n->name_len > t->text.len)
			return false;
		if (n->type == HASH_SYMLINK && (size_t)n->first + n->count > t->text.len)
			return false;
		if (n->type == HASH_DIR &&
		    ((size_t)n->first + n->count > t->nodes.len || (n->count && n->first <= i) ||
		     ((size_t)n->content + 1) * 32 > t->contents.len))
			return false;
	}
	return t->nodes.len && t->nodes.items[0].type == HASH_DIR;
}

struct err *hashtree_unpack(struct str data, struct hashtree **ret)
{
	struct hashtree *t;
	struct header h;
	const char *at = data.ptr;

	if (data.len < sizeof(h))
		return err_new(ERR_DATA_LOSS, "stored checksums are damaged");
	memcpy(&h, at, sizeof(h));
	at += sizeof(h);
	if (h.format != FORMAT || h.node_size != sizeof(struct hashnode) ||
	    h.n_nodes > LIMIT_TREE_NODES || h.n_contents > data.len || h.n_text > data.len ||
	    sizeof(h) + h.n_nodes * sizeof(struct hashnode) + h.n_contents + h.n_text != data.len)
		return err_new(ERR_DATA_LOSS, "stored checksums are damaged");
	t = NEW(struct hashtree);
	list_init(&t->unstored);
	t->nodes.items = mem_dup(at, h.n_nodes * sizeof(struct hashnode));
	t->nodes.len = t->nodes.cap = h.n_nodes;
	at += h.n_nodes * sizeof(struct hashnode);
	t->contents.items = mem_dup(at, h.n_contents);
	t->contents.len = t->contents.cap = h.n_contents;
	at += h.n_contents;
	buf_init(&t->text, LIMIT_TREE_TEXT);
	buf_add(&t->text, at, h.n_text);
	if (!is_sound(t)) {
		hashtree_free(t);
		return err_new(ERR_DATA_LOSS, "stored checksums are damaged");
	}
	*ret = t;
	return NULL;
}
