/* Registry credentials from the sessions of a build: what the client knows answers what
 * the registry asks. Token fetching is left to the client where it can do that. */
#ifndef SOURCE_SESSION_AUTH_H
#define SOURCE_SESSION_AUTH_H

#include "registry/registry.h"
#include "session/session.h"

struct session_auth {
	struct registry_auth auth; /* give this to the registry */
	struct session_manager *sessions;
	struct session_group *group; /* NULL: anonymous */
};

/* key names the identity in the registry's caches (registry.h); borrowed, like the rest. */
void session_auth_init(struct session_auth *a, struct session_manager *m, struct session_group *g,
		       struct str key);

#endif
