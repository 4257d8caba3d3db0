#include "exec/cdi.h"
#include "op/exec_impl.h"

static struct err *exec_cache_key(struct op *op, const struct op_env *env, unsigned index,
				  struct cache_key_info *ret)
{
	struct exec_op *o = container_of(op_base_of(op), struct exec_op, base);

	if (!digest_is_set(&o->digest))
		TRY(exec_op_make_key(o));
	*ret = (struct cache_key_info) {
		.digest = o->digest,
		.deps = o->base.deps,
		.n_deps = o->base.vertex->n_inputs,
		.done = true,
	};
	return NULL;
}

static void output(void *arg, int stream, struct str data)
{
	progress_log(arg, stream, data);
}

/* ---- results ---- */

/* The state of each mount, for a look at what failed. */
static struct failure *make_failure(struct exec_op *o, struct exec_mounts *m,
				    struct cache_ref *const *refs)
{
	struct worker *w = o->base.worker;
	size_t n = o->pb->n_mounts;
	struct result **inputs = mem_calloc(n + 1, sizeof(struct result *));
	struct op_failure *f;
	struct result_ops ops;

	op_result_ops_init(&ops, w);
	for (size_t i = 0; i < n; i++)
		if (refs[i])
			inputs[i] = op_result_new(w, cache_ref_clone(refs[i]));
	f = op_failure_new(&o->base, inputs, n);
	f->mounts = ARENA_NEW_N(&f->arena, struct result *, n + 1);
	f->n_mounts = n;
	for (size_t i = 0; i < n; i++) {
		struct cache_ref *ref = NULL;
		struct err *e = exec_mounts_result(m, i, &ref);

		/* Only a help: without it the step has failed all the same. */
		err_free(e);
		if (ref)
			f->mounts[i] = op_result_new(w, ref);
		if (inputs[i])
			ops.unref(inputs[i]);
	}
	free(inputs);
	return &f->base;
}

static struct err *make_outputs(struct exec_op *o, struct exec_mounts *m, struct op_outputs *out)
{
	for (size_t k = 0; k < o->n_outputs; k++) {
		struct cache_ref *ref = NULL;

		TRYW(exec_mounts_result(m, o->outputs[k], &ref), "error committing %s",
		     o->pb->mounts[o->outputs[k]]->dest);
		op_outputs_add(out, op_result_new(o->base.worker, ref));
	}
	return NULL;
}

/* ---- running ---- */

static struct err *run_process(struct exec_op *o, const struct op_env *env, struct exec_spec *spec,
			       struct exec_mounts *m, struct arena *a)
{
	struct worker *w = o->base.worker;
	struct exec_io io = { .stdin_fd = -1, .output = output, .arg = env->progress };
	const char *args = exec_op_args(o->pb, a);
	struct exec_mount emulator;
	struct err *e;
	int code;
	SCOPED_BUF(quoted, LIMIT_GRPC_MESSAGE);

	exec_mounts_fill(m, spec);
	if (exec_op_emulator(o, a, &emulator)) {
		struct exec_mount *more = ARENA_NEW_N(a, struct exec_mount, spec->n_mounts + 1);

		memcpy(more, spec->mounts, spec->n_mounts * sizeof(*more));
		more[spec->n_mounts] = emulator;
		spec->mounts = more;
		spec->n_mounts++;
	}
	if (w->parallelism)
		TRY(sem_take(w->parallelism, env->ctx, 1));
	e = executor_run(w->executor, env->ctx, spec, &io, &code);
	if (w->parallelism)
		sem_give(w->parallelism, 1);
	if (!e)
		return NULL;
	go_quote(&quoted, str_from(args));
	return err_wrap(e, "process %s did not complete successfully", buf_cstr(&quoted));
}

/* What its devices bring; `all` must live as long. */
static struct err *find_edits(struct exec_op *o, struct cdi_devices *all, struct arena *a,
			      struct exec_spec *spec)
{
	const Pb__ExecOp *pb = o->pb;
	struct cdi_found found = { 0 };
	struct err *e = NULL;

	if (!pb->n_cdidevices || !o->base.worker->cdi)
		return NULL;
	cdi_load(o->base.worker->cdi, all);
	for (size_t i = 0; i < pb->n_cdidevices && !e; i++)
		e = cdi_find(all, str_from(pb->cdidevices[i]->name), pb->cdidevices[i]->optional,
			     &found);
	if (!e)
		e = cdi_edits(&found, a, &spec->edits);
	cdi_found_fini(&found);
	return e;
}

/* ---- proxy ---- */

static void log_requests(struct capture *c, struct vprogress *progress)
{
	SCOPED_BUF(out, 4 * MIB);
	const struct capture_request *r;
	size_t n;

	r = capture_requests(c, &n);
	if (!n)
		return;
	buf_add_cstr(&out, "proxy network requests:\n");
	for (size_t i = 0; i < n; i++)
		buf_addf(&out, "- %.*s %.*s -> %d\n", STR_ARG(r[i].method), STR_ARG(r[i].url),
			 r[i].status);
	progress_log(progress, 2, buf_str(&out));
}

static struct err *make_proxy(struct exec_op *o, struct exec_spec *spec, struct step_proxy **ret)
{
	struct worker *w = o->base.worker;
	const struct op_graph *g = o->base.meta->graph;

	if (!o->base.meta->proxied)
		return NULL;
	if (!w->proxies)
		return err_new(ERR_UNKNOWN, "proxy network provider is not available");
	TRY(step_proxy_new(w->proxies, w, g->has_policy ? &g->policy : NULL, ret));
	spec->proxy = step_proxy_exec(*ret);
	return NULL;
}

static void end_proxy(struct exec_op *o, const struct op_env *env, struct step_proxy *proxy)
{
	if (!proxy)
		return;
	log_requests(step_proxy_capture(proxy), env->progress);
	capture_unref(o->capture);
	o->capture = capture_ref(step_proxy_capture(proxy));
}

struct capture *op_exec_capture(const struct op *op)
{
	const struct op_base *b = container_of(op, struct op_base, op);

	if (b->meta->op->op_case != PB__OP__OP_EXEC)
		return NULL;
	return container_of(b, struct exec_op, base)->capture;
}

static void exec_op_free(struct op *op)
{
	capture_unref(container_of(op_base_of(op), struct exec_op, base)->capture);
	op_base_free(op);
}

static struct err *run_with_mounts(struct exec_op *o, const struct op_env *env, struct arena *a,
				   struct cache_ref *const *refs, struct op_outputs *out,
				   struct failure **ret_failure)
{
	CLEANUP(cdi_devices_fini) struct cdi_devices devices = { 0 };
	const Pb__ExecOp *pb = o->pb;
	struct exec_mounts_in in = {
		.worker = o->base.worker,
		.ctx = env->ctx,
		.sessions = op_sessions(env),
		.progress = env->progress,
		.mounts = (const Pb__Mount *const *)pb->mounts,
		.n = pb->n_mounts,
		.refs = refs,
		.cwd = str_from(pb->meta->cwd),
		.what = arena_printf(a, "exec %s", exec_op_args(pb, a)),
	};
	CLEANUP(step_proxy_freep) struct step_proxy *proxy = NULL;
	struct exec_mounts *m = NULL;
	struct exec_spec spec;
	struct err *e;

	TRY(exec_op_spec(o, env, a, &spec));
	TRY(find_edits(o, &devices, a, &spec));
	TRY(make_proxy(o, &spec, &proxy));
	TRY(exec_mounts_open(&in, &m));
	e = run_process(o, env, &spec, m, a);
	end_proxy(o, env, proxy);
	if (e && !ctx_done(env->ctx))
		*ret_failure = make_failure(o, m, refs);
	if (!e)
		e = make_outputs(o, m, out);
	exec_mounts_free(m);
	return e;
}

static struct err *exec_run(struct op *op, const struct op_env *env, struct result *const *inputs,
			    size_t n_inputs, struct op_outputs *out, struct failure **ret_failure)
{
	struct exec_op *o = container_of(op_base_of(op), struct exec_op, base);
	const Pb__ExecOp *pb = o->pb;
	struct cache_ref **refs;
	SCOPED_ARENA(a);

	refs = ARENA_NEW_N(&a, struct cache_ref *, pb->n_mounts + 1);
	for (size_t i = 0; i < pb->n_mounts; i++) {
		if (pb->mounts[i]->input < 0)
			continue;
		refs[i] = op_result_ref(inputs[pb->mounts[i]->input]);
		TRY(op_unlazy(env, refs[i]));
	}
	return run_with_mounts(o, env, &a, refs, out, ret_failure);
}

static const struct op_ops exec_op_ops = {
	.cache_key = exec_cache_key,
	.run = exec_run,
	.free = exec_op_free,
	.quick_key = true,
	.leaf = true,
};

/* Outputs in the order of their mounts; other kinds of mounts have none, whatever they say. */
static struct err *find_outputs(struct exec_op *o)
{
	const Pb__ExecOp *pb = o->pb;

	o->outputs = ARENA_NEW_N(&o->base.arena, size_t, pb->n_mounts + 1);
	for (size_t i = 0; i < pb->n_mounts; i++) {
		const Pb__Mount *m = pb->mounts[i];
		bool bind = m->mounttype == PB__MOUNT_TYPE__MOUNT_TYPE_BIND;
		bool cache = m->mounttype == PB__MOUNT_TYPE__MOUNT_TYPE_CACHE;

		if (m->input < -1 ||
		    (m->input >= 0 && (uint64_t)m->input >= o->base.vertex->n_inputs))
			return err_new(ERR_INVALID_ARGUMENT, "missing input %lld",
				       (long long)m->input);
		if (m->output != -1 && (bind || (cache && m->input != -1)))
			o->outputs[o->n_outputs++] = i;
	}
	return NULL;
}

struct err *op_make_exec(const struct vertex *v, struct op **ret)
{
	struct exec_op *o = op_new(v, &exec_op_ops, sizeof(*o));
	struct err *e;

	o->pb = o->base.meta->op->exec;
	e = find_outputs(o);
	if (e) {
		op_base_free(&o->base.op);
		return e;
	}
	*ret = &o->base.op;
	return NULL;
}
