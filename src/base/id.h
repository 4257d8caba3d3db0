/* Random identifiers. */
#ifndef BASE_ID_H
#define BASE_ID_H

#include "base/arena.h"

#include <stdint.h>

/* Cryptographic random bytes. */
void id_random(void *p, size_t len);
/* 25 characters of base 36, first one a letter or digit: the form of BuildKit's
 * record, session and build ids. out has room for ID_LEN + 1. */
#define ID_LEN 25
void id_make(char out[ID_LEN + 1]);
char *id_new(struct arena *a);

#endif
