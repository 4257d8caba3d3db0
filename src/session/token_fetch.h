/* Bearer tokens from a registry's authorization server (Docker token authentication and its OAuth2
 * form), by libcurl. Blocks. */
#ifndef SESSION_TOKEN_FETCH_H
#define SESSION_TOKEN_FETCH_H

#include "base/arena.h"
#include "base/ctx.h"

struct token_query {
	struct str realm, service;
	const struct str *scopes;
	size_t n_scopes;
	struct str username, secret; /* secret alone is a refresh token; neither: anonymous */
};
struct token_answer {
	struct str token;     /* in the arena */
	int64_t expires_in_s; /* 60 if the server does not say */
	int64_t issued_at_s;  /* 0 if the server does not say */
};
struct err *token_fetch(struct ctx *ctx, struct arena *a, const struct token_query *q,
			struct token_answer *ret) ERR_RESULT;

#endif
