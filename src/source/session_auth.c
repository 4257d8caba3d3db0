#include "source/session_auth.h"

#include "base/id.h"
#include "base/mem.h"

#include <pthread.h>

/* The salt that token authorities mix in: one a process. */
static uint8_t salt[32];
static pthread_once_t salt_once = PTHREAD_ONCE_INIT;

static void make_salt(void)
{
	id_random(salt, sizeof(salt));
}

struct credentials_call {
	struct arena *a;
	struct str host;
	struct session_credentials out;
};

static struct err *ask_credentials(struct ctx *ctx, struct session *s, void *arg)
{
	struct credentials_call *c = arg;
	struct err *e;

	if (!session_has_method(s, "/moby.filesync.v1.Auth/Credentials"))
		return NULL;
	e = session_credentials(s, ctx, c->a, c->host, &c->out);
	if (err_is(e, ERR_UNIMPLEMENTED) || err_is(e, ERR_UNAVAILABLE)) {
		/* A client without credentials to offer: anonymous. */
		err_free(e);
		return NULL;
	}
	return e;
}

static struct err *credentials(void *arg, struct ctx *ctx, struct arena *a, struct str host,
			       struct str *ret_user, struct str *ret_secret)
{
	struct session_auth *sa = arg;
	struct credentials_call c = { .a = a, .host = host };

	if (sa->group)
		TRY(session_any(sa->sessions, ctx, sa->group, ask_credentials, &c));
	*ret_user = c.out.username;
	*ret_secret = c.out.secret;
	return NULL;
}

struct token_call {
	struct arena *a;
	struct str host, realm, service;
	const struct str *scopes;
	size_t n;
	struct str token;
	int64_t expires_s;
	bool supported;
};

static struct err *ask_token(struct ctx *ctx, struct session *s, void *arg)
{
	struct token_call *c = arg;
	uint8_t key[32];
	int64_t issued;

	TRY(session_token_authority(s, ctx, c->host, str_make(salt, sizeof(salt)), key,
				    &c->supported));
	if (!c->supported)
		return NULL;
	return session_fetch_token(s, ctx, c->a, c->host, c->realm, c->service, c->scopes, c->n,
				   &c->token, &c->expires_s, &issued);
}

static struct err *token(void *arg, struct ctx *ctx, struct arena *a, struct str host,
			 struct str realm, struct str service, const struct str *scopes, size_t n,
			 struct str *ret_token, int64_t *ret_expires_s, bool *ret_supported)
{
	struct session_auth *sa = arg;
	struct token_call c = {
		.a = a, .host = host, .realm = realm, .service = service, .scopes = scopes, .n = n
	};

	if (sa->group)
		TRY(session_any(sa->sessions, ctx, sa->group, ask_token, &c));
	if (c.supported) {
		*ret_token = c.token;
		*ret_expires_s = c.expires_s;
	}
	*ret_supported = c.supported;
	return NULL;
}

void session_auth_init(struct session_auth *a, struct session_manager *m, struct session_group *g,
		       struct str key)
{
	(void)pthread_once(&salt_once, make_salt);
	*a = (struct session_auth) { .sessions = m, .group = g };
	a->auth = (struct registry_auth) {
		.credentials = credentials, .token = token, .key = key, .arg = a
	};
}
