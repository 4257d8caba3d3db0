#include "op/op.h"

static const char *const caps[] = {
#define OP_CAP(id) id,
#include "op/caps.def"
#undef OP_CAP
};
#define N_CAPS (sizeof(caps) / sizeof(caps[0]))

static int by_id(const void *a, const void *b)
{
	return strcmp(a, *(const char *const *)b);
}

bool op_cap(const char *id)
{
	return bsearch(id, caps, N_CAPS, sizeof(caps[0]), by_id);
}

Moby__Buildkit__V1__Apicaps__APICap **op_caps(struct arena *a, size_t *ret_n)
{
	Moby__Buildkit__V1__Apicaps__APICap **list =
		ARENA_NEW_N(a, Moby__Buildkit__V1__Apicaps__APICap *, N_CAPS);

	for (size_t i = 0; i < N_CAPS; i++) {
		list[i] = ARENA_NEW(a, Moby__Buildkit__V1__Apicaps__APICap);
		moby__buildkit__v1__apicaps__apicap__init(list[i]);
		list[i]->id = (char *)caps[i];
		list[i]->enabled = true;
	}
	*ret_n = N_CAPS;
	return list;
}
