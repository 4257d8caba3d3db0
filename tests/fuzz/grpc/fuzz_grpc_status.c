/* Trailers and metadata: lines "name value". */
#include "grpc/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct h2_header h[64];
	struct str rest = str_make(data, size), line;
	SCOPED_ARENA(a);
	SCOPED_ERR(e);
	size_t n = 0, n_md;
	int64_t ns;

	while (n < ARRAY_SIZE(h) && str_next(&rest, '\n', &line)) {
		(void)str_cut(line, ' ', &h[n].name, &h[n].value);
		n++;
	}
	(void)md_decode(&a, h, n, &n_md);
	(void)timeout_decode(header_get(h, n, "grpc-timeout"), &ns);
	if (status_decode(h, n, &e) && e) {
		struct h2_header out[STATUS_HEADERS];

		(void)status_encode(&a, e, out);
	}
	return 0;
}
