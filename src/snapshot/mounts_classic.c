#include "base/limits.h"
#include "base/mem.h"
#include "snapshot/mounts_impl.h"
#include "sys/fd.h"
#include "sys/mount.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPTIONS_MAX 4095

/* The directory that all paths are below, with its last slash. */
static size_t common_prefix(const struct mounts *m, const char *work)
{
	size_t n = (size_t)(str_rfind(m->lowers[0], '/') + 1);

	for (size_t i = 1; i < m->n_lowers; i++) {
		size_t same = 0;

		while (same < n && same < m->lowers[i].len &&
		       m->lowers[i].ptr[same] == m->lowers[0].ptr[same])
			same++;
		n = same;
	}
	if (work) {
		size_t same = 0;

		while (same < n && same < m->upper.len && m->upper.ptr[same] == work[same] &&
		       m->upper.ptr[same] == m->lowers[0].ptr[same])
			same++;
		n = same;
	}
	return (size_t)(str_rfind(str_sub(m->lowers[0], 0, n), '/') + 1);
}

/* ':' and ',' separate, '\' escapes. */
static void add_path(struct buf *b, struct str p)
{
	for (size_t i = 0; i < p.len; i++) {
		if (strchr(":,\\", p.ptr[i]))
			buf_add_char(b, '\\');
		buf_add_char(b, p.ptr[i]);
	}
}

static struct err *options(const struct mounts *m, const char *work, bool userxattr, size_t skip,
			   struct buf *b)
{
	buf_add_cstr(b, "index=off");
	if (userxattr)
		buf_add_cstr(b, ",userxattr");
	else
		buf_add_cstr(b, ",redirect_dir=nofollow,metacopy=off");
	if (work) {
		buf_add_cstr(b, ",upperdir=");
		add_path(b, str_sub(m->upper, skip, m->upper.len));
		buf_add_cstr(b, ",workdir=");
		add_path(b, str_sub(str_from(work), skip, strlen(work)));
		if (m->is_volatile)
			buf_add_cstr(b, ",volatile");
	}
	buf_add_cstr(b, ",lowerdir=");
	for (size_t i = 0; i < m->n_lowers; i++) {
		if (i)
			buf_add_char(b, ':');
		add_path(b, str_sub(m->lowers[i], skip, m->lowers[i].len));
	}
	return buf_check(b, "list of overlay directories");
}

struct classic {
	const char *dir, *target, *options;
	bool readonly;
	int errnum;
};

/* A thread with a working directory of its own. */
static void *mount_main(void *arg)
{
	struct classic *c = arg;

	if (unshare(CLONE_FS) < 0 || chdir(c->dir) < 0 ||
	    mount("overlay", c->target, "overlay", c->readonly ? MS_RDONLY : 0, c->options) < 0)
		c->errnum = errno;
	return NULL;
}

static struct err *mount_in_dir(struct classic *c)
{
	pthread_t th;
	sigset_t all, old;
	int errnum;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	errnum = pthread_create(&th, NULL, mount_main, c);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (errnum)
		return err_errno(errnum, "pthread_create");
	(void)pthread_join(th, NULL);
	return c->errnum ? err_errno(c->errnum, "mount overlay") : NULL;
}

struct err *mounts_open_classic(const struct mounts *m, const char *work, bool userxattr, int *ret)
{
	size_t skip = common_prefix(m, work);
	CLEANUP_FREE char *dir =
		skip > 1 ? mem_strndup(m->lowers[0].ptr, skip - 1) : mem_strdup("/");
	CLEANUP_FREE char *target = mem_printf("%s/.mount-XXXXXX", dir);
	SCOPED_BUF(opts, OPTIONS_MAX);
	struct classic c = { .dir = dir, .target = target, .readonly = m->readonly || !work };
	struct err *e;

	TRY(options(m, work, userxattr, skip, &opts));
	c.options = opts.data;
	/* mount(2) needs a place; the mount is taken off it at once. */
	if (!mkdtemp(target))
		return err_errno(errno, "mkdir %s", target);
	e = mount_in_dir(&c);
	if (!e) {
		e = mount_clone(AT_FDCWD, target, false, ret);
		(void)umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW);
	}
	(void)rmdir(target);
	return e;
}
