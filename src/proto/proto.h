/* Protobuf messages on arenas. The generated types (protobuf-c) are used as they are:
 * `Pb__Op`, `Moby__Buildkit__V1__SolveRequest`, ... Strings in them are NUL-terminated,
 * never NULL after unpacking, and checked to be UTF-8; bytes are {len, data}.
 *
 * Packing is deterministic: fields by number, map entries by key (as Go's
 * deterministic marshalling), so digests of packed LLB are stable. */
#ifndef PROTO_PROTO_H
#define PROTO_PROTO_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#include <protobuf-c/protobuf-c.h>

#include "any.pb-c.h"
#include "auth.pb-c.h"
#include "caps.pb-c.h"
#include "content.pb-c.h"
#include "contenthash.pb-c.h"
#include "control.pb-c.h"
#include "empty.pb-c.h"
#include "exporter.pb-c.h"
#include "filesync.pb-c.h"
#include "gateway.pb-c.h"
#include "health.pb-c.h"
#include "insight.pb-c.h"
#include "ops.pb-c.h"
#include "policy.pb-c.h"
#include "policysession.pb-c.h"
#include "secrets.pb-c.h"
#include "ssh.pb-c.h"
#include "stat.pb-c.h"
#include "status.pb-c.h"
#include "timestamp.pb-c.h"
#include "upload.pb-c.h"
#include "wire.pb-c.h"
#include "worker.pb-c.h"

/* Parses bytes into an arena. Refuses invalid UTF-8, nesting deeper than 100 and
 * messages whose structs would take more than 64 times their size plus 1 MiB.
 * INVALID_ARGUMENT on failure. *ret_msg is a pointer to the message type. */
struct err *proto_unpack(struct arena *a, const ProtobufCMessageDescriptor *desc, struct str bytes,
			 void *ret_msg) ERR_RESULT;
/* PROTO_UNPACK(arena, pb__op, bytes, &op) */
#define PROTO_UNPACK(a, name, bytes, ret) proto_unpack((a), &name##__descriptor, (bytes), (ret))

/* Appends the packed message to out (which may overflow: check it). Sorts map entries
 * of msg in place. */
void proto_pack(const void *msg, struct buf *out);
/* The packed bytes in an arena. */
struct str proto_pack_arena(const void *msg, struct arena *a);
/* Deep copy by way of the wire form. */
void *proto_dup(struct arena *a, const void *msg);

/* Maps with string keys are arrays of pointers to entry messages {base, key, value}.
 * PROTO_MAP_FIND(msg->n_attrs, msg->attrs, "key") is the entry or NULL. */
#define PROTO_MAP_FIND(n, entries, name)                                                           \
	({                                                                                         \
		__typeof__(*(entries)) found_ = NULL;                                              \
		for (size_t i_ = 0; i_ < (n) && !found_; i_++)                                     \
			if (strcmp((entries)[i_]->key, (name)) == 0)                               \
				found_ = (entries)[i_];                                            \
		found_;                                                                            \
	})
/* Value of a map<string,string>, or NULL. */
#define PROTO_MAP_GET(n, entries, name)                                                            \
	({                                                                                         \
		__typeof__(*(entries)) e_ = PROTO_MAP_FIND((n), (entries), (name));                \
		e_ ? e_->value : NULL;                                                             \
	})

static inline struct str proto_bytes(ProtobufCBinaryData b)
{
	return str_make(b.data, b.len);
}
static inline ProtobufCBinaryData proto_from_str(struct str s)
{
	return (ProtobufCBinaryData) { .len = s.len, .data = (uint8_t *)s.ptr };
}

/* A google.protobuf.Timestamp in the arena; NULL for 0 (unset), and back. */
Google__Protobuf__Timestamp *proto_timestamp(struct arena *a, int64_t wall_ns);
int64_t proto_time_ns(const Google__Protobuf__Timestamp *t);

/* An enum field as sent may be any number: true when desc knows it. */
bool proto_enum_known(const ProtobufCEnumDescriptor *desc, int value);

/* google.rpc.Status <-> struct err, with details. */
Google__Rpc__Status *proto_status_from_err(struct arena *a, const struct err *e);
struct err *proto_err_from_status(const Google__Rpc__Status *s) ERR_RESULT; /* NULL for OK */

#endif
