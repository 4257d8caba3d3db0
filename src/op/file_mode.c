/* chmod's modes (POSIX, "chmod"), with a umask of 0. */
#include "op/file.h"

struct clause {
	mode_t who; /* mask of the bits the clause may touch */
	char op;    /* + - = */
	mode_t bits;
	bool cond_x; /* X: execute if it is a directory or some execute bit is set */
	char copy;   /* u g o: the bits of that one */
};

struct file_mode_change {
	bool absolute;
	mode_t mode;
	struct clause *clauses;
	size_t n;
};

#define WHO_U (S_ISUID | 0700)
#define WHO_G (S_ISGID | 0070)
#define WHO_O 0007
#define MAX_CLAUSES 64

static struct err *bad(struct str text)
{
	return err_new(ERR_INVALID_ARGUMENT, "invalid mode %.*s", STR_ARG(text));
}

static mode_t take_who(struct str *s)
{
	mode_t who = 0;

	for (; s->len; *s = str_sub(*s, 1, s->len)) {
		switch (s->ptr[0]) {
		case 'u':
			who |= WHO_U;
			break;
		case 'g':
			who |= WHO_G;
			break;
		case 'o':
			who |= WHO_O;
			break;
		case 'a':
			who |= 07777;
			break;
		default:
			return who;
		}
	}
	return who;
}

static void take_perms(struct str *s, struct clause *c)
{
	if (s->len && strchr("ugo", s->ptr[0])) {
		c->copy = s->ptr[0];
		*s = str_sub(*s, 1, s->len);
		return;
	}
	for (; s->len; *s = str_sub(*s, 1, s->len)) {
		switch (s->ptr[0]) {
		case 'r':
			c->bits |= 0444;
			break;
		case 'w':
			c->bits |= 0222;
			break;
		case 'x':
			c->bits |= 0111;
			break;
		case 'X':
			c->cond_x = true;
			break;
		case 's':
			c->bits |= S_ISUID | S_ISGID;
			break;
		case 't':
			c->bits |= S_ISVTX;
			break;
		default:
			return;
		}
	}
}

static bool parse_octal(struct str text, mode_t *ret)
{
	mode_t m = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '7')
			return false;
		m = m * 8 + (mode_t)(text.ptr[i] - '0');
		if (m > 07777)
			return false;
	}
	*ret = m;
	return text.len;
}

struct err *file_mode_parse(struct arena *a, struct str text, struct file_mode_change **ret)
{
	struct file_mode_change *m = ARENA_NEW(a, struct file_mode_change);
	struct str rest = text, part;

	m->absolute = parse_octal(text, &m->mode);
	if (m->absolute) {
		*ret = m;
		return NULL;
	}
	m->clauses = ARENA_NEW_N(a, struct clause, MAX_CLAUSES);
	while (str_next(&rest, ',', &part)) {
		mode_t who = take_who(&part);

		if (!part.len)
			return bad(text);
		while (part.len) {
			struct clause c = { .who = who ? who : 07777, .op = part.ptr[0] };

			if (!strchr("+-=", c.op) || m->n == MAX_CLAUSES)
				return bad(text);
			part = str_sub(part, 1, part.len);
			take_perms(&part, &c);
			/* The sticky bit is everybody's. */
			if (c.bits & S_ISVTX)
				c.who |= S_ISVTX;
			m->clauses[m->n++] = c;
		}
	}
	*ret = m;
	return NULL;
}

static mode_t spread(mode_t three)
{
	return three | three << 3 | three << 6;
}

mode_t file_mode_apply(const struct file_mode_change *c, mode_t mode)
{
	mode_t m = mode & 07777;

	if (c->absolute)
		return (mode & S_IFMT) | c->mode;
	for (size_t i = 0; i < c->n; i++) {
		const struct clause *k = &c->clauses[i];
		mode_t bits = k->bits;

		if (k->cond_x && (S_ISDIR(mode) || (m & 0111)))
			bits |= 0111;
		if (k->copy)
			bits = spread(m >> (k->copy == 'u' ? 6 : k->copy == 'g' ? 3 : 0) & 7);
		bits &= k->who;
		if (k->op == '+')
			m |= bits;
		else if (k->op == '-')
			m &= ~bits;
		else
			m = (m & ~(k->who & 0777)) | bits;
	}
	return (mode & S_IFMT) | m;
}
