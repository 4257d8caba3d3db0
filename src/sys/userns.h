/* Are we in a user namespace, and how does it map? */
#ifndef SYS_USERNS_H
#define SYS_USERNS_H

#include "base/arena.h"
#include "base/err.h"

#include <stdint.h>

struct userns_range {
	uint32_t inside, outside, count;
};

/* False when the mapping is the initial namespace's (all ids onto themselves). */
bool userns_inside(void);
/* of "/proc/self/uid_map" or "gid_map". */
struct err *userns_map(const char *file, struct arena *a, struct userns_range **ret,
		       size_t *ret_n) ERR_RESULT;

#endif
