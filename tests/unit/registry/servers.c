#include "servers.h"

#include "base/limits.h"
#include "registry/httpc.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Of the password "secret". */
#define HTPASSWD_JOE "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"

void check_error(const struct err *e, const char *pattern, const char *file, int line)
{
	if (e && fnmatch(pattern, err_text(e), 0) == 0)
		return;
	print_error("got:  %s\nwant: %s\n", e ? err_text(e) : "(success)", pattern);
	_fail(file, line);
}

static pid_t spawn(const char *const *argv, int in, int out)
{
	posix_spawn_file_actions_t fa;
	pid_t pid;

	assert_int_equal(posix_spawn_file_actions_init(&fa), 0);
	if (in >= 0)
		(void)posix_spawn_file_actions_adddup2(&fa, in, 0);
	if (out >= 0)
		(void)posix_spawn_file_actions_adddup2(&fa, out, 1);
	if (in == out) /* both nowhere: errors, too */
		(void)posix_spawn_file_actions_adddup2(&fa, out, 2);
	assert_int_equal(posix_spawnp(&pid, argv[0], &fa, NULL, (char **)argv, environ), 0);
	(void)posix_spawn_file_actions_destroy(&fa);
	return pid;
}

void badserver_start(struct server *s)
{
	const char *argv[] = { "python3", BADSERVER, NULL };
	int in[2], out[2];
	char line[64];
	size_t len;
	ssize_t n;

	*s = (struct server) { .in = -1 };
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	s->pid = spawn(argv, in[0], out[1]);
	(void)close(in[0]);
	(void)close(out[1]);
	s->in = in[1];
	for (len = 0; !len || line[len - 1] != '\n'; len += (size_t)n) {
		n = read(out[0], line + len, sizeof(line) - 1 - len);
		assert_true(n > 0);
	}
	line[len] = '\0';
	assert_int_equal(sscanf(line, "%d %d", &s->port, &s->other_port), 2);
	(void)close(out[0]);
}

static int free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (void *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (void *)&a, &len), 0);
	(void)close(fd);
	return ntohs(a.sin_port);
}

static void run_ok(const char *const *argv)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), status = -1;
	pid_t pid = spawn(argv, null, null);

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	(void)close(null);
}

static void write_file(const char *dir, const char *name, const char *fmt, ...)
{
	char path[128];
	va_list ap;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	va_start(ap, fmt);
	(void)vfprintf(f, fmt, ap);
	va_end(ap);
	assert_int_equal(fclose(f), 0);
}

/* ca.pem; cert.pem of the server and client.pem signed by it; other.pem signed by itself. */
static void make_certificates(const char *dir)
{
	char script[2048];
	const char *argv[] = { "sh", "-c", script, NULL };

	(void)snprintf(
		script, sizeof(script),
		"set -e; cd %s; new() { openssl req -newkey rsa:2048 -nodes -keyout $1.key -out "
		"$1.req "
		"-subj /CN=$2; openssl x509 -req -in $1.req -CA ca.pem -CAkey ca.key "
		"-CAcreateserial "
		"-days 2 -extfile ext -out $1.pem; }; self() { openssl req -x509 -newkey rsa:2048 "
		"-nodes -keyout $1.key -out $1.pem -days 2 -subj /CN=$1; }; "
		"echo subjectAltName=DNS:localhost,IP:127.0.0.1 > ext; "
		"self ca; self other; new cert localhost; new client someone",
		dir);
	run_ok(argv);
}

static void wait_listening(struct server *s)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	a.sin_port = htons((uint16_t)s->port);
	for (int i = 0; i < 1000; i++) {
		struct timespec pause = { 0, 10 * 1000 * 1000 };
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		bool up = connect(fd, (void *)&a, sizeof(a)) == 0;

		(void)close(fd);
		if (up)
			return;
		(void)nanosleep(&pause, NULL);
	}
	fail_msg("docker-registry does not come up");
}

bool docker_registry_start(struct server *s, enum registry_kind kind)
{
	char config[128];
	const char *argv[] = { "/usr/bin/docker-registry", "serve", config, NULL };
	char tls_text[512] = "", auth_text[256] = "";
	int log;

	*s = (struct server) { .in = -1 };
	if (access(argv[0], X_OK) != 0)
		return false;
	(void)snprintf(s->dir, sizeof(s->dir), "/tmp/test-registry-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	s->port = free_port();
	if (kind == REGISTRY_TLS || kind == REGISTRY_MUTUAL) {
		int n;

		make_certificates(s->dir);
		n = snprintf(tls_text, sizeof(tls_text),
			     "  tls:\n    certificate: %s/cert.pem\n    key: %s/cert.key\n", s->dir,
			     s->dir);
		if (kind == REGISTRY_MUTUAL)
			(void)snprintf(tls_text + n, sizeof(tls_text) - (size_t)n,
				       "    clientcas:\n      - %s/ca.pem\n", s->dir);
	}
	if (kind == REGISTRY_BASIC) {
		write_file(s->dir, "htpasswd", "%s\n", "joe:" HTPASSWD_JOE);
		(void)snprintf(auth_text, sizeof(auth_text),
			       "auth:\n  htpasswd:\n    realm: test\n    path: %s/htpasswd\n",
			       s->dir);
	}
	write_file(s->dir, "config.yml",
		   "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n"
		   "storage:\n  filesystem:\n    rootdirectory: %s/data\nhttp:\n"
		   "  addr: 127.0.0.1:%d\n%s%s",
		   s->dir, s->port, tls_text, auth_text);
	(void)snprintf(config, sizeof(config), "%s/config.yml", s->dir);
	log = open("/dev/null", O_RDWR | O_CLOEXEC);
	s->pid = spawn(argv, log, log);
	(void)close(log);
	wait_listening(s);
	return true;
}

void server_stop(struct server *s)
{
	const char *argv[] = { "rm", "-rf", s->dir, NULL };

	if (s->in >= 0)
		(void)close(s->in);
	if (s->pid > 0) {
		(void)kill(s->pid, SIGTERM);
		(void)waitpid(s->pid, NULL, 0);
	}
	if (s->dir[0])
		run_ok(argv);
	*s = (struct server) { .in = -1 };
}

char *badserver_log(struct server *s, struct ctx *ctx)
{
	struct httpc *c = httpc_new("test");
	SCOPED_ARENA(a);
	struct httpc_request rq = { .url = str_from(arena_printf(&a, "http://127.0.0.1:%d/_log",
								 s->port)) };
	struct httpc_response r;
	char *text;

	OK(httpc_do(c, ctx, &a, &rq, &r));
	text = str_heap(r.body);
	httpc_free(c);
	return text;
}

size_t count_of(const char *text, const char *needle)
{
	size_t n = 0;

	while ((text = strstr(text, needle))) {
		n++;
		text++;
	}
	return n;
}

/* ---- fixture ---- */

int fixture_setup(void **state)
{
	struct fixture *f = NEW(struct fixture);

	badserver_start(&f->server);
	f->pool = task_pool_new();
	f->ctx = ctx_new_root(f->pool);
	f->store = content_new_mem();
	OK(registry_new(NULL, 0, 0, "buildkit/v0", &f->reg));
	*state = f;
	return 0;
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	registry_free(f->reg);
	content_free(f->store);
	ctx_unref(f->ctx);
	task_pool_free(f->pool);
	arena_fini(&f->arena);
	server_stop(&f->server);
	free(f);
	return 0;
}

void fixture_config(struct fixture *f, const struct registry_host_config *c, size_t n)
{
	registry_free(f->reg);
	OK(registry_new(c, n, 0, "buildkit/v0", &f->reg));
}

struct imageref fixture_ref(struct fixture *f, const char *name)
{
	char *text = arena_printf(&f->arena, "127.0.0.1:%d/%s", f->server.port, name);
	struct imageref r;

	OK(imageref_parse(&f->arena, str_from(text), &r));
	return r;
}

static struct oci_descriptor put(struct fixture *f, struct str data, const char *type)
{
	struct oci_descriptor d = { .media_type = str_from(type), .size = (int64_t)data.len };

	OK(content_write_blob(f->store, f->ctx, data, NULL, 0, &d.digest));
	return d;
}

struct oci_descriptor image_make(struct fixture *f, const char *salt, size_t layer_size)
{
	struct oci_descriptor layers[2];
	struct oci_manifest m = { .media_type = STR(OCI_MANIFEST),
				  .layers = layers,
				  .n_layers = 2 };
	SCOPED_BUF(b, MIB * 64);

	for (int i = 0; i < 2; i++) {
		buf_clear(&b);
		buf_addf(&b, "layer %d of %s\n", i, salt);
		while (b.len < layer_size)
			buf_addf(&b, "%zu %s\n", b.len, salt);
		layers[i] = put(f, buf_str(&b), OCI_LAYER_GZIP);
	}
	buf_clear(&b);
	buf_addf(&b, "{\"architecture\":\"amd64\",\"os\":\"linux\",\"author\":\"%s\"}", salt);
	m.config = put(f, buf_str(&b), OCI_CONFIG);
	buf_clear(&b);
	oci_print_manifest(&m, &b);
	return put(f, buf_str(&b), OCI_MANIFEST);
}

static struct err *joe(void *arg, struct ctx *ctx, struct arena *a, struct str host,
		       struct str *ret_user, struct str *ret_secret)
{
	*ret_user = STR("joe");
	*ret_secret = STR("secret");
	return NULL;
}

const struct registry_auth auth_joe = { .credentials = joe, .key = { "joe", 3 } };
