#include "daemon/gcpolicy.h"

#include "base/mem.h"
#include "base/path.h"

#include <sys/statvfs.h>

uint64_t gcpolicy_disk_total(const char *root)
{
	SCOPED_ARENA(a);
	struct str p = path_clean(&a, str_from(root));
	struct statvfs st;

	while (statvfs(str_cstr(&a, p), &st) != 0) {
		if (p.len <= 1)
			return 0;
		p = path_dir(&a, p);
	}
	return (uint64_t)st.f_blocks * st.f_frsize;
}

/* As sizes in percent are rounded in the configuration: to whole GB, one more. */
static int64_t percent(uint64_t disk, uint64_t n)
{
	if (!disk)
		return INT64_C(2000000000);
	return ((int64_t)((disk / 100 * n) >> 30) + 1) * INT64_C(1000000000);
}

void gcpolicy_default(struct arena *a, const struct gc_space *space, uint64_t disk,
		      struct config_worker *w)
{
	static struct str cheap[] = { STR("type==source.local"), STR("type==exec.cachemount"),
				      STR("type==source.git.checkout") };
	struct config_gc_policy *p = ARENA_NEW_N(a, struct config_gc_policy, 4);
	const int64_t hour = 3600 * NSEC_PER_SEC;
	struct gc_space s = *space;

	if (!s.set) {
		s.reserved = MIN(percent(disk, 10), INT64_C(10000000000));
		s.min_free = percent(disk, 20);
		s.max_used = MIN(percent(disk, 80), INT64_C(100000000000));
	}
	p[0] = (struct config_gc_policy) {
		.filters = { cheap, ARRAY_SIZE(cheap) },
		.keep_duration_ns = 48 * hour,
		.max_used_space = INT64_C(512000000),
	};
	for (int i = 1; i < 4; i++)
		p[i] = (struct config_gc_policy) {
			.all = i == 3,
			.keep_duration_ns = i == 1 ? 60 * 24 * hour : 0,
			.reserved_space = s.reserved,
			.max_used_space = s.max_used,
			.min_free_space = s.min_free,
		};
	w->gc_policies = p;
	w->n_gc_policies = 4;
}
