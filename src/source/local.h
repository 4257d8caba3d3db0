/* local://NAME: a directory of the client, by file transfer. */
#ifndef SOURCE_LOCAL_H
#define SOURCE_LOCAL_H

#include "source/source.h"

/* state_dir (made if missing) keeps what the last transfer of each directory left behind. */
struct err *local_source_new(struct cache *c, struct session_manager *m, const char *state_dir,
			     const char *tmp_dir, struct source **ret) ERR_RESULT;

#endif
