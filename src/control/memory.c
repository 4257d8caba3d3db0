#include "control/control.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/task.h"
#include "grpc/message.h"
#include "sys/file.h"

#include <malloc.h>

/* After the last of a row of builds; what another one needs again is not given back before. */
#define TRIM_DELAY (NSEC_PER_SEC / 2)
/* What does not grow above this is not worth the calls. */
#define TRIM_LEAST (4 * MIB)

static int64_t status_field(struct str text, const char *name)
{
	struct str line, rest = text;
	uint64_t v;

	while (rest.len) {
		if (!str_cut(rest, '\n', &line, &rest)) {
			line = rest;
			rest = STR_NONE;
		}
		if (!str_has_prefix(line, str_from(name)))
			continue;
		line = str_trim(str_trim_suffix(str_trim_prefix(line, str_from(name)), STR(" kB")));
		return str_to_u64(line, &v) ? (int64_t)v : 0;
	}
	return 0;
}

struct err *insight_memory(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	struct control *c = arg;
	SCOPED_ARENA(a);
	SCOPED_BUF(status, 64 * KIB);
	Buildkitc__V1__MemoryRequest *req;
	Buildkitc__V1__MemoryResponse reply = BUILDKITC__V1__MEMORY_RESPONSE__INIT;
	struct solver_stats st = solver_stats(c->solver);
	struct mallinfo2 m;

	TRY(grpc_recv_request(s, ctx, &a, &buildkitc__v1__memory_request__descriptor, &req));
	TRY(file_read(AT_FDCWD, "/proc/self/status", &status));
	m = mallinfo2();
	reply.live = (int64_t)(m.uordblks + m.hblkhd);
	reply.heap = (int64_t)(m.arena + m.hblkhd);
	reply.rss = status_field(buf_str(&status), "VmRSS:") * (int64_t)KIB;
	reply.peak_rss = status_field(buf_str(&status), "VmHWM:") * (int64_t)KIB;
	reply.threads = status_field(buf_str(&status), "Threads:");
	reply.jobs = (int64_t)st.jobs;
	reply.vertices = (int64_t)st.vertices;
	reply.keys = (int64_t)st.keys;
	return grpc_send_msg(s, ctx, &reply);
}

static struct err *run_trim(struct ctx *ctx, void *arg)
{
	struct control *c = arg;
	struct mallinfo2 m;

	TRY(ctx_sleep(ctx, TRIM_DELAY));
	lock_take(&c->lock);
	c->trim_pending = false;
	lock_drop(&c->lock);
	m = mallinfo2();
	if (m.fordblks > TRIM_LEAST)
		(void)malloc_trim(0);
	return NULL;
}

void control_schedule_trim(struct control *c)
{
	bool start;

	lock_take(&c->lock);
	start = !c->trim_pending && !c->running;
	c->trim_pending = c->trim_pending || start;
	lock_drop(&c->lock);
	if (start)
		task_go(c->ctx, "trim", run_trim, c);
}
