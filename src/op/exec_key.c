/* Cache key of an exec: what decides its result, without what is only about how it is run. */
#include "base/path.h"
#include "base/vec.h"
#include "op/exec_impl.h"

/* An id that only names the place in a default way ("<dest>", "<namespace>/<dest>") says nothing.
 */
static bool is_default_cache(const Pb__Mount *m)
{
	const Pb__CacheOpt *o = m->cacheopt;
	struct str id = str_from(o->id), dest = str_from(m->dest), space, rest;

	if (o->sharing != PB__CACHE_SHARING_OPT__CACHE_SHARING_OPT_SHARED)
		return false;
	return str_eq(id, dest) || (str_cut(id, '/', &space, &rest) && str_eq(rest, dest));
}

Pb__ExecOp *exec_op_key_message(const Pb__ExecOp *pb, struct arena *a)
{
	Pb__ExecOp *op = proto_dup(a, pb);
	const Pb__Mount *m;

	op->meta->proxy_env = NULL;
	for (size_t i = 0; i < op->meta->n_extrahosts; i++)
		op->meta->extrahosts[i]->ip = (char *)"";
	for (size_t i = 0; i < op->n_mounts; i++) {
		Pb__Mount *x = op->mounts[i];

		x->selector = (char *)"";
		if (x->mounttype == PB__MOUNT_TYPE__MOUNT_TYPE_CACHE && x->cacheopt &&
		    !is_default_cache(x)) {
			x->cacheopt->id = (char *)"";
			x->cacheopt->sharing = PB__CACHE_SHARING_OPT__CACHE_SHARING_OPT_SHARED;
		}
	}
	m = pb->mounts[0];
	if (pb->n_mounts == 1 && strcmp(m->dest, "/") == 0 && !m->selector[0] && !m->readonly &&
	    m->mounttype == PB__MOUNT_TYPE__MOUNT_TYPE_BIND && !m->cacheopt && !m->sshopt &&
	    !m->secretopt && !m->resultid[0])
		op->n_mounts = 0;
	return op;
}

static struct digest exec_digest(struct exec_op *o)
{
	struct key_json k;
	SCOPED_ARENA(a);

	key_json_begin(&k, "buildkit.exec.v0");
	json_key(&k.j, STR("Exec"));
	gojson_message(&k.j, &exec_op_key_message(o->pb, &a)->base);
	key_json_platform(&k, &o->base.meta->platform);
	return key_json_end(&k);
}

/* ---- inputs ---- */

struct read_input {
	VEC(struct str) selectors;
	bool no_content; /* its own key decides */
};

static bool reads_input(const Pb__Mount *m)
{
	return m->input != -1 && (m->mounttype == PB__MOUNT_TYPE__MOUNT_TYPE_BIND ||
				  m->mounttype == PB__MOUNT_TYPE__MOUNT_TYPE_CACHE);
}

static struct err *note_mount(struct exec_op *o, struct read_input *in, const Pb__Mount *m)
{
	struct str selector = path_join(&o->base.arena, STR("/"), str_from(m->selector));
	/* The content may decide where nothing unselected can come out again. */
	bool safe = m->output == -1 || m->readonly || str_eq(selector, STR("/"));

	vec_push(&in->selectors, selector);
	switch (m->contentcache) {
	case PB__MOUNT_CONTENT_CACHE__MOUNT_CONTENT_CACHE_OFF:
		in->no_content = true;
		return NULL;
	case PB__MOUNT_CONTENT_CACHE__MOUNT_CONTENT_CACHE_ON:
		if (!safe)
			return err_new(ERR_INVALID_ARGUMENT, "invalid mount cache content %s",
				       m->dest);
		return NULL;
	default:
		/* Not of the root: that costs much and helps little. */
		in->no_content = in->no_content || !safe || strcmp(m->dest, "/") == 0;
		return NULL;
	}
}

static void set_dep(struct exec_op *o, struct cache_dep *d, struct read_input *in)
{
	struct arena *a = &o->base.arena;
	size_t n = in->selectors.len;
	struct content_select *list = ARENA_NEW_N(a, struct content_select, n + 1);
	SCOPED_BUF(joined, LIMIT_GRPC_MESSAGE * 2);
	bool whole = false;

	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_add_char(&joined, '\0');
		buf_add_str(&joined, in->selectors.items[i]);
		list[i].path = in->selectors.items[i];
		list[i].opts.follow_links = true;
		whole = whole || str_eq(list[i].path, STR("/"));
	}
	d->selector = digest_sha256(buf_str(&joined));
	if (in->no_content)
		return;
	if (whole) {
		list[0] = (struct content_select) { .path = STR("/") };
		n = 1;
	}
	d->content_hash = op_content_hash;
	d->arg = content_selects_new(a, list, n);
}

struct err *exec_op_make_key(struct exec_op *o)
{
	size_t n = o->base.vertex->n_inputs;
	struct read_input *in = mem_calloc(n + 1, sizeof(*in));
	struct err *e = NULL;

	for (size_t i = 0; i < o->pb->n_mounts && !e; i++) {
		const Pb__Mount *m = o->pb->mounts[i];

		if (reads_input(m))
			e = note_mount(o, &in[m->input], m);
	}
	for (size_t i = 0; i < n && !e; i++)
		if (in[i].selectors.len)
			set_dep(o, &o->base.deps[i], &in[i]);
	for (size_t i = 0; i < n; i++)
		vec_fini(&in[i].selectors);
	free(in);
	if (!e)
		o->digest = exec_digest(o);
	return e;
}
