/* Capabilities of the LLBBridge (frontendcaps.def). */
#ifndef CONTROL_CAPS_H
#define CONTROL_CAPS_H

#include "proto/proto.h"

bool bridge_frontend_cap(const char *id);
/* Sorted by id. */
Moby__Buildkit__V1__Apicaps__APICap **bridge_frontend_caps(struct arena *a, size_t *ret_n);

#endif
