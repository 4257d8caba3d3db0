#include "source/local.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "session/filesync.h"
#include "sys/file.h"
#include "sys/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define SHARED_KEY "local.sharedkey"
#define STATE_MAX (1024 * MIB)

struct local_source {
	struct source base;
	struct cache *cache;
	struct session_manager *sessions;
	char *tmp_dir;
	int state_fd;
};

struct str_list {
	struct str *items;
	size_t n;
	bool set;
};

struct local_instance {
	struct source_instance base;
	struct local_source *src;
	struct arena arena;
	struct str name, session, unique, hint, differ;
	struct str_list include, exclude, follow, metadata_except;
	bool metadata_only;
	struct str key_json;
};

/* ---- identifying ---- */

static struct err *parse_list(struct arena *a, struct str json, const char *what,
			      struct str_list *ret)
{
	SCOPED_JSON(root);
	json_t *it;
	size_t i;

	if (!json.len)
		return NULL;
	TRYW(json_read(json, what, &root), "failed to unmarshal %s", what);
	ret->items = ARENA_NEW_N(a, struct str, json_array_size(root));
	ret->set = json_is_array(root);
	json_array_foreach(root, i, it)
	{
		if (!json_is_string(it))
			return err_new(ERR_INVALID_ARGUMENT, "%s is not a list of strings", what);
		ret->items[ret->n++] =
			str_dup(a, str_make(json_string_value(it), json_string_length(it)));
	}
	return NULL;
}

static void put_list(struct json_out *j, struct str key, const struct str_list *l)
{
	json_key(j, key);
	json_arr_begin(j);
	for (size_t i = 0; i < l->n; i++)
		json_str(j, l->items[i]);
	json_arr_end(j);
}

/* What makes two transfers different. */
static struct err *make_key(struct local_instance *i)
{
	SCOPED_BUF(b, 16 * MIB);
	struct json_out j;

	json_out_init(&j, &b, NULL);
	json_obj_begin(&j);
	json_kstr(&j, "SessionID", i->session);
	put_list(&j, STR("IncludePatterns"), &i->include);
	put_list(&j, STR("ExcludePatterns"), &i->exclude);
	put_list(&j, STR("FollowPaths"), &i->follow);
	if (i->metadata_only) {
		json_kbool(&j, "MetadataTransfer", true);
		put_list(&j, STR("MetadataExceptions"), &i->metadata_except);
	}
	json_obj_end(&j);
	TRY(buf_check(&b, "local source attributes"));
	i->key_json = str_dup(&i->arena, buf_str(&b));
	return NULL;
}

static struct err *fill(struct local_instance *i, const struct source_request *r)
{
	struct arena *a = &i->arena;
	struct str md = source_attr_get(r, "local.metadatatransfer"), prefix, id;

	i->name = str_dup(a, r->ref);
	i->session = str_dup(a, source_attr_get(r, "local.session"));
	if (str_cut(i->session, ':', &prefix, &id)) {
		i->name = str_from(arena_printf(a, "%.*s-%.*s", STR_ARG(prefix), STR_ARG(i->name)));
		i->session = id;
	}
	i->unique = str_dup(a, source_attr_get(r, "local.unique"));
	i->hint = str_dup(a, source_attr_get(r, "local.sharedkeyhint"));
	i->differ = str_dup(a, source_attr_get(r, "local.differ"));
	if (i->differ.len && !str_eq_cstr(i->differ, "none") && !str_eq_cstr(i->differ, "metadata"))
		return err_new(ERR_INVALID_ARGUMENT, "unknown local.differ %.*s",
			       STR_ARG(i->differ));
	TRY(parse_list(a, source_attr_get(r, "local.includepattern"), "local.includepattern",
		       &i->include));
	TRY(parse_list(a, source_attr_get(r, "local.excludepatterns"), "local.excludepatterns",
		       &i->exclude));
	TRY(parse_list(a, source_attr_get(r, "local.followpaths"), "local.followpaths",
		       &i->follow));
	if (md.len && !str_to_bool(md, &i->metadata_only))
		return err_new(ERR_INVALID_ARGUMENT,
			       "invalid value for local.metadatatransfer: %.*s", STR_ARG(md));
	TRY(parse_list(a, source_attr_get(r, "local.metadatatransferexclude"),
		       "local.metadatatransferexclude", &i->metadata_except));
	return make_key(i);
}

static void instance_free(struct source_instance *si)
{
	struct local_instance *i = container_of(si, struct local_instance, base);

	arena_fini(&i->arena);
	free(i);
}

static struct err *first_session(struct ctx *ctx, struct session *s, void *arg)
{
	(void)ctx;
	*(struct session **)arg = session_ref(s);
	return NULL;
}

/* The session named by the attribute, or if it does not come any of the build's. */
static struct err *get_session(struct local_instance *i, const struct source_env *env,
			       struct session **ret)
{
	struct err *e = NULL;

	if (i->session.len) {
		e = session_get(i->src->sessions, env->ctx, i->session, false, ret);
		if (!e)
			return NULL;
	}
	if (!env->sessions)
		return e ? e
			 : err_new(ERR_NOT_FOUND, "could not access local files without session");
	err_free(e);
	return session_any(i->src->sessions, env->ctx, env->sessions, first_session, ret);
}

static struct err *cache_key(struct source_instance *si, const struct source_env *env,
			     unsigned index, struct arena *a, struct source_key *ret)
{
	struct local_instance *i = container_of(si, struct local_instance, base);
	struct digest d = digest_sha256(i->key_json);
	char session[64];

	(void)index;
	if (i->session.len) {
		snprintf(session, sizeof(session), "%.*s", STR_ARG(i->session));
	} else {
		struct session *s;

		TRY(get_session(i, env, &s));
		snprintf(session, sizeof(session), "%s", session_id(s));
		session_unref(s);
	}
	ret->key = str_from(arena_printf(a, "session:%.*s:%s:%s", STR_ARG(i->name), session,
					 digest_text(&d, a)));
	ret->done = true;
	return NULL;
}

/* ---- the transfer ---- */

struct report {
	const struct source_env *env;
	char *id;
	struct local_source *src;
	struct cache_mut *mut;
};

/* From here on the directory and the list may differ: no list until the end. */
static struct err *before_change(void *arg)
{
	struct report *r = arg;
	const char *id = cache_mut_id(r->mut);

	if (unlinkat(r->src->state_fd, id, 0) < 0 && errno != ENOENT)
		return err_errno(errno, "remove transfer state %s", id);
	return cache_mut_wake(r->mut);
}

static void on_progress(void *arg, uint64_t bytes, bool done)
{
	struct report *r = arg;

	source_status(r->env->progress, r->id, "transferring", (int64_t)bytes, 0, done);
}

/* The directory of an earlier transfer from the same place, or a new one. */
static struct err *get_dir(struct local_instance *i, struct ctx *ctx, struct str key,
			   struct cache_mut **ret, bool *ret_new)
{
	struct local_source *s = i->src;
	SCOPED_ARENA(a);
	struct cache_opts o = {
		.description =
			str_from(arena_printf(&a, "local source for %.*s", STR_ARG(i->name))),
		.type = CACHE_TYPE_LOCAL,
		.retain = true,
	};
	struct str *ids;
	size_t n;

	*ret_new = false;
	TRY(cache_meta_search(s->cache, key, &a, &ids, &n));
	for (size_t k = 0; k < n; k++) {
		struct err *e = cache_get_mut(s->cache, ctx, ids[k], ret);

		if (!e)
			return NULL;
		err_free(e); /* in use by another build, or gone */
	}
	TRY(cache_new(s->cache, ctx, NULL, &o, ret));
	*ret_new = true;
	return cache_meta_set(s->cache, str_from(cache_mut_id(*ret)), SHARED_KEY, key, key);
}

static struct err *transfer(struct local_instance *i, const struct source_env *env,
			    struct session *s, struct cache_mut *m)
{
	struct local_source *src = i->src;
	CLEANUP(localmount_closep) struct localmount *lm = NULL;
	SCOPED_ARENA(a);
	SCOPED_BUF(previous, STATE_MAX);
	SCOPED_BUF(state, STATE_MAX);
	struct report r = { env, arena_printf(&a, "transferring %.*s:", STR_ARG(i->name)), src, m };
	struct filesync_sink sink = { on_progress, &r, before_change };
	struct filesync_opts o = {
		.dir_name = i->name,
		.include = i->include.items,
		.n_include = i->include.n,
		.has_include = i->include.set,
		.exclude = i->exclude.items,
		.n_exclude = i->exclude.n,
		.follow = i->follow.items,
		.n_follow = i->follow.n,
		.differ_none = str_eq_cstr(i->differ, "none"),
		.metadata_only = i->metadata_only,
		.metadata_except = i->metadata_except.items,
		.n_metadata_except = i->metadata_except.n,
	};
	const char *id = cache_mut_id(m);
	struct contenthash_known *known;
	struct mounts *mnt;
	size_t n;

	TRY(cache_mut_mounts_resting(m, &a, &mnt));
	TRY(localmount_open(mnt, src->tmp_dir, &lm));
	err_free(file_read(src->state_fd, id, &previous));
	TRY(filesync_receive(s, env->ctx, &o, localmount_dirfd(lm), buf_str(&previous), &state, &a,
			     &known, &n, &sink));
	TRY(contenthash_seed(src->cache, str_from(id), known, n));
	return file_replace(src->state_fd, id, buf_str(&state), 0600, FILE_NO_SYNC);
}

static struct err *snapshot(struct source_instance *si, const struct source_env *env,
			    struct cache_ref **ret)
{
	struct local_instance *i = container_of(si, struct local_instance, base);
	CLEANUP(cache_mut_releasep) struct cache_mut *m = NULL;
	SCOPED_ARENA(a);
	struct session *s;
	struct err *e;
	char *key;
	bool fresh;

	TRY(get_session(i, env, &s));
	key = arena_printf(&a, "local-source:%.*s:%.*s:%s%s", STR_ARG(i->name), STR_ARG(i->hint),
			   session_shared_key(s), i->metadata_only ? ":metadata" : "");
	e = get_dir(i, env->ctx, str_from(key), &m, &fresh);
	if (!e)
		e = transfer(i, env, s, m);
	session_unref(s);
	if (e)
		return e;
	return cache_mut_freeze(TAKE_PTR(m), env->ctx, ret);
}

static const struct source_instance_ops instance_ops = {
	.cache_key = cache_key,
	.snapshot = snapshot,
	.free = instance_free,
};

static struct err *identify(struct source *s, const struct source_request *r,
			    struct source_instance **ret)
{
	struct local_instance *i = NEW(struct local_instance);
	struct err *e;

	i->base.ops = &instance_ops;
	i->src = container_of(s, struct local_source, base);
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
	struct local_source *l = container_of(s, struct local_source, base);

	if (l->state_fd >= 0)
		(void)close(l->state_fd);
	free(l->tmp_dir);
	free(l);
}

static const struct source_ops local_ops = { .identify = identify, .free = source_free };

/* Lists whose record is gone. */
static void drop_stale_states(struct local_source *s)
{
	struct walk_names names;
	SCOPED_ARENA(a);
	struct err *e = walk_read_names(s->state_fd, false, &names);

	if (e) {
		err_free(e);
		return;
	}
	for (size_t i = 0; i < names.n; i++) {
		struct str v;
		bool found = false;

		err_free(cache_meta_get(s->cache, str_from(names.items[i].name), SHARED_KEY, &a, &v,
					&found));
		if (!found)
			(void)unlinkat(s->state_fd, names.items[i].name, 0);
	}
	walk_names_fini(&names);
}

struct err *local_source_new(struct cache *c, struct session_manager *m, const char *state_dir,
			     const char *tmp_dir, struct source **ret)
{
	struct local_source *s;
	int fd;

	if (mkdir(state_dir, 0700) < 0 && errno != EEXIST)
		return err_errno(errno, "mkdir %s", state_dir);
	fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(errno, "open %s", state_dir);
	s = NEW(struct local_source);
	s->base.ops = &local_ops;
	s->cache = c;
	s->sessions = m;
	s->tmp_dir = mem_strdup(tmp_dir);
	s->state_fd = fd;
	drop_stale_states(s);
	*ret = &s->base;
	return NULL;
}
