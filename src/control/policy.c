#include "control/policy.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "control/sourcemeta.h"
#include "grpc/message.h"
#include "source/policy.h"

#define CHECK_POLICY "/moby.buildkit.v1.sourcepolicy.policysession.PolicyVerifier/CheckPolicy"
#define DENY_DETAIL "github.com/moby/buildkit/policysession.DecisionResponse+json"
#define MAX_QUESTIONS 10

typedef Moby__Buildkit__V1__Sourcepolicy__Policy rules;
typedef Moby__Buildkit__V1__Sourcepolicy__Policysession__CheckPolicyRequest check_request;
typedef Moby__Buildkit__V1__Sourcepolicy__Policysession__CheckPolicyResponse check_response;
typedef Moby__Buildkit__V1__Sourcepolicy__Policysession__DecisionResponse decision;

struct policy {
	struct ref ref;
	struct control *control;
	struct session_group *sessions;
	struct arena arena;
	const rules **list;
	size_t n;
	struct str session_id; /* of the verifier; empty: none */
	struct op_source_policy for_ops;
};

/* ---- life ---- */

static void op_ref(void *arg)
{
	struct policy *p = arg;

	ref_get(&p->ref);
}

static void op_unref(void *arg)
{
	policy_unref(arg);
}

static struct err *op_evaluate(void *arg, struct ctx *ctx, struct arena *a, Pb__SourceOp *source,
			       const Pb__Platform *platform, bool *ret_changed)
{
	return policy_apply(arg, ctx, a, source, platform, ret_changed);
}

static struct err *make(struct control *c, struct session_group *sessions,
			const rules *const *first, size_t n_first, rules *const *more, size_t n,
			struct str session_id, struct policy **ret)
{
	struct policy *p;

	for (size_t i = 0; i < n; i++)
		TRY(policy_validate(more[i]));
	p = NEW(struct policy);
	ref_init(&p->ref);
	p->control = c;
	p->sessions = session_group_ref(sessions);
	p->session_id = str_dup(&p->arena, session_id);
	p->list = ARENA_NEW_N(&p->arena, const rules *, n_first + n + 1);
	for (size_t i = 0; i < n_first; i++)
		p->list[p->n++] = proto_dup(&p->arena, first[i]);
	for (size_t i = 0; i < n; i++)
		p->list[p->n++] = proto_dup(&p->arena, more[i]);
	p->for_ops = (struct op_source_policy) { op_evaluate, op_ref, op_unref, p };
	*ret = p;
	return NULL;
}

struct err *policy_new(struct control *c, struct session_group *sessions, const rules *base,
		       struct str session_id, struct policy **ret)
{
	rules *one = (rules *)base;

	*ret = NULL;
	if (!base && !session_id.len)
		return NULL;
	return make(c, sessions, NULL, 0, &one, base ? 1 : 0, session_id, ret);
}

struct err *policy_with(struct policy *p, struct control *c, struct session_group *sessions,
			rules *const *more, size_t n, struct policy **ret)
{
	if (n)
		return make(c, sessions, p ? p->list : NULL, p ? p->n : 0, more, n,
			    p ? p->session_id : STR_NONE, ret);
	if (p)
		ref_get(&p->ref);
	*ret = p;
	return NULL;
}

void policy_unref(struct policy *p)
{
	if (!p || !ref_put(&p->ref))
		return;
	session_group_unref(p->sessions);
	arena_fini(&p->arena);
	free(p);
}

void policy_unrefp(struct policy **p)
{
	policy_unref(*p);
}

const struct op_source_policy *policy_for_ops(struct policy *p)
{
	return p ? &p->for_ops : NULL;
}

/* ---- the client's verifier ---- */

static struct err *same_attrs(const Pb__SourceOp *a, const Pb__SourceOp *b)
{
	if (a->n_attrs != b->n_attrs)
		return err_new(ERR_UNKNOWN, "map length mismatch: %zu != %zu", a->n_attrs,
			       b->n_attrs);
	for (size_t i = 0; i < a->n_attrs; i++) {
		const char *v = PROTO_MAP_GET(b->n_attrs, b->attrs, a->attrs[i]->key);

		if (!v)
			return err_new(ERR_UNKNOWN, "key %s missing from second map",
				       a->attrs[i]->key);
		if (strcmp(v, a->attrs[i]->value) != 0)
			return err_new(ERR_UNKNOWN, "value mismatch for key %s: %s != %s",
				       a->attrs[i]->key, a->attrs[i]->value, v);
	}
	return NULL;
}

/* More about the source, if it is about the same one; static rules have been applied already. */
static struct err *answer(struct policy *p, struct ctx *ctx, const Pb__SourceOp *source,
			  Moby__Buildkit__V1__Frontend__ResolveSourceMetaRequest *q,
			  struct arena *a,
			  Moby__Buildkit__V1__Frontend__ResolveSourceMetaResponse **ret)
{
	struct sourcemeta_env env = { .control = p->control, .sessions = p->sessions };
	const char *asked = q->source ? q->source->identifier : "";

	if (strcmp(asked, source->identifier) != 0)
		return err_new(ERR_UNKNOWN,
			       "policy requested different source identifier: \"%s\" != \"%s\"",
			       asked, source->identifier);
	TRYW(same_attrs(source, q->source), "policy requested different source attrs");
	TRYW(sourcemeta_resolve(&env, ctx, q, a, ret),
	     "error resolving source metadata from policy request");
	return NULL;
}

static struct err *refused(const Pb__SourceOp *source, const decision *d)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(
		&moby__buildkit__v1__sourcepolicy__policy_action__descriptor, (int)d->action);
	struct str action =
		v ? str_trim_prefix(str_from(v->name), STR("POLICY_ACTION_")) : STR("unknown");
	struct err *e = err_new(ERR_UNKNOWN, "source \"%s\" not allowed by policy: action %.*s",
				source->identifier, STR_ARG(action));
	SCOPED_BUF(json, LIMIT_GRPC_MESSAGE);
	struct json_out j;

	if (!d->n_denymessages)
		return e;
	json_out_init(&j, &json, NULL);
	json_obj_begin(&j);
	json_key(&j, STR("denyMessages"));
	json_arr_begin(&j);
	for (size_t i = 0; i < d->n_denymessages; i++) {
		json_obj_begin(&j);
		json_kstr(&j, "message", str_from(d->denymessages[i]->message));
		json_obj_end(&j);
	}
	json_arr_end(&j);
	json_obj_end(&j);
	if (!json.overflow)
		err_add_detail(e, DENY_DETAIL, buf_str(&json));
	return e;
}

static struct err *evaluate(struct policy *p, struct ctx *ctx, struct arena *a,
			    Pb__SourceOp *source, const Pb__Platform *platform, int *left,
			    bool *ret_changed);

static struct err *take_update(struct policy *p, struct ctx *ctx, struct arena *a,
			       Pb__SourceOp *source, const Pb__Platform *platform,
			       const decision *d, int *left, bool *ret_changed)
{
	const Pb__SourceOp *new;
	bool again;

	if (!d->update)
		return err_new(ERR_UNKNOWN, "convert action requires updated source");
	new = proto_dup(a, d->update);
	source->identifier = new->identifier;
	source->n_attrs = new->n_attrs;
	source->attrs = new->attrs;
	TRY(evaluate(p, ctx, a, source, platform, left, &again));
	*ret_changed = true;
	return NULL;
}

static struct err *ask_verifier(struct policy *p, struct ctx *ctx, struct session *s,
				struct arena *a, Pb__SourceOp *source, const Pb__Platform *platform,
				int *left, bool *ret_changed)
{
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaResponse bare =
		MOBY__BUILDKIT__V1__FRONTEND__RESOLVE_SOURCE_META_RESPONSE__INIT;
	check_request req =
		MOBY__BUILDKIT__V1__SOURCEPOLICY__POLICYSESSION__CHECK_POLICY_REQUEST__INIT;
	check_response *r;
	const decision *d;

	bare.source = source;
	req.platform = (Pb__Platform *)platform;
	req.source = &bare;
	for (;;) {
		if (--*left < 0)
			return err_new(ERR_UNKNOWN, "too many policy requests");
		TRY(grpc_unary_msg(
			session_client(s), ctx, CHECK_POLICY, NULL, 0, &req, a,
			&moby__buildkit__v1__sourcepolicy__policysession__check_policy_response__descriptor,
			&r));
		if (r->result_case !=
		    MOBY__BUILDKIT__V1__SOURCEPOLICY__POLICYSESSION__CHECK_POLICY_RESPONSE__RESULT_REQUEST)
			break;
		TRY(answer(p, ctx, source, r->request, a, &req.source));
	}
	if (r->result_case !=
	    MOBY__BUILDKIT__V1__SOURCEPOLICY__POLICYSESSION__CHECK_POLICY_RESPONSE__RESULT_DECISION)
		return err_new(ERR_UNKNOWN, "no decision in policy response");
	d = r->decision;
	if (d->action == MOBY__BUILDKIT__V1__SOURCEPOLICY__POLICY_ACTION__POLICY_ACTION_CONVERT)
		return take_update(p, ctx, a, source, platform, d, left, ret_changed);
	if (d->action != MOBY__BUILDKIT__V1__SOURCEPOLICY__POLICY_ACTION__POLICY_ACTION_ALLOW)
		return refused(source, d);
	return NULL;
}

static struct err *evaluate(struct policy *p, struct ctx *ctx, struct arena *a,
			    Pb__SourceOp *source, const Pb__Platform *platform, int *left,
			    bool *ret_changed)
{
	struct session *s;
	struct err *e;

	source->identifier = source_canonical(a, source->identifier);
	TRY(policy_evaluate(p->list, p->n, a, source, ret_changed));
	if (!p->session_id.len)
		return NULL;
	TRY(session_get(p->control->worker->sessions, ctx, p->session_id, false, &s));
	e = ask_verifier(p, ctx, s, a, source, platform, left, ret_changed);
	session_unref(s);
	return e;
}

/* ---- what a source uses besides itself ---- */

/* A git bundle is fetched as a blob: asked about as one. */
static struct err *evaluate_bundle(struct policy *p, struct ctx *ctx, struct arena *a,
				   Pb__SourceOp *git, const Pb__Platform *platform, int *left,
				   bool *ret_changed)
{
	Pb__SourceOp__AttrsEntry *bundle = PROTO_MAP_FIND(git->n_attrs, git->attrs, "git.bundle");
	Pb__SourceOp blob = PB__SOURCE_OP__INIT;
	Pb__SourceOp__AttrsEntry store = PB__SOURCE_OP__ATTRS_ENTRY__INIT,
				 session = PB__SOURCE_OP__ATTRS_ENTRY__INIT;
	Pb__SourceOp__AttrsEntry *attrs[2];
	struct str locator, scheme;
	ptrdiff_t at;
	const char *v;

	if (strncmp(git->identifier, "git://", 6) != 0 || !bundle || !*bundle->value)
		return NULL;
	locator = str_from(bundle->value);
	at = str_find_str(locator, STR("://"));
	if (at < 0)
		return err_new(ERR_UNKNOWN,
			       "failed to parse git.bundle locator \"%s\": missing scheme",
			       bundle->value);
	scheme = str_sub(locator, 0, (size_t)at);
	locator = str_sub(locator, (size_t)at + 3, locator.len);
	if (str_eq_cstr(scheme, "oci-layout+blob")) {
		v = PROTO_MAP_GET(git->n_attrs, git->attrs, "oci.session");
		if (v) {
			session.key = (char *)"oci.session";
			session.value = (char *)v;
			attrs[blob.n_attrs++] = &session;
		}
		v = PROTO_MAP_GET(git->n_attrs, git->attrs, "oci.store");
		str_cut(locator, '@', &locator, &scheme);
		store.key = (char *)"oci.store";
		store.value = v && *v ? (char *)v : str_cstr(a, locator);
		attrs[blob.n_attrs++] = &store;
	} else if (!str_eq_cstr(scheme, "docker-image+blob")) {
		return err_new(ERR_UNKNOWN, "git.bundle locator scheme \"%.*s\" is not supported",
			       STR_ARG(scheme));
	}
	blob.identifier = bundle->value;
	blob.attrs = attrs;
	TRYW(evaluate(p, ctx, a, &blob, platform, left, ret_changed),
	     "error evaluating git bundle source policy");
	if (*ret_changed)
		bundle->value = blob.identifier;
	return NULL;
}

struct err *policy_apply(struct policy *p, struct ctx *ctx, struct arena *a, Pb__SourceOp *source,
			 const Pb__Platform *platform, bool *ret_changed)
{
	int left = MAX_QUESTIONS;
	bool nested = false;

	*ret_changed = false;
	if (!p)
		return NULL;
	TRY(evaluate(p, ctx, a, source, platform, &left, ret_changed));
	TRY(evaluate_bundle(p, ctx, a, source, platform, &left, &nested));
	*ret_changed |= nested;
	return NULL;
}
