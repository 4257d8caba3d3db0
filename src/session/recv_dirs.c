#include "session/recv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#define MAX_IDLE 256

void recv_dirs_init(struct recv_dirs *ds, int root)
{
	*ds = (struct recv_dirs) { .root = root };
	lock_init(&ds->lock, LOCK_LEAF);
	list_init(&ds->idle);
}

void recv_dirs_fini(struct recv_dirs *ds)
{
	struct list *n;

	while ((n = list_pop(&ds->idle))) {
		struct recv_dir *d = list_entry(n, struct recv_dir, lru);

		(void)close(d->fd);
		d->fd = -1;
	}
	lock_fini(&ds->lock);
}

void recv_dir_init(struct recv_dir *d)
{
	d->fd = -1;
	list_init(&d->lru);
}

static int open_dir(struct recv_dirs *ds, const struct recv_dir *d)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };

	return (int)syscall(SYS_openat2, ds->root, d->path.ptr, &how, sizeof(how));
}

struct err *recv_dir_get(struct recv_dirs *ds, struct recv_dir *d, int *ret_fd)
{
	int fd;

	if (!d->entry) {
		*ret_fd = ds->root;
		return NULL;
	}
	lock_take(&ds->lock);
	if (d->fd >= 0) {
		if (!d->pins++) {
			list_del(&d->lru);
			ds->n_idle--;
		}
		*ret_fd = d->fd;
		lock_drop(&ds->lock);
		return NULL;
	}
	lock_drop(&ds->lock);
	fd = open_dir(ds, d);
	if (fd < 0)
		return err_errno(errno, "open %.*s", STR_ARG(d->path));
	lock_take(&ds->lock);
	if (d->fd < 0) {
		d->fd = fd;
		d->pins = 0;
		fd = -1;
	} else if (!d->pins) { /* another was faster, and done already */
		list_del(&d->lru);
		ds->n_idle--;
	}
	d->pins++;
	*ret_fd = d->fd;
	lock_drop(&ds->lock);
	if (fd >= 0)
		(void)close(fd);
	return NULL;
}

void recv_dir_put(struct recv_dirs *ds, struct recv_dir *d)
{
	int fd = -1;

	if (!d->entry)
		return;
	lock_take(&ds->lock);
	assert(d->pins);
	if (!--d->pins) {
		list_add_tail(&ds->idle, &d->lru);
		if (++ds->n_idle > MAX_IDLE) {
			struct recv_dir *old =
				list_entry(list_pop(&ds->idle), struct recv_dir, lru);

			ds->n_idle--;
			fd = old->fd;
			old->fd = -1;
		}
	}
	lock_drop(&ds->lock);
	if (fd >= 0)
		(void)close(fd);
}
