#include "proto/proto.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

#define MAX_DEPTH 100

/* ---- checks before the parser sees the bytes ---- */

static bool take_varint(struct str *s, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		unsigned char c;

		if (!s->len)
			return false;
		c = (unsigned char)s->ptr[0];
		*s = str_sub(*s, 1, s->len);
		if (shift < 64)
			v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *d, uint64_t id)
{
	if (id > UINT32_MAX)
		return NULL;
	return protobuf_c_message_descriptor_get_field(d, (unsigned)id);
}

/* protobuf-c recurses without a bound and does not look at UTF-8. */
static bool check_message(const ProtobufCMessageDescriptor *d, struct str s, int depth)
{
	if (depth > MAX_DEPTH)
		return false;
	while (s.len) {
		const ProtobufCFieldDescriptor *f;
		uint64_t key, n;

		if (!take_varint(&s, &key) || key >> 3 == 0)
			return false;
		f = find_field(d, key >> 3);
		switch (key & 7) {
		case 0:
			if (!take_varint(&s, &n))
				return false;
			break;
		case 1:
			if (s.len < 8)
				return false;
			s = str_sub(s, 8, s.len);
			break;
		case 2: {
			struct str body;

			if (!take_varint(&s, &n) || n > s.len)
				return false;
			body = str_sub(s, 0, n);
			s = str_sub(s, n, s.len);
			if (f && f->type == PROTOBUF_C_TYPE_MESSAGE &&
			    !check_message(f->descriptor, body, depth + 1))
				return false;
			if (f && f->type == PROTOBUF_C_TYPE_STRING &&
			    (!str_is_utf8(body) || str_find(body, '\0') >= 0))
				return false;
			break;
		}
		case 5:
			if (s.len < 4)
				return false;
			s = str_sub(s, 4, s.len);
			break;
		default:
			return false;
		}
	}
	return true;
}

/* ---- arena allocator with a bound ---- */

struct bounded {
	struct arena *arena;
	size_t left;
};

static void *bounded_alloc(void *data, size_t size)
{
	struct bounded *b = data;

	if (size > b->left)
		return NULL;
	b->left -= size;
	return arena_alloc(b->arena, size);
}

static void bounded_free(void *data, void *p)
{
	(void)data;
	(void)p;
}

struct err *proto_unpack(struct arena *a, const ProtobufCMessageDescriptor *desc, struct str bytes,
			 void *ret_msg)
{
	struct bounded b = { a, bytes.len > SIZE_MAX / 128 ? 0 : bytes.len * 64 + MIB };
	ProtobufCAllocator alloc = { bounded_alloc, bounded_free, &b };
	ProtobufCMessage *m;

	if (!check_message(desc, bytes, 0))
		return err_new(ERR_INVALID_ARGUMENT, "failed to parse message %s", desc->name);
	m = protobuf_c_message_unpack(desc, &alloc, bytes.len, (const uint8_t *)bytes.ptr);
	if (!m)
		return err_new(ERR_INVALID_ARGUMENT, "failed to parse message %s", desc->name);
	*(ProtobufCMessage **)ret_msg = m;
	return NULL;
}

/* ---- packing ---- */

static bool is_map_entry(const ProtobufCMessageDescriptor *d)
{
	size_t n = strlen(d->short_name);

	return d->n_fields == 2 && n > 5 && strcmp(d->short_name + n - 5, "Entry") == 0 &&
	       strcmp(d->fields[0].name, "key") == 0 && strcmp(d->fields[1].name, "value") == 0;
}

static const void *entry_key(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	return (const char *)m + f->offset;
}

static int by_string_key(const void *a, const void *b)
{
	const ProtobufCMessage *x = *(ProtobufCMessage *const *)a,
			       *y = *(ProtobufCMessage *const *)b;
	const ProtobufCFieldDescriptor *f = &x->descriptor->fields[0];

	return strcmp(*(char *const *)entry_key(x, f), *(char *const *)entry_key(y, f));
}

static int by_i64_key(const void *a, const void *b)
{
	const ProtobufCMessage *x = *(ProtobufCMessage *const *)a,
			       *y = *(ProtobufCMessage *const *)b;
	const ProtobufCFieldDescriptor *f = &x->descriptor->fields[0];
	int64_t i = *(const int64_t *)entry_key(x, f), j = *(const int64_t *)entry_key(y, f);

	return i < j ? -1 : i > j;
}

static void sort_maps(const ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;

	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		const char *at = (const char *)m + f->offset;

		if (f->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			size_t n = *(const size_t *)((const char *)m + f->quantifier_offset);
			ProtobufCMessage **items = *(ProtobufCMessage * *const *)at;
			const ProtobufCMessageDescriptor *ed = f->descriptor;

			if (n > 1 && is_map_entry(ed)) {
				if (ed->fields[0].type == PROTOBUF_C_TYPE_STRING)
					qsort(items, n, sizeof(*items), by_string_key);
				else if (ed->fields[0].type == PROTOBUF_C_TYPE_INT64)
					qsort(items, n, sizeof(*items), by_i64_key);
			}
			for (size_t k = 0; k < n; k++)
				sort_maps(items[k]);
		} else {
			const ProtobufCMessage *sub;

			if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF &&
			    *(const uint32_t *)((const char *)m + f->quantifier_offset) != f->id)
				continue;
			sub = *(const ProtobufCMessage *const *)at;
			if (sub)
				sort_maps(sub);
		}
	}
}

void proto_pack(const void *msg, struct buf *out)
{
	size_t n;
	void *to;

	sort_maps(msg);
	n = protobuf_c_message_get_packed_size(msg);
	to = buf_reserve(out, n);
	if (!to)
		return;
	out->len += protobuf_c_message_pack(msg, to);
	out->data[out->len] = '\0';
}

struct str proto_pack_arena(const void *msg, struct arena *a)
{
	uint8_t *to;
	size_t n;

	sort_maps(msg);
	n = protobuf_c_message_get_packed_size(msg);
	to = arena_alloc(a, n);
	(void)protobuf_c_message_pack(msg, to);
	return str_make(to, n);
}

void *proto_dup(struct arena *a, const void *msg)
{
	const ProtobufCMessage *m = msg;
	struct bounded b = { a, SIZE_MAX };
	ProtobufCAllocator alloc = { bounded_alloc, bounded_free, &b };
	SCOPED_ARENA(tmp);
	struct str s = proto_pack_arena(msg, &tmp);
	void *out = protobuf_c_message_unpack(m->descriptor, &alloc, s.len, (const uint8_t *)s.ptr);

	if (!out)
		abort(); /* what we packed ourselves always parses */
	return out;
}

Google__Protobuf__Timestamp *proto_timestamp(struct arena *a, int64_t wall_ns)
{
	Google__Protobuf__Timestamp *t;
	struct timespec ts = clock_to_timespec(wall_ns);

	if (!wall_ns)
		return NULL;
	t = ARENA_NEW(a, Google__Protobuf__Timestamp);
	google__protobuf__timestamp__init(t);
	t->seconds = ts.tv_sec;
	t->nanos = (int32_t)ts.tv_nsec;
	return t;
}

int64_t proto_time_ns(const Google__Protobuf__Timestamp *t)
{
	int64_t ns;

	if (!t || __builtin_mul_overflow(t->seconds, NSEC_PER_SEC, &ns) ||
	    __builtin_add_overflow(ns, (int64_t)t->nanos, &ns))
		return 0;
	return ns;
}

bool proto_enum_known(const ProtobufCEnumDescriptor *desc, int value)
{
	return protobuf_c_enum_descriptor_get_value(desc, value) != NULL;
}

Google__Rpc__Status *proto_status_from_err(struct arena *a, const struct err *e)
{
	Google__Rpc__Status *s = ARENA_NEW(a, Google__Rpc__Status);

	google__rpc__status__init(s);
	s->code = (int32_t)err_code(e);
	s->message = arena_strdup(a, err_text(e));
	s->n_details = err_detail_count(e);
	s->details = ARENA_NEW_N(a, Google__Protobuf__Any *, s->n_details + 1);
	for (size_t i = 0; i < s->n_details; i++) {
		Google__Protobuf__Any *any = ARENA_NEW(a, Google__Protobuf__Any);
		struct str value;

		google__protobuf__any__init(any);
		any->type_url = arena_strdup(a, err_detail(e, i, &value));
		any->value = proto_from_str(str_dup(a, value));
		s->details[i] = any;
	}
	return s;
}

struct err *proto_err_from_status(const Google__Rpc__Status *s)
{
	struct err *e;

	if (s->code == 0)
		return NULL;
	e = err_new(s->code > 0 && s->code <= 16 ? (enum err_code)s->code : ERR_UNKNOWN, "%s",
		    s->message);
	for (size_t i = 0; i < s->n_details; i++)
		err_add_detail(e, s->details[i]->type_url, proto_bytes(s->details[i]->value));
	return e;
}
