#include "base/yaml.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SCOPED_JSON(j);
	struct err *e = yaml_read(str_make(data, size), "fuzz", &j);

	assert(e ? !j : j != NULL);
	err_free(e);
	return 0;
}
