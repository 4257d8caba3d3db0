/* A cache on LMDB, overlay snapshots and files, in a directory of its own. */
#ifndef TEST_CACHE_ENV_H
#define TEST_CACHE_ENV_H

#include "base/mem.h"
#include "base/task.h"
#include "cache/cache_impl.h"
#include "kv/kv.h"
#include "snapshot/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define OK(expr)                                                                                   \
	do {                                                                                       \
		struct err *ok_ = (expr);                                                          \
		if (ok_)                                                                           \
			fail_msg("%s", err_text(ok_));                                             \
	} while (0)

#define EXPECT(want, expr)                                                                         \
	do {                                                                                       \
		struct err *e_ = (expr);                                                           \
		assert_non_null(e_);                                                               \
		if (err_code(e_) != (want))                                                        \
			fail_msg("%s", err_text(e_));                                              \
		err_free(e_);                                                                      \
	} while (0)

struct env {
	char dir[64], tmp[96];
	struct task_pool *pool;
	struct ctx *ctx;
	struct kv *kv;
	struct snapshotter *s;
	struct content *content;
	struct cache *c;
	struct arena a;
};

static inline void env_open(struct env *e)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/kv", e->dir);
	OK(kv_open(path, &e->kv));
	(void)snprintf(path, sizeof(path), "%s/snapshots", e->dir);
	OK(snapshotter_open_overlay(path, e->kv, &e->s));
	(void)snprintf(path, sizeof(path), "%s/content", e->dir);
	OK(content_open_fs(path, e->kv, &e->content));
	OK(cache_open(e->kv, e->s, e->content, e->tmp, e->ctx, &e->c));
}

static inline void env_close(struct env *e)
{
	cache_close(e->c);
	snapshotter_free(e->s);
	content_free(e->content);
	OK(kv_close(e->kv));
}

static inline void env_reopen(struct env *e)
{
	env_close(e);
	env_open(e);
}

static inline int env_setup(void **state)
{
	struct env *e = NEW(struct env);

	(void)snprintf(e->dir, sizeof(e->dir), "/tmp/test-cache-XXXXXX");
	if (!mkdtemp(e->dir))
		return -1;
	(void)snprintf(e->tmp, sizeof(e->tmp), "%s/tmp", e->dir);
	(void)mkdir(e->tmp, 0700);
	e->pool = task_pool_new();
	e->ctx = ctx_new_root(e->pool);
	env_open(e);
	*state = e;
	return 0;
}

static inline int env_teardown(void **state)
{
	struct env *e = *state;
	char cmd[128];

	/* Handles that a failed test left would only abort what else there is to say. */
	if (cache_n_held(e->c))
		return -1;
	env_close(e);
	ctx_unref(e->ctx);
	task_pool_free(e->pool);
	arena_fini(&e->a);
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", e->dir);
	free(e);
	return system(cmd);
}

/* Overlays are mounted where nobody else sees them. Before any thread is started. */
static inline bool env_init(void)
{
	return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static inline void env_write(const struct mounts *m, const char *tmp, const char *name,
			     const char *text)
{
	struct localmount *l;
	int fd;

	OK(localmount_open(m, tmp, &l));
	fd = openat(localmount_dirfd(l), name, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
	localmount_close(l);
}

static inline struct cache_mut *env_mut(struct env *e, struct cache_ref *parent,
					const struct cache_opts *o, const char *name,
					const char *text)
{
	struct cache_mut *m;
	struct mounts *mounts;

	OK(cache_new(e->c, e->ctx, parent, o, &m));
	OK(cache_mut_mounts(m, e->ctx, &e->a, false, &mounts));
	if (name)
		env_write(mounts, e->tmp, name, text);
	return m;
}

/* A layer with one file. */
static inline struct cache_ref *env_layer(struct env *e, struct cache_ref *parent, const char *name,
					  const char *text)
{
	struct cache_opts o = { .description = str_from(name) };
	struct cache_ref *r;

	OK(cache_mut_commit(env_mut(e, parent, &o, name, text), e->ctx, &r));
	return r;
}

/* NULL: no such file. */
static inline void env_expect(struct env *e, struct cache_ref *r, const char *name,
			      const char *text)
{
	struct localmount *l;
	struct mounts *m;
	char got[256] = "";
	ssize_t n;
	int fd;

	OK(cache_ref_mounts(r, e->ctx, &e->a, &m));
	assert_true(m->readonly);
	OK(localmount_open(m, e->tmp, &l));
	fd = openat(localmount_dirfd(l), name, O_RDONLY | O_CLOEXEC);
	if (text) {
		assert_true(fd >= 0);
		n = read(fd, got, sizeof(got) - 1);
		assert_true(n >= 0);
		assert_string_equal(got, text);
	} else {
		assert_int_equal(fd, -1);
	}
	if (fd >= 0)
		(void)close(fd);
	localmount_close(l);
}

/* The same record id once more, e.g. after a restart. */
static inline struct cache_ref *env_get(struct env *e, const char *id)
{
	struct cache_ref *r;

	OK(cache_get(e->c, e->ctx, str_from(id), &r));
	return r;
}

static inline size_t env_count(struct env *e)
{
	struct cache_usage *u;
	size_t n;

	OK(cache_disk_usage(e->c, e->ctx, &e->a, NULL, 0, 0, &u, &n));
	return n;
}

#define T(f) cmocka_unit_test_setup_teardown(f, env_setup, env_teardown)

#endif
