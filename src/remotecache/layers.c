#include "remotecache/layers.h"

#include <stdlib.h>

void layer_table_fini(struct layer_table *t)
{
	vec_fini(&t->list);
	map_fini(&t->seen, NULL);
}

uint32_t layer_table_add(struct layer_table *t, const struct oci_descriptor *desc, int64_t parent)
{
	char key[sizeof(struct digest) + sizeof(int64_t)];
	struct str k = str_make(key, sizeof(key));
	uintptr_t have;

	memcpy(key, &desc->digest, sizeof(desc->digest));
	memcpy(key + sizeof(desc->digest), &parent, sizeof(parent));
	have = (uintptr_t)map_get(&t->seen, k);
	if (have)
		return (uint32_t)have - 1;
	vec_push(&t->list, ((struct layer_entry) { *desc, parent }));
	map_put(&t->seen, k, (void *)(uintptr_t)t->list.len);
	return (uint32_t)t->list.len - 1;
}

/* Different entries differ in the blob of some layer on the way down. */
static int compare(const void *a, const void *b, void *arg)
{
	const struct layer_table *t = arg;
	int64_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	while (x != y) {
		int d;

		if (x < 0 || y < 0)
			return x < 0 ? -1 : 1;
		d = digest_cmp(&t->list.items[x].desc.digest, &t->list.items[y].desc.digest);
		if (d)
			return d;
		x = t->list.items[x].parent;
		y = t->list.items[y].parent;
	}
	return 0;
}

void layer_table_sort(struct layer_table *t, struct arena *a, uint32_t **ret_new)
{
	size_t n = t->list.len;
	uint32_t *order = ARENA_NEW_N(a, uint32_t, n + 1);
	uint32_t *now = ARENA_NEW_N(a, uint32_t, n + 1);
	struct layer_entry *old = ARENA_NEW_N(a, struct layer_entry, n + 1);

	for (uint32_t i = 0; i < n; i++)
		order[i] = i;
	qsort_r(order, n, sizeof(*order), compare, t);
	for (uint32_t i = 0; i < n; i++) {
		now[order[i]] = i;
		old[i] = t->list.items[i];
	}
	for (size_t i = 0; i < n; i++) {
		t->list.items[i] = old[order[i]];
		if (t->list.items[i].parent >= 0)
			t->list.items[i].parent = now[t->list.items[i].parent];
	}
	*ret_new = now;
}

static void print_annotations(const struct oci_descriptor *d, struct json_out *j)
{
	struct str created = oci_annotation(d, "buildkit/createdat");

	json_key(j, STR("annotations"));
	json_obj_begin(j);
	if (d->media_type.len)
		json_kstr(j, "mediaType", d->media_type);
	json_kstr(j, "diffID", oci_annotation(d, "containerd.io/uncompressed"));
	if (d->size)
		json_kint(j, "size", d->size);
	json_kstr(j, "createdAt", created.len ? created : STR("0001-01-01T00:00:00Z"));
	json_obj_end(j);
}

void layer_table_print(const struct layer_table *t, bool annotated, struct json_out *j)
{
	char text[DIGEST_TEXT_MAX];

	json_arr_begin(j);
	vec_each (&t->list, l) {
		json_obj_begin(j);
		json_kstr(j, "blob", str_from(digest_format(&l->desc.digest, text)));
		/* A missing parent reads as layer 0. */
		if (l->parent)
			json_kint(j, "parent", l->parent);
		if (annotated)
			print_annotations(&l->desc, j);
		json_obj_end(j);
	}
	json_arr_end(j);
}
