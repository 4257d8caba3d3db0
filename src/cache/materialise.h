/* Inside cache: giving lazy records a snapshot. lazy.c does layers, merge.c merges and diffs. */
#ifndef CACHE_MATERIALISE_H
#define CACHE_MATERIALISE_H

#include "cache/cache_impl.h"

/* The caller has a handle on r or on something that stands on it. */
struct err *materialise(struct record *r, struct ctx *ctx) ERR_RESULT;
struct err *materialise_other(struct record *r, struct ctx *ctx) ERR_RESULT;
/* The layers that r shows, lowest first: merges and differences are taken apart into those of their
 * inputs, as far as they are made of whole layers. */
struct err *record_flatten(struct record *r, struct record_vec *out) ERR_RESULT;
/* Tells those who wait in cache_ref_unlazy. */
void materialise_report(struct cache *c, struct record *r, const struct oci_descriptor *d,
			bool done);

#endif
