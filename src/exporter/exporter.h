/* Exporters: what becomes of a build's result. One is made for each entry of the request
 * (attributes checked before anything runs), exports the finished result under its own
 * progress step, and may leave a finaliser (registry push) that runs after all exports.
 *
 * Facts: docs/internals/exporter.md. An exporter belongs to one build; its calls come one
 * after another, different exporters run at the same time. */
#ifndef EXPORTER_EXPORTER_H
#define EXPORTER_EXPORTER_H

#include "base/arena.h"
#include "base/map.h"
#include "cache/cache.h"
#include "codec/oci.h"
#include "content/imagestore.h"
#include "registry/registry.h"
#include "session/session.h"
#include "solver/progress.h"

struct exporter_kv {
	struct str key, value;
};

/* One tree of the result. */
struct export_item {
	struct str platform_id; /* "linux/amd64"; empty for a single result without a mapping */
	struct platform platform;
	bool has_platform;
	struct cache_ref *ref;          /* borrowed; NULL is an empty tree */
	struct str config, base_config; /* image config JSON, or empty */
	struct str epoch;               /* source.date.epoch of the frontend, or empty */
	struct str inline_cache;        /* records JSON for moby.buildkit.cache.v0, or empty */
};

struct export_input {
	struct export_item *items;
	size_t n_items;
	bool is_map; /* the frontend gave a map: an index even for one platform */
	const struct exporter_kv *metadata; /* all of the result's */
	size_t n_metadata;
};

/* What exporters stand on; owned by main, outlives them. */
struct exporter_host {
	struct cache *cache;
	struct registry *registry;
	struct session_manager *sessions;
	struct image_store *images; /* the worker's; NULL: it has none */
	const char *tmp_dir;
	struct platform platform; /* of the daemon */
};

/* The build's side. */
struct exporter_env {
	struct ctx *ctx;
	const struct exporter_host *host;
	struct session_group *sessions;
	struct str session_id; /* where files go */
	struct vprogress *progress;
	int index; /* in the request */
	/* Answers of the exporters so far: key -> heap char *. Exporters add to it under lock. */
	struct map *response;
	struct lock *response_lock;
};

struct exporter {
	const struct exporter_ops *ops;
	const char *type;
	const char *step_name; /* "exporting to image" */
};

struct exporter_ops {
	struct err *(*export)(struct exporter *e, const struct exporter_env *env,
			      const struct export_input *in);
	/* After all exports; NULL or *needed false: nothing to do. */
	bool (*needs_finalize)(const struct exporter *e);
	struct err *(*finalize)(struct exporter *e, const struct exporter_env *env);
	/* The compression wanted, for the inline cache; NULL if it makes no image. */
	const struct cache_compress *(*compression)(const struct exporter *e);
	void (*free)(struct exporter *e);
};

/* By type and attributes. `exporter "X" could not be found`, `non-bool value specified for K`, ...
 */
struct err *exporter_new(const struct exporter_host *host, struct str type,
			 const struct exporter_kv *attrs, size_t n,
			 struct exporter **ret) ERR_RESULT;
void exporter_free(struct exporter *e); /* NULL is fine */

/* Adds to the response. */
void exporter_respond(const struct exporter_env *env, const char *key, struct str value);

#endif
