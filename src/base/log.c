#include "base/log.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

static atomic_int min_level = LOG_INFO;
static atomic_bool as_json;

static const char *const names[] = { "trace", "debug", "info", "warning", "error", "fatal" };

void log_setup(enum log_level min, bool json)
{
	atomic_store(&min_level, (int)min);
	atomic_store(&as_json, json);
}

bool log_parse_level(struct str s, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (str_eq_nocase(s, str_from(names[i]))) {
			*ret = (enum log_level)i;
			return true;
		}
	}
	if (str_eq_nocase(s, STR("warn"))) {
		*ret = LOG_WARN;
		return true;
	}
	if (str_eq_nocase(s, STR("panic"))) {
		*ret = LOG_FATAL;
		return true;
	}
	return false;
}

bool log_enabled(enum log_level level)
{
	return (int)level >= atomic_load(&min_level);
}

/* A quoted string both Go's %q and JSON would read back: escapes only what both know. */
static void add_quoted(struct buf *b, const char *s)
{
	buf_add_char(b, '"');
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\') {
			buf_add_char(b, '\\');
			buf_add_char(b, (char)c);
		} else if (c == '\n') {
			buf_add_cstr(b, "\\n");
		} else if (c == '\t') {
			buf_add_cstr(b, "\\t");
		} else if (c < 0x20) {
			buf_addf(b, "\\u%04x", c);
		} else {
			buf_add_char(b, (char)c);
		}
	}
	buf_add_char(b, '"');
}

void log_write(enum log_level level, const char *fmt, ...)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(line, 256 * 1024);
	va_list ap;
	char *msg;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	msg = arena_vprintf(&a, fmt, ap);
	va_end(ap);
	if (atomic_load(&as_json)) {
		buf_addf(&line, "{\"level\":\"%s\",\"msg\":", names[level]);
		add_quoted(&line, msg);
		buf_addf(&line, ",\"time\":\"%s\"}\n", clock_rfc3339(&a, clock_wall()));
	} else {
		buf_addf(&line, "time=\"%s\" level=%s msg=", clock_rfc3339(&a, clock_wall()),
			 names[level]);
		add_quoted(&line, msg);
		buf_add_char(&line, '\n');
	}
	/* One write, so that lines of several threads don't mix. */
	(void)!write(STDERR_FILENO, line.data, line.len);
}
