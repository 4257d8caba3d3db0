#include "sys/userns.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/vec.h"
#include "sys/file.h"

struct err *userns_map(const char *file, struct arena *a, struct userns_range **ret, size_t *ret_n)
{
	VEC(struct userns_range) v = VEC_INIT;
	struct str text = STR_NONE, line, field;

	TRY(file_read_str(AT_FDCWD, file, a, 64 * KIB, &text));
	while (str_next(&text, '\n', &line)) {
		uint64_t n[3];
		int i = 0;

		while (i < 3 && str_next(&line, ' ', &field))
			if (field.len && !str_to_u64(field, &n[i++]))
				break;
		if (i < 3)
			continue;
		vec_push(&v, ((struct userns_range) { (uint32_t)n[0], (uint32_t)n[1],
						      (uint32_t)n[2] }));
	}
	*ret = v.len ? arena_dup(a, v.items, v.len * sizeof(*v.items)) : NULL;
	*ret_n = v.len;
	vec_fini(&v);
	return NULL;
}

bool userns_inside(void)
{
	SCOPED_ARENA(a);
	struct userns_range *r;
	size_t n;
	struct err *e = userns_map("/proc/self/uid_map", &a, &r, &n);

	if (e) {
		/* A kernel without user namespaces. */
		err_free(e);
		return false;
	}
	return !(n == 1 && r->inside == 0 && r->outside == 0 && r->count == UINT32_MAX);
}
