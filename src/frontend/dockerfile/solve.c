/* What a build asks of the bridge. */
#include "frontend/dockerfile/df.h"

#include "base/limits.h"
#include "base/mem.h"

struct err *df_solve(struct df *df, struct ctx *ctx, struct arena *a, struct llb_out out,
		     bool evaluate, struct str *ret_head, struct bridge_ref **ret)
{
	Moby__Buildkit__V1__Frontend__SolveRequest req =
		MOBY__BUILDKIT__V1__FRONTEND__SOLVE_REQUEST__INIT;
	SCOPED_FRONTEND_RESULT(res);
	struct bridge_ref *ref;

	TRYW(llb_marshal(a, out, df->opts.build_platform, &req.definition, ret_head),
	     "failed to marshal source");
	req.evaluate = evaluate;
	TRY(df->bridge->ops->solve(df->bridge, ctx, &req, &res));
	TRY(frontend_result_single(&res, &ref));
	*ret = bridge_ref_get(ref);
	return NULL;
}

struct err *df_read_file(struct bridge_ref *ref, struct ctx *ctx, struct arena *a, struct str path,
			 struct str *ret, bool *ret_too_large)
{
	SCOPED_BUF(data, DF_MAX_FILE + 1);
	Fsutil__Types__Stat *st = NULL;
	struct err *e;
	bool too_large;

	if (ret_too_large)
		*ret_too_large = false;
	if (!ref) /* an empty result */
		return err_new(ERR_NOT_FOUND, "%.*s: no such file or directory", STR_ARG(path));
	e = ref->ops->stat_file(ref, ctx, path, a, &st);
	too_large = !e && st->size > (int64_t)DF_MAX_FILE;
	err_free(e); /* the read tells */
	if (!too_large)
		TRY(ref->ops->read_file(ref, ctx, path, 0, DF_MAX_FILE + 1, &data));
	if (too_large || data.len > DF_MAX_FILE || data.overflow) {
		if (ret_too_large)
			*ret_too_large = true;
		return err_new(ERR_UNKNOWN, "%.*s exceeds maximum allowed size of %zu bytes",
			       STR_ARG(path), DF_MAX_FILE);
	}
	*ret = str_dup(a, buf_str(&data));
	return NULL;
}

Pb__Platform *df_platform_msg(struct arena *a, const struct platform *p)
{
	Pb__Platform *m;

	if (!p)
		return NULL;
	m = ARENA_NEW(a, Pb__Platform);
	pb__platform__init(m);
	m->os = llb_text(a, p->os);
	m->architecture = llb_text(a, p->arch);
	m->variant = llb_text(a, p->variant);
	m->osversion = llb_text(a, p->os_version);
	m->n_osfeatures = p->n_os_features;
	m->osfeatures = ARENA_NEW_N(a, char *, p->n_os_features);
	for (size_t i = 0; i < p->n_os_features; i++)
		m->osfeatures[i] = llb_text(a, p->os_features[i]);
	return m;
}

/* ---- image configs, asked once ---- */

struct meta_entry {
	struct meta_entry *next;
	struct str key; /* the packed request */
	struct once once;
	struct arena a;
	struct df *df;
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaRequest *req;
	struct image_meta meta;
	bool is_image;
	struct str identifier; /* of the answer */
};

static struct err *ask(struct ctx *ctx, void *arg)
{
	struct meta_entry *m = arg;
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaResponse *res;
	struct str id = str_from(m->req->source->identifier);
	struct str ref = str_sub(id, (size_t)str_find_str(id, STR("://")) + 3, id.len);

	TRYW(m->df->bridge->ops->resolve_source_meta(m->df->bridge, ctx, m->req, &m->a, &res),
	     "failed to resolve source metadata for %.*s", STR_ARG(ref));
	m->identifier = res->source ? str_from(res->source->identifier) : id;
	m->is_image = res->image != NULL;
	if (!m->is_image)
		return NULL;
	m->meta.ref = str_trim_prefix(str_trim_prefix(m->identifier, STR("docker-image://")),
				      STR("oci-layout://"));
	m->meta.digest = str_from(res->image->digest);
	m->meta.config = proto_bytes(res->image->config);
	return NULL;
}

/* The entry for the request, made if there is none; it lives as long as df. */
static struct meta_entry *find_entry(
	struct df *df, const Moby__Buildkit__V1__Frontend__ResolveSourceMetaRequest *req)
{
	SCOPED_ARENA(scratch);
	struct str key = proto_pack_arena(req, &scratch);
	struct meta_entry *m;
	LOCKED(&df->meta_lock);

	for (m = df->meta; m; m = m->next)
		if (str_eq(key, m->key))
			return m;
	m = NEW(struct meta_entry);
	m->key = str_dup(&m->a, key);
	once_init(&m->once);
	m->df = df;
	m->req = proto_dup(&m->a, req);
	m->next = df->meta;
	df->meta = m;
	return m;
}

void df_meta_fini(struct df *df)
{
	struct meta_entry *next;

	for (struct meta_entry *m = df->meta; m; m = next) {
		next = m->next;
		once_fini(&m->once);
		arena_fini(&m->a);
		free(m);
	}
	df->meta = NULL;
}

static struct err *resolve(struct df *df, struct ctx *ctx, struct arena *a,
			   const Moby__Buildkit__V1__Frontend__ResolveSourceMetaRequest *req,
			   struct str *not_image, struct image_meta *ret)
{
	struct meta_entry *m = find_entry(df, req);

	TRY(once_do(&m->once, ctx, ask, m));
	if (!m->is_image) {
		if (!not_image)
			return err_new(ERR_UNKNOWN,
				       "ref mutated by policy to non-image: docker-image://%s -> "
				       "%.*s",
				       req->source->identifier + strlen("docker-image://"),
				       STR_ARG(m->identifier));
		*not_image = str_dup(a, m->identifier);
		return NULL;
	}
	*ret = (struct image_meta) {
		str_dup(a, m->meta.ref),
		str_dup(a, m->meta.digest),
		str_dup(a, m->meta.config),
	};
	return NULL;
}

struct err *df_image_meta(struct df *df, struct ctx *ctx, struct arena *a, struct str ref,
			  const struct platform *p, struct str log_name, struct str *not_image,
			  struct image_meta *ret)
{
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaRequest req =
		MOBY__BUILDKIT__V1__FRONTEND__RESOLVE_SOURCE_META_REQUEST__INIT;
	Moby__Buildkit__V1__Frontend__ResolveSourceImageRequest image =
		MOBY__BUILDKIT__V1__FRONTEND__RESOLVE_SOURCE_IMAGE_REQUEST__INIT;
	Pb__SourceOp source = PB__SOURCE_OP__INIT;

	source.identifier = arena_printf(a, "docker-image://%.*s", STR_ARG(ref));
	req.source = &source;
	req.platform = df_platform_msg(a, p);
	req.logname = llb_text(a, log_name);
	req.resolvemode = llb_text(a, df->opts.resolve_mode);
	req.image = &image;
	return resolve(df, ctx, a, &req, not_image, ret);
}

static Pb__SourceOp__AttrsEntry *attr(struct arena *a, const char *key, struct str value)
{
	Pb__SourceOp__AttrsEntry *e = ARENA_NEW(a, Pb__SourceOp__AttrsEntry);

	pb__source_op__attrs_entry__init(e);
	e->key = arena_strdup(a, key);
	e->value = llb_text(a, value);
	return e;
}

struct err *df_layout_meta(struct df *df, struct ctx *ctx, struct arena *a, struct str ref,
			   struct str store, const struct platform *p, struct str log_name,
			   struct image_meta *ret)
{
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaRequest req =
		MOBY__BUILDKIT__V1__FRONTEND__RESOLVE_SOURCE_META_REQUEST__INIT;
	Pb__SourceOp source = PB__SOURCE_OP__INIT;
	Pb__SourceOp__AttrsEntry *attrs[2];

	source.identifier = arena_printf(a, "oci-layout://%.*s", STR_ARG(ref));
	attrs[source.n_attrs++] = attr(a, "oci.store", store);
	if (df->bridge->info->session_id.len)
		attrs[source.n_attrs++] = attr(a, "oci.session", df->bridge->info->session_id);
	source.attrs = attrs;
	req.source = &source;
	req.platform = df_platform_msg(a, p);
	req.logname = llb_text(a, log_name);
	return resolve(df, ctx, a, &req, NULL, ret);
}
