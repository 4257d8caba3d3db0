/* Expansion and splitting: the first byte chooses the mode, a line each for NAME=VALUE and the
 * word. */
#include "frontend/dockerfile/heredoc.h"
#include "frontend/dockerfile/run_mount.h"
#include "frontend/dockerfile/shell.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned mode = size ? data[0] : 0;
	struct str rest = str_make(data + (size > 0), size - (size > 0)), line, key, value, word;
	struct shell sh = {
		.escape = mode & 1 ? '`' : '\\',
		.raw_quotes = mode & 2,
		.raw_escapes = mode & 4,
		.skip_quotes = mode & 8,
		.skip_unset = mode & 16,
	};
	SCOPED_ARENA(a);
	struct env env = { 0 };
	struct shell_names names;
	struct heredoc *docs;
	struct strs words;
	struct run_device dev;
	struct run_mount m;
	size_t n;

	while (str_cut(rest, '\n', &line, &rest))
		if (str_cut(line, '=', &key, &value))
			env_set(&a, &env, key, value);
	err_free(shell_word(&a, &sh, line, &env, &names, &word));
	err_free(shell_words(&a, &sh, line, &env, &words));
	err_free(heredoc_line(&a, line, &docs, &n));
	err_free(run_device_parse(&a, line, &dev));
	err_free(run_mount_from(&a, line, &m));
	return 0;
}
