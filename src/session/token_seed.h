/* Client-side randomness of token authorities, kept in the Docker CLI's directory: .token_seed, a
 * JSON object {"<host>": {"Seed": "<base64>"}}, under the lock .token_seed.lock. */
#ifndef SESSION_TOKEN_SEED_H
#define SESSION_TOKEN_SEED_H

#include "base/err.h"

#include <stdint.h>

/* 16 bytes. A directory that can't be written to gives a seed that is not kept. */
struct err *token_seed_get(const char *dir, struct str host, uint8_t ret[16]) ERR_RESULT;

#endif
