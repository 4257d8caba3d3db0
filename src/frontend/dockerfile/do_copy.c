/* COPY and ADD. */
#include "frontend/dockerfile/plan.h"

#include "base/buf.h"
#include "base/id.h"
#include "base/path.h"
#include "codec/digest.h"
#include "frontend/dockerfile/paths.h"

struct copy {
	struct doing *d;
	struct arena *a;
	struct copy_instr *in;
	const struct platform *os;
	struct llb_node *n; /* the file op */
	struct llb_out source;
	struct str dest, name;
	int32_t mode; /* -1: as it is */
	struct str mode_text;
};

/* ---- --chmod ---- */

/* [ugoa]*([-+=][rwxXstugo]*)+ between commas */
static bool valid_symbolic(struct str s)
{
	struct str clause;

	while (str_next(&s, ',', &clause)) {
		size_t i = 0;

		while (i < clause.len && strchr("ugoa", clause.ptr[i]))
			i++;
		if (i == clause.len || !strchr("-+=", clause.ptr[i]))
			return false;
		for (; i < clause.len; i++)
			if (!strchr("-+=rwxXstugo", clause.ptr[i]))
				return false;
	}
	return true;
}

static struct err *parse_mode(struct copy *c)
{
	struct str text = c->in->chmod;
	uint32_t mode = 0;
	bool octal = text.len > 0, range = false;

	c->mode = -1;
	if (!text.len)
		return NULL;
	for (size_t i = 0; i < text.len && octal; i++) {
		octal = text.ptr[i] >= '0' && text.ptr[i] <= '7';
		mode = mode * 8 + (uint32_t)(text.ptr[i] - '0');
		range |= mode > 07777;
	}
	if ((octal && range) || (!octal && text.ptr[0] >= '0' && text.ptr[0] <= '9'))
		return err_new(ERR_UNKNOWN,
			       "invalid chmod parameter: '%.*s'. it should be octal string and "
			       "between 0 and 07777",
			       STR_ARG(text));
	if (octal) {
		c->mode = (int32_t)mode;
		return NULL;
	}
	if (!valid_symbolic(text))
		return err_new(ERR_UNKNOWN, "invalid syntax");
	c->mode = 0;
	c->mode_text = text;
	return NULL;
}

/* ---- one source ---- */

/* What all copies of an instruction have. */
static Pb__FileActionCopy *add_copy(struct copy *c, struct llb_out from, struct str src)
{
	Pb__FileActionCopy *action =
		llb_copy(c->a, c->n, from, paths_clean(c->a, STR("/"), src, false),
			 paths_clean(c->a, STR("/"), c->dest, true));

	action->mode = c->mode;
	action->modestr = llb_text(c->a, c->mode_text);
	action->createdestpath = true;
	action->owner = llb_chown(c->a, c->in->chown);
	action->n_exclude_patterns = c->in->excludes.len;
	action->exclude_patterns = ARENA_NEW_N(c->a, char *, c->in->excludes.len);
	for (size_t i = 0; i < c->in->excludes.len; i++)
		action->exclude_patterns[i] = llb_text(c->a, c->in->excludes.items[i]);
	return action;
}

static struct err *add_git(struct copy *c, struct git_ref *g)
{
	struct llb_node *n;

	if (c->d->in->kind != INSTR_ADD)
		return err_new(ERR_UNKNOWN, "source can't be a git ref for COPY");
	if (c->in->keep_git_dir && g->keep_git_dir && c->in->keep_git_dir != g->keep_git_dir)
		return err_new(ERR_UNKNOWN, "inconsistent keep-git-dir configuration");
	/* What one URL says counts for those that follow, too. */
	if (g->keep_git_dir)
		c->in->keep_git_dir = g->keep_git_dir;
	g->keep_git_dir = c->in->keep_git_dir;
	if (c->in->checksum.len && g->checksum.len && !str_eq(c->in->checksum, g->checksum))
		return err_new(ERR_UNKNOWN, "checksum mismatch %s != %s",
			       text_quote(c->a, c->in->checksum), text_quote(c->a, g->checksum));
	if (g->checksum.len)
		c->in->checksum = g->checksum;
	g->checksum = c->in->checksum;
	g->mtime = STR("");
	n = git_source(c->a, g, c->d->p->df->opts.git_advice);
	llb_name(c->a, n, c->name);
	add_copy(c, llb_out_of(n), STR("/"));
	return NULL;
}

static struct err *add_http(struct copy *c, struct str src)
{
	struct str file = http_file_name(c->a, src);
	struct llb_node *n;
	struct digest d;

	if (c->d->in->kind != INSTR_ADD)
		return err_new(ERR_UNKNOWN, "source can't be a URL for COPY");
	n = http_source(c->a, src, file, c->name);
	llb_describe(c->a, n, "com.docker.dockerfile.v1.command", STR(""));
	if (c->in->checksum.len) {
		TRY(text_plain_err(digest_parse(c->in->checksum, &d)));
		llb_attr(c->a, n, "http.checksum", c->in->checksum);
		llb_cap(c->a, n, "source.http.checksum");
	}
	add_copy(c, llb_out_of(n), file)->attemptunpackdockercompatibility = c->in->unpack == YES;
	return NULL;
}

static bool has_wildcards(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '\\')
			i++;
		else if (strchr("*?[", s.ptr[i]))
			return true;
	}
	return false;
}

static char **one_text(struct arena *a, struct str s)
{
	char **list = ARENA_NEW_N(a, char *, 1);

	list[0] = llb_text(a, s);
	return list;
}

static struct err *add_files(struct copy *c, struct str src)
{
	struct str pattern = STR("/"), required = STR("");
	ptrdiff_t pivot = str_find_str(src, STR("/./"));
	Pb__FileActionCopy *action;

	check_copy_source(c->d, src);
	if (c->in->parents) { /* dir/./kept/path: what is behind the dot is kept */
		pattern = pivot < 0 ? src : str_sub(src, (size_t)pivot + 3, src.len);
		src = pivot < 0 ? STR("/") : str_sub(src, 0, (size_t)pivot);
		pattern = paths_absolute(c->a, STR("/"), pattern, c->os, false);
		if (!has_wildcards(src) && !has_wildcards(pattern))
			required = paths_absolute(c->a, STR("/"), path_join(c->a, src, pattern),
						  c->os, false);
	}
	action = add_copy(c, c->source, paths_absolute(c->a, STR("/"), src, c->os, false));
	action->followsymlink = true;
	action->dircopycontents = true;
	action->allowwildcard = true;
	action->allowemptywildcard = true;
	action->attemptunpackdockercompatibility =
		c->in->unpack ? c->in->unpack == YES : c->d->in->kind == INSTR_ADD;
	if (c->in->parents) {
		action->n_include_patterns = 1;
		action->include_patterns = one_text(c->a, str_trim_prefix(pattern, STR("/")));
	}
	if (required.len) {
		action->n_required_paths = 1;
		action->required_paths = one_text(c->a, required);
	}
	return NULL;
}

static struct err *add_source(struct copy *c, struct str src)
{
	struct git_ref g;
	struct err *e;

	if (git_ref_parse(c->a, src, &g, &e)) {
		if (e)
			return e;
		if (!g.like_local)
			return add_git(c, &g);
	}
	if (http_is_source(c->a, src))
		return add_http(c, src);
	return add_files(c, src);
}

static void add_content(struct copy *c, const struct heredoc *h)
{
	struct llb_node *file = llb_file(c->a, LLB_SCRATCH);
	Pb__FileActionMkFile *m =
		llb_mkfile(c->a, file, paths_clean(c->a, STR("/"), h->name, false));

	m->mode = 0644;
	m->data = proto_from_str(h->content);
	llb_name(c->a, file, STR("[internal] preparing inline document"));
	add_copy(c, llb_out_of(file), h->name);
}

/* ---- the instruction ---- */

static bool is_number(struct str s)
{
	int64_t v;

	return !s.len || str_eq(s, STR("root")) || str_to_i64(s, &v);
}

static struct err *check_checksum(struct copy *c)
{
	struct git_ref g;
	struct err *e = NULL;
	bool git;

	if (c->in->sources.len != 1)
		return err_new(ERR_UNKNOWN, "checksum can't be specified for multiple sources");
	git = git_ref_parse(c->a, c->in->sources.items[0], &g, &e) && !e;
	err_free(e);
	if (!git && !http_is_source(c->a, c->in->sources.items[0]))
		return err_new(ERR_UNKNOWN, "checksum requires HTTP(S) or Git sources");
	return NULL;
}

static struct err *check(struct copy *c)
{
	struct str user, group;

	str_cut(c->in->chown, ':', &user, &group);
	if (c->in->link && !(is_number(user) && is_number(group)))
		return err_new(ERR_UNKNOWN,
			       "--chown=%.*s: user and group names can't be resolved when used "
			       "with --link, use numeric uid[:gid] instead",
			       STR_ARG(c->in->chown));
	TRY(parse_mode(c));
	return c->in->checksum.len ? check_checksum(c) : NULL;
}

static struct str history_text(const struct copy *c)
{
	SCOPED_BUF(b, SIZE_MAX);

	buf_add_cstr(&b, instr_name(c->d->in->kind));
	if (c->in->parents)
		buf_add_cstr(&b, " --parents");
	if (c->in->chown.len)
		buf_addf(&b, " --chown=%.*s", STR_ARG(c->in->chown));
	if (c->in->chmod.len)
		buf_addf(&b, " --chmod=%.*s", STR_ARG(c->in->chmod));
	for (size_t i = 0; i < c->in->sources.len; i++)
		buf_addf(&b, " %.*s", STR_ARG(c->in->sources.items[i]));
	for (size_t i = 0; i < c->in->n_contents; i++)
		buf_addf(&b, " <<%.*s", STR_ARG(c->in->contents[i].name));
	buf_addf(&b, " %.*s # buildkit", STR_ARG(c->in->dest));
	return str_dup(c->a, buf_str(&b));
}

static void finish_node(struct copy *c, struct llb_node *n, struct str name)
{
	llb_name(c->a, n, name);
	llb_locate(c->a, n, &c->d->p->map, c->d->in->loc.start, c->d->in->loc.end);
	if (c->d->s->ignore_cache)
		llb_ignore_cache(n);
}

/* --link: the files are a layer of their own, laid over what there is. */
static void link_layers(struct copy *c, struct str text)
{
	struct stage *s = c->d->s;
	struct llb_out both[] = { s->state.out, llb_out_of(c->n) };
	struct str group = str_from(id_new(c->a)), link;
	struct llb_node *merge;

	s->step--; /* the same step again */
	link = str_from(arena_printf(c->a, "LINK %.*s", STR_ARG(text)));
	link = step_name(c->d->p, s, link, c->os, &s->state.env);
	llb_progress_group(c->a, c->n, group, c->name, true);
	s->state.out = llb_merge(c->a, both, 2, &merge);
	if (!merge)
		return;
	finish_node(c, merge, link);
	llb_progress_group(c->a, merge, group, c->name, false);
}

static void note_paths(struct copy *c)
{
	struct strs *used =
		c->d->step->n_sources ? c->d->step->sources[0]->paths : &c->d->s->context_paths;

	for (size_t i = 0; i < c->in->sources.len; i++) {
		struct str src = c->in->sources.items[i];

		if (c->d->in->kind == INSTR_ADD &&
		    (str_has_prefix(src, STR("http://")) || str_has_prefix(src, STR("https://"))))
			continue;
		strs_add(c->a, used, path_join(c->a, STR("/"), src));
	}
}

struct err *do_copy(struct doing *d)
{
	struct plan *p = d->p;
	struct stage *s = d->s, *from = d->step->n_sources ? d->step->sources[0] : NULL;
	struct copy c = {
		.d = d,
		.a = &p->a,
		.in = d->in->copy,
		.os = stage_os(p, s),
		.source = from ? from->state.out : llb_out_of(p->context),
	};
	struct str text, dest = c.in->dest;
	bool link;

	if (from && !from->dispatched)
		return err_new(ERR_UNKNOWN,
			       "cannot copy from stage %s, it needs to be defined before current "
			       "stage %s",
			       text_quote(c.a, c.in->from), text_quote(c.a, s->label));
	if (str_eq(dest, STR(".")) || !dest.len)
		dest = STR("./");
	c.dest = paths_absolute(c.a, paths_is_abs(c.a, dest, c.os) ? STR("/") : s->state.dir, dest,
				c.os, true);
	TRY(check(&c));
	text = step_text(p, &p->shell, d->in->code, &s->state.env);
	c.name = step_name(p, s, text, c.os, &s->state.env);
	link = c.in->link && !c.in->chmod.len;
	c.n = llb_file(c.a, link ? LLB_SCRATCH : s->state.out);
	for (size_t i = 0; i < c.in->sources.len; i++)
		TRY(add_source(&c, c.in->sources.items[i]));
	for (size_t i = 0; i < c.in->n_contents; i++)
		add_content(&c, &c.in->contents[i]);
	finish_node(&c, c.n, c.name);
	if (link)
		link_layers(&c, text);
	else
		s->state.out = llb_out_of(c.n);
	stage_history(p, s, history_text(&c), true);
	note_paths(&c);
	return NULL;
}
