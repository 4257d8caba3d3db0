/* Flags of an instruction: --name, --name=value. */
#ifndef FRONTEND_DOCKERFILE_FLAGS_H
#define FRONTEND_DOCKERFILE_FLAGS_H

#include "frontend/dockerfile/text.h"

enum flag_kind { FLAG_BOOL, FLAG_TEXT, FLAG_LIST };

/* Name and kind (and a default text) are the caller's, the rest is filled in. */
struct flag {
	const char *name;
	enum flag_kind kind;
	struct str text;
	bool used, on;
	struct strs list;
};

struct err *instr_flags_parse(struct arena *a, const struct strs *words, struct flag *flags,
			      size_t n) ERR_RESULT;

#endif
