/* One packet of a file transfer, and the order checks on its path. */
#include "session/fsutil_wire.h"
#include "session/recv_order.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct order o = { 0 };
	struct packet p;
	SCOPED_ARENA(a);
	SCOPED_BUF(out, 1 << 20);
	struct err *e = packet_parse(str_make(data, size), &a, &p);

	if (!e && p.has_stat) {
		packet_put_stat(&out, &p.stat);
		e = order_check(&o, p.stat.path, p.stat.mode >> 31);
		if (!e)
			e = order_check(&o, p.stat.linkname, false);
	}
	err_free(e);
	order_fini(&o);
	return 0;
}
