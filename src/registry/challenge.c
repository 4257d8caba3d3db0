#include "registry/challenge.h"

#include "base/limits.h"
#include "base/mem.h"

struct cursor {
	const char *p, *end;
};

static bool is_token(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static void skip_space(struct cursor *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\t'))
		c->p++;
}

static struct str token(struct cursor *c)
{
	const char *from = c->p;

	while (c->p < c->end && is_token(*c->p))
		c->p++;
	return str_make(from, (size_t)(c->p - from));
}

/* After the opening quote. An end without a closing one counts as closed. */
static struct str quoted(struct cursor *c, struct arena *a)
{
	char *out = arena_alloc(a, (size_t)(c->end - c->p) + 1);
	size_t n = 0;

	while (c->p < c->end && *c->p != '"') {
		if (*c->p == '\\' && c->p + 1 < c->end)
			c->p++;
		out[n++] = *c->p++;
	}
	if (c->p < c->end)
		c->p++;
	return str_make(out, n);
}

static void set(struct challenge *ch, struct str key, struct str value)
{
	if (str_eq_nocase(key, STR("realm")))
		ch->realm = value;
	else if (str_eq_nocase(key, STR("service")))
		ch->service = value;
	else if (str_eq_nocase(key, STR("scope")))
		ch->scope = value;
	else if (str_eq_nocase(key, STR("error")))
		ch->error = value;
}

/* The next key=value; false, back at the start, when what comes is a scheme. */
static bool param(struct cursor *c, struct arena *a, struct challenge *ch)
{
	struct cursor at = *c;
	struct str key = token(&at), value;

	skip_space(&at);
	if (!key.len || at.p == at.end || *at.p != '=')
		return false;
	at.p++;
	skip_space(&at);
	if (at.p < at.end && *at.p == '"') {
		at.p++;
		value = quoted(&at, a);
	} else {
		value = token(&at);
		while (at.p < at.end && *at.p == '=') /* the padding of a token68 */
			at.p++;
	}
	set(ch, str_dup(a, key), str_dup(a, value));
	*c = at;
	return true;
}

void challenge_parse(struct arena *a, struct str header, struct challenge out[CHALLENGES_MAX],
		     size_t *n)
{
	struct cursor c = { header.ptr, header.ptr + MIN(header.len, LIMIT_CHALLENGE) };

	while (c.p < c.end) {
		struct challenge ch = { 0 };

		while (c.p < c.end && !is_token(*c.p))
			c.p++;
		ch.scheme = str_dup(a, token(&c));
		if (!ch.scheme.len)
			return;
		do {
			while (c.p < c.end && (*c.p == ',' || *c.p == ' ' || *c.p == '\t'))
				c.p++;
		} while (param(&c, a, &ch));
		if (*n == CHALLENGES_MAX)
			return;
		out[(*n)++] = ch;
	}
}

const struct challenge *challenge_find(const struct challenge *c, size_t n, const char *scheme)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq_nocase(c[i].scheme, str_from(scheme)))
			return &c[i];
	return NULL;
}
