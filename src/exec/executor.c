#include "exec/exec_impl.h"

#include "base/limits.h"
#include "base/mem.h"
#include "exec/leftovers.h"
#include "sys/cgroup.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/userns.h"

#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* How long a reaper may take, and how often it is asked. */
#define LOCK_PATIENCE (60 * NSEC_PER_SEC)
#define LOCK_RETRY (5 * NSEC_PER_MSEC)

/* ---- opening ---- */

static const char *dup_cstr(struct arena *a, const char *s)
{
	return s && s[0] ? arena_strdup(a, s) : NULL;
}

static const char *const *dup_list(struct arena *a, const char *const *v, size_t n)
{
	const char **out = ARENA_NEW_N(a, const char *, n + 1);

	for (size_t i = 0; i < n; i++)
		out[i] = arena_strdup(a, v[i]);
	return out;
}

static struct err *find_runtime(const char *wanted, struct arena *a, const char **ret)
{
	static const char *const usual[] = { "buildkit-runc", "runc" };

	if (wanted && wanted[0]) {
		if (proc_find(wanted, a, ret))
			return NULL;
		return err_new(ERR_NOT_FOUND, "failed to find %s binary", wanted);
	}
	for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
		if (proc_find(usual[i], a, ret))
			return NULL;
	return err_new(ERR_NOT_FOUND, "failed to find runc binary");
}

static bool host_has_apparmor(void)
{
	SCOPED_ARENA(a);
	struct str s;
	struct err *e =
		file_read_str(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", &a, 64, &s);

	if (e) {
		err_free(e);
		return false;
	}
	return s.len && s.ptr[0] == 'Y' && file_exists(AT_FDCWD, "/sys/kernel/security/apparmor");
}

static void take_config(struct executor *e, const struct executor_config *c)
{
	struct arena *a = &e->arena;

	e->root = arena_strdup(a, c->root);
	e->driver = c->driver;
	e->bundles = exec_bundles_dir(a, c->root);
	e->runc.state = exec_state_dir(a, c->root);
	e->runc.env = runc_env(a);
	e->cgroup_parent = dup_cstr(a, c->cgroup_parent);
	e->apparmor = dup_cstr(a, c->apparmor_profile);
	e->otel_socket = dup_cstr(a, c->otel_socket);
	e->dns = (struct resolvconf_opts) {
		.nameservers = dup_list(a, c->dns_nameservers, c->n_dns_nameservers),
		.n_nameservers = c->n_dns_nameservers,
		.options = dup_list(a, c->dns_options, c->n_dns_options),
		.n_options = c->n_dns_options,
		.search = dup_list(a, c->dns_search, c->n_dns_search),
		.n_search = c->n_dns_search,
	};
	e->rootless = c->rootless;
	e->host_pid = c->no_process_sandbox;
	e->has_apparmor = host_has_apparmor();
	e->userns = userns_inside();
	e->seccomp = seccomp_probe();
	e->cgroups = !c->rootless && cgroup_mode() != CGROUP_NONE;
	e->cgroup_ns = cgroup_mode() == CGROUP_V2;
}

static struct err *open_net(struct executor *e, const struct executor_config *c, struct ctx *ctx)
{
	struct net_config n = {
		.dir = arena_printf(&e->arena, "%s/net", c->root),
		.proxy_dir = arena_printf(&e->arena, "%s/net-proxy", c->root),
		.mode = c->net_mode,
		.cni_config = c->cni_config,
		.cni_bin_dir = c->cni_bin_dir,
		.pool_size = c->cni_pool_size,
		.bridge_name = c->bridge_name,
		.bridge_subnet = c->bridge_subnet,
		.rootless = c->rootless,
	};

	TRY(file_mkdirs(AT_FDCWD, n.dir, 0700));
	TRY(file_mkdirs(AT_FDCWD, n.proxy_dir, 0700));
	return net_open(&n, ctx, &e->net);
}

/* A reaper that is still busy with what an earlier daemon left has it: it is waited for. The kernel
 * has no wait for a file lock that ends with a ctx. */
static struct err *take_lock(struct executor *e, struct ctx *ctx)
{
	int64_t until = clock_now() + LOCK_PATIENCE;

	TRY(fd_open(AT_FDCWD, arena_printf(&e->arena, "%s/lock", e->root), O_RDWR | O_CREAT, 0600,
		    &e->lock_fd));
	while (flock(e->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_errno(errno, "lock %s", e->root);
		if (clock_now() > until)
			return err_new(ERR_UNAVAILABLE, "%s is in use by another executor",
				       e->root);
		TRY(ctx_sleep(ctx, LOCK_RETRY));
	}
	return NULL;
}

static struct err *open_all(struct executor *e, const struct executor_config *c, struct ctx *ctx)
{
	if (c->no_process_sandbox && !c->rootless)
		return err_new(ERR_INVALID_ARGUMENT,
			       "can't enable NoProcessSandbox without Rootless");
	e->is_native = !e->driver && c->runtime && !strcmp(c->runtime, "native");
	if (e->is_native)
		TRY(native_open(&e->native, e->runc.state, &e->seccomp, &e->arena));
	else if (!e->driver)
		TRY(find_runtime(c->runtime, &e->arena, &e->runc.program));
	TRY(file_mkdirs(AT_FDCWD, e->root, 0711));
	TRY(file_mkdirs(AT_FDCWD, e->bundles, 0711));
	TRY(file_mkdirs(AT_FDCWD, exec_shared_dir(&e->arena, e->root), 0711));
	TRY(file_mkdirs(AT_FDCWD, e->runc.state, 0700));
	TRY(resolvconf_reset(e->root));
	TRY(take_lock(e, ctx));
	TRY(leftovers_remove(e->root, e->driver));
	TRY(open_net(e, c, ctx));
	e->shared = shared_mounts_new(exec_shared_dir(&e->arena, e->root));
	if (c->reaper)
		TRY(reaper_start(&e->reaper, e->root, e->lock_fd));
	return janitor_start(&e->janitor, &e->runc, e->driver, e->bundles);
}

static void close_rest(struct executor *e)
{
	reaper_stop(&e->reaper);
	net_close(e->net);
	shared_mounts_free(e->shared);
	native_close(&e->native);
	if (e->lock_fd >= 0)
		(void)close(e->lock_fd);
	arena_fini(&e->arena);
	free(e);
}

struct err *executor_open(const struct executor_config *cfg, struct ctx *ctx, struct executor **ret)
{
	struct executor *e = NEW(struct executor);
	struct err *err;

	e->lock_fd = -1;
	e->native.program_fd = -1;
	e->reaper = REAPER_INIT;
	e->pool = ctx_pool(ctx);
	take_config(e, cfg);
	err = open_all(e, cfg, ctx);
	if (err) {
		close_rest(e);
		return err;
	}
	*ret = e;
	return NULL;
}

void executor_close(struct executor *e)
{
	if (!e)
		return;
	janitor_stop(&e->janitor);
	close_rest(e);
}

const char *executor_net_label(const struct executor *e)
{
	return net_label(e->net);
}

/* ---- running ---- */

static struct err *check_apparmor(const struct executor *e, const struct exec_spec *s)
{
	if (!e->apparmor || s->insecure || e->has_apparmor)
		return NULL;
	return err_new(ERR_UNKNOWN,
		       "AppArmor is not supported on this host, but the profile '%s' was specified",
		       e->apparmor);
}

struct err *exec_check(const struct executor *e, const struct exec_spec *s)
{
	TRY(exec_check_process(&s->process));
	return check_apparmor(e, s);
}

bool exec_is_valid_exit(const struct exec_spec *s, int code)
{
	if (!s->valid_exit_codes)
		return code == 0;
	for (size_t i = 0; i < s->n_valid_exit_codes; i++)
		if (s->valid_exit_codes[i] == code)
			return true;
	return false;
}

/* "exit code: N", or ENOMEM's text when the kernel killed for want of memory; with the number for
 * clients as the JSON of gatewayapi.ExitMessage. */
struct err *exec_exit_error(int code, bool out_of_memory)
{
	SCOPED_BUF(json, 256);
	struct err *e;

	if (out_of_memory)
		e = err_new(ERR_RESOURCE_EXHAUSTED, "cannot allocate memory");
	else
		e = err_new(ERR_UNKNOWN, "exit code: %d", code);
	buf_addf(&json, "{\"Code\":%d}", code);
	err_add_detail(e, "github.com/moby/buildkit/gatewayapi.ExitMessage+json", buf_str(&json));
	return e;
}

struct err *executor_run_job(struct executor *e, struct ctx *ctx, const struct native_job *n,
			     struct proc_status *ret)
{
	if (e->driver)
		return e->driver->run(e->driver->arg, ctx, n->job, ret);
	if (e->is_native)
		return native_run(&e->native, ctx, n, ret);
	TRY(janitor_wait_probe(&e->janitor, ctx));
	return runc_run(&e->runc, ctx, n->job, ret);
}

struct err *bundle_run(struct bundle *b, struct ctx *ctx, const struct exec_io *io,
		       void (*started)(void *arg), void *arg, int *ret_exit)
{
	const struct runc_job j = {
		.id = b->id,
		.dir = b->dir,
		.cgroup = bundle_own_cgroup(b),
		.pid_name = "pid",
		.io = io,
		.tty = b->spec->process.tty,
		.started = started,
		.started_arg = arg,
	};
	const struct native_job n = {
		.job = &j,
		.config = b->config,
		.filtered = !b->spec->insecure,
		.target_fd = -1,
		.ret_fd = &b->init_fd,
	};
	struct proc_status st;

	TRY(executor_run_job(b->e, ctx, &n, &st));
	/* With the first process of a pid namespace all others end. */
	b->ended = st.exited && !b->e->host_pid;
	*ret_exit = st.code;
	if (exec_is_valid_exit(b->spec, st.code))
		return NULL;
	return exec_exit_error(st.code, j.cgroup[0] && cgroup_oom_kills(j.cgroup) > 0);
}

struct err *executor_run(struct executor *e, struct ctx *ctx, const struct exec_spec *spec,
			 const struct exec_io *io, int *ret_exit)
{
	struct bundle b;
	struct err *err;

	TRY(exec_check(e, spec));
	TRY(ctx_err(ctx));
	TRY(bundle_make(e, ctx, spec, &b));
	err = bundle_run(&b, ctx, io, io->started, io->arg, ret_exit);
	if (!err)
		err = bundle_add_rootless_stubs(&b);
	err = bundle_end_proxy(&b, err);
	bundle_release(&b);
	return err;
}
