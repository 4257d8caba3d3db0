/* The flags of `build`, parsed. */
#ifndef CLI_BUILD_OPTS_H
#define CLI_BUILD_OPTS_H

#include "cli/cmd.h"
#include "progress/display.h"

struct kv_pair {
	struct str key, value;
};

struct build_output {
	const char *type;
	const char *dest; /* NULL: none */
	bool to_stdout;
	struct kv_pair *attrs;
	size_t n_attrs;
};

struct build_cache_opt {
	const char *type;
	struct kv_pair *attrs;
	size_t n_attrs;
};

struct build_opts {
	const char *frontend;
	struct kv_pair *opts; /* frontend attributes */
	size_t n_opts;
	struct kv_pair *locals; /* name, directory */
	size_t n_locals;
	struct kv_pair *oci_layouts;
	size_t n_oci_layouts;
	struct build_output *outputs;
	size_t n_outputs;
	struct build_cache_opt *cache_exports, *cache_imports;
	size_t n_cache_exports, n_cache_imports;
	struct flag_list secrets, ssh, allow;
	enum display_mode display;
	bool no_cache, daemonless;
	const char *metadata_file, *ref_file, *trace_file;
	bool help;
};

struct err *build_opts_parse(struct cli *c, int argc, char **argv,
			     struct build_opts *ret) ERR_RESULT;

#endif
