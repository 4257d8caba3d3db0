/* Parser directives: `# syntax=`, `# escape=` and `# check=` comments at the very top of a file. */
#ifndef FRONTEND_DOCKERFILE_DIRECTIVE_H
#define FRONTEND_DOCKERFILE_DIRECTIVE_H

#include "base/arena.h"
#include "base/err.h"

/* Reads directives line by line, until the first line that is none. */
struct directives {
	struct str sign; /* of a comment: #, // or nothing */
	unsigned seen;
	bool done;
};

struct directive {
	struct str name; /* syntax, escape or check: a literal */
	struct str value;
};

/* line has no newline. *ret_found tells whether it was one. An error ("only one X parser directive
 * can be used") for a repeated one. */
struct err *directive_line(struct directives *d, struct str line, bool *ret_found,
			   struct directive *ret) ERR_RESULT;
/* The value of a directive of a file; false when there is none. *ret_line (may be NULL) is where.
 */
bool directive_find(struct str data, struct str name, struct str *ret, int *ret_line);
/* What frontend a file asks for: also `// syntax=` and {"syntax": "..."}; a #! line is skipped.
 * *ret_ref is the first word of *ret_value. */
bool directive_syntax(struct arena *a, struct str data, struct str *ret_ref, struct str *ret_value,
		      int *ret_line);

#endif
