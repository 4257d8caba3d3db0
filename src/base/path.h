/* Slash-separated paths as Go's path package treats them. Results live in the arena. */
#ifndef BASE_PATH_H
#define BASE_PATH_H

#include "base/arena.h"

struct str path_clean(struct arena *a, struct str p);                   /* "" -> "." */
struct str path_join(struct arena *a, struct str dir, struct str name); /* cleaned */
struct str path_base(struct str p);                                     /* "" -> ".", "/" -> "/" */
struct str path_dir(struct arena *a, struct str p);
bool path_is_abs(struct str p);

#endif
