#include "frontend/dockerfile/paths.h"

#include "base/path.h"

static bool is_windows(const struct platform *os)
{
	return str_eq(os->os, STR("windows"));
}

static struct str replace(struct arena *a, struct str p, char from, char to)
{
	char *out = arena_dup0(a, p.ptr ? p.ptr : "", p.len);

	for (size_t i = 0; i < p.len; i++)
		if (out[i] == from)
			out[i] = to;
	return str_make(out, p.len);
}

struct str paths_to_slash(struct arena *a, struct str p, const struct platform *os)
{
	return is_windows(os) ? replace(a, p, '\\', '/') : p;
}

struct str paths_from_slash(struct arena *a, struct str p, const struct platform *os)
{
	return is_windows(os) ? replace(a, p, '/', '\\') : p;
}

static struct str without_drive(struct arena *a, struct str p, const struct platform *os)
{
	p = paths_to_slash(a, p, os);
	if (is_windows(os) && p.len >= 2 && p.ptr[1] == ':')
		p = str_sub(p, 2, p.len);
	return p;
}

bool paths_is_abs(struct arena *a, struct str p, const struct platform *os)
{
	return path_is_abs(without_drive(a, p, os));
}

/* The ending of orig again, after cleaning took it. */
static struct str restore_ending(struct arena *a, struct str orig, struct str p)
{
	if (str_has_suffix(orig, STR("/")) && !str_has_suffix(p, STR("/")))
		return str_from(arena_printf(a, "%.*s/", STR_ARG(p)));
	if (str_has_suffix(orig, STR("/.")) && !str_has_suffix(p, STR("/.")))
		return str_from(
			arena_printf(a, "%.*s%s", STR_ARG(p), str_eq(p, STR("/")) ? "." : "/."));
	return p;
}

struct str paths_absolute(struct arena *a, struct str dir, struct str p, const struct platform *os,
			  bool keep_slash)
{
	struct str orig;

	p = without_drive(a, p, os);
	dir = without_drive(a, dir, os);
	orig = p;
	if (!path_is_abs(dir))
		dir = path_join(a, STR("/"), dir);
	if (!p.len)
		p = dir;
	if (!path_is_abs(p))
		p = path_join(a, dir, p);
	return keep_slash ? restore_ending(a, orig, p) : p;
}

struct str paths_clean(struct arena *a, struct str dir, struct str p, bool keep_slash)
{
	struct str clean = path_clean(a, p);

	if (!path_is_abs(clean))
		clean = path_join(a, path_join(a, STR("/"), dir), clean);
	return keep_slash ? restore_ending(a, p, clean) : clean;
}
