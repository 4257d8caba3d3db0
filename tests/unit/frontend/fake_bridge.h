/* A daemon for frontend tests: local sources are directories, images come from a table, nothing is
 * executed. Not thread-safe but for the list of warnings. */
#ifndef TEST_FAKE_BRIDGE_H
#define TEST_FAKE_BRIDGE_H

#include "base/json.h"
#include "base/lock.h"
#include "frontend/bridge.h"

struct fake {
	struct bridge bridge; /* first */
	struct bridge_info info;
	struct bridge_worker worker;
	struct platform platforms[2];
	struct arena a;
	const char *dir;        /* local sources: dir itself, or dir/NAME when there is one */
	const char *dockerfile; /* instead: all there is, in every source */
	const json_t *images;   /* "docker.io/library/x:latest": {"digest", "config"} */
	struct lock lock;
	char *warnings[64]; /* "LEVEL SHORT DETAIL| URL [lines]" */
	size_t n_warnings;
	const char *frontend_source; /* of the last frontend request; "" before */
	struct str last_def;         /* the last definition solved, packed */
	struct str commit;           /* git sources have this commit object */
	int64_t last_modified;       /* and HTTP ones this time; 0 is unknown */
	size_t n_solves;
};

/* opts are "key=value"; those of the daemon's session get this id. */
void fake_init(struct fake *f, const char *dir, const json_t *images, const char *session,
	       char **opts, size_t n_opts);
void fake_fini(struct fake *f);

#endif
