/* The trees of a result, mounted for reading. */
#ifndef EXPORTER_TREES_H
#define EXPORTER_TREES_H

#include "exporter/treeattrs.h"

struct tree {
	struct localmount *mount; /* NULL: empty */
	int sub_fd;               /* of src inside it, or -1 */
	int dirfd;                /* -1: empty */
	struct str prefix;        /* "linux_amd64", or empty */
	const struct export_item *item;
	int64_t epoch_s; /* -1: none */
};

struct trees {
	struct tree *items; /* in the arena */
	size_t n;
};

/* src: only what is at this path of each; "" or "/" is all. split: each under a directory named
 * after its platform. */
struct err *trees_open(const struct exporter_env *env, const struct export_input *in,
		       const struct tree_attrs *o, bool split, struct arena *a,
		       struct trees *ret) ERR_RESULT;
void trees_close(struct trees *t);
/* Without split the same path may come from one tree only: `cannot overwrite P from A with
 * B when split option is disabled`. */
struct err *trees_check_overlap(const struct trees *t) ERR_RESULT;

#endif
