/* The list of entries behind its checksum, which the target makes right. */
#include "codec/digest.h"
#include "session/recv_state.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state_cursor *c = malloc(sizeof(*c));
	SCOPED_BUF(b, 1 << 24);
	struct digest d;

	buf_add_cstr(&b, "bkfs0001");
	buf_add(&b, data, size);
	d = digest_sha256(buf_str(&b));
	buf_add(&b, d.bytes, RECV_SHA);
	if (!state_open(c, buf_str(&b)))
		abort();
	while (c->valid)
		state_next(c);
	free(c);
	return 0;
}
