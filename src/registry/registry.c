#include "registry/registry.h"

#include "base/mem.h"
#include "registry/request.h"

#define CONCURRENCY_DEFAULT 4

struct err *registry_new(const struct registry_host_config *hosts, size_t n, int max_concurrency,
			 const char *user_agent, struct registry **ret)
{
	struct registry *r = NEW(struct registry);

	r->http = httpc_new(user_agent);
	hosts_init(&r->hosts, hosts, n);
	auth_cache_init(&r->auth, r->http);
	r->max = max_concurrency > 0 ? max_concurrency : CONCURRENCY_DEFAULT;
	lock_init(&r->lock, LOCK_REGISTRY);
	cond_init(&r->fetched);
	*ret = r;
	return NULL;
}

static void free_state(void *p)
{
	struct host_state *s = p;

	limiter_fini(&s->limiter);
	free(s);
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	auth_cache_fini(&r->auth);
	hosts_fini(&r->hosts);
	map_fini(&r->states, free_state);
	map_fini(&r->fetching, NULL);
	httpc_free(r->http);
	cond_fini(&r->fetched);
	lock_fini(&r->lock);
	free(r);
}
