#include "base/glob.h"
#include "base/path.h"
#include "op/file.h"
#include "sys/copy.h"
#include "sys/fd.h"
#include "sys/inroot.h"
#include "sys/rmtree.h"

struct copying {
	struct ctx *ctx;
	int src_root, root;
	struct file_views *views;  /* or NULL */
	bool may_leave_root;       /* nothing else will be done in it */
	bool src_below, dst_below; /* now copying below the overlay */
	int layer_root;            /* of the layer written below, or -1 */
	const Pb__FileActionCopy *a;
	const struct file_owner *owner;
	struct arena *arena;
	struct patterns *include, *exclude; /* NULL: none */
	struct file_mode_change *mode_change;
	mode_t mode; /* for all when has_mode */
	bool has_mode;
	struct file_made_dirs made;
};

/* ---- what each entry gets ---- */

static void set_attr(const struct copying *c, const struct stat *st, struct copy_attr *attr)
{
	if (c->owner->set) {
		attr->uid = c->owner->uid;
		attr->gid = c->owner->gid;
	}
	if (!S_ISLNK(st->st_mode)) {
		if (c->mode_change)
			attr->mode = file_mode_apply(c->mode_change, st->st_mode);
		else if (c->has_mode)
			attr->mode = (st->st_mode & S_IFMT) | c->mode;
	}
	if (c->a->timestamp != -1)
		attr->atime = attr->mtime = clock_to_timespec(c->a->timestamp);
}

/* The entry that is copied itself: patterns don't apply. */
static struct err *filter_top(void *arg, struct str path, const struct stat *st,
			      struct copy_attr *attr, enum copy_verdict *ret)
{
	set_attr(arg, st, attr);
	*ret = COPY_TAKE;
	return NULL;
}

static struct err *filter_below(void *arg, struct str path, const struct stat *st,
				struct copy_attr *attr, enum copy_verdict *ret)
{
	const struct copying *c = arg;
	bool in = true, out = false;

	if (S_ISCHR(st->st_mode) && st->st_rdev == 0) {
		/* In a layer: the mark of something removed. */
		*ret = COPY_SKIP;
		if (c->src_below)
			return NULL;
		if (c->dst_below)
			return err_errno(EPERM, "mknod %.*s", STR_ARG(path));
	}
	if (c->include)
		TRY(patterns_match(c->include, path, &in));
	if (c->exclude)
		TRY(patterns_match(c->exclude, path, &out));
	set_attr(c, st, attr);
	if (in && !out)
		*ret = COPY_TAKE;
	else if (!S_ISDIR(st->st_mode) || (out && !patterns_has_exclusions(c->exclude)) ||
		 (!in && !patterns_may_match_below(c->include, path)))
		*ret = COPY_SKIP;
	else
		*ret = COPY_ON_DEMAND;
	return NULL;
}

static struct copy_opts opts_of(struct copying *c, bool top)
{
	return (struct copy_opts) {
		.flags = c->a->alwaysreplaceexistingdestpaths ? COPY_REPLACE_ANY : COPY_REPLACE,
		.filter = top ? filter_top : filter_below,
		.arg = c,
	};
}

/* ---- one source ---- */

struct copy_source {
	struct str path; /* as asked for */
	struct str real; /* resolved */
	struct str base; /* name it gets in a directory; "." for none */
	int dirfd;       /* of its directory, -1 for the root */
	const char *name;
	struct stat st;
};

static struct err *find_source(struct copying *c, struct str path, struct copy_source *ret)
{
	bool follow = c->a->followsymlink || str_has_suffix(path, STR("/.")) ||
		      str_has_suffix(path, STR("/"));
	struct copy_source s = { .path = path, .base = path_base(path), .dirfd = -1, .name = "." };
	struct err *e;

	TRY(inroot_resolve(c->src_root, path, follow, c->arena, &s.real));
	if (str_eq(s.real, STR("/"))) {
		if (fstat(c->src_root, &s.st) < 0)
			return err_errno(errno, "lstat /");
		if (str_eq(s.base, STR("/")))
			s.base = STR(".");
	} else {
		e = inroot_parent(c->src_root, s.real, c->arena, &s.dirfd, &s.name);
		if (e)
			return e;
		if (fstatat(s.dirfd, s.name, &s.st, AT_SYMLINK_NOFOLLOW) < 0) {
			e = err_errno(errno, "lstat %.*s", STR_ARG(path));
			(void)close(s.dirfd);
			return e;
		}
	}
	*ret = s;
	return NULL;
}

static struct err *make_dirs(struct copying *c, struct str path, int *ret_fd)
{
	mode_t mode = c->has_mode ? c->mode : 0755;

	return file_make_dirs(c->root, path, mode, c->owner, c->a->timestamp, &c->made, ret_fd);
}

static int open_source(struct copying *c, const struct copy_source *s)
{
	int fd = c->views ? file_source_below(c->views->src, s->real) : -1;

	c->src_below = fd >= 0;
	return fd;
}

/* Leaves the overlay if all that is left to do is to fill an empty directory. */
static void go_below(struct copying *c, struct str dst, int *fd, int *parent)
{
	int below;

	if (!c->views || !c->may_leave_root)
		return;
	below = file_dest_below(c->views->dst, *fd, dst, &c->layer_root);
	if (below < 0)
		return;
	(void)close(*fd);
	*fd = below;
	if (*parent >= 0)
		(void)close(TAKE_FD(*parent));
	c->views->leave(c->views->arg);
	c->views->written = c->dst_below = true;
	c->root = c->layer_root;
}

static struct err *copy_dir(struct copying *c, const struct copy_source *s, struct str dst)
{
	const struct copy_opts top = opts_of(c, true), below = opts_of(c, false);
	CLEANUP_FD int src = -1;
	CLEANUP_FD int parent = -1;
	CLEANUP_FD int fd = -1;
	const char *name = ".";
	bool created = false;

	src = open_source(c, s);
	if (src < 0)
		TRY(fd_open(s->dirfd < 0 ? c->src_root : s->dirfd, s->name,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &src));
	if (str_eq(dst, STR("/"))) {
		TRY(fd_open_dir(c->root, ".", &fd));
	} else {
		TRY(inroot_parent(c->root, dst, c->arena, &parent, &name));
		created = mkdirat(parent, name, 0700) == 0;
		if (!created && errno != EEXIST)
			return err_errno(errno, "mkdir %.*s", STR_ARG(dst));
		fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 && (errno == ENOTDIR || errno == ELOOP)) {
			if (!c->a->alwaysreplaceexistingdestpaths)
				return err_new(ERR_UNKNOWN, "cannot copy to non-directory: %.*s",
					       STR_ARG(dst));
			TRY(rmtree(parent, name));
			created = mkdirat(parent, name, 0700) == 0;
			fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		}
		if (fd < 0)
			return err_errno(errno, "open %.*s", STR_ARG(dst));
	}
	go_below(c, dst, &fd, &parent);
	TRY(copy_tree(c->ctx, src, fd, &below));
	/* What was there keeps its own attributes. */
	return created ? copy_entry(src, ".", fd, ".", &top) : NULL;
}

static struct err *copy_file(struct copying *c, const struct copy_source *s, struct str dst)
{
	const struct copy_opts top = opts_of(c, true);
	CLEANUP_FD int parent = -1;
	const char *name;

	TRY(inroot_parent(c->root, dst, c->arena, &parent, &name));
	return copy_entry(s->dirfd, s->name, parent, name, &top);
}

static bool wants_dir(struct str dest)
{
	return str_has_suffix(dest, STR("/")) || str_has_suffix(dest, STR("/."));
}

/* dest: clean, maybe with "/" or "/." at its end. */
static struct err *copy_to(struct copying *c, const struct copy_source *s, struct str dest)
{
	struct str clean = path_clean(c->arena, dest), dst, parent;
	bool is_dir = S_ISDIR(s->st.st_mode), exists, dest_is_dir;
	struct stat st;
	struct err *e;

	TRY(make_dirs(c, wants_dir(dest) ? clean : path_dir(c->arena, clean), NULL));
	TRY(inroot_resolve(c->root, clean, true, c->arena, &dst));
	e = inroot_stat(c->root, dst, true, &st);
	exists = !e;
	if (e && !err_is(e, ERR_NOT_FOUND))
		return e;
	err_free(e);
	dest_is_dir = exists && S_ISDIR(st.st_mode);
	if ((!c->a->dircopycontents && is_dir && exists) || (!is_dir && dest_is_dir))
		dst = path_join(c->arena, dst, s->base);
	/* A directory made for contents is none of the source's. */
	parent = c->a->dircopycontents && is_dir && !exists ? dst : path_dir(c->arena, dst);
	TRY(make_dirs(c, parent, NULL));
	return is_dir ? copy_dir(c, s, dst) : copy_file(c, s, dst);
}

static struct err *try_unpack(struct copying *c, const struct copy_source *s, struct str dest,
			      bool *ret)
{
	CLEANUP_FD int fd = -1;

	*ret = false;
	if (!S_ISREG(s->st.st_mode))
		return NULL;
	TRY(fd_open(s->dirfd, s->name, O_RDONLY | O_NOFOLLOW, 0, &fd));
	return file_unpack(c->ctx, fd, c->root, path_clean(c->arena, dest), c->owner,
			   c->a->timestamp, ret);
}

static struct err *copy_one(struct copying *c, struct str src, struct str dest)
{
	struct copy_source s;
	bool unpacked = false;
	struct err *e = NULL;

	TRY(find_source(c, src, &s));
	if (c->a->attemptunpackdockercompatibility)
		e = try_unpack(c, &s, dest, &unpacked);
	if (!e && !unpacked)
		e = copy_to(c, &s, dest);
	if (s.dirfd >= 0)
		(void)close(s.dirfd);
	return e;
}

/* ---- the action ---- */

static struct err *make_patterns(struct arena *a, char *const *list, size_t n,
				 struct patterns **ret)
{
	struct str *s = ARENA_NEW_N(a, struct str, n + 1);

	if (!n)
		return NULL;
	for (size_t i = 0; i < n; i++)
		s[i] = str_from(list[i]);
	return patterns_new(a, s, n, ret);
}

static struct err *prepare(struct copying *c)
{
	const Pb__FileActionCopy *a = c->a;

	TRY(make_patterns(c->arena, a->include_patterns, a->n_include_patterns, &c->include));
	TRY(make_patterns(c->arena, a->exclude_patterns, a->n_exclude_patterns, &c->exclude));
	if (a->modestr[0]) {
		TRY(file_mode_parse(c->arena, str_from(a->modestr), &c->mode_change));
	} else if (a->mode != -1) {
		c->has_mode = true;
		c->mode = (mode_t)a->mode & 07777;
	}
	return NULL;
}

static struct err *check_dest(struct copying *c)
{
	struct str dest = path_join(c->arena, STR("/"), str_from(c->a->dest)), real;
	struct stat st;

	if (c->a->createdestpath)
		return NULL;
	TRY(inroot_resolve(c->root, dest, true, c->arena, &real));
	TRYW(inroot_stat(c->root, path_dir(c->arena, real), false, &st), "failed to stat %s",
	     c->a->dest);
	return NULL;
}

static struct err *copy_all(struct copying *c)
{
	struct str src = file_clean_path(c->arena, str_from(c->a->src));
	struct str dest = file_clean_path(c->arena, str_from(c->a->dest));
	struct str *list = &src;
	size_t n = 1;

	if (c->a->allowwildcard) {
		TRY(file_wildcards(c->src_root, src, c->arena, &list, &n));
		if (!n && !c->a->allowemptywildcard)
			return err_new(ERR_NOT_FOUND, "%.*s not found", STR_ARG(src));
	}
	for (size_t i = 0; i < n; i++) {
		c->may_leave_root = i + 1 == n;
		TRY(copy_one(c, list[i], dest));
	}
	return NULL;
}

struct err *file_copy(struct ctx *ctx, int src_root, int root, const Pb__FileActionCopy *a,
		      const struct file_owner *o, struct file_views *views)
{
	SCOPED_ARENA(arena);
	struct copying c = {
		.ctx = ctx,
		.src_root = src_root,
		.root = root,
		.views = views,
		.layer_root = -1,
		.a = a,
		.owner = o,
		.arena = &arena,
		.made = { .arena = &arena },
	};
	struct err *e;

	TRY(prepare(&c));
	TRY(check_dest(&c));
	e = copy_all(&c);
	if (!e)
		e = file_fix_times(c.root, &c.made, a->timestamp);
	if (c.layer_root >= 0)
		(void)close(c.layer_root);
	return e;
}
