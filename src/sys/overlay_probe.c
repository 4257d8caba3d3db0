#include "sys/overlay_probe.h"

#include "base/mem.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/mount.h"
#include "sys/rmtree.h"
#include "sys/userns.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* The scratch folder has two lowers with a file each, an upper and a work dir. */
static struct err *make_dirs(int dir)
{
	static const char *const names[] = { "lower1", "lower2", "upper", "work" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (mkdirat(dir, names[i], 0700) < 0)
			return err_errno(errno, "mkdir %s", names[i]);
	TRY(file_write(dir, "lower1/one", STR("1"), 0600));
	return file_write(dir, "lower2/two", STR("2"), 0600);
}

static struct err *set_path(int fs, const char *key, const char *base, const char *name)
{
	CLEANUP_FREE char *p = mem_printf("%s/%s", base, name);

	return mount_fs_set(fs, key, p);
}

static struct err *set_lowers(int fs, const char *base, struct overlay_features *f)
{
	CLEANUP_FREE char *both = NULL;
	struct err *e = set_path(fs, "lowerdir+", base, "lower1");

	f->lowerdir_add = !e;
	if (!e)
		return set_path(fs, "lowerdir+", base, "lower2");
	err_free(e);
	both = mem_printf("%s/lower1:%s/lower2", base, base);
	return mount_fs_set(fs, "lowerdir", both);
}

static struct err *try_mount(const char *base, struct overlay_features *f)
{
	CLEANUP_FD int fs = -1;
	CLEANUP_FD int mnt = -1;
	struct err *e;

	TRY(mount_fs_open("overlay", &fs));
	TRY(set_lowers(fs, base, f));
	TRY(set_path(fs, "upperdir", base, "upper"));
	TRY(set_path(fs, "workdir", base, "work"));
	TRY(mount_fs_set(fs, "index", "off"));
	if (f->userxattr)
		TRY(mount_fs_set(fs, "userxattr", NULL));
	e = mount_fs_set(fs, "volatile", NULL);
	f->is_volatile = !e;
	err_free(e);
	TRY(mount_fs_make(fs, 0, &mnt));
	f->works = file_exists(mnt, "one") && file_exists(mnt, "two");
	return NULL;
}

struct err *overlay_probe(const char *dir, struct overlay_features *ret)
{
	CLEANUP_FREE char *tmp = mem_printf("%s/.overlay-probe-XXXXXX", dir);
	struct overlay_features f = { .userxattr = userns_inside() };
	CLEANUP_FD int fd = -1;
	struct err *e;

	if (!mkdtemp(tmp))
		return err_errno(errno, "mkdir %s", tmp);
	e = fd_open_dir(AT_FDCWD, tmp, &fd);
	if (!e)
		e = make_dirs(fd);
	if (!e) {
		/* That it fails is the answer. */
		err_free(try_mount(tmp, &f));
		*ret = f;
	}
	return err_first(e, rmtree(AT_FDCWD, tmp));
}
