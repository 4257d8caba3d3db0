/* Words of a Dockerfile: quotes, escapes and variables, as a shell treats them. */
#ifndef FRONTEND_DOCKERFILE_SHELL_H
#define FRONTEND_DOCKERFILE_SHELL_H

#include "frontend/dockerfile/env.h"
#include "frontend/dockerfile/text.h"

struct shell {
	char escape;      /* \ or ` */
	bool raw_quotes;  /* quotes stay in the result */
	bool raw_escapes; /* and escapes */
	bool skip_quotes; /* quotes are plain characters */
	bool skip_unset;  /* an unset variable stays as it is written */
};

/* Names that were looked up, found or not; in order, once each. */
struct shell_names {
	struct strs matched, unmatched;
};

/* The word with its variables expanded. names may be NULL. Errors: `failed to process "W": ...`. */
struct err *shell_word(struct arena *a, const struct shell *sh, struct str word,
		       const struct env *env, struct shell_names *names,
		       struct str *ret) ERR_RESULT;
/* The same, split at unquoted white space (of values too). */
struct err *shell_words(struct arena *a, const struct shell *sh, struct str word,
			const struct env *env, struct strs *ret) ERR_RESULT;

#endif
