#include "sys/xattr.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/vec.h"
#include "sys/fd.h"

#include <errno.h>
#include <sys/xattr.h>

/* A name in a directory goes by /proc/self/fd/<dir>/<name>, with the l* calls: they work on a
 * symlink itself, a fifo or a device without opening it. */
static ssize_t list_raw(int fd, const char *name, char *out, size_t size)
{
	char p[FD_PATH_MAX];

	return name ? llistxattr(fd_path(fd, name, p), out, size) : flistxattr(fd, out, size);
}

static ssize_t get_raw(int fd, const char *name, const char *attr, void *out, size_t size)
{
	char p[FD_PATH_MAX];

	return name ? lgetxattr(fd_path(fd, name, p), attr, out, size)
		    : fgetxattr(fd, attr, out, size);
}

static bool none(int errnum)
{
	return errnum == ENOTSUP || errnum == ENODATA || errnum == ENOSYS;
}

bool xattr_any(int fd, const char *name)
{
	return list_raw(fd, name, NULL, 0) > 0;
}

struct err *xattr_get(int fd, const char *name, const char *attr, struct arena *a, struct str *ret,
		      bool *ret_found)
{
	char small[1024];
	CLEANUP_FREE char *big = NULL;
	char *p = small;
	ssize_t n = get_raw(fd, name, attr, small, sizeof(small));

	if (n < 0 && errno == ERANGE) {
		p = big = mem_alloc(LIMIT_XATTR_VALUE);
		n = get_raw(fd, name, attr, big, LIMIT_XATTR_VALUE);
	}
	if (n < 0 && none(errno)) {
		*ret_found = false;
		return NULL;
	}
	if (n < 0)
		return err_errno(errno, "getxattr %s", attr);
	*ret = str_dup(a, str_make(p, (size_t)n));
	*ret_found = true;
	return NULL;
}

static int by_name(const void *a, const void *b)
{
	return str_cmp(((const struct xattr *)a)->name, ((const struct xattr *)b)->name);
}

static struct err *list(int fd, const char *name, struct arena *a, struct str *ret)
{
	char small[1024];
	ssize_t n = list_raw(fd, name, small, sizeof(small));
	CLEANUP_FREE char *big = NULL;

	if (n >= 0) {
		*ret = n ? str_dup(a, str_make(small, (size_t)n)) : STR_NONE;
		return NULL;
	}
	if (errno == ERANGE) {
		big = mem_alloc(LIMIT_XATTR_VALUE);
		n = list_raw(fd, name, big, LIMIT_XATTR_VALUE);
		if (n >= 0) {
			*ret = str_dup(a, str_make(big, (size_t)n));
			return NULL;
		}
	}
	*ret = STR_NONE;
	return none(errno) ? NULL : err_errno(errno, "listxattr %s", name ? name : "");
}

struct err *xattr_read_all(int fd, const char *name, bool (*want)(struct str), struct arena *a,
			   struct xattr **ret, size_t *ret_n)
{
	VEC(struct xattr) v = VEC_INIT;
	struct str names = STR_NONE, one;
	struct err *e;

	TRY(list(fd, name, a, &names));
	if (!names.len) {
		*ret = NULL;
		*ret_n = 0;
		return NULL;
	}
	names.len--; /* the last NUL */
	while (str_next(&names, '\0', &one)) {
		struct xattr x = { .name = one };
		bool found;

		if (!one.len || (want && !want(one)))
			continue;
		if (v.len == LIMIT_XATTRS) {
			vec_fini(&v);
			return err_new(ERR_RESOURCE_EXHAUSTED,
				       "more than %d extended attributes on a file", LIMIT_XATTRS);
		}
		/* A name is followed by its NUL in the list. */
		e = xattr_get(fd, name, one.ptr, a, &x.value, &found);
		if (e) {
			vec_fini(&v);
			return e;
		}
		if (found)
			vec_push(&v, x);
	}
	if (v.len > 1)
		qsort(v.items, v.len, sizeof(*v.items), by_name);
	*ret = v.len ? arena_dup(a, v.items, v.len * sizeof(*v.items)) : NULL;
	*ret_n = v.len;
	vec_fini(&v);
	return NULL;
}

struct err *xattr_set(int fd, const char *name, const char *attr, struct str value)
{
	char p[FD_PATH_MAX];
	int r = name ? lsetxattr(fd_path(fd, name, p), attr, value.ptr, value.len, 0)
		     : fsetxattr(fd, attr, value.ptr, value.len, 0);

	return r < 0 ? err_errno(errno, "setxattr %s", attr) : NULL;
}

struct err *xattr_remove(int fd, const char *name, const char *attr)
{
	char p[FD_PATH_MAX];
	int r = name ? lremovexattr(fd_path(fd, name, p), attr) : fremovexattr(fd, attr);

	return r < 0 && !none(errno) ? err_errno(errno, "removexattr %s", attr) : NULL;
}
