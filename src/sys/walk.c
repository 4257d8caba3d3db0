#include "sys/walk.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/vec.h"
#include "sys/fd.h"

#include <dirent.h>
#include <errno.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Ancestors further up than this are closed and opened again when the walk comes back. */
#define MAX_OPEN 32
#define DENTS_SIZE (32 * 1024)

struct dent {
	uint64_t d_ino;
	int64_t d_off;
	uint16_t d_reclen;
	uint8_t d_type;
	char d_name[];
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct walk_name *)a)->name, ((const struct walk_name *)b)->name);
}

struct raw_names {
	VEC(struct walk_name) items;
	struct buf data;
	VEC(size_t) offsets; /* in data, which moves while it grows */
};

static void add_names(struct raw_names *r, const char *p, size_t len)
{
	for (size_t at = 0; at < len;) {
		const struct dent *d = (const void *)(p + at);
		const char *n = d->d_name;
		struct walk_name item = { .ino = d->d_ino, .type = d->d_type };

		at += d->d_reclen;
		if (n[0] == '.' && (!n[1] || (n[1] == '.' && !n[2])))
			continue;
		vec_push(&r->items, item);
		vec_push(&r->offsets, r->data.len);
		buf_add(&r->data, n, strlen(n) + 1);
	}
}

struct err *walk_read_names(int dirfd, bool sorted, struct walk_names *ret)
{
	struct raw_names r = { .data = BUF_INIT(SIZE_MAX / 2) };
	CLEANUP_FREE char *dents = mem_alloc(DENTS_SIZE);
	long n;

	while ((n = syscall(SYS_getdents64, dirfd, dents, DENTS_SIZE)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		/* A directory that was removed meanwhile is empty. */
		if (n < 0 && errno == ENOENT)
			break;
		if (n < 0) {
			int errnum = errno;

			vec_fini(&r.items);
			vec_fini(&r.offsets);
			buf_fini(&r.data);
			return err_errno(errnum, "readdirent");
		}
		add_names(&r, dents, (size_t)n);
	}
	for (size_t i = 0; i < r.items.len; i++)
		r.items.items[i].name = r.data.data + r.offsets.items[i];
	vec_fini(&r.offsets);
	if (sorted && r.items.len > 1)
		qsort(r.items.items, r.items.len, sizeof(*r.items.items), by_name);
	ret->n = r.items.len;
	ret->items = r.items.items;
	ret->data = r.data.len ? buf_take(&r.data) : NULL;
	buf_fini(&r.data);
	return NULL;
}

void walk_names_fini(struct walk_names *n)
{
	free(n->data);
	free(n->items);
	*n = (struct walk_names) { 0 };
}

struct frame {
	int fd;          /* -1: closed for now */
	size_t path_len; /* of the directory's own path */
	dev_t dev;
	ino_t ino;
	struct stat st; /* of the directory, for its leave */
	struct walk_names names;
	size_t at;
};

struct walk {
	int root;
	unsigned flags;
	VEC(struct frame) frames;
	struct buf path;
	bool enter; /* the entry given last is a directory to go into */
	struct walk_entry entry;
};

static struct frame *top(struct walk *w)
{
	return w->frames.len ? &w->frames.items[w->frames.len - 1] : NULL;
}

static void drop_frame(struct walk *w)
{
	struct frame *f = top(w);

	if (f->fd >= 0)
		(void)close(f->fd);
	walk_names_fini(&f->names);
	w->frames.len--;
}

static struct err *push(struct walk *w, int take_fd, const struct stat *st)
{
	struct frame f = { .fd = take_fd,
			   .path_len = w->path.len,
			   .dev = st->st_dev,
			   .ino = st->st_ino,
			   .st = *st };
	struct err *e = walk_read_names(take_fd, !(w->flags & WALK_UNSORTED), &f.names);

	if (e) {
		(void)close(take_fd);
		return err_wrap(e, "%s", buf_cstr(&w->path));
	}
	vec_push(&w->frames, f);
	if (w->frames.len > MAX_OPEN) {
		struct frame *old = &w->frames.items[w->frames.len - 1 - MAX_OPEN];

		if (old->fd >= 0) {
			(void)close(old->fd);
			old->fd = -1;
		}
	}
	return NULL;
}

/* The directory of the top frame again; it must still be the same one. */
static struct err *reopen(struct walk *w, struct frame *f)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};
	SCOPED_BUF(p, LIMIT_PATH + 1);
	struct stat st;
	long fd;

	buf_add(&p, w->path.data, f->path_len);
	fd = syscall(SYS_openat2, w->root, f->path_len ? buf_cstr(&p) : ".", &how, sizeof(how));
	if (fd < 0)
		return err_errno(errno, "open %s", buf_cstr(&p));
	f->fd = (int)fd;
	if (fstat(f->fd, &st) < 0 || st.st_dev != f->dev || st.st_ino != f->ino)
		return err_errno(ESTALE, "open %s", buf_cstr(&p));
	return NULL;
}

struct err *walk_open(int dirfd, unsigned flags, struct walk **ret)
{
	struct walk *w;
	struct stat st;
	struct err *e;
	int fd = -1;

	TRY(fd_open_dir(dirfd, ".", &fd));
	if (fstat(fd, &st) < 0) {
		int errnum = errno;

		(void)close(fd);
		return err_errno(errnum, "fstat");
	}
	w = NEW(struct walk);
	w->root = dirfd;
	w->flags = flags;
	buf_init(&w->path, LIMIT_PATH);
	e = push(w, fd, &st);
	if (e) {
		walk_close(w);
		return e;
	}
	*ret = w;
	return NULL;
}

void walk_close(struct walk *w)
{
	if (!w)
		return;
	while (w->frames.len)
		drop_frame(w);
	vec_fini(&w->frames);
	buf_fini(&w->path);
	free(w);
}

void walk_closep(struct walk **w)
{
	walk_close(*w);
	*w = NULL;
}

void walk_skip(struct walk *w)
{
	w->enter = false;
}

/* Goes into the directory given last. One that is gone, or is no directory any more, has nothing
 * below. */
static struct err *enter(struct walk *w)
{
	struct frame *f = top(w);
	int fd;

	w->enter = false;
	fd = openat(f->fd, w->entry.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
			return NULL;
		return err_errno(errno, "open %s", buf_cstr(&w->path));
	}
	if (w->flags & WALK_NO_STAT) {
		struct stat st;

		if (fstat(fd, &st) < 0) {
			int errnum = errno;

			(void)close(fd);
			return err_errno(errnum, "fstat %s", buf_cstr(&w->path));
		}
		return push(w, fd, &st);
	}
	return push(w, fd, &w->entry.st);
}

static void truncate_path(struct walk *w, size_t len)
{
	w->path.len = len;
	if (w->path.data)
		w->path.data[len] = '\0';
}

/* Leaves the top directory; *ret_gave is true if that gives an entry. */
static struct err *leave(struct walk *w, bool *ret_gave)
{
	struct frame *f = top(w);
	struct stat st = f->st;
	size_t len = f->path_len;
	ptrdiff_t slash;

	*ret_gave = false;
	drop_frame(w);
	f = top(w);
	if (!f || !(w->flags & WALK_LEAVE))
		return NULL;
	truncate_path(w, len);
	if (f->fd < 0)
		TRY(reopen(w, f));
	slash = str_rfind(buf_str(&w->path), '/');
	w->entry = (struct walk_entry) {
		.path = buf_str(&w->path),
		.name = w->path.data + slash + 1,
		.dirfd = f->fd,
		.depth = (unsigned)w->frames.len - 1,
		.leave = true,
		.st = st,
	};
	*ret_gave = true;
	return NULL;
}

static struct err *stat_entry(struct walk *w, struct frame *f, const struct walk_name *n,
			      bool *ret_there)
{
	*ret_there = true;
	if ((w->flags & WALK_NO_STAT) && n->type != DT_UNKNOWN) {
		w->entry.st = (struct stat) { .st_mode = DTTOIF(n->type), .st_ino = n->ino };
		return NULL;
	}
	if (fstatat(f->fd, n->name, &w->entry.st, AT_SYMLINK_NOFOLLOW) == 0)
		return NULL;
	*ret_there = false;
	return errno == ENOENT ? NULL : err_errno(errno, "lstat %s", buf_cstr(&w->path));
}

struct err *walk_next(struct walk *w, const struct walk_entry **ret)
{
	if (w->enter)
		TRY(enter(w));
	for (;;) {
		struct frame *f = top(w);
		const struct walk_name *n;
		bool there;

		if (!f) {
			*ret = NULL;
			return NULL;
		}
		if (f->at == f->names.n) {
			bool gave;

			TRY(leave(w, &gave));
			if (!gave)
				continue;
			*ret = &w->entry;
			return NULL;
		}
		n = &f->names.items[f->at++];
		truncate_path(w, f->path_len);
		if (f->path_len)
			buf_add_char(&w->path, '/');
		buf_add_cstr(&w->path, n->name);
		if (w->path.overflow)
			return err_errno(ENAMETOOLONG, "lstat %s", buf_cstr(&w->path));
		if (f->fd < 0)
			TRY(reopen(w, f));
		w->entry = (struct walk_entry) {
			.path = buf_str(&w->path),
			.name = n->name,
			.dirfd = f->fd,
			.depth = (unsigned)w->frames.len - 1,
		};
		TRY(stat_entry(w, f, n, &there));
		if (!there)
			continue;
		w->enter = S_ISDIR(w->entry.st.st_mode);
		*ret = &w->entry;
		return NULL;
	}
}
