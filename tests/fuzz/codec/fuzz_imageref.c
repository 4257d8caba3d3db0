#include "base/buf.h"
#include "codec/imageref.h"
#include "codec/platform.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_platform(struct arena *a, struct str text)
{
	struct platform p, q;
	struct err *e = platform_parse(a, text, &p);

	if (e) {
		err_free(e);
		return;
	}
	assert(platform_match_rank(p, p) >= 0 || str_eq(p.arch, STR("arm64")));
	p = platform_normalize(p);
	assert(platform_eq(p, platform_normalize(p)));
	/* A component of dots goes in the joining, so what is printed need not parse. */
	e = platform_parse(a, str_from(platform_format_all(a, p)), &q);
	err_free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SCOPED_ARENA(a);
	struct imageref r, s;
	struct err *e = imageref_parse(&a, str_make(data, size), &r);
	char *text;

	check_platform(&a, str_make(data, size < 200 ? size : 200));
	if (e) {
		err_free(e);
		return 0;
	}
	/* What is printed is parsed as the same reference. */
	if (r.domain.len) {
		text = imageref_format(&a, &r);
		e = imageref_parse(&a, str_from(text), &s);
		assert(!e);
		assert(strcmp(imageref_format(&a, &s), text) == 0);
	}
	assert(imageref_familiar(&a, &r));
	r = imageref_with_default_tag(r);
	assert(r.tag.len || digest_is_set(&r.digest));
	return 0;
}
