/* An image configuration as Docker knows it (OCI's plus Healthcheck, OnBuild, Shell), read from
 * JSON and written with the bytes of the Go client's. Strings live in the arena. */
#ifndef FRONTEND_DOCKERFILE_IMAGE_H
#define FRONTEND_DOCKERFILE_IMAGE_H

#include "base/buf.h"
#include "codec/platform.h"
#include "frontend/dockerfile/env.h"
#include "frontend/dockerfile/parse.h"

struct history {
	struct str created, created_by, author, comment; /* created is RFC 3339 or empty */
	bool empty_layer;
};

struct image {
	struct str created, author;
	struct platform platform;

	struct str user, working_dir, stop_signal;
	struct strs exposed_ports, volumes; /* sorted sets */
	struct strs env, entrypoint, cmd, on_build, shell;
	struct env_var *labels; /* by key */
	size_t n_labels;
	bool args_escaped;
	struct healthcheck *health;

	struct str rootfs_type;
	struct strs diff_ids;
	bool has_diff_ids;
	struct history *history;
	size_t n_history, cap_history;
};

struct err *image_parse(struct arena *a, struct str json, struct image *ret) ERR_RESULT;
/* Of a stage that starts from nothing. */
struct image image_empty(struct arena *a, const struct platform *p);
struct image image_clone(struct arena *a, const struct image *img);
void image_print(const struct image *img, struct buf *out);

void image_set_label(struct arena *a, struct image *img, struct str key, struct str value);
void image_set_env(struct arena *a, struct image *img, struct str key, struct str value);
void image_add_history(struct arena *a, struct image *img, struct str created_by, bool empty_layer,
		       struct str created);
/* Adds to a sorted set. */
void image_set_add(struct arena *a, struct strs *set, const struct strs *list);
const char *image_default_path(const struct platform *p);

#endif
