#include "registry/source_label.h"

#include "base/buf.h"
#include "base/limits.h"

static bool has_repo(struct str list, struct str repo)
{
	struct str one;

	while (list.len && str_next(&list, ',', &one))
		if (str_eq(one, repo))
			return true;
	return false;
}

static void add(struct buf *out, struct str repo)
{
	if (out->len)
		buf_add_char(out, ',');
	buf_add_str(out, repo);
}

/* The list stays sorted, as others that write it keep it. */
static void insert(struct buf *out, struct str list, struct str repo)
{
	struct str one;
	bool done = false;

	while (list.len && str_next(&list, ',', &one)) {
		if (!done && str_cmp(repo, one) < 0) {
			add(out, repo);
			done = true;
		}
		add(out, one);
	}
	if (!done)
		add(out, repo);
}

struct err *source_label_add(struct content *store, struct ctx *ctx, const struct digest *d,
			     struct str key, struct str repo)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(b, LIMIT_SOURCE_LABEL);
	struct content_info info;
	struct content_label label = { .key = key };
	struct str list = STR_NONE;

	TRY(content_info(store, ctx, &a, d, &info));
	for (size_t i = 0; i < info.n_labels; i++)
		if (str_eq(info.labels[i].key, key))
			list = info.labels[i].value;
	if (has_repo(list, repo))
		return NULL;
	insert(&b, list, repo);
	if (b.overflow)
		return NULL; /* it is a hint, and there are enough of them */
	label.value = buf_str(&b);
	return content_label(store, ctx, d, &label, 1);
}

static size_t common_components(struct str a, struct str b)
{
	struct str x, y;
	size_t n = 0;

	while (a.len && b.len && str_next(&a, '/', &x) && str_next(&b, '/', &y) && str_eq(x, y))
		n++;
	return n;
}

struct str source_label_pick(struct str list, struct str target)
{
	struct str one, best = STR_NONE;
	size_t n = 0;

	while (list.len && str_next(&list, ',', &one)) {
		size_t k = common_components(one, target);

		if (!one.len || str_eq(one, target) || k < n)
			continue;
		n = k;
		best = one;
	}
	return best;
}
