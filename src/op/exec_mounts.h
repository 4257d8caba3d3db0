/* Mounts of a process: from LLB mounts and results to what exec/runtime.h takes. Used by the exec
 * operation and by containers of frontends. */
#ifndef OP_EXEC_MOUNTS_H
#define OP_EXEC_MOUNTS_H

#include "exec/runtime.h"
#include "op/op.h"

struct exec_mounts;
struct exec_mounts_in {
	struct worker *worker;
	struct ctx *ctx;
	struct session_group *sessions; /* may be NULL */
	struct vprogress *progress;     /* may be NULL */
	const Pb__Mount *const *mounts;
	size_t n;
	struct cache_ref *const *refs; /* one a mount: its input, NULL for none; borrowed */
	struct str cwd;                /* relative destinations start here */
	const char *what;              /* "exec make all": for descriptions of records */
};
/* Layers, cache directories, secrets, sockets. What in points to must stay until the free. Errors
 * in the words of the LLB notes. */
struct err *exec_mounts_open(const struct exec_mounts_in *in, struct exec_mounts **ret) ERR_RESULT;
/* Everything that was not taken is undone. NULL is fine. */
void exec_mounts_free(struct exec_mounts *m);
/* Root and mounts of the spec; they live in m. */
void exec_mounts_fill(const struct exec_mounts *m, struct exec_spec *spec);

/* After the run: what mount i became, a new reference or NULL. Layers being written are
 * committed (also those without an output: for looking at a failed step). */
struct err *exec_mounts_result(struct exec_mounts *m, size_t i, struct cache_ref **ret) ERR_RESULT;
/* Mount i for reading while it is in use, as it is now (gateway file calls). UNKNOWN for what is no
 * directory outside the container. */
struct err *exec_mounts_view(struct exec_mounts *m, struct ctx *ctx, size_t i, struct arena *a,
			     struct mounts **ret) ERR_RESULT;

#endif
