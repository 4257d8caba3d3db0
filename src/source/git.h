/* git://: a commit of a repository as a tree. */
#ifndef SOURCE_GIT_H
#define SOURCE_GIT_H

#include "source/source.h"

struct source *git_source_new(struct cache *c, struct session_manager *m, const char *tmp_dir);

#endif
