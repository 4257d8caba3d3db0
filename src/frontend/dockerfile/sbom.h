/* Scanning the result for its contents: a container of the scanner's image runs over it, and what
 * it writes becomes an attestation. */
#ifndef FRONTEND_DOCKERFILE_SBOM_H
#define FRONTEND_DOCKERFILE_SBOM_H

#include "frontend/dockerfile/plan.h"

struct scanner {
	struct str ref; /* empty: no scan is wanted */
	struct image image;
};

/* Looks the scanner's image up. */
struct err *sbom_init(struct df *df, struct ctx *ctx, struct scanner *ret) ERR_RESULT;
/* Adds the scan of a finished plan to the result, under the id of its platform. */
struct err *sbom_scan(struct plan *p, const struct scanner *s, struct str id,
		      struct frontend_result *res) ERR_RESULT;

#endif
