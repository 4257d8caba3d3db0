/* TOML 1.0 parser, for buildkitd.toml. */
#ifndef BASE_TOML_H
#define BASE_TOML_H

#include "base/arena.h"
#include "base/err.h"

enum toml_type {
	TOML_TABLE,
	TOML_ARRAY,
	TOML_STRING,
	TOML_INT,
	TOML_FLOAT,
	TOML_BOOL,
	TOML_DATETIME
};

struct toml {
	enum toml_type type;
	struct str key;     /* within the parent table */
	struct toml *next;  /* sibling */
	struct toml *child; /* first element of a table or array */
	struct str string;  /* STRING and DATETIME (as written) */
	int64_t integer;
	double real;
	bool boolean;
	int line;
};

/* INVALID_ARGUMENT "line N: ..." on junk. The tree lives in the arena. */
struct err *toml_parse(struct arena *a, struct str text, struct toml **ret_root) ERR_RESULT;
/* By key, exact; Go's decoder also takes any case, so a second pass ignores case. NULL when absent.
 */
struct toml *toml_get(const struct toml *table, const char *key);
/* Dotted path of plain keys. */
struct toml *toml_path(const struct toml *table, const char *path);

#endif
