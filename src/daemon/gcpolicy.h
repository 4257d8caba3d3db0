/* The garbage collection policy used when none is configured. */
#ifndef DAEMON_GCPOLICY_H
#define DAEMON_GCPOLICY_H

#include "daemon/config.h"

struct gc_space {
	bool set;                             /* any of the three was configured */
	int64_t reserved, max_used, min_free; /* bytes */
};

/* Size of the file system that holds root (or its nearest existing parent); 0 unknown. */
uint64_t gcpolicy_disk_total(const char *root);
void gcpolicy_default(struct arena *a, const struct gc_space *space, uint64_t disk_total,
		      struct config_worker *w);

#endif
