/* What is known of a build from its Status events: vertices with their statuses, logs and
 * warnings. One thread. Memory is bounded: of each vertex's log only the tail is kept. */
#ifndef PROGRESS_MODEL_H
#define PROGRESS_MODEL_H

#include "base/map.h"
#include "base/vec.h"
#include "proto/proto.h"

/* Bytes of log kept a vertex, for windows and for the excerpt after a failure. */
#define DISPLAY_LOG_TAIL (64 * 1024)

struct pvertex;

struct pstatus {
	char *id, *name;
	int64_t current, total, started_ns, completed_ns;
	bool dirty;
};

struct pwarning {
	char *text; /* short, as sent */
	char *url;
	VEC(char *) detail;
	struct pvertex *vertex;
};

struct pvertex {
	char *digest, *name;
	int number; /* from 1, in order of start; 0 before */
	bool cached, started, completed, dirty;
	char *error; /* NULL or text */
	int64_t started_ns, completed_ns;
	int64_t spent_ns; /* of earlier runs of the same vertex */
	VEC(struct pstatus *) statuses;
	struct buf log;     /* the tail, raw */
	struct buf pending; /* plain mode: what was not printed yet */
	size_t n_new_warnings;
	VEC(struct pwarning *) warnings;
};

struct pmodel {
	struct map by_digest;
	VEC(struct pvertex *) order; /* by first mention */
	VEC(struct pvertex *) by_start;
	int64_t first_ns;
	int n_started;
};

void pmodel_init(struct pmodel *m);
void pmodel_fini(struct pmodel *m);
/* Takes in one batch; what changed is marked dirty. */
void pmodel_update(struct pmodel *m, const Moby__Buildkit__V1__StatusResponse *r);
/* Running time in all, up to now_ns for a vertex under way. */
int64_t pvertex_elapsed(const struct pvertex *v, int64_t now_ns);
bool pvertex_is_internal(const struct pvertex *v);
bool pvertex_is_canceled(const struct pvertex *v);

/* "1.23MB", decimal units, as docker prints them. */
char *display_size(struct arena *a, int64_t bytes);
/* "sha256:0123456789ab 1.05MB / 2.10MB 0.2s done" */
char *pstatus_text(struct arena *a, const struct pstatus *s, int64_t now_ns);

#endif
