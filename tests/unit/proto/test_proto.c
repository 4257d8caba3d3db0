#include "../base/check.h"

#include "base/clock.h"
#include "base/limits.h"
#include "proto/proto.h"

static void round_trip(void **state)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(b, 1000);
	Pb__Op op = PB__OP__INIT, *got;
	Pb__SourceOp source = PB__SOURCE_OP__INIT;
	Pb__Op *copy;

	source.identifier = (char *)"docker-image://x\xc3\xa9";
	op.op_case = PB__OP__OP_SOURCE;
	op.source = &source;
	proto_pack(&op, &b);
	OK(PROTO_UNPACK(&a, pb__op, buf_str(&b), &got));
	assert_int_equal(got->op_case, PB__OP__OP_SOURCE);
	assert_string_equal(got->source->identifier, source.identifier);
	assert_true(str_eq(proto_pack_arena(got, &a), buf_str(&b)));
	copy = proto_dup(&a, got);
	assert_ptr_not_equal(copy->source, got->source);
	assert_string_equal(copy->source->identifier, source.identifier);
	/* Nothing is an empty message. */
	OK(PROTO_UNPACK(&a, pb__op, STR(""), &got));
	assert_int_equal(got->op_case, PB__OP__OP__NOT_SET);
	OK(PROTO_UNPACK(&a, pb__source_op, STR(""), &got));
	assert_string_equal(((Pb__SourceOp *)got)->identifier, "");
	/* Into a buffer that is too small. */
	SCOPED_BUF(small, 3);
	proto_pack(&op, &small);
	FAILS_CODE(buf_check(&small, "it"), ERR_RESOURCE_EXHAUSTED);
}

static void junk(void **state)
{
	static const struct str all[] = {
		STR("\x0a"), /* no length */
		STR("\x0a\x05"
		    "abc"), /* too short */
		STR("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
		STR("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x"),
		STR("\x00\x00"),         /* field 0 */
		STR("\x0b"),             /* group */
		STR("\x0f"),             /* wire type 7 */
		STR("\x0a\x02\xc3\x28"), /* no UTF-8 */
		STR("\x0a\x01\x00"),     /* NUL in a string */
		STR("\x12\x06\x0a\x04"
		    "k\xff"
		    "vv"),           /* in a map entry */
		STR("\x7d\x01\x02"), /* short fixed 32 */
		STR("\x79\x01\x02"), /* short fixed 64 */
	};
	SCOPED_ARENA(a);
	Pb__SourceOp *got;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct err *e = PROTO_UNPACK(&a, pb__source_op, all[i], &got);

		if (!e)
			fail_msg("accepted case %zu", i);
		assert_int_equal(err_code(e), ERR_INVALID_ARGUMENT);
		err_free(e);
	}
	/* Bytes fields may hold anything, and unknown fields are passed over. */
	OK(PROTO_UNPACK(&a, pb__source_info, STR("\x12\x02\xff\x00"), &got));
	OK(PROTO_UNPACK(&a, pb__source_op, STR("\x9a\x3e\x02\xff\x00"), &got));
	OK(PROTO_UNPACK(&a, pb__source_op, STR("\x98\x3e\xff\x01"), &got));
}

/* message Node { Node child = 1; } */
typedef struct node {
	ProtobufCMessage base;
	struct node *child;
} node;

extern const ProtobufCMessageDescriptor node_descriptor;
static const ProtobufCFieldDescriptor node_fields[] = {
	{
		.name = "child",
		.id = 1,
		.label = PROTOBUF_C_LABEL_NONE,
		.type = PROTOBUF_C_TYPE_MESSAGE,
		.offset = offsetof(node, child),
		.descriptor = &node_descriptor,
	},
};
static const unsigned node_by_name[] = { 0 };
static const ProtobufCIntRange node_ranges[] = { { 1, 0 }, { 0, 1 } };
const ProtobufCMessageDescriptor node_descriptor = {
	.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
	.name = "Node",
	.short_name = "Node",
	.c_name = "Node",
	.package_name = "",
	.sizeof_message = sizeof(node),
	.n_fields = 1,
	.fields = node_fields,
	.fields_sorted_by_name = node_by_name,
	.n_field_ranges = 1,
	.field_ranges = node_ranges,
};

static struct str nested(struct arena *a, int depth)
{
	struct str s = STR("");

	for (int i = 0; i < depth; i++) {
		struct buf b = BUF_INIT(MIB);
		size_t n = s.len;

		buf_add_char(&b, 0x0a);
		for (; n >= 128; n >>= 7)
			buf_add_char(&b, (char)(n | 0x80));
		buf_add_char(&b, (char)n);
		buf_add_str(&b, s);
		s = str_dup(a, buf_str(&b));
		buf_fini(&b);
	}
	return s;
}

static void depth_bomb(void **state)
{
	SCOPED_ARENA(a);
	node *got;
	int depth = 0;

	OK(proto_unpack(&a, &node_descriptor, nested(&a, 100), &got));
	for (; got->child; got = got->child)
		depth++;
	assert_int_equal(depth, 100);
	FAILS(proto_unpack(&a, &node_descriptor, nested(&a, 101), &got), ERR_INVALID_ARGUMENT,
	      "failed to parse message Node");
	FAILS_CODE(proto_unpack(&a, &node_descriptor, nested(&a, 3000), &got),
		   ERR_INVALID_ARGUMENT);
}

/* Two bytes of input can make a big struct: what comes of it is bounded. */
static void amplification(void **state)
{
	static const ProtobufCMessageDescriptor *const descs[] = {
		&pb__exec_op__descriptor,
		&moby__buildkit__v1__solve_request__descriptor,
		&moby__buildkit__v1__status_response__descriptor,
	};
	SCOPED_BUF(b, 4 * MIB);

	for (size_t d = 0; d < ARRAY_SIZE(descs); d++) {
		for (unsigned f = 0; f < descs[d]->n_fields; f++) {
			const ProtobufCFieldDescriptor *field = &descs[d]->fields[f];
			SCOPED_ARENA(a);
			void *got;

			if (field->label != PROTOBUF_C_LABEL_REPEATED || field->id > 15 ||
			    field->type != PROTOBUF_C_TYPE_MESSAGE)
				continue;
			buf_clear(&b);
			for (int i = 0; i < 200000; i++) {
				buf_add_char(&b, (char)(field->id << 3 | 2));
				buf_add_char(&b, 0);
			}
			err_free(proto_unpack(&a, descs[d], buf_str(&b), &got));
			/* The arena rounds up to 16 bytes a piece. */
			assert_true(a.used <= 2 * (b.len * 64 + MIB));
		}
	}
}

/* A map's entries go out by key, so that the bytes are the same whatever the order. */
static void map_order(void **state)
{
	static const char *const keys[][3] = { { "b", "a", "aa" },
					       { "aa", "b", "a" },
					       { "a", "aa", "b" } };
	SCOPED_ARENA(a);
	struct str first = STR("");

	for (size_t i = 0; i < 3; i++) {
		Pb__SourceOp op = PB__SOURCE_OP__INIT, *got;
		Pb__SourceOp__AttrsEntry entries[3], *list[3];
		struct str packed;

		for (size_t k = 0; k < 3; k++) {
			pb__source_op__attrs_entry__init(&entries[k]);
			entries[k].key = (char *)keys[i][k];
			entries[k].value = (char *)"v";
			list[k] = &entries[k];
		}
		op.n_attrs = 3;
		op.attrs = list;
		packed = proto_pack_arena(&op, &a);
		if (!i)
			first = packed;
		assert_true(str_eq(packed, first));
		OK(PROTO_UNPACK(&a, pb__source_op, packed, &got));
		assert_string_equal(got->attrs[0]->key, "a");
		assert_string_equal(got->attrs[1]->key, "aa");
		assert_string_equal(PROTO_MAP_GET(got->n_attrs, got->attrs, "b"), "v");
		assert_null(PROTO_MAP_GET(got->n_attrs, got->attrs, "c"));
	}
}

static void status(void **state)
{
	SCOPED_ARENA(a);
	SCOPED_ERR(e);
	SCOPED_ERR(back);
	Google__Rpc__Status *s;
	struct str v;

	e = err_new(ERR_NOT_FOUND, "no such thing");
	err_add_detail(e, "github.com/moby/buildkit/x+json", STR("{\"a\":\"\0\"}"));
	err_add_detail(e, "t", STR(""));
	s = proto_status_from_err(&a, e);
	OK(PROTO_UNPACK(&a, google__rpc__status, proto_pack_arena(s, &a), &s));
	back = proto_err_from_status(s);
	assert_int_equal(err_code(back), ERR_NOT_FOUND);
	assert_string_equal(err_text(back), "no such thing");
	assert_int_equal(err_detail_count(back), 2);
	assert_string_equal(err_detail(back, 0, &v), "github.com/moby/buildkit/x+json");
	STR_IS(v, "{\"a\":\"\0\"}");
	s->code = 0;
	assert_null(proto_err_from_status(s));
	s->code = 77;
	err_free(back);
	back = proto_err_from_status(s);
	assert_int_equal(err_code(back), ERR_UNKNOWN);
	s->code = -1;
	err_free(back);
	back = proto_err_from_status(s);
	assert_int_equal(err_code(back), ERR_UNKNOWN);
	assert_int_equal(proto_status_from_err(&a, NULL)->code, 0);
}

static void timestamps(void **state)
{
	SCOPED_ARENA(a);
	Google__Protobuf__Timestamp *t = proto_timestamp(&a, -1), big = { .seconds = INT64_MAX };

	assert_int_equal(t->seconds, -1);
	assert_int_equal(t->nanos, 999999999);
	assert_true(proto_time_ns(t) == -1);
	assert_null(proto_timestamp(&a, 0));
	assert_int_equal(proto_time_ns(NULL), 0);
	assert_int_equal(proto_time_ns(&big), 0);
	assert_true(proto_enum_known(&pb__net_mode__descriptor, PB__NET_MODE__NET_MODE_HOST));
	assert_false(proto_enum_known(&pb__net_mode__descriptor, 99));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip), cmocka_unit_test(junk),
		cmocka_unit_test(depth_bomb), cmocka_unit_test(amplification),
		cmocka_unit_test(map_order),  cmocka_unit_test(status),
		cmocka_unit_test(timestamps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
