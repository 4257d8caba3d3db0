/* LMDB back end: groups, growth, power loss, kill, full disk. */
#include "kv/kv_impl.h"

#include "base/arena.h"
#include "base/mem.h"
#include "base/task.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define OK(expr)                                                                                   \
	do {                                                                                       \
		struct err *ok_ = (expr);                                                          \
		if (ok_)                                                                           \
			fail_msg("%s", err_text(ok_));                                             \
	} while (0)

#define BOOT_A STR("aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa")
#define BOOT_B STR("bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb")

static char dir[64], data[96], mark[96];

static int setup(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/test-kv-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(data, sizeof(data), "%s/data.1", dir);
	(void)snprintf(mark, sizeof(mark), "%s/mark", dir);
	return 0;
}

static int teardown(void **state)
{
	char cmd[128];

	(void)state;
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static void put(struct kv *kv, enum kv_mode mode, size_t i, const char *value)
{
	char key[32];

	(void)snprintf(key, sizeof(key), "key-%06zu", i);
	OK(kv_put1(kv, mode, "t", str_from(key), str_from(value)));
}

static bool count(void *arg, struct str key, struct str value)
{
	(void)key, (void)value;
	++*(size_t *)arg;
	return true;
}

static struct err *count_all(struct kv_txn *t, void *arg)
{
	return kv_scan(t, "t", STR_NONE, count, arg);
}

static size_t count_rows(struct kv *kv)
{
	size_t n = 0;

	OK(kv_view(kv, count_all, &n));
	return n;
}

static void expect(struct kv *kv, size_t i, const char *value)
{
	SCOPED_ARENA(a);
	struct str got;
	bool found;
	char key[32];

	(void)snprintf(key, sizeof(key), "key-%06zu", i);
	OK(kv_get1(kv, "t", str_from(key), &a, &got, &found));
	assert_int_equal(found, value != NULL);
	if (value)
		assert_string_equal(got.ptr, value);
}

/* A forked child with threads is more than the thread sanitiser can follow. */
static void skip_if_no_fork(void)
{
#ifdef __SANITIZE_THREAD__
	skip();
#endif
}

static void survives_close(void **state)
{
	struct kv *kv;
	SCOPED_ERR(e);

	(void)state;
	OK(kv_open_as(dir, BOOT_A, 0, &kv));
	put(kv, KV_LAZY, 1, "one");
	put(kv, KV_DURABLE, 2, "two");
	put(kv, KV_LAZY, 3, "three");
	e = kv_open_as(dir, BOOT_A, 0, &kv);
	assert_true(err_is(e, ERR_FAILED_PRECONDITION));
	OK(kv_close(kv));
	for (int i = 0; i < 2; i++) {
		OK(kv_open_as(dir, i ? BOOT_A : BOOT_B, 0, &kv));
		expect(kv, 1, "one");
		expect(kv, 2, "two");
		expect(kv, 3, "three");
		OK(kv_close(kv));
	}
}

/* ---- groups ---- */

struct worker {
	struct kv *kv;
	size_t i, n;
	atomic_int *failures;
};

static struct err *maybe_fail(struct kv_txn *t, void *arg)
{
	struct worker *w = arg;
	char key[32];

	(void)snprintf(key, sizeof(key), "key-%06zu", w->i);
	TRY(kv_put(t, "t", str_from(key), STR("v")));
	return w->i % 7 == 3 ? err_new(ERR_ABORTED, "no") : NULL;
}

static struct err *work(struct ctx *ctx, void *arg)
{
	struct worker *w = arg, one;

	(void)ctx;
	for (size_t i = 0; i < w->n; i++) {
		struct err *e;

		one = *w;
		one.i = w->i * w->n + i;
		e = kv_update(w->kv, i % 5 ? KV_LAZY : KV_DURABLE, maybe_fail, &one);
		assert_int_equal(e != NULL, one.i % 7 == 3);
		if (!e)
			expect(w->kv, one.i, "v");
		err_free(e);
	}
	return NULL;
}

static void many_threads(void **state)
{
	struct task_pool *pool = task_pool_new();
	struct ctx *ctx = ctx_new_root(pool);
	enum { THREADS = 150, EACH = 20 };
	struct worker workers[THREADS];
	struct task_group g;
	struct kv *kv;
	size_t want = 0;

	(void)state;
	OK(kv_open_as(dir, BOOT_A, 0, &kv));
	task_group_init(&g, ctx, 0);
	for (size_t i = 0; i < THREADS; i++) {
		workers[i] = (struct worker) { .kv = kv, .i = i, .n = EACH };
		task_group_go(&g, "work", work, &workers[i]);
	}
	OK(task_group_wait(&g));
	for (size_t i = 0; i < (size_t)THREADS * EACH; i++)
		want += i % 7 != 3;
	assert_int_equal(count_rows(kv), want);
	OK(kv_close(kv));
	OK(kv_open_as(dir, BOOT_B, 0, &kv));
	assert_int_equal(count_rows(kv), want);
	OK(kv_close(kv));
	ctx_unref(ctx);
	task_pool_free(pool);
}

/* ---- growth, compaction ---- */

static void grows_and_shrinks(void **state)
{
	CLEANUP_FREE char *big = mem_alloc(100001);
	struct stat before, after;
	char second[96];
	struct kv *kv;

	(void)state;
	memset(big, 'x', 100000);
	OK(kv_open_as(dir, BOOT_A, 256 * 1024, &kv));
	for (size_t i = 0; i < 800; i++)
		put(kv, KV_LAZY, i, big);
	assert_int_equal(count_rows(kv), 800);
	for (size_t i = 1; i < 800; i++) {
		char key[32];

		(void)snprintf(key, sizeof(key), "key-%06zu", i);
		OK(kv_del1(kv, KV_LAZY, "t", str_from(key)));
	}
	OK(kv_close(kv));
	assert_int_equal(stat(data, &before), 0);
	OK(kv_open_as(dir, BOOT_A, 0, &kv));
	expect(kv, 0, big);
	put(kv, KV_DURABLE, 7, "seven");
	OK(kv_close(kv));
	(void)snprintf(second, sizeof(second), "%s/data.2", dir);
	assert_int_equal(stat(data, &after), -1);
	assert_int_equal(stat(second, &after), 0);
	assert_true(after.st_size < before.st_size / 10);
	OK(kv_open_as(dir, BOOT_B, 0, &kv));
	expect(kv, 0, big);
	expect(kv, 7, "seven");
	assert_int_equal(count_rows(kv), 2);
	OK(kv_close(kv));
}

/* ---- power loss ---- */

static char *slurp(const char *path, size_t *ret_len)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *p;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	p = mem_alloc((size_t)st.st_size);
	assert_int_equal(read(fd, p, (size_t)st.st_size), st.st_size);
	(void)close(fd);
	*ret_len = (size_t)st.st_size;
	return p;
}

static void spill(const char *path, const char *p, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, len), len);
	(void)close(fd);
}

/* The disk after the power went: each page as it was at the last sync or as it was written since,
 * by chance. */
static void power_loss(void **state)
{
	struct kv *kv;

	(void)state;
	skip_if_no_fork();
	for (unsigned round = 0; round < 20; round++) {
		CLEANUP_FREE char *synced = NULL, *written = NULL, *m = NULL;
		size_t n_synced, n_written, n_mark;
		unsigned seed = round + 1;
		uint64_t seq[2];
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			OK(kv_open_as(dir, round & 1 ? BOOT_A : BOOT_B, 0, &kv));
			if (round)
				for (size_t i = 0; i < 200; i++)
					expect(kv, i, i % 3 ? "durable" : "again");
			for (size_t i = 0; i < 200; i++)
				put(kv, KV_LAZY, i, "durable");
			for (size_t i = 0; i < 200; i += 3)
				put(kv, i % 30 ? KV_LAZY : KV_DURABLE, i, "again");
			put(kv, KV_DURABLE, 1, "durable");
			assert_int_equal(count_rows(kv), 200);
			synced = slurp(data, &n_synced);
			m = slurp(mark, &n_mark);
			/* Fewer than what makes a mark due: the pages of this one are kept. */
			for (size_t i = 0; i < 300; i++)
				put(kv, KV_LAZY, i % 250, "lost");
			written = slurp(data, &n_written);
			assert_true(n_written >= n_synced);
			for (size_t at = 0; at < n_synced; at += 4096)
				if (rand_r(&seed) & 1)
					memcpy(written + at, synced + at, 4096);
			for (size_t at = n_synced; at < n_written; at += 4096)
				if (rand_r(&seed) & 1)
					memset(written + at, 0, 4096);
			/* The next mark, torn: it goes where the older one is. */
			memcpy(seq, m + 8, sizeof(*seq));
			memcpy(seq + 1, m + 4096 + 8, sizeof(*seq));
			memset(m + (seq[0] < seq[1] ? 0 : 4096) + 100, 0x55, 50);
			spill(data, written, n_written);
			spill(mark, m, n_mark);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	OK(kv_open_as(dir, BOOT_B, 0, &kv));
	OK(kv_close(kv));
}

/* Before the first sync: a kill loses nothing, a power loss everything, and nothing is damaged. */
static void new_store(void **state)
{
	struct kv *kv;

	(void)state;
	skip_if_no_fork();
	for (unsigned round = 0; round < 3; round++) {
		pid_t pid;
		int status;

		(void)unlink(data);
		(void)unlink(mark);
		pid = fork();
		if (pid == 0) {
			OK(kv_open_as(dir, BOOT_A, 0, &kv));
			put(kv, KV_LAZY, 1, "early");
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		if (round == 2) {
			/* Torn, and no data file at all. */
			size_t n;
			CLEANUP_FREE char *m = slurp(mark, &n);

			memset(m + 4096 + 100, 0x55, 50);
			spill(mark, m, n);
			assert_int_equal(unlink(data), 0);
		}
		OK(kv_open_as(dir, round ? BOOT_B : BOOT_A, 0, &kv));
		assert_int_equal(count_rows(kv), round ? 0 : 1);
		put(kv, KV_DURABLE, 1, "later");
		OK(kv_close(kv));
		OK(kv_open_as(dir, BOOT_A, 0, &kv));
		expect(kv, 1, "later");
		OK(kv_close(kv));
	}
}

static void kill_at_any_point(void **state)
{
	struct kv *kv;
	int last = -1;

	(void)state;
	skip_if_no_fork();
	for (unsigned round = 0; round < 20; round++) {
		int fds[2], status, got = last;
		pid_t pid;

		assert_int_equal(pipe(fds), 0);
		pid = fork();
		if (pid == 0) {
			OK(kv_open_as(dir, BOOT_A, 0, &kv));
			for (int i = last + 1;; i++) {
				put(kv, i % 5 ? KV_LAZY : KV_DURABLE, (size_t)i, "v");
				assert_int_equal(write(fds[1], &i, sizeof(i)), sizeof(i));
			}
		}
		(void)close(fds[1]);
		while (got < last + 20 + (int)round)
			assert_int_equal(read(fds[0], &got, sizeof(got)), sizeof(got));
		(void)kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		while (read(fds[0], &got, sizeof(got)) == sizeof(got))
			;
		(void)close(fds[0]);
		OK(kv_open_as(dir, BOOT_A, 0, &kv));
		/* All that was told, and at most the one under way. */
		assert_in_range(count_rows(kv), got + 1, got + 2);
		last = (int)count_rows(kv) - 1;
		OK(kv_close(kv));
	}
}

/* ---- full disk ---- */

static void full_disk(void **state)
{
	CLEANUP_FREE char *big = mem_alloc(50001);
	struct err *e = NULL;
	struct kv *kv;
	size_t n = 0, rows;
	char key[32];

	(void)state;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip();
	assert_int_equal(mount("t", dir, "tmpfs", 0, "size=2m"), 0);
	memset(big, 'x', 50000);
	OK(kv_open_as(dir, BOOT_A, 0, &kv));
	for (; !e && n < 1000; n++) {
		(void)snprintf(key, sizeof(key), "key-%06zu", n);
		e = kv_put1(kv, n & 1 ? KV_LAZY : KV_DURABLE, "t", str_from(key), str_from(big));
	}
	assert_non_null(e);
	assert_int_equal(err_get_errno(e), ENOSPC);
	err_free(e);
	rows = count_rows(kv);
	assert_int_equal(rows, n - 1);
	/* Small ones may still fit, room comes back, and all goes on. */
	for (size_t i = 0; i < n / 2; i++) {
		(void)snprintf(key, sizeof(key), "key-%06zu", i);
		err_free(kv_del1(kv, KV_DURABLE, "t", str_from(key)));
	}
	for (int i = 0; i < 5; i++)
		put(kv, KV_DURABLE, 0, "small");
	rows = count_rows(kv);
	OK(kv_close(kv));
	OK(kv_open_as(dir, BOOT_B, 0, &kv));
	assert_int_equal(count_rows(kv), rows);
	expect(kv, 0, "small");
	OK(kv_close(kv));
	assert_int_equal(umount(dir), 0);
}

static void lazy_reaches_the_disk(void **state)
{
	CLEANUP_FREE char *before = NULL, *after = NULL;
	struct kv *kv;
	size_t n;

	(void)state;
	OK(kv_open_as(dir, BOOT_A, 0, &kv));
	before = slurp(mark, &n);
	put(kv, KV_LAZY, 1, "one");
	for (int i = 0; i < 300; i++) {
		free(after);
		after = slurp(mark, &n);
		if (memcmp(before, after, n) != 0)
			break;
		usleep(10000);
	}
	assert_memory_not_equal(before, after, n);
	OK(kv_close(kv));
}

static void no_descriptor_leaks_into_children(void **state)
{
	struct kv *kv;
	char cmd[128];

	(void)state;
	OK(kv_open_as(dir, BOOT_A, 0, &kv));
	(void)snprintf(cmd, sizeof(cmd), "! ls -l /proc/self/fd | grep -q %s", dir);
	assert_int_equal(system(cmd), 0);
	OK(kv_close(kv));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(survives_close),
		T(many_threads),
		T(grows_and_shrinks),
		T(power_loss),
		T(new_store),
		T(kill_at_any_point),
		T(lazy_reaches_the_disk),
		T(no_descriptor_leaks_into_children),
		T(full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
