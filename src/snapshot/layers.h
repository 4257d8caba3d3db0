/* Stacks of overlay layers: kept below the kernel's limit, made fit for other bases, compared. */
#ifndef SNAPSHOT_LAYERS_H
#define SNAPSHOT_LAYERS_H

#include "snapshot/store.h"

bool snapshot_is_overlay(const struct snapshotter *s);

/* Read-only mounts of a stack. */
struct mounts *layers_mounts(const struct store *st, const struct layers *l, struct arena *a);

/* Joins layers of a committed snapshot's stack when it is so deep that one on top of it could not
 * be mounted. */
struct err *layers_limit(struct store *st, struct snap *s) ERR_RESULT;

/* When upper is one layer on top of exactly lower's stack: a descriptor of that layer's directory.
 * *ret_fd stays as it is otherwise. */
struct err *layers_open_single(struct store *st, struct str lower, struct str upper,
			       int *ret_fd) ERR_RESULT;

/* A new layer that stands for these (topmost first, next to each other in a stack). bottom: there
 * is nothing below them. One reference. */
struct err *layers_join(struct store *st, struct layer *const *l, size_t n, bool bottom,
			struct layer **ret) ERR_RESULT;

/* A read-only view, whatever the number of layers. *ret_tmp (may come out NULL) is to be dropped
 * when it is closed. */
struct err *layers_open_view(struct store *st, struct layer *const *l, size_t n,
			     struct localmount **ret, struct layer **ret_tmp) ERR_RESULT;

/* The layer itself, or a copy of it that means the same on any base: no opaque directories that
 * hide the base's, no files that don't differ from the base's. base is what is below it. Counted.
 */
struct err *layers_clean(struct store *st, struct ctx *ctx, struct layer *l,
			 const struct layers *base, struct layer **ret) ERR_RESULT;

#endif
