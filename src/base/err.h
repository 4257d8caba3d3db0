/* Error values. A function that can fail returns `struct err *`: NULL is success.
 * The receiver owns the error and returns, wraps, logs or frees it. Out-parameters
 * named ret_* are written on success only.
 *
 * An error has a gRPC code, optionally an errno, a text (outermost wrap first,
 * parts joined by ": " as Go programs print them) and typed details, which travel
 * as google.protobuf.Any of a gRPC status.
 *
 * Not thread-safe; one owner at a time. err_dup() to hand one to several waiters. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/cleanup.h"
#include "base/str.h"

#include <stdarg.h>

struct err;

enum err_code {
#define ERR_CODE(name, num, text) ERR_##name = (num),
#include "base/err_codes.def"
#undef ERR_CODE
};

#define ERR_RESULT __attribute__((warn_unused_result))

struct err *err_new(enum err_code code, const char *fmt, ...) ERR_RESULT
	__attribute__((returns_nonnull, format(printf, 2, 3)));
struct err *err_newv(enum err_code code, const char *fmt, va_list ap) ERR_RESULT
	__attribute__((returns_nonnull, format(printf, 2, 0)));
/* "<text>: <what strerror says, in Go's lower-case wording>"; the code follows the
 * errno: ENOENT NOT_FOUND, EEXIST ALREADY_EXISTS, ENOSPC/ENOMEM/EDQUOT
 * RESOURCE_EXHAUSTED, EIO INTERNAL, else UNKNOWN. */
struct err *err_errno(int errnum, const char *fmt, ...) ERR_RESULT
	__attribute__((returns_nonnull, format(printf, 2, 3)));
/* Takes e, gives it back with "<text>: " in front. NULL stays NULL. */
struct err *err_wrap(struct err *take_e, const char *fmt, ...) ERR_RESULT
	__attribute__((format(printf, 2, 3)));
struct err *err_dup(const struct err *e) ERR_RESULT;
/* NULL is fine. */
void err_free(struct err *e);
void err_freep(struct err **e);

enum err_code err_code(const struct err *e); /* ERR_OK for NULL */
void err_set_code(struct err *e, enum err_code code);
int err_get_errno(const struct err *e);    /* 0 when there is none */
const char *err_text(const struct err *e); /* "" for NULL; lives as long as e */
bool err_is(const struct err *e, enum err_code code);
const char *err_code_name(enum err_code code);

/* Typed details, in the order they were added. Values are copied. */
void err_add_detail(struct err *e, const char *type_url, struct str value);
size_t err_detail_count(const struct err *e);
const char *err_detail(const struct err *e, size_t i, struct str *ret_value);
bool err_has_detail(const struct err *e, const char *type_url);

/* Of a clean-up that fails after another failure: keeps the first, frees the second. */
struct err *err_first(struct err *take_a, struct err *take_b) ERR_RESULT;

#define TRY(expr)                                                                                  \
	do {                                                                                       \
		struct err *try_ = (expr);                                                         \
		if (try_)                                                                          \
			return try_;                                                               \
	} while (0)

#define TRYW(expr, ...)                                                                            \
	do {                                                                                       \
		struct err *try_ = (expr);                                                         \
		if (try_)                                                                          \
			return err_wrap(try_, __VA_ARGS__);                                        \
	} while (0)

#define SCOPED_ERR(name) CLEANUP(err_freep) struct err *name = NULL

#endif
