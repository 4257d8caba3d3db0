#include "codec/compress.h"

#include <assert.h>
#include <stdint.h>

#define OUT_MAX ((uint64_t)16 << 20) /* small inputs can unpack to gigabytes */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader *r;
	struct err *e =
		decompress_reader(COMPRESSION_ZSTD, reader_of_str(str_make(data, size)), &r);
	uint64_t total = 0;
	char out[7777];
	size_t n;

	assert(!e);
	do {
		e = reader_read(r, out, sizeof(out), &n);
		total += e ? 0 : n;
	} while (!e && n && total < OUT_MAX);
	err_free(e);
	reader_close(r);
	return 0;
}
