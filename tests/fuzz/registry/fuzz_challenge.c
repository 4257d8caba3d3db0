/* WWW-Authenticate headers, a line each, and what their scopes are merged to. */
#include "registry/challenge.h"
#include "registry/scope.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = str_make(data, size), line, *merged, *again, scopes[CHALLENGES_MAX];
	struct challenge c[CHALLENGES_MAX];
	SCOPED_ARENA(a);
	size_t n = 0, n_merged, n_again;

	while (str_next(&rest, '\n', &line))
		challenge_parse(&a, line, c, &n);
	if (n > CHALLENGES_MAX)
		abort();
	for (size_t i = 0; i < n; i++) {
		if (!c[i].scheme.len)
			abort();
		scopes[i] = c[i].scope;
	}
	scope_merge(&a, scopes, n, &merged, &n_merged);
	/* The normal form is its own. */
	scope_merge(&a, merged, n_merged, &again, &n_again);
	if (!str_eq(scope_join(&a, merged, n_merged), scope_join(&a, again, n_again)))
		abort();
	return 0;
}
