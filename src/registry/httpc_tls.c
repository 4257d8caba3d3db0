/* Settings of TLS peers, read from files. */
#include "registry/httpc.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/vec.h"
#include "codec/digest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

typedef VEC(struct httpc_keypair) pairs_vec;

static void dir_closep(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

static struct err *read_pem(const char *path, struct buf *out)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(errno, "open %s", path);
	for (;;) {
		char chunk[8192];
		ssize_t n = read(fd, chunk, sizeof(chunk));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(errno, "read %s", path);
		if (!n)
			break;
		buf_add(out, chunk, (size_t)n);
	}
	buf_add_char(out, '\n');
	return buf_check(out, path);
}

static struct err *read_dir(struct arena *a, const char *path, struct buf *pem, pairs_vec *pairs)
{
	CLEANUP(dir_closep) DIR *d = opendir(path);
	struct dirent *ent;

	if (!d)
		return errno == ENOENT ? NULL : err_errno(errno, "open %s", path);
	while ((ent = readdir(d))) {
		struct str name = str_from(ent->d_name);

		if (str_has_suffix(name, STR(".crt"))) {
			TRY(read_pem(arena_printf(a, "%s/%s", path, ent->d_name), pem));
		} else if (str_has_suffix(name, STR(".cert"))) {
			struct httpc_keypair p;

			p.cert = arena_printf(a, "%s/%s", path, ent->d_name);
			name = str_trim_suffix(name, STR(".cert"));
			p.key = arena_printf(a, "%s/%.*s.key", path, STR_ARG(name));
			vec_push(pairs, p);
		}
	}
	return NULL;
}

static void make_id(struct arena *a, struct httpc_tls *t)
{
	CLEANUP(hasher_freep) struct hasher *h = hasher_new(DIGEST_SHA256);
	struct digest d;

	hasher_add_str(h, t->ca_pem);
	for (size_t i = 0; i < t->n_keypairs; i++) {
		hasher_add(h, t->keypairs[i].cert, strlen(t->keypairs[i].cert) + 1);
		hasher_add(h, t->keypairs[i].key, strlen(t->keypairs[i].key) + 1);
	}
	d = hasher_sum(h);
	t->id = arena_printf(a, "%s%s", t->insecure ? "insecure " : "", digest_hex(&d, a));
}

static struct err *load(struct arena *a, const struct str *ca_files, size_t n_ca_files,
			const struct str *dirs, size_t n_dirs, struct buf *pem, pairs_vec *pairs)
{
	for (size_t i = 0; i < n_ca_files; i++)
		TRY(read_pem(str_cstr(a, ca_files[i]), pem));
	for (size_t i = 0; i < n_dirs; i++)
		TRY(read_dir(a, str_cstr(a, dirs[i]), pem, pairs));
	return NULL;
}

struct err *httpc_tls_load(struct arena *a, const struct str *ca_files, size_t n_ca_files,
			   const struct str *cert_files, const struct str *key_files,
			   size_t n_pairs, const struct str *dirs, size_t n_dirs, bool insecure,
			   struct httpc_tls *ret)
{
	SCOPED_BUF(pem, LIMIT_TLS_ROOTS);
	pairs_vec pairs = VEC_INIT;
	struct httpc_tls t = { .insecure = insecure };
	struct err *e;

	for (size_t i = 0; i < n_pairs; i++) {
		struct httpc_keypair p = { str_cstr(a, cert_files[i]), str_cstr(a, key_files[i]) };

		vec_push(&pairs, p);
	}
	e = load(a, ca_files, n_ca_files, dirs, n_dirs, &pem, &pairs);
	if (!e) {
		t.ca_pem = str_dup(a, buf_str(&pem));
		t.n_keypairs = pairs.len;
		if (pairs.len)
			t.keypairs = arena_dup(a, pairs.items, pairs.len * sizeof(*pairs.items));
		make_id(a, &t);
		*ret = t;
	}
	vec_fini(&pairs);
	return e;
}
