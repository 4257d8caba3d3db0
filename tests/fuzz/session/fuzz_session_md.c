/* Escaped metadata values, and BytesMessages. */
#include "session/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = str_make(data, size), back, bytes;
	SCOPED_ARENA(a);
	SCOPED_MD(md, &a);

	(void)query_unescape(&a, s);
	back = query_unescape(&a, query_escape(&a, s));
	if (!str_eq(back, s))
		abort();
	md_add_list(&md, "key", &s, 1);
	err_free(bytes_parse(s, &bytes));
	return 0;
}
