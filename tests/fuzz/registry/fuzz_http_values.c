/* Content-Range, Retry-After, and URLs as servers send them: base and reference in two lines. */
#include "registry/httpc.h"
#include "registry/request.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_make(data, size), base, ref = STR_NONE, url;
	SCOPED_ARENA(a);
	uint64_t from, to;
	int64_t total, ns;
	struct err *e;

	if (httpc_content_range(text, &from, &to, &total) &&
	    (to < from || (total >= 0 && to >= (uint64_t)total)))
		abort();
	if (httpc_retry_after(text, &ns) && ns < 0)
		abort();
	(void)httpc_is_loopback(text);
	(void)reg_body_errors(&a, text);
	(void)str_cut(text, '\n', &base, &ref);
	e = httpc_url_resolve(&a, base, ref, &url);
	if (!e && !str_has_prefix(url, STR("http://")) && !str_has_prefix(url, STR("https://")))
		abort();
	if (!e && !httpc_same_origin(url, url))
		abort();
	err_free(e);
	return 0;
}
