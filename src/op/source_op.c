#include "op/op_impl.h"

struct source_op {
	struct op_base base;
	struct source_instance *instance;
	char *pin;
};

/* Of one call of a source: all it reports has begun with the call. */
struct reporting {
	const struct op_env *env;
	int64_t started_ns;
};

static void report(void *arg, const char *id, const char *name, int64_t current, int64_t total,
		   bool done)
{
	struct reporting *r = arg;

	progress_status(r->env->progress, &(struct progress_status) {
						  .id = str_from(id),
						  .name = str_from(name),
						  .current = current,
						  .total = total,
						  .started_ns = r->started_ns,
						  .completed_ns = done ? clock_wall() : 0,
					  });
}

static void log_line(void *arg, int stream, struct str data)
{
	struct reporting *r = arg;

	progress_log(r->env->progress, stream, data);
}

/* ---- work that outlives the call ---- */

struct tracker {
	struct source_tracker base;
	struct ref ref;
	struct vprogress *progress;
	struct lock lock;
	size_t at_work;
};

static void tracker_start(struct source_tracker *t)
{
	struct tracker *k = container_of(t, struct tracker, base);

	lock_take(&k->lock);
	if (!k->at_work++)
		vprogress_start(k->progress);
	lock_drop(&k->lock);
}

static void tracker_status(struct source_tracker *t, const char *id, const char *name,
			   int64_t current, int64_t total, int64_t started_ns, bool done)
{
	struct tracker *k = container_of(t, struct tracker, base);

	progress_status(k->progress, &(struct progress_status) {
					     .id = str_from(id),
					     .name = str_from(name),
					     .current = current,
					     .total = total,
					     .started_ns = started_ns,
					     .completed_ns = done ? clock_wall() : 0,
				     });
}

static void tracker_stop(struct source_tracker *t, const struct err *e)
{
	struct tracker *k = container_of(t, struct tracker, base);

	lock_take(&k->lock);
	if (!--k->at_work)
		vprogress_complete(k->progress, false, e);
	lock_drop(&k->lock);
}

static void tracker_ref(struct source_tracker *t)
{
	ref_get(&container_of(t, struct tracker, base)->ref);
}

static void tracker_unref(struct source_tracker *t)
{
	struct tracker *k = container_of(t, struct tracker, base);

	if (!ref_put(&k->ref))
		return;
	vprogress_unref(k->progress);
	lock_fini(&k->lock);
	free(k);
}

static struct source_tracker *track(void *arg)
{
	struct reporting *r = arg;
	struct tracker *k = NEW(struct tracker);

	k->base = (struct source_tracker) {
		tracker_start, tracker_status, tracker_stop, tracker_ref, tracker_unref,
	};
	ref_init(&k->ref);
	k->progress = vprogress_ref(r->env->progress);
	lock_init(&k->lock, LOCK_OP);
	return &k->base;
}

/* ---- the calls ---- */

static struct err *source_cache_key(struct op *op, const struct op_env *env, unsigned index,
				    struct cache_key_info *ret)
{
	struct source_op *o = container_of(op_base_of(op), struct source_op, base);
	struct reporting reporting = { env, clock_wall() };
	struct source_progress p = { report, log_line, &reporting, track };
	struct source_env senv = { env->ctx, op_sessions(env), &p };
	struct source_key key = { 0 };
	SCOPED_ARENA(a);
	SCOPED_BUF(text, MIB);

	TRY(o->instance->ops->cache_key(o->instance, &senv, index, &a, &key));
	if (key.pin.len && !o->pin)
		o->pin = str_cstr(&o->base.arena, key.pin);
	buf_add_cstr(&text, "buildkit.source.v0:");
	buf_add_str(&text, key.key);
	TRY(buf_check(&text, "source key"));
	*ret = (struct cache_key_info) {
		.digest = digest_sha256(buf_str(&text)),
		.deps = o->base.deps,
		.done = key.done,
	};
	if (str_has_prefix(key.key, STR("session:")))
		ret->digest.algo = DIGEST_RANDOM;
	return NULL;
}

static struct err *source_run(struct op *op, const struct op_env *env, struct result *const *inputs,
			      size_t n_inputs, struct op_outputs *out, struct failure **ret_failure)
{
	struct source_op *o = container_of(op_base_of(op), struct source_op, base);
	struct reporting reporting = { env, clock_wall() };
	struct source_progress p = { report, log_line, &reporting, track };
	struct source_env senv = { env->ctx, op_sessions(env), &p };
	struct cache_ref *ref = NULL;

	TRY(o->instance->ops->snapshot(o->instance, &senv, &ref));
	op_outputs_add(out, op_result_new(o->base.worker, ref));
	return NULL;
}

static void source_free(struct op *op)
{
	struct source_op *o = container_of(op_base_of(op), struct source_op, base);

	source_instance_free(o->instance);
	op_base_free(op);
}

static const struct op_ops source_op_ops = {
	.cache_key = source_cache_key,
	.run = source_run,
	.free = source_free,
	.leaf = true,
};

struct err *op_make_source(const struct vertex *v, struct op **ret)
{
	struct source_op *o = op_new(v, &source_op_ops, sizeof(*o));
	const Pb__SourceOp *s = o->base.meta->op->source;
	struct arena *a = &o->base.arena;
	struct source_attr *attrs = ARENA_NEW_N(a, struct source_attr, s->n_attrs + 1);
	struct err *e;

	for (size_t i = 0; i < s->n_attrs; i++)
		attrs[i] = (struct source_attr) { str_from(s->attrs[i]->key),
						  str_from(s->attrs[i]->value) };
	e = source_identify(o->base.worker->sources, str_from(s->identifier), attrs, s->n_attrs,
			    o->base.meta->platform, &o->instance);
	if (e) {
		op_base_free(&o->base.op);
		return e;
	}
	*ret = &o->base.op;
	return NULL;
}

const char *op_source_pin(const struct op *op)
{
	const struct op_base *b = container_of(op, const struct op_base, op);

	if (b->kind != &source_op_ops)
		return "";
	b = container_of(op, const struct op_base, op);
	return container_of(b, const struct source_op, base)->pin ?: "";
}
