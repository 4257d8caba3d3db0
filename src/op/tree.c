#include "op/tree.h"

#include "base/mem.h"
#include "sys/fd.h"
#include "sys/inroot.h"

#include <errno.h>

struct tree {
	struct localmount *mount;
	struct mounts *view;
	struct arena arena;
	int empty; /* a directory that is gone: stands in for the empty tree */
};

static struct err *open_empty(const char *tmp_dir, int *ret)
{
	char *path = mem_printf("%s/empty-XXXXXX", tmp_dir);
	struct err *e = NULL;

	if (!mkdtemp(path))
		e = err_errno(errno, "mkdir %s", path);
	if (!e) {
		e = fd_open_dir(AT_FDCWD, path, ret);
		(void)rmdir(path);
	}
	free(path);
	return e;
}

struct err *tree_open(struct worker *w, struct ctx *ctx, struct cache_ref *r, struct tree **ret)
{
	struct tree *t = NEW(struct tree);
	struct err *e;

	t->empty = -1;
	if (r) {
		e = cache_ref_mounts(r, ctx, &t->arena, &t->view);
		if (!e)
			e = localmount_open(t->view, w->tmp_dir, &t->mount);
	} else {
		e = open_empty(w->tmp_dir, &t->empty);
	}
	if (e) {
		tree_close(t);
		return e;
	}
	*ret = t;
	return NULL;
}

int tree_fd(const struct tree *t)
{
	return t->mount ? localmount_dirfd(t->mount) : t->empty;
}

const struct mounts *tree_mounts(const struct tree *t)
{
	return t->view;
}

void tree_close(struct tree *t)
{
	if (!t)
		return;
	localmount_close(t->mount);
	if (t->empty >= 0)
		(void)close(t->empty);
	arena_fini(&t->arena);
	free(t);
}

struct err *tree_read_file(const struct tree *t, struct str path, struct buf *out)
{
	CLEANUP_FD int fd = -1;
	struct stat st;

	TRY(inroot_open(tree_fd(t), path, O_RDONLY | O_NONBLOCK, 0, &fd));
	if (fstat(fd, &st) < 0)
		return err_errno(errno, "stat %.*s", STR_ARG(path));
	if (!S_ISREG(st.st_mode))
		return err_new(ERR_INVALID_ARGUMENT, "%.*s: not a regular file", STR_ARG(path));
	return fd_read_all(fd, out);
}
