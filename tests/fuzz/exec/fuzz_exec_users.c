#include "exec/users.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* user NUL passwd NUL group */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SCOPED_ARENA(a);
	struct str all = str_make(data, size), user, passwd, group;
	struct exec_user u;
	struct err *e;

	(void)str_cut(all, '\0', &user, &all);
	(void)str_cut(all, '\0', &passwd, &group);
	e = users_resolve(user, passwd, group, &a, &u);
	assert(e || !u.n_groups || u.groups);
	err_free(e);
	return 0;
}
