#include "frontend/dockerfile/pbjson.h"

#include <ctype.h>

struct printer {
	struct json_out *j;
	bool protojson;
};

static void print_message(const struct printer *p, const ProtobufCMessage *m);

static bool is_map_entry(const ProtobufCFieldDescriptor *f)
{
	const ProtobufCMessageDescriptor *d = f->descriptor;
	size_t n;

	if (f->label != PROTOBUF_C_LABEL_REPEATED || f->type != PROTOBUF_C_TYPE_MESSAGE)
		return false;
	n = strlen(d->short_name);
	return d->n_fields == 2 && n > 5 && strcmp(d->short_name + n - 5, "Entry") == 0 &&
	       strcmp(d->fields[0].name, "key") == 0;
}

static void print_name(const struct printer *p, const char *name)
{
	char camel[64];
	size_t n = 0;
	bool up = false;

	for (; *name && n < sizeof(camel); name++) {
		if (*name == '_' && p->protojson) {
			up = true;
			continue;
		}
		camel[n++] = up ? (char)toupper((unsigned char)*name) : *name;
		up = false;
	}
	json_key(p->j, str_make(camel, n));
}

/* Names carry the enum's name in front in C: MOUNT_TYPE_BIND is BIND. */
static void print_enum(const struct printer *p, const ProtobufCEnumDescriptor *d, int value)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(d, value);
	const char *name;

	if (!p->protojson || !v) {
		json_int(p->j, value);
		return;
	}
	name = v->name;
	for (const char *e = d->short_name; *e; e++) {
		if (*name == '_')
			name++;
		if (toupper((unsigned char)*e) != *name) {
			name = v->name;
			break;
		}
		name++;
	}
	json_str(p->j, str_from(*name == '_' ? name + 1 : name));
}

static void print_int(const struct printer *p, int64_t v, bool wide)
{
	char text[32];

	if (!wide || !p->protojson) {
		json_int(p->j, v);
		return;
	}
	snprintf(text, sizeof(text), "%lld", (long long)v);
	json_str(p->j, str_from(text));
}

static void print_value(const struct printer *p, const ProtobufCFieldDescriptor *f, const void *at)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		print_int(p, *(const int32_t *)at, false);
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		print_int(p, *(const uint32_t *)at, false);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		print_int(p, *(const int64_t *)at, true);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		json_bool(p->j, *(const protobuf_c_boolean *)at);
		break;
	case PROTOBUF_C_TYPE_ENUM:
		print_enum(p, f->descriptor, *(const int *)at);
		break;
	case PROTOBUF_C_TYPE_STRING:
		json_str(p->j, str_from(*(char *const *)at));
		break;
	case PROTOBUF_C_TYPE_BYTES:
		json_base64(p->j, proto_bytes(*(const ProtobufCBinaryData *)at));
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		print_message(p, *(const ProtobufCMessage *const *)at);
		break;
	default: /* no floating point in these messages */
		json_nil(p->j);
		break;
	}
}

static size_t size_of(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return 8;
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	default:
		return 4;
	}
}

static bool is_zero(const ProtobufCFieldDescriptor *f, const void *at)
{
	static const char zero[sizeof(ProtobufCBinaryData)];

	if (f->type == PROTOBUF_C_TYPE_STRING)
		return !*(char *const *)at || !**(char *const *)at;
	if (f->type == PROTOBUF_C_TYPE_BYTES)
		return !((const ProtobufCBinaryData *)at)->len;
	return memcmp(at, zero, size_of(f)) == 0;
}

static int by_key(const void *x, const void *y)
{
	const ProtobufCMessage *a = *(ProtobufCMessage *const *)x,
			       *b = *(ProtobufCMessage *const *)y;
	size_t off = a->descriptor->fields[0].offset;

	return strcmp(*(char *const *)((const char *)a + off),
		      *(char *const *)((const char *)b + off));
}

static void print_map(const struct printer *p, void **items, size_t n)
{
	SCOPED_ARENA(scratch);
	void **sorted = arena_dup(&scratch, items, n * sizeof(*items));

	qsort(sorted, n, sizeof(*sorted), by_key);
	json_obj_begin(p->j);
	for (size_t i = 0; i < n; i++) {
		const ProtobufCMessage *e = sorted[i];
		const ProtobufCFieldDescriptor *f = e->descriptor->fields;
		const void *value = (const char *)e + f[1].offset;

		json_key(p->j, str_from(*(char *const *)((const char *)e + f[0].offset)));
		if (f[1].type == PROTOBUF_C_TYPE_MESSAGE && !*(void *const *)value) {
			json_obj_begin(p->j);
			json_obj_end(p->j);
		} else {
			print_value(p, &f[1], value);
		}
	}
	json_obj_end(p->j);
}

static void print_repeated(const struct printer *p, const ProtobufCFieldDescriptor *f,
			   const ProtobufCMessage *m)
{
	size_t n = *(const size_t *)((const char *)m + f->quantifier_offset);
	void *items = *(void *const *)((const char *)m + f->offset);

	if (!n)
		return;
	print_name(p, f->name);
	if (is_map_entry(f)) {
		print_map(p, items, n);
		return;
	}
	json_arr_begin(p->j);
	for (size_t i = 0; i < n; i++)
		print_value(p, f, (const char *)items + i * size_of(f));
	json_arr_end(p->j);
}

static void print_message(const struct printer *p, const ProtobufCMessage *m)
{
	json_obj_begin(p->j);
	for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		const void *at = (const char *)m + f->offset;

		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			print_repeated(p, f, m);
			continue;
		}
		if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
			if (*(const uint32_t *)((const char *)m + f->quantifier_offset) != f->id)
				continue;
		} else if (is_zero(f, at)) {
			continue;
		}
		print_name(p, f->name);
		print_value(p, f, at);
	}
	json_obj_end(p->j);
}

void pbjson_go(struct json_out *j, const void *msg)
{
	const struct printer p = { j, false };

	print_message(&p, msg);
}

void pbjson_proto(struct json_out *j, const void *msg)
{
	const struct printer p = { j, true };

	print_message(&p, msg);
}
