/* BytesMessage{data=1}: the same message under several names. */
#include "session/internal.h"

#include "base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#define PUMP_CHUNK (32 * KIB)

struct err *bytes_send(struct grpc_stream *st, struct ctx *ctx, struct str data,
		       struct buf *scratch)
{
	size_t v = data.len;

	buf_clear(scratch);
	if (data.len) {
		buf_add_char(scratch, 1 << 3 | 2);
		for (; v > 0x7f; v >>= 7)
			buf_add_char(scratch, (char)(v | 0x80));
		buf_add_char(scratch, (char)v);
		buf_add_str(scratch, data);
	}
	TRY(buf_check(scratch, "message"));
	return grpc_send(st, ctx, buf_str(scratch));
}

static bool varint(struct str *s, uint64_t *ret)
{
	*ret = 0;
	for (unsigned shift = 0; shift < 64 && s->len; shift += 7) {
		unsigned char c = (unsigned char)*s->ptr;

		*s = str_sub(*s, 1, s->len);
		*ret |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80))
			return true;
	}
	return false;
}

struct err *bytes_parse(struct str msg, struct str *ret)
{
	struct str data = STR_NONE;

	while (msg.len) {
		uint64_t key, n = 0;
		bool ok = varint(&msg, &key);

		switch (key & 7) {
		case 0:
			ok = ok && varint(&msg, &n);
			n = 0;
			break;
		case 1:
			n = 8;
			break;
		case 2:
			ok = ok && varint(&msg, &n);
			break;
		case 5:
			n = 4;
			break;
		default:
			ok = false;
		}
		if (!ok || n > msg.len)
			return err_new(ERR_INTERNAL, "failed to parse message BytesMessage");
		if (key == (1 << 3 | 2))
			data = str_sub(msg, 0, n);
		msg = str_sub(msg, n, msg.len);
	}
	*ret = data;
	return NULL;
}

/* ---- pump ---- */

struct pump {
	int fd;
	struct grpc_stream *st;
	bool close_send;
	bool over; /* the socket has ended and there is no way to tell but to end all */
};

static struct err *wait_fd(struct ctx *ctx, int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	int ready;

	return ctx_poll(ctx, &p, 1, -1, &ready);
}

static struct err *fd_to_stream(struct ctx *ctx, void *arg)
{
	struct pump *p = arg;
	SCOPED_BUF(scratch, PUMP_CHUNK + 16);
	CLEANUP_FREE char *in = mem_alloc(PUMP_CHUNK);

	for (;;) {
		ssize_t n = recv(p->fd, in, PUMP_CHUNK, 0);

		if (n > 0) {
			TRY(bytes_send(p->st, ctx, str_make(in, (size_t)n), &scratch));
		} else if (n == 0) {
			if (p->close_send)
				return grpc_close_send(p->st);
			p->over = true;
			return err_new(ERR_CANCELED, "EOF");
		} else if (errno == EAGAIN) {
			TRY(wait_fd(ctx, p->fd, POLLIN));
		} else if (errno != EINTR) {
			return err_errno(errno, "read");
		}
	}
}

static struct err *send_all(struct ctx *ctx, int fd, struct str data)
{
	while (data.len) {
		ssize_t n = send(fd, data.ptr, data.len, MSG_NOSIGNAL);

		if (n >= 0)
			data = str_sub(data, (size_t)n, data.len);
		else if (errno == EAGAIN)
			TRY(wait_fd(ctx, fd, POLLOUT));
		else if (errno != EINTR)
			return err_errno(errno, "write");
	}
	return NULL;
}

static struct err *stream_to_fd(struct ctx *ctx, struct pump *p)
{
	SCOPED_BUF(msg, LIMIT_GRPC_MESSAGE);
	struct str data;
	bool eof;

	for (;;) {
		TRY(grpc_recv(p->st, ctx, &msg, &eof));
		if (eof)
			break;
		TRY(bytes_parse(buf_str(&msg), &data));
		TRY(send_all(ctx, p->fd, data));
	}
	(void)shutdown(p->fd, SHUT_WR);
	return NULL;
}

struct err *pump_run(struct ctx *ctx, int take_fd, struct grpc_stream *st, bool close_send)
{
	CLEANUP_FD int fd = take_fd;
	struct pump p = { .fd = fd, .st = st, .close_send = close_send };
	struct task_group g;
	struct err *e;

	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		return err_errno(errno, "fcntl");
	task_group_init(&g, ctx, 0);
	task_group_go(&g, "pump", fd_to_stream, &p);
	e = stream_to_fd(g.ctx, &p);
	if (e) /* what the other half waits for will not come */
		ctx_cancel(g.ctx, err_dup(e));
	e = err_first(e, task_group_wait(&g));
	if (p.over) {
		err_free(e);
		e = NULL;
	}
	return e;
}
