#include "session/docker_config.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/lock.h"
#include "base/map.h"
#include "session/token_seed.h"
#include "sys/file.h"
#include "sys/proc.h"

#include <errno.h>
#include <stdio.h>

#define HUB_HOST "registry-1.docker.io"
#define HUB_KEY "https://index.docker.io/v1/"
#define CACHE_NS ((4 * 60 + 50) * NSEC_PER_SEC)
#define CONFIG_MAX (4 * MIB)
#define HELPER_MAX (64 * KIB)
#define NOT_FOUND_TEXT "credentials not found in native keychain"

struct auth_config {
	char *dir;
	json_t *file; /* or NULL */
	struct lock lock;
	struct map cache; /* host -> struct cached */
};

struct cached {
	int64_t until;
	struct arena arena;
	struct auth_entry entry;
};

static void free_cached(void *p)
{
	struct cached *c = p;

	if (c)
		arena_fini(&c->arena);
	free(c);
}

static char *default_dir(void)
{
	const char *dir = getenv("DOCKER_CONFIG"), *home = getenv("HOME");

	if (dir && *dir)
		return mem_strdup(dir);
	return mem_printf("%s/.docker", home ? home : "");
}

struct err *auth_config_open(const char *dir, struct auth_config **ret)
{
	struct auth_config *c = NEW(struct auth_config);
	SCOPED_ARENA(a);
	struct str text;
	struct err *e;

	c->dir = dir ? mem_strdup(dir) : default_dir();
	lock_init(&c->lock, LOCK_LEAF);
	e = file_read_str(AT_FDCWD, arena_printf(&a, "%s/config.json", c->dir), &a, CONFIG_MAX,
			  &text);
	if (err_is(e, ERR_NOT_FOUND) || err_get_errno(e) == ENOTDIR) {
		err_free(e);
		e = NULL;
	} else if (!e && text.len) {
		e = json_read(text, "config.json", &c->file);
	}
	if (e) {
		e = err_wrap(e, "failed to load docker config from %s", c->dir);
		auth_config_free(c);
		return e;
	}
	*ret = c;
	return NULL;
}

void auth_config_free(struct auth_config *c)
{
	if (!c)
		return;
	json_decref(c->file);
	map_fini(&c->cache, free_cached);
	lock_fini(&c->lock);
	free(c->dir);
	free(c);
}

struct err *auth_config_seed(struct auth_config *c, struct str host, uint8_t ret[TOKEN_SEED])
{
	return token_seed_get(c->dir, host, ret);
}

/* ---- the file ---- */

/* "https://host/v1/" and the like are kept by older programs. */
static struct str host_of(struct str key)
{
	struct str rest;

	key = str_trim_prefix(str_trim_prefix(key, STR("https://")), STR("http://"));
	(void)str_cut(key, '/', &key, &rest);
	return key;
}

static const json_t *find_auth(const json_t *auths, const char *key)
{
	const json_t *found = json_object_get(auths, key);
	const char *name;
	json_t *value;

	if (found)
		return found;
	json_object_foreach((json_t *)auths, name, value)
	{
		if (str_eq(host_of(str_from(name)), str_from(key)))
			return value;
	}
	return NULL;
}

static struct err *from_file(struct auth_config *c, struct arena *a, const char *key,
			     struct auth_entry *ret)
{
	const json_t *auth = find_auth(json_object_get(c->file, "auths"), key);
	struct auth_entry e = {
		.username = str_dup(a, json_get_str(auth, "username")),
		.password = str_dup(a, json_get_str(auth, "password")),
		.identity_token = str_dup(a, json_get_str(auth, "identitytoken")),
		.registry_token = str_dup(a, json_get_str(auth, "registrytoken")),
	};
	struct str both = json_get_str(auth, "auth"), plain;

	if (both.len) {
		TRYW(base64_decode(a, both, &plain), "invalid auth configuration file");
		if (!str_cut(plain, ':', &e.username, &e.password))
			return err_new(ERR_INVALID_ARGUMENT, "invalid auth configuration file");
		while (e.password.len && !e.password.ptr[e.password.len - 1])
			e.password.len--;
	}
	*ret = e;
	return NULL;
}

/* ---- helpers ---- */

static struct str helper_for(struct auth_config *c, const char *key)
{
	struct str h = json_get_str(json_object_get(c->file, "credHelpers"), key);

	return h.len ? h : json_get_str(c->file, "credsStore");
}

static struct err *run_helper(struct ctx *ctx, struct str helper, const char *key, struct buf *out,
			      bool *ret_found)
{
	SCOPED_ARENA(a);
	const char *file = arena_printf(&a, "docker-credential-%.*s", STR_ARG(helper));
	const char *const argv[] = { file, "get", NULL };
	struct proc_spec p = PROC_SPEC_INIT;
	struct proc_status st;
	SCOPED_BUF(errors, HELPER_MAX);
	struct str text;

	p.file = file;
	p.argv = argv;
	TRYW(proc_run(&p, ctx, str_from(key), out, &errors, &st), "error getting credentials");
	*ret_found = st.exited && !st.code;
	if (*ret_found)
		return NULL;
	text = str_trim(buf_str(out));
	if (str_find_str(text, STR(NOT_FOUND_TEXT)) >= 0)
		return NULL;
	char status[64];
	return err_new(ERR_UNKNOWN, "error getting credentials - err: %s, out: `%.*s`",
		       proc_status_text(&st, status, sizeof(status)), STR_ARG(text));
}

static struct err *from_helper(struct ctx *ctx, struct arena *a, struct str helper, const char *key,
			       struct auth_entry *ret)
{
	SCOPED_BUF(out, HELPER_MAX);
	SCOPED_JSON(j);
	struct str user, secret;
	bool found;

	*ret = (struct auth_entry) { 0 };
	TRY(run_helper(ctx, helper, key, &out, &found));
	if (!found)
		return NULL;
	TRYW(json_read(buf_str(&out), "credentials", &j), "error getting credentials");
	user = str_dup(a, json_get_str(j, "Username"));
	secret = str_dup(a, json_get_str(j, "Secret"));
	if (str_eq_cstr(user, "<token>"))
		ret->identity_token = secret;
	else
		*ret = (struct auth_entry) { .username = user, .password = secret };
	return NULL;
}

/* ---- look-up ---- */

static bool from_cache(struct auth_config *c, struct arena *a, struct str host,
		       struct auth_entry *ret)
{
	struct cached *k;

	LOCKED(&c->lock);
	k = map_get(&c->cache, host);
	if (!k || clock_now() >= k->until)
		return false;
	*ret = (struct auth_entry) {
		.username = str_dup(a, k->entry.username),
		.password = str_dup(a, k->entry.password),
		.identity_token = str_dup(a, k->entry.identity_token),
		.registry_token = str_dup(a, k->entry.registry_token),
	};
	return true;
}

struct err *auth_config_get(struct auth_config *c, struct ctx *ctx, struct arena *a,
			    struct str host, struct auth_entry *ret)
{
	const char *key = str_eq_cstr(host, HUB_HOST) ? HUB_KEY : str_cstr(a, host);
	struct str helper = helper_for(c, key);
	struct cached *k;
	struct err *e;

	if (from_cache(c, a, host, ret))
		return NULL;
	k = NEW(struct cached);
	e = helper.len ? from_helper(ctx, &k->arena, helper, key, &k->entry)
		       : from_file(c, &k->arena, key, &k->entry);
	if (e) {
		free_cached(k);
		return e;
	}
	k->until = clock_now() + CACHE_NS;
	lock_take(&c->lock);
	k = map_put(&c->cache, host, k);
	lock_drop(&c->lock);
	free_cached(k);
	if (!from_cache(c, a, host, ret))
		*ret = (struct auth_entry) { 0 };
	return NULL;
}
