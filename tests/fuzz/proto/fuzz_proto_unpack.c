/* First byte: which message. What is parsed packs to bytes that parse and pack alike. */
#include "proto/proto.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const ProtobufCMessageDescriptor *const all[] = {
		&pb__op__descriptor,
		&pb__definition__descriptor,
		&moby__buildkit__v1__solve_request__descriptor,
		&moby__buildkit__v1__status_response__descriptor,
		&moby__buildkit__v1__frontend__solve_request__descriptor,
		&google__rpc__status__descriptor,
	};
	SCOPED_ARENA(a);
	ProtobufCMessage *m;
	struct str once, twice;
	struct err *e;

	if (!size)
		return 0;
	e = proto_unpack(&a, all[data[0] % ARRAY_SIZE(all)], str_make(data + 1, size - 1), &m);
	if (e) {
		err_free(e);
		return 0;
	}
	assert(a.used <= 4 * (size * 64 + MIB));
	once = proto_pack_arena(m, &a);
	m = proto_dup(&a, m);
	twice = proto_pack_arena(m, &a);
	assert(str_eq(once, twice));
	return 0;
}
