#include "codec/digest.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[DIGEST_TEXT_MAX];
	struct digest d;
	struct err *e = digest_parse(str_make(data, size), &d);

	if (!e)
		assert(str_eq(str_from(digest_format(&d, text)), str_make(data, size)));
	err_free(e);
	return 0;
}
