#include "control/explain.h"

#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"

#define SHOWN_FILES 10
#define SHOWN_VALUE 200
#define SAME_DEPTH 16

static bool same_bytes(ProtobufCBinaryData a, ProtobufCBinaryData b)
{
	return a.len == b.len && (!a.len || memcmp(a.data, b.data, a.len) == 0);
}

static bool same_input(const Buildkitc__V1__StoredInput *a, const Buildkitc__V1__StoredInput *b)
{
	if (a->content.len && same_bytes(a->content, b->content))
		return true;
	if (!same_bytes(a->selector, b->selector))
		return false;
	for (size_t i = 0; i < a->n_keys; i++)
		for (size_t k = 0; k < b->n_keys; k++)
			if (a->keys[i] == b->keys[k])
				return true;
	return false;
}

/* ---- nearness ---- */

static unsigned same_parts(const Buildkitc__V1__StoredVertex *a,
			   const Buildkitc__V1__StoredVertex *b)
{
	struct map values = MAP_INIT;
	unsigned same = 0;

	for (size_t i = 0; i < b->n_parts; i++)
		(void)map_put(&values, str_from(b->parts[i]->name), b->parts[i]->value);
	for (size_t i = 0; i < a->n_parts; i++) {
		const char *v = map_get(&values, str_from(a->parts[i]->name));

		same += v && strcmp(v, a->parts[i]->value) == 0;
	}
	map_fini(&values, NULL);
	return same * 99 / (unsigned)MAX(MAX(a->n_parts, b->n_parts), (size_t)1);
}

/* The operation counts most, then its inputs, then what people call it; what its key was made of
 * decides among the rest. */
unsigned explain_nearness(const Buildkitc__V1__StoredVertex *v,
			  const Buildkitc__V1__StoredVertex *earlier)
{
	unsigned same = 0, near = 0;

	if (strcmp(v->kind, earlier->kind) != 0)
		return 0;
	for (size_t i = 0; i < MIN(v->n_inputs, earlier->n_inputs); i++)
		same += same_input(v->inputs[i], earlier->inputs[i]);
	if (v->key.len && same_bytes(v->key, earlier->key))
		near += 2000;
	if (v->n_inputs && same == v->n_inputs && v->n_inputs == earlier->n_inputs)
		near += 800;
	else if (same)
		near += 400;
	if (strcmp(v->name, earlier->name) == 0)
		near += 600;
	return near ? near + same_parts(v, earlier) : 0;
}

static const Buildkitc__V1__StoredVertex *input_vertex(const Buildkitc__V1__StoredBuild *b,
						       const Buildkitc__V1__StoredInput *in)
{
	return in->vertex && in->vertex <= b->n_vertices ? b->vertices[in->vertex - 1] : NULL;
}

static bool same_work(const struct explain_pair *p, const Buildkitc__V1__StoredVertex *v,
		      const Buildkitc__V1__StoredVertex *old, unsigned depth);

static bool same_origin(const struct explain_pair *p, const Buildkitc__V1__StoredInput *in,
			const Buildkitc__V1__StoredInput *was, unsigned depth)
{
	if (same_input(in, was))
		return true;
	if (in->content.len && was->content.len)
		return false;
	return same_work(p, input_vertex(p->build, in), input_vertex(p->earlier_build, was), depth);
}

/* Keys that were pruned are made anew, under other names: then it counts what they stood on. Looks
 * at what ran only, since of the rest it is not kept. */
static bool same_work(const struct explain_pair *p, const Buildkitc__V1__StoredVertex *v,
		      const Buildkitc__V1__StoredVertex *old, unsigned depth)
{
	if (!v || !old || !depth || !v->key.len || !same_bytes(v->key, old->key) ||
	    v->n_inputs != old->n_inputs || v->fate != VERTEX_RAN || old->fate != VERTEX_RAN)
		return false;
	for (size_t i = 0; i < v->n_inputs; i++)
		if (!same_origin(p, v->inputs[i], old->inputs[i], depth - 1))
			return false;
	return true;
}

/* ---- reasons ---- */

struct reasons {
	struct arena *a;
	VEC(char *) list;
};

static const char *quoted(struct arena *a, const char *s)
{
	struct str text = str_from(s);
	SCOPED_BUF(b, 16 * KIB);

	go_quote(&b, str_sub(text, 0, SHOWN_VALUE));
	if (text.len > SHOWN_VALUE)
		buf_add_cstr(&b, "...");
	return str_cstr(a, buf_str(&b));
}

static void say(struct reasons *r, char *text)
{
	vec_push(&r->list, text);
}

static void compare_parts(struct reasons *r, const char *whose,
			  const Buildkitc__V1__StoredVertex *v,
			  const Buildkitc__V1__StoredVertex *old)
{
	struct map before = MAP_INIT;

	for (size_t i = 0; i < old->n_parts; i++)
		(void)map_put(&before, str_from(old->parts[i]->name), old->parts[i]->value);
	for (size_t i = 0; i < v->n_parts; i++) {
		const char *name = v->parts[i]->name, *now = v->parts[i]->value;
		const char *was = map_del(&before, str_from(name));

		if (!was)
			say(r,
			    arena_printf(r->a, "%s%s is new: %s", whose, name, quoted(r->a, now)));
		else if (strcmp(was, now) != 0)
			say(r, arena_printf(r->a, "%s%s has changed: %s, it was %s", whose, name,
					    quoted(r->a, now), quoted(r->a, was)));
	}
	for (struct map_entry *e = map_next(&before, NULL); e; e = map_next(&before, e))
		say(r, arena_printf(r->a, "%s%s is gone: it was %s", whose, e->key,
				    quoted(r->a, e->value)));
	map_fini(&before, NULL);
}

/* Changed files: of a directory that was not gone into it is known only that something is. */
static bool compare_entries(struct reasons *r, const char *input,
			    const Buildkitc__V1__StoredInput *in,
			    const Buildkitc__V1__StoredInput *old)
{
	struct map before = MAP_INIT;
	size_t n = 0;

	for (size_t i = 0; i < old->n_entries; i++)
		(void)map_put(&before, str_from(old->entries[i]->path), old->entries[i]);
	for (size_t i = 0; i < in->n_entries; i++) {
		const Buildkitc__V1__StoredEntry *e = in->entries[i];
		const Buildkitc__V1__StoredEntry *was = map_del(&before, str_from(e->path));
		const char *what = e->all_below ? "something in directory" : "file";

		if (was && was->digest == e->digest && was->all_below == e->all_below)
			continue;
		if (was && was->all_below != e->all_below)
			continue; /* not comparable: one had room for what is below */
		if (n++ < SHOWN_FILES)
			say(r, arena_printf(r->a, "%s %s of %s %s", what, e->path, input,
					    was ? "has changed" : "is new"));
	}
	for (struct map_entry *m = map_next(&before, NULL); m; m = map_next(&before, m))
		if (n++ < SHOWN_FILES)
			say(r, arena_printf(r->a, "file %s of %s is gone", m->key, input));
	map_fini(&before, NULL);
	if (n > SHOWN_FILES)
		say(r, arena_printf(r->a, "%zu more files of %s differ", n - SHOWN_FILES, input));
	return n;
}

static void compare_input(struct reasons *r, const struct explain_pair *p, size_t i)
{
	const Buildkitc__V1__StoredInput *in = p->vertex->inputs[i], *old = p->earlier->inputs[i];
	const Buildkitc__V1__StoredVertex *v = input_vertex(p->build, in);
	const Buildkitc__V1__StoredVertex *was = input_vertex(p->earlier_build, old);
	const char *name = v ? arena_printf(r->a, "input %s", quoted(r->a, v->name))
			     : arena_printf(r->a, "input %zu", i);
	size_t before = r->list.len;

	if (same_origin(p, in, old, SAME_DEPTH))
		return;
	if (!same_bytes(in->selector, old->selector))
		say(r, arena_printf(r->a, "other paths of %s are read", name));
	if (in->content.len && old->content.len) {
		if (!compare_entries(r, name, in, old))
			say(r, arena_printf(r->a, "the content of %s has changed", name));
		return;
	}
	if (v && was && strcmp(v->kind, "source") == 0 && strcmp(was->kind, "source") == 0)
		compare_parts(r, arena_printf(r->a, "%s: ", name), v, was);
	else if (v && v->fate == VERTEX_RAN)
		say(r, arena_printf(r->a, "%s ran", name));
	else if (v && was && strcmp(v->name, was->name) != 0)
		say(r, arena_printf(r->a, "%s is used, it was %s", name, quoted(r->a, was->name)));
	if (r->list.len == before)
		say(r, arena_printf(r->a, "%s has another key", name));
}

static void nothing_differs(struct reasons *r, const struct explain_pair *p)
{
	if (p->vertex->transient)
		say(r, str_cstr(r->a,
				STR("the key is of this session only: it stands on an input that "
				    "is never found again")));
	else if (!p->result_exists)
		say(r,
		    str_cstr(r->a, STR("the key is the same, but its result is gone: it was pruned "
				       "or evicted")));
	else
		say(r, str_cstr(r->a,
				STR("the key is the same and the result exists, but it could not "
				    "be used")));
}

char **explain_reasons(const struct explain_pair *p, struct arena *a, size_t *ret_n)
{
	struct reasons r = { .a = a };
	const Buildkitc__V1__StoredVertex *v = p->vertex, *old = p->earlier;
	char **out;

	if (v->ignore_cache) {
		say(&r, str_cstr(a, STR("the cache is ignored for this step")));
	} else if (!old) {
		say(&r,
		    str_cstr(a, STR("nothing like it was built before, as far as is remembered")));
	} else {
		if (!same_bytes(v->key, old->key)) {
			compare_parts(&r, "", v, old);
			if (!r.list.len)
				say(&r, str_cstr(a, STR("the operation has changed")));
		}
		if (v->n_inputs != old->n_inputs)
			say(&r, arena_printf(a, "it has %zu inputs, it had %zu", v->n_inputs,
					     old->n_inputs));
		for (size_t i = 0; i < MIN(v->n_inputs, old->n_inputs); i++)
			compare_input(&r, p, i);
		if (!r.list.len)
			nothing_differs(&r, p);
	}
	out = ARENA_NEW_N(a, char *, r.list.len + 1);
	*ret_n = r.list.len;
	for (size_t i = 0; i < r.list.len; i++)
		out[i] = r.list.items[i];
	vec_fini(&r.list);
	return out;
}
