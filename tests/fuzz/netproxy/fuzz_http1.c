#include "netproxy/http1.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SCOPED_ARENA(a);
	struct str text = str_make(data, size), url;
	struct http1_request r;
	struct err *e = http1_parse(text, &a, &r);
	uint64_t n;

	if (!e) {
		assert(r.target.len && r.method.len && (!r.chunked || r.length == -1));
		e = http1_url(&r, STR("https"), STR_NONE, &a, &url);
		if (!e) {
			struct str shown = http1_shown_url(url, &a);

			/* What is shown once stays as it is. */
			assert(str_eq(http1_redacted_url(shown, &a), shown));
		}
	}
	err_free(e);
	err_free(http1_chunk_size(text, &n));
	(void)http1_head_len(text);
	return 0;
}
