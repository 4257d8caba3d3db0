/* The last steps of a child: limits, filter, user, capabilities, and the program. */
#include "base/mem.h"
#include "exec/native_init.h"
#include "exec/users.h"
#include "sys/cap.h"
#include "sys/fd.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LIMIT_ARGS 1000000 /* more than the kernel takes */

void native_rlimit(struct native_child *c)
{
	int resource = (int)plan_get_num(&c->in);
	struct rlimit l;

	l.rlim_cur = plan_get_num(&c->in);
	l.rlim_max = plan_get_num(&c->in);
	if (setrlimit((__rlimit_resource_t)resource, &l) < 0)
		native_die("error setting rlimit type %d: %s", resource, strerror(errno));
}

void native_apparmor(struct native_child *c)
{
	static const char *const files[] = { "/proc/self/attr/apparmor/exec",
					     "/proc/self/attr/exec" };
	struct str profile = plan_get_str(&c->in);
	char *text = mem_printf("exec %s", profile.ptr);

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		int fd = open(files[i], O_WRONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

		if (fd >= 0)
			(void)close(fd);
		if (n > 0) {
			free(text);
			return;
		}
	}
	native_die("apply apparmor profile %s: %s", profile.ptr, strerror(errno));
}

void native_seccomp(struct native_child *c)
{
	struct str filter = plan_get_str(&c->in);
	size_t n = filter.len / sizeof(struct sock_filter);
	/* Strings of a plan are not aligned. */
	struct sock_filter *copy = mem_alloc(filter.len);
	struct sock_fprog p = { .len = (unsigned short)n, .filter = copy };

	memcpy(copy, filter.ptr, filter.len);
	if (!n || n > BPF_MAXINSNS || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p) != 0)
		native_die("seccomp: %s", strerror(errno));
	free(copy);
}

void native_cwd(struct native_child *c)
{
	struct str path = plan_get_str(&c->in);
	char now[PATH_MAX];

	if (chdir(path.len ? path.ptr : "/") < 0)
		native_die("chdir to cwd (\"%s\") set in config.json failed: %s", path.ptr,
			   strerror(errno));
	/* A path through a descriptor of ours could have led out of the root. */
	if (!getcwd(now, sizeof(now)) || now[0] != '/')
		native_die("current working directory is outside of container mount namespace "
			   "root -- possible container breakout detected");
}

void native_ids(struct native_child *c)
{
	c->uid = (uid_t)plan_get_num(&c->in);
	c->gid = (gid_t)plan_get_num(&c->in);
	c->n_groups = (size_t)plan_get_num(&c->in);
	if (c->n_groups > LIMIT_ARGS)
		native_die("too many groups");
	c->groups = mem_calloc(c->n_groups + 1, sizeof(*c->groups));
	for (size_t i = 0; i < c->n_groups; i++)
		c->groups[i] = (gid_t)plan_get_num(&c->in);
}

/* Pipes and terminals can be opened again by their names in /proc/self/fd: by their owner. */
static void own_stdio(const struct native_child *c)
{
	for (int fd = 0; fd < 3; fd++) {
		struct stat st;

		if (fstat(fd, &st) < 0 || st.st_uid == c->uid ||
		    (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)))
			continue;
		if (fchown(fd, c->uid, st.st_gid) < 0 && errno != EINVAL && errno != EPERM &&
		    errno != EROFS)
			native_die("chown of descriptor %d: %s", fd, strerror(errno));
	}
}

static void switch_user(const struct native_child *c)
{
	own_stdio(c);
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		native_die("keep capabilities: %s", strerror(errno));
	if (setgroups(c->n_groups, c->groups) < 0 && !(c->userns && errno == EPERM))
		native_die("setgroups: %s", strerror(errno));
	if (setresgid(c->gid, c->gid, c->gid) < 0)
		native_die("setgid %u: %s", c->gid, strerror(errno));
	if (setresuid(c->uid, c->uid, c->uid) < 0)
		native_die("setuid %u: %s", c->uid, strerror(errno));
	/* A change of ids forgets it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		native_die("prctl: %s", strerror(errno));
}

static void set_caps(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	for (int i = 0; i < 2; i++)
		d[i] = (struct __user_cap_data_struct) {
			.effective = (uint32_t)(effective >> (32 * i)),
			.permitted = (uint32_t)(permitted >> (32 * i)),
			.inheritable = (uint32_t)(inheritable >> (32 * i)),
		};
	if (syscall(SYS_capset, &h, d) < 0)
		native_die("capset: %s", strerror(errno));
}

void native_caps(struct native_child *c)
{
	uint64_t bounding = plan_get_num(&c->in), effective = plan_get_num(&c->in);
	uint64_t permitted = plan_get_num(&c->in), inheritable = plan_get_num(&c->in);
	uint64_t ambient = plan_get_num(&c->in), own = cap_bounding();

	for (unsigned i = 0; i < 64; i++)
		if ((own & CAP_BIT(i)) && !(bounding & CAP_BIT(i)) &&
		    prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
			native_die("drop capability %u: %s", i, strerror(errno));
	switch_user(c);
	set_caps(effective & own, permitted & own, inheritable & own);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (unsigned i = 0; i < 64; i++)
		if ((ambient & own & CAP_BIT(i)) &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) < 0)
			native_die("ambient capability %u: %s", i, strerror(errno));
}

/* ---- the program ---- */

static char **get_strs(struct native_child *c, size_t spare)
{
	uint64_t n = plan_get_num(&c->in);
	char **v;

	if (n > LIMIT_ARGS)
		native_die("too many arguments");
	v = mem_calloc((size_t)n + spare + 1, sizeof(*v));
	for (uint64_t i = 0; i < n; i++)
		v[i] = (char *)plan_get_str(&c->in).ptr;
	return v;
}

static const char *get_var(char **env, const char *name, size_t len)
{
	const char *found = NULL;

	/* The last one counts. */
	for (; *env; env++)
		if (!strncmp(*env, name, len) && (*env)[len] == '=')
			found = *env + len + 1;
	return found;
}

static void add_home(struct native_child *c, char **env)
{
	SCOPED_ARENA(a);
	const char *home = get_var(env, "HOME", 4);
	struct str dir;

	if (home && *home)
		return;
	dir = users_home(c->rootfd, c->uid, &a);
	while (*env && strncmp(*env, "HOME=", 5) != 0)
		env++;
	*env = mem_printf("HOME=%.*s", STR_ARG(dir));
}

static bool is_program(const char *path, int *ret_errno)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		*ret_errno = errno;
		return false;
	}
	*ret_errno = EACCES;
	return S_ISREG(st.st_mode) && (st.st_mode & 0111);
}

/* As a shell looks for it. */
static const char *find_program(const char *name, const char *path)
{
	int errnum = ENOENT;
	bool denied = false;

	if (strchr(name, '/')) {
		if (is_program(name, &errnum))
			return name;
		native_die_err(errnum == EACCES
				       ? err_errno(EACCES, "exec: \"%s\"", name)
				       : err_errno(errnum, "exec: \"%s\": stat %s", name, name));
	}
	while (path) {
		const char *end = strchrnul(path, ':');
		char *full = end == path ? mem_printf("./%s", name)
					 : mem_printf("%.*s/%s", (int)(end - path), path, name);

		if (is_program(full, &errnum))
			return full;
		denied |= errnum == EACCES;
		free(full);
		path = *end ? end + 1 : NULL;
	}
	native_die("exec: \"%s\": %s", name,
		   denied ? "permission denied" : "executable file not found in $PATH");
}

void native_exec(struct native_child *c)
{
	char **args = get_strs(c, 0), **env = get_strs(c, 1);
	const char *program;

	if (c->in.bad || !args[0])
		native_die("malformed plan");
	add_home(c, env);
	program = find_program(args[0], get_var(env, "PATH", 4));
	/* All but stdio end with the execution, whoever opened them. */
	(void)syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */);
	(void)execve(program, args, env);
	native_die_err(err_errno(errno, "exec %s", program));
}
