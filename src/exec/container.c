#include "exec/exec_impl.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/task.h"
#include "sys/file.h"

#define LIMIT_PROCESS_JSON (64 * MIB)

struct container {
	struct bundle b;
	struct exec_spec kept; /* what is needed of the specification after the start */
	struct exec_io io;
	struct ctx *ctx; /* its life */
	struct task *task;
	struct lock lock;
	struct cond changed;
	bool running, ended;
	int exit;
	struct err *err; /* of the end */
	unsigned next_exec;
};

static struct str *keep_strs(struct arena *a, const struct str *v, size_t n)
{
	struct str *out = ARENA_NEW_N(a, struct str, n + 1);

	for (size_t i = 0; i < n; i++)
		out[i] = str_dup(a, v[i]);
	return out;
}

static void keep_spec(struct container *c, const struct exec_spec *s)
{
	struct arena *a = &c->b.arena;
	struct exec_ulimit *u = ARENA_NEW_N(a, struct exec_ulimit, s->n_ulimits + 1);
	int32_t *codes = ARENA_NEW_N(a, int32_t, s->n_valid_exit_codes + 1);

	for (size_t i = 0; i < s->n_ulimits; i++)
		u[i] = (struct exec_ulimit) { str_dup(a, s->ulimits[i].name), s->ulimits[i].soft,
					      s->ulimits[i].hard };
	for (size_t i = 0; i < s->n_valid_exit_codes; i++)
		codes[i] = s->valid_exit_codes[i];
	c->kept = (struct exec_spec) {
		.process = { .env = keep_strs(a, s->process.env, s->process.n_env),
			     .n_env = s->process.n_env,
			     .cwd = str_dup(a, s->process.cwd),
			     .tty = s->process.tty },
		.insecure = s->insecure,
		.proxy = s->proxy,
		.ulimits = u,
		.n_ulimits = s->n_ulimits,
		.valid_exit_codes = s->valid_exit_codes ? codes : NULL,
		.n_valid_exit_codes = s->n_valid_exit_codes,
	};
	c->b.spec = &c->kept;
}

/* ---- the first process ---- */

static void note_running(void *arg)
{
	struct container *c = arg;

	if (c->io.started)
		c->io.started(c->io.arg);
	LOCKED(&c->lock);
	c->running = true;
	cond_broadcast(&c->changed);
}

static struct err *live(struct ctx *ctx, void *arg)
{
	struct container *c = arg;
	int code = 0;
	struct err *e = bundle_run(&c->b, ctx, &c->io, note_running, c, &code);

	e = bundle_end_proxy(&c->b, e);

	LOCKED(&c->lock);
	c->exit = code;
	c->err = e;
	c->running = false;
	c->ended = true;
	cond_broadcast(&c->changed);
	return NULL;
}

static struct err *wait_running(struct container *c, struct ctx *ctx)
{
	LOCKED(&c->lock);
	while (!c->running && !c->ended)
		TRY(cond_wait(&c->changed, &c->lock, ctx));
	return NULL;
}

struct err *container_start(struct executor *e, struct ctx *ctx, const struct exec_spec *spec,
			    const struct exec_io *io, struct container **ret)
{
	struct container *c;
	struct err *err;

	TRY(exec_check(e, spec));
	TRY(ctx_err(ctx));
	c = NEW(struct container);
	err = bundle_make(e, ctx, spec, &c->b);
	if (err) {
		free(c);
		return err;
	}
	keep_spec(c, spec);
	c->io = *io;
	lock_init(&c->lock, LOCK_EXEC);
	cond_init(&c->changed);
	c->ctx = ctx_new_root(e->pool);
	c->task = task_start(c->ctx, "container", live, c);
	err = wait_running(c, ctx);
	if (err) {
		container_free(c);
		return err;
	}
	*ret = c;
	return NULL;
}

struct err *container_wait(struct container *c, struct ctx *ctx, int *ret_exit)
{
	LOCKED(&c->lock);
	while (!c->ended)
		TRY(cond_wait(&c->changed, &c->lock, ctx));
	*ret_exit = c->exit;
	return c->err ? err_dup(c->err) : NULL;
}

void container_free(struct container *c)
{
	if (!c)
		return;
	ctx_cancel(c->ctx, NULL);
	err_free(task_wait(c->task));
	bundle_release(&c->b);
	ctx_unref(c->ctx);
	cond_fini(&c->changed);
	lock_fini(&c->lock);
	err_free(c->err);
	free(c);
}

/* ---- further ones ---- */

static struct err *must_run(struct container *c, unsigned *ret_number)
{
	LOCKED(&c->lock);
	if (c->ended)
		return err_new(ERR_UNKNOWN, "container %s has stopped", c->b.id);
	*ret_number = c->next_exec++;
	return NULL;
}

/* What the process leaves open is the first one's. */
static struct err *write_process(struct container *c, const struct exec_process *p, struct arena *a,
				 struct str *ret)
{
	SCOPED_BUF(out, LIMIT_PROCESS_JSON);
	struct exec_process full = *p;
	struct exec_user user = c->b.user;
	struct spec_in in;

	if (!full.cwd.len)
		full.cwd = c->kept.process.cwd;
	if (!full.n_env) {
		full.env = c->kept.process.env;
		full.n_env = c->kept.process.n_env;
	}
	if (full.user.len)
		TRY(users_lookup(c->b.rootfd, full.user, a, &user));
	bundle_spec_in(&c->b, &in);
	in.user = &user;
	spec_write_process(&in, &full, &out);
	TRY(buf_check(&out, "configuration of the process"));
	*ret = str_dup(a, buf_str(&out));
	return NULL;
}

struct err *container_exec(struct container *c, struct ctx *ctx, const struct exec_process *p,
			   const struct exec_io *io, int *ret_exit)
{
	SCOPED_ARENA(a);
	struct runc_job j = { .id = c->b.id,
			      .dir = c->b.dir,
			      .cgroup = "",
			      .io = io,
			      .tty = p->tty,
			      .started = io->started,
			      .started_arg = io->arg };
	struct native_job n = { .job = &j, .filtered = !c->kept.insecure, .target_fd = -1 };
	struct proc_status st;
	unsigned number;

	TRY(exec_check_process(p));
	TRY(must_run(c, &number));
	j.process = arena_printf(&a, "%s/process%u.json", c->b.dir, number);
	j.pid_name = arena_printf(&a, "pid%u", number);
	TRY(write_process(c, p, &a, &n.config));
	if (c->b.e->is_native) {
		j.cgroup = bundle_own_cgroup(&c->b);
		n.target_fd = c->b.init_fd;
	} else {
		TRY(file_write(AT_FDCWD, j.process, n.config, 0600));
	}
	TRY(executor_run_job(c->b.e, ctx, &n, &st));
	*ret_exit = st.code;
	return st.code ? exec_exit_error(st.code, false) : NULL;
}
