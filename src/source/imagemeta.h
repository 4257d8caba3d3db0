/* Resolving images: a reference and a platform become a manifest and a config, from a
 * registry or from a client's OCI layout. */
#ifndef SOURCE_IMAGEMETA_H
#define SOURCE_IMAGEMETA_H

#include "base/ref.h"
#include "cache/cache.h"
#include "codec/imageref.h"
#include "codec/oci.h"
#include "content/content.h"
#include "content/imagestore.h"
#include "registry/registry.h"
#include "session/session.h"

enum image_resolve {
	IMAGE_RESOLVE_DEFAULT, /* the worker's own when the registry has no answer */
	IMAGE_RESOLVE_PULL,    /* the registry only */
	IMAGE_RESOLVE_LOCAL,   /* the worker's own first */
};
/* "", "default", "pull" or "local"; INVALID_ARGUMENT otherwise. */
struct err *image_resolve_parse(struct str text, enum image_resolve *ret) ERR_RESULT;

/* Where blobs come from. Counted: lazy layers keep theirs. */
struct image_origin {
	struct ref refs;
	struct registry *registry; /* NULL: the session's store */
	struct session_manager *sessions;
	struct session_group *group; /* own reference; may be NULL */
	struct content *store;       /* the worker's */
	struct imageref ref;         /* strings in arena */
	char *session_id, *store_id; /* of an OCI layout; session_id may be NULL: any */
	bool insecure;               /* of a registry: see struct registry_auth */
	/* Of a registry: the worker's own images, which serve too. NULL: it has none. */
	struct image_store *images;
	enum image_resolve resolve;
	struct arena arena;
};

struct image_origin *image_origin_registry(struct registry *r, struct session_manager *m,
					   struct session_group *g, struct content *store,
					   const struct imageref *ref);
struct image_origin *image_origin_layout(struct session_manager *m, struct session_group *g,
					 struct content *store, const struct imageref *ref,
					 struct str session_id, struct str store_id);
/* The same place in the name of other sessions. */
struct image_origin *image_origin_for(const struct image_origin *o, struct session_group *g);
struct image_origin *image_origin_ref(struct image_origin *o);
void image_origin_unref(struct image_origin *o); /* NULL is fine */
void image_origin_unrefp(struct image_origin **o);
/* Makes a blob available in the store. */
struct err *image_origin_fetch(struct image_origin *o, struct ctx *ctx,
			       const struct oci_descriptor *d,
			       const struct registry_progress *p) ERR_RESULT;
/* What the reference of a registry's origin names now. */
struct err *image_origin_resolve(struct image_origin *o, struct ctx *ctx, struct arena *a,
				 struct oci_descriptor *ret) ERR_RESULT;

struct imagemeta {
	struct oci_descriptor root; /* what the reference names: an index or a manifest */
	struct oci_descriptor manifest_desc;
	struct oci_manifest manifest;
	struct str config; /* JSON, raw */
	struct digest *diff_ids;
	size_t n_diff_ids;
};

/* checksum (may be unset) must equal the root's digest. */
struct err *imagemeta_resolve(struct image_origin *o, struct ctx *ctx, struct platform p,
			      const struct digest *checksum, struct arena *a,
			      struct imagemeta *ret) ERR_RESULT;
/* Of a stack of diff ids (OCI image spec, "Layer ChainID"). */
struct digest image_chain_id(const struct digest *diff_ids, size_t n);

#endif
