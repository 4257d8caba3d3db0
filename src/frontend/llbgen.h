/* Building LLB (pb.Definition) in memory: nodes that refer to each other by pointer and become
 * bytes at the end, when their inputs have digests. Until llb_marshal() a node may still be
 * changed, so a local source can stand in the graph before it is known which paths of it are used.
 *
 * Everything lives in the arena given to each call; one thread at a time. The bytes of an op are
 * those BuildKit's Go client makes for the same op (its field order included), so digests agree.
 * Strings are copied where they go into messages. */
#ifndef FRONTEND_LLBGEN_H
#define FRONTEND_LLBGEN_H

#include "base/arena.h"
#include "base/err.h"
#include "codec/platform.h"
#include "proto/proto.h"

struct llb_node;

/* Output of a node; a NULL node is the empty file system. */
struct llb_out {
	struct llb_node *node;
	int64_t index;
};
#define LLB_SCRATCH ((struct llb_out) { NULL, 0 })

static inline struct llb_out llb_out_of(struct llb_node *n)
{
	return (struct llb_out) { n, 0 };
}

/* The file that ops come from, for error excerpts. Outlives the graph. */
struct llb_source_map {
	struct str filename, language, data;
	const Pb__Definition *definition; /* that loaded the file; may be NULL */
};

/* ---- sources ---- */
struct llb_node *llb_source(struct arena *a, struct str identifier);
/* Replaces an earlier value. */
void llb_attr(struct arena *a, struct llb_node *n, const char *key, struct str value);
/* The value as a JSON array of strings; nothing for an empty list. */
void llb_attr_list(struct arena *a, struct llb_node *n, const char *key, const struct str *list,
		   size_t count);

/* ---- exec ---- */
struct llb_node *llb_exec(struct arena *a);
/* meta is there and empty, to be filled. */
Pb__ExecOp *llb_exec_op(struct llb_node *n);
/* Mounts are ordered by destination when marshalled (stable), those made with
 * llb_exec_tail_mount() follow in the order made. Input and output numbers are set then: writable
 * mounts that are neither cache nor tmpfs and not no_output get one. */
Pb__Mount *llb_exec_mount(struct arena *a, struct llb_node *n, struct str dest,
			  struct llb_out source, bool no_output);
Pb__Mount *llb_exec_tail_mount(struct arena *a, struct llb_node *n, struct str dest);

/* ---- file ---- */
/* A chain of actions on base; its one output is the last one's. */
struct llb_node *llb_file(struct arena *a, struct llb_out base);
Pb__FileActionMkDir *llb_mkdir(struct arena *a, struct llb_node *n, struct str path);
Pb__FileActionMkFile *llb_mkfile(struct arena *a, struct llb_node *n, struct str path);
/* Owners given by name are looked up in base. Timestamp and mode are preset to "keep". */
Pb__FileActionCopy *llb_copy(struct arena *a, struct llb_node *n, struct llb_out from,
			     struct str src, struct str dest);
/* "user[:group]", each a name or a number; NULL for an empty text. */
Pb__ChownOpt *llb_chown(struct arena *a, struct str owner);
Pb__ChownOpt *llb_chown_ids(struct arena *a, uint32_t uid, uint32_t gid);

/* ---- others ---- */
/* Scratch inputs are left out; fewer than two others need no op. */
struct llb_out llb_merge(struct arena *a, const struct llb_out *inputs, size_t n,
			 struct llb_node **ret_node);
/* Stands for an output that is known later. */
struct llb_node *llb_alias(struct arena *a);
void llb_alias_set(struct llb_node *alias, struct llb_out target);
/* Absent, or sent as absent: protobuf tells an absent message in a map from an empty one no
 * more than the original does. */
bool llb_is_nil(const Pb__Definition *def);
struct err *llb_nil_input(void) ERR_RESULT;
/* The graph of a finished definition, with its metadata and source map. */
struct err *llb_import(struct arena *a, const Pb__Definition *def, struct llb_out *ret) ERR_RESULT;

/* ---- what every node may carry ---- */
void llb_cap(struct arena *a, struct llb_node *n, const char *cap);
void llb_describe(struct arena *a, struct llb_node *n, const char *key, struct str value);
static inline void llb_name(struct arena *a, struct llb_node *n, struct str name)
{
	llb_describe(a, n, "llb.customname", name);
}
/* Without one the default of llb_marshal() counts. File and merge ops have none. */
void llb_platform(struct arena *a, struct llb_node *n, const struct platform *p);
void llb_ignore_cache(struct llb_node *n);
void llb_progress_group(struct arena *a, struct llb_node *n, struct str id, struct str name,
			bool weak);
Pb__OpMetadata *llb_metadata(struct llb_node *n);
/* Lines start to end, one range each. */
void llb_locate(struct arena *a, struct llb_node *n, const struct llb_source_map *map, int start,
		int end);

/* ---- the definition ---- */
/* What leads to out, inputs first, and the terminal op. *ret_head (may be NULL) is the digest text
 * of out's op. Scratch is an empty definition. INVALID_ARGUMENT when a text is not UTF-8. */
struct err *llb_marshal(struct arena *a, struct llb_out out,
			const struct platform *default_platform, Pb__Definition **ret,
			struct str *ret_head) ERR_RESULT;

/* A str as protobuf-c wants it. */
char *llb_text(struct arena *a, struct str s);

#endif
