/* A mode in chmod's language, applied to a few modes. */
#include "op/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const mode_t modes[] = { 0, S_IFREG | 0644, S_IFDIR | 0755, S_IFREG | 06111 };
	struct file_mode_change *c;
	struct err *e;
	SCOPED_ARENA(a);

	e = file_mode_parse(&a, str_make(data, size), &c);
	for (size_t i = 0; !e && i < ARRAY_SIZE(modes); i++)
		if ((file_mode_apply(c, modes[i]) & S_IFMT) != (modes[i] & S_IFMT))
			abort();
	err_free(e);
	return 0;
}
