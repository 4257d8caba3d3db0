/* Stubs: the empty files and directories that a runtime makes in the root so that something can be
 * mounted on them. Found missing before a step, they are removed after it if they are still empty,
 * and the parent's times are what they were before the removal. */
#ifndef EXEC_STUBS_H
#define EXEC_STUBS_H

#include "base/arena.h"
#include "base/err.h"

/* Owned by the caller's arena; rootfd is borrowed at each call. */
struct stubs {
	struct str
		*paths; /* absolute in the root, without symlinks; deepest first for each place */
	size_t n, cap;
};

/* Notes what is missing of a path; with recursive its missing parents too, else only the last
 * component. A path through a symlink that can't be followed in the root is left out. */
void stubs_note(struct stubs *s, int rootfd, struct str path, bool recursive, struct arena *a);
/* Best effort: what can't be removed stays. */
void stubs_remove(const struct stubs *s, int rootfd);

#endif
