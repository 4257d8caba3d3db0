/* Cache mounts of exec steps: directories kept under a name, `cache-dir:<id>[:<ref>]` in the
 * metadata of retained mutable records. Thread-safe. */
#ifndef CACHE_CACHEMOUNT_H
#define CACHE_CACHEMOUNT_H

#include "cache/cache.h"

enum cachemount_sharing {
	CACHEMOUNT_SHARED,  /* all who have it at a time have the same directory */
	CACHEMOUNT_PRIVATE, /* one nobody else has, else a new one */
	CACHEMOUNT_LOCKED,  /* waits for it */
};

/* Those of one cache: owned by whoever made it; all must be put before it is freed. */
struct cachemounts;
struct cachemounts *cachemounts_new(struct cache *c);
void cachemounts_free(struct cachemounts *ms); /* NULL is fine */

struct cachemount;

/* ref is the input it starts from (borrowed, NULL is an empty directory), and part of the name. o
 * describes a record that has to be made; its type and retain are set here. */
struct err *cachemount_get(struct cachemounts *ms, struct ctx *ctx, struct str id,
			   struct cache_ref *ref, enum cachemount_sharing sharing,
			   const struct cache_opts *o, struct cachemount **ret) ERR_RESULT;
/* For steps in which several mounts have one name: another handle on the same directory. */
struct cachemount *cachemount_ref(struct cachemount *m);
void cachemount_put(struct cachemount *m); /* NULL is fine */
void cachemount_putp(struct cachemount **m);
const char *cachemount_record_id(const struct cachemount *m);
struct err *cachemount_mounts(struct cachemount *m, struct ctx *ctx, struct arena *a, bool readonly,
			      struct mounts **ret) ERR_RESULT;
/* Forgets the directories of this id, whatever their ref; those in use go when they are put. */
struct err *cachemount_clear(struct cachemounts *ms, struct ctx *ctx, struct str id) ERR_RESULT;

#endif
