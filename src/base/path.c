#include "base/path.h"

struct str path_clean(struct arena *a, struct str p)
{
	bool rooted = path_is_abs(p);
	char *out = arena_alloc(a, p.len + 2);
	size_t n = 0, floor; /* below floor nothing is taken back by ".." */
	struct str part;

	if (rooted)
		out[n++] = '/';
	floor = n;
	while (str_next(&p, '/', &part)) {
		if (!part.len || str_eq(part, STR(".")))
			continue;
		if (str_eq(part, STR(".."))) {
			if (n > floor) {
				while (n > floor && out[n - 1] != '/')
					n--;
				if (n > floor)
					n--;
				continue;
			}
			if (rooted)
				continue;
		}
		if (n && out[n - 1] != '/')
			out[n++] = '/';
		memcpy(out + n, part.ptr, part.len);
		n += part.len;
		if (str_eq(part, STR("..")))
			floor = n;
	}
	if (!n)
		out[n++] = '.';
	out[n] = '\0';
	return str_make(out, n);
}

struct str path_join(struct arena *a, struct str dir, struct str name)
{
	if (!dir.len && !name.len)
		return str_make("", 0);
	if (!dir.len)
		return path_clean(a, name);
	if (!name.len)
		return path_clean(a, dir);
	return path_clean(a, str_from(arena_printf(a, "%.*s/%.*s", STR_ARG(dir), STR_ARG(name))));
}

struct str path_base(struct str p)
{
	if (!p.len)
		return STR(".");
	while (p.len && p.ptr[p.len - 1] == '/')
		p.len--;
	if (!p.len)
		return STR("/");
	return str_sub(p, (size_t)(str_rfind(p, '/') + 1), p.len);
}

struct str path_dir(struct arena *a, struct str p)
{
	return path_clean(a, str_sub(p, 0, (size_t)(str_rfind(p, '/') + 1)));
}

bool path_is_abs(struct str p)
{
	return p.len && p.ptr[0] == '/';
}
