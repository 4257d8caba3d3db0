#include "source/policy.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

typedef Moby__Buildkit__V1__Sourcepolicy__Policy policy;
typedef Moby__Buildkit__V1__Sourcepolicy__Rule rule;
typedef Moby__Buildkit__V1__Sourcepolicy__Selector selector;
typedef Moby__Buildkit__V1__Sourcepolicy__Update update;
typedef Moby__Buildkit__V1__Sourcepolicy__AttrConstraint constraint;

#define ALLOW MOBY__BUILDKIT__V1__SOURCEPOLICY__POLICY_ACTION__POLICY_ACTION_ALLOW
#define DENY MOBY__BUILDKIT__V1__SOURCEPOLICY__POLICY_ACTION__POLICY_ACTION_DENY
#define CONVERT MOBY__BUILDKIT__V1__SOURCEPOLICY__POLICY_ACTION__POLICY_ACTION_CONVERT
#define WILDCARD MOBY__BUILDKIT__V1__SOURCEPOLICY__MATCH_TYPE__MATCH_TYPE_WILDCARD
#define EXACT MOBY__BUILDKIT__V1__SOURCEPOLICY__MATCH_TYPE__MATCH_TYPE_EXACT
#define REGEX MOBY__BUILDKIT__V1__SOURCEPOLICY__MATCH_TYPE__MATCH_TYPE_REGEX

#define BUSYBOX "docker-image://docker.io/library/busybox:latest"
#define ALPINE "docker-image://docker.io/library/alpine:latest"

static rule *add(struct arena *a, policy *p, int action, int type, const char *from, const char *to)
{
	rule **more = ARENA_NEW_N(a, rule *, p->n_rules + 1);
	rule *r = ARENA_NEW(a, rule);

	moby__buildkit__v1__sourcepolicy__rule__init(r);
	r->action = action;
	r->selector = ARENA_NEW(a, selector);
	moby__buildkit__v1__sourcepolicy__selector__init(r->selector);
	r->selector->identifier = (char *)from;
	r->selector->match_type = type;
	if (to) {
		r->updates = ARENA_NEW(a, update);
		moby__buildkit__v1__sourcepolicy__update__init(r->updates);
		r->updates->identifier = (char *)to;
	}
	memcpy(more, p->rules, p->n_rules * sizeof(*more));
	more[p->n_rules++] = r;
	p->rules = more;
	return r;
}

static void constrain(struct arena *a, rule *r, int condition, const char *key, const char *value)
{
	constraint *c = ARENA_NEW(a, constraint);

	moby__buildkit__v1__sourcepolicy__attr_constraint__init(c);
	c->condition = condition;
	c->key = (char *)key;
	c->value = (char *)value;
	r->selector->constraints = ARENA_NEW_N(a, constraint *, 1);
	r->selector->constraints[0] = c;
	r->selector->n_constraints = 1;
}

/* What becomes of an identifier; an error's text is given instead. */
static const char *outcome(struct arena *a, policy *const *list, size_t n, const char *identifier)
{
	Pb__SourceOp op = PB__SOURCE_OP__INIT;
	bool changed;
	struct err *e;

	op.identifier = (char *)identifier;
	e = policy_evaluate((const policy *const *)list, n, a, &op, &changed);
	if (e) {
		const char *text = arena_strdup(a, err_text(e));

		err_free(e);
		return text;
	}
	assert_int_equal(changed, strcmp(op.identifier, identifier) != 0);
	return op.identifier;
}

static void last_rule_wins(void **state)
{
	SCOPED_ARENA(a);
	policy p = MOBY__BUILDKIT__V1__SOURCEPOLICY__POLICY__INIT, *list[] = { &p };

	add(&a, &p, DENY, WILDCARD, "docker-image://*", NULL);
	assert_string_equal(outcome(&a, list, 1, BUSYBOX),
			    "source \"" BUSYBOX "\" denied by policy: source denied by policy");
	add(&a, &p, ALLOW, EXACT, BUSYBOX, NULL);
	assert_string_equal(outcome(&a, list, 1, BUSYBOX), BUSYBOX);
	assert_string_not_equal(outcome(&a, list, 1, ALPINE), ALPINE);
	add(&a, &p, DENY, WILDCARD, BUSYBOX, NULL);
	assert_string_not_equal(outcome(&a, list, 1, BUSYBOX), BUSYBOX);
}

static void policies_in_turn(void **state)
{
	SCOPED_ARENA(a);
	policy first = MOBY__BUILDKIT__V1__SOURCEPOLICY__POLICY__INIT, second = first;
	policy *list[] = { &first, &second };

	add(&a, &first, ALLOW, EXACT, BUSYBOX, NULL);
	add(&a, &second, DENY, EXACT, BUSYBOX, NULL);
	assert_string_not_equal(outcome(&a, list, 2, BUSYBOX), BUSYBOX);
	/* After a change the first one is asked again. */
	second.n_rules = 0;
	add(&a, &first, DENY, EXACT, ALPINE, NULL);
	add(&a, &second, CONVERT, EXACT, BUSYBOX, ALPINE);
	assert_string_equal(outcome(&a, list, 2, BUSYBOX),
			    "source \"" ALPINE "\" denied by policy: source denied by policy");
}

static void conversions(void **state)
{
	SCOPED_ARENA(a);
	policy p = MOBY__BUILDKIT__V1__SOURCEPOLICY__POLICY__INIT, *list[] = { &p };

	add(&a, &p, CONVERT, WILDCARD, "docker-image://docker.io/library/golang:*",
	    "docker-image://fakereg.io/library/golang:${1}");
	assert_string_equal(outcome(&a, list, 1, "docker-image://docker.io/library/golang:1.19"),
			    "docker-image://fakereg.io/library/golang:1.19");
	p.n_rules = 0;
	add(&a, &p, CONVERT, REGEX, "docker\\-image://docker\\.io/(?P<what>[a-z]+)/golang:(.*)",
	    "docker-image://r.io/${what}/$2-$$x$");
	assert_string_equal(outcome(&a, list, 1, "docker-image://docker.io/library/golang:1"),
			    "docker-image://r.io/library/1-$x$");
	p.n_rules = 0;
	add(&a, &p, CONVERT, EXACT, BUSYBOX, ALPINE);
	add(&a, &p, CONVERT, EXACT, ALPINE, BUSYBOX);
	assert_string_equal(outcome(&a, list, 1, BUSYBOX),
			    "too many mutations on a single source: too many operations");
	/* One that changes nothing is passed over. */
	p.n_rules = 0;
	add(&a, &p, CONVERT, EXACT, BUSYBOX, BUSYBOX);
	assert_string_equal(outcome(&a, list, 1, BUSYBOX), BUSYBOX);
}

static void attributes(void **state)
{
	SCOPED_ARENA(a);
	policy p = MOBY__BUILDKIT__V1__SOURCEPOLICY__POLICY__INIT;
	const policy *list[] = { &p };
	Moby__Buildkit__V1__Sourcepolicy__Update__AttrsEntry sum =
		MOBY__BUILDKIT__V1__SOURCEPOLICY__UPDATE__ATTRS_ENTRY__INIT;
	Moby__Buildkit__V1__Sourcepolicy__Update__AttrsEntry *entries[] = { &sum };
	Pb__SourceOp op = PB__SOURCE_OP__INIT;
	rule *r = add(&a, &p, CONVERT, EXACT, "https://example.com/foo", "");
	struct err *e;
	bool changed;

	sum.key = (char *)"http.checksum";
	sum.value = (char *)"sha256:1234";
	r->updates->attrs = entries;
	r->updates->n_attrs = 1;
	op.identifier = (char *)"https://example.com/foo";
	assert_null(policy_evaluate(list, 1, &a, &op, &changed));
	assert_true(changed);
	assert_string_equal(op.identifier, "https://example.com/foo");
	assert_int_equal(op.n_attrs, 1);
	assert_string_equal(op.attrs[0]->value, "sha256:1234");
	/* Now it is as wanted. */
	assert_null(policy_evaluate(list, 1, &a, &op, &changed));
	assert_false(changed);
	p.n_rules = 0;
	r = add(&a, &p, DENY, WILDCARD, "*", NULL);
	constrain(&a, r, MOBY__BUILDKIT__V1__SOURCEPOLICY__ATTR_MATCH__ATTR_MATCH_EQUAL,
		  "http.checksum", "other");
	assert_null(policy_evaluate(list, 1, &a, &op, &changed));
	constrain(&a, r, MOBY__BUILDKIT__V1__SOURCEPOLICY__ATTR_MATCH__ATTR_MATCH_MATCHES,
		  "http.checksum", "^sha256:[0-9]+$");
	e = policy_evaluate(list, 1, &a, &op, &changed);
	assert_non_null(e);
	err_free(e);
}

static void bad_rules(void **state)
{
	SCOPED_ARENA(a);
	policy p = MOBY__BUILDKIT__V1__SOURCEPOLICY__POLICY__INIT, *list[] = { &p };
	struct err *e;
	rule *r;

	r = add(&a, &p, 9000, EXACT, BUSYBOX, NULL);
	assert_non_null(strstr(outcome(&a, list, 1, BUSYBOX), "unknown type"));
	r->action = CONVERT;
	assert_non_null(
		strstr(outcome(&a, list, 1, BUSYBOX), "missing destination for convert rule"));
	r->action = DENY;
	r->selector->match_type = REGEX;
	r->selector->identifier = (char *)"(";
	assert_non_null(strstr(outcome(&a, list, 1, BUSYBOX), "error parsing regexp"));
	r->selector->match_type = WILDCARD;
	r->selector->identifier = (char *)"a**";
	assert_non_null(strstr(outcome(&a, list, 1, BUSYBOX), "invalid wildcard"));
	/* Exponential for a matcher that goes back. */
	r->selector->match_type = REGEX;
	r->selector->identifier = (char *)"^(a+)+$";
	assert_non_null(strstr(
		outcome(&a, list, 1, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"),
		"takes too long"));
	r->selector = NULL;
	e = policy_validate(&p);
	assert_string_equal(err_text(e), "invalid nil selector in policy");
	err_free(e);
}

static void names(void **state)
{
	static const char *const cases[][2] = {
		{ "docker-image://alpine", ALPINE },
		{ "docker-image://r.io/"
		  "x@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		  "docker-image://r.io/"
		  "x@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "docker-image://A!", "docker-image://A!" },
		{ "git://example.com/repo.git", "git://example.com/repo.git" },
		{ "git://me@example.com//a/../repo.git#v1:sub",
		  "git://example.com/repo.git#v1:sub" },
		{ "git://example.com/repo#", "git://example.com/repo" },
		{ "https://example.com/a?b", "https://example.com/a?b" },
		{ "local://context", "local://context" },
	};
	SCOPED_ARENA(a);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(source_canonical(&a, cases[i][0]), cases[i][1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(last_rule_wins), cmocka_unit_test(policies_in_turn),
		cmocka_unit_test(conversions),    cmocka_unit_test(attributes),
		cmocka_unit_test(bad_rules),      cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
