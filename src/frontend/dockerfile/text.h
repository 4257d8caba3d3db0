/* Small helpers on text: characters as Unicode sees them, lists of strings, "did you mean",
 * comma-separated values. */
#ifndef FRONTEND_DOCKERFILE_TEXT_H
#define FRONTEND_DOCKERFILE_TEXT_H

#include "base/arena.h"
#include "base/err.h"

/* Growable list in an arena. */
struct strs {
	struct str *items;
	size_t len, cap;
};
void strs_add(struct arena *a, struct strs *l, struct str s);
bool strs_has(const struct strs *l, struct str s);
void strs_add_new(struct arena *a, struct strs *l, struct str s); /* unless it is there */
void strs_del(struct strs *l, struct str s);
void strs_sort(struct strs *l);
void strs_unique(struct strs *l); /* of a sorted one */
struct strs strs_clone(struct arena *a, const struct strs *l);
struct str strs_join(struct arena *a, const struct strs *l, struct str sep);

/* Length of the white space character at pos, 0 if there is none. */
size_t text_space(struct str s, size_t pos);
/* Length in bytes of the (maybe broken) UTF-8 character at pos; at least 1. */
size_t text_char(struct str s, size_t pos);
/* Is the character at pos a letter (beyond ASCII: a good guess)? */
bool text_is_letter(struct str s, size_t pos);
struct str text_lower(struct arena *a, struct str s);
struct str text_upper(struct arena *a, struct str s);
/* Go's %q. */
const char *text_quote(struct arena *a, struct str s);
const char *text_c(struct arena *a, struct str s); /* for %s */

/* The option nearest to val, if it is less than three edits away and val is not an option itself;
 * else empty. Without case, the answer comes in the case of val. */
struct str text_suggest(struct arena *a, struct str val, const struct strs *options,
			bool case_sensitive);
/* Takes e, adds " (did you mean X?)" where there is a suggestion. Keeps code and details. */
struct err *text_suggest_err(struct arena *a, struct err *take_e, struct str val,
			     const struct strs *options, bool case_sensitive) ERR_RESULT;

/* Takes e, gives it back without a code: what a file says wrongly is just an error to clients. */
struct err *text_plain_err(struct err *take_e) ERR_RESULT;

/* One record of comma-separated values with Go's quoting rules. */
struct err *text_csv(struct arena *a, struct str line, struct strs *ret) ERR_RESULT;

#endif
