/* A bare git repository on disk, driven by the git program with a clean environment. */
#ifndef SOURCE_GITREPO_H
#define SOURCE_GITREPO_H

#include "base/arena.h"
#include "base/ctx.h"
#include "source/source.h"

#define GIT_SHA_MAX 64

struct gitrepo {
	struct ctx *ctx;
	const struct source_progress *progress; /* git's chatter goes to its log; may be NULL */
	const char *dir;                        /* of the bare repository */
	const char *remote;                     /* URL */
	const char *auth_header;                /* "Authorization: ..." for http remotes, or NULL */
	const char *known_hosts;                /* file, or NULL: hosts are not checked */
	const char *ssh_socket;                 /* SSH_AUTH_SOCK, or NULL */
};

/* Names a commit fully: 40 or 64 lower-case hex digits. */
bool git_is_sha(struct str s);
/* URL without user and password, for texts. */
char *git_redact(struct arena *a, struct str url);
/* Runs git with args (NULL-terminated); output (may be NULL) gets what it prints. work_tree may be
 * NULL. Errors: "failed to fetch remote URL"-like texts are the caller's, this gives
 * `git <args>: <exit status>: <stderr>`. */
struct err *git_run(const struct gitrepo *r, const char *work_tree, const char *const *args,
		    struct buf *output) ERR_RESULT;
/* Creates the bare repository unless it is one. */
struct err *gitrepo_init(const struct gitrepo *r, bool sha256) ERR_RESULT;

struct git_ref {
	char commit[GIT_SHA_MAX + 1]; /* peeled */
	char object[GIT_SHA_MAX + 1]; /* the annotated tag, or the commit */
	struct str name;              /* refs/heads/main, ...; in the arena */
};
/* By ls-remote: refs/<ref>, refs/heads/<ref>, refs/tags/<ref>; empty: what HEAD names.
 * NOT_FOUND `repository does not contain ref X, output: "..."`. */
struct err *git_resolve(const struct gitrepo *r, struct str ref, struct arena *a,
			struct git_ref *ret) ERR_RESULT;
/* Has the repository this object? */
bool git_has(const struct gitrepo *r, const char *sha);
/* Makes sha available. name is the ref it was found under, or empty: then everything is fetched
 * (or just the object, with by_commit). */
struct err *git_fetch(const struct gitrepo *r, const char *sha, struct str name,
		      bool by_commit) ERR_RESULT;

#endif
