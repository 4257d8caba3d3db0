#include "remotecache/chains.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"

#include <stdlib.h>

struct link {
	uint32_t record; /* the first of its copies */
	struct digest selector;
};

struct input {
	struct link *links; /* sorted */
	size_t n;
};

struct node {
	struct digest digest;
	struct input *inputs;
	size_t n_inputs;
	struct chain_result result;
	uint32_t first;  /* itself, or the record that it is a copy of */
	uint32_t number; /* in the output */
	bool valid, useful;
};

struct chains {
	struct arena *arena;
	struct node *nodes;
	size_t n;
};

static int compare_links(const void *a, const void *b, void *arg)
{
	const struct chains *c = arg;
	const struct link *x = a, *y = b;
	int d = digest_cmp(&x->selector, &y->selector);

	if (!d)
		d = digest_cmp(&c->nodes[x->record].digest, &c->nodes[y->record].digest);
	return d ? d : (x->record > y->record) - (x->record < y->record);
}

/* False when no exportable record is left for it. */
static bool read_input(struct chains *c, const struct export_link *links, size_t n, size_t self,
		       struct input *ret)
{
	struct input in = { .links = ARENA_NEW_N(c->arena, struct link, n + 1) };

	for (size_t i = 0; i < n; i++) {
		if (links[i].record >= self || !c->nodes[links[i].record].valid ||
		    links[i].selector.algo == DIGEST_RANDOM)
			continue;
		in.links[in.n++] =
			(struct link) { c->nodes[links[i].record].first, links[i].selector };
	}
	qsort_r(in.links, in.n, sizeof(*in.links), compare_links, c);
	/* Copies have become one. */
	for (size_t i = 0, all = in.n; i < all; i++) {
		if (!i)
			in.n = 0;
		if (!in.n || compare_links(&in.links[in.n - 1], &in.links[i], c) != 0)
			in.links[in.n++] = in.links[i];
	}
	*ret = in;
	return in.n > 0;
}

static bool read_node(struct chains *c, const struct export_record *r, size_t self)
{
	struct node *n = &c->nodes[self];

	if (!digest_is_set(&r->digest) || r->digest.algo == DIGEST_RANDOM)
		return false;
	n->digest = r->digest;
	n->n_inputs = r->n_inputs;
	n->inputs = ARENA_NEW_N(c->arena, struct input, r->n_inputs + 1);
	for (size_t i = 0; i < r->n_inputs; i++)
		if (!read_input(c, r->inputs[i], r->n_links[i], self, &n->inputs[i]))
			return false;
	return true;
}

/* What makes two records the same. */
static struct str identity(struct chains *c, const struct node *n)
{
	struct buf b = BUF_INIT(SIZE_MAX);
	struct str s;

	buf_add(&b, &n->digest, sizeof(n->digest));
	for (size_t i = 0; i < n->n_inputs; i++) {
		uint64_t len = n->inputs[i].n;

		buf_add(&b, &len, sizeof(len));
		for (size_t k = 0; k < n->inputs[i].n; k++) {
			const struct link *l = &n->inputs[i].links[k];

			buf_add(&b, &l->record, sizeof(l->record));
			buf_add(&b, &l->selector, sizeof(l->selector));
		}
	}
	s = str_dup(c->arena, buf_str(&b));
	buf_fini(&b);
	return s;
}

static void read_nodes(struct chains *c, const struct export_record *records,
		       const struct chain_result *results)
{
	struct map seen = MAP_INIT;

	for (size_t i = 0; i < c->n; i++) {
		struct node *n = &c->nodes[i];
		struct str key;
		uintptr_t have;

		n->first = (uint32_t)i;
		n->valid = read_node(c, &records[i], i);
		if (!n->valid)
			continue;
		n->result = results[i];
		key = identity(c, n);
		have = (uintptr_t)map_get(&seen, key);
		if (!have) {
			map_put(&seen, key, (void *)(uintptr_t)(i + 1));
			continue;
		}
		n->first = (uint32_t)have - 1;
		if (!c->nodes[n->first].result.n)
			c->nodes[n->first].result = n->result;
	}
	map_fini(&seen, NULL);
}

/* Inputs have lower numbers, so one pass from the end will do. */
static void mark_useful(struct chains *c)
{
	for (size_t i = c->n; i-- > 0;) {
		struct node *n = &c->nodes[i];

		if (!n->valid || n->first != i || !(n->useful || n->result.n))
			continue;
		n->useful = true;
		for (size_t k = 0; k < n->n_inputs; k++)
			for (size_t m = 0; m < n->inputs[k].n; m++)
				c->nodes[n->inputs[k].links[m].record].useful = true;
	}
}

static int compare_inputs(const struct chains *c, const struct input *x, const struct input *y)
{
	int d = (x->n > y->n) - (x->n < y->n);

	for (size_t i = 0; !d && i < x->n; i++) {
		d = digest_cmp(&x->links[i].selector, &y->links[i].selector);
		if (!d)
			d = digest_cmp(&c->nodes[x->links[i].record].digest,
				       &c->nodes[y->links[i].record].digest);
	}
	return d;
}

static int compare_nodes(const void *a, const void *b, void *arg)
{
	const struct chains *c = arg;
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
	const struct node *x = &c->nodes[i], *y = &c->nodes[k];
	int d = digest_cmp(&x->digest, &y->digest);

	if (!d)
		d = (x->n_inputs > y->n_inputs) - (x->n_inputs < y->n_inputs);
	for (size_t m = 0; !d && m < x->n_inputs; m++)
		d = compare_inputs(c, &x->inputs[m], &y->inputs[m]);
	return d ? d : (i > k) - (i < k);
}

/* ---- printing ---- */

static void print_time(struct arena *a, struct json_out *j, int64_t ns)
{
	if (ns)
		json_kstr(j, "createdAt", str_from(clock_rfc3339(a, ns)));
}

static void print_result(struct arena *a, struct json_out *j, const struct chain_result *r)
{
	if (!r->n)
		return;
	if (r->explicit)
		json_key(j, STR("chains"));
	else
		json_key(j, STR("layers"));
	json_arr_begin(j);
	json_obj_begin(j);
	if (r->explicit) {
		json_key(j, STR("layers"));
		json_arr_begin(j);
		for (size_t i = 0; i < r->n; i++)
			json_uint(j, r->layers[i]);
		json_arr_end(j);
	} else {
		json_key(j, STR("layer"));
		json_uint(j, r->layers[0]);
	}
	print_time(a, j, r->created_ns);
	json_obj_end(j);
	json_arr_end(j);
}

static int by_number(const void *a, const void *b, void *arg)
{
	const struct chains *c = arg;
	const struct link *x = a, *y = b;
	uint32_t i = c->nodes[x->record].number, k = c->nodes[y->record].number;

	return i == k ? digest_cmp(&x->selector, &y->selector) : (i > k) - (i < k);
}

static void print_input(struct chains *c, struct json_out *j, const struct input *in)
{
	char text[DIGEST_TEXT_MAX];

	qsort_r(in->links, in->n, sizeof(*in->links), by_number, c);

	json_arr_begin(j);
	for (size_t i = 0; i < in->n; i++) {
		json_obj_begin(j);
		if (digest_is_set(&in->links[i].selector))
			json_kstr(j, "selector",
				  str_from(digest_format(&in->links[i].selector, text)));
		json_kint(j, "link", c->nodes[in->links[i].record].number);
		json_obj_end(j);
	}
	json_arr_end(j);
}

static void print_node(struct chains *c, struct json_out *j, const struct node *n)
{
	char text[DIGEST_TEXT_MAX];

	json_obj_begin(j);
	print_result(c->arena, j, &n->result);
	json_kstr(j, "digest", str_from(digest_format(&n->digest, text)));
	if (n->n_inputs) {
		json_key(j, STR("inputs"));
		json_arr_begin(j);
		for (size_t i = 0; i < n->n_inputs; i++)
			print_input(c, j, &n->inputs[i]);
		json_arr_end(j);
	}
	json_obj_end(j);
}

bool chains_print(const struct export_record *records, size_t n, const struct chain_result *results,
		  struct json_out *j)
{
	SCOPED_ARENA(a);
	struct chains c = { &a, ARENA_NEW_N(&a, struct node, n + 1), n };
	uint32_t *order = ARENA_NEW_N(&a, uint32_t, n + 1);
	size_t used = 0;

	read_nodes(&c, records, results);
	mark_useful(&c);
	for (uint32_t i = 0; i < n; i++)
		if (c.nodes[i].useful)
			order[used++] = i;
	if (!used)
		return false;
	qsort_r(order, used, sizeof(*order), compare_nodes, &c);
	for (uint32_t i = 0; i < used; i++)
		c.nodes[order[i]].number = i;
	json_arr_begin(j);
	for (size_t i = 0; i < used; i++)
		print_node(&c, j, &c.nodes[order[i]]);
	json_arr_end(j);
	return true;
}
