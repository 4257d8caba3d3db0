/* Turning one Dockerfile into a graph for one platform. A plan is made, used and freed by one task;
 * only base images are looked up in parallel (resolve.c), each into an arena of its own. */
#ifndef FRONTEND_DOCKERFILE_PLAN_H
#define FRONTEND_DOCKERFILE_PLAN_H

#include "base/glob.h"
#include "frontend/dockerfile/df.h"
#include "frontend/dockerfile/named.h"
#include "frontend/dockerfile/parse.h"
#include "frontend/dockerfile/shell.h"
#include "frontend/dockerfile/state.h"
#include "frontend/push.h"

struct stage;

/* An ARG, for the outline. */
struct arg_info {
	struct str name, value, doc;
	struct strs deps; /* names its default uses */
	struct loc loc;
};

/* A secret or an SSH agent. */
struct need_info {
	struct str id;
	bool required;
	struct loc loc;
};

struct outline {
	struct arg_info *args;
	size_t n_args, cap_args;
	struct strs used; /* names of args */
	struct need_info *secrets, *ssh;
	size_t n_secrets, cap_secrets, n_ssh, cap_ssh;
};

/* An instruction of a stage, with the stages it copies or mounts from: one of COPY, one a mount of
 * RUN. */
struct step {
	struct instr in;
	struct stage **sources;
	size_t n_sources;
	bool on_build;
};

struct dep {
	struct stage *stage;
	struct loc loc;
};

struct tracker { /* an instruction that counts once */
	bool set;
	struct loc loc;
};

struct stage {
	struct instr from;
	struct str base_name; /* expanded, later the full reference */
	struct str name;      /* as given; empty without */
	struct str label;     /* in the names of steps */
	struct stage *base;   /* another stage */
	bool has_named;
	struct named_context named;
	struct llb_node *local; /* a local named context, waiting for its paths */
	bool has_platform;
	struct platform platform;
	bool unregistered; /* an image that is only copied or mounted from */
	bool dispatched, resolved, on_build_known, ignore_cache;
	bool listed;    /* in the plan */
	int color;      /* of check_circles() */
	unsigned reach; /* the last stages_reachable() that met it */

	struct step *steps;
	size_t n_steps, cap_steps;
	struct dep *deps;
	size_t n_deps, cap_deps;

	struct fs_state state;
	struct image image;
	struct image *base_image;  /* as it came */
	struct strs context_paths; /* used from the main context */
	struct strs *paths;        /* others use from this one; shared with the base */
	struct pair *args;         /* ARGs seen */
	size_t n_args, cap_args;
	int step, n_counted; /* numbering */
	bool on_build;       /* the instruction now done is a trigger */
	bool workdir_set, scan_context, scan_stage;
	struct tracker entrypoint, cmd, healthcheck;
	struct outline outline;
};

struct plan {
	struct df *df;
	struct ctx *ctx;
	struct arena a;
	/* Of the Dockerfile, with a definition of its own: packing sorts maps in place. */
	struct llb_source_map map;
	struct lint lint;
	struct dockerfile file;
	struct shell shell;
	bool has_target; /* a platform was asked for */
	struct platform target;
	bool all_stages; /* also those that are not needed (lint) */
	struct str target_stage;

	struct env build_args; /* SOURCE_DATE_EPOCH resolved */
	struct env globals;
	struct outline global_outline;
	bool has_epoch;
	int64_t epoch;      /* seconds */
	struct str created; /* of history entries */

	struct stage **stages;
	size_t n_stages, cap_stages;
	struct stage *target_ptr;
	unsigned reach_run;
	struct llb_node *context; /* alias of the main context */
	struct patterns *ignore;  /* NULL: none */
	struct arena **arenas;    /* of look-ups */
	size_t n_arenas, cap_arenas;

	/* Where the failure is, most inner first. */
	struct loc *locs;
	size_t n_locs, cap_locs;
};

/* ---- plan.c ---- */
/* platform NULL: the default one. warn NULL: no lint. */
void plan_init(struct plan *p, struct df *df, struct ctx *ctx, const struct platform *platform);
void plan_fini(struct plan *p);
/* Up to target_ptr, its image and graph. */
struct err *plan_run(struct plan *p) ERR_RESULT;
/* Notes where e happened (loc not set: nowhere); gives e back. */
struct err *plan_at(struct plan *p, struct err *e, struct loc loc) ERR_RESULT;
/* The same, forgetting what was noted before. */
struct err *plan_only_at(struct plan *p, struct err *e, struct loc loc) ERR_RESULT;

/* ---- args.c ---- */
struct err *args_globals(struct plan *p) ERR_RESULT;
/* Proxy variables among the build args; NULL without. */
Pb__ProxyEnv *args_proxy(struct arena *a, const struct env *build_args);

/* ---- epoch.c ---- */
struct err *epoch_resolve(struct plan *p) ERR_RESULT;

/* ---- stages.c ---- */
struct err *stages_build(struct plan *p) ERR_RESULT;
struct stage *stage_find(struct plan *p, struct str name);
void stage_add(struct plan *p, struct stage *s);
/* What a stage takes from the one it is based on. */
void stage_inherit(struct plan *p, struct stage *s);
struct strs stage_labels(struct plan *p);
/* s and all it needs, into reach[0..n). */
void stages_reachable(struct plan *p, struct stage *s, struct stage ***ret, size_t *ret_n);
/* Was it there the last time? */
static inline bool stage_needed(const struct plan *p, const struct stage *s)
{
	return s->reach == p->reach_run;
}
struct outline outline_clone(struct arena *a, const struct outline *o);
void outline_set_arg(struct arena *a, struct outline *o, const struct arg_info *info);
/* Sources of an instruction and what depends on them. */
struct err *step_init(struct plan *p, struct stage *s, const struct instr *in,
		      struct step *ret) ERR_RESULT;

/* ---- resolve.c ---- */
/* Base images of the stages that are needed (all, with all_stages). */
struct err *stages_resolve(struct plan *p) ERR_RESULT;

/* ---- dispatch.c ---- */
/* Runs the instructions of a stage. */
struct err *stage_dispatch(struct plan *p, struct stage *s) ERR_RESULT;
/* "[build 2/5] TEXT", and counts. */
struct str step_name(struct plan *p, struct stage *s, struct str text, const struct platform *os,
		     const struct env *env);
/* text with its first word in capitals, and variables expanded. */
struct str step_text(struct plan *p, const struct shell *sh, struct str text,
		     const struct env *env);
void stage_history(struct plan *p, struct stage *s, struct str created_by, bool layer);
/* Platform of what the stage does: its own, or the target's. */
const struct platform *stage_os(const struct plan *p, const struct stage *s);

struct doing { /* an instruction being carried out */
	struct plan *p;
	struct stage *s;
	struct step *step;
	struct instr *in;
	struct lint lint;
};
/* Unset variables are reported. */
struct err *expand(struct doing *d, struct str word, struct str *ret) ERR_RESULT;
struct str shell_join(struct arena *a, const struct image *img, const struct strs *args,
		      struct strs *ret);

/* ---- one a group of instructions ---- */
struct err *do_run(struct doing *d) ERR_RESULT;  /* do_run.c */
struct err *do_copy(struct doing *d) ERR_RESULT; /* do_copy.c */
struct err *do_env(struct doing *d) ERR_RESULT;  /* do_env.c */
struct err *do_label(struct doing *d) ERR_RESULT;
struct err *do_arg(struct doing *d) ERR_RESULT;
struct err *do_workdir(struct doing *d) ERR_RESULT;  /* do_meta.c */
struct err *do_metadata(struct doing *d) ERR_RESULT; /* CMD, ENTRYPOINT, USER, ... */
struct err *do_expose(struct doing *d) ERR_RESULT;   /* do_expose.c */
struct err *set_workdir(struct plan *p, struct stage *s, struct str dir, struct str *ret);

/* ---- check.c: lint rules that look at more than one instruction ---- */
void check_stage_names(struct plan *p);
void check_casing(struct plan *p);
void check_default_bases(struct plan *p);
void check_from_args(struct plan *p, const struct lint *l, const struct stage *s,
		     const struct shell_names *names);
void check_from_platform(struct plan *p, const struct lint *l, const struct stage *s,
			 struct str expanded, const struct shell_names *names);
void check_base_platform(struct plan *p, const struct stage *s, struct str name,
			 const struct platform *want, const struct platform *have);
void check_unset(struct doing *d, const struct shell_names *names);
void check_secret(struct doing *d, const char *what, struct str key);
void check_once(struct doing *d, struct tracker *t);
void check_copy_source(struct doing *d, struct str src);
/* Global ARGs and the predefined ones, for "did you mean". */
struct err *check_circles(struct plan *p) ERR_RESULT;

#endif
