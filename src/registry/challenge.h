/* WWW-Authenticate (RFC 9110 section 11, RFC 6750): what a server asks for. One header may hold
 * several challenges. Strings live in the given arena. */
#ifndef REGISTRY_CHALLENGE_H
#define REGISTRY_CHALLENGE_H

#include "base/arena.h"

struct challenge {
	struct str scheme; /* as sent; compare without case */
	struct str realm, service, scope, error;
};

#define CHALLENGES_MAX 16

/* Appends to out, up to CHALLENGES_MAX in all; what can't be understood is left out. */
void challenge_parse(struct arena *a, struct str header, struct challenge out[CHALLENGES_MAX],
		     size_t *n);
const struct challenge *challenge_find(const struct challenge *c, size_t n, const char *scheme);

#endif
