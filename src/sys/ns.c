#include "sys/ns.h"

#include "sys/fd.h"
#include "sys/mount.h"

#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

struct err *ns_enter_private_mounts(void)
{
	if (unshare(CLONE_NEWNS) < 0)
		return err_errno(errno, "unshare mount namespace");
	/* In a chroot whose root is no mount point there is nothing to set: its mounts are its
	 * caller's, and propagate as those do. */
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 && errno != EINVAL)
		return err_errno(errno, "make mounts private");
	return NULL;
}

/* A network namespace is a thread's, and a thread that left the daemon's must not be used for
 * anything else: each job has a thread that ends with it. */
struct job {
	const char *path;
	struct err *(*fn)(void *arg);
	void *arg;
	struct err *err;
};

static struct err *loopback_up(void)
{
	CLEANUP_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = { .ifr_name = "lo" };

	if (fd < 0)
		return err_errno(errno, "socket");
	if (ioctl(fd, SIOCGIFFLAGS, &r) < 0)
		return err_errno(errno, "loopback interface");
	r.ifr_flags = (short)(r.ifr_flags | IFF_UP);
	if (ioctl(fd, SIOCSIFFLAGS, &r) < 0)
		return err_errno(errno, "loopback interface");
	return NULL;
}

static void *create_main(void *arg)
{
	struct job *j = arg;

	if (unshare(CLONE_NEWNET) < 0) {
		j->err = err_errno(errno, "unshare network namespace");
		return NULL;
	}
	j->err = loopback_up();
	if (!j->err)
		j->err = mount_bind("/proc/thread-self/ns/net", j->path, 0, false);
	return NULL;
}

static void *run_main(void *arg)
{
	struct job *j = arg;
	CLEANUP_FD int fd = -1;

	j->err = fd_open(AT_FDCWD, j->path, O_RDONLY, 0, &fd);
	if (!j->err && setns(fd, CLONE_NEWNET) < 0)
		j->err = err_errno(errno, "setns %s", j->path);
	if (!j->err)
		j->err = j->fn(j->arg);
	return NULL;
}

static struct err *on_own_thread(void *(*fn)(void *), struct job *j)
{
	pthread_t th;
	sigset_t all, old;
	int errnum;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	errnum = pthread_create(&th, NULL, fn, j);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (errnum)
		return err_errno(errnum, "pthread_create");
	(void)pthread_join(th, NULL);
	return j->err;
}

struct err *ns_net_create(const char *path)
{
	struct job j = { .path = path };
	struct err *e;
	int fd = -1;

	TRY(fd_open(AT_FDCWD, path, O_RDONLY | O_CREAT | O_EXCL, 0444, &fd));
	(void)close(fd);
	e = on_own_thread(create_main, &j);
	if (e)
		(void)unlink(path);
	return err_wrap(e, "network namespace %s", path);
}

struct err *ns_net_remove(const char *path)
{
	TRY(mount_umount(path, true));
	if (unlink(path) < 0 && errno != ENOENT)
		return err_errno(errno, "unlink %s", path);
	return NULL;
}

struct err *ns_net_run(const char *path, struct err *(*fn)(void *arg), void *arg)
{
	struct job j = { .path = path, .fn = fn, .arg = arg };

	return on_own_thread(run_main, &j);
}
