/* Loading definitions: graphs, digests, names, refusals; keys; error details. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "op/op_impl.h"

#define assert_ok(expr)                                                                            \
	do {                                                                                       \
		struct err *e_ = (expr);                                                           \
		if (e_)                                                                            \
			print_error("%s\n", err_text(e_));                                         \
		assert_null(e_);                                                                   \
	} while (0)

/* ---- making definitions ---- */

struct maker {
	struct arena arena;
	Pb__Definition def;
	char *digests[50];
};

static void maker_init(struct maker *m)
{
	*m = (struct maker) { 0 };
	pb__definition__init(&m->def);
	m->def.def = ARENA_NEW_N(&m->arena, ProtobufCBinaryData, 50);
	m->def.metadata = ARENA_NEW_N(&m->arena, Pb__Definition__MetadataEntry *, 50);
}

static Pb__Op *new_op(struct maker *m)
{
	Pb__Op *op = ARENA_NEW(&m->arena, Pb__Op);

	pb__op__init(op);
	op->inputs = ARENA_NEW_N(&m->arena, Pb__Input *, 8);
	return op;
}

static void add_input(struct maker *m, Pb__Op *op, const char *digest, int64_t index)
{
	Pb__Input *in = ARENA_NEW(&m->arena, Pb__Input);

	pb__input__init(in);
	in->digest = (char *)digest;
	in->index = index;
	op->inputs[op->n_inputs++] = in;
}

/* Its number. */
static size_t add_op(struct maker *m, const Pb__Op *op)
{
	struct str bytes = proto_pack_arena(op, &m->arena);
	struct digest d = digest_sha256(bytes);

	m->digests[m->def.n_def] = digest_text(&d, &m->arena);
	m->def.def[m->def.n_def] = proto_from_str(bytes);
	return m->def.n_def++;
}

static size_t add_source(struct maker *m, const char *identifier)
{
	Pb__Op *op = new_op(m);
	Pb__SourceOp *s = ARENA_NEW(&m->arena, Pb__SourceOp);

	pb__source_op__init(s);
	s->identifier = (char *)identifier;
	op->op_case = PB__OP__OP_SOURCE;
	op->source = s;
	return add_op(m, op);
}

static Pb__Op *exec_op_of(struct maker *m, size_t input, const char *a, const char *b)
{
	Pb__Op *op = new_op(m);
	Pb__ExecOp *x = ARENA_NEW(&m->arena, Pb__ExecOp);
	Pb__Mount *mount = ARENA_NEW(&m->arena, Pb__Mount);

	pb__exec_op__init(x);
	x->meta = ARENA_NEW(&m->arena, Pb__Meta);
	pb__meta__init(x->meta);
	x->meta->args = ARENA_NEW_N(&m->arena, char *, 4);
	x->meta->args[x->meta->n_args++] = (char *)a;
	x->meta->args[x->meta->n_args++] = (char *)b;
	x->mounts = ARENA_NEW_N(&m->arena, Pb__Mount *, 4);
	pb__mount__init(mount);
	mount->dest = (char *)"/";
	x->mounts[x->n_mounts++] = mount;
	op->op_case = PB__OP__OP_EXEC;
	op->exec = x;
	add_input(m, op, m->digests[input], 0);
	return op;
}

static void finish(struct maker *m, size_t last, int64_t index)
{
	Pb__Op *op = new_op(m);

	add_input(m, op, m->digests[last], index);
	(void)add_op(m, op);
}

static Pb__OpMetadata *metadata(struct maker *m, size_t op)
{
	Pb__Definition__MetadataEntry *e = ARENA_NEW(&m->arena, Pb__Definition__MetadataEntry);

	pb__definition__metadata_entry__init(e);
	e->key = m->digests[op];
	e->value = ARENA_NEW(&m->arena, Pb__OpMetadata);
	pb__op_metadata__init(e->value);
	m->def.metadata[m->def.n_metadata++] = e;
	return e->value;
}

static struct worker worker = { .id = "w" };

static struct err *load(const struct maker *m, struct graph **g, uint32_t *v, uint32_t *output)
{
	struct op_load_opts o = { .worker = &worker };

	return op_load_definition(NULL, &m->def, &o, g, v, output);
}

static void refuses(const struct maker *m, const char *text)
{
	struct graph *g;
	uint32_t v, output;
	struct err *e = load(m, &g, &v, &output);

	assert_non_null(e);
	if (strcmp(err_text(e), text) != 0)
		print_error("%s\n", err_text(e));
	assert_string_equal(err_text(e), text);
	err_free(e);
}

/* ---- tests ---- */

static void graphs(void **state)
{
	struct maker m;
	struct graph *g;
	uint32_t v, output;
	size_t src, exec;
	Pb__OpMetadata *md;
	Pb__OpMetadata__DescriptionEntry d, *dp = &d;
	char text[DIGEST_TEXT_MAX];

	maker_init(&m);
	src = add_source(&m, "docker-image://docker.io/library/busybox:latest");
	exec = add_op(&m, exec_op_of(&m, src, "echo", "hi"));
	finish(&m, exec, 0);
	md = metadata(&m, src);
	pb__op_metadata__description_entry__init(&d);
	d.key = (char *)"llb.customname";
	d.value = (char *)"[1/2] FROM busybox";
	md->description = &dp;
	md->n_description = 1;
	metadata(&m, exec)->ignore_cache = true;
	assert_ok(load(&m, &g, &v, &output));
	assert_int_equal(g->n_vertices, 2);
	assert_int_equal(v, 1);
	assert_int_equal(output, 0);
	assert_string_equal(g->vertices[0].name, "[1/2] FROM busybox");
	assert_string_equal(g->vertices[1].name, "echo hi");
	assert_string_equal(digest_format(&g->vertices[1].digest, text), m.digests[exec]);
	assert_false(g->vertices[0].ignore_cache);
	assert_true(g->vertices[1].ignore_cache);
	assert_int_equal(g->vertices[1].n_inputs, 1);
	assert_int_equal(g->vertices[1].inputs[0].vertex, 0);
	assert_string_equal(op_vertex_pb(&g->vertices[1])->platform->os, "linux");
	assert_true(op_vertex_metadata(&g->vertices[1])->ignore_cache);
	graph_unref(g);
	arena_fini(&m.arena);
}

static void deep_graph(void **state)
{
	struct maker m;
	struct graph *g;
	uint32_t v, output;
	enum { N = 3000 };
	char *last;

	maker_init(&m);
	m.def.def = ARENA_NEW_N(&m.arena, ProtobufCBinaryData, N + 2);
	(void)add_source(&m, "local://x");
	last = m.digests[0];
	for (int i = 0; i < N; i++) {
		Pb__Op *op = exec_op_of(&m, 0, "true", "");
		struct digest d;
		struct str bytes;

		op->inputs[0]->digest = last;
		bytes = proto_pack_arena(op, &m.arena);
		d = digest_sha256(bytes);
		last = digest_text(&d, &m.arena);
		m.def.def[m.def.n_def++] = proto_from_str(bytes);
	}
	m.digests[0] = last;
	{
		Pb__Op *op = new_op(&m);

		add_input(&m, op, last, 0);
		m.def.def[m.def.n_def++] = proto_from_str(proto_pack_arena(op, &m.arena));
	}
	assert_ok(load(&m, &g, &v, &output));
	assert_int_equal(g->n_vertices, N + 1);
	assert_int_equal(v, N);
	graph_unref(g);
	arena_fini(&m.arena);
}

static void refusals(void **state)
{
	struct maker m;
	size_t src;
	Pb__Op *op;
	Pb__OpMetadata *md;
	Pb__OpMetadata__CapsEntry cap, *caps = &cap;
	uint8_t junk[] = { 0x0a, 0xff };

	maker_init(&m);
	refuses(&m, "invalid empty definition");
	src = add_source(&m, "x://y");
	refuses(&m, "invalid LLB with 1 vertexes");
	(void)add_op(&m, new_op(&m));
	refuses(&m, "invalid LLB with no inputs on last vertex");
	m.def.n_def = 1;
	op = new_op(&m);
	add_input(&m, op, "sha256:00", 0);
	(void)add_op(&m, op);
	refuses(&m, "invalid missing input digest sha256:00");
	m.def.n_def = 1;
	finish(&m, src, -1);
	refuses(&m, "invalid input 0 output index -1");
	m.def.n_def = 1;
	m.def.def[m.def.n_def++] = (ProtobufCBinaryData) { sizeof(junk), junk };
	refuses(&m, "failed to parse llb proto op: failed to parse message pb.Op");
	/* Structure. */
	m.def.n_def = 1;
	op = exec_op_of(&m, src, "a", "b");
	op->exec->mounts[0]->dest = (char *)"/x";
	finish(&m, add_op(&m, op), 0);
	refuses(&m, "invalid exec op with no rootfs");
	m.def.n_def = 1;
	op->exec->n_mounts = 0;
	finish(&m, add_op(&m, op), 0);
	refuses(&m, "invalid exec op with no mounts");
	m.def.n_def = 1;
	op->exec->meta->n_args = 0;
	finish(&m, add_op(&m, op), 0);
	refuses(&m, "invalid exec op with no args");
	/* Entitlements. */
	m.def.n_def = 1;
	op = exec_op_of(&m, src, "a", "b");
	op->exec->network = PB__NET_MODE__NET_MODE_HOST;
	finish(&m, add_op(&m, op), 0);
	refuses(&m, "entitlement network.host is not allowed");
	m.def.n_def = 1;
	op = exec_op_of(&m, src, "a", "b");
	op->exec->security = PB__SECURITY_MODE__SECURITY_MODE_INSECURE;
	finish(&m, add_op(&m, op), 0);
	refuses(&m, "entitlement security.insecure is not allowed");
	/* Capabilities. */
	m.def.n_def = 1;
	finish(&m, src, 0);
	md = metadata(&m, src);
	pb__op_metadata__caps_entry__init(&cap);
	cap.key = (char *)"source.telepathy";
	cap.value = true;
	md->caps = &caps;
	md->n_caps = 1;
	refuses(&m, "unknown API capability source.telepathy");
	arena_fini(&m.arena);
}

static int policy_refs;

static void policy_ref(void *arg)
{
	policy_refs++;
}

static void policy_unref(void *arg)
{
	policy_refs--;
}

static struct err *convert(void *arg, struct ctx *ctx, struct arena *a, Pb__SourceOp *source,
			   const Pb__Platform *platform, bool *ret_changed)
{
	if (strcmp(source->identifier, "docker-image://old") == 0) {
		source->identifier = (char *)"docker-image://new";
		*ret_changed = true;
	}
	if (strcmp(source->identifier, "docker-image://bad") == 0)
		return err_new(ERR_UNKNOWN, "denied");
	return NULL;
}

static void policies(void **state)
{
	const struct op_source_policy policy = { convert, policy_ref, policy_unref, NULL };
	struct op_load_opts o = { .worker = &worker, .policy = &policy };
	struct maker m;
	struct graph *g;
	uint32_t v, output;
	size_t old, new, exec;
	struct err *e;
	char text[DIGEST_TEXT_MAX];

	maker_init(&m);
	old = add_source(&m, "docker-image://old");
	exec = add_op(&m, exec_op_of(&m, old, "a", "b"));
	finish(&m, exec, 0);
	assert_ok(op_load_definition(NULL, &m.def, &o, &g, &v, &output));
	assert_int_equal(policy_refs, 1);
	assert_string_equal(op_vertex_pb(&g->vertices[0])->source->identifier,
			    "docker-image://new");
	assert_string_equal(g->vertices[0].name, "docker-image://new");
	assert_string_not_equal(digest_format(&g->vertices[1].digest, text), m.digests[exec]);
	/* The digest is that of a definition which had it from the start. */
	m.def.n_def = 0;
	new = add_source(&m, "docker-image://new");
	exec = add_op(&m, exec_op_of(&m, new, "a", "b"));
	assert_string_equal(digest_format(&g->vertices[0].digest, text), m.digests[new]);
	assert_string_equal(digest_format(&g->vertices[1].digest, text), m.digests[exec]);
	graph_unref(g);
	assert_int_equal(policy_refs, 0);
	m.def.n_def = 0;
	finish(&m, add_source(&m, "docker-image://bad"), 0);
	e = op_load_definition(NULL, &m.def, &o, &g, &v, &output);
	assert_string_equal(err_text(e), "error evaluating the source policy: denied");
	err_free(e);
	assert_int_equal(policy_refs, 0);
	arena_fini(&m.arena);
}

/* ---- keys ---- */

static struct digest key_of(struct maker *m, Pb__Op *op, struct cache_key_info *info,
			    struct op **ret_op, struct graph **ret_g)
{
	uint32_t v, output;
	struct op *o;

	m->def.n_def = 1;
	finish(m, add_op(m, op), 0);
	assert_ok(load(m, ret_g, &v, &output));
	assert_ok((*ret_g)->vertices[v].make_op(&(*ret_g)->vertices[v], &o));
	assert_ok(o->ops->cache_key(o, NULL, 0, info));
	*ret_op = o;
	return info->digest;
}

static struct digest just_key(struct maker *m, Pb__Op *op)
{
	struct cache_key_info info;
	struct op *o;
	struct graph *g;
	struct digest d = key_of(m, op, &info, &o, &g);

	o->ops->free(o);
	graph_unref(g);
	return d;
}

static bool is_same(struct maker *m, Pb__Op *op, const struct digest *first)
{
	struct digest d = just_key(m, op);

	return digest_eq(&d, first);
}

static void exec_keys(void **state)
{
	struct maker m;
	struct digest first;
	Pb__Op *op;
	Pb__Mount *extra;
	Pb__CacheOpt cache = PB__CACHE_OPT__INIT;
	Pb__ProxyEnv proxy = PB__PROXY_ENV__INIT;
	Pb__HostIP host = PB__HOST_IP__INIT, *hosts[] = { &host };
	size_t src;

#define SAME() assert_true(is_same(&m, op, &first))
#define OTHER() assert_false(is_same(&m, op, &first))
	maker_init(&m);
	src = add_source(&m, "local://x");
	op = exec_op_of(&m, src, "a", "b");
	first = just_key(&m, op);
	proxy.http_proxy = (char *)"x";
	op->exec->meta->proxy_env = &proxy;
	SAME();
	op->exec->meta->args[1] = (char *)"c";
	OTHER();
	op->exec->meta->args[1] = (char *)"b";
	op->exec->meta->extrahosts = hosts;
	op->exec->meta->n_extrahosts = 1;
	host.host = (char *)"h";
	host.ip = (char *)"1.1.1.1";
	OTHER();
	first = just_key(&m, op);
	host.ip = (char *)"2.2.2.2";
	SAME();
	/* Cache mounts. */
	extra = ARENA_NEW(&m.arena, Pb__Mount);
	pb__mount__init(extra);
	extra->dest = (char *)"/cache";
	extra->input = -1;
	extra->output = -1;
	extra->mounttype = PB__MOUNT_TYPE__MOUNT_TYPE_CACHE;
	extra->cacheopt = &cache;
	cache.id = (char *)"some";
	op->exec->mounts[op->exec->n_mounts++] = extra;
	OTHER();
	first = just_key(&m, op);
	cache.id = (char *)"another";
	cache.sharing = PB__CACHE_SHARING_OPT__CACHE_SHARING_OPT_LOCKED;
	SAME();
	cache.id = (char *)"/cache";
	SAME();
	/* Other architectures are other results. */
	op->platform = ARENA_NEW(&m.arena, Pb__Platform);
	pb__platform__init(op->platform);
	op->platform->os = (char *)"linux";
	op->platform->architecture = (char *)"s390x";
	OTHER();
	arena_fini(&m.arena);
}

static void exec_deps(void **state)
{
	struct maker m;
	struct cache_key_info info;
	struct op *o;
	struct graph *g;
	Pb__Op *op;
	Pb__Mount *extra;
	const struct content_selects *sel;
	size_t src;

	maker_init(&m);
	src = add_source(&m, "local://x");
	op = exec_op_of(&m, src, "a", "b");
	add_input(&m, op, m.digests[src], 1);
	extra = ARENA_NEW(&m.arena, Pb__Mount);
	pb__mount__init(extra);
	extra->dest = (char *)"/src";
	extra->input = 1;
	extra->output = -1;
	extra->readonly = true;
	extra->selector = (char *)"sub/dir";
	op->exec->mounts[op->exec->n_mounts++] = extra;
	(void)key_of(&m, op, &info, &o, &g);
	assert_int_equal(info.n_deps, 2);
	assert_null(info.deps[0].content_hash); /* the root */
	assert_true(digest_is_set(&info.deps[0].selector));
	assert_non_null(info.deps[1].content_hash);
	assert_true(digest_is_set(&info.deps[1].selector));
	sel = info.deps[1].arg;
	assert_int_equal(sel->n, 1);
	assert_true(str_eq_cstr(sel->list[0].path, "/sub/dir"));
	o->ops->free(o);
	graph_unref(g);
	/* Writable, with an output. */
	extra->readonly = false;
	extra->output = 1;
	(void)key_of(&m, op, &info, &o, &g);
	assert_null(info.deps[1].content_hash);
	o->ops->free(o);
	graph_unref(g);
	arena_fini(&m.arena);
}

static Pb__Op *copy_op(struct maker *m, const char *from, const char *src)
{
	Pb__Op *op = new_op(m);
	Pb__FileOp *f = ARENA_NEW(&m->arena, Pb__FileOp);
	Pb__FileAction *a = ARENA_NEW(&m->arena, Pb__FileAction);

	pb__file_op__init(f);
	pb__file_action__init(a);
	a->action_case = PB__FILE_ACTION__ACTION_COPY;
	a->copy = ARENA_NEW(&m->arena, Pb__FileActionCopy);
	pb__file_action_copy__init(a->copy);
	a->copy->src = (char *)src;
	a->copy->dest = (char *)"/to";
	a->input = -1;
	a->secondaryinput = 0;
	f->actions = ARENA_NEW_N(&m->arena, Pb__FileAction *, 4);
	f->actions[f->n_actions++] = a;
	op->op_case = PB__OP__OP_FILE;
	op->file = f;
	add_input(m, op, from, 0);
	return op;
}

static void file_keys(void **state)
{
	struct maker m;
	struct cache_key_info info;
	struct digest first;
	struct op *o;
	struct graph *g;
	Pb__Op *op;
	const struct content_selects *sel;
	size_t src;

	maker_init(&m);
	src = add_source(&m, "local://x");
	op = copy_op(&m, m.digests[src], "/a/b/file");
	first = key_of(&m, op, &info, &o, &g);
	assert_non_null(info.deps[0].content_hash);
	sel = info.deps[0].arg;
	assert_true(str_eq_cstr(sel->list[0].path, "/a/b/file"));
	o->ops->free(o);
	graph_unref(g);
	/* Only the name counts: the content decides the rest. */
	op->file->actions[0]->copy->src = (char *)"/c/file";
	SAME();
	op->file->actions[0]->copy->src = (char *)"/c/fil";
	OTHER();
	op->file->actions[0]->copy->src = (char *)"/a/b/file";
	op->file->actions[0]->copy->mode = 0600;
	OTHER();
	/* Copied onto itself: the whole input counts. */
	op->file->actions[0]->input = 0;
	(void)key_of(&m, op, &info, &o, &g);
	assert_null(info.deps[0].content_hash);
	o->ops->free(o);
	graph_unref(g);
	arena_fini(&m.arena);
}

static void file_refusals(void **state)
{
	static const struct {
		int64_t input, output;
		const char *text;
	} cases[] = {
		{ 5, 0, "invalid input index 5, 2 provided" },
		{ -1, -1, "no outputs specified" },
		{ -1, 3, "invalid output index 3" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct maker m;
		struct graph *g;
		uint32_t v, output;
		struct op *o;
		Pb__Op *op;
		struct err *e;
		size_t src;

		maker_init(&m);
		src = add_source(&m, "local://x");
		op = copy_op(&m, m.digests[src], "/x");
		op->file->actions[0]->input = cases[i].input;
		op->file->actions[0]->output = cases[i].output;
		finish(&m, add_op(&m, op), 0);
		assert_ok(load(&m, &g, &v, &output));
		e = g->vertices[v].make_op(&g->vertices[v], &o);
		assert_non_null(e);
		assert_string_equal(err_text(e), cases[i].text);
		err_free(e);
		graph_unref(g);
		arena_fini(&m.arena);
	}
}

/* ---- details of errors ---- */

static void source_details(void **state)
{
	struct maker m;
	struct graph *g;
	uint32_t v, output;
	size_t src, exec;
	struct err *e = err_new(ERR_UNKNOWN, "x");
	Pb__Source map = PB__SOURCE__INIT;
	Pb__SourceInfo info = PB__SOURCE_INFO__INIT, *infos[] = { &info };
	Pb__Source__LocationsEntry entry = PB__SOURCE__LOCATIONS_ENTRY__INIT,
				   *entries[] = { &entry };
	Pb__Locations locs = PB__LOCATIONS__INIT;
	Pb__Location loc = PB__LOCATION__INIT, *loc_list[] = { &loc };
	Pb__Range range = PB__RANGE__INIT, *ranges[] = { &range };
	Pb__Position start = PB__POSITION__INIT, end = PB__POSITION__INIT;
	struct str value;
	char *detail;

	maker_init(&m);
	src = add_source(&m, "local://x");
	exec = add_op(&m, exec_op_of(&m, src, "a", "b"));
	finish(&m, exec, 0);
	info.filename = (char *)"Dockerfile";
	info.data = proto_from_str(STR("RUN a b\n"));
	info.language = (char *)"Dockerfile";
	map.infos = infos;
	map.n_infos = 1;
	entry.key = m.digests[exec];
	entry.value = &locs;
	locs.locations = loc_list;
	locs.n_locations = 1;
	loc.ranges = ranges;
	loc.n_ranges = 1;
	start.line = end.line = 1;
	range.start = &start;
	range.end = &end;
	map.locations = entries;
	map.n_locations = 1;
	m.def.source = &map;
	assert_ok(load(&m, &g, &v, &output));
	detail = arena_printf(&m.arena, "{\"digest\":\"%s\"}", m.digests[exec]);
	err_add_detail(e, "github.com/moby/buildkit/errdefs.Vertex+json", str_from(detail));
	op_add_source_details(g, e);
	assert_int_equal(err_detail_count(e), 2);
	assert_string_equal(err_detail(e, 1, &value),
			    "github.com/moby/buildkit/errdefs.Source+json");
	assert_true(str_eq_cstr(value,
				"{\"info\":{\"filename\":\"Dockerfile\",\"data\":\"UlVOIGEgYgo=\","
				"\"language\":\"Dockerfile\"},\"ranges\":[{\"start\":{\"line\":1},"
				"\"end\":{\"line\":1}}]}"));
	err_free(e);
	graph_unref(g);
	arena_fini(&m.arena);
}

static void capabilities(void **state)
{
	Moby__Buildkit__V1__Apicaps__APICap **list;
	size_t n;
	SCOPED_ARENA(a);

	list = op_caps(&a, &n);
	assert_true(n > 80);
	for (size_t i = 1; i < n; i++)
		assert_true(strcmp(list[i - 1]->id, list[i]->id) < 0);
	assert_true(op_cap("file.base"));
	assert_true(op_cap("cache.azblob"));
	assert_true(op_cap("source.policy.session"));
	assert_false(op_cap("file.copy.modestring"));
	assert_false(op_cap(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(graphs),         cmocka_unit_test(deep_graph),
		cmocka_unit_test(refusals),       cmocka_unit_test(policies),
		cmocka_unit_test(exec_keys),      cmocka_unit_test(exec_deps),
		cmocka_unit_test(file_keys),      cmocka_unit_test(file_refusals),
		cmocka_unit_test(source_details), cmocka_unit_test(capabilities),
	};

	return cmocka_run_group_tests_name("llb", tests, NULL, NULL);
}
