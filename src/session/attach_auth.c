/* Credentials of registries. Rather than a password the daemon gets tokens where the registry has
 * them: it asks for a token authority (a key made from the daemon's salt and our own seed) to tell
 * whether two sessions have the same credentials, and lets us fetch the token. */
#include "session/attach_internal.h"
#include "session/docker_config.h"
#include "session/token_fetch.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

struct err *attach_add_auth(struct attach *a)
{
	struct auth_config *c;

	TRY(auth_config_open(NULL, &c));
	auth_config_free(a->auth);
	a->auth = c;
	return NULL;
}

static void credentials_of(const struct auth_entry *e, struct str *ret_user, struct str *ret_secret)
{
	*ret_user = e->identity_token.len ? STR_NONE : e->username;
	*ret_secret = e->identity_token.len ? e->identity_token : e->password;
}

struct err *attach_credentials(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	Moby__Filesync__V1__CredentialsRequest *q;
	Moby__Filesync__V1__CredentialsResponse r = MOBY__FILESYNC__V1__CREDENTIALS_RESPONSE__INIT;
	struct attach *a = arg;
	struct auth_entry e;
	struct str user, secret;
	SCOPED_ARENA(mem);

	TRY(grpc_recv_request(s, ctx, &mem, &moby__filesync__v1__credentials_request__descriptor,
			      &q));
	TRY(auth_config_get(a->auth, ctx, &mem, str_from(q->host), &e));
	credentials_of(&e, &user, &secret);
	r.username = str_cstr(&mem, user);
	r.secret = str_cstr(&mem, secret);
	return grpc_send_msg(s, ctx, &r);
}

struct err *attach_fetch_token(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	Moby__Filesync__V1__FetchTokenRequest *q;
	Moby__Filesync__V1__FetchTokenResponse r = MOBY__FILESYNC__V1__FETCH_TOKEN_RESPONSE__INIT;
	struct attach *a = arg;
	struct token_query t = { 0 };
	struct token_answer answer;
	struct str *scopes;
	struct auth_entry e;
	SCOPED_ARENA(mem);

	TRY(grpc_recv_request(s, ctx, &mem, &moby__filesync__v1__fetch_token_request__descriptor,
			      &q));
	TRY(auth_config_get(a->auth, ctx, &mem, str_from(q->host), &e));
	if (e.registry_token.len) {
		answer = (struct token_answer) { .token = e.registry_token, .expires_in_s = 60 };
	} else {
		scopes = ARENA_NEW_N(&mem, struct str, q->n_scopes + 1);
		for (size_t i = 0; i < q->n_scopes; i++)
			scopes[i] = str_from(q->scopes[i]);
		t.realm = str_from(q->realm);
		t.service = str_from(q->service);
		t.scopes = scopes;
		t.n_scopes = q->n_scopes;
		credentials_of(&e, &t.username, &t.secret);
		TRY(token_fetch(ctx, &mem, &t, &answer));
	}
	r.token = str_cstr(&mem, answer.token);
	r.expiresin = answer.expires_in_s;
	r.issuedat = answer.issued_at_s;
	return grpc_send_msg(s, ctx, &r);
}

/* ---- token authorities ---- */

static void free_key(EVP_PKEY **k)
{
	EVP_PKEY_free(*k);
}

static struct err *authority_key(struct attach *a, struct ctx *ctx, struct str host,
				 struct str salt, EVP_PKEY **ret)
{
	const char *off = getenv("BUILDKIT_NO_CLIENT_TOKEN");
	uint8_t seed[TOKEN_SEED], sum[EVP_MAX_MD_SIZE];
	struct str user, secret;
	struct auth_entry e;
	SCOPED_ARENA(mem);
	unsigned len;
	bool disabled;

	if (off && str_to_bool(str_from(off), &disabled) && disabled)
		return err_new(ERR_UNAVAILABLE, "client side tokens disabled");
	TRY(auth_config_get(a->auth, ctx, &mem, host, &e));
	TRY(auth_config_seed(a->auth, host, seed));
	credentials_of(&e, &user, &secret);
	if (!HMAC(EVP_sha256(), salt.len ? salt.ptr : "", (int)salt.len, seed,
		  secret.len ? sizeof(seed) : 0, sum, &len))
		return err_new(ERR_INTERNAL, "hmac failed");
	*ret = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, sum, 32);
	return *ret ? NULL : err_new(ERR_INTERNAL, "no ed25519 key");
}

struct err *attach_token_authority(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	Moby__Filesync__V1__GetTokenAuthorityRequest *q;
	Moby__Filesync__V1__GetTokenAuthorityResponse r =
		MOBY__FILESYNC__V1__GET_TOKEN_AUTHORITY_RESPONSE__INIT;
	CLEANUP(free_key) EVP_PKEY *key = NULL;
	uint8_t public[32];
	size_t len = sizeof(public);
	SCOPED_ARENA(mem);

	TRY(grpc_recv_request(s, ctx, &mem,
			      &moby__filesync__v1__get_token_authority_request__descriptor, &q));
	TRY(authority_key(arg, ctx, str_from(q->host), proto_bytes(q->salt), &key));
	if (EVP_PKEY_get_raw_public_key(key, public, &len) != 1)
		return err_new(ERR_INTERNAL, "no ed25519 key");
	r.publickey = proto_from_str(str_make(public, len));
	return grpc_send_msg(s, ctx, &r);
}

struct err *attach_verify_authority(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	Moby__Filesync__V1__VerifyTokenAuthorityRequest *q;
	Moby__Filesync__V1__VerifyTokenAuthorityResponse r =
		MOBY__FILESYNC__V1__VERIFY_TOKEN_AUTHORITY_RESPONSE__INIT;
	CLEANUP(free_key) EVP_PKEY *key = NULL;
	size_t len = 64;
	SCOPED_ARENA(mem);
	EVP_MD_CTX *c;
	uint8_t *out;
	bool ok;

	TRY(grpc_recv_request(s, ctx, &mem,
			      &moby__filesync__v1__verify_token_authority_request__descriptor, &q));
	TRY(authority_key(arg, ctx, str_from(q->host), proto_bytes(q->salt), &key));
	/* The signature, then what was signed. */
	out = arena_alloc(&mem, 64 + q->payload.len);
	if (q->payload.len)
		memcpy(out + 64, q->payload.data, q->payload.len);
	c = EVP_MD_CTX_new();
	ok = c && EVP_DigestSignInit(c, NULL, NULL, NULL, key) == 1 &&
	     EVP_DigestSign(c, out, &len, q->payload.data, q->payload.len) == 1;
	EVP_MD_CTX_free(c);
	if (!ok)
		return err_new(ERR_INTERNAL, "could not sign");
	r.signed_ = proto_from_str(str_make(out, 64 + q->payload.len));
	return grpc_send_msg(s, ctx, &r);
}
