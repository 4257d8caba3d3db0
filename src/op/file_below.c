/* Copying below an overlay: from the one layer that has a directory, and into the layer that is
 * being written. Its paths are resolved and clean, and symlinks in a layer are never followed, so
 * they stay inside of it. */
#include "op/file.h"
#include "sys/fd.h"
#include "sys/walk.h"
#include "sys/xattr.h"

/* Directory path below root without following anything; -1 with errno. */
static int open_plain(int root, struct str path)
{
	int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct str part;

	while (fd >= 0 && str_next(&path, '/', &part)) {
		char name[LIMIT_FILE_NAME + 1];
		int next;

		if (!part.len)
			continue;
		if (part.len > LIMIT_FILE_NAME) {
			(void)close(fd);
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(name, part.ptr, part.len);
		name[part.len] = '\0';
		next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		(void)close(fd);
		fd = next;
	}
	return fd;
}

static bool is_opaque(int fd)
{
	static const char *const names[] = { "trusted.overlay.opaque", "user.overlay.opaque" };
	SCOPED_ARENA(a);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct str value;
		bool found;
		struct err *e = xattr_get(fd, NULL, names[i], &a, &value, &found);

		if (!e && found && str_eq_cstr(value, "y"))
			return true;
		err_free(e);
	}
	return false;
}

int file_source_below(const struct mounts *m, struct str path)
{
	CLEANUP_FD int found = -1;

	if (!m || m->kind != MOUNT_OVERLAY || m->upper.len)
		return -1;
	for (size_t i = 0; i < m->n_lowers; i++) {
		CLEANUP_FREE char *dir = str_heap(m->lowers[i]);
		CLEANUP_FD int root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		CLEANUP_FD int fd = root < 0 ? -1 : open_plain(root, path);

		/* Not there, or something else: then what lies above counts. */
		if (fd < 0 && root >= 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
			continue;
		if (fd < 0 || found >= 0)
			return -1; /* can't be told, or made of several */
		found = TAKE_FD(fd);
		if (is_opaque(found))
			break;
	}
	return TAKE_FD(found);
}

static bool is_empty(int fd)
{
	struct walk_names names;
	struct err *e = walk_read_names(fd, false, &names);
	bool empty;

	if (e) {
		err_free(e);
		return false;
	}
	empty = !names.n;
	walk_names_fini(&names);
	return empty;
}

int file_dest_below(const struct mounts *m, int dirfd, struct str path, int *ret_root)
{
	CLEANUP_FD int root = -1;
	CLEANUP_FREE char *dir = NULL;
	struct stat st;
	int fd;

	if (!m || m->kind != MOUNT_OVERLAY || !m->upper.len || !is_empty(dirfd))
		return -1;
	/* A change of nothing: the directory comes up into the layer if it isn't there. */
	if (fstat(dirfd, &st) < 0 || fchmod(dirfd, st.st_mode & 07777) < 0)
		return -1;
	dir = str_heap(m->upper);
	root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -1;
	fd = open_plain(root, path);
	/* Also nothing that only the layer itself shows, such as marks of what was removed. */
	if (fd >= 0 && !is_empty(fd)) {
		(void)close(fd);
		fd = -1;
	}
	if (fd >= 0)
		*ret_root = TAKE_FD(root);
	return fd;
}
