/* containerd's filter syntax:
 *   filter   := selector ("," selector)*          all must match
 *   selector := fieldpath [("==" | "!=" | "~=") value]
 *   field    := [A-Za-z0-9_]+ | quoted            parts of a path are joined by "."
 *   value    := quoted | graphic characters up to a comma or white space
 * Quotes are "..." with Go's escapes; after ~= also /.../ and |...|. Source: containerd's
 * documentation of filters, its messages as buildkitd prints them. */
#include "cache/filter.h"

#include "cache/cache_impl.h"

#include "base/buf.h"
#include "base/mem.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define LIMIT_FILTER 65536
#define LIMIT_REGEX_STEPS 1000000

enum op { OP_PRESENT, OP_EQUAL, OP_NOT_EQUAL, OP_MATCHES };

struct selector {
	struct selector *next;
	struct str field;
	enum op op;
	struct str value;
	pcre2_code *regex; /* NULL for one that does not compile: matches nothing */
};

struct alternative {
	struct alternative *next;
	struct selector *selectors;
};

struct filter {
	struct alternative *any;
	bool all; /* matches everything */
};

/* ---- scanner ---- */

enum token { T_EOF, T_QUOTED, T_VALUE, T_FIELD, T_SEPARATOR, T_OPERATOR, T_ILLEGAL };

struct scanner {
	struct str input;
	size_t at;
	bool want_value;
	const char *problem;
	size_t problem_at;
};

struct lexeme {
	enum token token;
	size_t at;
	struct str text;
};

static bool is_field_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_value_char(char c)
{
	return c != ',' && !is_space(c) && ((unsigned char)c > ' ') && c != 0x7f;
}

static bool is_operator_char(char c)
{
	return c == '=' || c == '!' || c == '~';
}

static char peek(const struct scanner *s)
{
	return s->at < s->input.len ? s->input.ptr[s->at] : 0;
}

static void take_while(struct scanner *s, bool (*want)(char))
{
	while (s->at < s->input.len && want(s->input.ptr[s->at]))
		s->at++;
}

static void take_quoted(struct scanner *s, char quote)
{
	size_t from = s->at++;

	for (; s->at < s->input.len && s->input.ptr[s->at] != '\n'; s->at++) {
		if (s->input.ptr[s->at] == quote) {
			s->at++;
			return;
		}
		if (s->input.ptr[s->at] == '\\')
			s->at++;
	}
	s->at = s->input.len;
	s->problem = "quoted literal not terminated";
	s->problem_at = from;
}

static struct lexeme scan(struct scanner *s)
{
	struct lexeme l;
	char c;

	take_while(s, is_space);
	l.at = s->at;
	c = peek(s);
	if (s->at == s->input.len) {
		l.token = T_EOF;
	} else if (c == '"' || c == '/' || c == '|') {
		l.token = T_QUOTED;
		take_quoted(s, c);
		s->want_value = false;
	} else if (c == ',' || c == '.') {
		l.token = T_SEPARATOR;
		s->at++;
	} else if (is_operator_char(c)) {
		l.token = T_OPERATOR;
		take_while(s, is_operator_char);
		s->want_value = true;
	} else if (s->want_value && is_value_char(c)) {
		l.token = T_VALUE;
		take_while(s, is_value_char);
		s->want_value = false;
	} else if (is_field_char(c)) {
		l.token = T_FIELD;
		take_while(s, is_field_char);
	} else {
		l.token = T_ILLEGAL;
		s->at++;
	}
	l.text = str_sub(s->input, l.at, s->at);
	return l;
}

/* ---- parser ---- */

static struct err *parse_err(const struct scanner *s, size_t at, const char *what)
{
	if (s->problem) {
		at = s->problem_at;
		what = s->problem;
	}
	if (at < s->input.len)
		return err_new(ERR_INVALID_ARGUMENT, "[%.*s >|%c|< %.*s]: %s", (int)at,
			       s->input.ptr, s->input.ptr[at], (int)(s->input.len - at - 1),
			       s->input.ptr + at + 1, what);
	return err_new(ERR_INVALID_ARGUMENT, "[%.*s]: %s", STR_ARG(s->input), what);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void add_rune(struct buf *out, uint32_t r)
{
	if (r < 0x80) {
		buf_add_char(out, (char)r);
	} else if (r < 0x800) {
		buf_add_char(out, (char)(0xc0 | r >> 6));
		buf_add_char(out, (char)(0x80 | (r & 0x3f)));
	} else if (r < 0x10000) {
		buf_add_char(out, (char)(0xe0 | r >> 12));
		buf_add_char(out, (char)(0x80 | (r >> 6 & 0x3f)));
		buf_add_char(out, (char)(0x80 | (r & 0x3f)));
	} else {
		buf_add_char(out, (char)(0xf0 | r >> 18));
		buf_add_char(out, (char)(0x80 | (r >> 12 & 0x3f)));
		buf_add_char(out, (char)(0x80 | (r >> 6 & 0x3f)));
		buf_add_char(out, (char)(0x80 | (r & 0x3f)));
	}
}

static bool take_digits(struct str *s, size_t n, unsigned base, uint32_t *ret)
{
	uint32_t v = 0;

	if (s->len < n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int d = hex_digit(s->ptr[i]);

		if (d < 0 || (unsigned)d >= base)
			return false;
		v = v * base + (uint32_t)d;
	}
	*s = str_sub(*s, n, s->len);
	*ret = v;
	return true;
}

/* One escape after its backslash. */
static bool take_escape(struct str *s, char quote, struct buf *out)
{
	static const char names[] = "abfnrtv\\", values[] = "\a\b\f\n\r\t\v\\";
	char c = s->len ? s->ptr[0] : 0;
	const char *p = c ? strchr(names, c) : NULL;
	uint32_t v;

	if (c >= '0' && c <= '7') {
		if (!take_digits(s, 3, 8, &v) || v > 255)
			return false;
		buf_add_char(out, (char)v);
		return true;
	}
	*s = str_sub(*s, 1, s->len);
	if (p || (c && c == quote)) {
		buf_add_char(out, p ? values[p - names] : c);
		return true;
	}
	if (c == 'x') {
		if (!take_digits(s, 2, 16, &v))
			return false;
		buf_add_char(out, (char)v);
		return true;
	}
	if ((c != 'u' && c != 'U') || !take_digits(s, c == 'u' ? 4 : 8, 16, &v) || v > 0x10ffff)
		return false;
	add_rune(out, v);
	return true;
}

static struct err *unquote(const struct scanner *s, struct lexeme l, bool alt_quotes,
			   struct arena *a, struct str *ret)
{
	SCOPED_BUF(out, LIMIT_FILTER);
	char quote = l.text.ptr[0];
	struct str rest = str_sub(l.text, 1, l.text.len - 1);

	if (!alt_quotes && quote != '"')
		return parse_err(s, l.at, "invalid quote encountered");
	while (rest.len) {
		char c = rest.ptr[0];

		rest = str_sub(rest, 1, rest.len);
		if (c != '\\') {
			buf_add_char(&out, c);
			continue;
		}
		/* In a regular expression only its own quote needs an escape. */
		if (quote != '"' && !(rest.len && rest.ptr[0] == quote)) {
			buf_add_char(&out, c);
			continue;
		}
		if (!take_escape(&rest, quote, &out))
			return parse_err(s, l.at, "unquoting failed: invalid syntax");
	}
	*ret = str_dup(a, buf_str(&out));
	return NULL;
}

static struct err *parse_field(struct scanner *s, struct arena *a, struct str *ret)
{
	struct lexeme l = scan(s);

	if (l.token == T_FIELD && !s->problem) {
		*ret = l.text;
		return NULL;
	}
	if (l.token == T_QUOTED && !s->problem)
		return unquote(s, l, false, a, ret);
	return parse_err(s, l.at, "expected field or quoted");
}

static struct err *parse_path(struct scanner *s, struct arena *a, struct str *ret)
{
	struct str path, part;

	TRY(parse_field(s, a, &path));
	while (peek(s) == '.') {
		s->at++;
		TRY(parse_field(s, a, &part));
		path = str_from(arena_printf(a, "%.*s.%.*s", STR_ARG(path), STR_ARG(part)));
	}
	*ret = path;
	return NULL;
}

static struct err *parse_operator(struct scanner *s, enum op *ret)
{
	struct lexeme l = scan(s);
	SCOPED_ARENA(a);

	if (l.token != T_OPERATOR)
		return parse_err(s, l.at, "expected an operator (\"==\"|\"!=\"|\"~=\")");
	if (str_eq_cstr(l.text, "=="))
		*ret = OP_EQUAL;
	else if (str_eq_cstr(l.text, "!="))
		*ret = OP_NOT_EQUAL;
	else if (str_eq_cstr(l.text, "~="))
		*ret = OP_MATCHES;
	else
		return parse_err(
			s, l.at,
			arena_printf(&a, "unsupported operator \"%.*s\"", STR_ARG(l.text)));
	return NULL;
}

static void compile(struct selector *sel)
{
	int code;
	size_t at;

	sel->regex = pcre2_compile((PCRE2_SPTR)sel->value.ptr, sel->value.len, PCRE2_UTF, &code,
				   &at, NULL);
}

static struct err *parse_selector(struct scanner *s, struct arena *a, struct selector *sel)
{
	struct lexeme l;

	TRY(parse_path(s, a, &sel->field));
	if (s->at == s->input.len || peek(s) == ',')
		return NULL;
	TRY(parse_operator(s, &sel->op));
	l = scan(s);
	if (l.token == T_QUOTED && !s->problem)
		TRY(unquote(s, l, sel->op == OP_MATCHES, a, &sel->value));
	else if (l.token == T_VALUE || l.token == T_FIELD)
		sel->value = l.text;
	else
		return parse_err(s, l.at, "expected value or quoted");
	sel->value = str_dup(a, sel->value);
	if (sel->op == OP_MATCHES)
		compile(sel);
	return NULL;
}

/* What is made hangs on alt at once, so a failure leaks nothing. */
static struct err *parse_one(struct str input, struct arena *a, struct alternative *alt)
{
	struct scanner s = { .input = input };
	struct selector **tail = &alt->selectors;

	for (;;) {
		struct selector *sel = ARENA_NEW(a, struct selector);
		struct lexeme l;

		*tail = sel;
		tail = &sel->next;
		TRY(parse_selector(&s, a, sel));
		s.want_value = false;
		l = scan(&s);
		if (l.token == T_EOF)
			return NULL;
		if (l.token != T_SEPARATOR || l.text.ptr[0] != ',')
			return parse_err(
				&s, l.at,
				arena_printf(a, "unexpected input: %.*s", STR_ARG(l.text)));
	}
}

static struct err *parse_failed(struct err *take_e)
{
	struct err *e = err_new(ERR_INVALID_ARGUMENT, "filters: parse error: %s: invalid argument",
				err_text(take_e));

	err_free(take_e);
	return e;
}

struct err *filter_parse(struct arena *a, const struct str *list, size_t n, struct filter **ret)
{
	struct filter *f = ARENA_NEW(a, struct filter);
	struct alternative **tail = &f->any;

	f->all = !n;
	for (size_t i = 0; i < n; i++) {
		struct alternative *alt;
		struct err *e;

		if (list[i].len > LIMIT_FILTER) {
			filter_free(f);
			return err_new(ERR_RESOURCE_EXHAUSTED, "filter is too long");
		}
		if (!list[i].len) {
			f->all = true;
			continue;
		}
		alt = ARENA_NEW(a, struct alternative);
		*tail = alt;
		tail = &alt->next;
		e = parse_one(str_dup(a, list[i]), a, alt);
		if (e) {
			filter_free(f);
			return parse_failed(e);
		}
	}
	*ret = f;
	return NULL;
}

void filter_free(struct filter *f)
{
	for (struct alternative *alt = f ? f->any : NULL; alt; alt = alt->next)
		for (struct selector *s = alt->selectors; s; s = s->next)
			pcre2_code_free(s->regex);
}

void filter_freep(struct filter **f)
{
	filter_free(*f);
	*f = NULL;
}

/* ---- matching ---- */

static bool usage_field(const void *arg, struct str field, struct buf *join, struct str *ret)
{
	const struct cache_usage *u = arg;

	*ret = STR_NONE;
	if (str_eq_cstr(field, "id"))
		*ret = u->id;
	else if (str_eq_cstr(field, "description"))
		*ret = u->description;
	else if (str_eq_cstr(field, "type"))
		*ret = u->type;
	else if (str_eq_cstr(field, "inuse"))
		return u->in_use;
	else if (str_eq_cstr(field, "mutable"))
		return u->is_mutable;
	else if (str_eq_cstr(field, "immutable"))
		return !u->is_mutable;
	else if (str_eq_cstr(field, "shared"))
		return u->shared;
	else if (str_eq_cstr(field, "private"))
		return !u->shared;
	else if (str_eq_cstr(field, "parents")) {
		for (size_t i = 0; i < u->n_parents; i++) {
			if (i)
				buf_add_char(join, ';');
			buf_add_str(join, u->parents[i]);
		}
		*ret = buf_str(join);
	}
	return ret->len;
}

static bool regex_matches(const pcre2_code *re, struct str s)
{
	pcre2_match_data *data;
	pcre2_match_context *ctx;
	int n;

	if (!re)
		return false;
	data = pcre2_match_data_create_from_pattern(re, NULL);
	ctx = pcre2_match_context_create(NULL);
	pcre2_set_match_limit(ctx, LIMIT_REGEX_STEPS);
	pcre2_set_heap_limit(ctx, 4096);
	n = pcre2_match(re, (PCRE2_SPTR)(s.ptr ? s.ptr : ""), s.len, 0, 0, data, ctx);
	pcre2_match_context_free(ctx);
	pcre2_match_data_free(data);
	return n >= 0;
}

static bool selector_matches(const struct selector *s, filter_field get, const void *of)
{
	SCOPED_BUF(join, LIMIT_FILTER * 16);
	struct str value;
	bool present = get(of, s->field, &join, &value);

	switch (s->op) {
	case OP_PRESENT:
		return present;
	case OP_EQUAL:
		return present && str_eq(value, s->value);
	case OP_NOT_EQUAL:
		return !str_eq(value, s->value);
	case OP_MATCHES:
		return regex_matches(s->regex, value);
	}
	return false;
}

bool filter_match_fields(const struct filter *f, filter_field get, const void *of)
{
	if (f->all)
		return true;
	for (const struct alternative *alt = f->any; alt; alt = alt->next) {
		bool all = true;

		for (const struct selector *s = alt->selectors; s && all; s = s->next)
			all = selector_matches(s, get, of);
		if (all)
			return true;
	}
	return false;
}

bool filter_match(const struct filter *f, const struct cache_usage *u)
{
	return filter_match_fields(f, usage_field, u);
}
