/* Git repositories as sources: URLs, user@host:path, the old github.com/... form, with a fragment
 * (#ref:dir) or a query (?ref=...&subdir=...). */
#ifndef FRONTEND_DOCKERFILE_GITREF_H
#define FRONTEND_DOCKERFILE_GITREF_H

#include "base/arena.h"
#include "base/err.h"
#include "frontend/dockerfile/parse.h"
#include "frontend/llbgen.h"

struct git_ref {
	struct str remote;     /* for git: without fragment and query */
	struct str host, path; /* what identifies it, whatever the protocol */
	struct str ref, subdir, checksum, mtime;
	enum tristate keep_git_dir, submodules;
	bool fetch_by_commit, ssh;
	bool like_local; /* github.com/...: could be a path as well */
};

/* False when text is none. True with *ret_err set when it is one, but wrong. */
bool git_ref_parse(struct arena *a, struct str text, struct git_ref *ret, struct err **ret_err);
/* The source op. What the caller decides: keep_git_dir, checksum and mtime in g; advice. */
struct llb_node *git_source(struct arena *a, const struct git_ref *g, bool advice);

/* http:// or https:// that is no git repository. */
bool http_is_source(struct arena *a, struct str text);
/* Name of the file behind a URL. */
struct str http_file_name(struct arena *a, struct str text);

#endif
