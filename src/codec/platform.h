/* Platforms (OCI image index "platform"; normalisation and matching as containerd's
 * platforms package does them). Strings are borrowed. */
#ifndef CODEC_PLATFORM_H
#define CODEC_PLATFORM_H

#include "base/arena.h"
#include "base/err.h"

struct platform {
	struct str os, arch, variant, os_version;
	struct str *os_features;
	size_t n_os_features;
};

/* Of this machine: linux/amd64, linux/arm64, linux/arm/v7, ... Literals. */
struct platform platform_default(void);
/* "linux/arm64/v8", "arm64", "linux": as containerd's Parse; errors in its words. */
struct err *platform_parse(struct arena *a, struct str text, struct platform *ret) ERR_RESULT;
/* aarch64 -> arm64, x86_64 -> amd64, arm64/v8 -> arm64, arm -> arm/v7, ... */
struct platform platform_normalize(struct platform p);
char *platform_format(struct arena *a, struct platform p); /* os/arch[/variant], normalized input */
/* With the OS version in parentheses, as the ids in refs.platforms. */
char *platform_format_all(struct arena *a, struct platform p);
bool platform_eq(struct platform a, struct platform b);
/* Does an image for `have` run where `want` is asked (containerd's Only: arm/v7 takes
 * v6 and v5, amd64/v3 takes v2 and v1, ...)? Lower rank is better; -1 is no. */
int platform_match_rank(struct platform want, struct platform have);

#endif
