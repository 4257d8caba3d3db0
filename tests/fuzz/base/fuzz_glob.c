/* First line: a path. The others: patterns. */
#include "base/glob.h"
#include "base/path.h"

#include <assert.h>
#include <stdint.h>

#define MAX_PATTERNS 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = str_make(data, size < 2048 ? size : 2048), path, list[MAX_PATTERNS];
	struct match_state *st = NULL;
	struct patterns *p;
	SCOPED_ARENA(a);
	bool match = false, walked = false;
	struct err *e, *f = NULL;
	size_t n = 0;

	(void)str_next(&rest, '\n', &path);
	while (n < MAX_PATTERNS && str_next(&rest, '\n', &list[n])) {
		err_free(glob_match(list[n], path, &match));
		n++;
	}
	e = patterns_new(&a, list, n, &p);
	if (e) {
		err_free(e);
		return 0;
	}
	path = path_clean(&a, path);
	path = str_trim_prefix(path, STR("/"));
	e = patterns_match(p, path, &match);
	for (size_t i = 0; i <= path.len && !f; i++)
		if (i == path.len || path.ptr[i] == '/')
			f = patterns_match_walk(p, &a, str_sub(path, 0, i), st, &walked, &st);
	/* Without exclusions both ways agree, and below a match lies no surprise. */
	if (!e && !f && !patterns_has_exclusions(p)) {
		assert(match == walked);
		for (size_t i = 0; i < path.len && match; i++)
			if (path.ptr[i] == '/')
				assert(patterns_may_match_below(p, str_sub(path, 0, i)));
	}
	err_free(e);
	err_free(f);
	return 0;
}
