#include "frontend/dockerfile/gitref.h"

#include "base/path.h"
#include "frontend/dockerfile/url.h"

/* ---- the text ---- */

static void set_fragment(struct arena *a, struct git_ref *g, struct str fragment)
{
	struct str dir;

	if (!fragment.len)
		return;
	str_cut(fragment, ':', &g->ref, &dir);
	g->subdir = str_trim_prefix(path_join(a, STR("/"), dir), STR("/"));
}

static struct err *set_once(const char *what, struct arena *a, struct str *into, struct str v)
{
	if (into->len && !str_eq(*into, v))
		return err_new(ERR_UNKNOWN, "%s conflicts: %s vs %s", what, text_quote(a, *into),
			       text_quote(a, v));
	*into = v;
	return NULL;
}

static struct err *set_bool(struct arena *a, const char *what, struct str v, enum tristate *ret)
{
	bool on = true;

	if (v.len && !str_to_bool(v, &on))
		return err_new(ERR_UNKNOWN, "invalid %s value: %s", what, text_quote(a, v));
	*ret = on ? YES : NO;
	return NULL;
}

struct named_ref {
	struct str tag, branch;
};

static struct err *set_query(struct arena *a, struct git_ref *g, struct named_ref *named,
			     const struct env_var *q)
{
	enum tristate fetch = UNSET;

	if (str_eq(q->key, STR("submodules")))
		return set_bool(a, "submodules", q->value, &g->submodules);
	if (str_eq(q->key, STR("keep-git-dir")))
		return set_bool(a, "keep-git-dir", q->value, &g->keep_git_dir);
	if (str_eq(q->key, STR("fetch-by-commit"))) {
		TRY(set_bool(a, "fetch-by-commit", q->value, &fetch));
		g->fetch_by_commit = fetch == YES;
		return NULL;
	}
	if (!q->value.len)
		return err_new(ERR_UNKNOWN, "query %s has no value", text_quote(a, q->key));
	if (str_eq(q->key, STR("ref")))
		return set_once("ref", a, &g->ref, q->value);
	if (str_eq(q->key, STR("subdir")))
		return set_once("subdir", a, &g->subdir, q->value);
	if (str_eq(q->key, STR("tag"))) {
		named->tag = q->value;
	} else if (str_eq(q->key, STR("branch"))) {
		named->branch = q->value;
	} else if (str_eq(q->key, STR("checksum")) || str_eq(q->key, STR("commit"))) {
		g->checksum = q->value;
	} else if (str_eq(q->key, STR("mtime"))) {
		if (!str_eq(q->value, STR("checkout")) && !str_eq(q->value, STR("commit")))
			return err_new(ERR_UNKNOWN,
				       "invalid mtime value: %s (must be \"checkout\" or "
				       "\"commit\")",
				       text_quote(a, q->value));
		g->mtime = q->value;
	} else {
		return err_new(ERR_UNKNOWN, "unexpected query %s", text_quote(a, q->key));
	}
	return NULL;
}

static struct str with_prefix(struct arena *a, struct str prefix, struct str s)
{
	if (str_has_prefix(s, prefix))
		return s;
	return str_from(arena_printf(a, "%.*s%.*s", STR_ARG(prefix), STR_ARG(s)));
}

static struct err *set_queries(struct arena *a, struct git_ref *g, const struct env_var *q,
			       size_t n)
{
	struct named_ref named = { 0 };

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < n; k++)
			if (k != i && str_eq(q[i].key, q[k].key))
				return err_new(ERR_UNKNOWN, "query %s has multiple values",
					       text_quote(a, q[i].key));
		TRY(set_query(a, g, &named, &q[i]));
	}
	if (named.tag.len)
		TRY(set_once("ref", a, &g->ref, with_prefix(a, STR("refs/tags/"), named.tag)));
	if (named.branch.len) {
		if (named.tag.len)
			return err_new(ERR_UNKNOWN, "branch conflicts with tag");
		TRY(set_once("ref", a, &g->ref, with_prefix(a, STR("refs/heads/"), named.branch)));
	}
	return NULL;
}

static bool all_in(struct str s, const char *more)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i], l = c | 0x20;

		if (!(l >= 'a' && l <= 'z') && !(c >= '0' && c <= '9') && !strchr(more, c))
			return false;
	}
	return s.len > 0;
}

/* user@host:path[?query][#fragment] */
static bool parse_scp(struct arena *a, struct str text, struct git_ref *g, struct str *ret_query)
{
	struct str user, rest, fragment;

	if (!str_cut(text, '@', &user, &rest) || !str_cut(rest, ':', &g->host, &rest) ||
	    !all_in(user, "-_") || !all_in(g->host, "-."))
		return false;
	if (str_find(rest, '\n') >= 0)
		return false;
	*ret_query = STR("");
	str_cut(rest, '#', &rest, &fragment);
	str_cut(rest, '?', &g->path, ret_query);
	g->remote = str_from(arena_printf(a, "%.*s@%.*s:%.*s", STR_ARG(user), STR_ARG(g->host),
					  STR_ARG(g->path)));
	g->ssh = true;
	set_fragment(a, g, fragment);
	return true;
}

static bool has_protocol(struct str text)
{
	ptrdiff_t i = str_find_str(text, STR("://"));

	return i > 0 && all_in(str_sub(text, 0, (size_t)i), "");
}

static bool parse_url(struct arena *a, struct str text, struct git_ref *g, struct str *ret_query)
{
	struct url u;
	bool http;

	if (!url_parse(a, text, &u))
		return false;
	http = str_eq(u.scheme, STR("http")) || str_eq(u.scheme, STR("https"));
	g->ssh = str_eq(u.scheme, STR("ssh"));
	if (!http && !g->ssh && !str_eq(u.scheme, STR("git")))
		return false;
	if (http && !g->like_local && !str_has_suffix(u.path, STR(".git")))
		return false;
	g->remote = u.base;
	g->host = u.host;
	g->path = u.path;
	*ret_query = u.query;
	set_fragment(a, g, u.fragment);
	return true;
}

bool git_ref_parse(struct arena *a, struct str text, struct git_ref *ret, struct err **ret_err)
{
	struct git_ref g = { 0 };
	struct str query = STR("");
	struct env_var *vars;
	size_t n;

	*ret_err = NULL;
	if (str_has_prefix(text, STR("./")) || str_has_prefix(text, STR("../")))
		return false;
	g.like_local = str_has_prefix(text, STR("github.com/"));
	if (g.like_local)
		text = str_from(arena_printf(a, "https://%.*s", STR_ARG(text)));
	if (has_protocol(text) ? !parse_url(a, text, &g, &query) : !parse_scp(a, text, &g, &query))
		return false;
	if (url_query(a, query, &vars, &n))
		*ret_err = set_queries(a, &g, vars, n);
	if (!*ret_err)
		*ret = g;
	return true;
}

/* ---- the source ---- */

static struct str identifier(struct arena *a, const struct git_ref *g)
{
	struct str path = path_join(a, STR("/"), g->path);
	const char *hash = g->ref.len || g->subdir.len ? "#" : "";

	return str_from(arena_printf(a, "git://%.*s%.*s%s%.*s%s%.*s", STR_ARG(g->host),
				     STR_ARG(path), hash, STR_ARG(g->ref), g->subdir.len ? ":" : "",
				     STR_ARG(g->subdir)));
}

struct llb_node *git_source(struct arena *a, const struct git_ref *g, bool advice)
{
	struct llb_node *n = llb_source(a, identifier(a, g));

	if (g->keep_git_dir == YES) {
		llb_attr(a, n, "git.keepgitdir", STR("true"));
		llb_cap(a, n, "source.git.keepgitdir");
	}
	llb_attr(a, n, "git.fullurl", g->remote);
	llb_cap(a, n, "source.git.fullurl");
	llb_attr(a, n, "git.authtokensecret", STR("GIT_AUTH_TOKEN"));
	llb_attr(a, n, "git.authheadersecret", STR("GIT_AUTH_HEADER"));
	if (g->ssh) {
		llb_cap(a, n, "source.git.knownsshhosts");
		llb_attr(a, n, "git.mountsshsock", STR("default"));
		llb_cap(a, n, "source.git.mountsshsock");
	}
	if (g->checksum.len) {
		llb_attr(a, n, "git.checksum", g->checksum);
		llb_cap(a, n, "source.git.checksum");
	}
	if (g->submodules == NO) {
		llb_attr(a, n, "git.skipsubmodules", STR("true"));
		llb_cap(a, n, "source.git.skipsubmodules");
	}
	if (g->mtime.len) {
		llb_attr(a, n, "git.mtime", g->mtime);
		llb_cap(a, n, "source.git.mtime");
	}
	if (advice)
		llb_attr(a, n, "git.advice", STR("true"));
	if (g->fetch_by_commit) {
		llb_attr(a, n, "git.fetchbycommit", STR("true"));
		llb_cap(a, n, "source.git.fetchbycommit");
	}
	llb_cap(a, n, "source.git");
	return n;
}

bool http_is_source(struct arena *a, struct str text)
{
	struct git_ref g;
	struct err *e;

	if (!str_has_prefix(text, STR("http://")) && !str_has_prefix(text, STR("https://")))
		return false;
	if (!git_ref_parse(a, text, &g, &e))
		return true;
	err_free(e);
	return e != NULL; /* a broken one is no git source */
}

struct str http_file_name(struct arena *a, struct str text)
{
	struct url u;
	struct str base;

	if (!url_parse(a, text, &u))
		return STR("__unnamed__");
	base = path_base(u.path);
	if (str_eq(base, STR(".")) || str_eq(base, STR("/")))
		return STR("__unnamed__");
	return base;
}
