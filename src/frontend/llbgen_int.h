/* Inside of llbgen: the node, shared by the builder and the marshaller. */
#ifndef FRONTEND_LLBGEN_INT_H
#define FRONTEND_LLBGEN_INT_H

#include "frontend/llbgen.h"
#include "frontend/push.h"

enum llb_kind { LLB_SOURCE, LLB_EXEC, LLB_FILE, LLB_MERGE, LLB_RAW, LLB_ALIAS };

/* Of an exec: where a mount comes from; of a file action: what it copies from. */
struct llb_edge {
	struct llb_out out;
	void *msg; /* Pb__Mount or Pb__FileAction */
	bool no_output;
};

struct llb_edges {
	struct llb_edge *items;
	size_t len, cap;
};

struct llb_location {
	const struct llb_source_map *map;
	Pb__Location *loc; /* sourceIndex is set when marshalled */
};

struct llb_locations {
	struct llb_location *items;
	size_t len, cap;
};

struct llb_node {
	enum llb_kind kind;
	Pb__Op op; /* the oneof only; inputs, platform and constraints come when marshalled */
	Pb__OpMetadata md;
	struct llb_locations locations;
	const struct platform *platform;
	struct llb_out base;    /* LLB_FILE; LLB_ALIAS: the target */
	struct llb_edges edges; /* mounts, actions, merge inputs, or inputs of a raw op */
	struct llb_edges tail;  /* mounts that are not sorted */

	/* Marshalled form, kept. */
	struct str bytes, digest; /* digest text */
	struct llb_out *deps;     /* what must come before, in the order of the definition */
	size_t n_deps;
	const void *seen; /* the last llb_marshal() that put it out */
	bool deps_known;
};

struct llb_out llb_resolve(struct llb_out out);

#endif
