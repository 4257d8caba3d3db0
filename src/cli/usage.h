/* Usage records as du and prune print them. */
#ifndef CLI_USAGE_H
#define CLI_USAGE_H

#include "base/json.h"
#include "cli/cmd.h"
#include "proto/proto.h"

/* Appends a row of the table (the header row first when r is NULL). */
void usage_row(struct buf *rows, const Moby__Buildkit__V1__UsageRecord *r);
/* A block of "Key:\tvalue" lines. */
void usage_block(const Moby__Buildkit__V1__UsageRecord *r, FILE *out);
void usage_json(struct json_out *j, const Moby__Buildkit__V1__UsageRecord *r);

#endif
