/* Cache key of an exec: what decides its result, without what is only about how it is run. */
#include "base/path.h"
#include "base/vec.h"
#include "op/exec_impl.h"

/* An id that only names the place in a default way says nothing. */
static bool is_default_cache(const Pb__Mount *m)
{
	const Pb__CacheOpt *o = m->cacheopt;
	struct str id = str_from(o->id), dest = str_from(m->dest);

	if (o->sharing != PB__CACHE_SHARING_OPT__CACHE_SHARING_OPT_SHARED)
		return false;
	if (str_eq(id, dest))
		return true;
	/* "<namespace>/<dest>" */
	return id.len > dest.len + 1 && str_has_suffix(id, dest) &&
	       (id.ptr[id.len - dest.len - 1] == '/' || dest.ptr[0] == '/');
}

/* A deep copy to change. */
static Pb__ExecOp *stripped(const Pb__ExecOp *pb, struct arena *a)
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
	gojson_message(&k.j, &stripped(o->pb, &a)->base);
	key_json_platform(&k, &o->base.meta->platform);
	return key_json_end(&k);
}

/* ---- inputs ---- */

struct read_input {
	VEC(struct str) selectors;
	bool whole;      /* mounted without a selector somewhere */
	bool no_content; /* its own key decides */
};

static struct err *note_mount(struct exec_op *o, struct read_input *in, const Pb__Mount *m)
{
	bool root = strcmp(m->dest, "/") == 0;
	/* Only what can't be changed and given on can be known by its content. */
	bool safe = !root && (m->output == -1 || m->readonly);

	if (m->selector[0])
		vec_push(&in->selectors,
			 path_join(&o->base.arena, STR("/"), str_from(m->selector)));
	else
		in->whole = true;
	switch (m->contentcache) {
	case PB__MOUNT_CONTENT_CACHE__MOUNT_CONTENT_CACHE_OFF:
		in->no_content = true;
		return NULL;
	case PB__MOUNT_CONTENT_CACHE__MOUNT_CONTENT_CACHE_ON:
		if (!safe && m->output != -1 && !m->readonly)
			return err_new(ERR_INVALID_ARGUMENT, "invalid mount cache content %s",
				       m->dest);
		return NULL;
	default:
		in->no_content = in->no_content || !safe;
		return NULL;
	}
}

static int by_text(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void set_dep(struct exec_op *o, struct cache_dep *d, struct read_input *in)
{
	struct arena *a = &o->base.arena;
	struct content_selects *all = ARENA_NEW(a, struct content_selects);
	struct content_select *list = ARENA_NEW_N(a, struct content_select, in->selectors.len + 1);
	SCOPED_BUF(joined, LIMIT_GRPC_MESSAGE * 2);
	size_t n = 0;

	for (size_t i = 0; i < in->selectors.len; i++) {
		if (i)
			buf_add_char(&joined, '\0');
		buf_add_str(&joined, in->selectors.items[i]);
	}
	if (in->selectors.len) {
		d->selector = digest_sha256(buf_str(&joined));
		qsort(in->selectors.items, in->selectors.len, sizeof(struct str), by_text);
	}
	if (in->no_content)
		return;
	for (size_t i = 0; i < in->selectors.len && !in->whole; i++)
		if (!n || !str_eq(list[n - 1].path, in->selectors.items[i]))
			list[n++] = (struct content_select) { .path = in->selectors.items[i] };
	if (!n)
		list[n++] = (struct content_select) { .path = STR("/") };
	for (size_t i = 0; i < n; i++)
		list[i].opts.follow_links = true;
	*all = (struct content_selects) { list, n };
	d->content_hash = op_content_hash;
	d->arg = all;
}

struct err *exec_op_make_key(struct exec_op *o)
{
	size_t n = o->base.vertex->n_inputs;
	struct read_input *in = mem_calloc(n + 1, sizeof(*in));
	bool *used = mem_calloc(n + 1, sizeof(*used));
	struct err *e = NULL;

	for (size_t i = 0; i < o->pb->n_mounts && !e; i++) {
		const Pb__Mount *m = o->pb->mounts[i];

		if (m->input == -1)
			continue;
		used[m->input] = true;
		e = note_mount(o, &in[m->input], m);
	}
	for (size_t i = 0; i < n && !e; i++)
		if (used[i])
			set_dep(o, &o->base.deps[i], &in[i]);
	for (size_t i = 0; i < n; i++)
		vec_fini(&in[i].selectors);
	free(in);
	free(used);
	if (!e)
		o->digest = exec_digest(o);
	return e;
}
