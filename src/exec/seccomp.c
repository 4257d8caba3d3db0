#include "exec/seccomp.h"

#include "base/mem.h"
#include "sys/fd.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
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

/* ---- compiled ---- */

/* Names that this library or an architecture does not know are nothing to allow. */
static struct err *add_rule(scmp_filter_ctx f, uint32_t action, const char *name, unsigned n,
			    const struct scmp_arg_cmp *cmp)
{
	int nr = seccomp_syscall_resolve_name(name);
	int rc = nr == __NR_SCMP_ERROR ? 0 : seccomp_rule_add_array(f, action, nr, n, cmp);

	/* EDOM: can't be told apart by its arguments on one of the architectures (socketcall). */
	return rc && rc != -EDOM ? err_errno(-rc, "seccomp rule of %s", name) : NULL;
}

static struct err *add_arg_rule(scmp_filter_ctx f, const struct rule *r)
{
	struct scmp_arg_cmp c = { .arg = 0, .op = SCMP_CMP_EQ, .datum_a = r->value };

	if (!strcmp(r->op, "SCMP_CMP_LT")) {
		c.op = SCMP_CMP_LT;
	} else if (!strcmp(r->op, "SCMP_CMP_MASKED_EQ")) {
		/* All of the mask's bits are 0. */
		c.op = SCMP_CMP_MASKED_EQ;
		c.datum_b = 0;
	}
	return add_rule(f, SCMP_ACT_ALLOW, r->name, 1, &c);
}

static struct err *add_rules(scmp_filter_ctx f)
{
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		TRY(add_rule(f, SCMP_ACT_ALLOW, allowed[i], 0, NULL));
	for (size_t i = 0; i < ARRAY_SIZE(arch_calls); i++)
		TRY(add_rule(f, SCMP_ACT_ALLOW, arch_calls[i], 0, NULL));
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		TRY(add_arg_rule(f, &rules[i]));
	TRY(add_rule(f, SCMP_ACT_ERRNO(ENOSYS), "clone3", 0, NULL));
	return add_rule(f, SCMP_ACT_ALLOW, "chroot", 0, NULL);
}

static struct err *fill_filter(const struct seccomp *s, scmp_filter_ctx f)
{
	for (size_t i = 0; i < ARRAY_SIZE(archs); i++) {
		SCOPED_BUF(name, 64);
		uint32_t arch;
		int rc;

		if (!s->x32 && !strcmp(archs[i], "SCMP_ARCH_X32"))
			continue;
		/* The library's names are without the prefix, in lower case. */
		for (const char *p = archs[i] + strlen("SCMP_ARCH_"); *p; p++)
			buf_add_char(&name, (char)(*p | (*p >= 'A' && *p <= 'Z' ? 0x20 : 0)));
		arch = seccomp_arch_resolve_name(buf_cstr(&name));
		rc = seccomp_arch_add(f, arch);
		if (rc && rc != -EEXIST)
			return err_errno(-rc, "seccomp architecture %s", archs[i]);
	}
	/* A step may gain privileges by what it executes: no_new_privs is not for the filter to
	 * set. */
	(void)seccomp_attr_set(f, SCMP_FLTATR_CTL_NNP, 0);
	/* Looked up by bisection: three times as fast for each call. */
	(void)seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	return add_rules(f);
}

struct err *seccomp_compile(const struct seccomp *s, struct buf *out)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	CLEANUP_FD int fd = -1;
	struct err *e;

	if (!f)
		return err_errno(ENOMEM, "seccomp filter");
	e = fill_filter(s, f);
	if (!e)
		e = fd_memfd("seccomp", STR(""), false, &fd);
	if (!e) {
		int rc = seccomp_export_bpf(f, fd);

		if (rc)
			e = err_errno(-rc, "seccomp filter");
	}
	seccomp_release(f);
	TRY(e);
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(errno, "seek");
	TRY(fd_read_all(fd, out));
	return buf_check(out, "seccomp filter");
}
