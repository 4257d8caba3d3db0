#include "exec/resolvconf.h"

#include "base/limits.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct resolvconf_opts plain = { 0 }, host = { .host_net = true };
	SCOPED_BUF(first, 16 * MIB);
	SCOPED_BUF(second, 16 * MIB);
	SCOPED_BUF(third, 16 * MIB);

	/* Never without a server, and what was made once stays as it is. */
	err_free(resolvconf_make(str_make(data, size), &host, &first));
	assert(str_has_prefix(buf_str(&first), STR("nameserver ")));
	err_free(resolvconf_make(buf_str(&first), &plain, &second));
	err_free(resolvconf_make(buf_str(&second), &plain, &third));
	assert(str_eq(buf_str(&second), buf_str(&third)));
	return 0;
}
