/* Servers for the tests: one that misbehaves (badserver.py) and Debian's docker-registry. Each is
 * a child that ends with the test. */
#ifndef TESTS_REGISTRY_SERVERS_H
#define TESTS_REGISTRY_SERVERS_H

#include "base/buf.h"
#include "base/mem.h"
#include "base/task.h"
#include "content/content.h"
#include "registry/registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/types.h>

#include <cmocka.h>

#define OK(expr)                                                                                   \
	do {                                                                                       \
		struct err *ok_ = (expr);                                                          \
		if (ok_)                                                                           \
			fail_msg("%s", err_text(ok_));                                             \
	} while (0)

/* The error's text is matched as a pattern of fnmatch. */
#define FAILS(pattern, expr)                                                                       \
	do {                                                                                       \
		struct err *e_ = (expr);                                                           \
		check_error(e_, pattern, __FILE__, __LINE__);                                      \
		err_free(e_);                                                                      \
	} while (0)
void check_error(const struct err *e, const char *pattern, const char *file, int line);

struct server {
	pid_t pid;
	int in; /* closing it ends badserver.py */
	int port, other_port;
	char dir[64]; /* of docker-registry */
};

void badserver_start(struct server *s);
enum registry_kind {
	REGISTRY_HTTP,
	REGISTRY_TLS,    /* dir has ca.pem */
	REGISTRY_MUTUAL, /* client.pem and client.key are asked for; other.pem won't do */
	REGISTRY_BASIC,  /* user joe, password secret */
};
/* False when docker-registry is not installed. */
bool docker_registry_start(struct server *s, enum registry_kind kind);
void server_stop(struct server *s);
/* The requests that badserver.py saw since the last call, one JSON object a line. */
char *badserver_log(struct server *s, struct ctx *ctx);
size_t count_of(const char *text, const char *needle);

struct fixture {
	struct server server;
	struct task_pool *pool;
	struct ctx *ctx;
	struct arena arena;
	struct registry *reg;
	struct content *store;
};

/* With badserver.py, a registry client and a store in memory. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
/* A new client, for settings of its own. */
void fixture_config(struct fixture *f, const struct registry_host_config *c, size_t n);
/* 127.0.0.1:PORT/name, of the server. */
struct imageref fixture_ref(struct fixture *f, const char *name);

/* An image of two layers in the store; returns its manifest. salt makes another one. */
struct oci_descriptor image_make(struct fixture *f, const char *salt, size_t layer_size);

/* Credentials joe:secret. */
extern const struct registry_auth auth_joe;

#endif
