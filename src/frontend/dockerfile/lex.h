/* A Dockerfile as instructions: continuation lines joined, comments and directives taken out, the
 * name, the flags and the arguments told apart, heredocs collected. What the arguments mean is
 * parse.h's business. */
#ifndef FRONTEND_DOCKERFILE_LEX_H
#define FRONTEND_DOCKERFILE_LEX_H

#include "frontend/dockerfile/heredoc.h"
#include "frontend/dockerfile/text.h"

/* Lines of a file, the first one is 1. Not set: nowhere. */
struct loc {
	int start, end;
	bool set;
};

static inline struct loc loc_lines(int start, int end)
{
	return (struct loc) { start, end > start ? end : start, true };
}

struct instr_line {
	struct str name;     /* as written */
	struct str original; /* the joined line */
	struct strs flags;   /* "--name=value" words, unquoted */
	struct strs args;    /* PAIRS: key, value, "=" or "" for each */
	bool json;           /* args are from a JSON array */
	struct heredoc *heredocs;
	size_t n_heredocs;
	struct loc loc;
	struct strs comments; /* directly before */
};

struct instr_lines {
	struct instr_line *items;
	size_t len, cap;
	char escape;
	int *empty_continuations; /* lines at which an instruction with empty lines in it ends */
	size_t n_empty_continuations, cap_empty_continuations;
};

/* *ret_loc is set on failure: where. */
struct err *lex_file(struct arena *a, struct str data, struct instr_lines *ret,
		     struct loc *ret_loc) ERR_RESULT;

#endif
