/* llb_marshal(): digests bottom-up, each op once, equal ops joined. */
#include "frontend/llbgen_int.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/vec.h"
#include "codec/digest.h"

struct entry { /* an op of the definition */
	struct str bytes, digest;
	Pb__OpMetadata md;
	Pb__Locations locations;
};

struct frame {
	struct llb_node *node;
	size_t next;
};

struct marshal {
	struct arena *a;
	const struct platform *platform;
	const void *run;      /* marks the nodes that were put out */
	struct map by_digest; /* -> struct entry */
	VEC(struct entry *) entries;
	VEC(struct frame) stack;
	VEC(const struct llb_source_map *) maps;
};

/* ---- order ---- */

static void add_dep(struct arena *a, struct llb_edges *all, struct llb_out out)
{
	out = llb_resolve(out);
	if (!out.node)
		return;
	for (size_t i = 0; i < all->len; i++)
		if (all->items[i].out.node == out.node)
			return;
	ARENA_GROW(a, all->items, all->len, all->cap);
	all->items[all->len++] = (struct llb_edge) { out, NULL, false };
}

static const char *mount_dest(const struct llb_edge *e)
{
	return ((const Pb__Mount *)e->msg)->dest;
}

/* Few mounts an exec: insertion keeps those of equal destinations in order. */
static void sort_mounts(struct llb_edges *list)
{
	for (size_t i = 1; i < list->len; i++) {
		struct llb_edge e = list->items[i];
		size_t k = i;

		for (; k > 0 && strcmp(mount_dest(&list->items[k - 1]), mount_dest(&e)) > 0; k--)
			list->items[k] = list->items[k - 1];
		list->items[k] = e;
	}
}

/* The order decides where an op stands in the definition: of a file op its base, then what its
 * actions copy from, last action first. */
static void find_deps(struct arena *a, struct llb_node *n)
{
	struct llb_edges all = { 0 };

	if (n->kind == LLB_EXEC)
		sort_mounts(&n->edges);
	if (n->kind == LLB_FILE) {
		add_dep(a, &all, n->base);
		for (size_t i = n->edges.len; i-- > 0;)
			add_dep(a, &all, n->edges.items[i].out);
	} else {
		for (size_t i = 0; i < n->edges.len; i++)
			add_dep(a, &all, n->edges.items[i].out);
	}
	n->deps = ARENA_NEW_N(a, struct llb_out, all.len);
	n->n_deps = all.len;
	for (size_t i = 0; i < all.len; i++)
		n->deps[i] = all.items[i].out;
	n->deps_known = true;
}

/* ---- bytes of one op ---- */

struct inputs {
	struct arena *a;
	Pb__Op *op;
	size_t cap;
};

static int64_t input_push(struct inputs *in, struct llb_out out)
{
	Pb__Input *i = ARENA_NEW(in->a, Pb__Input);

	pb__input__init(i);
	i->digest = (char *)out.node->digest.ptr;
	i->index = out.index;
	if (in->op->n_inputs == in->cap) {
		Pb__Input **old = in->op->inputs;

		in->cap = in->cap ? in->cap * 2 : 4;
		in->op->inputs = ARENA_NEW_N(in->a, Pb__Input *, in->cap);
		if (old)
			memcpy(in->op->inputs, old, in->op->n_inputs * sizeof(Pb__Input *));
	}
	in->op->inputs[in->op->n_inputs] = i;
	return (int64_t)in->op->n_inputs++;
}

/* Number of the input, an equal one found again; -1 for scratch. */
static int64_t input_index(struct inputs *in, struct llb_out out)
{
	out = llb_resolve(out);
	if (!out.node)
		return -1;
	for (size_t i = 0; i < in->op->n_inputs; i++)
		if (in->op->inputs[i]->index == out.index &&
		    str_eq_cstr(out.node->digest, in->op->inputs[i]->digest))
			return (int64_t)i;
	return input_push(in, out);
}

static void set_owner_input(Pb__ChownOpt *owner, int64_t base)
{
	if (!owner)
		return;
	if (owner->user && owner->user->user_case == PB__USER_OPT__USER_BY_NAME)
		owner->user->byname->input = base;
	if (owner->group && owner->group->user_case == PB__USER_OPT__USER_BY_NAME)
		owner->group->byname->input = base;
}

static void fill_exec(struct inputs *in, struct llb_node *n)
{
	Pb__ExecOp *e = n->op.exec;
	int64_t outputs = 0;
	size_t k = 0;

	e->n_mounts = n->edges.len + n->tail.len;
	e->mounts = ARENA_NEW_N(in->a, Pb__Mount *, e->n_mounts);
	for (size_t i = 0; i < n->edges.len; i++) {
		Pb__Mount *m = n->edges.items[i].msg;
		bool none =
			n->edges.items[i].no_output || m->readonly || m->cacheopt || m->tmpfsopt;

		m->input = input_index(in, n->edges.items[i].out);
		m->output = none ? -1 : outputs++;
		e->mounts[k++] = m;
	}
	for (size_t i = 0; i < n->tail.len; i++) {
		Pb__Mount *m = n->tail.items[i].msg;

		m->input = -1;
		e->mounts[k++] = m;
	}
}

static void fill_file(struct inputs *in, struct llb_node *n)
{
	int64_t base = input_index(in, n->base);

	for (size_t i = 0; i < n->edges.len; i++) {
		Pb__FileAction *act = n->edges.items[i].msg;

		act->secondaryinput = input_index(in, n->edges.items[i].out);
	}
	for (size_t i = 0; i < n->edges.len; i++) {
		Pb__FileAction *act = n->edges.items[i].msg;

		act->input = i ? (int64_t)(in->op->n_inputs + i - 1) : base;
		act->output = i + 1 == n->edges.len ? 0 : -1;
		if (act->action_case == PB__FILE_ACTION__ACTION_COPY)
			set_owner_input(act->copy->owner, base);
		else if (act->action_case == PB__FILE_ACTION__ACTION_MKDIR)
			set_owner_input(act->mkdir->owner, base);
		else if (act->action_case == PB__FILE_ACTION__ACTION_MKFILE)
			set_owner_input(act->mkfile->owner, base);
	}
}

static void fill_merge(struct inputs *in, struct llb_node *n)
{
	Pb__MergeOp *m = n->op.merge;

	m->n_inputs = 0;
	m->inputs = ARENA_NEW_N(in->a, Pb__MergeInput *, n->edges.len);
	for (size_t i = 0; i < n->edges.len; i++) {
		struct llb_out out = llb_resolve(n->edges.items[i].out);
		Pb__MergeInput *mi;

		if (!out.node)
			continue;
		mi = ARENA_NEW(in->a, Pb__MergeInput);
		pb__merge_input__init(mi);
		mi->input = input_push(in, out);
		m->inputs[m->n_inputs++] = mi;
	}
}

static Pb__Platform *platform_msg(struct arena *a, const struct platform *p)
{
	Pb__Platform *m = ARENA_NEW(a, Pb__Platform);

	pb__platform__init(m);
	m->os = llb_text(a, p->os);
	m->architecture = llb_text(a, p->arch);
	m->variant = llb_text(a, p->variant);
	m->osversion = llb_text(a, p->os_version);
	m->n_osfeatures = p->n_os_features;
	m->osfeatures = ARENA_NEW_N(a, char *, p->n_os_features);
	for (size_t i = 0; i < p->n_os_features; i++)
		m->osfeatures[i] = llb_text(a, p->os_features[i]);
	return m;
}

static bool has_platform(const struct llb_node *n)
{
	struct str id;

	if (n->kind == LLB_EXEC)
		return true;
	if (n->kind != LLB_SOURCE)
		return false;
	id = str_from(n->op.source->identifier);
	return str_has_prefix(id, STR("docker-image://")) ||
	       str_has_prefix(id, STR("oci-layout://"));
}

/* Go's encoder puts the members of a oneof behind all other fields, so the op is packed in two
 * parts; together they are one message. */
static struct err *pack_node(struct marshal *m, struct llb_node *n)
{
	SCOPED_BUF(out, LIMIT_GRPC_MESSAGE);
	Pb__WorkerConstraints constraints = PB__WORKER_CONSTRAINTS__INIT;
	Pb__Op head = PB__OP__INIT, *check;
	struct inputs in = { m->a, &head, 0 };
	struct digest d;

	if (n->kind == LLB_RAW)
		return NULL;
	if (n->kind == LLB_EXEC)
		fill_exec(&in, n);
	else if (n->kind == LLB_FILE)
		fill_file(&in, n);
	else if (n->kind == LLB_MERGE)
		fill_merge(&in, n);
	if (has_platform(n))
		head.platform = platform_msg(m->a, n->platform ? n->platform : m->platform);
	head.constraints = &constraints;
	proto_pack(&head, &out);
	proto_pack(&n->op, &out);
	TRY(buf_check(&out, "LLB op"));
	if (!str_is_utf8(buf_str(&out))) { /* file data may be anything, texts may not */
		SCOPED_ARENA(scratch);
		struct err *e = PROTO_UNPACK(&scratch, pb__op, buf_str(&out), &check);

		if (e) {
			err_free(e);
			return err_new(ERR_INVALID_ARGUMENT, "string field contains invalid UTF-8");
		}
	}
	n->bytes = str_dup(m->a, buf_str(&out));
	d = digest_sha256(n->bytes);
	n->digest = str_from(digest_text(&d, m->a));
	return NULL;
}

/* ---- the definition ---- */

static void merge_metadata(struct arena *a, Pb__OpMetadata *into, const Pb__OpMetadata *md)
{
	Pb__OpMetadata__DescriptionEntry **desc;
	Pb__OpMetadata__CapsEntry **caps;

	desc = ARENA_NEW_N(a, Pb__OpMetadata__DescriptionEntry *,
			   into->n_description + md->n_description);
	if (into->n_description)
		memcpy(desc, into->description, into->n_description * sizeof(*desc));
	for (size_t i = 0; i < md->n_description; i++) {
		size_t k = 0;

		while (k < into->n_description &&
		       strcmp(desc[k]->key, md->description[i]->key) != 0)
			k++;
		desc[k] = md->description[i];
		if (k == into->n_description)
			into->n_description++;
	}
	into->description = desc;
	caps = ARENA_NEW_N(a, Pb__OpMetadata__CapsEntry *, into->n_caps + md->n_caps);
	if (into->n_caps)
		memcpy(caps, into->caps, into->n_caps * sizeof(*caps));
	for (size_t i = 0; i < md->n_caps; i++)
		if (!PROTO_MAP_FIND(into->n_caps, caps, md->caps[i]->key))
			caps[into->n_caps++] = md->caps[i];
	into->caps = caps;
	into->ignore_cache |= md->ignore_cache;
	if (md->export_cache)
		into->export_cache = md->export_cache;
	if (md->progress_group)
		into->progress_group = md->progress_group;
	if (md->linux_resources)
		into->linux_resources = md->linux_resources;
}

static bool same_map(const struct llb_source_map *x, const struct llb_source_map *y)
{
	return x == y || (str_eq(x->filename, y->filename) && str_eq(x->language, y->language) &&
			  str_eq(x->data, y->data));
}

static int32_t map_index(struct marshal *m, const struct llb_source_map *map)
{
	for (size_t i = 0; i < m->maps.len; i++)
		if (same_map(m->maps.items[i], map))
			return (int32_t)i;
	vec_push(&m->maps, map);
	return (int32_t)m->maps.len - 1;
}

static void add_locations(struct marshal *m, struct entry *e, const struct llb_node *n)
{
	Pb__Location **all;

	if (!n->locations.len)
		return;
	all = ARENA_NEW_N(m->a, Pb__Location *, e->locations.n_locations + n->locations.len);
	if (e->locations.n_locations)
		memcpy(all, e->locations.locations, e->locations.n_locations * sizeof(*all));
	e->locations.locations = all;
	for (size_t i = 0; i < n->locations.len; i++) {
		const struct llb_location *l = &n->locations.items[i];
		Pb__Location *copy = arena_dup(m->a, l->loc, sizeof(*l->loc));

		copy->sourceindex = map_index(m, l->map);
		all[e->locations.n_locations++] = copy;
	}
}

static struct err *add_entry(struct marshal *m, struct llb_node *n)
{
	struct entry *e;

	TRY(pack_node(m, n));
	e = map_get(&m->by_digest, n->digest);
	if (!e) {
		if (m->entries.len >= LIMIT_LLB_OPS)
			return err_new(ERR_RESOURCE_EXHAUSTED, "build has more than %d steps",
				       LIMIT_LLB_OPS);
		e = ARENA_NEW(m->a, struct entry);
		pb__op_metadata__init(&e->md);
		pb__locations__init(&e->locations);
		e->bytes = n->bytes;
		e->digest = n->digest;
		vec_push(&m->entries, e);
		map_put(&m->by_digest, e->digest, e);
	}
	merge_metadata(m->a, &e->md, &n->md);
	add_locations(m, e, n);
	return NULL;
}

/* Depth first with a stack of its own: chains are as long as files have instructions. */
static struct err *walk(struct marshal *m, struct llb_node *top)
{
	vec_push(&m->stack, ((struct frame) { top, 0 }));
	while (m->stack.len) {
		struct frame *f = &m->stack.items[m->stack.len - 1];
		struct llb_node *n = f->node;

		if (!n->deps_known)
			find_deps(m->a, n);
		if (f->next == 0 && n->seen == m->run) {
			m->stack.len--;
			continue;
		}
		if (f->next < n->n_deps) {
			struct llb_node *dep = n->deps[f->next++].node;

			if (dep->seen != m->run)
				vec_push(&m->stack, ((struct frame) { dep, 0 }));
			continue;
		}
		m->stack.len--;
		if (n->seen != m->run) {
			n->seen = m->run;
			TRY(add_entry(m, n));
		}
	}
	return NULL;
}

static void add_cap(struct arena *a, Pb__OpMetadata *md, const char *cap)
{
	Pb__OpMetadata__CapsEntry *c = ARENA_NEW(a, Pb__OpMetadata__CapsEntry);

	pb__op_metadata__caps_entry__init(c);
	c->key = (char *)cap;
	c->value = true;
	md->caps[md->n_caps++] = c;
}

static void add_terminal(struct marshal *m, struct llb_out out)
{
	SCOPED_BUF(bytes, LIMIT_GRPC_MESSAGE);
	Pb__Op op = PB__OP__INIT;
	struct inputs in = { m->a, &op, 0 };
	struct entry *e = ARENA_NEW(m->a, struct entry);
	bool ignore = false, describe = false, export_cache = false;
	struct digest d;

	input_push(&in, out);
	proto_pack(&op, &bytes);
	e->bytes = str_dup(m->a, buf_str(&bytes));
	d = digest_sha256(e->bytes);
	e->digest = str_from(digest_text(&d, m->a));
	vec_each (&m->entries, it) {
		ignore |= (*it)->md.ignore_cache;
		describe |= (*it)->md.n_description > 0;
		export_cache |= (*it)->md.export_cache != NULL;
	}
	pb__op_metadata__init(&e->md);
	e->md.caps = ARENA_NEW_N(m->a, Pb__OpMetadata__CapsEntry *, 5);
	add_cap(m->a, &e->md, "constraints");
	add_cap(m->a, &e->md, "platform");
	if (ignore)
		add_cap(m->a, &e->md, "meta.ignorecache");
	if (describe)
		add_cap(m->a, &e->md, "meta.description");
	if (export_cache)
		add_cap(m->a, &e->md, "meta.exportcache");
	vec_push(&m->entries, e);
}

static Pb__Source *source_msg(struct marshal *m)
{
	Pb__Source *s = ARENA_NEW(m->a, Pb__Source);
	size_t ops = m->entries.len - 1; /* not the terminal one */

	pb__source__init(s);
	s->locations = ARENA_NEW_N(m->a, Pb__Source__LocationsEntry *, ops);
	for (size_t i = 0; i < ops; i++) {
		Pb__Source__LocationsEntry *l = ARENA_NEW(m->a, Pb__Source__LocationsEntry);

		pb__source__locations_entry__init(l);
		l->key = (char *)m->entries.items[i]->digest.ptr;
		l->value = &m->entries.items[i]->locations;
		s->locations[s->n_locations++] = l;
	}
	s->infos = ARENA_NEW_N(m->a, Pb__SourceInfo *, m->maps.len);
	for (size_t i = 0; i < m->maps.len; i++) {
		const struct llb_source_map *map = m->maps.items[i];
		Pb__SourceInfo *info = ARENA_NEW(m->a, Pb__SourceInfo);

		pb__source_info__init(info);
		info->filename = llb_text(m->a, map->filename);
		info->language = llb_text(m->a, map->language);
		info->data = proto_from_str(map->data);
		info->definition = (Pb__Definition *)map->definition;
		s->infos[s->n_infos++] = info;
	}
	return s;
}

static Pb__Definition *definition_msg(struct marshal *m)
{
	Pb__Definition *def = ARENA_NEW(m->a, Pb__Definition);
	size_t n = m->entries.len;

	pb__definition__init(def);
	def->def = ARENA_NEW_N(m->a, ProtobufCBinaryData, n);
	def->metadata = ARENA_NEW_N(m->a, Pb__Definition__MetadataEntry *, n);
	for (size_t i = 0; i < n; i++) {
		Pb__Definition__MetadataEntry *md = ARENA_NEW(m->a, Pb__Definition__MetadataEntry);

		def->def[def->n_def++] = proto_from_str(m->entries.items[i]->bytes);
		pb__definition__metadata_entry__init(md);
		md->key = (char *)m->entries.items[i]->digest.ptr;
		md->value = &m->entries.items[i]->md;
		def->metadata[def->n_metadata++] = md;
	}
	def->source = source_msg(m);
	return def;
}

static void marshal_fini(struct marshal *m)
{
	map_fini(&m->by_digest, NULL);
	vec_fini(&m->entries);
	vec_fini(&m->stack);
	vec_fini(&m->maps);
}

struct err *llb_marshal(struct arena *a, struct llb_out out,
			const struct platform *default_platform, Pb__Definition **ret,
			struct str *ret_head)
{
	CLEANUP(marshal_fini)
	struct marshal m = {
		.a = a,
		.platform = default_platform,
		.run = arena_alloc(a, 1),
	};

	out = llb_resolve(out);
	if (!out.node) {
		*ret = ARENA_NEW(a, Pb__Definition);
		pb__definition__init(*ret);
		if (ret_head)
			*ret_head = STR_NONE;
		return NULL;
	}
	map_init(&m.by_digest);
	TRY(walk(&m, out.node));
	add_terminal(&m, out);
	if (ret_head)
		*ret_head = out.node->digest;
	*ret = definition_msg(&m);
	return NULL;
}
