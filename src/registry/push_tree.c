/* What hangs from a root: manifests by their documents, blobs by the manifests. */
#include "registry/push.h"

#include "base/limits.h"

#define DEPTH_MAX 16

struct err *push_need(struct push *p, struct ctx *ctx, const struct oci_descriptor *d)
{
	if (content_has(p->store, ctx, &d->digest) || !p->o->need_blob)
		return NULL;
	return p->o->need_blob(p->o->need_arg, ctx, d);
}

static bool is_new(struct push *p, const struct digest *d)
{
	char text[DIGEST_TEXT_MAX];
	struct str key = str_from(digest_format(d, text));

	if (map_has(&p->seen, key))
		return false;
	(void)map_put(&p->seen, key, p);
	return true;
}

static struct err *add_blob(struct push *p, const struct oci_descriptor *d)
{
	if (oci_is_nondistributable(d->media_type) || !is_new(p, &d->digest))
		return NULL;
	if (p->blobs.len >= LIMIT_DESCRIPTORS)
		return err_new(ERR_RESOURCE_EXHAUSTED, "more than %d blobs to push",
			       LIMIT_DESCRIPTORS);
	vec_push(&p->blobs, *d);
	return NULL;
}

static struct err *walk(struct push *p, const struct oci_descriptor *d, int depth);

static struct err *walk_index(struct push *p, struct str text, int depth)
{
	struct oci_index ix;

	TRY(oci_parse_index(&p->arena, text, &ix));
	for (size_t i = 0; i < ix.n_manifests; i++)
		TRY(walk(p, &ix.manifests[i], depth + 1));
	return NULL;
}

static struct err *walk_manifest(struct push *p, struct str text)
{
	struct oci_manifest m;

	TRY(oci_parse_manifest(&p->arena, text, &m));
	if (digest_is_set(&m.config.digest))
		TRY(add_blob(p, &m.config));
	for (size_t i = 0; i < m.n_layers; i++)
		TRY(add_blob(p, &m.layers[i]));
	return NULL;
}

static struct err *walk(struct push *p, const struct oci_descriptor *d, int depth)
{
	SCOPED_BUF(b, LIMIT_MANIFEST);

	if (!reg_is_manifest(d->media_type))
		return add_blob(p, d);
	if (depth > DEPTH_MAX)
		return err_new(ERR_INVALID_ARGUMENT, "indexes nested too deep");
	if (!is_new(p, &d->digest))
		return NULL;
	if (p->manifests.len >= LIMIT_DESCRIPTORS)
		return err_new(ERR_RESOURCE_EXHAUSTED, "more than %d manifests to push",
			       LIMIT_DESCRIPTORS);
	TRY(push_need(p, p->ctx, d));
	TRY(content_read_blob(p->store, p->ctx, &d->digest, LIMIT_MANIFEST, &b));
	if (oci_is_index(d->media_type))
		TRY(walk_index(p, buf_str(&b), depth));
	else
		TRY(walk_manifest(p, buf_str(&b)));
	vec_push(&p->manifests, *d);
	return NULL;
}

struct err *push_walk(struct push *p, const struct oci_descriptor *root)
{
	return walk(p, root, 0);
}
