/* http:// and https://: one file by URL. The host "buildkit-session" is the client's upload
 * service. */
#ifndef SOURCE_HTTP_H
#define SOURCE_HTTP_H

#include "registry/httpc.h"
#include "source/source.h"

/* Serves both schemes; what it is given outlives it. */
struct source *http_source_new(struct cache *c, struct session_manager *m, struct httpc *client,
			       const char *tmp_dir);

/* Base name that is safe as a file's: empty, ".", "..", or with control characters: "download". */
struct str http_safe_name(struct arena *a, struct str name);
/* filename or filename* of a Content-Disposition header; empty if there is none. */
struct str http_disposition_name(struct arena *a, struct str header);

#endif
