#include "registry/auth.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/ref.h"
#include "registry/scope.h"

#define IDLE_NS (600 * NSEC_PER_SEC)

enum auth_kind { AUTH_NONE, AUTH_BASIC, AUTH_BEARER };

struct auth_entry {
	struct ref ref; /* the cache's and users' */
	struct lock lock;
	struct cond changed;
	enum auth_kind kind;
	struct arena params; /* of the challenge, replaced with it */
	struct str realm, service, *scopes;
	size_t n_scopes;
	char *header;    /* what to send; NULL: a token is to be fetched */
	int64_t expires; /* of a token */
	uint64_t serial; /* changes with header */
	bool fetching;
	int64_t last_use; /* under the cache's lock */
};

void auth_cache_init(struct auth_cache *c, struct httpc *http)
{
	lock_init(&c->lock, LOCK_REGISTRY);
	map_init(&c->entries);
	c->http = http;
}

static void entry_unref(void *p)
{
	struct auth_entry *e = p;

	if (!e || !ref_put(&e->ref))
		return;
	free(e->header);
	arena_fini(&e->params);
	cond_fini(&e->changed);
	lock_fini(&e->lock);
	free(e);
}

void auth_cache_fini(struct auth_cache *c)
{
	map_fini(&c->entries, entry_unref);
	lock_fini(&c->lock);
}

/* ---- the cache ---- */

static void sweep_locked(struct auth_cache *c)
{
	int64_t oldest = clock_now() - IDLE_NS;

	lock_assert_held(&c->lock);
	for (struct map_entry *m = map_next(&c->entries, NULL); m; m = map_next(&c->entries, m)) {
		struct auth_entry *e = m->value;

		if (e->last_use < oldest)
			entry_unref(map_del(&c->entries, map_key(m)));
	}
}

static struct auth_entry *entry_new(void)
{
	struct auth_entry *e = NEW(struct auth_entry);

	ref_init(&e->ref);
	lock_init(&e->lock, LOCK_REGISTRY_HOST);
	cond_init(&e->changed);
	return e;
}

struct auth_entry *auth_get(struct auth_cache *c, const struct auth_want *w)
{
	SCOPED_ARENA(a);
	struct str scopes = scope_join(&a, w->scopes, w->n_scopes);
	struct str who = w->auth ? w->auth->key : STR_NONE;
	struct str key = str_from(arena_printf(&a, "%.*s\n%d%.*s\n%.*s", STR_ARG(w->ep->base),
					       w->auth != NULL, STR_ARG(who), STR_ARG(scopes)));
	struct auth_entry *e;

	LOCKED(&c->lock);
	e = map_get(&c->entries, key);
	if (!e) {
		sweep_locked(c);
		e = entry_new();
		(void)map_put(&c->entries, key, e);
	}
	e->last_use = clock_now();
	ref_get(&e->ref);
	return e;
}

void auth_put(struct auth_cache *c, struct auth_entry *e)
{
	entry_unref(e);
}

/* ---- headers ---- */

static void set_header_locked(struct auth_entry *e, char *take_header, int64_t expires)
{
	lock_assert_held(&e->lock);
	free(e->header);
	e->header = take_header;
	e->expires = expires;
	e->serial++;
}

/* With e->fetching set, without the lock; the parameters don't change meanwhile. */
static struct err *fetch(struct auth_cache *c, struct auth_entry *e, const struct auth_want *w,
			 struct ctx *ctx, char **ret_header, int64_t *ret_expires)
{
	SCOPED_ARENA(a);
	int64_t asked = clock_now(), expires_s;
	struct str token;

	TRY(auth_fetch_token(c->http, w, ctx, &a, e->realm, e->service, e->scopes, e->n_scopes,
			     &token, &expires_s));
	*ret_header = mem_printf("Bearer %.*s", STR_ARG(token));
	/* A tenth of its life is the margin for what is under way when it ends. */
	*ret_expires = asked + expires_s * (NSEC_PER_SEC / 10) * 9;
	return NULL;
}

struct err *auth_header(struct auth_cache *c, struct auth_entry *e, const struct auth_want *w,
			struct ctx *ctx, struct arena *a, struct str *ret_header,
			uint64_t *ret_serial)
{
	char *header = NULL;
	int64_t expires = 0;
	struct err *err;

	LOCKED(&e->lock);
	for (;;) {
		if (e->kind == AUTH_NONE ||
		    (e->header && (e->kind == AUTH_BASIC || clock_now() < e->expires))) {
			*ret_header =
				e->kind == AUTH_NONE ? STR_NONE : str_dup(a, str_from(e->header));
			*ret_serial = e->serial;
			return NULL;
		}
		if (e->fetching) {
			TRY(cond_wait(&e->changed, &e->lock, ctx));
			continue;
		}
		e->fetching = true;
		lock_drop(&e->lock);
		err = fetch(c, e, w, ctx, &header, &expires);
		lock_take(&e->lock);
		e->fetching = false;
		cond_broadcast(&e->changed);
		if (err)
			return err;
		if (e->kind == AUTH_BEARER)
			set_header_locked(e, header, expires);
		else
			free(header);
	}
}

/* ---- challenges ---- */

/* Takes over the challenge's parameters; true when that widened the scopes. */
static bool learn_bearer_locked(struct auth_entry *e, const struct auth_want *w,
				const struct challenge *ch)
{
	SCOPED_ARENA(a);
	size_t n = w->n_scopes + e->n_scopes + 1;
	struct str *all = ARENA_NEW_N(&a, struct str, n), before, after;
	struct arena params = ARENA_INIT;
	struct str *scopes;
	size_t k = 0;

	lock_assert_held(&e->lock);
	for (size_t i = 0; i < w->n_scopes; i++)
		all[k++] = w->scopes[i];
	for (size_t i = 0; i < e->n_scopes; i++)
		all[k++] = e->scopes[i];
	all[k++] = ch->scope;
	before = scope_join(&a, e->scopes, e->n_scopes);
	scope_merge(&params, all, k, &scopes, &n);
	after = scope_join(&a, scopes, n);
	k = !str_eq(before, after);
	e->realm = str_dup(&params, ch->realm);
	e->service = str_dup(&params, ch->service);
	e->scopes = scopes;
	e->n_scopes = n;
	e->kind = AUTH_BEARER;
	arena_fini(&e->params);
	e->params = params;
	return k;
}

static struct err *bearer(struct auth_entry *e, const struct auth_want *w, struct ctx *ctx,
			  const struct challenge *ch, uint64_t sent, int nth, bool *ret_retry)
{
	bool wider, had_token;

	LOCKED(&e->lock);
	while (e->fetching)
		TRY(cond_wait(&e->changed, &e->lock, ctx));
	if (e->serial != sent) { /* somebody else got the same answer and has acted on it */
		*ret_retry = nth <= 2;
		return NULL;
	}
	had_token = e->kind == AUTH_BEARER && e->header;
	wider = learn_bearer_locked(e, w, ch);
	if (had_token && nth > 1 && !wider && ch->error.len)
		return err_new(ERR_UNKNOWN, "server message: %.*s: authorization failed",
			       STR_ARG(ch->error));
	*ret_retry = nth == 1 || (wider && nth == 2);
	set_header_locked(e, NULL, 0);
	return NULL;
}

static struct err *basic(struct auth_entry *e, const struct auth_want *w, struct ctx *ctx,
			 uint64_t sent, int nth, bool *ret_retry)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(b, MIB);
	struct str user = STR_NONE, secret = STR_NONE;

	*ret_retry = false;
	if (nth > 2 || !w->auth || !w->auth->credentials)
		return NULL;
	TRY(w->auth->credentials(w->auth->arg, ctx, &a, w->ep->host, &user, &secret));
	if (!user.len || !secret.len)
		return NULL;
	buf_add_cstr(&b, "Basic ");
	base64_encode(&b, str_from(arena_printf(&a, "%.*s:%.*s", STR_ARG(user), STR_ARG(secret))));
	TRY(buf_check(&b, "credentials"));
	LOCKED(&e->lock);
	if (e->kind == AUTH_BASIC && e->header && strcmp(e->header, buf_cstr(&b)) == 0) {
		/* Refused as they are, unless another put them there just now. */
		*ret_retry = e->serial != sent && nth == 1;
		return NULL;
	}
	e->kind = AUTH_BASIC;
	set_header_locked(e, buf_take(&b), 0);
	*ret_retry = true;
	return NULL;
}

struct err *auth_challenged(struct auth_cache *c, struct auth_entry *e, const struct auth_want *w,
			    struct ctx *ctx, const struct challenge *ch, size_t n, uint64_t sent,
			    int nth, bool *ret_retry)
{
	const struct challenge *b = challenge_find(ch, n, "bearer");

	*ret_retry = false;
	if (b)
		return bearer(e, w, ctx, b, sent, nth, ret_retry);
	if (challenge_find(ch, n, "basic"))
		return basic(e, w, ctx, sent, nth, ret_retry);
	return NULL;
}
