/* containerd's images by name, and their layers as its snapshots. */
#include "containerd/internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "content/content.h"

#define I(method) CTD_SERVICE("images.v1.Images", method)
#define S(method) CTD_SERVICE("snapshots.v1.Snapshots", method)

static struct ctd *of(struct image_store *s)
{
	return container_of(s, struct ctd, images);
}

static struct err *get(struct image_store *s, struct ctx *ctx, struct arena *a, struct str name,
		       struct oci_descriptor *ret, bool *ret_found)
{
	Ctd__GetImageRequest q = CTD__GET_IMAGE_REQUEST__INIT;
	Ctd__ImageResponse *r;
	struct err *e;

	*ret_found = false;
	q.name = str_cstr(a, name);
	e = ctd_call(of(s), ctx, I("Get"), &q, a, &ctd__image_response__descriptor, &r, NULL);
	if (err_is(e, ERR_NOT_FOUND)) {
		err_free(e);
		return NULL;
	}
	TRY(e);
	if (!r->image || !r->image->target)
		return err_new(ERR_INTERNAL, "image %s: no target", q.name);
	*ret = (struct oci_descriptor) { .media_type = str_from(r->image->target->media_type),
					 .size = r->image->target->size };
	TRY(digest_parse(str_from(r->image->target->digest), &ret->digest));
	*ret_found = true;
	return NULL;
}

static Ctd__Descriptor *descriptor_pb(struct arena *a, const struct oci_descriptor *d)
{
	Ctd__Descriptor *out = ARENA_NEW(a, Ctd__Descriptor);

	ctd__descriptor__init(out);
	out->media_type = str_cstr(a, d->media_type);
	out->digest = digest_text(&d->digest, a);
	out->size = (int64_t)d->size;
	return out;
}

static struct err *put(struct image_store *s, struct ctx *ctx, struct str name,
		       const struct oci_descriptor *target)
{
	Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
	Ctd__ImageRequest q = CTD__IMAGE_REQUEST__INIT;
	Ctd__UpdateImageRequest u = CTD__UPDATE_IMAGE_REQUEST__INIT;
	Ctd__Image image = CTD__IMAGE__INIT;
	char *paths[] = { (char *)"target" };
	Ctd__ImageResponse *r;
	struct err *e;
	SCOPED_ARENA(a);

	image.name = str_cstr(&a, name);
	image.target = descriptor_pb(&a, target);
	image.created_at = image.updated_at = proto_timestamp(&a, clock_wall());
	q.image = u.image = &image;
	mask.paths = paths;
	mask.n_paths = 1;
	u.update_mask = &mask;
	/* Most names are there from the build before. */
	e = ctd_call(of(s), ctx, I("Update"), &u, &a, &ctd__image_response__descriptor, &r, NULL);
	if (!err_is(e, ERR_NOT_FOUND))
		return e;
	err_free(e);
	e = ctd_call(of(s), ctx, I("Create"), &q, &a, &ctd__image_response__descriptor, &r, NULL);
	if (!err_is(e, ERR_ALREADY_EXISTS))
		return e;
	/* Somebody was quicker. */
	err_free(e);
	return ctd_call(of(s), ctx, I("Update"), &u, &a, &ctd__image_response__descriptor, &r,
			NULL);
}

/* ---- unpacking, by containerd itself ---- */

static struct digest chain_of(const struct digest *below, const struct digest *diff_id)
{
	char a[DIGEST_TEXT_MAX], b[DIGEST_TEXT_MAX], both[2 * DIGEST_TEXT_MAX + 1];
	int n;

	if (!digest_is_set(below))
		return *diff_id;
	n = snprintf(both, sizeof(both), "%s %s", digest_format(below, a),
		     digest_format(diff_id, b));
	return digest_sha256(str_make(both, (size_t)n));
}

static struct err *has_snapshot(struct ctd *c, struct ctx *ctx, char *key, bool *ret)
{
	Ctd__SnapshotRequest q = CTD__SNAPSHOT_REQUEST__INIT;
	Ctd__StatSnapshotResponse *r;
	struct err *e;
	SCOPED_ARENA(a);

	q.snapshotter = (char *)c->snapshotter;
	q.key = key;
	e = ctd_call(c, ctx, S("Stat"), &q, &a, &ctd__stat_snapshot_response__descriptor, &r, NULL);
	*ret = !e;
	if (!err_is(e, ERR_NOT_FOUND))
		return e;
	err_free(e);
	return NULL;
}

static struct err *apply(struct ctd *c, struct ctx *ctx, char *key, char *parent,
			 const struct oci_descriptor *layer, struct arena *a)
{
	Ctd__PrepareSnapshotRequest p = CTD__PREPARE_SNAPSHOT_REQUEST__INIT;
	Ctd__ApplyRequest ap = CTD__APPLY_REQUEST__INIT;
	Ctd__ApplyResponse *applied;
	Ctd__MountsResponse *m;

	p.snapshotter = (char *)c->snapshotter;
	p.key = key;
	p.parent = parent;
	TRY(ctd_call(c, ctx, S("Prepare"), &p, a, &ctd__mounts_response__descriptor, &m, NULL));
	ap.diff = descriptor_pb(a, layer);
	ap.mounts = m->mounts;
	ap.n_mounts = m->n_mounts;
	return ctd_call(c, ctx, CTD_SERVICE("diff.v1.Diff", "Apply"), &ap, a,
			&ctd__apply_response__descriptor, &applied, NULL);
}

static struct err *unpack_layer(struct ctd *c, struct ctx *ctx, const struct oci_descriptor *layer,
				char *chain, char *parent)
{
	Ctd__CommitSnapshotRequest q = CTD__COMMIT_SNAPSHOT_REQUEST__INIT;
	Ctd__SnapshotRequest rm = CTD__SNAPSHOT_REQUEST__INIT;
	struct err *e;
	bool there;
	SCOPED_ARENA(a);

	TRY(has_snapshot(c, ctx, chain, &there));
	if (there)
		return NULL;
	q.snapshotter = rm.snapshotter = (char *)c->snapshotter;
	q.name = chain;
	q.key = rm.key = arena_printf(&a, "buildkit-c-extract %s", chain);
	TRY(ctd_undo(c, ctx, S("Remove"), &rm));
	e = apply(c, ctx, q.key, parent, layer, &a);
	if (!e)
		e = ctd_do(c, ctx, S("Commit"), &q);
	if (e)
		err_free(ctd_undo(c, c->ctx, S("Remove"), &rm));
	if (err_is(e, ERR_ALREADY_EXISTS)) {
		err_free(e);
		return NULL;
	}
	return e;
}

/* From the worker's lease to the image, which keeps the topmost and so all. */
static struct err *hand_over(struct ctd *c, struct ctx *ctx, const struct digest *config,
			     char *const *chains, size_t n)
{
	SCOPED_ARENA(a);
	const struct content_label l = {
		str_from(arena_printf(&a, "containerd.io/gc.ref.snapshot.%s", c->snapshotter)),
		str_from(chains[n - 1]),
	};
	char *type = arena_printf(&a, "snapshots/%s", c->snapshotter);

	TRY(content_label(c->content, ctx, config, &l, 1));
	for (size_t i = 0; i < n; i++)
		TRY(ctd_lease_drop(c, ctx, type, chains[i]));
	return NULL;
}

static struct err *unpack(struct image_store *s, struct ctx *ctx,
			  const struct oci_descriptor *layers, const struct digest *diff_ids,
			  size_t n, const struct digest *config)
{
	struct ctd *c = of(s);
	struct digest chain = { 0 };
	SCOPED_ARENA(a);
	char **chains = ARENA_NEW_N(&a, char *, n + 1);

	for (size_t i = 0; i < n; i++) {
		chain = chain_of(&chain, &diff_ids[i]);
		chains[i] = digest_text(&chain, &a);
		TRYW(unpack_layer(c, ctx, &layers[i], chains[i], i ? chains[i - 1] : (char *)""),
		     "failed to unpack layer %s", digest_text(&layers[i].digest, &a));
	}
	return n ? hand_over(c, ctx, config, chains, n) : NULL;
}

void ctd_images_init(struct ctd *c)
{
	c->images = (struct image_store) { get, put, unpack };
}

struct image_store *ctd_images(struct ctd *c)
{
	return &c->images;
}
