/* RUN --mount and --device. */
#ifndef FRONTEND_DOCKERFILE_RUN_MOUNT_H
#define FRONTEND_DOCKERFILE_RUN_MOUNT_H

#include "frontend/dockerfile/text.h"

enum run_mount_type { MOUNT_BIND, MOUNT_CACHE, MOUNT_TMPFS, MOUNT_SECRET, MOUNT_SSH };
enum run_mount_sharing { SHARING_UNSET, SHARING_SHARED, SHARING_PRIVATE, SHARING_LOCKED };

struct run_mount {
	enum run_mount_type type;
	struct str from, source, target, id;
	bool read_only, required;
	int64_t size;
	enum run_mount_sharing sharing;
	bool has_env, has_mode, has_uid, has_gid;
	struct str env;
	uint32_t mode, uid, gid;
};

/* Expands the variables of a value; the default is none. */
struct mount_expander {
	struct err *(*expand)(void *arg, struct str value, struct str *ret);
	void *arg;
};

/* Before expansion only `from` is known, and checked. */
struct err *run_mount_from(struct arena *a, struct str text, struct run_mount *ret) ERR_RESULT;
struct err *run_mount_parse(struct arena *a, struct str text, const struct mount_expander *x,
			    struct run_mount *ret) ERR_RESULT;

struct run_device {
	struct str name;
	bool required;
};
struct err *run_device_parse(struct arena *a, struct str text, struct run_device *ret) ERR_RESULT;

/* "64m", "1.5GiB": docker's sizes, in powers of 1024. */
bool size_parse(struct str text, int64_t *ret);

#endif
