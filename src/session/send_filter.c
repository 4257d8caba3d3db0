#include "session/send_filter.h"

static struct err *make_exceptions(struct arena *a, const struct str *list, size_t n,
				   struct patterns **ret)
{
	struct str *out = ARENA_NEW_N(a, struct str, n + 1);
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		struct str s = str_trim(list[i]);

		if (s.len > 1 && s.ptr[0] == '!')
			out[k++] = str_sub(s, 1, s.len);
	}
	return patterns_new(a, out, k, ret);
}

static bool has_root(const struct str *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq_cstr(list[i], "."))
			return true;
	return false;
}

struct err *send_filter_init(struct send_filter *f, struct arena *a, int rootfd,
			     const struct str *include, size_t n_include, const struct str *exclude,
			     size_t n_exclude, const struct str *follow, size_t n_follow)
{
	struct str *list, *followed = NULL;
	size_t n = n_include, n_followed = 0;
	bool everything = false;

	*f = (struct send_filter) { 0 };
	if (n_follow)
		TRY(follow_links(a, rootfd, follow, n_follow, &followed, &n_followed, &everything));
	list = ARENA_NEW_N(a, struct str, n + n_followed + 1);
	for (size_t i = 0; i < n; i++)
		list[i] = include[i];
	if (n_follow && !everything) {
		for (size_t i = 0; i < n_followed; i++)
			list[n++] = followed[i];
		/* One of them the root: no filter. */
		n = has_root(list, n) ? 0 : paths_dedupe(list, n);
	}
	if (n)
		TRYW(patterns_new(a, list, n, &f->include), "invalid includepatterns");
	if (n_exclude) {
		TRYW(patterns_new(a, exclude, n_exclude, &f->exclude), "invalid excludepatterns");
		if (patterns_has_exclusions(f->exclude))
			TRY(make_exceptions(a, exclude, n_exclude, &f->exceptions));
	}
	return NULL;
}

struct err *send_filter_check(const struct send_filter *f, struct arena *a, struct str path,
			      bool is_dir, const struct send_verdict *parent,
			      struct send_verdict *ret)
{
	struct send_verdict v = { .take = true, .enter = is_dir };
	bool m;

	if (f->include) {
		TRYW(patterns_match_walk(f->include, a, path, parent ? parent->include : NULL, &m,
					 &v.include),
		     "failed to match includepatterns");
		if (!m) {
			v.take = false;
			v.enter = v.enter && patterns_may_match_below(f->include, path);
		}
	}
	if (f->exclude && (v.take || v.enter)) {
		TRYW(patterns_match_walk(f->exclude, a, path, parent ? parent->exclude : NULL, &m,
					 &v.exclude),
		     "failed to match excludepatterns");
		if (m) {
			v.take = false;
			v.enter = v.enter && f->exceptions &&
				  patterns_may_match_below(f->exceptions, path);
		}
	}
	*ret = v;
	return NULL;
}
