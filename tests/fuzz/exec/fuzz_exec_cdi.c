#include "exec/cdi.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct cdi_config c = { 0 };
	struct cdi_devices d = { 0 };
	struct cdi_found f = { 0 };
	const struct exec_edits *edits;
	SCOPED_ARENA(a);

	err_free(cdi_parse(&c, str_make(data, size), "fuzz", true, 0, &d));
	for (size_t i = 0; i < d.n; i++)
		err_free(cdi_find(&d, str_from(d.list[i].name), false, &f));
	assert(f.list.len <= d.n);
	err_free(cdi_edits(&f, &a, &edits));
	cdi_found_fini(&f);
	cdi_devices_fini(&d);
	return 0;
}
