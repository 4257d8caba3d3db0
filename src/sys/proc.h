/* Child processes: described in a struct, started without fork (the child shares memory until it
 * executes, so no lock of another thread can be copied half taken), waited for by pidfd. */
#ifndef SYS_PROC_H
#define SYS_PROC_H

#include "base/buf.h"
#include "base/ctx.h"
#include "base/err.h"

#include <signal.h>
#include <sys/types.h>

struct proc_fd {
	int fd;    /* ours; borrowed, stays open here */
	int child; /* the number it has there */
};

struct proc_spec {
	const char *file;                   /* looked up in PATH when it has no '/' */
	const char *const *argv;            /* NULL-terminated */
	const char *const *envp;            /* NULL-terminated; NULL: ours */
	const char *cwd;                    /* NULL: ours */
	int stdin_fd, stdout_fd, stderr_fd; /* -1 is /dev/null; borrowed */
	const struct proc_fd *fds;          /* further ones; all others are closed */
	size_t n_fds;
	bool new_session;     /* setsid */
	bool new_group;       /* setpgid: proc_kill_group works (new_session does that too) */
	bool controlling_tty; /* stdin becomes the controlling terminal; implies new_session */
	/* Signal the child gets when the *thread* that started it ends; 0 is none. Only where that
	 * thread waits for the child. */
	int death_signal;
	int netns_fd;        /* network namespace to join; 0 is none */
	unsigned namespaces; /* new ones for the child: CLONE_NEWPID and so on, not CLONE_NEWUSER */
};
#define PROC_SPEC_INIT ((struct proc_spec) { .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1 })

struct proc {
	pid_t pid; /* 0 once reaped */
	int pidfd; /* -1 once closed */
	bool group;
};
#define PROC_INIT ((struct proc) { .pidfd = -1 })

/* An exec failure (missing program, ...) is an error here: `exec: "runc": executable file not
 * found in $PATH` with NOT_FOUND, else `fork/exec <path>: <errno>`. */
struct err *proc_start(const struct proc_spec *s, struct proc *ret) ERR_RESULT;

struct proc_status {
	bool exited;                         /* else by signal */
	int code;                            /* exit code, or 128 + signal as shells count */
	int signal;                          /* 0 if exited */
	int64_t user_ns, system_ns, max_rss; /* max_rss in bytes */
};
/* Waits for the end and reaps. When ctx ends first: its error, and the process goes on running. */
struct err *proc_wait(struct proc *p, struct ctx *ctx, struct proc_status *ret) ERR_RESULT;
/* Of an ended process nothing happens. */
void proc_signal(const struct proc *p, int sig);
/* The whole process group; needs new_group or new_session. */
void proc_signal_group(const struct proc *p, int sig);
/* Kills (the group too if there is one) if it still runs, reaps, closes. NULL-safe, repeatable. */
void proc_fini(struct proc *p);

/* Runs to the end with its outputs gathered up to the buffers' maxima (the rest is dropped;
 * either may be NULL; the same one may be given twice). input goes to stdin when not empty. Killed
 * with its group when ctx ends. The spec's stdio must be -1 where it is gathered. */
struct err *proc_run(const struct proc_spec *s, struct ctx *ctx, struct str input, struct buf *out,
		     struct buf *errout, struct proc_status *ret) ERR_RESULT;
/* "exit status N", "signal: killed": Go's words. */
const char *proc_status_text(const struct proc_status *st, char *out, size_t size);

/* Absolute path of a program, by PATH: false if there is none. */
bool proc_find(const char *name, struct arena *a, const char **ret);

/* Hidden sub-commands: work that must be in a process of its own (other namespaces, other users)
 * runs as this same program with argv[1] = "--helper=<name>". main() offers its arguments first:
 * proc_helper_main() returns false when it is not such a call, else runs the helper and exits. */
struct proc_helper {
	const char *name;
	int (*main)(int argc, char **argv); /* argv[0] is the name */
};
bool proc_helper_main(const struct proc_helper *table, size_t n, int argc, char **argv);
/* argv of such a call in the arena: args (NULL-terminated) go after the name. */
const char *const *proc_helper_argv(struct arena *a, const char *name, const char *const *args);
/* Raises the soft limit of open files to the hard one; children started here get the old one back.
 * Called once by main, before the first thread. */
void proc_raise_nofile(void);
/* The program itself, for proc_spec.file: right even after it was replaced on disk. */
const char *proc_self_exe(void);

#endif
