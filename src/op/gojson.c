#include "op/op_impl.h"

#include <ctype.h>

/* Both leave out zero fields and name fields by their proto names; numbers are numbers (proto's own
 * JSON takes them too). The generated Go structs have a oneof as a field under its own Go name,
 * holding an object with the Go name of the chosen one; proto's JSON has the chosen one among
 * the other fields. */

struct printer {
	struct json_out *j;
	bool proto;
};

static void print_message(const struct printer *p, const ProtobufCMessage *m);

static const struct {
	const ProtobufCMessageDescriptor *desc;
	const char *name;
} oneofs[] = {
	{ &pb__op__descriptor, "Op" },
	{ &pb__file_action__descriptor, "Action" },
	{ &pb__user_opt__descriptor, "User" },
};

static const void *member(const ProtobufCMessage *m, unsigned offset)
{
	return (const char *)m + offset;
}

static void scalar(const struct printer *pr, const ProtobufCFieldDescriptor *f, const void *p)
{
	struct json_out *j = pr->j;

	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_ENUM:
		json_int(j, *(const int32_t *)p);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		json_int(j, *(const int64_t *)p);
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		json_uint(j, *(const uint32_t *)p);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		json_uint(j, *(const uint64_t *)p);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		json_bool(j, *(const protobuf_c_boolean *)p);
		break;
	case PROTOBUF_C_TYPE_STRING:
		json_str(j, str_from(*(char *const *)p));
		break;
	case PROTOBUF_C_TYPE_BYTES:
		json_base64(j, proto_bytes(*(const ProtobufCBinaryData *)p));
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		print_message(pr, *(ProtobufCMessage *const *)p);
		break;
	default:
		json_nil(j); /* no floating point in these messages */
		break;
	}
}

static size_t scalar_size(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return 8;
	default:
		return 4;
	}
}

static bool is_zero(const ProtobufCFieldDescriptor *f, const void *p)
{
	static const char zero[sizeof(ProtobufCBinaryData)];

	if (f->type == PROTOBUF_C_TYPE_STRING)
		return !*(char *const *)p || !(*(char *const *)p)[0];
	if (f->type == PROTOBUF_C_TYPE_BYTES)
		return !((const ProtobufCBinaryData *)p)->len;
	return memcmp(p, zero, scalar_size(f)) == 0;
}

static bool is_map(const ProtobufCFieldDescriptor *f)
{
	const ProtobufCMessageDescriptor *d = f->descriptor;

	return f->type == PROTOBUF_C_TYPE_MESSAGE && d->n_fields == 2 &&
	       str_has_suffix(str_from(d->short_name), STR("Entry")) &&
	       strcmp(d->fields[0].name, "key") == 0;
}

static int by_key(const void *a, const void *b)
{
	const ProtobufCMessage *x = *(ProtobufCMessage *const *)a;
	const ProtobufCMessage *y = *(ProtobufCMessage *const *)b;
	unsigned offset = x->descriptor->fields[0].offset;

	return strcmp(*(char *const *)member(x, offset), *(char *const *)member(y, offset));
}

static void map_value(const struct printer *p, ProtobufCMessage *const *entries, size_t n)
{
	struct json_out *j = p->j;
	ProtobufCMessage **sorted = mem_dup(entries, n * sizeof(*sorted));

	qsort(sorted, n, sizeof(*sorted), by_key);
	json_obj_begin(j);
	for (size_t i = 0; i < n; i++) {
		const ProtobufCFieldDescriptor *f = sorted[i]->descriptor->fields;

		json_key(j, str_from(*(char *const *)member(sorted[i], f[0].offset)));
		scalar(p, &f[1], member(sorted[i], f[1].offset));
	}
	json_obj_end(j);
	free(sorted);
}

static void repeated(const struct printer *p, const ProtobufCMessage *m,
		     const ProtobufCFieldDescriptor *f)
{
	size_t n = *(const size_t *)member(m, f->quantifier_offset);
	const char *items = *(char *const *)member(m, f->offset);
	struct json_out *j = p->j;

	if (!n)
		return;
	json_key(j, str_from(f->name));
	if (is_map(f)) {
		map_value(p, (ProtobufCMessage *const *)(const void *)items, n);
		return;
	}
	json_arr_begin(j);
	for (size_t i = 0; i < n; i++)
		scalar(p, f, items + i * scalar_size(f));
	json_arr_end(j);
}

static void chosen(const struct printer *p, const ProtobufCMessage *m,
		   const ProtobufCFieldDescriptor *f)
{
	struct json_out *j = p->j;
	SCOPED_BUF(name, 128);

	if (p->proto) {
		json_key(j, str_from(f->name));
		scalar(p, f, member(m, f->offset));
		return;
	}
	buf_add_cstr(&name, f->name);
	name.data[0] = (char)toupper((unsigned char)name.data[0]);
	for (size_t i = 0; i < ARRAY_SIZE(oneofs); i++)
		if (oneofs[i].desc == m->descriptor)
			json_key(j, str_from(oneofs[i].name));
	json_obj_begin(j);
	json_key(j, buf_str(&name));
	scalar(p, f, member(m, f->offset));
	json_obj_end(j);
}

static void print_message(const struct printer *p, const ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *d;
	struct json_out *j = p->j;

	if (!m) {
		json_nil(j);
		return;
	}
	d = m->descriptor;
	json_obj_begin(j);
	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];

		if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
			if (*(const uint32_t *)member(m, f->quantifier_offset) == f->id)
				chosen(p, m, f);
		} else if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			repeated(p, m, f);
		} else if (!is_zero(f, member(m, f->offset))) {
			json_key(j, str_from(f->name));
			scalar(p, f, member(m, f->offset));
		}
	}
	json_obj_end(j);
}

void gojson_message(struct json_out *j, const ProtobufCMessage *m)
{
	print_message(&(struct printer) { j, false }, m);
}

void protojson_message(struct json_out *j, const ProtobufCMessage *m)
{
	print_message(&(struct printer) { j, true }, m);
}
