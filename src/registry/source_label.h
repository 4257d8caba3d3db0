/* "containerd.io/distribution.source.<host>": the repositories, separated by commas, that a blob
 * is known to be in. Pushes mount from there. */
#ifndef REGISTRY_SOURCE_LABEL_H
#define REGISTRY_SOURCE_LABEL_H

#include "content/content.h"

/* Writes nothing when repo is in the list already. */
struct err *source_label_add(struct content *store, struct ctx *ctx, const struct digest *d,
			     struct str key, struct str repo) ERR_RESULT;
/* The repository of the list that shares most leading components with target and is not the
 * target itself; empty when there is none. */
struct str source_label_pick(struct str list, struct str target);

#endif
