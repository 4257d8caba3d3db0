/* Build records: what was built, how it ended, its log. One record a Solve that is not internal;
 * kept in kv (table "history", packed BuildHistoryRecord by ref), the blobs in a store of their
 * own, so that no collection of garbage takes them. Formats: the control API notes. Thread-safe. */
#ifndef CONTROL_HISTORY_H
#define CONTROL_HISTORY_H

#include "content/content.h"
#include "proto/proto.h"
#include "solver/progress.h"

struct history;
struct kv;

typedef Moby__Buildkit__V1__BuildHistoryRecord history_record;
typedef Moby__Buildkit__V1__BuildHistoryEvent history_event;

struct history_config {
	const char *dir; /* of the blobs */
	struct kv *kv;
	int64_t max_entries; /* 0: nothing is kept */
	int64_t max_age_ns;
};
struct err *history_open(const struct history_config *cfg, struct ctx *ctx,
			 struct history **ret) ERR_RESULT;
void history_close(struct history *h); /* NULL is fine */
struct content *history_content(struct history *h);

/* A build begins: listeners are told. record needs ref, frontend, exporters. */
struct err *history_begin(struct history *h, const history_record *record) ERR_RESULT;
/* It has ended, its progress is closed: log and error become blobs, the record is stored and
 * listeners are told. Fills in the record, in a. failed may be NULL. */
struct err *history_end(struct history *h, struct ctx *ctx, struct arena *a, history_record *record,
			struct progress *log, const struct err *failed) ERR_RESULT;
/* It has ended without a record. */
void history_drop(struct history *h, struct str ref);

/* A finished one, in the arena. */
struct err *history_get(struct history *h, struct arena *a, struct str ref, history_record **ret,
			bool *ret_found) ERR_RESULT;
/* NOT_FOUND "failed to retrieve ref X: file does not exist". */
struct err *history_pin(struct history *h, struct str ref, bool pinned) ERR_RESULT;
/* Listeners on the ref keep its blobs until they have gone. */
struct err *history_delete(struct history *h, struct ctx *ctx, struct str ref) ERR_RESULT;
/* Those beyond the limits, oldest first. */
struct err *history_collect(struct history *h, struct ctx *ctx) ERR_RESULT;

/* ---- listening ---- */
struct history_listener;
/* Of one ref, or of all (empty). What is there comes first: active builds, then, unless
 * active_only, finished ones, picked by filters (historyfilter.c) and limit. */
struct err *history_listen(struct history *h, struct ctx *ctx,
			   const Moby__Buildkit__V1__BuildHistoryRequest *req,
			   struct history_listener **ret) ERR_RESULT;
/* The next event, a packed BuildHistoryEvent. *ret_eof: all that was there has been read (once;
 * then it waits for new ones). */
struct err *history_next(struct history_listener *l, struct ctx *ctx, struct buf *out,
			 bool *ret_eof) ERR_RESULT;
void history_unlisten(struct history_listener *l, struct ctx *ctx);

/* ---- filters (historyfilter.c) ---- */
struct history_filter;
struct err *history_filter_new(struct arena *a, char *const *list, size_t n,
			       struct history_filter **ret) ERR_RESULT;
void history_filter_free(struct history_filter *f); /* NULL is fine: matches all */
bool history_filter_match(const struct history_filter *f, const history_record *r);

#endif
