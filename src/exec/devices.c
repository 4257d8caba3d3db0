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

static void write_insecure(struct json_out *j)
{
	struct stat st;

	write_node(j, "/dev/kmsg", 'c', 1, 11);
	write_node(j, "/dev/cuse", 'c', 10, 203);
	write_node(j, "/dev/fuse", 'c', 10, 229);
	write_node(j, "/dev/kvm", 'c', 10, 232);
	write_node(j, "/dev/net/tun", 'c', 10, 200);
	write_node(j, "/dev/loop-control", 'c', 10, 237);
	if (stat("/dev/loop-control", &st) == 0 && S_ISCHR(st.st_mode))
		write_loops(j);
}

/* A later one at the same place replaces the earlier; the user's own where the file doesn't say. */
static void write_asked(struct json_out *j, const struct exec_edits *ed, size_t i,
			const struct exec_user *u)
{
	const struct exec_device_node *n = &ed->nodes[i];

	for (size_t k = i + 1; k < ed->n_nodes; k++)
		if (str_eq(ed->nodes[k].path, n->path))
			return;
	json_obj_begin(j);
	json_kstr(j, "path", n->path);
	json_kstr(j, "type", str_make(&n->type, 1));
	json_kint(j, "major", n->major_nr);
	json_kint(j, "minor", n->minor_nr);
	if (n->mode >= 0)
		json_kint(j, "fileMode", n->mode);
	if (n->uid >= 0 || u->uid)
		json_kint(j, "uid", n->uid >= 0 ? n->uid : u->uid);
	if (n->gid >= 0 || u->gid)
		json_kint(j, "gid", n->gid >= 0 ? n->gid : u->gid);
	json_obj_end(j);
}

void devices_write(struct json_out *j, bool insecure, const struct exec_edits *ed,
		   const struct exec_user *u)
{
	json_key(j, STR("devices"));
	json_arr_begin(j);
	if (insecure)
		write_insecure(j);
	for (size_t i = 0; ed && i < ed->n_nodes; i++)
		write_asked(j, ed, i, u);
	json_arr_end(j);
}

void devices_write_rules(struct json_out *j, const struct exec_edits *ed)
{
	for (size_t i = 0; ed && i < ed->n_nodes; i++) {
		const struct exec_device_node *n = &ed->nodes[i];

		if ((n->type != 'b' && n->type != 'c') || !n->access.len)
			continue;
		json_obj_begin(j);
		json_kbool(j, "allow", true);
		json_kstr(j, "type", str_make(&n->type, 1));
		json_kint(j, "major", n->major_nr);
		json_kint(j, "minor", n->minor_nr);
		json_kstr(j, "access", n->access);
		json_obj_end(j);
	}
}
