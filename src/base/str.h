/* Borrowed byte slices. A `struct str` never owns its bytes and is not
 * NUL-terminated; keep one past its source's life with str_dup() into an arena.
 * Zero value is the empty string. Pass by value. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct arena;

struct str {
	const char *ptr;
	size_t len;
};

/* For printf: "%.*s" with STR_ARG(s). */
#define STR_ARG(s) (int)(s).len, (s).ptr
#define STR(lit) ((struct str) { "" lit "", sizeof(lit) - 1 })
#define STR_NONE ((struct str) { NULL, 0 })

static inline struct str str_from(const char *cstr)
{
	return (struct str) { cstr, cstr ? strlen(cstr) : 0 };
}

static inline struct str str_make(const void *ptr, size_t len)
{
	return (struct str) { (const char *)ptr, len };
}

bool str_eq(struct str a, struct str b);
bool str_eq_cstr(struct str a, const char *b);
/* ASCII case folding. */
bool str_eq_nocase(struct str a, struct str b);
/* Byte order; a prefix sorts first. */
int str_cmp(struct str a, struct str b);
bool str_has_prefix(struct str s, struct str prefix);
bool str_has_suffix(struct str s, struct str suffix);
/* s without the prefix or suffix when present. */
struct str str_trim_prefix(struct str s, struct str prefix);
struct str str_trim_suffix(struct str s, struct str suffix);
/* Without leading and trailing ASCII white space. */
struct str str_trim(struct str s);
/* [from, to) clamped to the string. */
struct str str_sub(struct str s, size_t from, size_t to);
/* Position of the byte or of the needle, or -1. */
ptrdiff_t str_find(struct str s, char c);
ptrdiff_t str_rfind(struct str s, char c);
ptrdiff_t str_find_str(struct str s, struct str needle);
/* Splits at the first sep. False, with all of s in before, when there is none. */
bool str_cut(struct str s, char sep, struct str *ret_before, struct str *ret_after);
/* Takes the next field off *rest; false when *rest was used up. "a,,b" has three
 * fields, "" has one (empty); a cursor starts as the string itself. */
bool str_next(struct str *rest, char sep, struct str *ret_field);
/* Decimal numbers, whole string, no sign for u64; false on junk or overflow. */
bool str_to_u64(struct str s, uint64_t *ret);
bool str_to_i64(struct str s, int64_t *ret);
/* Go's strconv.ParseBool: 1 t T TRUE true True 0 f F FALSE false False. */
bool str_to_bool(struct str s, bool *ret);
bool str_is_utf8(struct str s);
/* Decodes the first character; returns its length in bytes, 0 for the empty string. A byte
 * that begins no valid sequence counts as U+FFFD of length 1. */
size_t str_rune(struct str s, uint32_t *ret_rune);
/* Writes the UTF-8 form of a code point (U+FFFD for what is none) and returns its length. */
size_t str_put_rune(uint32_t rune, char out[4]);
/* FNV-1a based hash, for tables only. */
uint64_t str_hash(struct str s);

/* Copies into the arena, with a NUL after the last byte. */
struct str str_dup(struct arena *a, struct str s);
/* The same as a C string. */
char *str_cstr(struct arena *a, struct str s);
/* Heap copy, to be freed by the caller. */
char *str_heap(struct str s);

#endif
