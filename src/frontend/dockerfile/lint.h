/* Warnings about questionable Dockerfiles: the rules (lint.def) and what silences them. */
#ifndef FRONTEND_DOCKERFILE_LINT_H
#define FRONTEND_DOCKERFILE_LINT_H

#include "frontend/dockerfile/lex.h"

enum lint_id {
#define LINT_RULE(id, ...) LINT_##id,
#include "frontend/dockerfile/lint.def"
#undef LINT_RULE
};

struct lint_rule {
	const char *name, *description, *url, *format;
	bool experimental;
};

/* `skip=A,B;error=true;experimental=all` */
struct lint_config {
	bool skip_all, experimental_all, as_error;
	struct strs skip, experimental;
};

struct lint {
	struct arena *a;
	struct lint_config config;
	struct strs *called; /* rules that spoke; shared by copies */
	/* NULL: rules are not looked at. */
	void (*warn)(void *arg, const struct lint_rule *rule, const char *text, struct loc loc);
	void *arg;
};

struct err *lint_parse_config(struct arena *a, struct str text, struct lint_config *ret) ERR_RESULT;
/* With what a `# check=` comment before an instruction adds. */
struct lint lint_for(const struct lint *l, const struct strs *comments);
/* The rule's format wants C strings; quoted ones are quoted by the caller. */
void lint_run(const struct lint *l, enum lint_id id, struct loc loc, ...);
/* When warnings are to fail the build and there were some. */
struct err *lint_error(const struct lint *l) ERR_RESULT;

#endif
