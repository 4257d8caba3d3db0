/* Splitting one joined line of a Dockerfile. */
#ifndef FRONTEND_DOCKERFILE_WORDS_H
#define FRONTEND_DOCKERFILE_WORDS_H

#include "frontend/dockerfile/lex.h"

/* Name, flags and arguments of line into ret. */
struct err *words_split_line(struct arena *a, struct str line, char escape,
			     struct instr_line *ret) ERR_RESULT;
/* May the instruction carry heredocs? Looks through one ONBUILD. */
bool words_take_heredocs(struct arena *a, const struct instr_line *line, char escape);

#endif
