#include "cli/build_opts.h"

#include "base/id.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/task.h"
#include "cli/daemonless.h"
#include "cli/metadata.h"
#include "cli/status.h"
#include "cli/subrequest.h"
#include "codec/digest.h"
#include "codec/io.h"
#include "grpc/message.h"
#include "session/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static struct err *run(struct cli *c, int argc, char **argv);

const struct cmd cmd_build = { .name = "build", .alias = "b", .usage = "build", .run = run };

struct build {
	struct cli *c;
	struct build_opts o;
	char ref[ID_LEN + 1];
	struct attach *attach;
	struct display *display;
	int trace_fd;
	Moby__Buildkit__V1__SolveRequest req;
	Moby__Buildkit__V1__SolveResponse *reply;
	struct buf answer; /* of a subrequest */
};

/* ---- what the client offers ---- */

static struct err *add_secret(struct build *b, const char *text)
{
	const char *id = NULL, *src = NULL, *env = NULL, *type = NULL;
	struct arena *a = b->c->arena;
	struct str *f;
	size_t n;

	TRY(cli_csv(a, text, &f, &n));
	for (size_t i = 0; i < n; i++) {
		struct str k, v;

		if (!str_cut(f[i], '=', &k, &v))
			return err_new(ERR_INVALID_ARGUMENT,
				       "invalid field '%.*s' must be a key=value pair",
				       STR_ARG(f[i]));
		if (str_eq_nocase(k, STR("id")))
			id = str_cstr(a, v);
		else if (str_eq_nocase(k, STR("src")) || str_eq_nocase(k, STR("source")))
			src = str_cstr(a, v);
		else if (str_eq_nocase(k, STR("env")))
			env = str_cstr(a, v);
		else if (str_eq_nocase(k, STR("type")))
			type = str_cstr(a, v);
		else
			return err_new(ERR_INVALID_ARGUMENT, "unexpected key '%.*s' in '%.*s'",
				       STR_ARG(k), STR_ARG(f[i]));
	}
	if (type && strcmp(type, "env") != 0 && strcmp(type, "file") != 0)
		return err_new(ERR_INVALID_ARGUMENT, "unsupported secret type \"%s\"", type);
	if (!id)
		return err_new(ERR_INVALID_ARGUMENT, "secret id is required: %s", text);
	if (type && strcmp(type, "env") == 0 && !env)
		env = src, src = NULL;
	if (env)
		return attach_add_secret_env(b->attach, id, env);
	if (!src && !type && getenv(id))
		return attach_add_secret_env(b->attach, id, id);
	return attach_add_secret_file(b->attach, id, src ? src : id);
}

static struct err *add_ssh(struct build *b, const char *text)
{
	struct str id, rest, sock;

	if (str_cut(str_from(text), '=', &id, &rest)) {
		(void)str_cut(rest, ',', &sock, &rest);
	} else {
		const char *agent = getenv("SSH_AUTH_SOCK");

		if (!agent || !*agent)
			return err_new(
				ERR_INVALID_ARGUMENT,
				"invalid empty ssh agent socket, make sure SSH_AUTH_SOCK is set");
		sock = str_from(agent);
	}
	return attach_add_ssh_socket(b->attach, str_cstr(b->c->arena, id),
				     str_cstr(b->c->arena, sock));
}

static struct err *add_output(struct build *b, int index, const struct build_output *o)
{
	bool tar = true;
	struct stat st;
	int fd;

	for (size_t i = 0; i < o->n_attrs; i++)
		if (str_eq_cstr(o->attrs[i].key, "tar"))
			(void)str_to_bool(o->attrs[i].value, &tar);
	if (o->to_stdout) {
		fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
		if (fd < 0)
			return err_errno(errno, "dup stdout");
		return attach_add_export_fd(b->attach, index, fd);
	}
	if (!o->dest)
		return NULL;
	if (strcmp(o->type, "local") == 0) {
		bool mirror = false;

		for (size_t i = 0; i < o->n_attrs; i++)
			if (str_eq_cstr(o->attrs[i].key, "mode"))
				mirror = str_eq_cstr(o->attrs[i].value, "delete");
		return attach_add_export_dir(b->attach, index, o->dest, mirror);
	}
	if (!tar)
		return attach_add_content_dir(b->attach, "export", o->dest, true);
	if (stat(o->dest, &st) == 0 && S_ISDIR(st.st_mode))
		return err_new(ERR_INVALID_ARGUMENT, "destination file %s is a directory", o->dest);
	fd = open(o->dest, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return err_errno(errno, "open %s", o->dest);
	return attach_add_export_fd(b->attach, index, fd);
}

static struct err *fill_attach(struct build *b)
{
	const struct build_opts *o = &b->o;
	struct arena *a = b->c->arena;

	TRY(attach_add_auth(b->attach));
	for (size_t i = 0; i < o->n_locals; i++)
		TRY(attach_add_local(b->attach, str_cstr(a, o->locals[i].key),
				     str_cstr(a, o->locals[i].value)));
	for (size_t i = 0; i < o->n_oci_layouts; i++)
		TRY(attach_add_content_dir(
			b->attach, arena_printf(a, "oci:%.*s", STR_ARG(o->oci_layouts[i].key)),
			str_cstr(a, o->oci_layouts[i].value), false));
	for (size_t i = 0; i < o->secrets.n; i++)
		TRY(add_secret(b, o->secrets.items[i]));
	for (size_t i = 0; i < o->ssh.n; i++)
		TRY(add_ssh(b, o->ssh.items[i]));
	for (size_t i = 0; i < o->n_outputs; i++)
		TRY(add_output(b, (int)i, &o->outputs[i]));
	return NULL;
}

/* ---- the request ---- */

#define MAP_ENTRIES(a, type, init, pairs, n, to, n_to)                                             \
	do {                                                                                       \
		(to) = ARENA_NEW_N((a), type *, (n) + 1);                                          \
		for (size_t i_ = 0; i_ < (n); i_++) {                                              \
			type *e_ = ARENA_NEW((a), type);                                           \
			init(e_);                                                                  \
			e_->key = str_cstr((a), (pairs)[i_].key);                                  \
			e_->value = str_cstr((a), (pairs)[i_].value);                              \
			(to)[i_] = e_;                                                             \
		}                                                                                  \
		(n_to) = (n);                                                                      \
	} while (0)

static Moby__Buildkit__V1__CacheOptionsEntry **cache_entries(struct arena *a,
							     const struct build_cache_opt *o,
							     size_t n)
{
	Moby__Buildkit__V1__CacheOptionsEntry **out =
		ARENA_NEW_N(a, Moby__Buildkit__V1__CacheOptionsEntry *, n + 1);

	for (size_t i = 0; i < n; i++) {
		out[i] = ARENA_NEW(a, Moby__Buildkit__V1__CacheOptionsEntry);
		moby__buildkit__v1__cache_options_entry__init(out[i]);
		out[i]->type = (char *)o[i].type;
		MAP_ENTRIES(a, Moby__Buildkit__V1__CacheOptionsEntry__AttrsEntry,
			    moby__buildkit__v1__cache_options_entry__attrs_entry__init, o[i].attrs,
			    o[i].n_attrs, out[i]->attrs, out[i]->n_attrs);
	}
	return out;
}

/* LLB from standard input; --no-cache marks every op. */
static struct err *read_definition(struct build *b)
{
	struct arena *a = b->c->arena;
	CLEANUP(reader_closep) struct reader *in = reader_of_fd(STDIN_FILENO, false);
	SCOPED_BUF(raw, LIMIT_GRPC_MESSAGE);
	Pb__Definition *def;

	if (isatty(STDIN_FILENO))
		return err_new(ERR_INVALID_ARGUMENT,
			       "please specify --frontend or pipe LLB definition to stdin");
	TRYW(reader_read_all(in, &raw), "failed to read definition");
	TRY(PROTO_UNPACK(a, pb__definition, buf_str(&raw), &def));
	if (!def->n_def)
		return err_new(ERR_INVALID_ARGUMENT,
			       "empty definition sent to build. Specify --frontend instead?");
	if (b->o.no_cache) {
		/* Ops without metadata get some, since that is where the mark is. */
		Pb__Definition__MetadataEntry **all = ARENA_NEW_N(
			a, Pb__Definition__MetadataEntry *, def->n_metadata + def->n_def);
		size_t n = 0;

		for (; n < def->n_metadata; n++)
			all[n] = def->metadata[n];
		for (size_t i = 0; i < def->n_def; i++) {
			struct digest d = digest_sha256(proto_bytes(def->def[i]));
			char *key = digest_text(&d, a);

			if (PROTO_MAP_FIND(def->n_metadata, def->metadata, key))
				continue;
			all[n] = ARENA_NEW(a, Pb__Definition__MetadataEntry);
			pb__definition__metadata_entry__init(all[n]);
			all[n]->key = key;
			all[n]->value = ARENA_NEW(a, Pb__OpMetadata);
			pb__op_metadata__init(all[n]->value);
			n++;
		}
		for (size_t i = 0; i < n; i++)
			all[i]->value->ignore_cache = true;
		def->metadata = all;
		def->n_metadata = n;
	}
	b->req.definition = def;
	return NULL;
}

static struct err *make_request(struct build *b)
{
	struct arena *a = b->c->arena;
	const struct build_opts *o = &b->o;
	Moby__Buildkit__V1__SolveRequest *r = &b->req;
	Moby__Buildkit__V1__CacheOptions *cache = ARENA_NEW(a, Moby__Buildkit__V1__CacheOptions);

	moby__buildkit__v1__solve_request__init(r);
	r->ref = b->ref;
	r->session = (char *)attach_id(b->attach);
	r->entitlements = o->allow.items;
	r->n_entitlements = o->allow.n;
	if (o->frontend)
		r->frontend = (char *)o->frontend;
	else
		TRY(read_definition(b));
	MAP_ENTRIES(a, Moby__Buildkit__V1__SolveRequest__FrontendAttrsEntry,
		    moby__buildkit__v1__solve_request__frontend_attrs_entry__init, o->opts,
		    o->n_opts, r->frontendattrs, r->n_frontendattrs);
	r->exporters = ARENA_NEW_N(a, Moby__Buildkit__V1__Exporter *, o->n_outputs + 1);
	r->n_exporters = o->n_outputs;
	for (size_t i = 0; i < o->n_outputs; i++) {
		Moby__Buildkit__V1__Exporter *e = ARENA_NEW(a, Moby__Buildkit__V1__Exporter);

		moby__buildkit__v1__exporter__init(e);
		e->type = (char *)o->outputs[i].type;
		MAP_ENTRIES(a, Moby__Buildkit__V1__Exporter__AttrsEntry,
			    moby__buildkit__v1__exporter__attrs_entry__init, o->outputs[i].attrs,
			    o->outputs[i].n_attrs, e->attrs, e->n_attrs);
		r->exporters[i] = e;
	}
	moby__buildkit__v1__cache_options__init(cache);
	cache->exports = cache_entries(a, o->cache_exports, o->n_cache_exports);
	cache->n_exports = o->n_cache_exports;
	cache->imports = cache_entries(a, o->cache_imports, o->n_cache_imports);
	cache->n_imports = o->n_cache_imports;
	r->cache = cache;
	return NULL;
}

/* ---- the three things that go on at once ---- */

static struct err *serve_session(struct ctx *ctx, void *arg)
{
	struct build *b = arg;

	return attach_run(b->attach, ctx, b->c->client);
}

static struct err *follow(struct ctx *ctx, void *arg)
{
	struct build *b = arg;

	return cli_follow(b->c, ctx, b->ref, b->display, b->trace_fd);
}

static bool is_subrequest(const struct build *b)
{
	for (size_t i = 0; i < b->o.n_opts; i++)
		if (str_eq_cstr(b->o.opts[i].key, "requestid"))
			return true;
	return false;
}

static struct err *solve(struct build *b)
{
	struct ctx *session_ctx = ctx_new(b->c->ctx), *status_ctx = ctx_new(b->c->ctx);
	struct task *session = task_start(session_ctx, "session", serve_session, b);
	struct task *status = task_start(status_ctx, "status", follow, b);
	struct err *e, *es;

	if (is_subrequest(b))
		e = cli_subrequest(b->c, &b->req, &b->answer);
	else
		e = grpc_unary_msg(b->c->client, b->c->ctx, "/moby.buildkit.v1.Control/Solve", NULL,
				   0, &b->req, b->c->arena,
				   &moby__buildkit__v1__solve_response__descriptor, &b->reply);
	/* The stream ends by itself, since the build has; but a lost daemon must not hold us. */
	if (e && (err_is(e, ERR_UNAVAILABLE) || ctx_done(b->c->ctx)))
		ctx_cancel(status_ctx, NULL);
	es = task_wait(status);
	ctx_cancel(session_ctx, NULL);
	err_free(task_wait(session));
	ctx_unref(session_ctx);
	ctx_unref(status_ctx);
	/* Without a build there is no status: that is not the news. */
	if (e)
		err_free(es);
	else
		e = es;
	return e;
}

static struct err *write_small_file(const char *path, const char *text)
{
	CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return err_errno(errno, "write %s", path);
	return NULL;
}

static struct err *build(struct build *b)
{
	struct err *e;

	if (b->o.trace_file) {
		b->trace_fd =
			open(b->o.trace_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		if (b->trace_fd < 0)
			return err_errno(errno, "open %s", b->o.trace_file);
	}
	TRY(fill_attach(b));
	TRY(make_request(b));
	TRY(cli_connect(b->c));
	b->display = display_new(b->o.display, STDERR_FILENO);
	e = solve(b);
	display_finish(b->display, e);
	if (e)
		return err_wrap(e, "failed to solve");
	fwrite(buf_cstr(&b->answer), 1, b->answer.len, stdout);
	if (b->o.metadata_file && b->reply)
		TRY(cli_write_metadata(b->c->arena, b->o.metadata_file, b->reply));
	if (b->o.ref_file)
		TRY(write_small_file(b->o.ref_file, b->ref));
	return NULL;
}

static struct err *run(struct cli *c, int argc, char **argv)
{
	struct build b = { .c = c, .trace_fd = -1, .answer = BUF_INIT(LIMIT_GRPC_MESSAGE) };
	struct daemonless *d = NULL;
	struct err *e = NULL;

	TRY(build_opts_parse(c, argc, argv, &b.o));
	if (b.o.help)
		return NULL;
	if (b.o.daemonless)
		TRY(daemonless_start(c, &d));
	id_make(b.ref);
	b.attach = attach_new(c->ctx, c->loop);
	e = build(&b);
	display_free(b.display);
	if (b.trace_fd >= 0)
		(void)close(b.trace_fd);
	if (d)
		cli_disconnect(c);
	attach_free(b.attach);
	buf_fini(&b.answer);
	return err_first(e, d ? daemonless_stop(d) : NULL);
}
