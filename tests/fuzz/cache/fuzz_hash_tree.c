/* Stored trees of checksums, and trees built from a list of paths (one a line, '/' at the end of a
 * directory). */
#include "cache/hashtree.h"

#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(struct hashtree *t)
{
	SCOPED_ARENA(a);

	for (uint32_t i = 0; i < t->nodes.len; i++) {
		struct hashnode *n = hashtree_node(t, i);

		if (i && hashtree_path(t, i, &a).len == 0)
			abort();
		if (n->type == HASH_DIR)
			for (uint32_t k = n->first; k < n->first + n->count; k++)
				(void)hashtree_child(t, i, hashtree_name(t, hashtree_node(t, k)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct contenthash_known known[64];
	struct str rest = str_make(data, size), line;
	struct hashtree *t;
	struct err *e;
	size_t n = 0;

	e = hashtree_unpack(rest, &t);
	if (!e) {
		walk(t);
		hashtree_free(t);
	}
	err_free(e);
	while (n < 64 && str_next(&rest, '\n', &line)) {
		bool dir = str_has_suffix(line, STR("/"));

		known[n++] = (struct contenthash_known) {
			.path = str_trim_suffix(line, STR("/")),
			.mode = dir ? S_IFDIR : S_IFREG,
			.digest = digest_sha256(line),
		};
	}
	e = hashtree_build(known, n, &t);
	if (!e) {
		SCOPED_BUF(packed, (size_t)1 << 24);
		struct hashtree *u;

		hashtree_pack(t, &packed);
		walk(t);
		hashtree_free(t);
		e = hashtree_unpack(buf_str(&packed), &u);
		if (e)
			abort();
		hashtree_free(u);
	}
	err_free(e);
	return 0;
}
