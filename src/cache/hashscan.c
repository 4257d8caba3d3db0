/* Reading directories and hashing files for a tree of digests. */
#include "cache/hashtree.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/path.h"
#include "snapshot/mounts.h"
#include "sys/inroot.h"
#include "sys/walk.h"
#include "sys/xattr.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define READ_SIZE ((size_t)128 * 1024)
#define CHUNK 128        /* files of one directory a worker takes at once */
#define PARALLEL_FROM 24 /* files: below, threads cost more than they give */
#define LINKS_MAX 255

void hashwork_fini(struct hashwork *w)
{
	localmount_close(w->mount);
	w->mount = NULL;
	w->rootfd = -1;
}

static struct err *need_files(struct hashwork *w)
{
	SCOPED_ARENA(a);
	struct mounts *m;

	if (w->rootfd >= 0)
		return NULL;
	TRY(cache_ref_mounts(w->ref, w->ctx, &a, &m));
	TRY(localmount_open(m, w->cache->tmp_dir, &w->mount));
	w->rootfd = localmount_dirfd(w->mount);
	return NULL;
}

static struct err *open_dir(struct hashwork *w, uint32_t dir, int *ret)
{
	SCOPED_ARENA(a);

	return inroot_open(w->rootfd, hashtree_path(w->tree, dir, &a),
			   O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, ret);
}

/* ---- directories ---- */

static struct err *read_link(int dirfd, const char *name, struct arena *a, struct str *ret)
{
	char text[LIMIT_PATH + 1];
	ssize_t n = readlinkat(dirfd, name, text, sizeof(text));

	if (n < 0)
		return err_errno(errno, "readlink %s", name);
	if ((size_t)n == sizeof(text))
		return err_new(ERR_INVALID_ARGUMENT, "readlink %s: too long", name);
	*ret = str_dup(a, str_make(text, (size_t)n));
	return NULL;
}

static enum hash_type type_of_entry(int dirfd, const struct walk_name *n)
{
	struct stat st;

	switch (n->type) {
	case DT_REG:
		return HASH_FILE;
	case DT_DIR:
		return HASH_DIR;
	case DT_LNK:
		return HASH_SYMLINK;
	case DT_UNKNOWN:
		if (fstatat(dirfd, n->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			return S_ISREG(st.st_mode)   ? HASH_FILE
			       : S_ISDIR(st.st_mode) ? HASH_DIR
			       : S_ISLNK(st.st_mode) ? HASH_SYMLINK
						     : HASH_OTHER;
		return HASH_OTHER;
	default:
		return HASH_OTHER;
	}
}

struct err *hashwork_scan(struct hashwork *w, uint32_t dir)
{
	CLEANUP(walk_names_fini) struct walk_names names = { 0 };
	CLEANUP_FD int fd = -1;
	SCOPED_ARENA(a);
	struct hashchild *kids;

	if (hashtree_node(w->tree, dir)->flags & HASH_SCANNED)
		return NULL;
	if (!w->ref)
		return hashtree_add_children(w->tree, dir, NULL, 0);
	TRY(need_files(w));
	TRY(open_dir(w, dir, &fd));
	TRY(walk_read_names(fd, true, &names));
	kids = ARENA_NEW_N(&a, struct hashchild, names.n);
	for (size_t i = 0; i < names.n; i++) {
		kids[i].name = str_from(names.items[i].name);
		kids[i].type = type_of_entry(fd, &names.items[i]);
		if (kids[i].type == HASH_SYMLINK)
			TRY(read_link(fd, names.items[i].name, &a, &kids[i].link));
	}
	return hashtree_add_children(w->tree, dir, kids, names.n);
}

struct err *hashwork_scan_below(struct hashwork *w, uint32_t top)
{
	struct {
		uint32_t *items;
		size_t len, cap;
	} todo = { 0 };
	struct err *e = NULL;

	vec_push(&todo, top);
	while (!e && todo.len) {
		uint32_t i = vec_pop(&todo);
		struct hashnode *n = hashtree_node(w->tree, i);

		if (n->type != HASH_DIR || n->flags & HASH_HAS_CONTENT)
			continue;
		e = ctx_done(w->ctx) ? ctx_err(w->ctx) : hashwork_scan(w, i);
		n = hashtree_node(w->tree, i);
		for (uint32_t k = n->first; !e && k < n->first + n->count; k++)
			if (hashtree_node(w->tree, k)->type == HASH_DIR)
				vec_push(&todo, k);
	}
	vec_fini(&todo);
	return e;
}

/* ---- files ---- */

struct worker {
	struct hasher *hasher;
	char *chunk;
};

/* Of overlayfs itself; not seen through a mount, and no property of the files. */
static bool is_wanted_xattr(struct str name)
{
	return !str_has_prefix(name, STR("trusted.overlay.")) &&
	       !str_has_prefix(name, STR("user.overlay."));
}

static struct err *hash_header(struct worker *k, int fd, const char *name, const struct stat *st,
			       struct str link)
{
	struct contenthash_entry e = {
		.mode = st->st_mode,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.size = (uint64_t)st->st_size,
		.devmajor = 0,
		.devminor = 0,
		.linkname = link,
	};
	SCOPED_ARENA(a);
	struct xattr *x = NULL;

	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
		e.devmajor = major(st->st_rdev);
		e.devminor = minor(st->st_rdev);
	}
	if (xattr_any(fd, name)) {
		struct str *names, *values;

		TRY(xattr_read_all(fd, name, is_wanted_xattr, &a, &x, &e.n_xattrs));
		names = ARENA_NEW_N(&a, struct str, e.n_xattrs);
		values = ARENA_NEW_N(&a, struct str, e.n_xattrs);
		for (size_t i = 0; i < e.n_xattrs; i++) {
			names[i] = x[i].name;
			values[i] = x[i].value;
		}
		e.xattr_names = names;
		e.xattr_values = values;
	}
	contenthash_begin(k->hasher, &e);
	return NULL;
}

static struct err *hash_file(struct worker *k, int dirfd, const char *name)
{
	CLEANUP_FD int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	uint64_t left;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(errno, "open %s", name);
	TRY(hash_header(k, fd, NULL, &st, STR_NONE));
	/* Not past the size of the header: the file may be growing. */
	for (left = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0; left;) {
		ssize_t n = read(fd, k->chunk, MIN(READ_SIZE, (size_t)left));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(errno, "read %s", name);
		if (!n)
			break;
		hasher_add(k->hasher, k->chunk, (size_t)n);
		left -= (uint64_t)n;
	}
	return NULL;
}

static struct err *hash_node(struct hashwork *w, struct worker *k, int dirfd, uint32_t i)
{
	struct hashnode *n = hashtree_node(w->tree, i);
	char name[LIMIT_FILE_NAME + 1];
	struct digest d;

	(void)snprintf(name, sizeof(name), "%.*s", STR_ARG(hashtree_name(w->tree, n)));
	hasher_reset(k->hasher);
	if (!i) {
		struct stat st;

		if (fstat(w->rootfd, &st) < 0)
			return err_errno(errno, "stat /");
		TRY(hash_header(k, w->rootfd, ".", &st, STR_NONE));
	} else if (n->type == HASH_FILE) {
		TRY(hash_file(k, dirfd, name));
	} else {
		struct stat st;

		if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_errno(errno, "stat %s", name);
		TRY(hash_header(k, dirfd, name, &st,
				n->type == HASH_SYMLINK ? hashtree_link(w->tree, n) : STR_NONE));
	}
	d = hasher_sum(k->hasher);
	memcpy(n->digest, d.bytes, sizeof(n->digest));
	n->flags |= HASH_HAS_DIGEST;
	return NULL;
}

struct span {
	size_t from, to; /* of the list; all in one directory */
};

struct hash_job {
	struct hashwork *w;
	const uint32_t *nodes;
	VEC(struct span) spans;
	atomic_size_t next;
};

static struct err *hash_span(struct hash_job *j, struct worker *k, struct span s)
{
	struct hashwork *w = j->w;
	CLEANUP_FD int dirfd = -1;
	uint32_t first = j->nodes[s.from], dir = hashtree_node(w->tree, first)->parent;

	if (first)
		TRY(open_dir(w, dir, &dirfd));
	for (size_t i = s.from; i < s.to; i++) {
		struct err *e = hash_node(w, k, dirfd, j->nodes[i]);
		SCOPED_ARENA(a);

		if (e) {
			struct str path = hashtree_path(w->tree, dir, &a);

			return err_wrap(e, "checksum of %.*s", STR_ARG(path));
		}
	}
	return NULL;
}

static struct err *hash_spans(struct ctx *ctx, void *arg)
{
	struct hash_job *j = arg;
	struct worker k = { .hasher = hasher_new(DIGEST_SHA256), .chunk = mem_alloc(READ_SIZE) };
	struct err *e = NULL;

	for (;;) {
		size_t i = atomic_fetch_add(&j->next, 1);

		if (i >= j->spans.len || e)
			break;
		e = ctx_done(ctx) ? ctx_err(ctx) : hash_span(j, &k, j->spans.items[i]);
	}
	hasher_free(k.hasher);
	free(k.chunk);
	return e;
}

struct err *hashwork_hash(struct hashwork *w, const uint32_t *nodes, size_t n)
{
	struct hash_job j = { .w = w, .nodes = nodes };
	struct err *e = NULL;

	if (!n)
		return NULL;
	if (!w->ref)
		return err_new(ERR_INTERNAL, "checksum of what is not there");
	TRY(need_files(w));
	for (size_t i = 0; i < n;) {
		struct span s = { i, i + 1 };

		while (nodes[i] && s.to < n && s.to - i < CHUNK &&
		       hashtree_node(w->tree, nodes[s.to])->parent ==
			       hashtree_node(w->tree, nodes[i])->parent)
			s.to++;
		vec_push(&j.spans, s);
		i = s.to;
	}
	if (n < PARALLEL_FROM || !ctx_pool(w->ctx)) {
		e = hash_spans(w->ctx, &j);
	} else {
		long cpus = sysconf(_SC_NPROCESSORS_ONLN);
		struct task_group g;

		/* One more than cores: some wait for the disk. */
		task_group_init(&g, w->ctx, 0);
		for (long i = 0; i <= cpus && (size_t)i < j.spans.len; i++)
			task_group_go(&g, "checksum", hash_spans, &j);
		e = task_group_wait(&g);
	}
	vec_fini(&j.spans);
	w->tree->changed = true;
	return e;
}

/* ---- digest of a whole directory ---- */

struct node_list {
	uint32_t *items;
	size_t len, cap;
};

/* All below that lack a digest; directories in post-order go to dirs. */
static void collect(struct hashtree *t, uint32_t top, struct node_list *missing,
		    struct node_list *dirs)
{
	struct node_list todo = { 0 };
	size_t from = dirs->len;

	if (!(hashtree_node(t, top)->flags & HASH_HAS_DIGEST))
		vec_push(missing, top);
	vec_push(&todo, top);
	while (todo.len) {
		uint32_t i = vec_pop(&todo);
		const struct hashnode *n = hashtree_node(t, i);

		if (n->type != HASH_DIR || n->flags & HASH_HAS_CONTENT)
			continue;
		vec_push(dirs, i);
		for (uint32_t k = n->first; k < n->first + n->count; k++) {
			const struct hashnode *c = hashtree_node(t, k);

			if (!(c->flags & HASH_HAS_DIGEST) &&
			    !(c->type == HASH_DIR && c->flags & HASH_HAS_CONTENT))
				vec_push(missing, k);
			if (c->type == HASH_DIR)
				vec_push(&todo, k);
		}
	}
	for (size_t i = from, k = dirs->len; i + 1 < k; i++, k--) {
		uint32_t x = dirs->items[i];

		dirs->items[i] = dirs->items[k - 1];
		dirs->items[k - 1] = x;
	}
	vec_fini(&todo);
}

static void add_text(struct hasher *h, const uint8_t digest[32])
{
	char text[HASH_TEXT_LEN];

	hashtree_digest_text(digest, text);
	hasher_add(h, text, sizeof(text));
}

/* Of the children all is known. */
static void sum_dir(struct hashtree *t, struct hasher *h, uint32_t i)
{
	struct hashnode *n = hashtree_node(t, i);
	struct digest d;

	hasher_reset(h);
	hasher_add(h, "", 1);
	add_text(h, n->digest);
	for (uint32_t k = n->first; k < n->first + n->count; k++) {
		const struct hashnode *c = hashtree_node(t, k);

		hasher_add(h, "", 1);
		hasher_add_str(h, hashtree_name(t, c));
		add_text(h, c->type == HASH_DIR ? hashtree_content(t, c) : c->digest);
	}
	d = hasher_sum(h);
	memcpy(hashtree_content(t, n), d.bytes, 32);
	n->flags |= HASH_HAS_CONTENT;
}

struct err *hashwork_digest(struct hashwork *w, uint32_t node, uint8_t ret[32])
{
	CLEANUP(hasher_freep) struct hasher *h = NULL;
	struct node_list missing = { 0 }, dirs = { 0 };
	struct hashnode *n;
	struct err *e;

	e = hashwork_scan_below(w, node);
	if (!e) {
		collect(w->tree, node, &missing, &dirs);
		e = hashwork_hash(w, missing.items, missing.len);
	}
	if (!e && dirs.len) {
		h = hasher_new(DIGEST_SHA256);
		for (size_t i = 0; i < dirs.len; i++)
			sum_dir(w->tree, h, dirs.items[i]);
		w->tree->changed = true;
	}
	vec_fini(&missing);
	vec_fini(&dirs);
	if (e)
		return e;
	n = hashtree_node(w->tree, node);
	memcpy(ret, n->type == HASH_DIR ? hashtree_content(w->tree, n) : n->digest, 32);
	return NULL;
}

/* ---- paths ---- */

static struct str first_component(struct str path)
{
	ptrdiff_t slash = str_find(path, '/');

	return slash < 0 ? path : str_sub(path, 0, (size_t)slash);
}

struct err *hashwork_resolve(struct hashwork *w, struct str path, bool follow, uint32_t *ret_node,
			     bool *ret_found)
{
	SCOPED_ARENA(a);
	struct str rest = path_clean(&a, str_from(arena_printf(&a, "/%.*s", STR_ARG(path))));
	unsigned links = 0;
	uint32_t at = 0;

	while (rest.len) {
		const struct hashnode *n;
		struct str name, link;
		uint32_t child;

		if (rest.ptr[0] == '/') {
			rest = str_sub(rest, 1, rest.len);
			continue;
		}
		name = first_component(rest);
		rest = str_sub(rest, name.len, rest.len);
		if (hashtree_node(w->tree, at)->type == HASH_DIR)
			TRY(hashwork_scan(w, at));
		child = hashtree_child(w->tree, at, name);
		if (!child) {
			*ret_found = false;
			return NULL;
		}
		n = hashtree_node(w->tree, child);
		if (n->type != HASH_SYMLINK || (!follow && !rest.len)) {
			at = child;
			continue;
		}
		if (++links > LINKS_MAX)
			return err_new(ERR_UNKNOWN, "too many links");
		link = hashtree_link(w->tree, n);
		if (!link.len || link.ptr[0] != '/') {
			struct str dir = hashtree_path(w->tree, at, &a);

			link = str_from(arena_printf(&a, "%.*s/%.*s", STR_ARG(dir), STR_ARG(link)));
		}
		rest = path_clean(
			&a, str_from(arena_printf(&a, "/%.*s/%.*s", STR_ARG(link), STR_ARG(rest))));
		at = 0;
	}
	*ret_found = true;
	*ret_node = at;
	return NULL;
}
