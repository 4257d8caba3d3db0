#include "base/toml.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void visit(const struct toml *t)
{
	for (const struct toml *c = t->child; c; c = c->next) {
		if (t->type == TOML_TABLE) {
			SCOPED_ARENA(a);

			/* C strings end at a NUL, keys need not. */
			if (str_find(c->key, '\0') < 0)
				assert(toml_get(t, str_cstr(&a, c->key)) == c);
		}
		if (c->type == TOML_STRING)
			assert(str_is_utf8(c->string));
		visit(c);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SCOPED_ARENA(a);
	struct toml *t;
	struct err *e = toml_parse(&a, str_make(data, size), &t);

	if (!e && size < 4096)
		visit(t);
	err_free(e);
	return 0;
}
