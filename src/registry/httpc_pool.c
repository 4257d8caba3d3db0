/* Conduits: curl handles, kept with their open connections for the next call to the same
 * peer. Each is used by one thread at a time, which curl needs; what they share (names, TLS
 * sessions) is behind curl's own lock callbacks. */
#include "registry/httpc_impl.h"

#include "base/mem.h"

#define IDLE_MAX 64
#define IDLE_NS (90 * NSEC_PER_SEC)

static void conduit_free(struct httpc_conduit *cd)
{
	curl_easy_cleanup(cd->easy);
	(void)curl_multi_cleanup(cd->multi);
	free(cd->key);
	free(cd);
}

/* Those that idled too long, or are too many; freed without the lock. */
static void collect_old_locked(struct httpc *c, struct list *old)
{
	int64_t oldest = clock_now() - IDLE_NS;

	lock_assert_held(&c->lock);
	while (!list_empty(&c->idle)) {
		struct httpc_conduit *cd = list_entry(c->idle.prev, struct httpc_conduit, link);

		if (c->n_idle <= IDLE_MAX && cd->idle_since >= oldest)
			break;
		list_del(&cd->link);
		list_add_tail(old, &cd->link);
		c->n_idle--;
	}
}

static void free_all(struct list *l)
{
	struct list *n;

	while ((n = list_pop(l)))
		conduit_free(list_entry(n, struct httpc_conduit, link));
}

struct httpc_conduit *httpc_conduit_get(struct httpc *c, const char *key)
{
	struct list old = LIST_HEAD_INIT(old);
	struct httpc_conduit *cd = NULL;

	lock_take(&c->lock);
	collect_old_locked(c, &old);
	list_each (&c->idle, n) {
		cd = list_entry(n, struct httpc_conduit, link);
		if (strcmp(cd->key, key) == 0) {
			list_del(&cd->link);
			c->n_idle--;
			break;
		}
		cd = NULL;
	}
	lock_drop(&c->lock);
	free_all(&old);
	if (cd) {
		curl_easy_reset(cd->easy);
		return cd;
	}
	cd = NEW(struct httpc_conduit);
	list_init(&cd->link);
	cd->key = mem_strdup(key);
	cd->easy = curl_easy_init();
	cd->multi = curl_multi_init();
	if (!cd->easy || !cd->multi)
		abort(); /* out of memory */
	(void)curl_multi_setopt(cd->multi, CURLMOPT_MAXCONNECTS, 2L);
	return cd;
}

void httpc_conduit_put(struct httpc *c, struct httpc_conduit *cd, bool reusable)
{
	struct list old = LIST_HEAD_INIT(old);

	if (!reusable) {
		conduit_free(cd);
		return;
	}
	cd->idle_since = clock_now();
	lock_take(&c->lock);
	list_add_head(&c->idle, &cd->link);
	c->n_idle++;
	collect_old_locked(c, &old);
	lock_drop(&c->lock);
	free_all(&old);
}

/* ---- proxies ---- */

static const char *env_any(const char *upper, const char *lower)
{
	const char *v = getenv(upper);

	return v && *v ? v : getenv(lower);
}

void httpc_set_proxy(CURL *easy, struct str url)
{
	bool tls = str_has_prefix(url, STR("https:"));
	struct str host = str_sub(url, (size_t)str_find_str(url, STR("//")) + 2, url.len);
	const char *proxy =
		tls ? env_any("HTTPS_PROXY", "https_proxy") : env_any("HTTP_PROXY", "http_proxy");
	const char *except = env_any("NO_PROXY", "no_proxy");
	char name[300];
	ptrdiff_t end = str_find(host, '/');

	if (end >= 0)
		host.len = (size_t)end;
	(void)snprintf(name, sizeof(name), "%.*s", STR_ARG(host));
	if (!proxy || httpc_is_loopback(str_from(name)))
		proxy = "";
	/* Both are set always: curl would read the environment by other rules. */
	(void)curl_easy_setopt(easy, CURLOPT_PROXY, proxy);
	(void)curl_easy_setopt(easy, CURLOPT_NOPROXY, except ? except : "");
}

/* ---- the client ---- */

static void share_lock(CURL *h, curl_lock_data data, curl_lock_access access, void *arg)
{
	struct httpc *c = arg;

	(void)pthread_mutex_lock(&c->share_locks[data]);
}

static void share_unlock(CURL *h, curl_lock_data data, void *arg)
{
	struct httpc *c = arg;

	(void)pthread_mutex_unlock(&c->share_locks[data]);
}

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_start(void)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		abort();
}

/* Made with the first call: a daemon that fetches nothing never loads curl. */
CURLSH *httpc_share(struct httpc *c)
{
	(void)pthread_once(&curl_once, curl_start);
	LOCKED(&c->lock);
	if (c->share)
		return c->share;
	c->share = curl_share_init();
	if (!c->share)
		abort(); /* out of memory */
	(void)curl_share_setopt(c->share, CURLSHOPT_LOCKFUNC, share_lock);
	(void)curl_share_setopt(c->share, CURLSHOPT_UNLOCKFUNC, share_unlock);
	(void)curl_share_setopt(c->share, CURLSHOPT_USERDATA, c);
	(void)curl_share_setopt(c->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
	(void)curl_share_setopt(c->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
	return c->share;
}

struct httpc *httpc_new(const char *user_agent)
{
	struct httpc *c = NEW(struct httpc);
	const char *file = getenv("SSL_CERT_FILE"), *dir = getenv("SSL_CERT_DIR");

	c->user_agent = mem_strdup(user_agent);
	c->ca_file = file && *file ? mem_strdup(file) : NULL;
	c->ca_dir = dir && *dir ? mem_strdup(dir) : NULL;
	lock_init(&c->lock, LOCK_NET);
	list_init(&c->idle);
	for (size_t i = 0; i < HTTPC_SHARED; i++)
		(void)pthread_mutex_init(&c->share_locks[i], NULL);
	return c;
}

void httpc_set_dial(struct httpc *c, int (*dial)(void *arg, int family, int type, int protocol),
		    void *arg)
{
	c->dial = dial;
	c->dial_arg = arg;
}

void httpc_free(struct httpc *c)
{
	if (!c)
		return;
	free_all(&c->idle);
	if (c->share)
		(void)curl_share_cleanup(c->share);
	for (size_t i = 0; i < HTTPC_SHARED; i++)
		(void)pthread_mutex_destroy(&c->share_locks[i]);
	lock_fini(&c->lock);
	free(c->user_agent);
	free(c->ca_file);
	free(c->ca_dir);
	free(c);
}
