/* File name patterns: Go's filepath.Match, and dockerignore lists as
 * moby/patternmatcher treats them (`**`, `!` negation, parents match children). */
#ifndef BASE_GLOB_H
#define BASE_GLOB_H

#include "base/arena.h"
#include "base/err.h"

/* INVALID_ARGUMENT "syntax error in pattern" on a bad pattern. */
struct err *glob_match(struct str pattern, struct str name, bool *ret) ERR_RESULT;
bool glob_has_meta(struct str pattern);

struct patterns; /* immutable once made: shared between threads */
struct err *patterns_new(struct arena *a, const struct str *list, size_t n,
			 struct patterns **ret) ERR_RESULT;
bool patterns_has_exclusions(const struct patterns *p);
/* Does the last matching pattern (or one for a parent dir) exclude path? path is
 * relative and clean. MatchesOrParentMatches. */
struct err *patterns_match(const struct patterns *p, struct str path, bool *ret) ERR_RESULT;
/* Incremental form for tree walks: the verdicts for the parent dir come in as parent (NULL at
 * the top) and go out as *ret_state (in arena), as MatchesUsingParentResults. */
struct match_state;
struct err *patterns_match_walk(const struct patterns *p, struct arena *a, struct str path,
				const struct match_state *parent, bool *ret,
				struct match_state **ret_state) ERR_RESULT;
/* Could anything below dir match (so that a walk must enter it)? For include patterns: a literal
 * prefix test that errs on the side of yes. */
bool patterns_may_match_below(const struct patterns *p, struct str dir);

#endif
