/* Cache key of a file operation: what its actions do, and which paths of its inputs they read. */
#include "base/path.h"
#include "base/glob.h"
#include "base/vec.h"
#include "cache/contenthash.h"
#include "op/file_op.h"

struct selected {
	VEC(struct content_select) list;
	bool whole; /* read in other ways too: its own key decides */
};

static struct str *copy_list(struct arena *a, char *const *list, size_t n)
{
	struct str *out = ARENA_NEW_N(a, struct str, n + 1);

	for (size_t i = 0; i < n; i++)
		out[i] = str_from(list[i]);
	return out;
}

static void select_source(struct file_op *o, struct selected *s, const Pb__FileActionCopy *c)
{
	struct arena *a = &o->base.arena;
	struct str src = str_from(c->src);

	vec_push(&s->list, ((struct content_select) {
				   .path = src,
				   .opts = {
					   .follow_links = c->followsymlink,
					   .wildcard = c->allowwildcard && glob_has_meta(src),
					   .include = copy_list(a, c->include_patterns,
								c->n_include_patterns),
					   .n_include = c->n_include_patterns,
					   .exclude = copy_list(a, c->exclude_patterns,
								c->n_exclude_patterns),
					   .n_exclude = c->n_exclude_patterns,
					   .required = copy_list(a, c->required_paths,
								 c->n_required_paths),
					   .n_required = c->n_required_paths,
				   },
			   }));
}

static bool is_input(const struct file_op *o, int64_t i)
{
	return i >= 0 && (uint64_t)i < o->base.vertex->n_inputs;
}

/* The message of an action; of a copy from an input only the last part of the path, since the
 * content counts for the rest. */
static void add_action(struct file_op *o, struct json_out *j, const Pb__FileAction *a)
{
	const ProtobufCMessage *m = &a->mkdir->base; /* all members of the union are messages */
	Pb__FileActionCopy copy;
	struct json_out inner;
	SCOPED_BUF(text, LIMIT_GRPC_MESSAGE * 2);
	SCOPED_ARENA(arena);

	if (a->action_case == PB__FILE_ACTION__ACTION_COPY && is_input(o, a->secondaryinput)) {
		copy = *a->copy;
		copy.src = str_cstr(&arena, path_base(str_from(copy.src)));
		m = &copy.base;
	}
	json_out_init(&inner, &text, NULL);
	gojson_message(&inner, m);
	json_base64(j, buf_str(&text));
}

/* Each action on the last one's result, the last one is the output: not written down. */
static bool is_plain_chain(const Pb__FileOp *f)
{
	size_t n = f->n_actions;

	for (size_t i = 0; i < n; i++) {
		const Pb__FileAction *a = f->actions[i];
		int64_t input = i ? (int64_t)(n + i - 1) : 0;

		if (a->input != input || (a->secondaryinput != -1 && a->secondaryinput != 1) ||
		    a->output != (i == n - 1 ? 0 : -1))
			return false;
	}
	return true;
}

static struct digest actions_digest(struct file_op *o)
{
	const Pb__FileOp *f = o->pb;
	struct key_json k;

	key_json_begin(&k, "buildkit.file.v0");
	json_key(&k.j, STR("Actions"));
	json_arr_begin(&k.j);
	for (size_t i = 0; i < f->n_actions; i++)
		add_action(o, &k.j, f->actions[i]);
	json_arr_end(&k.j);
	if (!is_plain_chain(f)) {
		json_key(&k.j, STR("indexes"));
		json_arr_begin(&k.j);
		for (size_t i = 0; i < f->n_actions; i++) {
			json_arr_begin(&k.j);
			json_int(&k.j, f->actions[i]->input);
			json_int(&k.j, f->actions[i]->secondaryinput);
			json_int(&k.j, f->actions[i]->output);
			json_arr_end(&k.j);
		}
		json_arr_end(&k.j);
	}
	return key_json_end(&k);
}

static int by_path_down(const void *a, const void *b)
{
	return -str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void set_dep(struct file_op *o, struct cache_dep *dep, struct selected *s)
{
	struct arena *a = &o->base.arena;
	struct str *paths = mem_calloc(s->list.len, sizeof(*paths));
	SCOPED_BUF(joined, LIMIT_GRPC_MESSAGE * 2);

	for (size_t i = 0; i < s->list.len; i++)
		paths[i] = s->list.items[i].path;
	qsort(paths, s->list.len, sizeof(*paths), by_path_down);
	for (size_t i = 0; i < s->list.len; i++) {
		if (i)
			buf_add_char(&joined, '\0');
		buf_add_str(&joined, paths[i]);
	}
	free(paths);
	dep->selector = digest_sha256(buf_str(&joined));
	dep->content_hash = op_content_hash;
	dep->arg = content_selects_new(a, s->list.items, s->list.len);
}

/* Names of owners are looked up in files of an input. */
static void select_names(struct file_op *o, struct selected *s, const Pb__ChownOpt *c)
{
	struct content_select sel = { .opts.follow_links = true };
	int64_t i;

	if (c && file_owner_input(c->user, &i) && is_input(o, i)) {
		sel.path = STR("/etc/passwd");
		vec_push(&s[i].list, sel);
	}
	if (c && file_owner_input(c->group, &i) && is_input(o, i)) {
		sel.path = STR("/etc/group");
		vec_push(&s[i].list, sel);
	}
}

void file_op_make_key(struct file_op *o)
{
	const Pb__FileOp *f = o->pb;
	size_t n = o->base.vertex->n_inputs;
	struct selected *s = mem_calloc(n + 1, sizeof(*s));

	for (size_t i = 0; i < f->n_actions; i++) {
		const Pb__FileAction *a = f->actions[i];

		if (is_input(o, a->input))
			s[a->input].whole = true;
		select_names(o, s, file_action_owner(a));
		if (a->action_case == PB__FILE_ACTION__ACTION_COPY &&
		    is_input(o, a->secondaryinput))
			select_source(o, &s[a->secondaryinput], a->copy);
	}
	for (size_t i = 0; i < n; i++) {
		if (s[i].list.len && !s[i].whole)
			set_dep(o, &o->base.deps[i], &s[i]);
		vec_fini(&s[i].list);
	}
	free(s);
	o->digest = actions_digest(o);
}
