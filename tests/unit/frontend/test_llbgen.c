#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/digest.h"
#include "frontend/llbgen.h"

static const struct platform amd64 = { .os = STR("linux"), .arch = STR("amd64") };

static Pb__Definition *marshal(struct arena *a, struct llb_out out)
{
	Pb__Definition *def;

	assert_null(llb_marshal(a, out, &amd64, &def, NULL));
	return def;
}

static Pb__Op *op_at(struct arena *a, const Pb__Definition *def, size_t i)
{
	Pb__Op *op;

	assert_true(i < def->n_def);
	assert_null(PROTO_UNPACK(a, pb__op, proto_bytes(def->def[i]), &op));
	return op;
}

static void test_scratch(void **state)
{
	SCOPED_ARENA(a);
	Pb__Definition *def = marshal(&a, LLB_SCRATCH);

	(void)state;
	assert_int_equal(def->n_def, 0);
}

/* The bytes of the Go client: constraints come before the op. */
static void test_bytes(void **state)
{
	SCOPED_ARENA(a);
	struct llb_node *n = llb_source(&a, STR("local://x"));
	Pb__Definition *def;
	struct str bytes;

	(void)state;
	llb_attr(&a, n, "b", STR("2"));
	llb_attr(&a, n, "a", STR("1"));
	def = marshal(&a, llb_out_of(n));
	assert_int_equal(def->n_def, 2);
	bytes = proto_bytes(def->def[0]);
	assert_true(str_eq(bytes, STR("\x5a\x00\x1a\x1b\x0a\x09local://x"
				      "\x12\x06\x0a\x01"
				      "a\x12\x01"
				      "1\x12\x06\x0a\x01"
				      "b\x12\x01"
				      "2")));
	assert_non_null(PROTO_MAP_FIND(def->metadata[1]->value->n_caps,
				       def->metadata[1]->value->caps, "constraints"));
}

/* Equal ops are one, their metadata joined; inputs are numbered once. */
static void test_dedupe(void **state)
{
	SCOPED_ARENA(a);
	struct llb_node *x = llb_source(&a, STR("local://x")),
			*y = llb_source(&a, STR("local://x"));
	struct llb_node *f = llb_file(&a, llb_out_of(x));
	Pb__Definition *def;
	Pb__Op *op;

	(void)state;
	llb_name(&a, x, STR("one"));
	llb_cap(&a, y, "cap.y");
	llb_copy(&a, f, llb_out_of(y), STR("/a"), STR("/b"))->owner = llb_chown(&a, STR("u:5"));
	llb_copy(&a, f, LLB_SCRATCH, STR("/c"), STR("/d"));
	def = marshal(&a, llb_out_of(f));
	assert_int_equal(def->n_def, 3);
	op = op_at(&a, def, 1);
	assert_int_equal(op->n_inputs, 1);
	assert_int_equal(op->file->n_actions, 2);
	assert_int_equal(op->file->actions[0]->input, 0);
	assert_int_equal(op->file->actions[0]->secondaryinput, 0);
	assert_int_equal(op->file->actions[0]->output, -1);
	assert_int_equal(op->file->actions[0]->copy->owner->user->byname->input, 0);
	assert_int_equal(op->file->actions[0]->copy->owner->group->byid, 5);
	assert_int_equal(op->file->actions[1]->input, 1);
	assert_int_equal(op->file->actions[1]->secondaryinput, -1);
	assert_int_equal(op->file->actions[1]->output, 0);
	assert_null(op->platform);
	assert_int_equal(def->metadata[0]->value->n_caps, 1);
	assert_int_equal(def->metadata[0]->value->n_description, 1);
}

static void test_exec(void **state)
{
	SCOPED_ARENA(a);
	struct llb_node *x = llb_source(&a, STR("docker-image://x")), *e = llb_exec(&a);
	Pb__Definition *def;
	Pb__Op *op;

	(void)state;
	llb_exec_mount(&a, e, STR("/"), llb_out_of(x), false);
	llb_exec_mount(&a, e, STR("/z"), LLB_SCRATCH, false);
	llb_exec_mount(&a, e, STR("/b"), llb_out_of(x), false)->readonly = true;
	llb_exec_tail_mount(&a, e, STR("/a"));
	def = marshal(&a, (struct llb_out) { e, 1 });
	op = op_at(&a, def, 1);
	assert_int_equal(op->n_inputs, 1);
	assert_int_equal(op->exec->n_mounts, 4);
	assert_string_equal(op->exec->mounts[1]->dest, "/b");
	assert_int_equal(op->exec->mounts[0]->output, 0);
	assert_int_equal(op->exec->mounts[1]->output, -1);
	assert_int_equal(op->exec->mounts[2]->output, 1);
	assert_int_equal(op->exec->mounts[2]->input, -1);
	assert_string_equal(op->exec->mounts[3]->dest, "/a");
	assert_string_equal(op->platform->architecture, "amd64");
	assert_int_equal(op_at(&a, def, 2)->inputs[0]->index, 1);
}

static void test_merge(void **state)
{
	SCOPED_ARENA(a);
	struct llb_node *x = llb_source(&a, STR("local://x")),
			*y = llb_source(&a, STR("local://y"));
	struct llb_out both[] = { llb_out_of(x), LLB_SCRATCH, llb_out_of(y) };
	struct llb_node *m;
	struct llb_out out = llb_merge(&a, both, 3, &m);
	Pb__Op *op;

	(void)state;
	assert_non_null(m);
	op = op_at(&a, marshal(&a, out), 2);
	assert_int_equal(op->merge->n_inputs, 2);
	assert_int_equal(op->merge->inputs[1]->input, 1);
	out = llb_merge(&a, both, 2, &m);
	assert_null(m);
	assert_ptr_equal(out.node, x);
}

static void test_alias(void **state)
{
	SCOPED_ARENA(a);
	struct llb_node *al = llb_alias(&a), *f = llb_file(&a, LLB_SCRATCH);

	(void)state;
	llb_copy(&a, f, llb_out_of(al), STR("/a"), STR("/b"));
	llb_alias_set(al, llb_out_of(llb_source(&a, STR("local://x"))));
	assert_int_equal(marshal(&a, llb_out_of(f))->n_def, 3);
}

static void test_import(void **state)
{
	SCOPED_ARENA(a);
	static const struct llb_source_map map = { STR("F"), STR("L"), STR("data"), NULL };
	struct llb_node *x = llb_source(&a, STR("local://x")), *f = llb_file(&a, llb_out_of(x)), *g;
	Pb__Definition *def, *again;
	struct llb_out in;

	(void)state;
	llb_mkdir(&a, f, STR("/d"));
	llb_name(&a, f, STR("name"));
	llb_locate(&a, f, &map, 3, 4);
	def = marshal(&a, llb_out_of(f));
	assert_null(llb_import(&a, def, &in));
	again = marshal(&a, in);
	assert_int_equal(again->n_def, def->n_def);
	for (size_t i = 0; i < def->n_def; i++)
		assert_true(str_eq(proto_bytes(def->def[i]), proto_bytes(again->def[i])));
	assert_int_equal(again->source->infos[0]->data.len, 4);
	assert_int_equal(again->source->locations[1]->value->locations[0]->n_ranges, 2);
	g = llb_file(&a, in);
	llb_mkdir(&a, g, STR("/e"));
	assert_int_equal(marshal(&a, llb_out_of(g))->n_def, 4);
}

static void test_import_broken(void **state)
{
	SCOPED_ARENA(a);
	ProtobufCBinaryData junk[] = { { 2, (uint8_t *)"\xff\xff" } };
	Pb__Definition def = PB__DEFINITION__INIT;
	struct llb_out out;
	struct err *e = llb_import(&a, NULL, &out);

	(void)state;
	assert_string_equal(err_text(e), "invalid nil input definition to definition op");
	err_free(e);
	def.n_def = 1;
	def.def = junk;
	e = llb_import(&a, &def, &out);
	assert_non_null(e);
	err_free(e);
	junk[0].len = 0; /* an op without anything */
	e = llb_import(&a, &def, &out);
	assert_string_equal(err_text(e), "invalid definition with no inputs on last vertex");
	err_free(e);
}

static void test_utf8(void **state)
{
	SCOPED_ARENA(a);
	struct llb_node *f = llb_file(&a, LLB_SCRATCH), *g = llb_file(&a, LLB_SCRATCH);
	Pb__Definition *def;
	struct err *e;

	(void)state;
	llb_mkfile(&a, f, STR("/x"))->data = proto_from_str(STR("\xff\xfe"));
	marshal(&a, llb_out_of(f));
	llb_mkfile(&a, g, STR("/\xff"));
	e = llb_marshal(&a, llb_out_of(g), &amd64, &def, NULL);
	assert_string_equal(err_text(e), "string field contains invalid UTF-8");
	err_free(e);
}

/* Long chains need no stack. */
static void test_long(void **state)
{
	SCOPED_ARENA(a);
	struct llb_out out = LLB_SCRATCH;

	(void)state;
	for (int i = 0; i < 50000; i++) {
		struct llb_node *f = llb_file(&a, out);

		llb_mkdir(&a, f, STR("/d"));
		out = llb_out_of(f);
	}
	assert_int_equal(marshal(&a, out)->n_def, 50001);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scratch), cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_dedupe),  cmocka_unit_test(test_exec),
		cmocka_unit_test(test_merge),   cmocka_unit_test(test_alias),
		cmocka_unit_test(test_import),  cmocka_unit_test(test_import_broken),
		cmocka_unit_test(test_utf8),    cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
