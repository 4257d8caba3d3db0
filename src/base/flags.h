/* Command-line flags by table, with the conventions of the original's command line:
 * `--name value`, `--name=value`, one or two dashes, booleans without a value or as
 * `--name=false`, repeatable string lists that are not split on commas. Parsing stops at
 * the first argument that is no flag, or after "--". */
#ifndef BASE_FLAGS_H
#define BASE_FLAGS_H

#include "base/arena.h"
#include "base/err.h"

#include <stdio.h>

enum flag_type { FLAG_BOOL, FLAG_STRING, FLAG_INT, FLAG_FLOAT, FLAG_DURATION, FLAG_LIST };

struct flag_list {
	char **items;
	size_t n;
};

struct flag {
	const char *name;
	const char *alias; /* one more name, or NULL */
	enum flag_type type;
	const char *help;
	const char *env; /* used when the flag is not given; or NULL */
	bool hidden;
	/* Where the value goes: bool, const char *, int64_t, double, int64_t (ns), struct
	 * flag_list, by type. Holds the default before. */
	void *value;
	bool *was_set; /* or NULL */
};

/* Reads flags from argv[*at] on; leaves *at at the first other argument. Values point into
 * argv or the arena. INVALID_ARGUMENT "flag provided but not defined: -x",
 * "flag needs an argument: -x", `invalid value "v" for flag -x: ...`. *ret_help: --help
 * or -h was given. */
struct err *flags_parse(struct arena *a, const struct flag *flags, size_t n, int argc, char **argv,
			int *at, bool *ret_help) ERR_RESULT;
/* One line a visible flag, as help text. */
void flags_describe(const struct flag *flags, size_t n, FILE *out);

#endif
