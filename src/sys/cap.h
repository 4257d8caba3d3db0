/* Capabilities of this process. Sets are bit masks by capability number. */
#ifndef SYS_CAP_H
#define SYS_CAP_H

#include "base/err.h"

#include <stdint.h>

#define CAP_BIT(n) (UINT64_C(1) << (n))

/* Name of number n ("CAP_CHOWN"), NULL beyond those known. */
const char *cap_name(unsigned n);
#define CAP_COUNT 41
uint64_t cap_effective(void);
uint64_t cap_bounding(void);
bool cap_has(unsigned n);

#endif
