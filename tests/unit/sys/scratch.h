/* A folder for a test, removed after it, and checks on errors. */
#ifndef TESTS_SYS_SCRATCH_H
#define TESTS_SYS_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/rmtree.h"

struct scratch {
	char path[64];
	int fd;
};

static inline void assert_ok_at(struct err *e, const char *file, int line)
{
	if (!e)
		return;
	print_error("%s:%d: %s\n", file, line, err_text(e));
	err_free(e);
	fail();
}
#define assert_ok(e) assert_ok_at((e), __FILE__, __LINE__)

/* Fails unless there is an error whose text has `part` in it. */
static inline void assert_err_at(struct err *e, const char *part, const char *file, int line)
{
	if (!e || !strstr(err_text(e), part)) {
		print_error("%s:%d: got \"%s\", wanted \"%s\"\n", file, line, err_text(e), part);
		err_free(e);
		fail();
	}
	err_free(e);
}
#define assert_err(e, part) assert_err_at((e), (part), __FILE__, __LINE__)

static inline int scratch_setup(void **state)
{
	struct scratch *s = NEW(struct scratch);
	const char *dir = getenv("TMPDIR");

	(void)snprintf(s->path, sizeof(s->path), "%s/bk-test-XXXXXX", dir ? dir : "/tmp");
	if (!mkdtemp(s->path))
		return -1;
	s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = s;
	return s->fd < 0 ? -1 : 0;
}

static inline int scratch_teardown(void **state)
{
	struct scratch *s = *state;
	struct err *e;

	(void)close(s->fd);
	e = rmtree(AT_FDCWD, s->path);
	if (e)
		print_error("%s\n", err_text(e));
	free(s);
	*state = NULL;
	if (e) {
		err_free(e);
		return -1;
	}
	return 0;
}

static inline void put_file(int dirfd, const char *path, const char *text)
{
	assert_ok(file_write(dirfd, path, str_from(text), 0644));
}

static inline void assert_file(int dirfd, const char *path, const char *text)
{
	SCOPED_BUF(b, 1 << 20);

	assert_ok(file_read(dirfd, path, &b));
	assert_string_equal(buf_cstr(&b), text);
}

#define SCRATCH_TEST(fn) cmocka_unit_test_setup_teardown(fn, scratch_setup, scratch_teardown)
#define need_root()                                                                                \
	do {                                                                                       \
		if (geteuid() != 0)                                                                \
			skip();                                                                    \
	} while (0)

#endif
