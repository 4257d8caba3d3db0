/* Inside of the progress log, shared by progress.c (log, readers) and vprogress.c (vertices).
 * A record is a header and one field of StatusResponse in wire form. Records of one vertex are
 * chained backwards, so that they can be copied to the log of a job that joins later. */
#ifndef SOLVER_PROGRESS_LOG_H
#define SOLVER_PROGRESS_LOG_H

#include "base/lock.h"
#include "base/map.h"
#include "base/ref.h"
#include "base/vec.h"
#include "solver/progress.h"

/* Field numbers of StatusResponse. */
enum { PLOG_VERTEX = 1, PLOG_STATUS = 2, PLOG_LOG = 3, PLOG_WARNING = 4 };

/* The part of a Vertex message that stays the same, packed. */
struct vbase {
	struct ref ref;
	struct digest digest;
	struct digest *inputs;
	size_t n_inputs;
	struct str packed;
};
struct vbase *vbase_new(const struct vprogress_info *info);
struct vbase *vbase_ref(struct vbase *b);
void vbase_unref(struct vbase *b);

struct vstate_event {
	int64_t started_ns, completed_ns; /* 0: unset */
	bool cached;
	const char *error; /* "" or NULL: none */
};

/* Makes the vertex known; the first time its message is sent, unless quiet (its records will be
 * copied). */
void plog_vertex(struct progress *p, struct vbase *b, bool quiet);
/* A change of state. Before a start, inputs not seen working are sent as cached. */
void plog_state(struct progress *p, struct vbase *b, const struct vstate_event *ev);
/* One more event of it: a packed field. */
void plog_event(struct progress *p, const struct digest *vertex, int field, struct str message);
/* Takes over what was copied: the state without an event. */
void plog_joined(struct progress *p, struct vbase *b, const struct vstate_event *ev);

/* Position of the vertex's newest record plus one; 0 is none. */
uint64_t plog_last(struct progress *p, const struct digest *vertex);
/* The record at a position: its field bytes replace out's content, the position of the one before
 * it (plus one) goes to *ret_prev. Reads the file if need be. */
struct err *plog_record(struct progress *p, uint64_t pos, struct buf *out,
			uint64_t *ret_prev) ERR_RESULT;
/* Appends field bytes of a record of that vertex as they are. */
void plog_append(struct progress *p, const struct digest *vertex, struct str field);

/* To be called with no lock held after events were added: wakes those that watch, and moves what is
 * too much in memory to the file. */
void plog_settle(struct progress *p);
struct ctx *plog_ctx(struct progress *p); /* may be NULL */

/* ---- wire helpers ---- */
void wire_varint(struct buf *out, uint64_t v);
void wire_bytes(struct buf *out, int field, struct str s);
void wire_int(struct buf *out, int field, int64_t v); /* nothing for 0 */
void wire_time(struct buf *out, int field, int64_t wall_ns);

#endif
