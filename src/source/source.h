/* Sources of file trees: what a SourceOp names by "<scheme>://<ref>". A source turns an identifier
 * with its attributes into an instance; the instance knows its cache key and makes the snapshot.
 * Facts: the LLB notes of each scheme. All calls are thread-safe. */
#ifndef SOURCE_SOURCE_H
#define SOURCE_SOURCE_H

#include "base/arena.h"
#include "base/ctx.h"
#include "cache/cache.h"
#include "codec/digest.h"
#include "codec/platform.h"
#include "session/session.h"

/* The step, for work that goes on after the call or comes much later: counted. Whatever starts is
 * stopped; the step shows as being at work meanwhile. */
struct source_tracker {
	void (*start)(struct source_tracker *t);
	void (*status)(struct source_tracker *t, const char *id, const char *name, int64_t current,
		       int64_t total, int64_t started_ns, bool done);
	void (*stop)(struct source_tracker *t, const struct err *e);
	void (*ref)(struct source_tracker *t);
	void (*unref)(struct source_tracker *t);
};

/* Where an instance reports; all calls may come from several threads. */
struct source_progress {
	/* id is unique in the step; total 0 when unknown; done: completed now. The first report of
	 * an id is its start. */
	void (*status)(void *arg, const char *id, const char *name, int64_t current, int64_t total,
		       bool done);
	void (*log)(void *arg, int stream, struct str data);
	void *arg;
	/* A reference; NULL: there is none. */
	struct source_tracker *(*track)(void *arg);
};
/* NULL progress is fine. name: what is being done, or "". */
void source_status(const struct source_progress *p, const char *id, const char *name,
		   int64_t current, int64_t total, bool done);
void source_log(const struct source_progress *p, int stream, struct str data);

/* Of one call. */
struct source_env {
	struct ctx *ctx;
	struct session_group *sessions; /* may be NULL */
	const struct source_progress *progress;
};

struct source_attr {
	struct str key, value;
};
struct source_request {
	struct str identifier; /* whole, "docker-image://..." */
	struct str ref;        /* after "://" */
	const struct source_attr *attrs;
	size_t n_attrs;
	struct platform platform;
};
struct str source_attr_get(const struct source_request *r, const char *key); /* or STR_NONE */

struct source_key {
	/* What decides the cache digest; begins with "session:" when it is good for this session
	 * only.
	 */
	struct str key;
	/* Immutable id for provenance ("sha256:...", a commit); may be empty. */
	struct str pin;
	bool done; /* the last key */
};

/* What is known of a source without its tree, in the arena. */
struct source_meta_opts {
	bool git_objects;               /* the raw objects, too */
	enum digest_algo checksum_algo; /* http: another checksum, of the file and a suffix */
	struct str checksum_suffix;
};
struct source_meta {
	/* git: the object that the ref names (a commit or an annotated tag); the commit if it is
	 * another. */
	struct str checksum, ref, commit_checksum, commit_object, tag_object;
	/* http */
	struct digest digest, suffixed;
	struct str filename;
	int64_t last_modified_ns; /* 0: unknown */
};

struct source_instance;
struct source_instance_ops {
	/* Key number index (0, 1, ...), in the arena. */
	struct err *(*cache_key)(struct source_instance *i, const struct source_env *env,
				 unsigned index, struct arena *a, struct source_key *ret);
	/* The tree; *ret NULL when it is empty. May be lazy. */
	struct err *(*snapshot)(struct source_instance *i, const struct source_env *env,
				struct cache_ref **ret);
	/* NULL: there is nothing to be known. */
	struct err *(*metadata)(struct source_instance *i, const struct source_env *env,
				const struct source_meta_opts *o, struct arena *a,
				struct source_meta *ret);
	void (*free)(struct source_instance *i);
};
/* Embedded first. Used by one vertex; calls may come from several threads, one at a time. */
struct source_instance {
	const struct source_instance_ops *ops;
};

struct source;
struct source_ops {
	/* Parses and checks; no I/O. INVALID_ARGUMENT in the source's words. Copies what it keeps.
	 */
	struct err *(*identify)(struct source *s, const struct source_request *r,
				struct source_instance **ret);
	void (*free)(struct source *s);
};
struct source {
	const struct source_ops *ops;
};

/* ---- table by scheme ---- */
struct source_table;
struct source_table *source_table_new(void);
/* Frees the sources too, each once. NULL is fine. */
void source_table_free(struct source_table *t);
/* A source may serve several schemes: take it with the first, `owned` false for the others. */
void source_table_add(struct source_table *t, const char *scheme, struct source *s, bool owned);
/* Splits the identifier: INVALID_ARGUMENT "failed to parse X: invalid", NOT_FOUND "unknown scheme
 * X: not found". */
struct err *source_identify(const struct source_table *t, struct str identifier,
			    const struct source_attr *attrs, size_t n_attrs,
			    struct platform platform, struct source_instance **ret) ERR_RESULT;
void source_instance_free(struct source_instance *i); /* NULL is fine */

#endif
