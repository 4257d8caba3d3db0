#include "session/internal.h"

#include "base/id.h"
#include "grpc/message.h"

#include <openssl/evp.h>

#define CLIENT_ID "buildkit-client"
#define SIG_LEN 64

/* Every question to the client has an end, since a registry waits for the answer. */
static struct ctx *bounded(struct session *s, struct ctx *ctx)
{
	return s->auth_timeout_ns > 0 ? ctx_new_timeout(ctx, s->auth_timeout_ns) : ctx_new(ctx);
}

static struct err *ask(struct session *s, struct ctx *ctx, const char *path, const void *q,
		       struct arena *a, const ProtobufCMessageDescriptor *d, void *ret)
{
	struct ctx *c = bounded(s, ctx);
	struct err *e = grpc_unary_msg(s->client, c, path, NULL, 0, q, a, d, ret);

	ctx_unref(c);
	return e;
}

struct err *session_credentials(struct session *s, struct ctx *ctx, struct arena *a,
				struct str host, struct session_credentials *ret)
{
	Moby__Filesync__V1__CredentialsRequest q = MOBY__FILESYNC__V1__CREDENTIALS_REQUEST__INIT;
	Moby__Filesync__V1__CredentialsResponse *r;
	struct err *e;

	q.host = str_cstr(a, host);
	e = ask(s, ctx, "/moby.filesync.v1.Auth/Credentials", &q, a,
		&moby__filesync__v1__credentials_response__descriptor, &r);
	if (err_is(e, ERR_UNIMPLEMENTED)) {
		err_free(e);
		*ret = (struct session_credentials) { 0 };
		return NULL;
	}
	TRYW(e, "resolving credentials from session");
	*ret = (struct session_credentials) { str_from(r->username), str_from(r->secret) };
	return NULL;
}

struct err *session_token_authority(struct session *s, struct ctx *ctx, struct str host,
				    struct str salt, uint8_t ret_key[32], bool *ret_supported)
{
	Moby__Filesync__V1__GetTokenAuthorityRequest q =
		MOBY__FILESYNC__V1__GET_TOKEN_AUTHORITY_REQUEST__INIT;
	Moby__Filesync__V1__GetTokenAuthorityResponse *r;
	SCOPED_ARENA(a);
	struct err *e;

	q.host = str_cstr(&a, host);
	q.salt = proto_from_str(salt);
	e = ask(s, ctx, "/moby.filesync.v1.Auth/GetTokenAuthority", &q, &a,
		&moby__filesync__v1__get_token_authority_response__descriptor, &r);
	if (err_is(e, ERR_UNIMPLEMENTED) ||
	    (err_is(e, ERR_UNAVAILABLE) && !ctx_done(s->ctx) && !ctx_done(ctx))) {
		err_free(e);
		*ret_supported = false;
		return NULL;
	}
	TRYW(e, "getting token authority from session");
	if (r->publickey.len != 32)
		return err_new(ERR_UNKNOWN, "invalid pubkey length %zu", r->publickey.len);
	memcpy(ret_key, r->publickey.data, 32);
	*ret_supported = true;
	return NULL;
}

static bool verify(const uint8_t key[32], struct str signature, struct str text)
{
	EVP_PKEY *k = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, 32);
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	bool ok = k && c && EVP_DigestVerifyInit(c, NULL, NULL, NULL, k) == 1 &&
		  EVP_DigestVerify(c, (const unsigned char *)signature.ptr, signature.len,
				   (const unsigned char *)text.ptr, text.len) == 1;

	EVP_MD_CTX_free(c);
	EVP_PKEY_free(k);
	return ok;
}

struct err *session_verify_authority(struct session *s, struct ctx *ctx, struct str host,
				     struct str salt, const uint8_t key[32], bool *ret_ok)
{
	Moby__Filesync__V1__VerifyTokenAuthorityRequest q =
		MOBY__FILESYNC__V1__VERIFY_TOKEN_AUTHORITY_REQUEST__INIT;
	Moby__Filesync__V1__VerifyTokenAuthorityResponse *r;
	uint8_t payload[32];
	SCOPED_ARENA(a);
	struct str sent = str_make(payload, sizeof(payload)), got;
	struct err *e;

	id_random(payload, sizeof(payload));
	q.host = str_cstr(&a, host);
	q.salt = proto_from_str(salt);
	q.payload = proto_from_str(sent);
	e = ask(s, ctx, "/moby.filesync.v1.Auth/VerifyTokenAuthority", &q, &a,
		&moby__filesync__v1__verify_token_authority_response__descriptor, &r);
	if (err_is(e, ERR_UNIMPLEMENTED)) {
		err_free(e);
		*ret_ok = false;
		return NULL;
	}
	TRYW(e, "verifying token authority from session");
	/* The signature goes before what was signed. */
	got = proto_bytes(r->signed_);
	*ret_ok = got.len == SIG_LEN + sent.len && str_eq(str_sub(got, SIG_LEN, got.len), sent) &&
		  verify(key, str_sub(got, 0, SIG_LEN), sent);
	return NULL;
}

struct err *session_fetch_token(struct session *s, struct ctx *ctx, struct arena *a,
				struct str host, struct str realm, struct str service,
				const struct str *scopes, size_t n_scopes, struct str *ret_token,
				int64_t *ret_expires_in_s, int64_t *ret_issued_at_s)
{
	Moby__Filesync__V1__FetchTokenRequest q = MOBY__FILESYNC__V1__FETCH_TOKEN_REQUEST__INIT;
	Moby__Filesync__V1__FetchTokenResponse *r;

	q.clientid = (char *)CLIENT_ID;
	q.host = str_cstr(a, host);
	q.realm = str_cstr(a, realm);
	q.service = str_cstr(a, service);
	q.n_scopes = n_scopes;
	q.scopes = ARENA_NEW_N(a, char *, n_scopes + 1);
	for (size_t i = 0; i < n_scopes; i++)
		q.scopes[i] = str_cstr(a, scopes[i]);
	TRY(ask(s, ctx, "/moby.filesync.v1.Auth/FetchToken", &q, a,
		&moby__filesync__v1__fetch_token_response__descriptor, &r));
	*ret_token = str_from(r->token);
	*ret_expires_in_s = r->expiresin;
	*ret_issued_at_s = r->issuedat;
	return NULL;
}
