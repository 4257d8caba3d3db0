/* Cloud stores of named objects that caches are kept in (S3, Azure): what such a cache needs of
 * one, and the cache itself: a config (whose layers describe themselves) under a name, and blobs by
 * digest. */
#ifndef REMOTECACHE_OBJSTORE_H
#define REMOTECACHE_OBJSTORE_H

#include "base/ref.h"
#include "registry/httpc.h"
#include "remotecache/import.h"
#include "remotecache/remotecache.h"
#include "solver/progress.h"

struct objstore;

struct objstat {
	bool found;
	int64_t modified_ns; /* wall; 0: unknown */
	int64_t size;
};

/* What is put: a text, or a blob of a content store. */
struct objbody {
	struct ctx *ctx; /* that the content store is read under */
	struct str text;
	struct content *content; /* NULL: the text */
	const struct oci_descriptor *blob;
	struct digest sha256; /* of all of it */
};

struct objstore_ops {
	struct err *(*stat)(struct objstore *s, struct ctx *ctx, struct str key,
			    struct objstat *ret);
	/* *ret_found false: there is no such object. */
	struct err *(*get)(struct objstore *s, struct ctx *ctx, struct str key,
			   struct err *(*on_body)(void *arg, const void *p, size_t len), void *arg,
			   bool *ret_found);
	/* fresh: nothing happens when it is there already. */
	struct err *(*put)(struct objstore *s, struct ctx *ctx, struct str key,
			   const struct objbody *body, bool fresh);
	/* Makes it as new as if it had been put now; NULL: objects do not age. */
	struct err *(*touch)(struct objstore *s, struct ctx *ctx, struct str key, int64_t size);
	void (*free)(struct objstore *s);
};

/* Counted: lazy layers keep theirs. Settings do not change once it is made. */
struct objstore {
	const struct objstore_ops *ops;
	struct ref ref;
	struct arena arena;
	struct httpc *http;
	struct str *names; /* the config is written under each */
	size_t n_names;
	bool read_all;        /* all names are read, not only the first */
	struct str manifests; /* what names begin with */
	struct str blobs;     /* what digests begin with */
	bool clean_keys;      /* keys are cleaned paths */
	size_t parallel;      /* uploads at once */
	int64_t touch_age_ns; /* older ones are touched */
};

struct objstore_attr {
	struct str key, value;
};
/* Attributes as they were given; texts of errors are the original's. Nothing is sent yet. */
struct err *objstore_s3(struct httpc *http, const struct objstore_attr *attrs, size_t n,
			struct objstore **ret) ERR_RESULT;
struct err *objstore_azblob(struct httpc *http, const struct objstore_attr *attrs, size_t n,
			    struct objstore **ret) ERR_RESULT;

void objstore_init(struct objstore *s, const struct objstore_ops *ops, struct httpc *http);
struct objstore *objstore_ref(struct objstore *s);
void objstore_unref(struct objstore *s); /* NULL is fine */
/* An attribute, else the environment's variable (env NULL: none), else what is said. */
struct str objstore_setting(struct arena *a, const struct objstore_attr *attrs, size_t n,
			    const char *key, const char *env, const char *otherwise);
/* "a;b" */
void objstore_names(struct objstore *s, struct str list);
/* For a request: opens the body anew for each try. */
struct err *objbody_open(void *body, struct reader **ret) ERR_RESULT;
int64_t objbody_size(const struct objbody *b);

/* ---- the cache ---- */

/* The sources are the caller's to unref; none when there is no config yet. */
struct err *objcache_import(struct objstore *s, struct cache *c,
			    struct result *(*result_of)(void *arg, struct cache_ref *take_ref),
			    void *arg, struct ctx *ctx, struct arena *a, struct cache_source ***ret,
			    size_t *ret_n) ERR_RESULT;
/* Sends what remotecache_write wrote with form.annotated; a status a layer goes to v. */
struct err *objcache_export(struct objstore *s, struct ctx *ctx, struct content *from,
			    const struct remotecache_written *w, struct vprogress *v) ERR_RESULT;

#endif
