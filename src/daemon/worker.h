/* The OCI worker: its state under <root>/runc-<snapshotter>/ and all that stands on it. */
#ifndef DAEMON_WORKER_H
#define DAEMON_WORKER_H

#include "control/control.h"
#include "daemon/config.h"

struct kv;
struct httpc;

struct oci_worker {
	char *dir, *id, *tmp_dir, *secrets_dir;
	struct content *content;
	struct snapshotter *snapshotter;
	struct cache *cache;
	struct cachemounts *cachemounts;
	struct executor *executor;
	struct source_table *sources;
	struct sem parallelism;
	struct platform *platforms;
	size_t n_platforms;
	struct exporter_kv *labels;
	size_t n_labels;
	struct arena arena;
	struct worker worker; /* what operations see */
};

struct err *oci_worker_open(const struct config *cfg, struct ctx *ctx, struct kv *kv,
			    struct session_manager *sessions, struct registry *registry,
			    struct httpc *client, struct oci_worker *ret) ERR_RESULT;
/* Also of one that opened half; zeroed memory is fine. */
void oci_worker_close(struct oci_worker *w);

#endif
