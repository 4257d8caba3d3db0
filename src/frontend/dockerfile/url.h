/* URLs, as far as sources need them. */
#ifndef FRONTEND_DOCKERFILE_URL_H
#define FRONTEND_DOCKERFILE_URL_H

#include "frontend/dockerfile/env.h"

struct url {
	struct str scheme;   /* lower case; may be empty */
	struct str user;     /* as written, with a password; without the @ */
	struct str host;     /* with its port */
	struct str path;     /* decoded */
	struct str query;    /* encoded */
	struct str fragment; /* decoded */
	struct str base;     /* all before query and fragment, what must be is escaped */
};

/* False for what is none. */
bool url_parse(struct arena *a, struct str text, struct url *ret);
/* Keys and values decoded, in order, repeated keys too. */
bool url_query(struct arena *a, struct str query, struct env_var **ret, size_t *ret_n);

#endif
