#include "base/id.h"
#include "base/mem.h"
#include "snapshot/mounts_impl.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/rmtree.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

struct localmount {
	int fd;     /* the root, readable */
	int mnt;    /* the detached or attached mount; -1 for a bind */
	char *path; /* NULL until asked for */
	char *tmp;  /* where it may be attached */
	char *work; /* workdir of this mount */
	bool attached;
};

static struct err *open_bind(const struct mounts *m, struct localmount *l)
{
	l->path = mem_strndup(m->source.ptr, m->source.len);
	return fd_open_dir(AT_FDCWD, l->path, &l->fd);
}

struct err *localmount_open(const struct mounts *m, const char *tmp_dir, struct localmount **ret)
{
	struct localmount *l = NEW(struct localmount);
	struct err *e;

	l->fd = l->mnt = -1;
	if (m->kind == MOUNT_BIND) {
		e = open_bind(m, l);
	} else {
		l->tmp = tmp_dir ? mem_strdup(tmp_dir) : NULL;
		e = mounts_open_with(m, &l->work, &l->mnt);
		if (!e)
			e = fd_open_dir(l->mnt, ".", &l->fd);
	}
	if (e) {
		localmount_close(l);
		return e;
	}
	*ret = l;
	return NULL;
}

/* Attaches it; the name by descriptor serves where that can't be done, though only inside this
 * process. */
static char *find_place(struct localmount *l)
{
	char name[FD_PATH_MAX], id[ID_LEN + 1];
	char *place;
	struct err *e;

	if (!l->tmp)
		return mem_strdup(fd_path(l->fd, NULL, name));
	id_make(id);
	place = mem_printf("%s/%s", l->tmp, id);
	if (mkdir(place, 0700) == 0) {
		e = mount_attach(l->mnt, AT_FDCWD, place);
		if (!e) {
			l->attached = true;
			return place;
		}
		err_free(e);
		(void)rmdir(place);
	}
	free(place);
	return mem_strdup(fd_path(l->fd, NULL, name));
}

const char *localmount_path(const struct localmount *l)
{
	struct localmount *m = (struct localmount *)l;

	if (!m->path)
		m->path = find_place(m);
	return m->path;
}

int localmount_dirfd(const struct localmount *l)
{
	return l->fd;
}

/* What the kernel leaves in the workdir of a volatile mount, without a look at it. */
static void remove_work(const char *work)
{
	static const char *const left[] = { "/work/incompat/volatile", "/work/incompat", "/work",
					    "" };

	for (size_t i = 0; i < ARRAY_SIZE(left); i++) {
		CLEANUP_FREE char *p = mem_printf("%s%s", work, left[i]);

		if (rmdir(p) < 0 && i == ARRAY_SIZE(left) - 1)
			err_free(rmtree(AT_FDCWD, work));
	}
}

void localmount_close(struct localmount *l)
{
	if (!l)
		return;
	if (l->fd >= 0)
		(void)close(l->fd);
	if (l->mnt >= 0)
		(void)close(l->mnt);
	if (l->attached) {
		/* What still looks into it keeps the mount alive, out of sight. */
		err_free(mount_umount(l->path, true));
		(void)rmdir(l->path);
	}
	if (l->work)
		remove_work(l->work);
	free(l->work);
	free(l->path);
	free(l->tmp);
	free(l);
}

void localmount_closep(struct localmount **l)
{
	localmount_close(*l);
	*l = NULL;
}
