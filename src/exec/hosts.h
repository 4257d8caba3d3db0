/* The hosts file of a step. */
#ifndef EXEC_HOSTS_H
#define EXEC_HOSTS_H

#include "base/buf.h"
#include "exec/runtime.h"

#define EXEC_DEFAULT_HOSTNAME "buildkitsandbox"

void hosts_make(struct str hostname, const struct exec_kv *hosts, size_t n, struct buf *out);

#endif
