#include "source/git.h"

#include "base/id.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/path.h"
#include "source/gitrepo.h"
#include "sys/file.h"
#include "sys/inroot.h"
#include "sys/rmtree.h"
#include "sys/walk.h"

#include <errno.h>

struct git_source {
	struct source base;
	struct cache *cache;
	struct session_manager *sessions;
	char *tmp_dir;
	/* One user of a shared repository at a time. */
	struct lock lock;
	struct cond freed;
	struct map busy; /* remote -> non-NULL */
};

struct git_instance {
	struct source_instance base;
	struct git_source *src;
	struct arena arena;
	char *remote;
	struct str ref, subdir, checksum, token_secret, header_secret, known_hosts, ssh_id;
	bool keep_git_dir, skip_submodules, mtime_commit, by_commit;
	/* Once resolved. */
	bool resolved;
	struct git_ref at;
	struct str key;
};

/* ---- identifying ---- */

static struct err *parse_flag(const struct source_request *r, const char *key, bool *ret)
{
	struct str v = source_attr_get(r, key);

	if (v.len && !str_to_bool(v, ret))
		return err_new(ERR_INVALID_ARGUMENT, "invalid value for %s: %.*s", key, STR_ARG(v));
	return NULL;
}

static bool is_hex(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!strchr("0123456789abcdef", s.ptr[i]))
			return false;
	return s.len > 0;
}

static struct err *fill(struct git_instance *i, const struct source_request *r)
{
	struct arena *a = &i->arena;
	struct str full = source_attr_get(r, "git.fullurl"), where, fragment, mtime;

	(void)str_cut(r->ref, '#', &where, &fragment);
	(void)str_cut(fragment, ':', &i->ref, &i->subdir);
	i->ref = str_dup(a, i->ref);
	i->subdir = path_clean(a, str_from(arena_printf(a, "/%.*s", STR_ARG(i->subdir))));
	if (full.len)
		i->remote = str_cstr(a, full);
	else
		i->remote = arena_printf(a, "https://%.*s", STR_ARG(where));
	i->checksum = str_dup(a, source_attr_get(r, "git.checksum"));
	if (i->checksum.len &&
	    (!is_hex(i->checksum) || i->checksum.len < 7 || i->checksum.len > GIT_SHA_MAX))
		return err_new(ERR_INVALID_ARGUMENT,
			       "invalid checksum %.*s for Git URL, expected hex commit hash",
			       STR_ARG(i->checksum));
	i->token_secret = str_dup(a, source_attr_get(r, "git.authtokensecret"));
	i->header_secret = str_dup(a, source_attr_get(r, "git.authheadersecret"));
	i->known_hosts = str_dup(a, source_attr_get(r, "git.knownsshhosts"));
	i->ssh_id = str_dup(a, source_attr_get(r, "git.mountsshsock"));
	TRY(parse_flag(r, "git.keepgitdir", &i->keep_git_dir));
	TRY(parse_flag(r, "git.skipsubmodules", &i->skip_submodules));
	TRY(parse_flag(r, "git.fetchbycommit", &i->by_commit));
	mtime = source_attr_get(r, "git.mtime");
	i->mtime_commit = str_eq_cstr(mtime, "commit");
	if (mtime.len && !i->mtime_commit && !str_eq_cstr(mtime, "checkout"))
		return err_new(ERR_INVALID_ARGUMENT, "invalid git.mtime %.*s", STR_ARG(mtime));
	if (source_attr_get(r, "git.bundle").len || source_attr_get(r, "git.checkoutbundle").len)
		return err_new(ERR_UNIMPLEMENTED, "git bundles are not supported");
	if (source_attr_get(r, "git.sig.pubkey").len)
		return err_new(ERR_UNIMPLEMENTED, "git signature checks are not supported");
	return NULL;
}

static void instance_free(struct source_instance *si)
{
	struct git_instance *i = container_of(si, struct git_instance, base);

	arena_fini(&i->arena);
	free(i);
}

/* ---- what git needs of the build ---- */

struct access {
	struct gitrepo repo;
	struct arena arena;
	char *dir; /* scratch for known hosts and the agent's socket; or NULL */
	struct sshforward *ssh;
};

static struct err *secret(struct git_instance *i, const struct source_env *env, char *id,
			  struct arena *a, struct str *ret, bool *ret_found)
{
	SCOPED_BUF(b, LIMIT_SECRET);
	struct err *e;

	*ret_found = false;
	if (!env->sessions)
		return NULL;
	e = session_secret(i->src->sessions, env->ctx, env->sessions, str_from(id), &b);
	if (err_is(e, ERR_NOT_FOUND) || err_is(e, ERR_UNIMPLEMENTED)) {
		err_free(e);
		return NULL;
	}
	TRY(e);
	*ret = str_dup(a, str_trim(buf_str(&b)));
	*ret_found = true;
	return NULL;
}

static struct str host_of(const char *url)
{
	struct str s = str_from(url);
	ptrdiff_t i = str_find_str(s, STR("://"));

	s = str_sub(s, i < 0 ? 0 : (size_t)i + 3, s.len);
	i = str_find(s, '/');
	s = str_sub(s, 0, i < 0 ? s.len : (size_t)i);
	i = str_rfind(s, '@');
	return str_sub(s, (size_t)(i + 1), s.len);
}

/* header.HOST, token.HOST, header, token: the first that the client has. */
static struct err *find_auth(struct git_instance *i, const struct source_env *env,
			     struct access *ac)
{
	struct str host = host_of(i->remote), v;
	struct arena *a = &ac->arena;

	for (int plain = 0; plain < 2; plain++) {
		for (int token = 0; token < 2; token++) {
			struct str id = token ? i->token_secret : i->header_secret;
			bool found;

			if (!id.len)
				continue;
			TRY(secret(i, env,
				   plain ? str_cstr(a, id)
					 : arena_printf(a, "%.*s.%.*s", STR_ARG(id), STR_ARG(host)),
				   a, &v, &found));
			if (!found)
				continue;
			if (token) {
				SCOPED_BUF(b64, MIB);
				char *pair = arena_printf(a, "x-access-token:%.*s", STR_ARG(v));

				base64_encode(&b64, str_from(pair));
				ac->repo.auth_header =
					arena_printf(a, "Authorization: basic %s", buf_cstr(&b64));
			} else {
				ac->repo.auth_header =
					arena_printf(a, "Authorization: %.*s", STR_ARG(v));
			}
			return NULL;
		}
	}
	return NULL;
}

static struct err *access_open(struct git_instance *i, const struct source_env *env,
			       struct access *ac)
{
	struct arena *a = &ac->arena;

	ac->repo = (struct gitrepo) { .ctx = env->ctx,
				      .progress = env->progress,
				      .remote = i->remote };
	TRY(find_auth(i, env, ac));
	if (!i->known_hosts.len && !i->ssh_id.len)
		return NULL;
	ac->dir = arena_printf(a, "%s/git-%s", i->src->tmp_dir, id_new(a));
	TRY(file_mkdirs(AT_FDCWD, ac->dir, 0700));
	if (i->known_hosts.len) {
		ac->repo.known_hosts = arena_printf(a, "%s/known_hosts", ac->dir);
		TRY(file_write(AT_FDCWD, ac->repo.known_hosts, i->known_hosts, 0600));
	}
	if (i->ssh_id.len) {
		struct err *e =
			session_ssh_check(i->src->sessions, env->ctx, env->sessions, i->ssh_id);

		if (err_is(e, ERR_UNIMPLEMENTED)) {
			err_free(e);
			return err_new(ERR_UNKNOWN, "no SSH key \"%.*s\" forwarded from the client",
				       STR_ARG(i->ssh_id));
		}
		TRY(e);
		ac->repo.ssh_socket = arena_printf(a, "%s/agent", ac->dir);
		TRY(sshforward_open(i->src->sessions, env->ctx, env->sessions, i->ssh_id,
				    ac->repo.ssh_socket, 0, 0, 0600, &ac->ssh));
	}
	return NULL;
}

static void access_close(struct access *ac)
{
	if (ac->ssh)
		sshforward_close(ac->ssh);
	if (ac->dir)
		err_free(rmtree(AT_FDCWD, ac->dir));
	arena_fini(&ac->arena);
}

/* ---- keys ---- */

static struct err *check_sum(struct git_instance *i)
{
	struct str sum = i->checksum;

	if (!sum.len || str_has_prefix(str_from(i->at.commit), sum) ||
	    str_has_prefix(str_from(i->at.object), sum))
		return NULL;
	return err_new(ERR_INVALID_ARGUMENT, "expected checksum to match %.*s, got %s",
		       STR_ARG(sum), i->at.commit);
}

static struct err *resolve(struct git_instance *i, const struct source_env *env)
{
	CLEANUP(access_close) struct access ac = { 0 };
	struct arena *a = &i->arena;

	if (i->resolved)
		return NULL;
	if (git_is_sha(i->ref)) {
		memcpy(i->at.commit, i->ref.ptr, i->ref.len);
		memcpy(i->at.object, i->ref.ptr, i->ref.len);
	} else if (i->by_commit && git_is_sha(i->checksum)) {
		memcpy(i->at.commit, i->checksum.ptr, i->checksum.len);
		memcpy(i->at.object, i->checksum.ptr, i->checksum.len);
	} else {
		TRY(access_open(i, env, &ac));
		TRY(git_resolve(&ac.repo, i->ref, a, &i->at));
	}
	TRY(check_sum(i));
	i->key = str_from(arena_printf(
		a, "%s%s%s%.*s%s%.*s%s%s", i->keep_git_dir ? i->at.object : i->at.commit,
		i->keep_git_dir ? ".git" : "", i->keep_git_dir && i->ref.len ? "#" : "",
		i->keep_git_dir ? (int)i->ref.len : 0, i->ref.ptr, i->subdir.len > 1 ? ":" : "",
		i->subdir.len > 1 ? (int)i->subdir.len : 0, i->subdir.ptr,
		i->skip_submodules ? "(skip-submodules)" : "",
		i->mtime_commit ? "(mtime=commit)" : ""));
	i->resolved = true;
	return NULL;
}

static struct err *cache_key(struct source_instance *si, const struct source_env *env,
			     unsigned index, struct arena *a, struct source_key *ret)
{
	struct git_instance *i = container_of(si, struct git_instance, base);

	(void)index;
	TRY(resolve(i, env));
	ret->key = str_dup(a, i->key);
	ret->pin = str_dup(a, str_from(i->at.commit));
	ret->done = true;
	return NULL;
}

/* ---- the shared repository ---- */

static struct err *take_remote(struct git_source *s, struct ctx *ctx, const char *remote)
{
	struct err *e = NULL;

	LOCKED(&s->lock);
	while (!e && map_has(&s->busy, str_from(remote)))
		e = cond_wait(&s->freed, &s->lock, ctx);
	if (!e)
		(void)map_put(&s->busy, str_from(remote), s);
	return e;
}

static void give_remote(struct git_source *s, const char *remote)
{
	LOCKED(&s->lock);
	(void)map_del(&s->busy, str_from(remote));
	cond_broadcast(&s->freed);
}

static struct err *open_repo(struct git_instance *i, struct ctx *ctx, struct cache_mut **ret)
{
	struct git_source *s = i->src;
	SCOPED_ARENA(a);
	char *index = arena_printf(&a, "git-remote:%s", i->remote);
	struct cache_opts o = {
		.description = str_from(arena_printf(&a, "shared git repo for %s",
						     git_redact(&a, str_from(i->remote)))),
		.retain = true,
	};
	struct str *ids;
	size_t n;

	TRY(cache_meta_search(s->cache, str_from(index), &a, &ids, &n));
	for (size_t k = 0; k < n; k++) {
		struct err *e = cache_get_mut(s->cache, ctx, ids[k], ret);

		if (!e)
			return NULL;
		err_free(e);
	}
	TRY(cache_new(s->cache, ctx, NULL, &o, ret));
	return cache_meta_set(s->cache, str_from(cache_mut_id(*ret)), "git.remote",
			      str_from(i->remote), str_from(index));
}

/* ---- checking out ---- */

#define GIT(r, wt, out, ...) git_run((r), (wt), (const char *const[]) { __VA_ARGS__, NULL }, (out))

/* The sub-directory's contents become the root. */
static struct err *lift_subdir(struct git_instance *i, int rootfd)
{
	struct str sub = str_sub(i->subdir, 1, i->subdir.len);
	SCOPED_ARENA(a);
	CLEANUP_FD int dir = -1;
	struct walk_names names;
	char *hide = arena_printf(&a, ".bk-%s", id_new(&a));
	struct err *e;

	if (!sub.len)
		return NULL;
	e = inroot_open(rootfd, sub, O_RDONLY | O_DIRECTORY, 0, &dir);
	if (e)
		return err_wrap(e, "subdir %.*s", STR_ARG(sub));
	/* Everything else out of the way, then the contents up. */
	if (mkdirat(rootfd, hide, 0700) < 0)
		return err_errno(errno, "mkdir %s", hide);
	TRY(walk_read_names(dir, true, &names));
	for (size_t k = 0; k < names.n && !e; k++) {
		char *to = arena_printf(&a, "%s/%s", hide, names.items[k].name);

		if (renameat(dir, names.items[k].name, rootfd, to) < 0)
			e = err_errno(errno, "move %s", names.items[k].name);
	}
	walk_names_fini(&names);
	TRY(e);
	TRY(walk_read_names(rootfd, true, &names));
	for (size_t k = 0; k < names.n && !e; k++)
		if (strcmp(names.items[k].name, hide) != 0)
			e = rmtree(rootfd, names.items[k].name);
	walk_names_fini(&names);
	TRY(e);
	(void)close(dir);
	dir = openat(rootfd, hide, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_errno(errno, "open %s", hide);
	TRY(walk_read_names(dir, true, &names));
	for (size_t k = 0; k < names.n && !e; k++)
		if (renameat(dir, names.items[k].name, rootfd, names.items[k].name) < 0)
			e = err_errno(errno, "move %s", names.items[k].name);
	walk_names_fini(&names);
	if (!e && unlinkat(rootfd, hide, AT_REMOVEDIR) < 0)
		e = err_errno(errno, "rmdir %s", hide);
	return e;
}

static struct err *set_mtimes(struct git_instance *i, const struct gitrepo *r, int rootfd)
{
	SCOPED_BUF(out, KIB);
	CLEANUP(walk_closep) struct walk *w = NULL;
	const struct walk_entry *en;
	struct timespec ts[2];
	int64_t t;

	TRY(GIT(r, NULL, &out, "show", "-s", "--format=%ct", i->at.commit));
	if (!str_to_i64(str_trim(buf_str(&out)), &t))
		return err_new(ERR_UNKNOWN, "cannot read the time of commit %s", i->at.commit);
	ts[0] = ts[1] = (struct timespec) { .tv_sec = t };
	TRY(walk_open(rootfd, WALK_LEAVE, &w));
	for (;;) {
		TRY(walk_next(w, &en));
		if (!en)
			break;
		if ((!S_ISDIR(en->st.st_mode) || en->leave) &&
		    utimensat(en->dirfd, en->name, ts, AT_SYMLINK_NOFOLLOW) < 0)
			return err_errno(errno, "set time of %.*s", STR_ARG(en->path));
	}
	return futimens(rootfd, ts) < 0 ? err_errno(errno, "set time") : NULL;
}

/* With .git: a repository of its own, with that commit checked out. */
static struct err *checkout_repo(struct git_instance *i, const struct gitrepo *shared,
				 const char *to)
{
	SCOPED_ARENA(a);
	struct gitrepo own = *shared;
	struct str branch = str_trim_prefix(i->at.name, STR("refs/heads/"));
	struct str tag = str_trim_prefix(i->at.name, STR("refs/tags/"));
	char *spec;

	own.dir = arena_printf(&a, "%s/.git", to);
	TRY(GIT(&own, to, NULL, "-c", "init.defaultBranch=master", "init",
		strlen(i->at.commit) == 64 ? "--object-format=sha256" : "--object-format=sha1"));
	TRY(GIT(&own, to, NULL, "remote", "add", "origin", i->remote));
	if (tag.len && tag.len != i->at.name.len)
		spec = arena_printf(&a, "+%s:refs/tags/%.*s", i->at.object, STR_ARG(tag));
	else
		spec = arena_printf(&a, "+%s:refs/buildkit/head", i->at.commit);
	TRY(GIT(&own, to, NULL, "fetch", "-u", "--depth=1",
		arena_printf(&a, "file://%s", shared->dir), spec));
	if (branch.len && branch.len != i->at.name.len)
		TRY(GIT(&own, to, NULL, "checkout", "-B", str_cstr(&a, branch), i->at.commit));
	else
		TRY(GIT(&own, to, NULL, "checkout", "--detach", i->at.commit));
	return file_unlink(AT_FDCWD, arena_printf(&a, "%s/FETCH_HEAD", own.dir));
}

static struct err *update_submodules(struct git_instance *i, const struct gitrepo *shared,
				     const char *to)
{
	SCOPED_ARENA(a);
	struct gitrepo r = *shared;
	struct err *e;

	if (i->skip_submodules || !file_exists(AT_FDCWD, arena_printf(&a, "%s/.gitmodules", to)))
		return NULL;
	if (i->keep_git_dir)
		r.dir = arena_printf(&a, "%s/.git", to);
	e = GIT(&r, to, NULL, "submodule", "update", "--init", "--recursive", "--depth=1");
	if (!e || ctx_done(shared->ctx))
		return e;
	/* A server of plain files can't give a part of the history. */
	err_free(e);
	return GIT(&r, to, NULL, "submodule", "update", "--init", "--recursive");
}

static struct err *drop_git_files(int rootfd)
{
	CLEANUP(walk_closep) struct walk *w = NULL;
	const struct walk_entry *en;

	TRY(walk_open(rootfd, WALK_NO_STAT, &w));
	for (;;) {
		TRY(walk_next(w, &en));
		if (!en)
			return NULL;
		if (strcmp(en->name, ".git") == 0) {
			bool dir = S_ISDIR(en->st.st_mode);

			TRY(rmtree(en->dirfd, en->name));
			if (dir)
				walk_skip(w);
		}
	}
}

static struct err *checkout(struct git_instance *i, const struct gitrepo *repo, const char *to,
			    int rootfd)
{
	if (i->keep_git_dir)
		TRY(checkout_repo(i, repo, to));
	else
		TRY(GIT(repo, to, NULL, "checkout", i->at.commit, "--", "."));
	TRYW(update_submodules(i, repo, to), "failed to update submodules for %s", i->remote);
	if (!i->keep_git_dir)
		TRY(drop_git_files(rootfd));
	TRY(lift_subdir(i, rootfd));
	return i->mtime_commit ? set_mtimes(i, repo, rootfd) : NULL;
}

/* Fetches what is missing and makes the tree. */
static struct err *make_tree(struct git_instance *i, const struct source_env *env,
			     struct cache_ref **ret)
{
	struct git_source *s = i->src;
	SCOPED_ARENA(a);
	CLEANUP(access_close) struct access ac = { 0 };
	CLEANUP(cache_mut_releasep) struct cache_mut *repo = NULL, *tree = NULL;
	CLEANUP(localmount_closep) struct localmount *repo_at = NULL, *tree_at = NULL;
	struct cache_opts o = {
		.description = str_from(arena_printf(&a, "git snapshot for %s#%.*s",
						     git_redact(&a, str_from(i->remote)),
						     STR_ARG(i->ref))),
		.type = CACHE_TYPE_GIT,
	};
	struct mounts *m;

	TRY(access_open(i, env, &ac));
	TRY(open_repo(i, env->ctx, &repo));
	TRY(cache_mut_mounts(repo, env->ctx, &a, false, &m));
	TRY(localmount_open(m, s->tmp_dir, &repo_at));
	ac.repo.dir = localmount_path(repo_at);
	TRY(gitrepo_init(&ac.repo, strlen(i->at.commit) == 64));
	TRY(git_fetch(&ac.repo, i->at.object, i->at.name, i->by_commit));
	TRY(cache_new(s->cache, env->ctx, NULL, &o, &tree));
	TRY(cache_mut_mounts(tree, env->ctx, &a, false, &m));
	TRY(localmount_open(m, s->tmp_dir, &tree_at));
	TRYW(checkout(i, &ac.repo, localmount_path(tree_at), localmount_dirfd(tree_at)),
	     "failed to checkout remote %s", git_redact(&a, str_from(i->remote)));
	localmount_close(TAKE_PTR(tree_at));
	return cache_mut_commit(TAKE_PTR(tree), env->ctx, ret);
}

static struct err *snapshot(struct source_instance *si, const struct source_env *env,
			    struct cache_ref **ret)
{
	struct git_instance *i = container_of(si, struct git_instance, base);
	struct git_source *s = i->src;
	SCOPED_ARENA(a);
	struct str *ids, index;
	struct err *e;
	size_t n;

	TRY(resolve(i, env));
	index = str_from(arena_printf(&a, "git-snapshot:%s:%.*s", i->remote, STR_ARG(i->key)));
	TRY(cache_meta_search(s->cache, index, &a, &ids, &n));
	for (size_t k = 0; k < n; k++) {
		e = cache_get(s->cache, env->ctx, ids[k], ret);
		if (!e)
			return NULL;
		err_free(e);
	}
	TRY(take_remote(s, env->ctx, i->remote));
	e = make_tree(i, env, ret);
	give_remote(s, i->remote);
	TRY(e);
	return cache_meta_set(s->cache, str_from(cache_ref_id(*ret)), "git.snapshot", i->key,
			      index);
}

/* ---- what can be known ---- */

/* Repository objects as they are, header left out. */
static struct err *read_objects(struct git_instance *i, const struct source_env *env,
				struct arena *a, struct source_meta *ret)
{
	struct git_source *s = i->src;
	CLEANUP(access_close) struct access ac = { 0 };
	CLEANUP(cache_mut_releasep) struct cache_mut *repo = NULL;
	CLEANUP(localmount_closep) struct localmount *at = NULL;
	SCOPED_BUF(commit, LIMIT_GRPC_MESSAGE / 4);
	SCOPED_BUF(tag, LIMIT_GRPC_MESSAGE / 4);
	struct mounts *m;

	TRY(access_open(i, env, &ac));
	TRY(open_repo(i, env->ctx, &repo));
	TRY(cache_mut_mounts(repo, env->ctx, a, false, &m));
	TRY(localmount_open(m, s->tmp_dir, &at));
	ac.repo.dir = localmount_path(at);
	TRY(gitrepo_init(&ac.repo, strlen(i->at.commit) == 64));
	TRY(git_fetch(&ac.repo, i->at.object, i->at.name, i->by_commit));
	TRY(GIT(&ac.repo, NULL, &commit, "cat-file", "commit", i->at.commit));
	if (strcmp(i->at.object, i->at.commit) != 0)
		TRY(GIT(&ac.repo, NULL, &tag, "cat-file", "tag", i->at.object));
	ret->commit_object = str_dup(a, buf_str(&commit));
	ret->tag_object = str_dup(a, buf_str(&tag));
	return NULL;
}

static struct err *metadata(struct source_instance *si, const struct source_env *env,
			    const struct source_meta_opts *o, struct arena *a,
			    struct source_meta *ret)
{
	struct git_instance *i = container_of(si, struct git_instance, base);
	struct err *e;

	TRY(resolve(i, env));
	ret->checksum = str_dup(a, str_from(i->at.object));
	ret->ref = str_dup(a, i->at.name.len ? i->at.name : i->ref);
	if (strcmp(i->at.object, i->at.commit) != 0)
		ret->commit_checksum = str_dup(a, str_from(i->at.commit));
	if (!o->git_objects)
		return NULL;
	TRY(take_remote(i->src, env->ctx, i->remote));
	e = read_objects(i, env, a, ret);
	give_remote(i->src, i->remote);
	return e;
}

static const struct source_instance_ops instance_ops = {
	.cache_key = cache_key,
	.snapshot = snapshot,
	.metadata = metadata,
	.free = instance_free,
};

static struct err *identify(struct source *s, const struct source_request *r,
			    struct source_instance **ret)
{
	struct git_instance *i = NEW(struct git_instance);
	struct err *e;

	i->base.ops = &instance_ops;
	i->src = container_of(s, struct git_source, base);
	e = fill(i, r);
	if (e) {
		instance_free(&i->base);
		return e;
	}
	*ret = &i->base;
	return NULL;
}

static void source_free(struct source *s)
{
	struct git_source *g = container_of(s, struct git_source, base);

	map_fini(&g->busy, NULL);
	cond_fini(&g->freed);
	lock_fini(&g->lock);
	free(g->tmp_dir);
	free(g);
}

static const struct source_ops git_ops = { .identify = identify, .free = source_free };

struct source *git_source_new(struct cache *c, struct session_manager *m, const char *tmp_dir)
{
	struct git_source *s = NEW(struct git_source);

	s->base.ops = &git_ops;
	s->cache = c;
	s->sessions = m;
	s->tmp_dir = mem_strdup(tmp_dir);
	lock_init(&s->lock, LOCK_SOURCE);
	cond_init(&s->freed);
	return &s->base;
}
