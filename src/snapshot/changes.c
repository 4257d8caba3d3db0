#include "snapshot/changes.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/vec.h"
#include "sys/fd.h"
#include "sys/walk.h"
#include "sys/xattr.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* A directory on the way down. Heap, so that deep trees need no deep stack. */
struct frame {
	struct change_dir d;
	int base;     /* the same directory below, -1: there is none */
	bool compare; /* names of both are walked; else only the upper one's */
	bool changed; /* it, or something in it */
	struct walk_names upper, lower;
	size_t at_upper, at_lower;
};

struct changes {
	struct ctx *ctx;
	change_fn fn;
	void *arg;
	struct changes_seen *seen;
	bool bare; /* the upper tree is an upper directory: whiteouts and opaque attributes */
	struct buf path;
	VEC(struct frame *) stack;
};

bool change_is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

/* ---- are two entries the same? ---- */

struct pair {
	int base, upper; /* directories */
	const char *name;
	const struct stat *base_st, *upper_st;
};

static struct err *same_capability(const struct pair *p, bool *ret)
{
	SCOPED_ARENA(a);
	struct str one = STR_NONE, two = STR_NONE;
	bool found;

	TRY(xattr_get(p->base, p->name, "security.capability", &a, &one, &found));
	TRY(xattr_get(p->upper, p->name, "security.capability", &a, &two, &found));
	*ret = str_eq(one, two);
	return NULL;
}

static struct err *same_link(const struct pair *p, bool *ret)
{
	char one[LIMIT_PATH], two[LIMIT_PATH];
	ssize_t n = readlinkat(p->base, p->name, one, sizeof(one));
	ssize_t m = readlinkat(p->upper, p->name, two, sizeof(two));

	if (n < 0 || m < 0)
		return err_errno(errno, "readlink %s", p->name);
	*ret = n == m && memcmp(one, two, (size_t)n) == 0;
	return NULL;
}

#define COMPARE_CHUNK ((size_t)64 * KIB)

static struct err *same_content(const struct pair *p, bool *ret)
{
	CLEANUP_FD int one = -1;
	CLEANUP_FD int two = -1;
	CLEANUP_FREE char *buf = mem_alloc(2 * COMPARE_CHUNK);

	TRY(fd_open(p->base, p->name, O_RDONLY | O_NOFOLLOW, 0, &one));
	TRY(fd_open(p->upper, p->name, O_RDONLY | O_NOFOLLOW, 0, &two));
	for (;;) {
		size_t n, m;

		TRY(fd_read_full(one, buf, COMPARE_CHUNK, &n));
		TRY(fd_read_full(two, buf + COMPARE_CHUNK, COMPARE_CHUNK, &m));
		*ret = n == m && memcmp(buf, buf + COMPARE_CHUNK, n) == 0;
		if (!*ret || n < COMPARE_CHUNK)
			return NULL;
	}
}

/* Times in an archive have whole seconds. So where both have no fraction, the same time says
 * nothing and the content decides. */
static struct err *same_entry(const struct pair *p, bool *ret)
{
	const struct stat *a = p->base_st, *b = p->upper_st;

	*ret = a->st_dev == b->st_dev && a->st_ino == b->st_ino;
	if (*ret || a->st_mode != b->st_mode || a->st_uid != b->st_uid || a->st_gid != b->st_gid ||
	    a->st_rdev != b->st_rdev)
		return NULL;
	if (!S_ISDIR(b->st_mode) &&
	    (a->st_size != b->st_size || a->st_mtim.tv_sec != b->st_mtim.tv_sec ||
	     a->st_mtim.tv_nsec != b->st_mtim.tv_nsec))
		return NULL;
	TRY(same_capability(p, ret));
	if (!*ret || S_ISDIR(b->st_mode) || b->st_mtim.tv_nsec)
		return NULL;
	if (S_ISLNK(b->st_mode))
		return same_link(p, ret);
	if (!b->st_size || !S_ISREG(b->st_mode))
		return NULL;
	return same_content(p, ret);
}

/* ---- the walk ---- */

static struct frame *top(struct changes *c)
{
	return c->stack.len ? c->stack.items[c->stack.len - 1] : NULL;
}

static void frame_free(struct frame *f)
{
	if (f->d.fd >= 0)
		(void)close(f->d.fd);
	if (f->base >= 0)
		(void)close(f->base);
	walk_names_fini(&f->upper);
	walk_names_fini(&f->lower);
	free((char *)f->d.path.ptr);
	free(f);
}

/* Takes both descriptors. */
static struct err *push(struct changes *c, int upper, int base, bool compare, bool told)
{
	struct frame *f = NEW(struct frame), *up = top(c);
	struct err *e = NULL;

	f->d.up = up ? &up->d : NULL;
	f->d.path = str_make(mem_strndup(buf_cstr(&c->path), c->path.len), c->path.len);
	f->d.fd = upper;
	f->d.told = f->changed = told;
	f->base = base;
	f->compare = compare && base >= 0;
	vec_push(&c->stack, f);
	if (fstat(upper, &f->d.st) < 0)
		return err_errno(errno, "fstat %s", f->d.path.ptr);
	e = walk_read_names(upper, true, &f->upper);
	if (!e && f->compare)
		e = walk_read_names(base, true, &f->lower);
	return err_wrap(e, "read directory %s", f->d.path.ptr);
}

static void set_path(struct changes *c, const struct frame *f, const char *name)
{
	buf_clear(&c->path);
	buf_add_str(&c->path, f->d.path);
	if (f->d.path.len)
		buf_add_char(&c->path, '/');
	buf_add_cstr(&c->path, name);
}

static struct err *tell(struct changes *c, struct frame *f, enum change_kind kind, const char *name,
			const struct stat *st, const struct stat *base)
{
	const struct change ch = {
		.kind = kind,
		.path = buf_str(&c->path),
		.name = name,
		.dir = &f->d,
		.st = st,
		.base = base,
	};

	f->changed = f->changed || kind != CHANGE_SAME;
	return c->fn ? c->fn(c->arg, &ch) : NULL;
}

struct err *change_is_opaque(int dirfd, bool *ret)
{
	static const char *const names[] = { "trusted.overlay.opaque", "user.overlay.opaque" };
	SCOPED_ARENA(a);
	struct str v;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		TRY(xattr_get(dirfd, NULL, names[i], &a, &v, ret));
		*ret = *ret && str_eq(v, STR("y"));
		if (*ret)
			return NULL;
	}
	return NULL;
}

static struct err *check_redirect(int dirfd, const char *path)
{
	SCOPED_ARENA(a);
	struct str v = STR_NONE;
	bool found;

	TRY(xattr_get(dirfd, NULL, "trusted.overlay.redirect", &a, &v, &found));
	if (found && v.len)
		return err_new(ERR_UNKNOWN,
			       "redirect_dir is used but it's not supported in overlayfs differ: "
			       "%s",
			       path);
	return NULL;
}

/* Goes into a directory of the upper tree. base_st is NULL where the base has nothing. */
static struct err *enter(struct changes *c, struct frame *f, const char *name,
			 const struct stat *base_st, bool told)
{
	bool opaque = false, compare = f->compare;
	int upper = -1, base = -1;
	struct err *e;

	TRY(fd_open(f->d.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &upper));
	e = NULL;
	if (base_st && S_ISDIR(base_st->st_mode)) {
		e = fd_open(f->base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &base);
		if (!e && c->bare)
			e = check_redirect(upper, buf_cstr(&c->path));
	}
	if (!e && c->bare && !compare && (base >= 0 || c->seen))
		e = change_is_opaque(upper, &opaque);
	if (e) {
		(void)close(upper);
		if (base >= 0)
			(void)close(base);
		return e;
	}
	if (opaque && c->seen)
		c->seen->opaque++;
	/* It hides the base's: what is not in it is deleted, at any depth. */
	return push(c, upper, base, compare || opaque, told);
}

/* An entry of the upper tree; base_st as in enter(). */
static struct err *upper_entry(struct changes *c, struct frame *f, const char *name,
			       const struct stat *st, const struct stat *base_st)
{
	const struct pair p = { f->base, f->d.fd, name, base_st, st };
	bool same = false, told = false;

	if (base_st)
		TRY(same_entry(&p, &same));
	if (!same) {
		TRY(tell(c, f, base_st ? CHANGE_MODIFY : CHANGE_ADD, name, st, base_st));
		told = true;
	} else if (!S_ISDIR(st->st_mode)) {
		if (c->seen)
			c->seen->same++;
		if (f->compare && st->st_nlink > 1)
			TRY(tell(c, f, CHANGE_SAME, name, st, base_st));
	}
	return S_ISDIR(st->st_mode) ? enter(c, f, name, base_st, told) : NULL;
}

static struct err *lstat_at(int dirfd, const char *name, const char *path, struct stat *st,
			    bool *ret_found)
{
	*ret_found = dirfd >= 0 && fstatat(dirfd, name, st, AT_SYMLINK_NOFOLLOW) == 0;
	if (*ret_found || dirfd < 0 || errno == ENOENT)
		return NULL;
	return err_errno(errno, "lstat %s", path);
}

/* The next name of an upper directory whose base is only looked into. */
static struct err *step_upper(struct changes *c, struct frame *f)
{
	const char *name = f->upper.items[f->at_upper++].name;
	struct stat st, base_st;
	bool found, in_base;

	set_path(c, f, name);
	TRY(lstat_at(f->d.fd, name, buf_cstr(&c->path), &st, &found));
	if (!found)
		return NULL;
	TRY(lstat_at(f->base, name, buf_cstr(&c->path), &base_st, &in_base));
	if (c->bare && change_is_whiteout(&st))
		return in_base ? tell(c, f, CHANGE_DELETE, name, NULL, &base_st) : NULL;
	return upper_entry(c, f, name, &st, in_base ? &base_st : NULL);
}

/* The next name of either. */
static struct err *step_both(struct changes *c, struct frame *f)
{
	bool have_upper = f->at_upper < f->upper.n, have_lower = f->at_lower < f->lower.n;
	const char *up = have_upper ? f->upper.items[f->at_upper].name : NULL;
	const char *low = have_lower ? f->lower.items[f->at_lower].name : NULL;
	int order = !up ? 1 : !low ? -1 : strcmp(up, low);
	struct stat st, base_st;
	bool found = false, in_base = false;

	set_path(c, f, order <= 0 ? up : low);
	if (order <= 0) {
		f->at_upper++;
		TRY(lstat_at(f->d.fd, up, buf_cstr(&c->path), &st, &found));
		if (found && c->bare && change_is_whiteout(&st))
			found = false;
	}
	if (order >= 0) {
		f->at_lower++;
		TRY(lstat_at(f->base, low, buf_cstr(&c->path), &base_st, &in_base));
	}
	if (found)
		return upper_entry(c, f, up, &st, in_base ? &base_st : NULL);
	/* A deleted directory is one deletion: nothing goes into it. */
	return in_base ? tell(c, f, CHANGE_DELETE, low, NULL, &base_st) : NULL;
}

static void leave(struct changes *c)
{
	struct frame *f = vec_pop(&c->stack), *up = top(c);

	if (up)
		up->changed = up->changed || f->changed;
	if (c->seen && !f->changed)
		c->seen->same++;
	frame_free(f);
}

static struct err *walk(struct changes *c)
{
	unsigned n = 0;

	while (c->stack.len) {
		struct frame *f = top(c);

		if (++n % 256 == 0)
			TRY(ctx_err(c->ctx));
		if (f->compare && (f->at_upper < f->upper.n || f->at_lower < f->lower.n)) {
			TRY(step_both(c, f));
		} else if (!f->compare && f->at_upper < f->upper.n) {
			TRY(step_upper(c, f));
		} else {
			leave(c);
		}
		if (c->path.overflow)
			return err_errno(ENAMETOOLONG, "walk %s", buf_cstr(&c->path));
	}
	return NULL;
}

static struct err *run(struct changes *c, int upper_fd, int base_fd, bool compare)
{
	int upper = -1, base = -1;
	struct err *e;

	buf_init(&c->path, LIMIT_PATH);
	e = fd_open_dir(upper_fd, ".", &upper);
	if (!e && base_fd >= 0)
		e = fd_open_dir(base_fd, ".", &base);
	if (e && upper >= 0)
		(void)close(upper);
	if (!e)
		e = push(c, upper, base, compare, true);
	if (!e)
		e = walk(c);
	while (c->stack.len) {
		frame_free(top(c));
		c->stack.len--;
	}
	vec_fini(&c->stack);
	buf_fini(&c->path);
	return e;
}

struct err *changes_of_upper(struct ctx *ctx, int upper_fd, int base_fd, change_fn fn, void *arg,
			     struct changes_seen *seen)
{
	struct changes c = { .ctx = ctx, .fn = fn, .arg = arg, .seen = seen, .bare = true };

	return run(&c, upper_fd, base_fd, false);
}

struct err *changes_between(struct ctx *ctx, int lower_fd, int upper_fd, change_fn fn, void *arg)
{
	struct changes c = { .ctx = ctx, .fn = fn, .arg = arg };

	return run(&c, upper_fd, lower_fd, true);
}
