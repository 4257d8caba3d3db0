#include "op/explain.h"

#include "base/path.h"
#include "base/vec.h"
#include "op/exec_impl.h"
#include "op/file_op.h"
#include "op/result.h"

#define VALUE_MAX 512
#define PARTS_MAX 4096
#define NAME_MAX_LEN 256

struct printer {
	struct arena *a;
	VEC(struct op_key_part) parts;
};

const char *op_kind(const struct vertex *v)
{
	switch (op_vertex_pb(v)->op_case) {
	case PB__OP__OP_EXEC:
		return "exec";
	case PB__OP__OP_SOURCE:
		return "source";
	case PB__OP__OP_FILE:
		return "file";
	case PB__OP__OP_BUILD:
		return "build";
	case PB__OP__OP_MERGE:
		return "merge";
	case PB__OP__OP_DIFF:
		return "diff";
	default:
		return "other";
	}
}

static bool is_text(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!s.ptr[i])
			return false;
	return str_is_utf8(s);
}

static void add(struct printer *p, const char *name, struct str value)
{
	struct op_key_part part = { .name = str_dup(p->a, str_from(name)) };

	if (p->parts.len >= PARTS_MAX)
		return;
	if (value.len <= VALUE_MAX && is_text(value)) {
		part.value = str_dup(p->a, value);
	} else {
		char text[DIGEST_TEXT_MAX];
		struct digest d = digest_sha256(value);

		part.value = str_from(
			arena_printf(p->a, "%zu bytes, %s", value.len, digest_format(&d, text)));
	}
	vec_push(&p->parts, part);
}

/* ---- any message ---- */

static void add_message(struct printer *p, const char *name, const ProtobufCMessage *m);

static const void *member(const ProtobufCMessage *m, unsigned offset)
{
	return (const char *)m + offset;
}

static size_t item_size(const ProtobufCFieldDescriptor *f)
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

/* Zero values are left out: absent and zero are the same. */
static void add_item(struct printer *p, const char *name, const ProtobufCFieldDescriptor *f,
		     const void *item)
{
	long long number;

	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		if (*(char *const *)item && **(char *const *)item)
			add(p, name, str_from(*(char *const *)item));
		return;
	case PROTOBUF_C_TYPE_BYTES:
		if (((const ProtobufCBinaryData *)item)->len)
			add(p, name, proto_bytes(*(const ProtobufCBinaryData *)item));
		return;
	case PROTOBUF_C_TYPE_MESSAGE:
		if (*(ProtobufCMessage *const *)item)
			add_message(p, name, *(ProtobufCMessage *const *)item);
		return;
	case PROTOBUF_C_TYPE_BOOL:
		number = *(const protobuf_c_boolean *)item;
		break;
	default:
		number = item_size(f) == 8 ? (long long)*(const int64_t *)item
					   : (long long)*(const int32_t *)item;
		break;
	}
	if (number)
		add(p, name, str_from(arena_printf(p->a, "%lld", number)));
}

/* An environment is a list, but people think of its variables. */
static bool is_env(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	return m->descriptor == &pb__meta__descriptor && strcmp(f->name, "env") == 0;
}

static bool is_args(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	return m->descriptor == &pb__meta__descriptor && strcmp(f->name, "args") == 0;
}

static void add_repeated(struct printer *p, const char *name, const ProtobufCMessage *m,
			 const ProtobufCFieldDescriptor *f)
{
	size_t n = *(const size_t *)member(m, f->quantifier_offset);
	const char *items = *(char *const *)member(m, f->offset);

	for (size_t i = 0; i < n; i++) {
		const void *item = items + i * item_size(f);
		struct str variable, value;

		if (is_env(m, f) && str_cut(str_from(*(char *const *)item), '=', &variable, &value))
			add(p,
			    arena_printf(p->a, "environment variable %.*s",
					 STR_ARG(str_sub(variable, 0, NAME_MAX_LEN))),
			    value);
		else if (is_args(m, f))
			add(p, arena_printf(p->a, "argument %zu", i),
			    str_from(*(char *const *)item));
		else
			add_item(p, arena_printf(p->a, "%s[%zu]", name, i), f, item);
	}
}

static void add_message(struct printer *p, const char *prefix, const ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;

	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		const char *name = *prefix ? arena_printf(p->a, "%s.%s", prefix, f->name) : f->name;

		if (f->label == PROTOBUF_C_LABEL_REPEATED)
			add_repeated(p, name, m, f);
		else if (!(f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) ||
			 *(const uint32_t *)member(m, f->quantifier_offset) == f->id)
			add_item(p, name, f, member(m, f->offset));
	}
}

/* ---- each kind ---- */

static void add_platform(struct printer *p, const struct platform *pl)
{
	add(p, "platform",
	    str_from(arena_printf(p->a, "%.*s/%.*s%s%.*s", STR_ARG(pl->os), STR_ARG(pl->arch),
				  pl->variant.len ? "/" : "", STR_ARG(pl->variant))));
}

static void add_file(struct printer *p, const Pb__FileOp *f, size_t n_inputs)
{
	for (size_t i = 0; i < f->n_actions; i++) {
		Pb__FileAction a = *f->actions[i];
		Pb__FileActionCopy copy;

		if (a.action_case == PB__FILE_ACTION__ACTION_COPY && a.secondaryinput >= 0 &&
		    (uint64_t)a.secondaryinput < n_inputs) {
			copy = *a.copy;
			copy.src = str_cstr(p->a, path_base(str_from(copy.src)));
			a.copy = &copy;
		}
		add_message(p, arena_printf(p->a, "action %zu", i), &a.base);
	}
}

static void add_source(struct printer *p, const struct op *op, const Pb__SourceOp *s)
{
	const char *pin = op_source_pin(op);

	add(p, "source", str_from(s->identifier));
	if (*pin)
		add(p, "digest", str_from(pin));
	for (size_t i = 0; i < s->n_attrs; i++)
		/* Of one session only. */
		if (strcmp(s->attrs[i]->key, "local.session") != 0 &&
		    strcmp(s->attrs[i]->key, "local.unique") != 0)
			add(p, s->attrs[i]->key, str_from(s->attrs[i]->value));
}

void op_key_parts(const struct op *op, struct arena *a, struct op_key_part **ret, size_t *ret_n)
{
	const struct op_base *o = container_of(op, const struct op_base, op);
	const Pb__Op *pb = op_vertex_pb(o->vertex);
	struct printer p = { .a = a };

	switch (pb->op_case) {
	case PB__OP__OP_EXEC:
		add_message(&p, "", &exec_op_key_message(pb->exec, a)->base);
		add_platform(&p, &o->meta->platform);
		break;
	case PB__OP__OP_FILE:
		add_file(&p, pb->file, o->vertex->n_inputs);
		break;
	case PB__OP__OP_SOURCE:
		add_source(&p, op, pb->source);
		break;
	case PB__OP__OP_MERGE:
		add_message(&p, "merge", &pb->merge->base);
		break;
	case PB__OP__OP_DIFF:
		add_message(&p, "diff", &pb->diff->base);
		break;
	case PB__OP__OP_BUILD:
		add_message(&p, "build", &pb->build->base);
		break;
	default:
		break;
	}
	*ret = ARENA_NEW_N(a, struct op_key_part, p.parts.len + 1);
	*ret_n = p.parts.len;
	for (size_t i = 0; i < p.parts.len; i++)
		(*ret)[i] = p.parts.items[i];
	vec_fini(&p.parts);
}

struct err *op_content_parts(struct ctx *ctx, const void *arg, struct result *input, size_t max,
			     void (*each)(void *arg, const struct contenthash_part *p),
			     void *each_arg)
{
	const struct content_selects *s = arg;
	struct cache_ref *ref = op_result_ref(input);

	if (!s || !ref)
		return NULL;
	for (size_t i = 0; i < s->n; i++)
		TRY(contenthash_parts(op_result_worker(input)->cache, ctx, ref, s->list[i].path,
				      &s->list[i].opts, max / s->n + 1, each, each_arg));
	return NULL;
}
