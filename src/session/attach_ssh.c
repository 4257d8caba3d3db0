/* ssh-agent forwarding, read-only: what would change the agent is answered here. One request after
 * the other, as the agent protocol has it (draft-miller-ssh-agent): 4 bytes of length, then a type
 * byte and the rest. */
#include "session/attach_internal.h"

#include "base/limits.h"
#include "sys/unixsock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define DEFAULT_ID "default"
#define MAX_MESSAGE (256 * KIB)

enum {
	AGENT_FAILURE = 5,
	AGENTC_REQUEST_IDENTITIES = 11,
	AGENTC_SIGN_REQUEST = 13,
};

struct err *attach_add_ssh_socket(struct attach *a, const char *id, const char *socket_path)
{
	const char *path = socket_path && *socket_path ? socket_path : getenv("SSH_AUTH_SOCK");
	struct str key = id && *id ? str_from(id) : STR(DEFAULT_ID);
	struct stat st;

	if (!path || !*path)
		return err_new(ERR_INVALID_ARGUMENT,
			       "invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set");
	if (map_has(&a->ssh, key))
		return err_new(ERR_INVALID_ARGUMENT, "duplicate agent ID \"%.*s\"", STR_ARG(key));
	if (stat(path, &st) < 0)
		return err_errno(errno, "stat %s", path);
	if (!S_ISSOCK(st.st_mode))
		return err_new(ERR_UNIMPLEMENTED,
			       "ssh key file %s is not supported: use the socket of an agent",
			       path);
	(void)map_put(&a->ssh, key, mem_strdup(path));
	return NULL;
}

static struct err *find(struct attach *a, struct str id, const char **ret)
{
	if (!id.len)
		id = STR(DEFAULT_ID);
	*ret = map_get(&a->ssh, id);
	if (!*ret)
		return err_new(ERR_UNKNOWN, "unset ssh forward key %.*s", STR_ARG(id));
	return NULL;
}

struct err *attach_ssh_check(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	Moby__Sshforward__V1__CheckAgentRequest *q;
	Moby__Sshforward__V1__CheckAgentResponse r =
		MOBY__SSHFORWARD__V1__CHECK_AGENT_RESPONSE__INIT;
	SCOPED_ARENA(mem);
	const char *path;

	TRY(grpc_recv_request(s, ctx, &mem, &moby__sshforward__v1__check_agent_request__descriptor,
			      &q));
	TRY(find(arg, str_from(q->id), &path));
	return grpc_send_msg(s, ctx, &r);
}

/* ---- the relay ---- */

struct relay {
	struct ctx *ctx;
	struct grpc_stream *st;
	int fd;
	struct buf in; /* from the stream, not yet a whole request */
	struct buf msg, scratch;
};

static struct err *wait_fd(struct relay *r, short events)
{
	struct pollfd p = { .fd = r->fd, .events = events };
	int ready;

	return ctx_poll(r->ctx, &p, 1, -1, &ready);
}

static size_t frame_size(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return 4 + ((size_t)u[0] << 24 | (size_t)u[1] << 16 | (size_t)u[2] << 8 | u[3]);
}

static struct err *check_size(size_t n)
{
	if (n <= 4 || n > MAX_MESSAGE)
		return err_new(ERR_INVALID_ARGUMENT, "ssh agent message of %zu bytes", n);
	return NULL;
}

/* A whole request at the start of r->in; *ret_n 0 at the end. */
static struct err *next_request(struct relay *r, size_t *ret_n)
{
	struct str data;
	bool eof;

	for (;;) {
		if (r->in.len >= 4) {
			size_t n = frame_size(r->in.data);

			TRY(check_size(n));
			if (r->in.len >= n) {
				*ret_n = n;
				return NULL;
			}
		}
		TRY(grpc_recv(r->st, r->ctx, &r->msg, &eof));
		if (eof) {
			*ret_n = 0;
			return NULL;
		}
		TRY(bytes_parse(buf_str(&r->msg), &data));
		buf_add_str(&r->in, data);
		TRY(buf_check(&r->in, "ssh agent request"));
	}
}

static struct err *to_agent(struct relay *r, struct str data)
{
	while (data.len) {
		ssize_t n = send(r->fd, data.ptr, data.len, MSG_NOSIGNAL);

		if (n >= 0)
			data = str_sub(data, (size_t)n, data.len);
		else if (errno == EAGAIN)
			TRY(wait_fd(r, POLLOUT));
		else if (errno != EINTR)
			return err_errno(errno, "write to ssh agent");
	}
	return NULL;
}

static struct err *from_agent(struct relay *r, char *p, size_t len)
{
	while (len) {
		ssize_t n = recv(r->fd, p, len, 0);

		if (n == 0)
			return err_new(ERR_UNAVAILABLE, "ssh agent closed the connection");
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			TRY(wait_fd(r, POLLIN));
		} else if (errno != EINTR) {
			return err_errno(errno, "read from ssh agent");
		}
	}
	return NULL;
}

static struct err *answer(struct relay *r)
{
	SCOPED_BUF(reply, MAX_MESSAGE);
	char *p = buf_reserve(&reply, MAX_MESSAGE);
	size_t n;

	TRY(from_agent(r, p, 4));
	n = frame_size(p);
	TRY(check_size(n));
	TRY(from_agent(r, p + 4, n - 4));
	return bytes_send(r->st, r->ctx, str_make(p, n), &r->scratch);
}

static struct err *relay(struct relay *r)
{
	static const char refused[] = { 0, 0, 0, 1, AGENT_FAILURE };

	for (;;) {
		size_t n;
		unsigned char type;

		TRY(next_request(r, &n));
		if (!n)
			return NULL;
		type = (unsigned char)r->in.data[4];
		if (type == AGENTC_REQUEST_IDENTITIES || type == AGENTC_SIGN_REQUEST) {
			TRY(to_agent(r, str_make(r->in.data, n)));
			TRY(answer(r));
		} else {
			TRY(bytes_send(r->st, r->ctx, str_make(refused, sizeof(refused)),
				       &r->scratch));
		}
		buf_consume(&r->in, n);
	}
}

struct err *attach_ssh_forward(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	CLEANUP_FD int fd = -1;
	struct relay r = { .ctx = ctx, .st = s };
	const char *path;
	struct err *e;

	TRY(find(arg, grpc_md_get(s, SSH_ID_KEY), &path));
	TRYW(unixsock_connect(path, &fd), "failed to connect to %s", path);
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	r.fd = fd;
	buf_init(&r.in, 2 * MAX_MESSAGE);
	buf_init(&r.msg, LIMIT_GRPC_MESSAGE);
	buf_init(&r.scratch, MAX_MESSAGE + 64);
	e = relay(&r);
	buf_fini(&r.in);
	buf_fini(&r.msg);
	buf_fini(&r.scratch);
	return e;
}
