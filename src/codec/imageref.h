/* Image references (distribution's grammar): [domain/]path[:tag][@digest]. */
#ifndef CODEC_IMAGEREF_H
#define CODEC_IMAGEREF_H

#include "base/arena.h"
#include "codec/digest.h"

struct imageref {
	struct str domain; /* docker.io */
	struct str path;   /* library/alpine */
	struct str tag;    /* may be empty */
	struct digest digest;
};

/* Normalises "alpine" to docker.io/library/alpine. No tag is added. INVALID_ARGUMENT in
 * distribution's words ("invalid reference format", "... must be lowercase"). */
struct err *imageref_parse(struct arena *a, struct str text, struct imageref *ret) ERR_RESULT;
/* With ":latest" when there is neither tag nor digest. */
struct imageref imageref_with_default_tag(struct imageref r);
/* docker.io/library/alpine:latest@sha256:... */
char *imageref_format(struct arena *a, const struct imageref *r);
char *imageref_name(struct arena *a, const struct imageref *r); /* domain/path */
/* alpine:latest, for docker.io/library ones; else the full name. */
char *imageref_familiar(struct arena *a, const struct imageref *r);

#endif
