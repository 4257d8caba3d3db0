/* YAML 1.1 files of machine configuration (CDI), read into the values that json.h reads. Not the
 * whole language: one document, no aliases, no merge keys, keys are scalars. Plain scalars are
 * null, booleans or whole numbers where they look so; the rest are strings. JSON is YAML too. */
#ifndef BASE_YAML_H
#define BASE_YAML_H

#include "base/json.h"

/* INVALID_ARGUMENT naming what on junk. Depth and number of values are bounded. The caller
 * json_decrefs. */
struct err *yaml_read(struct str text, const char *what, json_t **ret) ERR_RESULT;

#endif
