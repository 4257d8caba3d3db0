/* Layer archives, unpacked in a scratch folder. The first byte says how: 1 as an overlay's upper
 * directory, 2 with a view of lower layers, 4 leaves the headers' checksums as they are (else they
 * are made right, which mutations of other fields need). Nothing may change outside the root. */
#include "base/mem.h"
#include "base/task.h"
#include "snapshot/diff.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/rmtree.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	char path[64];
	int fd;
	struct task_pool *pool;
	struct ctx *ctx;
} t;

static void clean_up(void)
{
	err_free(rmtree(AT_FDCWD, t.path));
	(void)close(t.fd);
	ctx_unref(t.ctx);
	task_pool_free(t.pool);
}

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void set_up(void)
{
	const struct rlimit files = { 16 << 20, 16 << 20 };
	const char *dir = getenv("TMPDIR");

	(void)signal(SIGXFSZ, SIG_IGN);
	(void)setrlimit(RLIMIT_FSIZE, &files);
	(void)snprintf(t.path, sizeof(t.path), "%s/fuzz-apply-XXXXXX", dir ? dir : "/tmp");
	must(mkdtemp(t.path));
	t.fd = open(t.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(mkdirat(t.fd, "lower", 0755) == 0 && mkdirat(t.fd, "lower/d", 0711) == 0 &&
	     symlinkat("../../outside", t.fd, "lower/up") == 0);
	must(!file_write(t.fd, "lower/d/f", STR("low"), 0644));
	must(!file_write(t.fd, "outside", STR("safe"), 0644));
	t.pool = task_pool_new();
	t.ctx = ctx_new_root(t.pool);
	(void)atexit(clean_up);
}

static void check_outside(void)
{
	SCOPED_BUF(b, 100);
	struct stat st;

	must(!file_read(t.fd, "outside", &b) && !strcmp(buf_cstr(&b), "safe"));
	must(fstatat(t.fd, "outside", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	     (st.st_mode & 07777) == 0644 && st.st_nlink == 1);
	must(fstat(t.fd, &st) == 0 && st.st_nlink == 4);
}

#define BLOCK 512

static void fix_checksums(uint8_t *p, size_t size)
{
	for (size_t at = 0; at + BLOCK <= size;) {
		uint8_t *b = p + at;
		char text[13] = { 0 };
		unsigned sum = 0;
		unsigned long len;

		memset(b + 148, ' ', 8);
		for (size_t i = 0; i < BLOCK; i++)
			sum += b[i];
		if (sum == 8 * ' ')
			return; /* the end */
		(void)snprintf(text, sizeof(text), "%06o", sum);
		memcpy(b + 148, text, 7);
		memcpy(text, b + 124, 12);
		len = strtoul(text, NULL, 8);
		if (len > size)
			return;
		at += BLOCK + (len + BLOCK - 1) / BLOCK * BLOCK;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP_FREE uint8_t *copy = NULL;
	struct apply_opts o = { .lower_fd = -1 };
	struct reader *r;
	int root = -1;

	if (!size)
		return 0;
	if (!t.pool)
		set_up();
	must(mkdirat(t.fd, "root", 0755) == 0);
	must(!fd_open_dir(t.fd, "root", &root));
	o.whiteouts_overlay = data[0] & 1;
	if (data[0] & 2)
		must(!fd_open_dir(t.fd, "lower", &o.lower_fd));
	copy = mem_dup(data + 1, size - 1);
	if (!(data[0] & 4))
		fix_checksums(copy, size - 1);
	r = reader_of_str(str_make(copy, size - 1));
	err_free(snapshot_apply(t.ctx, root, r, &o, NULL));
	reader_close(r);
	check_outside();
	if (o.lower_fd >= 0)
		(void)close(o.lower_fd);
	(void)close(root);
	must(!rmtree(t.fd, "root"));
	return 0;
}
