/* ADD of an archive: entries go where their names say, inside the root. What is in the way is
 * replaced, except a directory by a directory. */
#include "base/path.h"
#include "base/vec.h"
#include "codec/compress.h"
#include "codec/tar.h"
#include "op/file.h"
#include "sys/fd.h"
#include "sys/inroot.h"
#include "sys/rmtree.h"
#include "sys/xattr.h"

#include <sys/sysmacros.h>

#define DATA_BUFFER (64 * KIB)

struct dir_time {
	char *path;
	int64_t mtime_ns;
};

struct unpack {
	struct ctx *ctx;
	struct tar_reader *tar;
	int root; /* where names start: the destination directory */
	const struct file_owner *owner;
	char *buffer;
	VEC(struct dir_time) dirs; /* their times are set when all is in them */
};

static struct file_owner owner_of(const struct unpack *u, const struct tar_header *h)
{
	if (u->owner->set)
		return *u->owner;
	return (struct file_owner) { true, (uid_t)h->uid, (gid_t)h->gid };
}

static struct err *write_data(struct unpack *u, int fd)
{
	for (;;) {
		size_t n;

		TRY(ctx_err(u->ctx));
		TRY(tar_read(u->tar, u->buffer, DATA_BUFFER, &n));
		if (!n)
			return NULL;
		TRY(fd_write_all(fd, u->buffer, n));
	}
}

static struct err *make_file(struct unpack *u, const struct tar_header *h, int dirfd,
			     const char *base)
{
	CLEANUP_FD int fd =
		openat(dirfd, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_errno(errno, "open %s", base);
	return write_data(u, fd);
}

static struct err *make_link(struct unpack *u, const struct tar_header *h, int dirfd,
			     const char *base, struct arena *a)
{
	CLEANUP_FD int from = -1;
	const char *name;

	TRY(inroot_parent(u->root, path_join(a, STR("/"), h->linkname), a, &from, &name));
	if (linkat(from, name, dirfd, base, 0) < 0)
		return err_errno(errno, "link %.*s", STR_ARG(h->linkname));
	return NULL;
}

static struct err *make_node(const struct tar_header *h, int dirfd, const char *base)
{
	mode_t type = h->type == '3' ? S_IFCHR : h->type == '4' ? S_IFBLK : S_IFIFO;

	if (mknodat(dirfd, base, type | 0600, makedev(h->devmajor, h->devminor)) < 0)
		return err_errno(errno, "mknod %s", base);
	return NULL;
}

static struct err *make_entry(struct unpack *u, const struct tar_header *h, int dirfd,
			      const char *base, struct arena *a)
{
	switch (h->type) {
	case '5':
		if (mkdirat(dirfd, base, 0700) < 0 && errno != EEXIST)
			return err_errno(errno, "mkdir %s", base);
		return NULL;
	case '0':
		return make_file(u, h, dirfd, base);
	case '1':
		return make_link(u, h, dirfd, base, a);
	case '2':
		if (symlinkat(str_cstr(a, h->linkname), dirfd, base) < 0)
			return err_errno(errno, "symlink %s", base);
		return NULL;
	case '3':
	case '4':
	case '6':
		return make_node(h, dirfd, base);
	default:
		return err_new(ERR_INVALID_ARGUMENT, "unhandled tar header type %c", h->type);
	}
}

static void set_xattrs(const struct tar_header *h, int dirfd, const char *base)
{
	/* As far as the file system takes them. */
	for (size_t i = 0; i < h->n_xattrs; i++) {
		char *name = str_heap(h->xattrs[i].name);

		err_free(xattr_set(dirfd, base, name, h->xattrs[i].value));
		free(name);
	}
}

static struct err *set_meta(struct unpack *u, const struct tar_header *h, int dirfd,
			    const char *base, struct str path)
{
	struct file_owner owner = owner_of(u, h);

	if (h->type == '1')
		return NULL;
	TRY(file_set_meta(dirfd, base, &owner, h->mtime_ns == -1 ? 0 : h->mtime_ns));
	if (h->type != '2' && fchmodat(dirfd, base, h->mode & 07777, 0) < 0)
		return err_errno(errno, "chmod %s", base);
	set_xattrs(h, dirfd, base);
	if (h->type == '5')
		vec_push(&u->dirs, ((struct dir_time) { str_heap(path), h->mtime_ns }));
	return NULL;
}

static struct err *unpack_entry(struct unpack *u, const struct tar_header *h, struct arena *a)
{
	static const struct file_owner nobody = { 0 };
	struct str path = path_join(a, STR("/"), h->name);
	CLEANUP_FD int dirfd = -1;
	const char *base;
	struct stat st;

	if (str_eq(path, STR("/")))
		return NULL;
	TRY(file_make_dirs(u->root, path_dir(a, path), 0755, &nobody, -1, NULL, NULL));
	TRY(inroot_parent(u->root, path, a, &dirfd, &base));
	if (fstatat(dirfd, base, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    !(S_ISDIR(st.st_mode) && h->type == '5'))
		TRY(rmtree(dirfd, base));
	TRY(make_entry(u, h, dirfd, base, a));
	return set_meta(u, h, dirfd, base, path);
}

static struct err *set_dir_times(struct unpack *u)
{
	static const struct file_owner nobody = { 0 };

	for (size_t i = u->dirs.len; i-- > 0;) {
		const struct dir_time *d = &u->dirs.items[i];
		CLEANUP_FD int fd = -1;
		struct err *e = inroot_open(u->root, str_from(d->path),
					    O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &fd);

		/* A later entry may have replaced it. */
		if (!e)
			e = file_set_meta(fd, ".", &nobody, d->mtime_ns == -1 ? 0 : d->mtime_ns);
		else if (err_is(e, ERR_NOT_FOUND) || err_get_errno(e) == ENOTDIR ||
			 err_get_errno(e) == ELOOP)
			err_free(TAKE_PTR(e));
		TRY(e);
	}
	return NULL;
}

static struct err *unpack_all(struct unpack *u, struct tar_header *h, struct arena *first)
{
	struct err *e;

	TRYW(unpack_entry(u, h, first), "%.*s", STR_ARG(h->name));
	for (;;) {
		SCOPED_ARENA(a);
		bool eof;

		TRY(ctx_err(u->ctx));
		TRY(tar_next(u->tar, &a, h, &eof));
		if (eof)
			break;
		e = unpack_entry(u, h, &a);
		if (e)
			return err_wrap(e, "%.*s", STR_ARG(h->name));
	}
	return set_dir_times(u);
}

static struct err *open_archive(int fd, struct reader **ret_plain, struct tar_reader **ret,
				struct arena *a, struct tar_header *h, bool *ret_is)
{
	struct reader *plain = NULL;
	enum compression kind;
	bool eof = true;
	int copy;
	struct err *e;

	TRY(fd_dup(fd, &copy));
	e = decompress_auto(reader_of_fd(copy, true), &plain, &kind);
	if (!e) {
		*ret_plain = plain;
		*ret = tar_reader_new(plain);
		e = tar_next(*ret, a, h, &eof);
	}
	/* What can't be read as an archive is a file like any other. */
	*ret_is = !e && !eof;
	err_free(e);
	return NULL;
}

struct err *file_unpack(struct ctx *ctx, int fd, int root, struct str dest,
			const struct file_owner *o, int64_t timestamp, bool *ret)
{
	CLEANUP(reader_closep) struct reader *plain = NULL;
	CLEANUP(tar_reader_freep) struct tar_reader *tar = NULL;
	CLEANUP_FD int dest_fd = -1;
	struct unpack u = { .ctx = ctx, .owner = o };
	struct tar_header h;
	struct err *e;
	SCOPED_ARENA(a);

	TRY(open_archive(fd, &plain, &tar, &a, &h, ret));
	if (!*ret)
		return NULL;
	TRY(file_make_dirs(root, dest, 0755, o, timestamp, NULL, &dest_fd));
	u.tar = tar;
	u.root = dest_fd;
	u.buffer = mem_alloc(DATA_BUFFER);
	e = unpack_all(&u, &h, &a);
	free(u.buffer);
	vec_each (&u.dirs, d)
		free(d->path);
	vec_fini(&u.dirs);
	return e;
}
