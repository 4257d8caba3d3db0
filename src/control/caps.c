#include "control/caps.h"

#include "base/mem.h"

static const struct {
	const char *id;
	bool deprecated;
} caps[] = {
#define FRONTEND_CAP(id, deprecated) { id, deprecated },
#include "control/frontendcaps.def"
#undef FRONTEND_CAP
};

bool bridge_frontend_cap(const char *id)
{
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++)
		if (strcmp(caps[i].id, id) == 0)
			return true;
	return false;
}

Moby__Buildkit__V1__Apicaps__APICap **bridge_frontend_caps(struct arena *a, size_t *ret_n)
{
	Moby__Buildkit__V1__Apicaps__APICap **out =
		ARENA_NEW_N(a, Moby__Buildkit__V1__Apicaps__APICap *, ARRAY_SIZE(caps));

	for (size_t i = 0; i < ARRAY_SIZE(caps); i++) {
		out[i] = ARENA_NEW(a, Moby__Buildkit__V1__Apicaps__APICap);
		moby__buildkit__v1__apicaps__apicap__init(out[i]);
		out[i]->id = (char *)caps[i].id;
		out[i]->enabled = true;
		out[i]->deprecated = caps[i].deprecated;
	}
	*ret_n = ARRAY_SIZE(caps);
	return out;
}
