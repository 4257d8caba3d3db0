#include "source/gitrepo.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/vec.h"
#include "sys/file.h"
#include "sys/proc.h"

#define MAX_ARGS 64
#define OUTPUT_MAX (8 * MIB)

bool git_is_sha(struct str s)
{
	if (s.len != 40 && s.len != 64)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!((s.ptr[i] >= '0' && s.ptr[i] <= '9') || (s.ptr[i] >= 'a' && s.ptr[i] <= 'f')))
			return false;
	return true;
}

char *git_redact(struct arena *a, struct str url)
{
	ptrdiff_t scheme = str_find_str(url, STR("://")), at, slash;
	struct str rest;

	if (scheme < 0)
		return str_cstr(a, url);
	rest = str_sub(url, (size_t)scheme + 3, url.len);
	slash = str_find(rest, '/');
	at = str_rfind(str_sub(rest, 0, slash < 0 ? rest.len : (size_t)slash), '@');
	if (at < 0)
		return str_cstr(a, url);
	return arena_printf(a, "%.*s://xxxxx@%.*s", (int)scheme, url.ptr,
			    STR_ARG(str_sub(rest, (size_t)at + 1, rest.len)));
}

/* Only these variables: a user's configuration must not change what is built. */
static const char *const *make_env(const struct gitrepo *r, struct arena *a)
{
	static const char *const pass[] = { "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
					    "http_proxy", "https_proxy", "no_proxy", "all_proxy" };
	const char **env = ARENA_NEW_N(a, const char *, 32);
	const char *path = getenv("PATH");
	size_t n = 0;

	env[n++] = arena_printf(a, "PATH=%s", path ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
	env[n++] = "GIT_TERMINAL_PROMPT=0";
	env[n++] = r->known_hosts
			   ? arena_printf(a,
					  "GIT_SSH_COMMAND=ssh -F /dev/null -o "
					  "UserKnownHostsFile=%s -o StrictHostKeyChecking=yes",
					  r->known_hosts)
			   : "GIT_SSH_COMMAND=ssh -F /dev/null -o StrictHostKeyChecking=no";
	env[n++] = "LC_ALL=C";
	env[n++] = "GIT_CONFIG_NOSYSTEM=1";
	env[n++] = "HOME=/dev/null";
	env[n++] = "GIT_CONFIG_GLOBAL=/dev/null";
	if (r->ssh_socket)
		env[n++] = arena_printf(a, "SSH_AUTH_SOCK=%s", r->ssh_socket);
	for (size_t i = 0; i < ARRAY_SIZE(pass); i++) {
		const char *v = getenv(pass[i]);

		if (v)
			env[n++] = arena_printf(a, "%s=%s", pass[i], v);
	}
	return env;
}

/* scheme://host/ of the remote: the header must not follow it elsewhere. */
static char *auth_config(const struct gitrepo *r, struct arena *a)
{
	struct str url = str_from(r->remote);
	ptrdiff_t scheme = str_find_str(url, STR("://")), slash;

	if (scheme < 0)
		return NULL;
	slash = str_find(str_sub(url, (size_t)scheme + 3, url.len), '/');
	if (slash < 0)
		slash = (ptrdiff_t)url.len - scheme - 3;
	return arena_printf(a, "http.%.*s/.extraheader=%s", (int)(scheme + 3 + slash), r->remote,
			    r->auth_header);
}

struct err *git_run(const struct gitrepo *r, const char *work_tree, const char *const *args,
		    struct buf *output)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(errors, 64 * KIB);
	SCOPED_BUF(ignored, OUTPUT_MAX);
	struct proc_spec spec = PROC_SPEC_INIT;
	const char *argv[MAX_ARGS];
	struct proc_status st;
	char text[64];
	size_t n = 0;

	/* The daemon's umask is 0; a checkout needs an ordinary one. */
	argv[n++] = "sh";
	argv[n++] = "-c";
	argv[n++] = "umask 022 && exec git \"$@\"";
	argv[n++] = "git";
	argv[n++] = "-c";
	argv[n++] = "protocol.file.allow=user";
	if (r->auth_header && auth_config(r, &a)) {
		argv[n++] = "-c";
		argv[n++] = auth_config(r, &a);
	}
	if (work_tree) {
		argv[n++] = "--work-tree";
		argv[n++] = work_tree;
	}
	if (r->dir) {
		argv[n++] = "--git-dir";
		argv[n++] = r->dir;
	}
	for (size_t i = 0; args[i]; i++) {
		if (n + 1 >= MAX_ARGS)
			return err_new(ERR_INTERNAL, "too many arguments for git");
		argv[n++] = args[i];
	}
	argv[n] = NULL;
	spec.file = "/bin/sh";
	spec.argv = argv;
	spec.envp = make_env(r, &a);
	spec.cwd = work_tree;
	spec.new_session = true;
	TRY(proc_run(&spec, r->ctx, STR_NONE, output ? output : &ignored, &errors, &st));
	if (errors.len)
		source_log(r->progress, 2, buf_str(&errors));
	if (st.exited && st.code == 0)
		return NULL;
	return err_new(ERR_UNKNOWN, "git %s: %s: %s", args[0],
		       proc_status_text(&st, text, sizeof(text)), buf_cstr(&errors));
}

#define GIT(r, wt, out, ...) git_run((r), (wt), (const char *const[]) { __VA_ARGS__, NULL }, (out))

struct err *gitrepo_init(const struct gitrepo *r, bool sha256)
{
	SCOPED_ARENA(a);

	if (file_exists(AT_FDCWD, arena_printf(&a, "%s/HEAD", r->dir)))
		return GIT(r, NULL, NULL, "remote", "set-url", "origin", r->remote);
	TRYW(GIT(r, NULL, NULL, "-c", "init.defaultBranch=master", "init", "--bare",
		 sha256 ? "--object-format=sha256" : "--object-format=sha1"),
	     "failed to init repo at %s", r->dir);
	return GIT(r, NULL, NULL, "remote", "add", "origin", r->remote);
}

/* ---- resolving ---- */

static bool take_ref(struct str listing, struct str name, struct str *ret_sha)
{
	for (struct str line; str_next(&listing, '\n', &line);) {
		struct str sha, ref;

		if (!str_has_prefix(line, STR("ref: ")) && str_cut(line, '\t', &sha, &ref) &&
		    str_eq(ref, name)) {
			*ret_sha = sha;
			return true;
		}
	}
	return false;
}

static bool use_ref(struct str listing, const char *name, struct arena *a, struct git_ref *ret)
{
	struct str sha, peeled;

	if (!take_ref(listing, str_from(name), &sha) || sha.len > GIT_SHA_MAX)
		return false;
	peeled = sha;
	(void)take_ref(listing, str_from(arena_printf(a, "%s^{}", name)), &peeled);
	if (peeled.len > GIT_SHA_MAX)
		return false;
	memcpy(ret->object, sha.ptr, sha.len);
	ret->object[sha.len] = '\0';
	memcpy(ret->commit, peeled.ptr, peeled.len);
	ret->commit[peeled.len] = '\0';
	ret->name = str_from(name);
	return true;
}

/* "ref: refs/heads/main\tHEAD" */
static char *head_target(struct str listing, struct arena *a)
{
	for (struct str line; str_next(&listing, '\n', &line);) {
		struct str target, name;

		if (!str_has_prefix(line, STR("ref: ")) || !str_cut(line, '\t', &target, &name) ||
		    !str_eq_cstr(name, "HEAD"))
			continue;
		return str_cstr(a, str_sub(target, 5, target.len));
	}
	return NULL;
}

struct err *git_resolve(const struct gitrepo *r, struct str ref, struct arena *a,
			struct git_ref *ret)
{
	SCOPED_BUF(out, OUTPUT_MAX);
	struct str listing;
	char *head;

	if (!ref.len) {
		TRYW(GIT(r, NULL, &out, "ls-remote", "--symref", r->remote, "HEAD"),
		     "failed to fetch remote %s", git_redact(a, str_from(r->remote)));
		listing = str_dup(a, buf_str(&out));
		head = head_target(listing, a);
		if (use_ref(listing, "HEAD", a, ret)) {
			if (head)
				ret->name = str_from(head);
			return NULL;
		}
		return err_new(ERR_NOT_FOUND, "could not find default branch of %s, output: \"%s\"",
			       git_redact(a, str_from(r->remote)), buf_cstr(&out));
	}
	TRYW(GIT(r, NULL, &out, "ls-remote", r->remote, str_cstr(a, ref),
		 arena_printf(a, "%.*s^{}", STR_ARG(ref))),
	     "failed to fetch remote %s", git_redact(a, str_from(r->remote)));
	listing = str_dup(a, buf_str(&out));
	if (use_ref(listing, arena_printf(a, "refs/%.*s", STR_ARG(ref)), a, ret) ||
	    use_ref(listing, str_cstr(a, ref), a, ret) ||
	    use_ref(listing, arena_printf(a, "refs/heads/%.*s", STR_ARG(ref)), a, ret) ||
	    use_ref(listing, arena_printf(a, "refs/tags/%.*s", STR_ARG(ref)), a, ret))
		return NULL;
	return err_new(ERR_NOT_FOUND, "repository does not contain ref %.*s, output: \"%s\"",
		       STR_ARG(ref), buf_cstr(&out));
}

/* ---- fetching ---- */

bool git_has(const struct gitrepo *r, const char *sha)
{
	SCOPED_ARENA(a);
	struct gitrepo quiet = *r;
	struct err *e;
	bool ok;

	quiet.progress = NULL;
	e = GIT(&quiet, NULL, NULL, "cat-file", "-e", arena_printf(&a, "%s^{commit}", sha));
	ok = !e;
	err_free(e);
	return ok;
}

/* Servers of plain files can't do shallow fetches: then all of it. */
static struct err *fetch_refspec(const struct gitrepo *r, const char *spec)
{
	struct gitrepo quiet = *r;
	struct err *e;

	quiet.progress = NULL;
	e = GIT(&quiet, NULL, NULL, "fetch", "-u", "--depth=1", "--no-tags", "--force", "origin",
		spec);
	if (!e)
		return NULL;
	err_free(e);
	TRY(ctx_err(r->ctx));
	return GIT(r, NULL, NULL, "fetch", "-u", "--no-tags", "--force", "origin", spec);
}

struct err *git_fetch(const struct gitrepo *r, const char *sha, struct str name, bool by_commit)
{
	SCOPED_ARENA(a);
	struct err *e;

	if (git_has(r, sha))
		return NULL;
	if (name.len && !str_eq_cstr(name, "HEAD"))
		e = fetch_refspec(r, arena_printf(&a, "%.*s:refs/buildkit/%s", STR_ARG(name), sha));
	else if (name.len || by_commit)
		e = fetch_refspec(
			r, arena_printf(&a, "%s:refs/buildkit/%s", name.len ? "HEAD" : sha, sha));
	else if (file_exists(AT_FDCWD, arena_printf(&a, "%s/shallow", r->dir)))
		e = GIT(r, NULL, NULL, "fetch", "-u", "--unshallow", "--tags", "--force", "origin",
			"+refs/heads/*:refs/remotes/origin/*");
	else
		e = GIT(r, NULL, NULL, "fetch", "-u", "--tags", "--force", "origin",
			"+refs/heads/*:refs/remotes/origin/*");
	TRYW(e, "failed to fetch remote %s", git_redact(&a, str_from(r->remote)));
	if (!git_has(r, sha))
		return err_new(ERR_NOT_FOUND, "failed to fetch remote %s: commit %s is not there",
			       git_redact(&a, str_from(r->remote)), sha);
	return NULL;
}
