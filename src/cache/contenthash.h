/* Content checksums of paths in a ref, as BuildKit computes them (the facts:
 * tarsum-like entry headers, directory digests over sorted children). Kept in the record. */
#ifndef CACHE_CONTENTHASH_H
#define CACHE_CONTENTHASH_H

#include "cache/cache.h"

struct contenthash_opts {
	bool follow_links; /* the last component too */
	bool wildcard;     /* counts only if the path has any of * ? [ \ */
	const struct str *include, *exclude;
	size_t n_include, n_exclude;
	const struct str *required; /* from the root; must exist: NOT_FOUND otherwise */
	size_t n_required;
};
/* r NULL is an empty tree. NOT_FOUND `"/path": not found`. */
struct err *contenthash_checksum(struct cache *c, struct ctx *ctx, struct cache_ref *r,
				 struct str path, const struct contenthash_opts *o,
				 struct digest *ret) ERR_RESULT;
/* What that checksum is made of, for people who want to know what has changed: the entries that
 * count, those near the top first, max at most. `all_below`: the digest is of a directory with all
 * that is in it, which was not gone into. Reads only what the checksum has not. */
struct contenthash_part {
	struct str path;       /* absolute; valid during the call */
	const uint8_t *digest; /* 32 bytes */
	bool all_below;
};
struct err *contenthash_parts(struct cache *c, struct ctx *ctx, struct cache_ref *r,
			      struct str path, const struct contenthash_opts *o, size_t max,
			      void (*each)(void *arg, const struct contenthash_part *p),
			      void *arg) ERR_RESULT;
/* Digest of one entry, for those who hash while they receive: header part from stat-like data, then
 * content. mode is POSIX (type and permission bits). Symlinks: linkname. */
struct contenthash_entry {
	struct str path; /* clean, relative */
	uint32_t mode, uid, gid, devmajor, devminor;
	uint64_t size;
	struct str linkname;
	const struct str *xattr_names, *xattr_values; /* sorted by name */
	size_t n_xattrs;
};
void contenthash_begin(struct hasher *h, const struct contenthash_entry *e);
/* Stores what a transfer has already computed: all entries but the root, in any order, with their
 * digests (of directories: of the header). The record is one being written (before it is frozen or
 * committed) or the result of that. */
struct contenthash_known {
	struct str path;
	struct digest digest;
	uint32_t mode;
	struct str linkname;
};
struct err *contenthash_seed(struct cache *c, struct str record_id,
			     const struct contenthash_known *known, size_t n) ERR_RESULT;
/* Of a mutable record that was mounted for writing: nothing was changed, so what is known of it
 * stays valid when it is frozen. Without this or a seed it is forgotten. */
void contenthash_unchanged(struct cache *c, struct str record_id);

#endif
