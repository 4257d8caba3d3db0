/* Questions about a Dockerfile instead of a build of it (option requestid). */
#ifndef FRONTEND_DOCKERFILE_SUBREQUEST_H
#define FRONTEND_DOCKERFILE_SUBREQUEST_H

#include "base/json.h"
#include "frontend/dockerfile/plan.h"

/* *ret_is: there was one. warn and arg are for the plans that are made. */
typedef void (*lint_warn_fn)(void *arg, const struct lint_rule *rule, const char *text,
			     struct loc loc);
struct err *subrequest_run(struct df *df, struct ctx *ctx, lint_warn_fn warn, void *arg,
			   bool *ret_is, struct frontend_result *ret) ERR_RESULT;

/* ---- one a file ---- */
struct err *subrequest_outline(struct plan *p, struct frontend_result *ret) ERR_RESULT;
struct err *subrequest_targets(struct df *df, struct frontend_result *ret) ERR_RESULT;
struct err *subrequest_lint(struct plan *p, struct frontend_result *ret) ERR_RESULT;
struct err *subrequest_convert(struct plan *p, struct frontend_result *ret) ERR_RESULT;

/* {"ranges":[...]} of pb.Location; source 0. */
void print_location(struct json_out *j, struct loc loc);
void print_ranges(struct json_out *j, const struct loc *locs, size_t n, bool merged);
/* The Dockerfile as pb.SourceInfo. */
Pb__SourceInfo *source_info(struct arena *a, const struct df *df);

#endif
