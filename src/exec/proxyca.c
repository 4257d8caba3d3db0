#include "exec/proxyca.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/inroot.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIMIT_BUNDLE (10 * MIB)
#define BEGIN "\n# buildkit proxy CA begin\n"
#define END "# buildkit proxy CA end\n"

/* Where the TLS libraries of Linux distributions look. */
static const char *const bundles[] = {
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/pki/tls/cacert.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/cert.pem",
};

/* What a step has made of it may be anything: never waits, never reads a device. *ret_found false:
 * there is no regular file. */
static struct err *read_bundle(int rootfd, const char *path, struct buf *out, struct stat *st,
			       bool *ret_found)
{
	CLEANUP_FD int fd = -1;
	struct err *e =
		inroot_open(rootfd, str_from(path), O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd);

	*ret_found = false;
	if (e) {
		bool gone = err_get_errno(e) == ENOENT || err_get_errno(e) == ENOTDIR ||
			    err_get_errno(e) == ENXIO;

		if (!gone)
			return e;
		err_free(e);
		return NULL;
	}
	if (fstat(fd, st) < 0)
		return err_errno(errno, "stat %s", path);
	if (!S_ISREG(st->st_mode))
		return NULL;
	*ret_found = true;
	if ((uint64_t)st->st_size > LIMIT_BUNDLE)
		return err_new(ERR_RESOURCE_EXHAUSTED, "%s exceeds %zu bytes", path + 1,
			       (size_t)LIMIT_BUNDLE);
	TRYW(fd_read_all(fd, out), "read %s", path);
	if (buf_str(out).len > LIMIT_BUNDLE)
		return err_new(ERR_RESOURCE_EXHAUSTED, "%s exceeds %zu bytes", path + 1,
			       (size_t)LIMIT_BUNDLE);
	return buf_check(out, path);
}

/* In the place of the old one, with its owner and mode; through links, but not out of the root. */
static struct err *write_bundle(int rootfd, const char *path, struct str text,
				const struct stat *st)
{
	CLEANUP_FD int dir = -1;
	struct timespec times[2] = { st->st_atim, st->st_mtim };
	SCOPED_ARENA(a);
	struct str real;
	const char *base;

	TRY(inroot_resolve(rootfd, str_from(path), true, &a, &real));
	TRY(inroot_parent(rootfd, real, &a, &dir, &base));
	TRYW(file_replace(dir, base, text, st->st_mode & 07777, FILE_NO_SYNC), "write %s", path);
	if (fchownat(dir, base, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(errno, "chown %s", path);
	(void)utimensat(dir, base, times, AT_SYMLINK_NOFOLLOW);
	return NULL;
}

struct err *proxyca_add(int rootfd, struct str pem, struct proxyca *ret)
{
	*ret = (struct proxyca) { .pem = pem };
	if (!pem.len)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(bundles); i++) {
		SCOPED_BUF(text, LIMIT_BUNDLE + 64 * KIB);
		struct stat st;
		bool found;

		TRY(read_bundle(rootfd, bundles[i], &text, &st, &found));
		if (!found)
			continue;
		buf_add_cstr(&text, BEGIN);
		buf_add_str(&text, pem);
		buf_add_cstr(&text, END);
		ret->bundle = bundles[i];
		return write_bundle(rootfd, bundles[i], buf_str(&text), &st);
	}
	return NULL;
}

/* A step may have made other files of it: the certificate itself goes wherever it is. */
void proxyca_cut(struct str text, struct str pem, struct buf *out)
{
	SCOPED_BUF(whole, 64 * KIB);
	struct str cut[2];

	buf_add_cstr(&whole, BEGIN);
	buf_add_str(&whole, pem);
	buf_add_cstr(&whole, END);
	cut[0] = buf_str(&whole);
	cut[1] = pem;
	while (text.len) {
		ptrdiff_t at = -1, here;
		size_t len = 0;

		for (size_t i = 0; i < ARRAY_SIZE(cut); i++) {
			here = cut[i].len ? str_find_str(text, cut[i]) : -1;
			if (here < 0 || (at >= 0 && here >= at))
				continue;
			at = here;
			len = cut[i].len;
		}
		if (at < 0)
			break;
		buf_add_str(out, str_sub(text, 0, (size_t)at));
		text = str_sub(text, (size_t)at + len, text.len);
	}
	buf_add_str(out, text);
}

struct err *proxyca_remove(int rootfd, struct proxyca *c)
{
	SCOPED_BUF(text, LIMIT_BUNDLE + 64 * KIB);
	SCOPED_BUF(rest, LIMIT_BUNDLE + 64 * KIB);
	const char *bundle = c->bundle;
	struct stat st;
	bool found;

	c->bundle = NULL;
	if (!bundle)
		return NULL;
	TRY(read_bundle(rootfd, bundle, &text, &st, &found));
	if (!found)
		return NULL;
	proxyca_cut(buf_str(&text), c->pem, &rest);
	if (str_eq(buf_str(&text), buf_str(&rest)))
		return NULL;
	return write_bundle(rootfd, bundle, buf_str(&rest), &st);
}
