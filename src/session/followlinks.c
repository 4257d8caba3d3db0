#include "session/send_filter.h"

#include "base/limits.h"
#include "base/map.h"
#include "base/path.h"
#include "base/vec.h"
#include "sys/fd.h"
#include "sys/inroot.h"
#include "sys/walk.h"

#include <errno.h>
#include <fcntl.h>

/* Links that lead to links; and what a list of wildcards may come to. */
#define MAX_DEPTH 255
#define MAX_PATHS 100000

struct resolver {
	struct arena *a;
	int root;
	struct map seen; /* resolved paths */
};

struct targets {
	bool is_link; /* or a wildcard that found any */
	VEC(struct str) v;
};

/* "." for the root; clean and relative. */
static struct str relative(struct arena *a, struct str p)
{
	struct str c = path_clean(a, path_join(a, STR("/"), p));

	return c.len > 1 ? str_sub(c, 1, c.len) : STR(".");
}

static bool is_missing(const struct err *e)
{
	return err_is(e, ERR_NOT_FOUND) || err_get_errno(e) == ENOTDIR;
}

/* Where a symlink leads, absolute in the root; nothing for what is none. */
static struct err *read_link(struct resolver *r, struct str path, struct targets *t)
{
	char text[LIMIT_PATH + 1];
	CLEANUP_FD int dirfd = -1;
	const char *base;
	struct stat st;
	struct err *e;
	ssize_t n;

	if (str_eq_cstr(path, "."))
		return NULL;
	e = inroot_parent(r->root, path, r->a, &dirfd, &base);
	if (!e && fstatat(dirfd, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		e = err_errno(errno, "lstat %.*s", STR_ARG(path));
	if (is_missing(e)) {
		err_free(e);
		return NULL;
	}
	TRY(e);
	if (!S_ISLNK(st.st_mode))
		return NULL;
	n = readlinkat(dirfd, base, text, sizeof(text) - 1);
	if (n < 0)
		return err_errno(errno, "readlink %.*s", STR_ARG(path));
	t->is_link = true;
	if (n > 0 && text[0] == '/')
		vec_push(&t->v, str_dup(r->a, str_make(text, (size_t)n)));
	else
		vec_push(&t->v, path_join(r->a, path_dir(r->a, path),
					  str_dup(r->a, str_make(text, (size_t)n))));
	return NULL;
}

/* A wildcard stands for the symlinks it matches. */
static struct err *expand(struct resolver *r, struct str path, struct targets *t)
{
	struct str dir = path_dir(r->a, path), base = path_base(path);
	CLEANUP(walk_names_fini) struct walk_names names = { 0 };
	CLEANUP_FD int fd = -1;
	struct err *e = inroot_open(r->root, dir, O_RDONLY | O_DIRECTORY, 0, &fd);

	if (is_missing(e)) {
		err_free(e);
		return NULL;
	}
	TRYW(e, "readdir");
	TRYW(walk_read_names(fd, true, &names), "readdir");
	t->is_link = true;
	for (size_t i = 0; i < names.n; i++) {
		struct str name = str_from(names.items[i].name);
		bool m = false;

		err_free(glob_match(base, name, &m));
		if (m)
			TRY(read_link(r, path_join(r->a, dir, str_dup(r->a, name)), t));
	}
	/* As fsutil: no link found is as good as none looked for. */
	t->is_link = t->v.len > 0;
	return NULL;
}

static bool has_wildcard(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '\\')
			i++;
		else if (s.ptr[i] == '*' || s.ptr[i] == '?' || s.ptr[i] == '[')
			return true;
	}
	return false;
}

static struct err *add(struct resolver *r, struct str path, int depth);

static struct err *add_targets(struct resolver *r, const struct targets *t, struct str rest,
			       int depth)
{
	for (size_t i = 0; i < t->v.len; i++) {
		struct str p = t->v.items[i];

		TRY(add(r, rest.len ? path_join(r->a, p, rest) : p, depth));
	}
	return NULL;
}

/* Component by component; the first that is a link goes into the list itself, and then what it
 * leads to, with the rest of the path. */
static struct err *add(struct resolver *r, struct str path, int depth)
{
	struct str rest = relative(r->a, path), current = STR("."), part;

	if (depth > MAX_DEPTH || map_len(&r->seen) > MAX_PATHS)
		return err_errno(ELOOP, "follow %.*s", STR_ARG(path));
	for (;;) {
		struct targets t = { 0 };
		struct err *e;

		if (!str_cut(rest, '/', &part, &rest))
			rest = STR_NONE;
		current = path_join(r->a, current, part);
		if (has_wildcard(part))
			e = expand(r, current, &t);
		else
			e = read_link(r, current, &t);
		if (!e && (t.is_link || !rest.len)) {
			bool known = map_has(&r->seen, current);

			if (!known) {
				(void)map_put(&r->seen, current, r);
				e = add_targets(r, &t, rest, depth + 1);
			}
			vec_fini(&t.v);
			return e;
		}
		vec_fini(&t.v);
		TRY(e);
	}
}

static int by_bytes(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

struct err *follow_links(struct arena *a, int rootfd, const struct str *paths, size_t n,
			 struct str **ret, size_t *ret_n, bool *ret_everything)
{
	struct resolver r = { .a = a, .root = rootfd };
	struct err *e = NULL;
	struct str *list;
	size_t k = 0;

	*ret_everything = false;
	for (size_t i = 0; i < n && !e; i++)
		e = add(&r, paths[i], 0);
	list = ARENA_NEW_N(a, struct str, map_len(&r.seen) + 1);
	for (struct map_entry *m = map_next(&r.seen, NULL); m; m = map_next(&r.seen, m)) {
		list[k] = str_dup(a, map_key(m));
		*ret_everything |= str_eq_cstr(list[k], ".");
		k++;
	}
	map_fini(&r.seen, NULL);
	TRY(e);
	qsort(list, k, sizeof(*list), by_bytes);
	*ret = list;
	*ret_n = paths_dedupe(list, k);
	return NULL;
}

size_t paths_dedupe(struct str *list, size_t n)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		if (k && list[i].len > list[k - 1].len && str_has_prefix(list[i], list[k - 1]) &&
		    list[i].ptr[list[k - 1].len] == '/')
			continue;
		list[k++] = list[i];
	}
	return k;
}
