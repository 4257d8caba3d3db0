#include "base/toml_lex.h"

#include "base/buf.h"
#include "base/limits.h"

#include <errno.h>
#include <stdlib.h>

struct err *toml_bad(const struct toml_lex *p, const char *what)
{
	return err_new(ERR_INVALID_ARGUMENT, "line %d: %s", p->line, what);
}

void toml_skip_blanks(struct toml_lex *p)
{
	while (toml_peek(p) == ' ' || toml_peek(p) == '\t')
		toml_skip(p, 1);
}

static bool eat_newline(struct toml_lex *p)
{
	if (!toml_eat(p, "\n") && !toml_eat(p, "\r\n"))
		return false;
	p->line++;
	return true;
}

/* Control characters, except tab, stand nowhere. */
static bool is_control(char c)
{
	return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

static struct err *skip_comment(struct toml_lex *p)
{
	if (toml_peek(p) != '#')
		return NULL;
	while (p->s.len && p->s.ptr[0] != '\n' && !str_has_prefix(p->s, STR("\r\n"))) {
		if (is_control(p->s.ptr[0]))
			return toml_bad(p, "control character in a comment");
		toml_skip(p, 1);
	}
	return NULL;
}

struct err *toml_skip_space(struct toml_lex *p)
{
	do {
		toml_skip_blanks(p);
		TRY(skip_comment(p));
	} while (eat_newline(p));
	return NULL;
}

struct err *toml_end_of_line(struct toml_lex *p)
{
	toml_skip_blanks(p);
	TRY(skip_comment(p));
	if (p->s.len && !eat_newline(p))
		return toml_bad(p, "expected the end of the line");
	return NULL;
}

/* ---- strings ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static struct err *add_escape(struct toml_lex *p, struct buf *out)
{
	static const char letters[] = "btnfr\"\\", means[] = "\b\t\n\f\r\"\\";
	const char *known = toml_peek(p) ? strchr(letters, toml_peek(p)) : NULL;
	size_t digits = toml_peek(p) == 'u' ? 4 : toml_peek(p) == 'U' ? 8 : 0;
	uint32_t cp = 0;
	char utf8[4];

	if (known) {
		buf_add_char(out, means[known - letters]);
		toml_skip(p, 1);
		return NULL;
	}
	if (!digits || p->s.len < 1 + digits)
		return toml_bad(p, "invalid escape in a string");
	for (size_t i = 1; i <= digits; i++) {
		int d = hex_digit(p->s.ptr[i]);

		if (d < 0)
			return toml_bad(p, "invalid escape in a string");
		cp = cp << 4 | (uint32_t)d;
	}
	if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
		return toml_bad(p, "escape of no Unicode character");
	buf_add(out, utf8, str_put_rune(cp, utf8));
	toml_skip(p, 1 + digits);
	return NULL;
}

static struct err *string_line(struct toml_lex *p, char quote, struct buf *out)
{
	for (;;) {
		char c = toml_peek(p);

		if (!p->s.len || c == '\n' || c == '\r')
			return toml_bad(p, "string does not end");
		toml_skip(p, 1);
		if (c == quote)
			return NULL;
		if (is_control(c))
			return toml_bad(p, "control character in a string");
		if (c == '\\' && quote == '"')
			TRY(add_escape(p, out));
		else
			buf_add_char(out, c);
	}
}

/* A backslash at the end of a line takes the white space behind it away. */
static bool eat_line_end(struct toml_lex *p)
{
	struct toml_lex ahead = *p;

	toml_skip_blanks(&ahead);
	if (!eat_newline(&ahead))
		return false;
	do {
		toml_skip_blanks(&ahead);
	} while (eat_newline(&ahead));
	p->s = ahead.s;
	p->line = ahead.line;
	return true;
}

static struct err *string_lines(struct toml_lex *p, char quote, struct buf *out)
{
	(void)eat_newline(p);
	for (;;) {
		char c = toml_peek(p);
		size_t quotes = 0;

		if (!p->s.len)
			return toml_bad(p, "string does not end");
		while (quotes < p->s.len && quotes < 6 && p->s.ptr[quotes] == quote)
			quotes++;
		if (quotes >= 3) {
			/* Up to two more quotes belong to the string. */
			if (quotes > 5)
				return toml_bad(p, "too many quotes");
			buf_add(out, p->s.ptr, quotes - 3);
			toml_skip(p, quotes);
			return NULL;
		}
		if (eat_newline(p)) {
			buf_add_char(out, '\n');
			continue;
		}
		toml_skip(p, 1);
		if (is_control(c))
			return toml_bad(p, "control character in a string");
		if (c != '\\' || quote != '"')
			buf_add_char(out, c);
		else if (!eat_line_end(p))
			TRY(add_escape(p, out));
	}
}

struct err *toml_string(struct toml_lex *p, bool lines_allowed, struct str *ret)
{
	SCOPED_BUF(out, LIMIT_TOML_FILE);
	char quote = toml_peek(p);

	if (lines_allowed && (toml_eat(p, "\"\"\"") || toml_eat(p, "'''"))) {
		TRY(string_lines(p, quote, &out));
	} else {
		toml_skip(p, 1);
		TRY(string_line(p, quote, &out));
	}
	*ret = str_dup(p->arena, buf_str(&out));
	return NULL;
}

/* ---- numbers, dates ---- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "dd" at i; false when that is not two digits at most max. */
static bool two_digits(struct str s, size_t i, int min, int max)
{
	int v;

	if (s.len < i + 2 || !is_digit(s.ptr[i]) || !is_digit(s.ptr[i + 1]))
		return false;
	v = (s.ptr[i] - '0') * 10 + s.ptr[i + 1] - '0';
	return v >= min && v <= max;
}

static bool is_time(struct str s)
{
	if (!two_digits(s, 0, 0, 23) || s.len < 8 || s.ptr[2] != ':' || !two_digits(s, 3, 0, 59) ||
	    s.ptr[5] != ':' || !two_digits(s, 6, 0, 60))
		return false;
	s = str_sub(s, 8, s.len);
	if (!s.len)
		return true;
	if (s.ptr[0] != '.' || s.len < 2)
		return false;
	for (size_t i = 1; i < s.len; i++)
		if (!is_digit(s.ptr[i]))
			return false;
	return true;
}

static bool is_date(struct str s)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int year, month, max;

	if (s.len != 10 || !two_digits(s, 0, 0, 99) || !two_digits(s, 2, 0, 99) ||
	    s.ptr[4] != '-' || !two_digits(s, 5, 1, 12) || s.ptr[7] != '-')
		return false;
	year = (s.ptr[0] - '0') * 1000 + (s.ptr[1] - '0') * 100 + (s.ptr[2] - '0') * 10 + s.ptr[3] -
	       '0';
	month = (s.ptr[5] - '0') * 10 + s.ptr[6] - '0';
	max = days[month - 1];
	if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
		max++;
	return two_digits(s, 8, 1, max);
}

static bool is_datetime(struct str s)
{
	struct str date = str_sub(s, 0, 10), time;

	if (is_time(s) || is_date(s))
		return true;
	if (!is_date(date) || !s.ptr[10] || !strchr("Tt ", s.ptr[10]))
		return false;
	time = str_sub(s, 11, s.len);
	if (time.len && (time.ptr[time.len - 1] | 32) == 'z') {
		time.len--;
	} else if (time.len > 6 &&
		   (time.ptr[time.len - 6] == '+' || time.ptr[time.len - 6] == '-')) {
		struct str zone = str_sub(time, time.len - 5, time.len);

		if (!two_digits(zone, 0, 0, 23) || zone.ptr[2] != ':' ||
		    !two_digits(zone, 3, 0, 59))
			return false;
		time.len -= 6;
	}
	return is_time(time);
}

/* Digits of a base with single underscores between them, copied without these. */
static bool take_digits(struct str *s, int base, struct buf *out)
{
	size_t i = 0;

	for (; i < s->len; i++) {
		int d = hex_digit(s->ptr[i]);

		if (s->ptr[i] == '_') {
			if (i == 0 || s->ptr[i - 1] == '_' || i + 1 == s->len ||
			    hex_digit(s->ptr[i + 1]) < 0 || hex_digit(s->ptr[i + 1]) >= base)
				return false;
			continue;
		}
		if (d < 0 || d >= base)
			break;
		buf_add_char(out, s->ptr[i]);
	}
	*s = str_sub(*s, i, s->len);
	return i > 0;
}

static bool parse_prefixed_int(struct str s, struct toml *v)
{
	SCOPED_BUF(digits, 64 * KIB);
	int base = s.ptr[1] == 'x' ? 16 : s.ptr[1] == 'o' ? 8 : 2;
	unsigned long long n;

	s = str_sub(s, 2, s.len);
	if (!take_digits(&s, base, &digits) || s.len || digits.overflow)
		return false;
	errno = 0;
	n = strtoull(buf_cstr(&digits), NULL, base);
	if (errno || n > INT64_MAX)
		return false;
	v->type = TOML_INT;
	v->integer = (int64_t)n;
	return true;
}

static bool parse_number(struct str s, struct toml *v)
{
	SCOPED_BUF(text, 64 * KIB);
	bool is_float = false;
	bool sign = s.len && (s.ptr[0] == '+' || s.ptr[0] == '-');

	if (!sign && s.len > 2 && s.ptr[0] == '0' && s.ptr[1] && strchr("xob", s.ptr[1]))
		return parse_prefixed_int(s, v);
	if (sign) {
		buf_add_char(&text, s.ptr[0]);
		s = str_sub(s, 1, s.len);
	}
	if (str_eq(s, STR("inf")) || str_eq(s, STR("nan"))) {
		v->type = TOML_FLOAT;
		v->real = s.ptr[0] == 'i' ? __builtin_inf() : __builtin_nan("");
		if (text.len && text.data[0] == '-')
			v->real = -v->real;
		return true;
	}
	if (s.len > 1 && s.ptr[0] == '0' && (is_digit(s.ptr[1]) || s.ptr[1] == '_'))
		return false;
	if (!take_digits(&s, 10, &text))
		return false;
	if (s.len && s.ptr[0] == '.') {
		is_float = true;
		buf_add_char(&text, '.');
		s = str_sub(s, 1, s.len);
		if (!take_digits(&s, 10, &text))
			return false;
	}
	if (s.len && (s.ptr[0] | 32) == 'e') {
		is_float = true;
		buf_add_char(&text, 'e');
		s = str_sub(s, 1, s.len);
		if (s.len && (s.ptr[0] == '+' || s.ptr[0] == '-')) {
			buf_add_char(&text, s.ptr[0]);
			s = str_sub(s, 1, s.len);
		}
		if (!take_digits(&s, 10, &text))
			return false;
	}
	if (s.len || text.overflow)
		return false;
	if (!is_float) {
		v->type = TOML_INT;
		return str_to_i64(buf_str(&text), &v->integer);
	}
	v->type = TOML_FLOAT;
	v->real = strtod(buf_cstr(&text), NULL);
	return true;
}

struct err *toml_bare(struct toml_lex *p, struct toml *v)
{
	size_t n = 0;
	struct str s;

	while (n < p->s.len && !strchr(" \t\r\n,]}#=", p->s.ptr[n]))
		n++;
	/* One space may stand between date and time. */
	if (n == 10 && p->s.len > 13 && p->s.ptr[10] == ' ' && is_date(str_sub(p->s, 0, 10)) &&
	    two_digits(p->s, 11, 0, 99))
		for (n = 11; n < p->s.len && !strchr(" \t\r\n,]}#=", p->s.ptr[n]);)
			n++;
	s = str_sub(p->s, 0, n);
	if (str_eq(s, STR("true")) || str_eq(s, STR("false"))) {
		v->type = TOML_BOOL;
		v->boolean = s.len == 4;
	} else if (is_datetime(s)) {
		v->type = TOML_DATETIME;
		v->string = str_dup(p->arena, s);
	} else if (!parse_number(s, v)) {
		return toml_bad(p, n ? "invalid value" : "value expected");
	}
	toml_skip(p, n);
	return NULL;
}
