/* Errors as the client shows them: source excerpts first, then the text. */
#ifndef CLI_ERRORS_H
#define CLI_ERRORS_H

#include "base/err.h"

#include <stdio.h>

void cli_print_error(const struct err *e, bool debug, FILE *out);

#endif
