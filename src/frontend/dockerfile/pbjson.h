/* Protobuf messages as JSON, in two dialects: that of Go's encoding/json on generated types (names
 * as in the .proto file, numbers as numbers; typed error details and lint results use it) and
 * protojson (camelCase, 64-bit numbers as text, enums by name). Empty fields are left out. */
#ifndef FRONTEND_DOCKERFILE_PBJSON_H
#define FRONTEND_DOCKERFILE_PBJSON_H

#include "base/json.h"
#include "proto/proto.h"

void pbjson_go(struct json_out *j, const void *msg);
void pbjson_proto(struct json_out *j, const void *msg);

#endif
