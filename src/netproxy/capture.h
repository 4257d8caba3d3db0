/* What a step asked for through its proxy: shown in its log, and kept as materials of the build.
 * Counted and thread-safe. */
#ifndef NETPROXY_CAPTURE_H
#define NETPROXY_CAPTURE_H

#include "base/arena.h"
#include "base/lock.h"
#include "codec/digest.h"

/* URLs are as they are shown: without secrets and default ports. */
struct capture_request {
	struct str method, url;
	struct str redirect; /* where its answer points to; or empty */
	int status;
};
struct capture_material {
	struct str url;
	struct digest digest; /* of the whole body */
};
struct capture_incomplete {
	struct str method, url;
	const char *reason;
};

struct capture;
struct capture *capture_new(void);
struct capture *capture_ref(struct capture *c);
void capture_unref(struct capture *c); /* NULL is fine */

/* Copies. Past LIMIT_CAPTURE of each kind they are dropped, and "too_many_requests" is noted. */
void capture_add_request(struct capture *c, const struct capture_request *r);
void capture_add_material(struct capture *c, const struct capture_material *m);
void capture_add_incomplete(struct capture *c, const struct capture_incomplete *i);

/* Once nothing is added any more; borrowed from c. */
const struct capture_request *capture_requests(struct capture *c, size_t *ret_n);
const struct capture_incomplete *capture_incompletes(struct capture *c, size_t *ret_n);
/* With those that only redirected to a captured one; in the arena. */
const struct capture_material *capture_materials(struct capture *c, struct arena *a, size_t *ret_n);

#endif
