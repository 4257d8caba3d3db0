/* Instructions with their meaning: a parsed Dockerfile. Variables are not expanded yet. */
#ifndef FRONTEND_DOCKERFILE_PARSE_H
#define FRONTEND_DOCKERFILE_PARSE_H

#include "frontend/dockerfile/lint.h"
#include "frontend/dockerfile/run_mount.h"

enum instr_kind {
#define INSTR(name, ...) INSTR_##name,
#include "frontend/dockerfile/instr.def"
#undef INSTR
};

/* Of ENV, LABEL and ARG. */
struct pair {
	struct str key, value;
	bool has_value; /* always, but for ARG */
	bool legacy;    /* K V */
	struct str doc; /* ARG: what a comment says of it */
};

enum tristate { UNSET, NO, YES };

struct copy_instr {
	struct strs sources;
	struct heredoc *contents; /* inline files: name and content */
	size_t n_contents;
	struct str dest, from, chown, chmod, checksum;
	bool link, parents;
	enum tristate keep_git_dir, unpack;
	struct strs excludes;
};

struct run_instr {
	struct strs mount_texts;
	struct run_mount *mounts; /* as many; first only `from` is known */
	struct str network, security;
	struct run_device *devices;
	size_t n_devices;
};

struct healthcheck {
	struct strs test;
	int64_t interval, timeout, start_period, start_interval; /* ns */
	int64_t retries;
};

struct instr {
	enum instr_kind kind;
	struct str name; /* as written */
	struct str code; /* all of the instruction */
	struct loc loc;
	struct strs comments;
	/* CMD, ENTRYPOINT, RUN, SHELL: the command line; EXPOSE, VOLUME: the list; USER, WORKDIR,
	 * STOPSIGNAL, MAINTAINER: one; ONBUILD: the trigger. */
	struct strs args;
	bool shell_form; /* args is one text for a shell */
	struct pair *pairs;
	size_t n_pairs;
	struct heredoc *heredocs; /* RUN */
	size_t n_heredocs;
	struct copy_instr *copy;    /* ADD, COPY */
	struct run_instr *run;      /* RUN */
	struct healthcheck *health; /* HEALTHCHECK */
	/* FROM: its base is args.items[0] */
	struct str stage_name, platform, doc;
};

struct stage_decl {
	struct instr from;
	struct instr *instrs;
	size_t n, cap;
};

struct dockerfile {
	char escape;
	struct instr *args; /* global ARGs */
	size_t n_args, cap_args;
	struct stage_decl *stages;
	size_t n_stages, cap_stages;
};

/* lint is told of what is questionable. On failure *ret_loc is where. */
struct err *parse_dockerfile(struct arena *a, const struct instr_lines *lines,
			     const struct lint *lint, struct dockerfile *ret,
			     struct loc *ret_loc) ERR_RESULT;
/* One instruction, e.g. a trigger; not a FROM. */
struct err *parse_instr(struct arena *a, const struct instr_line *line, const struct lint *lint,
			struct instr *ret) ERR_RESULT;
const char *instr_name(enum instr_kind kind); /* upper case */
bool instr_is_step(enum instr_kind kind);

#endif
