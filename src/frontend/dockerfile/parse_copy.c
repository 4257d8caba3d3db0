/* ADD and COPY. */
#include "frontend/dockerfile/parse_int.h"

static struct err *sources_and_dest(struct parsing *p, struct copy_instr *c)
{
	const struct strs *args = &p->line->args;
	struct heredoc word;

	c->dest = args->items[args->len - 1];
	if (heredoc_is(p->a, c->dest, &word))
		return err_new(ERR_UNKNOWN, "%s cannot accept a heredoc as a destination",
			       instr_name(p->out->kind));
	c->contents = ARENA_NEW_N(p->a, struct heredoc, args->len);
	for (size_t i = 0; i + 1 < args->len; i++) {
		struct heredoc *h = &c->contents[c->n_contents];

		if (!heredoc_is(p->a, args->items[i], h)) {
			strs_add(p->a, &c->sources, args->items[i]);
			continue;
		}
		/* Of several with one name the last one counts. */
		for (size_t k = 0; k < p->line->n_heredocs; k++)
			if (str_eq(p->line->heredocs[k].name, h->name))
				h->content = p->line->heredocs[k].content;
		if (h->chomp)
			h->content = heredoc_chomp(p->a, h->content);
		c->n_contents++;
	}
	return NULL;
}

static struct err *need_destination(const struct parsing *p)
{
	if (p->line->args.len >= 2)
		return NULL;
	return err_new(ERR_UNKNOWN,
		       "%s requires at least two arguments, but only one was provided. "
		       "Destination could not be determined",
		       instr_name(p->out->kind));
}

static enum tristate state_of(const struct flag *f)
{
	return !f->used ? UNSET : f->on ? YES : NO;
}

struct err *parse_ADD(struct parsing *p)
{
	enum { CHOWN, CHMOD, LINK, KEEP_GIT_DIR, CHECKSUM, UNPACK, EXCLUDE, N };
	struct flag flags[N] = {
		[CHOWN] = { "chown", FLAG_TEXT },
		[CHMOD] = { "chmod", FLAG_TEXT },
		[LINK] = { "link", FLAG_BOOL },
		[KEEP_GIT_DIR] = { "keep-git-dir", FLAG_BOOL },
		[CHECKSUM] = { "checksum", FLAG_TEXT },
		[UNPACK] = { "unpack", FLAG_BOOL },
		[EXCLUDE] = { "exclude", FLAG_LIST },
	};
	struct copy_instr *c = ARENA_NEW(p->a, struct copy_instr);

	TRY(need_destination(p));
	TRY(instr_flags_parse(p->a, &p->line->flags, flags, N));
	TRY(sources_and_dest(p, c));
	c->chown = flags[CHOWN].text;
	c->chmod = flags[CHMOD].text;
	c->link = flags[LINK].on;
	c->keep_git_dir = state_of(&flags[KEEP_GIT_DIR]);
	c->checksum = flags[CHECKSUM].text;
	c->unpack = state_of(&flags[UNPACK]);
	c->excludes = flags[EXCLUDE].list;
	p->out->copy = c;
	return NULL;
}

struct err *parse_COPY(struct parsing *p)
{
	enum { CHOWN, FROM, CHMOD, LINK, EXCLUDE, PARENTS, N };
	struct flag flags[N] = {
		[CHOWN] = { "chown", FLAG_TEXT },     [FROM] = { "from", FLAG_TEXT },
		[CHMOD] = { "chmod", FLAG_TEXT },     [LINK] = { "link", FLAG_BOOL },
		[EXCLUDE] = { "exclude", FLAG_LIST }, [PARENTS] = { "parents", FLAG_BOOL },
	};
	struct copy_instr *c = ARENA_NEW(p->a, struct copy_instr);

	TRY(need_destination(p));
	TRY(instr_flags_parse(p->a, &p->line->flags, flags, N));
	TRY(sources_and_dest(p, c));
	c->chown = flags[CHOWN].text;
	c->from = flags[FROM].text;
	c->chmod = flags[CHMOD].text;
	c->link = flags[LINK].on;
	c->excludes = flags[EXCLUDE].list;
	c->parents = flags[PARENTS].on;
	p->out->copy = c;
	return NULL;
}
