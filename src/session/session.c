#include "session/session.h"

#include "session/internal.h"

#include "base/clock.h"
#include "base/limits.h"
#include "grpc/message.h"

#include <ctype.h>

#define WAIT_NS (5 * NSEC_PER_SEC)
#define HEALTH_EVERY_NS (5 * NSEC_PER_SEC)
#define HEALTH_TIMEOUT_NS (15 * NSEC_PER_SEC)
#define HEALTH_FAILURES 2
#define AUTH_TIMEOUT_NS (60 * NSEC_PER_SEC)

#define KEY_ID "x-docker-expose-session-uuid"
#define KEY_SHARED "x-docker-expose-session-sharedkey"
#define KEY_METHOD "x-docker-expose-session-grpc-method"
#define KEY_HEALTH "x-buildkit-session-health-custom-timeout"

/* ---- the manager ---- */

struct session_manager *session_manager_new(struct grpc_loop *l)
{
	struct session_manager *m = NEW(struct session_manager);

	m->loop = l;
	m->auth_timeout_ns = AUTH_TIMEOUT_NS;
	lock_init(&m->lock, LOCK_SESSION_MANAGER);
	cond_init(&m->changed);
	return m;
}

void session_manager_free(struct session_manager *m)
{
	if (!m)
		return;
	map_fini(&m->by_id, NULL);
	cond_fini(&m->changed);
	lock_fini(&m->lock);
	free(m);
}

void session_manager_set_auth_timeout(struct session_manager *m, int64_t ns)
{
	m->auth_timeout_ns = ns;
}

static struct err *find(struct session_manager *m, struct ctx *ctx, struct str id, bool no_wait,
			struct session **ret)
{
	LOCKED(&m->lock);
	for (;;) {
		struct session *s = map_get(&m->by_id, id);

		if (s && !ctx_done(s->ctx) && ref_tryget(&s->ref)) {
			*ret = s;
			return NULL;
		}
		if (no_wait)
			return err_new(ERR_NOT_FOUND, "no active session for %.*s", STR_ARG(id));
		TRYW(cond_wait(&m->changed, &m->lock, ctx), "no active session for %.*s",
		     STR_ARG(id));
	}
}

struct err *session_get(struct session_manager *m, struct ctx *ctx, struct str id, bool no_wait,
			struct session **ret)
{
	struct str prefix, rest;
	struct ctx *wait;
	struct err *e;

	if (str_cut(id, ':', &prefix, &rest) && rest.len)
		id = rest;
	if (no_wait)
		return find(m, ctx, id, true, ret);
	wait = ctx_new_timeout(ctx, WAIT_NS);
	e = find(m, wait, id, false, ret);
	ctx_unref(wait);
	return e;
}

/* ---- handles ---- */

struct session *session_ref(struct session *s)
{
	ref_get(&s->ref);
	return s;
}

void session_unref(struct session *s)
{
	if (!s || !ref_put(&s->ref))
		return;
	grpc_client_close(s->client);
	ctx_unref(s->ctx);
	map_fini(&s->methods, NULL);
	free(s->shared_key);
	free(s->id);
	free(s);
}

const char *session_id(const struct session *s)
{
	return s->id;
}

const char *session_shared_key(const struct session *s)
{
	return s->shared_key;
}

struct grpc_client *session_client(struct session *s)
{
	return s->client;
}

struct ctx *session_ctx(struct session *s)
{
	return s->ctx;
}

static struct str lower(struct arena *a, struct str s)
{
	char *p = str_cstr(a, s);

	for (size_t i = 0; i < s.len; i++)
		p[i] = (char)tolower((unsigned char)p[i]);
	return str_make(p, s.len);
}

bool session_has_method(const struct session *s, const char *path)
{
	SCOPED_ARENA(a);

	return map_has(&s->methods, lower(&a, str_from(path)));
}

/* ---- health ---- */

struct health {
	int64_t every, timeout;
	int threshold;
};

static struct health health_settings(struct grpc_stream *st)
{
	struct health h = { HEALTH_EVERY_NS, HEALTH_TIMEOUT_NS, HEALTH_FAILURES };
	uint64_t ms;

	if (str_to_u64(grpc_md_get(st, KEY_HEALTH), &ms) && ms > 0 && ms < 1000000000) {
		h.every = h.timeout = MAX((int64_t)ms * NSEC_PER_MSEC, NSEC_PER_SEC);
		h.threshold = 1;
	}
	return h;
}

static struct err *check_once(struct session *s, int64_t timeout)
{
	Grpc__Health__V1__HealthCheckRequest q = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	Grpc__Health__V1__HealthCheckResponse *r;
	struct ctx *ctx = ctx_new_timeout(s->ctx, timeout);
	SCOPED_ARENA(a);
	struct err *e =
		grpc_unary_msg(s->client, ctx, "/grpc.health.v1.Health/Check", NULL, 0, &q, &a,
			       &grpc__health__v1__health_check_response__descriptor, &r);

	ctx_unref(ctx);
	return e;
}

/* Until the session ends: NULL then, or why it was found dead. */
static struct err *watch_health(struct session *s, const struct health *h)
{
	int64_t last = 0;
	int failed = 0;

	for (;;) {
		SCOPED_ERR(e);
		int64_t start;

		e = ctx_sleep(s->ctx, h->every);
		if (e)
			return NULL;
		start = clock_now();
		e = check_once(s, MAX(h->timeout, last + last / 2));
		last = clock_now() - start;
		if (ctx_done(s->ctx))
			return NULL;
		failed = e ? failed + 1 : 0;
		if (failed >= h->threshold)
			return err_wrap(TAKE_PTR(e), "session healthcheck failed fatally");
	}
}

/* ---- Control.Session ---- */

static struct session *session_new(struct session_manager *m, struct grpc_stream *st)
{
	struct session *s = NEW(struct session);
	SCOPED_ARENA(a);
	struct str *methods;
	size_t n = md_get_list(st, &a, KEY_METHOD, &methods);

	ref_init(&s->ref);
	s->id = str_heap(grpc_md_get(st, KEY_ID));
	s->shared_key = str_heap(md_get(st, &a, KEY_SHARED));
	s->auth_timeout_ns = m->auth_timeout_ns;
	for (size_t i = 0; i < n; i++)
		(void)map_put(&s->methods, lower(&a, methods[i]), s);
	return s;
}

struct err *session_serve(struct session_manager *m, struct ctx *ctx, struct grpc_stream *st)
{
	struct health h = health_settings(st);
	struct session *s;
	struct err *e;

	if (!grpc_md_get(st, KEY_ID).len)
		return err_new(ERR_INVALID_ARGUMENT, "session has no id");
	s = session_new(m, st);
	e = grpc_client_tunnel(m->loop, ctx, st, NULL, &s->client);
	if (e) {
		session_unref(s);
		return e;
	}
	s->ctx = ctx_ref(grpc_client_ctx(s->client));
	/* A second stream of the same id takes the place of the first. */
	lock_take(&m->lock);
	(void)map_put(&m->by_id, str_from(s->id), s);
	cond_broadcast(&m->changed);
	lock_drop(&m->lock);

	e = watch_health(s, &h);

	lock_take(&m->lock);
	if (map_get(&m->by_id, str_from(s->id)) == s)
		(void)map_del(&m->by_id, str_from(s->id));
	lock_drop(&m->lock);
	/* The carrier ends with this call: whoever still holds the session must not use it. */
	grpc_client_disconnect(s->client, err_dup(e));
	session_unref(s);
	return e;
}
