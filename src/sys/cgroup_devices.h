/* Which device nodes the processes of a control group may make and open. Version 1 has files for
 * it, version 2 takes a BPF program (linux/bpf.h, BPF_PROG_TYPE_CGROUP_DEVICE). */
#ifndef SYS_CGROUP_DEVICES_H
#define SYS_CGROUP_DEVICES_H

#include "base/err.h"

enum { DEVICE_MKNOD = 1, DEVICE_READ = 2, DEVICE_WRITE = 4, DEVICE_ALL = 7 };

struct device_rule {
	char type;        /* 'b', 'c' */
	int64_t maj, min; /* -1: any */
	unsigned access;  /* DEVICE_* */
};

/* Allowed is what a rule allows, and nothing else. The group is new. */
struct err *cgroup_allow_devices(const char *path, const struct device_rule *rules,
				 size_t n) ERR_RESULT;
/* The version 2 way, of a group's directory. */
struct err *cgroup_attach_devices(const char *dir, const struct device_rule *rules,
				  size_t n) ERR_RESULT;

#endif
