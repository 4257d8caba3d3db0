/* Registry credentials as the Docker CLI keeps them: config.json in DOCKER_CONFIG or ~/.docker,
 * with its credential helper programs; and the token seeds beside it. Thread-safe. */
#ifndef SESSION_DOCKER_CONFIG_H
#define SESSION_DOCKER_CONFIG_H

#include "base/arena.h"
#include "base/ctx.h"

struct auth_config;

/* dir NULL: by the environment. A missing file is an empty configuration. */
struct err *auth_config_open(const char *dir, struct auth_config **ret) ERR_RESULT;
void auth_config_free(struct auth_config *c); /* NULL is fine */

struct auth_entry {
	struct str username, password;
	struct str identity_token; /* stands for both */
	struct str registry_token; /* to be used as it is */
};
/* For a registry host; all empty when there is nothing. In the arena. What a helper said is good
 * for some minutes. */
struct err *auth_config_get(struct auth_config *c, struct ctx *ctx, struct arena *a,
			    struct str host, struct auth_entry *ret) ERR_RESULT;

/* 16 random bytes for a host, the same in every process; made when there are none yet. */
#define TOKEN_SEED 16
struct err *auth_config_seed(struct auth_config *c, struct str host,
			     uint8_t ret[TOKEN_SEED]) ERR_RESULT;

#endif
