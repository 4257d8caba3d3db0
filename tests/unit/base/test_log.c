#include "check.h"

#include "base/json.h"
#include "base/log.h"

#include <fcntl.h>
#include <unistd.h>

/* What fn prints on stderr. */
static void captured(void (*fn)(void), struct buf *out)
{
	char text[8192];
	int fds[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(pipe(fds), 0);
	(void)dup2(fds[1], STDERR_FILENO);
	(void)close(fds[1]);
	fn();
	(void)dup2(saved, STDERR_FILENO);
	(void)close(saved);
	while ((n = read(fds[0], text, sizeof(text))) > 0)
		buf_add(out, text, (size_t)n);
	(void)close(fds[0]);
}

static void print_some(void)
{
	log_debug("hidden");
	log_info("say \"%s\"", "hi");
	log_warn("two\nlines\tand\\ \x01");
}

static void as_text(void **state)
{
	SCOPED_BUF(out, 64 * 1024);
	struct str rest, line;

	log_setup(LOG_INFO, false);
	captured(print_some, &out);
	rest = buf_str(&out);
	assert_true(str_next(&rest, '\n', &line));
	assert_true(str_has_prefix(line, STR("time=\"2")));
	assert_true(str_has_suffix(line, STR(" level=info msg=\"say \\\"hi\\\"\"")));
	assert_true(str_next(&rest, '\n', &line));
	assert_true(
		str_has_suffix(line, STR(" level=warning msg=\"two\\nlines\\tand\\\\ \\u0001\"")));
	STR_IS(rest, "");
}

static void as_json(void **state)
{
	SCOPED_BUF(out, 64 * 1024);
	struct str rest, line;
	SCOPED_JSON(j);

	log_setup(LOG_WARN, true);
	captured(print_some, &out);
	rest = buf_str(&out);
	assert_true(str_next(&rest, '\n', &line));
	OK(json_read(line, "line", &j));
	STR_IS(json_get_str(j, "level"), "warning");
	STR_IS(json_get_str(j, "msg"), "two\nlines\tand\\ \x01");
	assert_true(json_get_str(j, "time").len > 19);
	STR_IS(rest, "");
}

static void levels(void **state)
{
	enum log_level l;

	log_setup(LOG_ERROR, false);
	assert_false(log_enabled(LOG_WARN));
	assert_true(log_enabled(LOG_ERROR));
	assert_true(log_parse_level(STR("DEBUG"), &l) && l == LOG_DEBUG);
	assert_true(log_parse_level(STR("warn"), &l) && l == LOG_WARN);
	assert_true(log_parse_level(STR("warning"), &l) && l == LOG_WARN);
	assert_true(log_parse_level(STR("panic"), &l) && l == LOG_FATAL);
	assert_false(log_parse_level(STR("loud"), &l));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_text),
		cmocka_unit_test(as_json),
		cmocka_unit_test(levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
