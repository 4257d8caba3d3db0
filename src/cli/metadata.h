/* --metadata-file */
#ifndef CLI_METADATA_H
#define CLI_METADATA_H

#include "base/err.h"
#include "proto/proto.h"

/* The exporter response as indented JSON, atomically replaced. */
struct err *cli_write_metadata(struct arena *a, const char *path,
			       const Moby__Buildkit__V1__SolveResponse *r) ERR_RESULT;

#endif
