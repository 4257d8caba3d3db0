/* LD_PRELOAD: makes the n-th change of a file system fail. For tests of what a full or a broken
 * disk does to the store.
 *
 * What is counted: calls that write, make, rename, remove, resize or sync something on the file
 * system of $FAULTS_DIR or on an overlay (whose upper directory is there). Reads are left alone.
 * The plan is in the file $FAULTS_PLAN, mapped, so that the test changes it while the program runs:
 *   left    counts down with each such call; the one that takes it from 1 to 0 fails. 0 or less:
 * none does. error   errno of the failure stay    not 0: from then on every call fails, until it is
 * 0 again calls   counts all such calls hits    counts those that failed last    the name of the
 * one that failed last */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#define OVERLAY_MAGIC 0x794c7630

struct plan {
	_Atomic int64_t left, error, stay, calls, hits;
	char last[32];
};

static struct plan *plan;
static dev_t dev;

static __attribute__((constructor)) void start(void)
{
	const char *dir = getenv("FAULTS_DIR"), *file = getenv("FAULTS_PLAN");
	struct stat st;
	void *p;
	int fd;

	if (!dir || !file || stat(dir, &st) < 0)
		return;
	dev = st.st_dev;
	fd = open(file, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	p = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (p != MAP_FAILED)
		plan = p;
}

/* Is the file, or the directory that the name is in, one of those? */
static int is_ours(int fd, const char *path)
{
	char dir[4096];
	const char *slash;
	struct stat st;
	struct statfs fs;
	int r;

	if (!plan)
		return 0;
	if (!path) {
		if (fstat(fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
			return 0;
		return st.st_dev == dev || (fstatfs(fd, &fs) == 0 && fs.f_type == OVERLAY_MAGIC);
	}
	slash = strrchr(path, '/');
	if (!slash) {
		strcpy(dir, ".");
	} else {
		size_t n = slash == path ? 1 : (size_t)(slash - path);

		if (n >= sizeof(dir))
			return 0;
		memcpy(dir, path, n);
		dir[n] = '\0';
	}
	r = openat(fd, dir, O_PATH | O_CLOEXEC);
	if (r < 0)
		return 0;
	fd = r;
	r = fstat(fd, &st) == 0 &&
	    (st.st_dev == dev || (fstatfs(fd, &fs) == 0 && fs.f_type == OVERLAY_MAGIC));
	(void)close(fd);
	return r;
}

static int fails(int fd, const char *path, const char *what)
{
	int saved = errno;
	int64_t was;

	if (!is_ours(fd, path)) {
		errno = saved;
		return 0;
	}
	plan->calls++;
	was = plan->left > 0 ? plan->left-- : 0;
	if (was != 1 && !(plan->stay && plan->left <= 0 && plan->hits)) {
		errno = saved;
		return 0;
	}
	plan->hits++;
	strncpy(plan->last, what, sizeof(plan->last) - 1);
	errno = (int)plan->error;
	return 1;
}

#define NEXT(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

#define WRAP(type, name, params, args, fd, path)                                                   \
	type name params                                                                           \
	{                                                                                          \
		static typeof(&name) next;                                                         \
                                                                                                   \
		if (!next)                                                                         \
			next = NEXT(name);                                                         \
		return fails(fd, path, #name) ? -1 : next args;                                    \
	}

WRAP(ssize_t, write, (int fd, const void *p, size_t n), (fd, p, n), fd, NULL)
WRAP(ssize_t, pwrite, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at), fd, NULL)
WRAP(ssize_t, pwrite64, (int fd, const void *p, size_t n, off64_t at), (fd, p, n, at), fd, NULL)
WRAP(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), fd, NULL)
WRAP(ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at), fd, NULL)
WRAP(ssize_t, pwritev64, (int fd, const struct iovec *v, int n, off64_t at), (fd, v, n, at), fd,
     NULL)
WRAP(ssize_t, copy_file_range, (int in, off64_t *a, int out, off64_t *b, size_t n, unsigned flags),
     (in, a, out, b, n, flags), out, NULL)
WRAP(int, fsync, (int fd), (fd), fd, NULL)
WRAP(int, fdatasync, (int fd), (fd), fd, NULL)
WRAP(int, syncfs, (int fd), (fd), fd, NULL)
WRAP(int, ftruncate, (int fd, off_t n), (fd, n), fd, NULL)
WRAP(int, ftruncate64, (int fd, off64_t n), (fd, n), fd, NULL)
WRAP(int, fallocate, (int fd, int mode, off_t at, off_t n), (fd, mode, at, n), fd, NULL)
WRAP(int, fallocate64, (int fd, int mode, off64_t at, off64_t n), (fd, mode, at, n), fd, NULL)
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
WRAP(int, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode), fd, path)
WRAP(int, mknodat, (int fd, const char *path, mode_t mode, dev_t d), (fd, path, mode, d), fd, path)
WRAP(int, symlinkat, (const char *to, int fd, const char *path), (to, fd, path), fd, path)
WRAP(int, linkat, (int from, const char *old, int fd, const char *path, int flags),
     (from, old, fd, path, flags), fd, path)
WRAP(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags), fd, path)
WRAP(int, rename, (const char *old, const char *path), (old, path), AT_FDCWD, path)
WRAP(int, renameat, (int from, const char *old, int fd, const char *path), (from, old, fd, path),
     fd, path)
WRAP(int, renameat2, (int from, const char *old, int fd, const char *path, unsigned flags),
     (from, old, fd, path, flags), fd, path)
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode), fd, NULL)
WRAP(int, fchmodat, (int fd, const char *path, mode_t mode, int flags), (fd, path, mode, flags), fd,
     path)
WRAP(int, fchown, (int fd, uid_t u, gid_t g), (fd, u, g), fd, NULL)
WRAP(int, fchownat, (int fd, const char *path, uid_t u, gid_t g, int flags),
     (fd, path, u, g, flags), fd, path)
WRAP(int, fsetxattr, (int fd, const char *name, const void *p, size_t n, int flags),
     (fd, name, p, n, flags), fd, NULL)

WRAP(int, futimens, (int fd, const struct timespec t[2]), (fd, t), fd, NULL)
WRAP(int, utimensat, (int fd, const char *path, const struct timespec t[2], int flags),
     (fd, path, t, flags), fd, path)

#define WRAP_OPEN(name)                                                                            \
	int name(int fd, const char *path, int flags, ...)                                         \
	{                                                                                          \
		static int (*next)(int, const char *, int, ...);                                   \
		va_list ap;                                                                        \
		mode_t mode;                                                                       \
                                                                                                   \
		va_start(ap, flags);                                                               \
		mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;                     \
		va_end(ap);                                                                        \
		if (!next)                                                                         \
			next = dlsym(RTLD_NEXT, #name);                                            \
		if ((flags & O_CREAT) && fails(fd, path, #name))                                   \
			return -1;                                                                 \
		return next(fd, path, flags, mode);                                                \
	}
WRAP_OPEN(openat)
WRAP_OPEN(openat64)

#define WRAP_OPEN1(name)                                                                           \
	int name(const char *path, int flags, ...)                                                 \
	{                                                                                          \
		static int (*next)(const char *, int, ...);                                        \
		va_list ap;                                                                        \
		mode_t mode;                                                                       \
                                                                                                   \
		va_start(ap, flags);                                                               \
		mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;                     \
		va_end(ap);                                                                        \
		if (!next)                                                                         \
			next = dlsym(RTLD_NEXT, #name);                                            \
		if ((flags & O_CREAT) && fails(AT_FDCWD, path, #name))                             \
			return -1;                                                                 \
		return next(path, flags, mode);                                                    \
	}
WRAP_OPEN1(open)
WRAP_OPEN1(open64)
