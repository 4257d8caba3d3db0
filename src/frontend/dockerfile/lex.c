#include "frontend/dockerfile/lex.h"

#include "base/buf.h"
#include "base/limits.h"
#include "frontend/dockerfile/directive.h"
#include "frontend/dockerfile/words.h"
#include "frontend/push.h"

/* Longest line of a file, without its newline. */
#define MAX_LINE 65535

struct lexer {
	struct arena *a;
	struct str rest;
	int line; /* lines read */
	bool too_long;
	struct directives directives;
	struct instr_lines out;
	struct strs comments;
};

/* The next line with its newline. */
static bool read_line(struct lexer *lx, struct str *ret)
{
	ptrdiff_t nl;
	size_t n;

	if (!lx->rest.len)
		return false;
	nl = str_find(str_sub(lx->rest, 0, MAX_LINE + 1), '\n');
	n = nl >= 0 ? (size_t)nl + 1 : lx->rest.len;
	if (n - (nl >= 0) > MAX_LINE) {
		lx->too_long = true;
		lx->rest = STR_NONE;
		return false;
	}
	*ret = str_sub(lx->rest, 0, n);
	lx->rest = str_sub(lx->rest, n, lx->rest.len);
	lx->line++;
	return true;
}

static struct str trim_newline(struct str s)
{
	while (s.len && (s.ptr[s.len - 1] == '\n' || s.ptr[s.len - 1] == '\r'))
		s.len--;
	return s;
}

static struct str trim_left(struct str s)
{
	while (s.len && text_space(s, 0))
		s = str_sub(s, text_space(s, 0), s.len);
	return s;
}

static bool is_comment(struct str s)
{
	return str_has_prefix(trim_left(s), STR("#"));
}

/* An escape at the end, blanks behind it allowed, that is not itself escaped. */
static bool continues(const struct lexer *lx, struct str s, struct str *ret)
{
	size_t n = s.len;

	*ret = s;
	while (n && (s.ptr[n - 1] == ' ' || s.ptr[n - 1] == '\t'))
		n--;
	if (!n || s.ptr[n - 1] != lx->out.escape || (n > 1 && s.ptr[n - 2] == lx->out.escape))
		return false;
	*ret = str_sub(s, 0, n - 1);
	return true;
}

static struct err *fail_at(struct err *e, int start, int end, struct loc *ret_loc)
{
	*ret_loc = loc_lines(start, end);
	return e;
}

/* Notes comments and directives. *ret_is: the line was one. */
static struct err *take_comment(struct lexer *lx, struct str text, bool *ret_is)
{
	struct directive d;
	bool directive;

	*ret_is = is_comment(text);
	TRY(directive_line(&lx->directives, text, &directive, &d));
	if (directive && str_eq(d.name, STR("escape"))) {
		if (!str_eq(d.value, STR("`")) && !str_eq(d.value, STR("\\")))
			return err_new(ERR_UNKNOWN,
				       "invalid escape token '%.*s' does not match ` or \\",
				       STR_ARG(d.value));
		lx->out.escape = d.value.ptr[0];
	}
	if (*ret_is && !directive) {
		struct str c = str_trim(str_sub(text, 1, text.len));

		if (c.len)
			strs_add(lx->a, &lx->comments, c);
		else
			lx->comments = (struct strs) { 0 };
	}
	return NULL;
}

/* Joins what follows a line that ends in an escape. */
static void join(struct lexer *lx, struct buf *joined)
{
	bool more = true, empty = false;
	struct str line, text;

	while (more && read_line(lx, &line)) {
		if (is_comment(line))
			continue;
		text = trim_newline(line);
		if (!trim_left(text).len) {
			empty = true;
			continue;
		}
		more = continues(lx, text, &text);
		buf_add_str(joined, text);
	}
	if (empty)
		ARENA_PUSH(lx->a, lx->out.empty_continuations, lx->out.n_empty_continuations,
			   lx->out.cap_empty_continuations, lx->line);
}

static struct err *read_heredoc(struct lexer *lx, struct heredoc *h)
{
	const char *from = lx->rest.ptr;
	struct str line;

	while (read_line(lx, &line)) {
		struct str end = trim_newline(line);

		while (h->chomp && end.len && end.ptr[0] == '\t')
			end = str_sub(end, 1, end.len);
		if (str_eq(end, h->name)) {
			h->content = str_make(from, (size_t)(line.ptr - from));
			return NULL;
		}
	}
	return err_new(ERR_UNKNOWN, "unterminated heredoc");
}

static struct err *read_heredocs(struct lexer *lx, struct instr_line *in)
{
	if (str_find_str(in->original, STR("<<")) < 0 ||
	    !words_take_heredocs(lx->a, in, lx->out.escape))
		return NULL;
	TRY(heredoc_line(lx->a, in->original, &in->heredocs, &in->n_heredocs));
	for (size_t i = 0; i < in->n_heredocs; i++)
		TRY(read_heredoc(lx, &in->heredocs[i]));
	return NULL;
}

/* One instruction, which begins with text. */
static struct err *read_instruction(struct lexer *lx, struct str text, bool more,
				    struct loc *ret_loc)
{
	SCOPED_BUF(joined, LIMIT_DOCKERFILE);
	struct instr_line in = { .comments = lx->comments };
	int start = lx->line;
	struct err *e;

	buf_add_str(&joined, text);
	if (more)
		join(lx, &joined);
	TRY(buf_check(&joined, "instruction"));
	e = words_split_line(lx->a, str_dup(lx->a, buf_str(&joined)), lx->out.escape, &in);
	if (!e)
		e = read_heredocs(lx, &in);
	if (e)
		return fail_at(e, start, lx->line, ret_loc);
	in.loc = loc_lines(start, lx->line);
	ARENA_PUSH(lx->a, lx->out.items, lx->out.len, lx->out.cap, in);
	lx->comments = (struct strs) { 0 };
	return NULL;
}

struct err *lex_file(struct arena *a, struct str data, struct instr_lines *ret, struct loc *ret_loc)
{
	struct lexer lx = {
		.a = a,
		.rest = str_trim_prefix(data, STR("\xEF\xBB\xBF")),
		.directives = { .sign = STR("#") },
		.out = { .escape = '\\' },
	};
	struct str line;

	while (read_line(&lx, &line)) {
		struct str text = trim_left(trim_newline(line));
		bool comment, more;
		struct err *e = take_comment(&lx, text, &comment);

		if (e)
			return fail_at(e, lx.line - 1, 0, ret_loc);
		if (comment)
			continue;
		more = continues(&lx, text, &text);
		if (!more && !text.len)
			continue;
		TRY(read_instruction(&lx, text, more, ret_loc));
	}
	if (!lx.out.len)
		return fail_at(err_new(ERR_UNKNOWN, "file with no instructions"), lx.line, 0,
			       ret_loc);
	if (lx.too_long)
		return fail_at(err_new(ERR_UNKNOWN,
				       "dockerfile line greater than max allowed size of %d",
				       MAX_LINE),
			       lx.line, 0, ret_loc);
	*ret = lx.out;
	return NULL;
}
