/* Filters of disk usage and prune. */
#include "cache/cache_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str list[] = { str_make(data, size) }, parent = STR("p");
	struct cache_usage u = { .id = STR("abc"),
				 .description = STR("pulled from docker.io"),
				 .type = STR("regular"),
				 .parents = &parent,
				 .n_parents = 1 };
	SCOPED_ARENA(a);
	struct filter *f;
	struct err *e = filter_parse(&a, list, 1, &f);

	if (!e) {
		(void)filter_match(f, &u);
		filter_free(f);
	}
	err_free(e);
	return 0;
}
