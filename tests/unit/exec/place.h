/* A scratch directory with an executor in it and a root of busybox, in a mount namespace of our
 * own. What needs root or the runtime is skipped without. */
#ifndef TESTS_EXEC_PLACE_H
#define TESTS_EXEC_PLACE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>

#include "base/limits.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/task.h"
#include "exec/native.h"
#include "exec/reaper.h"
#include "exec/runtime.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/ns.h"
#include "sys/proc.h"
#include "sys/rmtree.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define assert_ok(expr)                                                                            \
	do {                                                                                       \
		struct err *ok_ = (expr);                                                          \
		if (ok_)                                                                           \
			fail_msg("%s: %s", #expr, err_text(ok_));                                  \
	} while (0)

/* Fails with exactly this text. */
#define assert_err(expr, text)                                                                     \
	do {                                                                                       \
		CLEANUP(err_freep) struct err *got_ = (expr);                                      \
		assert_non_null(got_);                                                             \
		assert_string_equal(err_text(got_), text);                                         \
	} while (0)

/* What is to run the steps: NULL for the usual program, or "native". */
static inline const char *test_runtime(void)
{
	return getenv("BK_TEST_RUNTIME");
}

/* The native runner and the reaper start this program once more. */
static __attribute__((constructor)) void offer_helpers(int argc, char **argv)
{
	const struct proc_helper table[] = { exec_native_helper, exec_reaper_helper };

	(void)proc_helper_main(table, ARRAY_SIZE(table), argc, argv);
}

struct place {
	char dir[64];
	struct task_pool *pool;
	struct ctx *ctx;
	struct executor *e;
};
static struct place here;
static const char *skip_reason;

#define NEED_RUNC()                                                                                \
	do {                                                                                       \
		if (skip_reason) {                                                                 \
			print_message("skipped: %s\n", skip_reason);                               \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

static inline const char *at(struct arena *a, const char *name)
{
	return arena_printf(a, "%s/%s", here.dir, name);
}

static inline const char *why_not(void)
{
	SCOPED_ARENA(a);
	const char *p;

	if (geteuid() != 0)
		return "not root";
	if (!proc_find("runc", &a, &p) && !proc_find("buildkit-runc", &a, &p))
		return "no runc";
	if (access("/usr/bin/busybox", X_OK) < 0 && access("/bin/busybox", X_OK) < 0)
		return "no static busybox";
	return NULL;
}

static inline void run_tool(const char *script)
{
	const char *const argv[] = { "sh", "-ec", script, NULL };
	struct proc_spec s = PROC_SPEC_INIT;
	SCOPED_BUF(out, MIB);
	struct proc_status st;

	s.file = "sh";
	s.argv = argv;
	assert_ok(proc_run(&s, here.ctx, STR_NONE, &out, &out, &st));
	if (st.code)
		fail_msg("%s: %s", script, buf_cstr(&out));
}

/* A root with busybox and its usual links, a passwd and a group file. */
static inline void make_root(const char *name)
{
	SCOPED_ARENA(a);

	run_tool(arena_printf(
		&a,
		"mkdir -p %s/%s; cd %s/%s; mkdir bin etc tmp; chmod 1777 tmp;"
		"cp $(command -v busybox) bin/busybox;"
		"for i in sh cat ls id env true false echo sleep head touch stat mkdir rm ln kill "
		"grep "
		"hostname dd yes ps tail wc pwd ulimit mount umount cut sort; do ln -s busybox "
		"bin/$i; done;"
		"printf 'root:x:0:0:root:/root:/bin/sh\\nann:x:1001:1002::/home/ann:/bin/sh\\n'"
		" >etc/passwd;"
		"printf 'root:x:0:\\nann:x:1002:\\nwheel:x:10:root,ann\\nlp:x:7:ann\\n' >etc/group",
		here.dir, name, here.dir, name));
}

static inline struct executor *open_executor_at(const char *root)
{
	struct executor_config c = { .root = root, .net_mode = "host", .runtime = test_runtime() };
	struct executor *e = NULL;

	assert_ok(executor_open(&c, here.ctx, &e));
	return e;
}

static inline int place_setup(void **state)
{
	SCOPED_ARENA(a);
	const char *base = getenv("TMPDIR");

	skip_reason = why_not();
	here.pool = task_pool_new();
	here.ctx = ctx_new_root(here.pool);
	if (skip_reason)
		return 0;
	(void)snprintf(here.dir, sizeof(here.dir), "%.32s/bk-exec-XXXXXX", base ? base : "/tmp");
	assert_non_null(mkdtemp(here.dir));
	assert_int_equal(chmod(here.dir, 0755), 0);
	assert_ok(ns_enter_private_mounts());
	make_root("root");
	here.e = open_executor_at(at(&a, "exec"));
	return 0;
}

static inline int place_teardown(void **state)
{
	if (here.e)
		executor_close(here.e);
	if (!skip_reason)
		assert_ok(rmtree(AT_FDCWD, here.dir));
	ctx_unref(here.ctx);
	task_pool_free(here.pool);
	return 0;
}

/* A step to be run: a shell script in the root, which may be changed before run_step. */
struct step {
	struct arena a;
	struct exec_spec spec;
	struct mounts root;
	struct str args[3], env[2];
	struct buf out[2]; /* of the two streams */
	int code;
};

static inline void step_init(struct step *s, const char *script)
{
	*s = (struct step) { .code = -1 };
	s->root = (struct mounts) { .kind = MOUNT_BIND, .source = str_from(at(&s->a, "root")) };
	s->args[0] = STR("/bin/sh");
	s->args[1] = STR("-c");
	s->args[2] = str_dup(&s->a, str_from(script));
	s->env[0] = STR("PATH=/bin");
	s->spec = (struct exec_spec) {
		.process = { .args = s->args,
			     .n_args = 3,
			     .env = s->env,
			     .n_env = 1,
			     .cwd = STR("/") },
		.root = &s->root,
	};
	buf_init(&s->out[0], 64 * MIB);
	buf_init(&s->out[1], 64 * MIB);
}

static inline void step_fini(struct step *s)
{
	buf_fini(&s->out[0]);
	buf_fini(&s->out[1]);
	arena_fini(&s->a);
}

static inline void step_output(void *arg, int stream, struct str data)
{
	struct step *s = arg;

	buf_add_str(&s->out[stream - 1], data);
}

static inline struct err *run_step_in(struct step *s, struct ctx *ctx)
{
	struct exec_io io = { .stdin_fd = -1, .output = step_output, .arg = s };

	return executor_run(here.e, ctx, &s->spec, &io, &s->code);
}

static inline struct err *run_step(struct step *s)
{
	return run_step_in(s, here.ctx);
}

#define STEP(name, script)                                                                         \
	CLEANUP(step_fini) struct step name;                                                       \
	step_init(&name, script)
#define OUT(s) buf_cstr(&(s).out[0])
#define ERRS(s) buf_cstr(&(s).out[1])

#endif
