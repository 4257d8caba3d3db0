#include "frontend/llbgen_int.h"

#include "base/json.h"

#include <assert.h>

char *llb_text(struct arena *a, struct str s)
{
	return arena_dup0(a, s.ptr ? s.ptr : "", s.len);
}

static struct llb_node *node_new(struct arena *a, enum llb_kind kind)
{
	struct llb_node *n = ARENA_NEW(a, struct llb_node);

	n->kind = kind;
	pb__op__init(&n->op);
	pb__op_metadata__init(&n->md);
	return n;
}

/* Appends to a protobuf-c array of pointers, whose capacity is the next power of two. */
#define PB_PUSH(a, count, array, item)                                                             \
	do {                                                                                       \
		if (((count) & ((count)-1)) == 0) {                                                \
			void *old_ = (array);                                                      \
			(array) = arena_calloc((a), (count) ? (count)*2 : 1, sizeof(*(array)));    \
			if (count)                                                                 \
				memcpy((array), old_, (count) * sizeof(*(array)));                 \
		}                                                                                  \
		(array)[(count)++] = (item);                                                       \
	} while (0)

/* ---- metadata ---- */

void llb_cap(struct arena *a, struct llb_node *n, const char *cap)
{
	Pb__OpMetadata__CapsEntry *e;

	if (PROTO_MAP_FIND(n->md.n_caps, n->md.caps, cap))
		return;
	e = ARENA_NEW(a, Pb__OpMetadata__CapsEntry);
	pb__op_metadata__caps_entry__init(e);
	e->key = arena_strdup(a, cap);
	e->value = true;
	PB_PUSH(a, n->md.n_caps, n->md.caps, e);
}

void llb_describe(struct arena *a, struct llb_node *n, const char *key, struct str value)
{
	Pb__OpMetadata__DescriptionEntry *e =
		PROTO_MAP_FIND(n->md.n_description, n->md.description, key);

	if (!e) {
		e = ARENA_NEW(a, Pb__OpMetadata__DescriptionEntry);
		pb__op_metadata__description_entry__init(e);
		e->key = arena_strdup(a, key);
		PB_PUSH(a, n->md.n_description, n->md.description, e);
	}
	e->value = llb_text(a, value);
}

void llb_platform(struct arena *a, struct llb_node *n, const struct platform *p)
{
	n->platform = p ? arena_dup(a, p, sizeof(*p)) : NULL;
}

void llb_ignore_cache(struct llb_node *n)
{
	n->md.ignore_cache = true;
}

void llb_progress_group(struct arena *a, struct llb_node *n, struct str id, struct str name,
			bool weak)
{
	Pb__ProgressGroup *g = ARENA_NEW(a, Pb__ProgressGroup);

	pb__progress_group__init(g);
	g->id = llb_text(a, id);
	g->name = llb_text(a, name);
	g->weak = weak;
	n->md.progress_group = g;
}

Pb__OpMetadata *llb_metadata(struct llb_node *n)
{
	return &n->md;
}

void llb_locate(struct arena *a, struct llb_node *n, const struct llb_source_map *map, int start,
		int end)
{
	Pb__Location *loc;

	if (!map)
		return;
	loc = ARENA_NEW(a, Pb__Location);
	pb__location__init(loc);
	for (int line = start; line <= end; line++) {
		Pb__Range *r = ARENA_NEW(a, Pb__Range);

		pb__range__init(r);
		r->start = ARENA_NEW(a, Pb__Position);
		pb__position__init(r->start);
		r->start->line = line;
		r->end = arena_dup(a, r->start, sizeof(*r->start));
		PB_PUSH(a, loc->n_ranges, loc->ranges, r);
	}
	ARENA_GROW(a, n->locations.items, n->locations.len, n->locations.cap);
	n->locations.items[n->locations.len++] = (struct llb_location) { map, loc };
}

/* ---- sources ---- */

struct llb_node *llb_source(struct arena *a, struct str identifier)
{
	struct llb_node *n = node_new(a, LLB_SOURCE);
	Pb__SourceOp *s = ARENA_NEW(a, Pb__SourceOp);

	pb__source_op__init(s);
	s->identifier = llb_text(a, identifier);
	n->op.op_case = PB__OP__OP_SOURCE;
	n->op.source = s;
	return n;
}

void llb_attr(struct arena *a, struct llb_node *n, const char *key, struct str value)
{
	Pb__SourceOp *s = n->op.source;
	Pb__SourceOp__AttrsEntry *e = PROTO_MAP_FIND(s->n_attrs, s->attrs, key);

	if (!e) {
		e = ARENA_NEW(a, Pb__SourceOp__AttrsEntry);
		pb__source_op__attrs_entry__init(e);
		e->key = arena_strdup(a, key);
		PB_PUSH(a, s->n_attrs, s->attrs, e);
	}
	e->value = llb_text(a, value);
}

void llb_attr_list(struct arena *a, struct llb_node *n, const char *key, const struct str *list,
		   size_t count)
{
	SCOPED_BUF(text, SIZE_MAX);
	struct json_out j;

	if (!count)
		return;
	json_out_init(&j, &text, NULL);
	json_arr_begin(&j);
	for (size_t i = 0; i < count; i++)
		json_str(&j, list[i]);
	json_arr_end(&j);
	llb_attr(a, n, key, buf_str(&text));
}

/* ---- exec ---- */

struct llb_node *llb_exec(struct arena *a)
{
	struct llb_node *n = node_new(a, LLB_EXEC);
	Pb__ExecOp *e = ARENA_NEW(a, Pb__ExecOp);

	pb__exec_op__init(e);
	e->meta = ARENA_NEW(a, Pb__Meta);
	pb__meta__init(e->meta);
	n->op.op_case = PB__OP__OP_EXEC;
	n->op.exec = e;
	return n;
}

Pb__ExecOp *llb_exec_op(struct llb_node *n)
{
	return n->op.exec;
}

static Pb__Mount *mount_new(struct arena *a, struct llb_edges *list, struct str dest,
			    struct llb_out source, bool no_output)
{
	Pb__Mount *m = ARENA_NEW(a, Pb__Mount);

	pb__mount__init(m);
	m->dest = llb_text(a, dest);
	ARENA_GROW(a, list->items, list->len, list->cap);
	list->items[list->len++] = (struct llb_edge) { source, m, no_output };
	return m;
}

Pb__Mount *llb_exec_mount(struct arena *a, struct llb_node *n, struct str dest,
			  struct llb_out source, bool no_output)
{
	return mount_new(a, &n->edges, dest, source, no_output);
}

Pb__Mount *llb_exec_tail_mount(struct arena *a, struct llb_node *n, struct str dest)
{
	return mount_new(a, &n->tail, dest, LLB_SCRATCH, true);
}

/* ---- file ---- */

struct llb_node *llb_file(struct arena *a, struct llb_out base)
{
	struct llb_node *n = node_new(a, LLB_FILE);

	n->base = base;
	n->op.op_case = PB__OP__OP_FILE;
	n->op.file = ARENA_NEW(a, Pb__FileOp);
	pb__file_op__init(n->op.file);
	llb_cap(a, n, "file.base");
	return n;
}

static Pb__FileAction *action_new(struct arena *a, struct llb_node *n, struct llb_out from)
{
	Pb__FileAction *act = ARENA_NEW(a, Pb__FileAction);

	pb__file_action__init(act);
	ARENA_GROW(a, n->edges.items, n->edges.len, n->edges.cap);
	n->edges.items[n->edges.len++] = (struct llb_edge) { from, act, false };
	PB_PUSH(a, n->op.file->n_actions, n->op.file->actions, act);
	return act;
}

Pb__FileActionMkDir *llb_mkdir(struct arena *a, struct llb_node *n, struct str path)
{
	Pb__FileAction *act = action_new(a, n, LLB_SCRATCH);
	Pb__FileActionMkDir *m = ARENA_NEW(a, Pb__FileActionMkDir);

	pb__file_action_mk_dir__init(m);
	m->path = llb_text(a, path);
	m->timestamp = -1;
	act->action_case = PB__FILE_ACTION__ACTION_MKDIR;
	act->mkdir = m;
	return m;
}

Pb__FileActionMkFile *llb_mkfile(struct arena *a, struct llb_node *n, struct str path)
{
	Pb__FileAction *act = action_new(a, n, LLB_SCRATCH);
	Pb__FileActionMkFile *m = ARENA_NEW(a, Pb__FileActionMkFile);

	pb__file_action_mk_file__init(m);
	m->path = llb_text(a, path);
	m->timestamp = -1;
	act->action_case = PB__FILE_ACTION__ACTION_MKFILE;
	act->mkfile = m;
	return m;
}

Pb__FileActionCopy *llb_copy(struct arena *a, struct llb_node *n, struct llb_out from,
			     struct str src, struct str dest)
{
	Pb__FileAction *act = action_new(a, n, from);
	Pb__FileActionCopy *c = ARENA_NEW(a, Pb__FileActionCopy);

	pb__file_action_copy__init(c);
	c->src = llb_text(a, src);
	c->dest = llb_text(a, dest);
	c->mode = -1;
	c->timestamp = -1;
	act->action_case = PB__FILE_ACTION__ACTION_COPY;
	act->copy = c;
	return c;
}

static Pb__UserOpt *user_by_id(struct arena *a, uint32_t id)
{
	Pb__UserOpt *u = ARENA_NEW(a, Pb__UserOpt);

	pb__user_opt__init(u);
	u->user_case = PB__USER_OPT__USER_BY_ID;
	u->byid = id;
	return u;
}

static Pb__UserOpt *user_by_text(struct arena *a, struct str text)
{
	Pb__UserOpt *u;
	int64_t id;

	if (str_eq(text, STR("root")))
		return user_by_id(a, 0);
	if (str_to_i64(text, &id) && id >= INT32_MIN && id <= INT32_MAX)
		return user_by_id(a, (uint32_t)id);
	if (!text.len) /* a name that is empty is the number 0 */
		return user_by_id(a, 0);
	u = ARENA_NEW(a, Pb__UserOpt);
	pb__user_opt__init(u);
	u->user_case = PB__USER_OPT__USER_BY_NAME;
	u->byname = ARENA_NEW(a, Pb__NamedUserOpt);
	pb__named_user_opt__init(u->byname);
	u->byname->name = llb_text(a, text);
	return u;
}

Pb__ChownOpt *llb_chown(struct arena *a, struct str owner)
{
	Pb__ChownOpt *c;
	struct str user, group;

	if (!owner.len)
		return NULL;
	str_cut(owner, ':', &user, &group);
	c = ARENA_NEW(a, Pb__ChownOpt);
	pb__chown_opt__init(c);
	c->user = user_by_text(a, user);
	if (group.len)
		c->group = user_by_text(a, group);
	return c;
}

Pb__ChownOpt *llb_chown_ids(struct arena *a, uint32_t uid, uint32_t gid)
{
	Pb__ChownOpt *c = ARENA_NEW(a, Pb__ChownOpt);

	pb__chown_opt__init(c);
	c->user = user_by_id(a, uid);
	c->group = user_by_id(a, gid);
	return c;
}

/* ---- others ---- */

struct llb_out llb_merge(struct arena *a, const struct llb_out *inputs, size_t n,
			 struct llb_node **ret_node)
{
	struct llb_node *m = node_new(a, LLB_MERGE);

	m->op.op_case = PB__OP__OP_MERGE;
	m->op.merge = ARENA_NEW(a, Pb__MergeOp);
	pb__merge_op__init(m->op.merge);
	llb_cap(a, m, "mergeop");
	for (size_t i = 0; i < n; i++)
		if (inputs[i].node) {
			ARENA_GROW(a, m->edges.items, m->edges.len, m->edges.cap);
			m->edges.items[m->edges.len++] =
				(struct llb_edge) { inputs[i], NULL, false };
		}
	*ret_node = NULL;
	if (!m->edges.len)
		return LLB_SCRATCH;
	if (m->edges.len == 1)
		return m->edges.items[0].out;
	*ret_node = m;
	return llb_out_of(m);
}

struct llb_node *llb_alias(struct arena *a)
{
	return node_new(a, LLB_ALIAS);
}

void llb_alias_set(struct llb_node *alias, struct llb_out target)
{
	assert(alias->kind == LLB_ALIAS);
	alias->base = target;
}

struct llb_out llb_resolve(struct llb_out out)
{
	while (out.node && out.node->kind == LLB_ALIAS)
		out = out.node->base;
	return out;
}
