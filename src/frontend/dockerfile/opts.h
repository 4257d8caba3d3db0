/* The options of a build (FrontendOpt), read once. */
#ifndef FRONTEND_DOCKERFILE_OPTS_H
#define FRONTEND_DOCKERFILE_OPTS_H

#include "frontend/bridge.h"
#include "frontend/dockerfile/env.h"
#include "frontend/dockerfile/lint.h"

struct extra_host {
	struct str host, ip;
};

struct ulimit_opt {
	struct str name;
	int64_t soft, hard;
};

struct opts {
	struct env build_args, labels; /* without their prefixes, by key */
	/* All options, as the subsequent requests see them; named contexts may be redirected. */
	struct env all;
	struct str target, cache_namespace, cgroup_parent, hostname;
	struct str resolve_mode; /* default, pull, local */
	struct extra_host *hosts;
	size_t n_hosts;
	struct ulimit_opt *ulimits;
	size_t n_ulimits;
	int64_t shm_size;
	Pb__LinuxResources *resources; /* NULL: none */
	Pb__NetMode network;
	bool no_cache_all;
	struct strs no_cache; /* stage names */
	struct platform *targets;
	size_t n_targets; /* 0: the default one */
	const struct platform *build_platform;
	bool multi_platform;
	Moby__Buildkit__V1__Frontend__CacheOptionsEntry **cache_imports;
	size_t n_cache_imports;
	bool git_advice;
	bool has_lint;
	struct lint_config lint;
	struct str sbom_generator; /* empty: no scan */
	struct env sbom_params;
};

struct err *opts_parse(struct arena *a, const struct bridge *b, struct opts *ret) ERR_RESULT;
/* STR_NONE when it isn't given. */
struct str opts_get(const struct opts *o, struct str key);
bool opts_no_cache(const struct opts *o, struct str stage);
/* Go's strconv.ParseInt error for text. */
struct err *opts_bad_int(struct arena *a, const char *fn, struct str text) ERR_RESULT;

#endif
