#include "sys/cgroup_devices.h"

#include "base/arena.h"
#include "base/vec.h"
#include "sys/cgroup.h"
#include "sys/fd.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- version 2 ---- */

/* Registers: 1 the context; 2 type, 3 access, 4 major, 5 minor after the prologue. */
enum { R0, R1, R2, R3, R4, R5, R6 };

struct program {
	VEC(struct bpf_insn) v;
};

static void put(struct program *p, unsigned code, unsigned dst, unsigned src, int off, int imm)
{
	vec_push(&p->v, ((struct bpf_insn) { .code = (uint8_t)code,
					     .dst_reg = dst & 15,
					     .src_reg = src & 15,
					     .off = (int16_t)off,
					     .imm = imm }));
}

static void put_prologue(struct program *p)
{
	put(p, BPF_LDX | BPF_MEM | BPF_W, R3, R1, 0, 0);
	put(p, BPF_ALU | BPF_MOV | BPF_X, R2, R3, 0, 0);
	put(p, BPF_ALU | BPF_AND | BPF_K, R2, 0, 0, 0xffff);
	put(p, BPF_ALU | BPF_RSH | BPF_K, R3, 0, 0, 16);
	put(p, BPF_LDX | BPF_MEM | BPF_W, R4, R1, 4, 0);
	put(p, BPF_LDX | BPF_MEM | BPF_W, R5, R1, 8, 0);
}

/* Jumps over the rest of the rule, `left` instructions, when the register is something else. */
static void put_unless(struct program *p, unsigned reg, int64_t value, int left)
{
	put(p, BPF_JMP | BPF_JNE | BPF_K, reg, 0, left, (int)value);
}

static void put_rule(struct program *p, const struct device_rule *r)
{
	int left = 2 + 3 + (r->maj >= 0) + (r->min >= 0);

	put_unless(p, R2, r->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR, left);
	/* Something asked for that the rule does not allow. */
	put(p, BPF_ALU | BPF_MOV | BPF_X, R6, R3, 0, 0);
	put(p, BPF_ALU | BPF_AND | BPF_K, R6, 0, 0, (int)(~r->access & DEVICE_ALL));
	put_unless(p, R6, 0, left - 3);
	if (r->maj >= 0)
		put_unless(p, R4, r->maj, 2 + (r->min >= 0));
	if (r->min >= 0)
		put_unless(p, R5, r->min, 2);
	put(p, BPF_ALU64 | BPF_MOV | BPF_K, R0, 0, 0, 1);
	put(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static long bpf(int cmd, union bpf_attr *a)
{
	return syscall(SYS_bpf, cmd, a, sizeof(*a));
}

static struct err *load(const struct program *p, int *ret)
{
	static const char license[] = "Apache-2.0";
	union bpf_attr a;
	long fd;

	memset(&a, 0, sizeof(a));
	a.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	a.insns = (uintptr_t)p->v.items;
	a.insn_cnt = (uint32_t)p->v.len;
	a.license = (uintptr_t)license;
	fd = bpf(BPF_PROG_LOAD, &a);
	if (fd < 0)
		return err_errno(errno, "load device filter");
	*ret = (int)fd;
	return NULL;
}

struct err *cgroup_attach_devices(const char *dir, const struct device_rule *rules, size_t n)
{
	struct program p = { 0 };
	CLEANUP_FD int prog = -1, group = -1;
	union bpf_attr a;
	struct err *e;

	put_prologue(&p);
	for (size_t i = 0; i < n; i++)
		put_rule(&p, &rules[i]);
	put(&p, BPF_ALU64 | BPF_MOV | BPF_K, R0, 0, 0, 0);
	put(&p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	e = load(&p, &prog);
	vec_fini(&p.v);
	TRY(e);
	TRY(fd_open_dir(AT_FDCWD, dir, &group));
	memset(&a, 0, sizeof(a));
	a.target_fd = (uint32_t)group;
	a.attach_bpf_fd = (uint32_t)prog;
	a.attach_type = BPF_CGROUP_DEVICE;
	a.attach_flags = BPF_F_ALLOW_MULTI;
	if (bpf(BPF_PROG_ATTACH, &a) < 0)
		return err_errno(errno, "attach device filter to %s", dir);
	return NULL;
}

/* ---- version 1 ---- */

static const char *number_text(struct arena *a, int64_t n)
{
	return n < 0 ? "*" : arena_printf(a, "%lld", (long long)n);
}

static struct err *allow_v1(const char *path, const struct device_rule *r)
{
	SCOPED_ARENA(a);

	return cgroup_write(path, "devices.allow",
			    arena_printf(&a, "%c %s:%s %s%s%s", r->type, number_text(&a, r->maj),
					 number_text(&a, r->min),
					 r->access & DEVICE_READ ? "r" : "",
					 r->access & DEVICE_WRITE ? "w" : "",
					 r->access & DEVICE_MKNOD ? "m" : ""));
}

struct err *cgroup_allow_devices(const char *path, const struct device_rule *rules, size_t n)
{
	SCOPED_ARENA(a);

	if (cgroup_mode() == CGROUP_V2)
		return cgroup_attach_devices(cgroup_unified_dir(path, &a), rules, n);
	TRY(cgroup_write(path, "devices.deny", "a"));
	for (size_t i = 0; i < n; i++)
		TRY(allow_v1(path, &rules[i]));
	return NULL;
}
