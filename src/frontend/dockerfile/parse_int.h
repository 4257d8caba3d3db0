/* Inside of the parser: a function an instruction. */
#ifndef FRONTEND_DOCKERFILE_PARSE_INT_H
#define FRONTEND_DOCKERFILE_PARSE_INT_H

#include "frontend/dockerfile/flags.h"
#include "frontend/dockerfile/parse.h"

struct parsing {
	struct arena *a;
	const struct instr_line *line;
	struct lint lint;
	struct instr *out; /* what all instructions have is filled in */
};

typedef struct err *(*parse_fn)(struct parsing *p);

#define INSTR(name, ...) struct err *parse_##name(struct parsing *p) ERR_RESULT;
#include "frontend/dockerfile/instr.def"
#undef INSTR

struct err *need_args(const char *name) ERR_RESULT;
struct err *need_one_arg(const struct parsing *p) ERR_RESULT;
struct err *no_flags(const struct parsing *p) ERR_RESULT;
struct str doc_comment(const struct strs *comments, struct str name);
void check_description(const struct parsing *p, const char *what, const struct strs *names);

#endif
