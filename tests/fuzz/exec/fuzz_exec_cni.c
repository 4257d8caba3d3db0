#include "exec/cni.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *const dirs[] = { "/nowhere", NULL };

	for (int single = 0; single < 2; single++) {
		struct cni *c = NULL;
		struct err *e = cni_parse(str_make(data, size), single, "fuzz", dirs, &c);

		assert(e ? !c : c != NULL);
		err_free(e);
		cni_free(c);
	}
	return 0;
}
