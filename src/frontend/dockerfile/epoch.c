/* SOURCE_DATE_EPOCH: a number, or a source whose time counts: the main context, a named one, or a
 * stage that does nothing but ADD one remote source to scratch. */
#include "frontend/dockerfile/plan.h"

#include "base/clock.h"
#include "codec/compress.h"
#include "codec/digest.h"
#include "codec/tar.h"

#define NAME "SOURCE_DATE_EPOCH"

struct source {
	struct llb_out out;
	struct str log_name;
};

/* A point in time, as it is printed. */
struct moment {
	bool set;
	int64_t ns;
	int zone; /* minutes east of Greenwich */
};

/* ---- a stage as the source ---- */

static struct err *apply_args(struct plan *p, const struct instr *in, struct env *env)
{
	for (size_t i = 0; i < in->n_pairs; i++) {
		const struct pair *v = &in->pairs[i];
		struct str value;

		if (!env_get(&p->build_args, v->key, &value)) {
			if (!v->has_value)
				continue;
			TRY(shell_word(&p->a, &p->shell, v->value, env, NULL, &value));
		}
		env_set(&p->a, env, v->key, value);
	}
	return NULL;
}

static struct err *add_source(struct plan *p, const struct copy_instr *c, const struct env *env,
			      struct llb_out *ret)
{
	struct str src, checksum = STR("");
	struct llb_node *n;
	struct digest d;
	struct git_ref g;
	struct err *e;

	if (c->n_contents || c->sources.len != 1)
		return err_new(ERR_UNKNOWN,
			       NAME " stage must contain exactly one remote ADD source");
	TRY(shell_word(&p->a, &p->shell, c->sources.items[0], env, NULL, &src));
	if (c->checksum.len)
		TRY(shell_word(&p->a, &p->shell, c->checksum, env, NULL, &checksum));
	if (http_is_source(&p->a, src)) {
		n = http_source(&p->a, src, http_file_name(&p->a, src), STR(""));
		if (checksum.len) {
			TRY(text_plain_err(digest_parse(checksum, &d)));
			llb_attr(&p->a, n, "http.checksum", checksum);
			llb_cap(&p->a, n, "source.http.checksum");
		}
		*ret = llb_out_of(n);
		return NULL;
	}
	if (git_ref_parse(&p->a, src, &g, &e)) {
		if (e)
			return e;
		if (!g.like_local) {
			if (c->keep_git_dir == YES)
				g.keep_git_dir = YES;
			if (checksum.len)
				g.checksum = checksum;
			g.mtime = STR("");
			g.fetch_by_commit = false;
			*ret = llb_out_of(git_source(&p->a, &g, p->df->opts.git_advice));
			return NULL;
		}
	}
	return err_new(ERR_UNKNOWN, NAME " stage source must be a single HTTP(S) or Git ADD");
}

static struct err *stage_source(struct plan *p, const struct stage_decl *s, struct llb_out *ret)
{
	struct env env = env_clone(&p->a, &p->globals);
	struct str base;

	env_del(&env, STR(NAME));
	*ret = LLB_SCRATCH;
	TRYW(shell_word(&p->a, &p->shell, s->from.args.items[0], &env, NULL, &base),
	     "failed to process source stage base name %s",
	     text_quote(&p->a, s->from.args.items[0]));
	if (!str_eq(base, STR("scratch")))
		return err_new(ERR_UNKNOWN, NAME " stage must use FROM scratch");
	for (size_t i = 0; i < s->n; i++) {
		const struct instr *in = &s->instrs[i];

		if (in->kind == INSTR_ARG) {
			TRY(apply_args(p, in, &env));
		} else if (in->kind == INSTR_ADD) {
			if (ret->node)
				return err_new(ERR_UNKNOWN,
					       NAME " stage must contain exactly one remote ADD");
			TRY(add_source(p, in->copy, &env, ret));
		} else {
			return err_new(ERR_UNKNOWN,
				       NAME " stage does not meet source-only requirements: "
					    "unsupported %.*s instruction",
				       STR_ARG(in->name));
		}
	}
	if (!ret->node)
		return err_new(ERR_UNKNOWN, NAME " stage must contain exactly one remote ADD");
	return NULL;
}

static struct err *find_source(struct plan *p, struct str value, struct source *ret)
{
	static const struct strs all = { 0 };
	struct named_context nc;
	struct named_result named;
	bool found;

	if (str_eq(value, STR("context"))) {
		ret->log_name = STR("[internal] resolve main build context metadata");
		return context_main(p->df, p->ctx, &p->a, &all, &ret->out);
	}
	TRY(named_find(p->df, &p->a, value, NULL, &found, &nc));
	if (found) {
		TRY(named_load(p->df, p->ctx, &p->a, &nc, &named));
		ret->out = named.state.out;
		ret->log_name = str_from(arena_printf(
			&p->a, "[internal] resolve " NAME " named context %.*s", STR_ARG(value)));
		return NULL;
	}
	for (size_t i = 0; i < p->file.n_stages; i++) {
		const struct stage_decl *s = &p->file.stages[i];

		if (!str_eq_nocase(s->from.stage_name, value))
			continue;
		ret->log_name = str_from(
			arena_printf(&p->a, "[internal] resolve " NAME " source stage %.*s",
				     STR_ARG(s->from.stage_name)));
		return plan_at(p, stage_source(p, s, &ret->out), s->from.loc);
	}
	return err_new(ERR_UNKNOWN, "invalid " NAME ": %.*s", STR_ARG(value));
}

/* ---- the time of a source ---- */

/* "committer NAME <EMAIL> SECONDS +ZONE" */
static bool commit_time(struct str object, struct moment *ret)
{
	struct str line, text;

	while (str_next(&object, '\n', &line) && line.len) {
		int64_t sec, zone;
		ptrdiff_t i;

		if (!str_has_prefix(line, STR("committer ")))
			continue;
		i = str_rfind(line, ' ');
		text = str_sub(line, (size_t)i + 1, line.len);
		if (!str_to_i64(str_trim_prefix(text, STR("+")), &zone))
			return false;
		line = str_sub(line, 0, (size_t)i);
		i = str_rfind(line, ' ');
		if (i < 0 || !str_to_i64(str_sub(line, (size_t)i + 1, line.len), &sec))
			return false;
		if (sec > INT64_MAX / NSEC_PER_SEC || sec < INT64_MIN / NSEC_PER_SEC)
			return false;
		*ret = (struct moment) { true, sec * NSEC_PER_SEC,
					 (int)(zone / 100 * 60 + zone % 100) };
		return true;
	}
	return false;
}

/* The newest file of an archive; nothing when it can't be read as one. */
static struct err *archive_time(struct plan *p, struct str data, struct moment *ret)
{
	CLEANUP(reader_closep) struct reader *plain = NULL;
	CLEANUP(tar_reader_freep) struct tar_reader *tar = NULL;
	enum compression type;
	struct moment newest = { 0 };
	struct err *e = decompress_auto(reader_of_str(data), &plain, &type);

	if (!e)
		tar = tar_reader_new(plain);
	while (!e) {
		SCOPED_ARENA(scratch);
		struct tar_header h;
		bool eof;

		e = tar_next(tar, &scratch, &h, &eof);
		if (!e && eof)
			break;
		if (!e && h.type == '0' && (!newest.set || h.mtime_ns > newest.ns))
			newest = (struct moment) { true, h.mtime_ns, 0 };
		if (!e)
			e = ctx_err(p->ctx);
	}
	if (!e)
		*ret = newest;
	err_free(e);
	return ctx_err(p->ctx);
}

/* The one source op of a graph; NULL when there are others. */
static struct err *only_source(struct plan *p, struct llb_out out, Pb__SourceOp **ret)
{
	Pb__Definition *def;
	Pb__SourceOp *found = NULL;

	*ret = NULL;
	TRY(llb_marshal(&p->a, out, p->df->opts.build_platform, &def, NULL));
	for (size_t i = 0; i < def->n_def; i++) {
		Pb__Op *op;

		TRY(PROTO_UNPACK(&p->a, pb__op, proto_bytes(def->def[i]), &op));
		if (op->op_case != PB__OP__OP_SOURCE)
			continue;
		if (found)
			return NULL;
		found = op->source;
	}
	*ret = found;
	return NULL;
}

static struct err *download_time(struct plan *p, const Pb__SourceOp *src, struct str file,
				 struct moment *ret)
{
	struct llb_node *n = llb_source(&p->a, str_from(src->identifier));
	CLEANUP(bridge_ref_putp) struct bridge_ref *ref = NULL;
	struct str data;

	for (size_t i = 0; i < src->n_attrs; i++)
		llb_attr(&p->a, n, src->attrs[i]->key, str_from(src->attrs[i]->value));
	TRY(df_solve(p->df, p->ctx, &p->a, llb_out_of(n), false, NULL, &ref));
	TRY(df_read_file(ref, p->ctx, &p->a, file, &data, NULL));
	return archive_time(p, data, ret);
}

static struct err *source_time(struct plan *p, const struct source *from, struct moment *ret)
{
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaRequest req =
		MOBY__BUILDKIT__V1__FRONTEND__RESOLVE_SOURCE_META_REQUEST__INIT;
	Moby__Buildkit__V1__Frontend__ResolveSourceGitRequest git =
		MOBY__BUILDKIT__V1__FRONTEND__RESOLVE_SOURCE_GIT_REQUEST__INIT;
	Moby__Buildkit__V1__Frontend__ResolveSourceMetaResponse *res;
	Pb__SourceOp *src;
	const char *file;
	struct str id;
	bool is_git, is_http;

	TRY(only_source(p, from->out, &src));
	if (!src)
		return NULL;
	id = str_from(src->identifier);
	is_git = str_has_prefix(id, STR("git://"));
	is_http = str_has_prefix(id, STR("http://")) || str_has_prefix(id, STR("https://"));
	if (!is_git && !is_http) /* has no time */
		return NULL;
	git.returnobject = true;
	req.source = src;
	req.logname = llb_text(&p->a, from->log_name);
	req.git = is_git ? &git : NULL;
	TRY(p->df->bridge->ops->resolve_source_meta(p->df->bridge, p->ctx, &req, &p->a, &res));
	if (res->git && res->git->commitobject.len) {
		if (!commit_time(proto_bytes(res->git->commitobject), ret))
			return err_new(ERR_UNKNOWN,
				       "invalid commit object: missing committer header");
		return NULL;
	}
	if (res->http && res->http->lastmodified) {
		*ret = (struct moment) { true, proto_time_ns(res->http->lastmodified), 0 };
		return NULL;
	}
	file = PROTO_MAP_GET(src->n_attrs, src->attrs, "http.filename");
	if (!is_http || !file || !file[0])
		return NULL;
	return download_time(p, src, str_from(file), ret);
}

/* ---- the argument ---- */

static struct str print_moment(struct arena *a, const struct moment *m)
{
	char *utc = clock_rfc3339(a, m->ns + (int64_t)m->zone * 60 * NSEC_PER_SEC);
	int zone = m->zone < 0 ? -m->zone : m->zone;

	if (!m->zone)
		return str_from(utc);
	return str_from(arena_printf(a, "%.*s%c%02d:%02d", (int)strlen(utc) - 1, utc,
				     m->zone < 0 ? '-' : '+', zone / 60, zone % 60));
}

static void replace(struct arena *a, struct env *env, struct str value)
{
	struct str old;

	if (!env_get(env, STR(NAME), &old))
		return;
	if (value.len)
		env_set(a, env, STR(NAME), value);
	else
		env_del(env, STR(NAME));
}

struct err *epoch_resolve(struct plan *p)
{
	struct moment m = { 0 };
	struct source from = { .out = LLB_SCRATCH };
	struct str value, text = STR("");
	int64_t sec;

	if (!env_get(&p->build_args, STR(NAME), &value) &&
	    !(env_get(&p->globals, STR(NAME), &value) && value.len))
		return NULL;
	if (str_to_i64(str_trim_prefix(value, STR("+")), &sec)) {
		if (sec > INT64_MAX / NSEC_PER_SEC || sec < INT64_MIN / NSEC_PER_SEC)
			return err_new(ERR_UNKNOWN, "invalid " NAME ": %.*s", STR_ARG(value));
		m = (struct moment) { true, sec * NSEC_PER_SEC, 0 };
	} else if (value.len) {
		TRY(find_source(p, value, &from));
		TRY(source_time(p, &from, &m));
	}
	if (m.set) {
		p->has_epoch = true;
		p->epoch = m.ns / NSEC_PER_SEC;
		p->created = print_moment(&p->a, &m);
		text = str_from(arena_printf(&p->a, "%lld", (long long)p->epoch));
	}
	replace(&p->a, &p->build_args, text);
	replace(&p->a, &p->globals, text);
	return NULL;
}
