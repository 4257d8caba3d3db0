#include "exec/devices.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LOOP_MAJOR 7
#define LOOP_DEVICES 8 /* free ones that a step is given */
#define LOOP_TRIES 256

static void write_node(struct json_out *j, const char *path, char type, unsigned major_nr,
		       unsigned minor_nr)
{
	json_obj_begin(j);
	json_kstr(j, "path", str_from(path));
	json_kstr(j, "type", str_make(&type, 1));
	json_kint(j, "major", major_nr);
	json_kint(j, "minor", minor_nr);
	json_kint(j, "fileMode", 0666);
	json_kint(j, "uid", 0);
	json_kint(j, "gid", 0);
	json_obj_end(j);
}

/* In use are those with a backing file. */
static bool loop_is_free(int n)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/sys/block/loop%d/loop/backing_file", n);
	return access(path, F_OK) < 0;
}

static void write_loops(struct json_out *j)
{
	int found = 0;

	for (int n = 0; n < LOOP_TRIES && found < LOOP_DEVICES; n++) {
		char path[32];

		if (!loop_is_free(n))
			continue;
		(void)snprintf(path, sizeof(path), "/dev/loop%d", n);
		write_node(j, path, 'b', LOOP_MAJOR, (unsigned)n);
		found++;
	}
}

void devices_write(struct json_out *j)
{
	struct stat st;

	json_key(j, STR("devices"));
	json_arr_begin(j);
	write_node(j, "/dev/kmsg", 'c', 1, 11);
	write_node(j, "/dev/cuse", 'c', 10, 203);
	write_node(j, "/dev/fuse", 'c', 10, 229);
	write_node(j, "/dev/kvm", 'c', 10, 232);
	write_node(j, "/dev/net/tun", 'c', 10, 200);
	write_node(j, "/dev/loop-control", 'c', 10, 237);
	if (stat("/dev/loop-control", &st) == 0 && S_ISCHR(st.st_mode))
		write_loops(j);
	json_arr_end(j);
}
