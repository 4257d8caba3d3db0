/* Checksums over the paths that wildcards and include and exclude patterns pick: the digests of
 * files and of directories' headers, with their paths below the part without wildcards. */
#include "cache/hashtree.h"

#include "base/glob.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/path.h"

struct picked {
	uint32_t node;
	struct str path;
	bool top; /* not inside a directory that counts: a symlink is followed, if asked */
};

/* A directory on the way: it is picked, too, when something below it is. */
struct dir_state {
	struct dir_state *up;
	struct picked self;
	bool picked;
	struct match_state *include, *exclude;
};

struct matcher {
	struct hashwork *w;
	struct arena *a;
	struct str pattern; /* the path asked for, clean, "" for the root */
	bool wildcard;
	struct str prefix; /* what of it has no wildcard, or all of it */
	struct patterns *include, *exclude;
	VEC(struct picked) out;
};

struct err *hash_not_found(struct str path)
{
	SCOPED_BUF(text, 4 * LIMIT_PATH);

	go_quote(&text, path);
	return err_new(ERR_NOT_FOUND, "%s: not found", buf_cstr(&text));
}

static struct str clean_key_path(struct arena *a, struct str path)
{
	struct str p = path_clean(a, str_from(arena_printf(a, "/%.*s", STR_ARG(path))));

	return p.len == 1 ? STR_NONE : p;
}

/* Whether a component has a wildcard that is not escaped. */
static bool has_wildcard(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '\\')
			i++;
		else if (strchr("*?[", s.ptr[i]) && s.ptr[i])
			return true;
	}
	return false;
}

static struct str plain_prefix(struct str pattern)
{
	size_t end = 0;

	for (size_t i = 1; i <= pattern.len; i++) {
		if (i < pattern.len && pattern.ptr[i] != '/')
			continue;
		if (has_wildcard(str_sub(pattern, end, i)))
			break;
		end = i;
	}
	return str_sub(pattern, 0, end);
}

static size_t n_components(struct str path)
{
	size_t n = 0;

	for (size_t i = 0; i < path.len; i++)
		n += path.ptr[i] == '/';
	return n;
}

/* Could something below path match? Its components are held against the pattern's first. */
static struct err *may_match_below(const struct matcher *m, struct str path, bool *ret)
{
	size_t want = n_components(path), n = 0, end;

	for (end = 0; end < m->pattern.len; end++) {
		n += m->pattern.ptr[end] == '/';
		if (n > want)
			break;
	}
	*ret = end < m->pattern.len;
	if (!*ret || !path.len)
		return NULL;
	return glob_match(str_sub(m->pattern, 0, end), path, ret);
}

static struct str below(struct str path, struct str top)
{
	struct str rest = str_trim_prefix(path, top);

	return rest.len ? str_sub(rest, 1, rest.len) : rest;
}

static void pick(struct matcher *m, struct dir_state *up, struct picked p)
{
	struct {
		struct dir_state **items;
		size_t len, cap;
	} ups = { 0 };

	for (; up; up = up->up)
		if (!up->picked)
			vec_push(&ups, up);
	while (ups.len) {
		struct dir_state *d = vec_pop(&ups);

		d->picked = true;
		vec_push(&m->out, d->self);
	}
	vec_fini(&ups);
	vec_push(&m->out, p);
}

struct verdict {
	bool take;
	bool descend;
	struct match_state *include, *exclude;
};

static struct err *judge(struct matcher *m, struct str candidate, const struct dir_state *up,
			 struct verdict *ret)
{
	struct verdict v = { .take = true, .descend = true };
	bool match;

	if (m->include) {
		TRY(patterns_match_walk(m->include, m->a, candidate, up ? up->include : NULL,
					&match, &v.include));
		v.take = match;
		v.descend = match || patterns_may_match_below(m->include, candidate);
	}
	if (v.take && m->exclude) {
		TRY(patterns_match_walk(m->exclude, m->a, candidate, up ? up->exclude : NULL,
					&match, &v.exclude));
		v.take = !match;
		if (match && !patterns_has_exclusions(m->exclude))
			v.descend = false;
	}
	*ret = v;
	return NULL;
}

static struct err *visit(struct matcher *m, uint32_t node, struct str path, struct dir_state *up,
			 struct str matched, bool is_matched);

static struct err *visit_children(struct matcher *m, uint32_t dir, struct str path,
				  struct dir_state *up, struct str matched, bool is_matched)
{
	struct hashnode *n;
	uint32_t first, count;

	if (ctx_done(m->w->ctx))
		return ctx_err(m->w->ctx);
	TRY(hashwork_scan(m->w, dir));
	n = hashtree_node(m->w->tree, dir);
	first = n->first;
	count = n->count;
	for (uint32_t i = first; i < first + count; i++) {
		struct str name = hashtree_name(m->w->tree, hashtree_node(m->w->tree, i));
		struct str sub =
			str_from(arena_printf(m->a, "%.*s/%.*s", STR_ARG(path), STR_ARG(name)));

		TRY(visit(m, i, sub, up, matched, is_matched));
	}
	return NULL;
}

static struct err *visit(struct matcher *m, uint32_t node, struct str path, struct dir_state *up,
			 struct str matched, bool is_matched)
{
	bool is_dir = hashtree_node(m->w->tree, node)->type == HASH_DIR;
	struct dir_state *d;
	struct verdict v;

	if (!is_matched) {
		bool go_on;

		TRY(glob_match(m->pattern, path, &is_matched));
		if (!is_matched) {
			if (!is_dir)
				return NULL;
			TRY(may_match_below(m, path, &go_on));
			return go_on ? visit_children(m, node, path, up, matched, false) : NULL;
		}
		matched = path;
	}
	TRY(judge(m, below(path, matched), up, &v));
	if (v.take)
		pick(m, up, (struct picked) { node, path, !up });
	if (!is_dir || !v.descend)
		return NULL;
	d = ARENA_NEW(m->a, struct dir_state);
	*d = (struct dir_state) { .up = up,
				  .self = { node, path, !up },
				  .picked = v.take,
				  .include = v.include,
				  .exclude = v.exclude };
	return visit_children(m, node, path, d, matched, true);
}

/* ---- what must be there ---- */

/* From the root, through no symlink: that is how patterns are matched. */
static struct err *require(struct matcher *m, struct str path)
{
	struct str clean = clean_key_path(m->a, path), rest = clean, name;
	uint32_t at = 0;

	while (str_next(&rest, '/', &name)) {
		if (!name.len)
			continue; /* before the leading slash */
		if (hashtree_node(m->w->tree, at)->type != HASH_DIR)
			return hash_not_found(clean);
		TRY(hashwork_scan(m->w, at));
		at = hashtree_child(m->w->tree, at, name);
		if (!at)
			return hash_not_found(clean);
	}
	return NULL;
}

/* ---- the sum ---- */

static struct err *hash_missing(struct matcher *m)
{
	CLEANUP_FREE uint32_t *nodes = mem_calloc(m->out.len, sizeof(*nodes));
	size_t n = 0;

	vec_each (&m->out, p) {
		if (!(hashtree_node(m->w->tree, p->node)->flags & HASH_HAS_DIGEST))
			nodes[n++] = p->node;
	}
	return hashwork_hash(m->w, nodes, n);
}

static struct err *digest_of(struct matcher *m, const struct picked *p, bool follow,
			     uint8_t ret[32])
{
	const struct hashnode *n = hashtree_node(m->w->tree, p->node);
	uint32_t target;
	bool found;

	if (!follow || !p->top || n->type != HASH_SYMLINK) {
		memcpy(ret, n->digest, 32);
		return NULL;
	}
	TRY(hashwork_resolve(m->w, p->path, true, &target, &found));
	if (!found)
		return hash_not_found(p->path);
	return hashwork_digest(m->w, target, ret);
}

static void add_key(struct hasher *h, struct str path)
{
	if (!path.len)
		hasher_add(h, "", 1);
	while (path.len) {
		size_t end = 1;

		while (end < path.len && path.ptr[end] != '/')
			end++;
		hasher_add(h, "", 1);
		hasher_add(h, path.ptr + 1, end - 1);
		path = str_sub(path, end, path.len);
	}
}

static struct err *sum(struct matcher *m, bool follow, struct digest *ret)
{
	CLEANUP(hasher_freep) struct hasher *h = hasher_new(DIGEST_SHA256);
	struct digest one = { .algo = DIGEST_SHA256 };

	TRY(hash_missing(m));
	if (m->out.len == 1 && str_eq(path_base(m->pattern), path_base(m->out.items[0].path))) {
		TRY(digest_of(m, &m->out.items[0], follow, one.bytes));
		*ret = one;
		return NULL;
	}
	vec_each (&m->out, p) {
		char text[HASH_TEXT_LEN];
		uint8_t digest[32];

		TRY(digest_of(m, p, follow, digest));
		hashtree_digest_text(digest, text);
		add_key(h, str_trim_prefix(p->path, m->prefix));
		hasher_add(h, text, sizeof(text));
	}
	*ret = hasher_sum(h);
	return NULL;
}

static struct err *run(struct matcher *m, bool content_only, const struct contenthash_opts *o,
		       struct digest *ret)
{
	uint32_t top = 0;
	bool found;

	if (o->n_include)
		TRY(patterns_new(m->a, o->include, o->n_include, &m->include));
	if (o->n_exclude)
		TRY(patterns_new(m->a, o->exclude, o->n_exclude, &m->exclude));
	/* A link that is asked for itself is one thing picked; before wildcards it is a way. */
	TRY(hashwork_resolve(m->w, m->prefix, m->wildcard, &top, &found));
	if (found && m->wildcard)
		TRY(visit(m, top, m->prefix, NULL, STR_NONE, false));
	else if (found && content_only && hashtree_node(m->w->tree, top)->type == HASH_DIR)
		TRY(visit_children(m, top, m->prefix, NULL, m->prefix, true));
	else if (found)
		TRY(visit(m, top, m->prefix, NULL, m->prefix, true));
	for (size_t i = 0; i < o->n_required; i++)
		TRY(require(m, o->required[i]));
	return sum(m, o->follow_links, ret);
}

struct err *hashwork_match_parts(struct hashwork *w, struct str path,
				 const struct contenthash_opts *o, size_t max,
				 void (*each)(void *arg, const struct contenthash_part *p),
				 void *arg)
{
	SCOPED_ARENA(a);
	struct matcher m = { .w = w, .a = &a };
	struct digest whole;
	struct err *e;

	m.pattern = clean_key_path(&a, path);
	m.prefix = o->wildcard ? plain_prefix(m.pattern) : m.pattern;
	m.wildcard = m.prefix.len != m.pattern.len;
	e = run(&m, str_has_suffix(path, STR("/")), o, &whole);
	for (size_t i = 0; i < MIN(m.out.len, max) && !e; i++) {
		const struct picked *p = &m.out.items[i];
		struct contenthash_part part = { .path = p->path };
		uint8_t digest[32];

		e = digest_of(&m, p, o->follow_links, digest);
		part.digest = digest;
		if (!e)
			each(arg, &part);
	}
	vec_fini(&m.out);
	return e;
}

struct err *hashwork_match(struct hashwork *w, struct str path, const struct contenthash_opts *o,
			   struct digest *ret)
{
	SCOPED_ARENA(a);
	struct matcher m = { .w = w, .a = &a };
	struct err *e;

	m.pattern = clean_key_path(&a, path);
	m.prefix = o->wildcard ? plain_prefix(m.pattern) : m.pattern;
	m.wildcard = m.prefix.len != m.pattern.len;
	e = run(&m, str_has_suffix(path, STR("/")), o, ret);
	vec_fini(&m.out);
	return e;
}
