#include "net/conn.h"

#include "base/limits.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* Fairness: a connection that always has more must let others have their turn. */
#define MAX_READS 4
#define DRAIN_MAX (256 * KIB)

struct conn_fd {
	struct conn base;
	struct loop *loop;
	struct loop_io r, w; /* w is unused for a socket */
	bool same, want_write, w_added, ended;
	bool handshaking;
	struct tls_conn *tls;
	/* TLS may want the other direction: a read that has to write, a write that has to read. */
	bool read_wants_write, write_wants_read;
};

static void set_events(struct conn_fd *c, bool want_write)
{
	if (c->ended || want_write == c->want_write)
		return;
	c->want_write = want_write;
	if (c->same) {
		loop_io_mod(c->loop, &c->r, EPOLLIN | (want_write ? (uint32_t)EPOLLOUT : 0));
	} else if (want_write && !c->w_added) {
		err_free(loop_io_add(c->loop, &c->w, EPOLLOUT));
		c->w_added = true;
	} else if (c->w_added) {
		/* A full pipe end must not report its hang-up again and again. */
		loop_io_del(c->loop, &c->w);
		c->w_added = false;
		if (want_write) {
			err_free(loop_io_add(c->loop, &c->w, EPOLLOUT));
			c->w_added = true;
		}
	}
}

static void end(struct conn_fd *c, struct err *cause)
{
	if (c->ended) {
		err_free(cause);
		return;
	}
	c->ended = true;
	loop_io_del(c->loop, &c->r);
	if (c->w_added)
		loop_io_del(c->loop, &c->w);
	c->w_added = false;
	c->base.user->ended(c->base.arg, cause);
}

static void handshake(struct conn_fd *c)
{
	switch (tls_handshake(c->tls)) {
	case TLS_OK:
		c->handshaking = false;
		set_events(c, false);
		c->base.user->ready(c->base.arg);
		c->base.user->writable(c->base.arg);
		break;
	case TLS_WANT_READ:
		set_events(c, false);
		break;
	case TLS_WANT_WRITE:
		set_events(c, true);
		break;
	case TLS_EOF:
		end(c, NULL);
		break;
	case TLS_FAILED:
		end(c, tls_error(c->tls));
	}
}

/* True when there may be more. */
static bool read_tls(struct conn_fd *c, uint8_t *p, size_t size)
{
	size_t n = 0, got;

	for (;;) {
		enum tls_result r = TLS_OK;

		/* OpenSSL gives a record (16 KiB) at a time. */
		if (size - n >= 16 * KIB)
			r = tls_read(c->tls, p + n, size - n, &got);
		if (r == TLS_OK && size - n >= 16 * KIB) {
			n += got;
			continue;
		}
		if (n)
			c->base.user->input(c->base.arg, p, n);
		if (r == TLS_OK)
			return true;
		c->read_wants_write = r == TLS_WANT_WRITE;
		if (r == TLS_WANT_WRITE)
			set_events(c, true);
		else if (r == TLS_EOF)
			end(c, NULL);
		else if (r == TLS_FAILED)
			end(c, tls_error(c->tls));
		return false;
	}
}

static bool read_plain(struct conn_fd *c, uint8_t *p, size_t size)
{
	ssize_t n = read(c->r.fd, p, size);

	if (n > 0) {
		c->base.user->input(c->base.arg, p, (size_t)n);
		return (size_t)n == size;
	}
	if (n == 0)
		end(c, NULL);
	else if (errno != EAGAIN && errno != EINTR)
		end(c, err_errno(errno, "read"));
	return false;
}

static void on_readable(struct conn_fd *c)
{
	size_t size;
	uint8_t *p = loop_scratch(c->loop, &size);
	bool more = true;

	/* What TLS keeps in its own buffers raises no event: read until it is empty. */
	for (int i = 0; more && !c->ended && (c->tls || i < MAX_READS); i++)
		more = c->tls ? read_tls(c, p, size) : read_plain(c, p, size);
}

static void on_event(void *arg, uint32_t events)
{
	struct conn_fd *c = arg;

	if (c->handshaking) {
		handshake(c);
		if (c->handshaking || c->ended)
			return;
		events |= EPOLLIN;
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) || c->read_wants_write)
		on_readable(c);
	if (c->ended)
		return;
	if (events & EPOLLOUT || c->write_wants_read) {
		c->write_wants_read = false;
		set_events(c, c->read_wants_write);
		c->base.user->writable(c->base.arg);
	}
}

static void on_pipe_writable(void *arg, uint32_t events)
{
	struct conn_fd *c = arg;

	(void)events;
	set_events(c, false);
	if (c->handshaking)
		handshake(c);
	else
		c->base.user->writable(c->base.arg);
}

static size_t write_tls(struct conn_fd *c, const uint8_t *p, size_t n)
{
	size_t done = 0, got;

	while (done < n) {
		switch (tls_write(c->tls, p + done, n - done, &got)) {
		case TLS_OK:
			done += got;
			continue;
		case TLS_WANT_READ:
			c->write_wants_read = true;
			return done;
		case TLS_WANT_WRITE:
			set_events(c, true);
			return done;
		case TLS_EOF:
			end(c, NULL);
			return done;
		case TLS_FAILED:
			end(c, tls_error(c->tls));
			return done;
		}
	}
	return done;
}

static size_t write_plain(struct conn_fd *c, const uint8_t *p, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t w = write(c->w.fd, p + done, n - done);

		if (w > 0) {
			done += (size_t)w;
		} else if (w < 0 && errno == EAGAIN) {
			set_events(c, true);
			break;
		} else if (w < 0 && errno != EINTR) {
			int why = errno;

			/* The peer may have said why before it hung up. */
			if ((why == EPIPE || why == ECONNRESET) && !c->ended)
				on_readable(c);
			end(c, err_errno(why, "write"));
			break;
		}
	}
	return done;
}

static size_t conn_fd_write(struct conn *base, const uint8_t *p, size_t n)
{
	struct conn_fd *c = container_of(base, struct conn_fd, base);

	if (c->ended || c->handshaking)
		return 0;
	return c->tls ? write_tls(c, p, n) : write_plain(c, p, n);
}

static void conn_fd_close(struct conn *base)
{
	struct conn_fd *c = container_of(base, struct conn_fd, base);

	if (!c->ended) {
		loop_io_del(c->loop, &c->r);
		if (c->w_added)
			loop_io_del(c->loop, &c->w);
		if (c->tls && !c->handshaking)
			tls_close_notify(c->tls);
		/* Unread input would turn the close into a reset, which may overtake
		 * what was just written. */
		if (c->same) {
			size_t size, seen = 0;
			uint8_t *p = loop_scratch(c->loop, &size);
			ssize_t n;

			(void)shutdown(c->r.fd, SHUT_WR);
			while (seen < DRAIN_MAX && (n = read(c->r.fd, p, size)) > 0)
				seen += (size_t)n;
		}
	}
	tls_conn_free(c->tls);
	(void)close(c->r.fd);
	if (!c->same)
		(void)close(c->w.fd);
	free(c);
}

static const struct conn_ops ops = { conn_fd_write, conn_fd_close };

static struct err *set_nonblocking(int fd)
{
	int fl = fcntl(fd, F_GETFL);

	if (fl < 0 || fcntl(fd, F_SETFL, fl | O_NONBLOCK) < 0)
		return err_errno(errno, "fcntl");
	return NULL;
}

struct err *conn_fd_new(struct loop *l, int rfd, int wfd, struct tls *tls,
			const struct conn_user *user, void *arg, struct conn **ret)
{
	struct conn_fd *c = NEW(struct conn_fd);
	struct err *e;

	c->base = (struct conn) { &ops, user, arg };
	c->loop = l;
	c->same = rfd == wfd;
	c->r = (struct loop_io) { rfd, on_event, c };
	c->w = (struct loop_io) { wfd, on_pipe_writable, c };
	e = set_nonblocking(rfd);
	if (!e && !c->same)
		e = set_nonblocking(wfd);
	if (!e && tls)
		e = tls_conn_new(tls, rfd, wfd, &c->tls);
	c->handshaking = tls != NULL;
	if (!e)
		e = loop_io_add(l, &c->r, EPOLLIN);
	if (e) {
		c->ended = true;
		conn_fd_close(&c->base);
		return e;
	}
	if (c->handshaking) /* a client speaks first */
		set_events(c, true);
	*ret = &c->base;
	return NULL;
}
