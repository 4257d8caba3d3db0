/* Frontends that are images: run in a container, with LLBBridge over their stdin and stdout. */
#include "control/gwfrontend.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/task.h"
#include "base/vec.h"
#include "codec/imageref.h"
#include "exec/runtime.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/rmtree.h"

#include <errno.h>
#include <unistd.h>

#define METADATA_DIR "/run/config/buildkit/metadata"
#define CAPS_LABEL "moby.buildkit.frontend.caps"
#define NO_NETWORK_LABEL "moby.buildkit.frontend.network.none"
#define INPUTS_CAP "moby.buildkit.frontend.inputs"

struct frontend_run {
	struct build *build;
	struct bridge *bridge;
	struct arena arena;
	struct frontend_image image;
	struct bridge_ref *ref; /* of the image */
	struct cache_mut *root;
	struct mounts *root_mounts;
	char *metadata; /* directory, made */
	struct gateway *gateway;
	struct grpc_server *server;
	struct ctx *ctx; /* of the container and its calls */
	/* The container's ends, and ours. */
	int in_read, in_write, out_read, out_write;
	struct task *serving;
	bool lost; /* the connection ended before the process; read when serving has ended */
};

/* ---- is it allowed, does it fit ---- */

static struct err *name_of(struct arena *a, struct str text, struct str *ret)
{
	struct imageref ref;

	TRY(imageref_parse(a, text, &ref));
	*ret = str_from(imageref_name(a, &ref));
	return NULL;
}

static struct err *check_allowed(const struct control *c, struct str source, struct arena *a)
{
	struct str name, allowed;

	if (!c->n_gateway_allowed)
		return NULL;
	TRY(name_of(a, source, &name));
	for (size_t i = 0; i < c->n_gateway_allowed; i++) {
		TRY(name_of(a, c->gateway_allowed[i], &allowed));
		if (str_eq(name, allowed))
			return NULL;
	}
	return err_new(ERR_UNKNOWN, "'%.*s' is not an allowed gateway source", STR_ARG(source));
}

static struct str label(const struct frontend_image *img, const char *key)
{
	for (size_t i = 0; i < img->n_labels; i++)
		if (str_eq_cstr(img->labels[i].key, key))
			return img->labels[i].value;
	return STR_NONE;
}

/* Is the capability in a comma list? What follows a '+' is flags. */
static bool listed(struct str list, struct str cap)
{
	struct str one, name, flags;

	while (list.len && str_next(&list, ',', &one)) {
		str_cut(one, '+', &name, &flags);
		if (str_eq(name, cap))
			return true;
	}
	return false;
}

/* Dockerfile frontends from before the label that can take inputs all the same. */
static bool known_with_inputs(struct str digest)
{
	static const char *const known[] = {
		"sha256:9ac1c43a60e31dca741a6fe8314130a9cd4c4db0311fbbc636ff992ef60ae76d",
		"sha256:080bd74d8778f83e7b670de193362d8c593c8b14f5c8fb919d28ee8feda0d069",
		"sha256:60543a9d92b92af5088fb2938fb09b2072684af8384399e153e137fe081f8ab4",
		"sha256:de85b2f3a3e8a2f7fe48e8e84a65f6fdd5cd5183afa6412fff9caa6871649c44",
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (str_eq_cstr(digest, known[i]))
			return true;
	return false;
}

static struct err *check_caps(struct frontend_run *r)
{
	struct str have = label(&r->image, CAPS_LABEL), one, name, flags;
	struct str wanted = bridge_opt(r->bridge, STR("frontend.caps"));

	while (wanted.len && str_next(&wanted, ',', &one)) {
		str_cut(one, '+', &name, &flags);
		if (name.len && !listed(have, name) &&
		    !(str_eq_cstr(name, INPUTS_CAP) && known_with_inputs(r->image.digest)))
			return frontend_missing_cap(name);
	}
	if (r->bridge->info->n_inputs && !listed(have, STR(INPUTS_CAP)) &&
	    !known_with_inputs(r->image.digest))
		return frontend_missing_cap(STR(INPUTS_CAP));
	return NULL;
}

/* ---- its file system ---- */

static struct err *open_root(struct frontend_run *r)
{
	Moby__Buildkit__V1__Frontend__SolveRequest req =
		MOBY__BUILDKIT__V1__FRONTEND__SOLVE_REQUEST__INIT;
	struct cache *cache = r->build->control->worker->cache;
	struct cache_opts opts = { .description = STR("frontend"), .type = CACHE_TYPE_INTERNAL };
	SCOPED_FRONTEND_RESULT(res);
	struct cache_ref *image;

	req.definition = r->image.def;
	TRY(build_solve(r->build, r->ctx, &req, &res));
	if (!res.ref)
		return err_new(ERR_UNKNOWN, "gateway source didn't return default result");
	r->ref = bridge_ref_get(res.ref);
	TRY(lazyref_cache_ref(r->ref, r->ctx, &image));
	if (image)
		TRY(cache_ref_unlazy(image, r->ctx, NULL));
	TRY(cache_new(cache, r->ctx, image, &opts, &r->root));
	return cache_mut_mounts(r->root, r->ctx, &r->arena, false, &r->root_mounts);
}

/* Where a frontend finds out what it is itself made of. */
static struct err *write_metadata(struct frontend_run *r)
{
	char *dir = mem_printf("%s/frontend-XXXXXX", r->build->control->host.tmp_dir);
	struct str def = proto_pack_arena(r->image.def, &r->arena);

	if (!mkdtemp(dir)) {
		struct err *e = err_errno(errno, "mkdir %s", dir);

		free(dir);
		return e;
	}
	r->metadata = dir;
	return file_write(AT_FDCWD, arena_printf(&r->arena, "%s/frontend.bin", dir), def, 0400);
}

/* ---- its process ---- */

struct env_list {
	struct arena *arena;
	VEC(struct str) list;
};

static void env_fini(struct env_list *l)
{
	vec_fini(&l->list);
}

static void print_platform(struct json_out *j, const struct platform *p)
{
	json_obj_begin(j);
	json_kstr(j, "architecture", p->arch);
	json_kstr(j, "os", p->os);
	if (p->os_version.len)
		json_kstr(j, "os.version", p->os_version);
	if (p->variant.len)
		json_kstr(j, "variant", p->variant);
	json_obj_end(j);
}

/* As the original prints its list of workers. */
static struct str workers_json(struct frontend_run *r)
{
	const struct bridge_info *info = r->bridge->info;
	SCOPED_BUF(out, LIMIT_GRPC_MESSAGE);
	struct json_out j;

	json_out_init(&j, &out, NULL);
	json_arr_begin(&j);
	for (size_t i = 0; i < info->n_workers; i++) {
		const struct bridge_worker *w = &info->workers[i];

		json_obj_begin(&j);
		json_kstr(&j, "id", w->id);
		json_key(&j, STR("labels"));
		json_obj_begin(&j);
		for (size_t k = 0; k < w->n_labels; k++) {
			json_key(&j, w->labels[k].key);
			json_str(&j, w->labels[k].value);
		}
		json_obj_end(&j);
		json_key(&j, STR("platforms"));
		json_arr_begin(&j);
		for (size_t k = 0; k < w->n_platforms; k++)
			print_platform(&j, &w->platforms[k]);
		json_arr_end(&j);
		json_obj_end(&j);
	}
	json_arr_end(&j);
	return str_dup(&r->arena, buf_str(&out));
}

static void env_add(struct env_list *l, const char *name, struct str value)
{
	vec_push(&l->list, str_from(arena_printf(l->arena, "%s=%.*s", name, STR_ARG(value))));
}

static void make_process(struct frontend_run *r, struct exec_process *ret)
{
	const struct frontend_image *img = &r->image;
	const struct bridge_info *info = r->bridge->info;
	static struct str fallback[] = { { "/run", 4 } };
	CLEANUP(env_fini) struct env_list l = { .arena = &r->arena };

	for (size_t i = 0; i < img->n_env; i++)
		vec_push(&l.list, img->env[i]);
	for (size_t i = 0; i < info->n_opts; i++)
		vec_push(&l.list,
			 str_from(arena_printf(&r->arena, "BUILDKIT_FRONTEND_OPT_%zu=%.*s=%.*s", i,
					       STR_ARG(info->opts[i].key),
					       STR_ARG(info->opts[i].value))));
	env_add(&l, "BUILDKIT_SESSION_ID", info->session_id);
	env_add(&l, "BUILDKIT_WORKERS", workers_json(r));
	env_add(&l, "BUILDKIT_EXPORTEDPRODUCT", info->product);
	*ret = (struct exec_process) {
		.args = img->n_entrypoint ? img->entrypoint : fallback,
		.n_args = img->n_entrypoint ? img->n_entrypoint : 1,
		.cwd = img->cwd.len ? img->cwd : STR("/"),
		.env = arena_dup(&r->arena, l.list.items, l.list.len * sizeof(struct str)),
		.n_env = l.list.len,
	};
}

/* What a frontend says goes where the daemon's own words go. */
static void on_output(void *arg, int stream, struct str data)
{
	err_free(fd_write_all(STDERR_FILENO, data.ptr, data.len));
}

static struct err *run_container(struct frontend_run *r)
{
	struct control *c = r->build->control;
	struct mounts metadata = {
		.kind = MOUNT_BIND,
		.readonly = true,
		.source = str_from(r->metadata),
	};
	struct exec_mount mount = {
		.dest = STR(METADATA_DIR),
		.mounts = &metadata,
		.readonly = true,
		.nosuid = true,
		.nodev = true,
		.noexec = true,
	};
	struct exec_spec spec = {
		.root = r->root_mounts,
		.mounts = &mount,
		.n_mounts = 1,
		.cgroup_parent = str_from(c->cgroup_parent),
		.remove_stubs_recursive = true,
	};
	struct exec_io io = {
		.stdin_fd = r->in_read,
		.stdout_fd = &r->out_write,
		.output = on_output,
	};
	bool no_network;
	int code;

	if (str_to_bool(label(&r->image, NO_NETWORK_LABEL), &no_network) && no_network)
		spec.net = EXEC_NET_NONE;
	make_process(r, &spec.process);
	return executor_run(c->worker->executor, r->ctx, &spec, &io, &code);
}

/* ---- its connection ---- */

static struct err *serve(struct ctx *ctx, void *arg)
{
	struct frontend_run *r = arg;
	struct err *e =
		grpc_server_serve_fd(r->server, ctx, TAKE_FD(r->out_read), TAKE_FD(r->in_write));

	/* We hold the other end of what it writes to: only a broken connection ends by itself. */
	if (!ctx_done(ctx)) {
		r->lost = true;
		ctx_cancel(r->ctx, NULL);
	}
	return e;
}

static struct err *connect_frontend(struct frontend_run *r)
{
	int to[2], from[2];

	TRY(fd_pipe(to));
	r->in_read = to[0];
	r->in_write = to[1];
	TRY(fd_pipe(from));
	r->out_read = from[0];
	r->out_write = from[1];
	r->gateway =
		gateway_new(r->build, r->ctx, r->bridge->info->inputs, r->bridge->info->n_inputs);
	r->server = grpc_server_new(r->build->control->loop, r->ctx, gateway_methods,
				    gateway_n_methods, r->gateway);
	r->serving = task_start(r->ctx, "frontend connection", serve, r);
	return NULL;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static void disconnect(struct frontend_run *r)
{
	ctx_cancel(r->ctx, NULL);
	if (r->serving)
		err_free(task_wait(TAKE_PTR(r->serving)));
	if (r->gateway)
		gateway_end(r->gateway);
	grpc_server_free(r->server);
	r->server = NULL;
	close_fd(&r->in_read);
	close_fd(&r->in_write);
	close_fd(&r->out_read);
	close_fd(&r->out_write);
}

static void run_fini(struct frontend_run *r)
{
	disconnect(r);
	gateway_free(r->gateway);
	cache_mut_release(r->root);
	bridge_ref_put(r->ref);
	if (r->metadata)
		err_free(rmtree(AT_FDCWD, r->metadata));
	free(r->metadata);
	ctx_unref(r->ctx);
	arena_fini(&r->arena);
}

static struct err *run(struct frontend_run *r, struct str source, struct frontend_result *ret)
{
	struct err *e;

	TRY(check_allowed(r->build->control, source, &r->arena));
	TRY(frontend_image_find(r->ctx, r->bridge, source, &r->arena, &r->image));
	TRY(check_caps(r));
	TRY(open_root(r));
	TRY(write_metadata(r));
	TRY(connect_frontend(r));
	e = run_container(r);
	disconnect(r);
	if (!e)
		return gateway_take_result(r->gateway, ret);
	if (r->lost) {
		err_free(e);
		e = err_new(ERR_UNKNOWN, "frontend grpc server closed unexpectedly");
	}
	/* What it returned before it failed says more than how its process ended. */
	return gateway_first_error(r->gateway, e);
}

struct err *gwfrontend_build(struct build *b, struct ctx *ctx, struct bridge *bridge,
			     struct frontend_result *ret)
{
	struct frontend_run r = {
		.build = b,
		.bridge = bridge,
		.in_read = -1,
		.in_write = -1,
		.out_read = -1,
		.out_write = -1,
	};
	struct str source = bridge_opt(bridge, STR("source"));
	struct err *e;

	if (bridge_opt(bridge, STR("gateway-devel")).ptr)
		return err_new(ERR_UNKNOWN, "development gateway is no longer supported");
	if (!source.ptr)
		return err_new(ERR_UNKNOWN, "no source specified for gateway");
	r.ctx = ctx_new(ctx);
	e = run(&r, source, ret);
	run_fini(&r);
	return e;
}
