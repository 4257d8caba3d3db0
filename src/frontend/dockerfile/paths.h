/* Paths of instructions, relative to a working directory. On Windows backslashes separate and a
 * drive letter goes. */
#ifndef FRONTEND_DOCKERFILE_PATHS_H
#define FRONTEND_DOCKERFILE_PATHS_H

#include "codec/platform.h"

/* Absolute; joined to dir when p is relative, which also cleans it (an absolute one stays as it
 * is). keep_slash: an ending of / or /. stays. */
struct str paths_absolute(struct arena *a, struct str dir, struct str p, const struct platform *os,
			  bool keep_slash);
/* As above, always clean. */
struct str paths_clean(struct arena *a, struct str dir, struct str p, bool keep_slash);
bool paths_is_abs(struct arena *a, struct str p, const struct platform *os);
struct str paths_to_slash(struct arena *a, struct str p, const struct platform *os);
/* For the image config. */
struct str paths_from_slash(struct arena *a, struct str p, const struct platform *os);

#endif
