/* The resolv.conf of a step: the host's, with the daemon's [dns] settings, and without nameservers
 * that a network namespace can't reach. */
#ifndef EXEC_RESOLVCONF_H
#define EXEC_RESOLVCONF_H

#include "base/buf.h"
#include "exec/runtime.h"

struct resolvconf_opts {
	const char *const *nameservers, *const *options, *const *search;
	size_t n_nameservers, n_options, n_search;
	bool host_net; /* steps that asked for the host's network: loopback servers stay */
};

/* Text in, text out: no files. INVALID_ARGUMENT "bad nameserver address" for junk in opts. */
struct err *resolvconf_make(struct str source, const struct resolvconf_opts *o,
			    struct buf *out) ERR_RESULT;
/* Forgets the files below dir: they are of other settings. */
struct err *resolvconf_reset(const char *dir) ERR_RESULT;
/* Path of an up-to-date file below dir (made again when the host's has changed). */
struct err *resolvconf_file(const char *dir, const struct resolvconf_opts *o, struct arena *a,
			    const char **ret) ERR_RESULT;

#endif
