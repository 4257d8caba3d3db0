#include "registry/scope.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"

static void free_actions(void *p)
{
	map_fini(p, NULL);
	free(p);
}

static void add(struct map *m, struct str scope)
{
	ptrdiff_t first = str_find(scope, ':'), last = str_rfind(scope, ':');
	struct str resource = scope, actions = STR_NONE, action;
	struct map *set;

	if (last > first) {
		resource = str_sub(scope, 0, (size_t)last);
		actions = str_sub(scope, (size_t)last + 1, scope.len);
	}
	set = map_get(m, resource);
	if (!set) {
		set = NEW(struct map);
		(void)map_put(m, resource, set);
	}
	while (actions.len && str_next(&actions, ',', &action))
		if (action.len)
			(void)map_put(set, action, set);
}

void scope_merge(struct arena *a, const struct str *in, size_t n, struct str **ret, size_t *ret_n)
{
	struct map m = MAP_INIT;
	struct map_entry **sorted;
	struct str *out;
	size_t n_out;

	for (size_t i = 0; i < n; i++) {
		struct str rest = in[i], one;

		while (rest.len && str_next(&rest, ' ', &one))
			if (one.len)
				add(&m, one);
	}
	n_out = map_len(&m);
	sorted = map_sorted(&m, a);
	out = ARENA_NEW_N(a, struct str, n_out);
	for (size_t i = 0; i < n_out; i++) {
		SCOPED_BUF(b, 2 * LIMIT_CHALLENGE);
		struct map *set = sorted[i]->value;
		struct map_entry **actions = map_sorted(set, a);

		buf_add_str(&b, map_key(sorted[i]));
		for (size_t k = 0; k < map_len(set); k++) {
			buf_add_char(&b, k ? ',' : ':');
			buf_add_str(&b, map_key(actions[k]));
		}
		out[i] = str_dup(a, buf_str(&b));
	}
	map_fini(&m, free_actions);
	*ret = out;
	*ret_n = n_out;
}

struct str scope_join(struct arena *a, const struct str *scopes, size_t n)
{
	SCOPED_BUF(b, 4 * LIMIT_CHALLENGE);

	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_add_char(&b, ' ');
		buf_add_str(&b, scopes[i]);
	}
	return str_dup(a, buf_str(&b));
}
