#include "base/clock.h"
#include "base/mem.h"
#include "control/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static bool matches(const history_record *r, const char *one, const char *other)
{
	SCOPED_ARENA(a);
	char *list[] = { (char *)one, (char *)other };
	struct history_filter *f;
	bool yes;

	assert_null(history_filter_new(&a, list, other ? 2 : 1, &f));
	yes = history_filter_match(f, r);
	history_filter_free(f);
	return yes;
}

static history_record make(struct arena *a, int64_t seconds_ago, int64_t took)
{
	history_record r = MOBY__BUILDKIT__V1__BUILD_HISTORY_RECORD__INIT;
	int64_t t = clock_wall() - seconds_ago * NSEC_PER_SEC;

	r.ref = (char *)"abc";
	r.createdat = proto_timestamp(a, t);
	if (took >= 0)
		r.completedat = proto_timestamp(a, t + took * NSEC_PER_SEC);
	return r;
}

static void fields(void **state)
{
	SCOPED_ARENA(a);
	history_record r = make(&a, 100, 10);
	Google__Rpc__Status st = GOOGLE__RPC__STATUS__INIT;
	Moby__Buildkit__V1__BuildHistoryRecord__FrontendAttrsEntry vcs =
		MOBY__BUILDKIT__V1__BUILD_HISTORY_RECORD__FRONTEND_ATTRS_ENTRY__INIT;
	Moby__Buildkit__V1__BuildHistoryRecord__FrontendAttrsEntry *attrs[] = { &vcs };

	assert_true(matches(&r, "ref==abc", NULL));
	assert_true(matches(&r, "ref~=^a", NULL));
	assert_false(matches(&r, "ref==ab", NULL));
	assert_true(matches(&r, "ref==ab", "ref==abc"));
	assert_true(matches(&r, "status==completed,ref==abc", NULL));
	assert_false(matches(&r, "status==completed,ref==ab", NULL));
	assert_false(matches(&r, "repository==x", NULL));
	vcs.key = (char *)"vcs:source";
	vcs.value = (char *)"x";
	r.frontendattrs = attrs;
	r.n_frontendattrs = 1;
	assert_true(matches(&r, "repository==x", NULL));
	st.message = (char *)"failed";
	r.error = &st;
	assert_true(matches(&r, "status==error", NULL));
	st.message = (char *)"x: context canceled";
	assert_true(matches(&r, "status==canceled", NULL));
	r.completedat = NULL;
	assert_true(matches(&r, "status==running", NULL));
}

static void times(void **state)
{
	SCOPED_ARENA(a);
	history_record r = make(&a, 100, 10);

	assert_true(matches(&r, "startedAt<90s", NULL));
	assert_false(matches(&r, "startedAt>90s", NULL));
	assert_true(matches(&r, "startedAt>=2m", NULL));
	assert_true(matches(&r, "startedAt>2020-01-02T03:04:05Z", NULL));
	assert_true(matches(&r, "duration>=10s,duration<=10s", NULL));
	assert_false(matches(&r, "duration>10s", NULL));
	assert_true(matches(&r, "completedAt>95s", NULL));
	assert_true(matches(&r, "\"duration<1m\",\"ref==abc\"", NULL));
}

static void bad(void **state)
{
	static const char *const lines[] = { "startedAt>x", "duration<1parsec", "\"ref",
					     "ref==\"" };

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		SCOPED_ARENA(a);
		char *list[] = { (char *)lines[i] };
		struct history_filter *f = NULL;
		struct err *e = history_filter_new(&a, list, 1, &f);

		assert_non_null(e);
		err_free(e);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields),
		cmocka_unit_test(times),
		cmocka_unit_test(bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
