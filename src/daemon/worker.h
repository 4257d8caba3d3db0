/* A worker of the daemon: its state under <root>/runc-<snapshotter>/ or containerd-<snapshotter>/,
 * and all that stands on it. */
#ifndef DAEMON_WORKER_H
#define DAEMON_WORKER_H

#include "control/control.h"
#include "daemon/config.h"
#include "exec/cdi.h"

struct kv;
struct httpc;
struct ctd;
struct image_store;

/* What workers share; owned by the daemon. */
struct daemon_parts {
	const struct config *cfg;
	struct ctx *ctx;
	struct grpc_loop *loop;
	struct kv *kv;
	struct session_manager *sessions;
	struct registry *registry;
	struct httpc *http;
	const struct worker_set *set; /* filled once all are open */
};

struct daemon_worker {
	const struct config_worker *config;
	char *dir, *id, *tmp_dir, *secrets_dir;
	struct kv *kv;   /* its part of the daemon's */
	struct ctd *ctd; /* of a containerd worker */
	struct content *content;
	struct snapshotter *snapshotter;
	struct cache *cache;
	struct cachemounts *cachemounts;
	struct executor *executor;
	struct source_table *sources;
	struct sem parallelism;
	struct platform *platforms;
	size_t n_platforms;
	struct oci_kv *labels;
	size_t n_labels;
	struct arena arena;
	struct cdi_config cdi;
	struct step_proxies *proxies;
	struct worker worker; /* what operations see */
};

/* NULL if it has none. */
struct image_store *daemon_worker_images(struct daemon_worker *w);
struct err *daemon_worker_open(const struct daemon_parts *p, const struct config_worker *wc,
			       struct daemon_worker *ret) ERR_RESULT;
/* Also of one that opened half; zeroed memory is fine. */
void daemon_worker_close(struct daemon_worker *w);

#endif
