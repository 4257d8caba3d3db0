/* .dockerignore files, and matching with what they hold. */
#include "base/glob.h"
#include "frontend/dockerfile/directive.h"
#include "frontend/dockerfile/gitref.h"
#include "frontend/dockerfile/ignore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_make(data, size), ref, value;
	SCOPED_ARENA(a);
	struct strs list = { 0 };
	struct patterns *p;
	struct git_ref g;
	struct err *e = ignore_parse(&a, text, &list);
	bool ignored;
	int line;

	if (!e)
		e = patterns_new(&a, list.items, list.len, &p);
	if (!e)
		e = patterns_match(p, STR("dir/sub/file.txt"), &ignored);
	err_free(e);
	(void)directive_syntax(&a, text, &ref, &value, &line);
	if (git_ref_parse(&a, text, &g, &e))
		err_free(e);
	return 0;
}
