/* Between the files of the TOML parser: the text being read, and its values that are neither
 * arrays nor tables. */
#ifndef BASE_TOML_LEX_H
#define BASE_TOML_LEX_H

#include "base/map.h"
#include "base/toml.h"

struct toml_lex {
	struct arena *arena;
	struct str s; /* the rest */
	int line;
	int depth;
	/* Child of a table by name: the table's address and the key. Linear search would
	 * make a long table quadratic. */
	struct map children;
};

/* INVALID_ARGUMENT "line N: what" */
struct err *toml_bad(const struct toml_lex *p, const char *what) ERR_RESULT;
static inline char toml_peek(const struct toml_lex *p)
{
	return p->s.len ? p->s.ptr[0] : '\0';
}
static inline void toml_skip(struct toml_lex *p, size_t n)
{
	p->s = str_sub(p->s, n, p->s.len);
}
static inline bool toml_eat(struct toml_lex *p, const char *what)
{
	if (!str_has_prefix(p->s, str_from(what)))
		return false;
	toml_skip(p, strlen(what));
	return true;
}
void toml_skip_blanks(struct toml_lex *p);
/* Blanks, comments and line ends. */
struct err *toml_skip_space(struct toml_lex *p) ERR_RESULT;
struct err *toml_end_of_line(struct toml_lex *p) ERR_RESULT;
/* At a quote. */
struct err *toml_string(struct toml_lex *p, bool lines_allowed, struct str *ret) ERR_RESULT;
/* A number, boolean or date. */
struct err *toml_bare(struct toml_lex *p, struct toml *v) ERR_RESULT;

#endif
