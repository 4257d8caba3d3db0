#include "session/recv_order.h"

#include "base/json.h"
#include "base/limits.h"
#include "session/fsutil_wire.h"

#include <errno.h>

struct str order_dir(struct str path)
{
	ptrdiff_t slash = str_rfind(path, '/');

	return slash < 0 ? STR_NONE : str_sub(path, 0, (size_t)slash);
}

struct str order_name(struct str path)
{
	ptrdiff_t slash = str_rfind(path, '/');

	return str_sub(path, (size_t)(slash + 1), path.len);
}

void order_fini(struct order *o)
{
	vec_fini(&o->parents);
}

static struct err *refuse(const char *what, struct str path)
{
	return err_new(ERR_INVALID_ARGUMENT, "%s %.*s: invalid argument", what, STR_ARG(path));
}

static struct err *check_path(struct str path)
{
	struct str rest = path, part;
	bool clean = path.len > 0;

	if (path.len > LIMIT_PATH)
		return err_errno(ENAMETOOLONG, "%.*s", (int)LIMIT_FILE_NAME, path.ptr);
	if (str_find(path, '\0') >= 0)
		return refuse("unclean path", STR("with a NUL byte"));
	if (path.len && path.ptr[0] == '/' && path.len > 1)
		rest = str_sub(path, 1, path.len);
	while (clean && str_next(&rest, '/', &part))
		clean = part.len && !str_eq_cstr(part, ".") &&
			(!str_eq_cstr(part, "..") || part.ptr == path.ptr);
	/* "../.." is clean, but no better for it. */
	if (str_has_prefix(path, STR("../")) || str_eq_cstr(path, "..") || str_eq_cstr(path, "."))
		return refuse("escape check", path);
	if (!clean && !str_eq_cstr(path, "/"))
		return refuse("unclean path", path);
	if (path.ptr[0] == '/')
		return refuse("absolute path", path);
	return NULL;
}

static struct err *out_of_order(struct str path, const struct order_parent *p)
{
	SCOPED_BUF(text, 64 * KIB);

	buf_add_cstr(&text, "changes out of order: ");
	go_quote(&text, path);
	buf_add_char(&text, ' ');
	SCOPED_BUF(last, 2 * LIMIT_PATH);
	buf_add_str(&last, p->dir);
	if (p->dir.len && p->last.len)
		buf_add_char(&last, '/');
	buf_add_str(&last, p->last);
	go_quote(&text, buf_str(&last));
	return err_new(ERR_INVALID_ARGUMENT, "%s", buf_cstr(&text));
}

struct err *order_check(struct order *o, struct str path, bool is_dir)
{
	struct order_parent *top;
	struct str dir, name;

	TRY(check_path(path));
	dir = order_dir(path);
	name = order_name(path);
	if (!o->parents.len)
		vec_push(&o->parents, ((struct order_parent) { 0 }));
	while (o->parents.len > 1 && path_order(o->parents.items[o->parents.len - 1].dir, dir) > 0)
		(void)vec_pop(&o->parents);
	top = &o->parents.items[o->parents.len - 1];
	if (!str_eq(top->dir, dir) || str_cmp(top->last, name) >= 0)
		return out_of_order(path, top);
	top->last = name;
	if (is_dir)
		vec_push(&o->parents, ((struct order_parent) { path, STR_NONE }));
	return NULL;
}
