#include "sys/cap.h"

#include "base/buf.h"
#include "base/limits.h"
#include "sys/file.h"

#include <linux/capability.h>
#include <stdlib.h>

static const char *const names[CAP_COUNT] = {
	"CAP_CHOWN",
	"CAP_DAC_OVERRIDE",
	"CAP_DAC_READ_SEARCH",
	"CAP_FOWNER",
	"CAP_FSETID",
	"CAP_KILL",
	"CAP_SETGID",
	"CAP_SETUID",
	"CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST",
	"CAP_NET_ADMIN",
	"CAP_NET_RAW",
	"CAP_IPC_LOCK",
	"CAP_IPC_OWNER",
	"CAP_SYS_MODULE",
	"CAP_SYS_RAWIO",
	"CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE",
	"CAP_SYS_PACCT",
	"CAP_SYS_ADMIN",
	"CAP_SYS_BOOT",
	"CAP_SYS_NICE",
	"CAP_SYS_RESOURCE",
	"CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG",
	"CAP_MKNOD",
	"CAP_LEASE",
	"CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL",
	"CAP_SETFCAP",
	"CAP_MAC_OVERRIDE",
	"CAP_MAC_ADMIN",
	"CAP_SYSLOG",
	"CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ",
	"CAP_PERFMON",
	"CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
};

_Static_assert(CAP_LAST_CAP == CAP_COUNT - 1, "a newer kernel header has more capabilities");

const char *cap_name(unsigned n)
{
	return n < CAP_COUNT ? names[n] : NULL;
}

static uint64_t status_field(struct str field)
{
	SCOPED_BUF(b, 64 * KIB);
	struct err *e = file_read(AT_FDCWD, "/proc/self/status", &b);
	struct str rest = buf_str(&b), line;

	if (e) {
		err_free(e);
		return 0;
	}
	while (str_next(&rest, '\n', &line))
		if (str_has_prefix(line, field)) /* NUL or newline ends the number */
			return strtoull(line.ptr + field.len, NULL, 16);
	return 0;
}

uint64_t cap_effective(void)
{
	return status_field(STR("CapEff:"));
}

uint64_t cap_bounding(void)
{
	return status_field(STR("CapBnd:"));
}

bool cap_has(unsigned n)
{
	return cap_effective() & CAP_BIT(n);
}
