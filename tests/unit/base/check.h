/* What most tests need: cmocka and short checks of errors and slices. */
#ifndef TEST_CHECK_H
#define TEST_CHECK_H

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define OK(expr)                                                                                   \
	do {                                                                                       \
		struct err *ok_ = (expr);                                                          \
		if (ok_)                                                                           \
			fail_msg("%s", err_text(ok_));                                             \
	} while (0)

/* Fails with this code and this text. */
#define FAILS(expr, code_, text_)                                                                  \
	do {                                                                                       \
		struct err *fails_ = (expr);                                                       \
		if (!fails_)                                                                       \
			fail_msg("no error, expected %s", (text_));                                \
		assert_string_equal(err_text(fails_), (text_));                                    \
		assert_int_equal(err_code(fails_), (code_));                                       \
		err_free(fails_);                                                                  \
	} while (0)

#define FAILS_CODE(expr, code_)                                                                    \
	do {                                                                                       \
		struct err *fails_ = (expr);                                                       \
		assert_int_equal(err_code(fails_), (code_));                                       \
		err_free(fails_);                                                                  \
	} while (0)

#define STR_IS(s, text)                                                                            \
	do {                                                                                       \
		struct str str_is_ = (s);                                                          \
		struct str want_ = STR(text);                                                      \
		if (!str_eq(str_is_, want_))                                                       \
			fail_msg("got \"%.*s\", expected \"%.*s\"", STR_ARG(str_is_),              \
				 STR_ARG(want_));                                                  \
	} while (0)

#define BUF_IS(b, text) STR_IS(buf_str(b), text)

#endif
