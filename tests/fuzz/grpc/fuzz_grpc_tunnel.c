/* What comes in a session stream: gRPC frames of BytesMessages, cut anywhere (the first byte says
 * where). */
#include "grpc/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tunnel *open_tunnel(struct grpc_stream *s, void *arg);

static void input(void *arg, const uint8_t *p, size_t n)
{
	volatile uint8_t sum = 0;

	(void)arg;
	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + p[i]);
}

static void nothing(void *arg)
{
	(void)arg;
}

static void ended(void *arg, struct err *cause)
{
	(void)arg;
	err_free(cause);
}

static const struct conn_user user = { input, nothing, nothing, ended };

struct feed {
	struct loop *loop;
	const uint8_t *data;
	size_t size;
};

static struct tunnel *open_tunnel(struct grpc_stream *s, void *arg)
{
	struct conn *c = tunnel_conn_new(s, arg);

	c->user = &user;
	return s->tunnel;
}

static void feed(void *arg)
{
	struct feed *f = arg;
	struct grpc_stream *s = stream_new(f->loop, 1 << 20);
	size_t piece = f->size ? (size_t)f->data[0] + 1 : 1;
	struct ctx *root = ctx_new_root(NULL);
	struct tunnel *t;

	s->ctx = root;
	s->responded = true;
	t = open_tunnel(s, NULL);
	for (size_t i = 1; i < f->size; i += piece)
		tunnel_on_data(t, f->data + i, MIN(piece, f->size - i));
	/* The connection is the tunnel's first member. */
	((struct conn *)t)->ops->close((struct conn *)t);
	stream_unref(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop *loop;
	struct feed f;

	if (!loop && loop_start(&loop))
		abort();
	f = (struct feed) { loop, data, size };
	loop_run(loop, feed, &f);
	loop_run(loop, nothing, NULL); /* the queued kick */
	return 0;
}
