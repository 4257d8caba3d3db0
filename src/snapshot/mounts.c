#include "snapshot/mounts.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/vec.h"
#include "snapshot/mounts_impl.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/userns.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Longest value fsconfig() takes, without its NUL. */
#define FSCONFIG_MAX 255

static bool in_userns(void)
{
	static atomic_int known; /* 0 not asked, 1 no, 2 yes */
	int k = atomic_load(&known);

	if (!k) {
		k = userns_inside() ? 2 : 1;
		atomic_store(&known, k);
	}
	return k == 2;
}

/* Descriptors that must live until the file system is made. */
struct held {
	VEC(int) fds;
};

static void held_close(struct held *h)
{
	vec_each (&h->fds, fd)
		(void)close(*fd);
	vec_fini(&h->fds);
}

/* A path option; one that is too long goes by the number of an open descriptor. */
static struct err *set_path(int fs, const char *key, const char *path, struct held *h)
{
	char alias[FD_PATH_MAX];
	int fd = -1;

	if (strlen(path) <= FSCONFIG_MAX)
		return mount_fs_set(fs, key, path);
	TRY(fd_open(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0, &fd));
	vec_push(&h->fds, fd);
	return mount_fs_set(fs, key, fd_path(fd, NULL, alias));
}

/* A workdir of its own for each mount: what an earlier volatile mount left in it is refused by the
 * kernel, and removing that could pull it from under a mount that is still there. */
struct err *mounts_make_work(struct str work, char **ret)
{
	static atomic_uint next;

	for (;;) {
		char *p = mem_printf("%.*s/%u", STR_ARG(work), atomic_fetch_add(&next, 1));

		if (mkdir(p, 0700) == 0) {
			*ret = p;
			return NULL;
		}
		if (errno == ENOENT) {
			CLEANUP_FREE char *dir = mem_strndup(work.ptr, work.len);

			if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
				int errnum = errno;

				free(p);
				return err_errno(errnum, "mkdir %s", dir);
			}
		} else if (errno != EEXIST) {
			struct err *e = err_errno(errno, "mkdir %s", p);

			free(p);
			return e;
		}
		free(p);
	}
}

static struct err *open_overlay(const struct mounts *m, const char *upper, const char *work,
				struct held *h, int *ret)
{
	CLEANUP_FD int fs = -1;
	SCOPED_ARENA(a);

	TRY(mount_fs_open("overlay", &fs));
	for (size_t i = 0; i < m->n_lowers; i++)
		TRY(set_path(fs, "lowerdir+", str_cstr(&a, m->lowers[i]), h));
	if (upper) {
		TRY(set_path(fs, "upperdir", upper, h));
		TRY(set_path(fs, "workdir", work, h));
		if (m->is_volatile)
			TRY(mount_fs_set(fs, "volatile", NULL));
	}
	TRY(mount_fs_set(fs, "index", "off"));
	if (in_userns()) {
		TRY(mount_fs_set(fs, "userxattr", NULL));
	} else {
		/* Upper directories must stay plain differences, whatever the kernel's
		 * defaults are. */
		TRY(mount_fs_set(fs, "redirect_dir", "nofollow"));
		TRY(mount_fs_set(fs, "metacopy", "off"));
	}
	return mount_fs_make(fs, m->readonly || !upper ? MOUNT_RDONLY : 0, ret);
}

/* A kernel before 6.7 says EINVAL to "lowerdir+", some of them only when all options are there. So
 * the first mount finds out which way works. */
struct err *mounts_open_overlay(const struct mounts *m, const char *work, int *ret)
{
	static atomic_int way; /* 0 not known, 1 "lowerdir+", 2 classic */
	CLEANUP_FREE char *upper = work ? mem_strndup(m->upper.ptr, m->upper.len) : NULL;
	CLEANUP(held_close) struct held h = { 0 };
	struct err *e, *classic;

	if (atomic_load(&way) == 2)
		return mounts_open_classic(m, work, in_userns(), ret);
	e = open_overlay(m, upper, work, &h, ret);
	if (!e)
		atomic_store(&way, 1);
	if (err_get_errno(e) != EINVAL || atomic_load(&way))
		return e;
	classic = mounts_open_classic(m, work, in_userns(), ret);
	if (!classic)
		atomic_store(&way, 2);
	else
		err_free(classic);
	if (classic)
		return e;
	err_free(e);
	return NULL;
}

static struct err *open_tmpfs(const struct mounts *m, int *ret)
{
	CLEANUP_FD int fs = -1;
	char size[32];

	TRY(mount_fs_open("tmpfs", &fs));
	if (m->size) {
		(void)snprintf(size, sizeof(size), "%llu", (unsigned long long)m->size);
		TRY(mount_fs_set(fs, "size", size));
	}
	return mount_fs_make(fs, m->readonly ? MOUNT_RDONLY : 0, ret);
}

static struct err *open_bind(const struct mounts *m, int *ret)
{
	CLEANUP_FREE char *source = mem_strndup(m->source.ptr, m->source.len);
	CLEANUP_FD int fd = -1;

	TRY(mount_clone(AT_FDCWD, source, true, &fd));
	if (m->readonly)
		TRY(mount_set_attrs(fd, MOUNT_RDONLY, 0, true));
	*ret = TAKE_FD(fd);
	return NULL;
}

struct err *mounts_open_with(const struct mounts *m, char **ret_work, int *ret)
{
	CLEANUP_FREE char *work = NULL;

	*ret_work = NULL;
	switch (m->kind) {
	case MOUNT_BIND:
		return open_bind(m, ret);
	case MOUNT_TMPFS:
		return open_tmpfs(m, ret);
	case MOUNT_OVERLAY:
		break;
	}
	if (m->upper.len)
		TRY(mounts_make_work(m->work, &work));
	TRYW(mounts_open_overlay(m, work, ret), "failed to mount overlay");
	*ret_work = TAKE_PTR(work);
	return NULL;
}

struct err *mounts_open(const struct mounts *m, int *ret_mntfd)
{
	CLEANUP_FREE char *work = NULL;

	return mounts_open_with(m, &work, ret_mntfd);
}

struct err *mounts_attach(const struct mounts *m, const char *target)
{
	CLEANUP_FD int fd = -1;

	TRY(mounts_open(m, &fd));
	return mount_attach(fd, AT_FDCWD, target);
}
