#include "exec/seccomp.h"

#include "base/mem.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Argument 0 of a call compared with a value. */
struct rule {
	const char *name, *op;
	uint64_t value;
};

static const struct rule rules[] = {
	/* Not the kernel's crypto interface, nor sockets to the hypervisor. */
	{ "socket", "SCMP_CMP_LT", AF_ALG },
	{ "socket", "SCMP_CMP_EQ", AF_NFC },
	{ "socket", "SCMP_CMP_EQ", AF_KCM },
	{ "socket", "SCMP_CMP_EQ", AF_QIPCRTR },
	{ "socket", "SCMP_CMP_EQ", AF_SMC },
	{ "socket", "SCMP_CMP_EQ", AF_XDP },
	{ "socket", "SCMP_CMP_EQ", AF_MCTP },
	{ "personality", "SCMP_CMP_EQ", 0x0 },
	{ "personality", "SCMP_CMP_EQ", 0x8 },
	{ "personality", "SCMP_CMP_EQ", 0x20000 },
	{ "personality", "SCMP_CMP_EQ", 0x20008 },
	{ "personality", "SCMP_CMP_EQ", 0xffffffff },
	/* No new namespaces: none of CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}. */
	{ "clone", "SCMP_CMP_MASKED_EQ", 0x7e020000 },
};

static const char *const allowed[] = {
#define ALLOW(name) #name,
#include "exec/seccomp.def"
#undef ALLOW
};

#if defined(__x86_64__)
/* x32 last: see seccomp.h. */
static const char *const archs[] = { "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32" };
static const char *const arch_calls[] = { "arch_prctl", "modify_ldt" };
#elif defined(__aarch64__)
static const char *const archs[] = { "SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64" };
static const char *const arch_calls[] = { "arm_fadvise64_64", "arm_sync_file_range",
					  "sync_file_range2", "breakpoint",
					  "cacheflush",       "set_tls" };
#else
#error "no seccomp profile for this architecture"
#endif

static bool has_filters(void)
{
	/* EFAULT: the mode is known, the filter missing. */
	return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) < 0 && errno != EINVAL;
}

#if defined(__x86_64__)
#define X32_GETPID (0x40000000L | 39)

/* Does the kernel run x32 calls? Asked by a process of its own, as a filter that we are under
 * ourselves may answer with its death; it does nothing else. */
static bool has_x32(void)
{
	int status = 0;
	pid_t pid = _Fork();

	if (pid == 0)
		_exit(syscall(X32_GETPID) > 0 ? 1 : 0);
	if (pid < 0)
		return true;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return true;
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}
#else
static bool has_x32(void)
{
	return true;
}
#endif

struct seccomp seccomp_probe(void)
{
	return (struct seccomp) { .supported = has_filters(), .x32 = has_x32() };
}

static void write_names(struct json_out *j, const char *const *names, size_t n)
{
	json_key(j, STR("names"));
	json_arr_begin(j);
	for (size_t i = 0; i < n; i++)
		json_str(j, str_from(names[i]));
	json_arr_end(j);
}

static void write_allowed(struct json_out *j, const char *const *names, size_t n)
{
	json_obj_begin(j);
	write_names(j, names, n);
	json_kstr(j, "action", STR("SCMP_ACT_ALLOW"));
	json_obj_end(j);
}

static void write_rule(struct json_out *j, const struct rule *r)
{
	json_obj_begin(j);
	write_names(j, &r->name, 1);
	json_kstr(j, "action", STR("SCMP_ACT_ALLOW"));
	json_key(j, STR("args"));
	json_arr_begin(j);
	json_obj_begin(j);
	json_kint(j, "index", 0);
	json_key(j, STR("value"));
	json_uint(j, r->value);
	json_kstr(j, "op", str_from(r->op));
	json_obj_end(j);
	json_arr_end(j);
	json_obj_end(j);
}

void seccomp_write(const struct seccomp *s, struct json_out *j)
{
	static const char *const chroot_name[] = { "chroot" }, *const clone3_name[] = { "clone3" };

	json_obj_begin(j);
	json_kstr(j, "defaultAction", STR("SCMP_ACT_ERRNO"));
	json_kint(j, "defaultErrnoRet", EPERM);
	json_key(j, STR("architectures"));
	json_arr_begin(j);
	for (size_t i = 0; i < ARRAY_SIZE(archs); i++)
		if (s->x32 || strcmp(archs[i], "SCMP_ARCH_X32") != 0)
			json_str(j, str_from(archs[i]));
	json_arr_end(j);
	json_key(j, STR("syscalls"));
	json_arr_begin(j);
	write_allowed(j, allowed, ARRAY_SIZE(allowed));
	write_allowed(j, arch_calls, ARRAY_SIZE(arch_calls));
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		write_rule(j, &rules[i]);
	/* Its flags are in memory, out of a filter's reach: C libraries fall back to clone. */
	json_obj_begin(j);
	write_names(j, clone3_name, 1);
	json_kstr(j, "action", STR("SCMP_ACT_ERRNO"));
	json_kint(j, "errnoRet", ENOSYS);
	json_obj_end(j);
	/* The default capabilities have CAP_SYS_CHROOT. */
	write_allowed(j, chroot_name, 1);
	json_arr_end(j);
	json_obj_end(j);
}
