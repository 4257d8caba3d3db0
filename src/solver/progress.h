/* Progress of one build: an append-only log that Status streams read, each at its own pace,
 * from the beginning. What is logged is the wire form (fields of StatusResponse), so a batch
 * is a run of records. A bounded part is in memory, the rest in an unlinked file. Writers never
 * block on readers. Thread-safe.
 *
 * A `vprogress` is the writing end of one vertex. Several jobs may share the vertex: its events
 * go to the logs of all of them, and one that joins later gets the earlier events too. */
#ifndef SOLVER_PROGRESS_H
#define SOLVER_PROGRESS_H

#include "base/buf.h"
#include "base/ctx.h"
#include "base/err.h"
#include "codec/digest.h"
#include "proto/proto.h"

struct progress;
struct vprogress;

/* Log clipping for one stream of one step. BUILDKIT_STEP_LOG_MAX_SIZE and
 * BUILDKIT_STEP_LOG_MAX_SPEED; -1 is no limit. */
struct progress_limits {
	int64_t max_size;  /* bytes; 2 MiB */
	int64_t max_speed; /* bytes a second; 200 KiB */
};
struct progress_limits progress_limits_from_env(void);

/* ---- the log ---- */
/* ctx (may be NULL) is for small tasks of its own; spill_dir NULL: all stays in memory. */
struct progress *progress_new(struct ctx *ctx, const char *spill_dir);
struct progress *progress_ref(struct progress *p);
void progress_unref(struct progress *p); /* NULL is fine */
/* No more events. Vertices that have started and not completed are completed with the error
 * "context canceled" (without it when an output was cached). Idempotent. */
void progress_close(struct progress *p);
bool progress_closed(struct progress *p);

struct progress_counts {
	size_t total, cached, completed, warnings;
};
struct progress_counts progress_counts(struct progress *p);

/* One reader belongs to one thread. Holds a reference on the log. */
struct progress_reader;
struct progress_reader *progress_reader_new(struct progress *p);
void progress_reader_free(struct progress_reader *r);
/* Appends the next batch, a packed moby.buildkit.v1.StatusResponse of about 1 MiB at most, to out
 * (cleared first). Waits for events, and between batches so long that they come each 100 ms at
 * most. *ret_eof (out is empty then) at the end of a closed log. */
struct err *progress_read(struct progress_reader *r, struct ctx *ctx, struct buf *out,
			  bool *ret_eof) ERR_RESULT;
/* The same without waiting: out stays empty when there is nothing now. */
struct err *progress_read_now(struct progress_reader *r, struct buf *out, bool *ret_eof) ERR_RESULT;
/* For readers without a thread: fn is called (on a writer's thread, must not block) once when there
 * is something to read or the log was closed; at once when that is so already. */
void progress_watch(struct progress_reader *r, void (*fn)(void *arg), void *arg);
void progress_unwatch(struct progress_reader *r);

/* ---- a vertex ---- */
struct vprogress_info {
	struct digest digest;
	const char *name;
	const struct digest *inputs;
	size_t n_inputs;
	const Pb__ProgressGroup *group; /* or NULL */
};
/* Copies what it needs. No event is sent before vprogress_attach. */
struct vprogress *vprogress_new(const struct vprogress_info *info, struct progress_limits limits);
struct vprogress *vprogress_ref(struct vprogress *v);
void vprogress_unref(struct vprogress *v); /* NULL is fine */
/* Sends the vertex, and what has happened to it so far, to that log; from then on also all that
 * follows. A second attach does nothing. */
void vprogress_attach(struct vprogress *v, struct progress *p);
void vprogress_detach(struct vprogress *v, struct progress *p);
struct digest vprogress_digest(const struct vprogress *v);

/* Starts (again). Inputs that have never started are shown as cached first, recursively. */
void vprogress_start(struct vprogress *v);
/* e is borrowed: its text is shown; NULL is success. Shows the clipped end of the logs first if it
 * failed. */
void vprogress_complete(struct vprogress *v, bool cached, const struct err *e);
/* Found in a cache: started and completed at once. */
void vprogress_cached(struct vprogress *v);

/* ---- what an operation reports ---- */
struct progress_status {
	struct str id;          /* unique in the vertex: "sha256:...", "extracting sha256:..." */
	struct str name;        /* often empty */
	int64_t current, total; /* bytes or counts; 0 unknown */
	int64_t started_ns, completed_ns; /* wall; 0 unset */
};
void progress_status(struct vprogress *v, const struct progress_status *s);
/* `id` starts now, and is done: the usual pair around a piece of work. begin gives the start time
 * for done. */
int64_t progress_status_begin(struct vprogress *v, struct str id);
void progress_status_done(struct vprogress *v, struct str id, int64_t started_ns);
/* stream 1 or 2. Past the limits output is dropped, said so once, and the last 256 KiB are kept to
 * be shown if the step fails. */
void progress_log(struct vprogress *v, int stream, struct str data);
struct progress_warning {
	int level;
	struct str short_text;
	const struct str *detail;
	size_t n_detail;
	struct str url;
	const Pb__SourceInfo *info; /* or NULL */
	Pb__Range *const *ranges;
	size_t n_ranges;
};
void progress_warn(struct vprogress *v, const struct progress_warning *w);
/* A warning that belongs to a vertex known by digest only (gateway Warn; unset: the build). */
void progress_warn_digest(struct progress *p, const struct digest *vertex,
			  const struct progress_warning *w);

/* A step that is no vertex of the graph ("exporting to image", "importing cache manifest from X"),
 * started; id_text is hashed to its digest. End it with vprogress_complete and vprogress_unref. */
struct vprogress *progress_step(struct progress *p, struct str id_text, const char *name);

#endif
