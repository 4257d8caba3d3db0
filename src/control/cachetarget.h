/* Where a cache export goes: type and attributes, and the sending. */
#ifndef CONTROL_CACHETARGET_H
#define CONTROL_CACHETARGET_H

#include "codec/imageref.h"
#include "control/build.h"
#include "exporter/attrs.h"
#include "remotecache/objstore.h"

struct cachetarget {
	const struct cachetarget_kind *kind;
	struct remotecache_form form;
	bool ignore_error;
	struct imageref ref; /* registry */
	bool insecure;
	const char *store;        /* local: the client's store */
	struct objstore *objects; /* s3, azblob */
};

struct cachetarget_kind {
	const char *type, *step_name;
	struct err *(*parse)(struct control *c, struct arena *a, const struct attrs *at,
			     struct cachetarget *t);
	/* What was written, config and manifest last; statuses go to v. NULL: nothing is sent. */
	struct err *(*send)(struct build *b, struct ctx *ctx, struct vprogress *v,
			    const struct cachetarget *t, const struct remotecache_written *w,
			    struct arena *a);
};

/* `unknown cache exporter: "X"`, `failed to configure X cache exporter: ...`. Strings live in the
 * arena. */
struct err *cachetarget_parse(struct control *c, struct arena *a,
			      const Moby__Buildkit__V1__CacheOptionsEntry *in,
			      struct cachetarget *ret) ERR_RESULT;
void cachetarget_fini(struct cachetarget *t);
/* The cloud store of that type; *ret NULL: it is none. */
struct err *cachetarget_objects(struct control *c, struct str type, const struct attrs *at,
				struct arena *a, struct objstore **ret) ERR_RESULT;

#endif
