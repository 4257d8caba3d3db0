#include "base/limits.h"
#include "base/mem.h"
#include "base/path.h"
#include "snapshot/apply_impl.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/inroot.h"
#include "sys/rmtree.h"

#include <errno.h>
#include <unistd.h>

#define MAX_PLINKS 4096

static struct err *relink(struct apply *ap, int from, const char *base, const char *name)
{
	if (linkat(from, base, ap->dir.fd, name, 0) == 0)
		return NULL;
	if (errno == EEXIST) {
		struct stat a, b;

		if (fstatat(from, base, &a, AT_SYMLINK_NOFOLLOW) == 0 &&
		    fstatat(ap->dir.fd, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
		    a.st_dev == b.st_dev && a.st_ino == b.st_ino)
			return NULL;
		TRY(rmtree(ap->dir.fd, name));
		if (linkat(from, base, ap->dir.fd, name, 0) == 0)
			return NULL;
	}
	return err_errno(errno, "link");
}

/* A link to one of AUFS' hidden files, which have no name here. */
static struct err *link_plink(struct apply *ap, const char *name, struct str target)
{
	uintptr_t n = (uintptr_t)map_get(&ap->plinks, target);
	char path[FD_PATH_MAX];

	if (!n)
		return err_errno(ENOENT, "link to %.*s", STR_ARG(target));
	TRY(rmtree(ap->dir.fd, name));
	if (linkat(AT_FDCWD, fd_path((int)n - 1, NULL, path), ap->dir.fd, name, AT_SYMLINK_FOLLOW) <
	    0)
		return err_errno(errno, "link to %.*s", STR_ARG(target));
	return NULL;
}

static struct err *link_to(struct apply *ap, const char *name, struct str target)
{
	SCOPED_ARENA(a);
	CLEANUP_FD int from = -1;
	const char *base;
	struct err *e = inroot_parent(ap->root, target, &a, &from, &base);

	return e ? e : relink(ap, from, base, name);
}

/* The link's own header counts for the inode, as for any entry. */
static struct err *meta_of_link(struct apply *ap, const char *name, const struct apply_meta *m)
{
	struct stat st;

	if (fstatat(ap->dir.fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(errno, "lstat");
	if (st.st_uid == m->uid && st.st_gid == m->gid && !m->n_xattrs &&
	    (S_ISLNK(st.st_mode) || (st.st_mode & 07777) == m->mode) &&
	    file_mtime_ns(&st) == m->mtime_ns)
		return NULL;
	return apply_meta_at(ap, name, st.st_mode & S_IFMT, m);
}

struct err *apply_link(struct apply *ap, const char *name, struct str path, struct str target,
		       const struct apply_meta *m)
{
	SCOPED_ARENA(a);
	struct err *e;

	target = str_trim_prefix(path_clean(&a, target), STR("/"));
	if (str_eq(target, STR("..")) || str_has_prefix(target, STR("../")))
		return err_new(ERR_INVALID_ARGUMENT, "link to %.*s leads out of the root",
			       STR_ARG(target));
	if (str_has_prefix(target, APPLY_PLINK)) {
		TRY(link_plink(ap, name, target));
		return meta_of_link(ap, name, m);
	}
	e = link_to(ap, name, target);
	if (err_get_errno(e) == ENOENT && ap->o->lower_fd >= 0) {
		err_free(e);
		TRY(apply_copy_up(ap->root, ap->o->lower_fd, target));
		e = link_to(ap, name, target);
	} else if (err_get_errno(e) == ENOENT && ap->later) {
		struct arena *la = &ap->later->arena;

		err_free(e);
		vec_push(&ap->later->links,
			 ((struct later_link) { .path = str_dup(la, path),
						.target = str_dup(la, target) }));
		return NULL;
	}
	TRY(e);
	return meta_of_link(ap, name, m);
}

/* AUFS' own folder: only the data of files is of interest, for links to them. */
struct err *apply_plink(struct apply *ap, const struct tar_header *h, struct str path,
			const struct apply_meta *m)
{
	CLEANUP_FD int fd = -1;

	if (h->type != '0')
		return NULL;
	if (map_len(&ap->plinks) == MAX_PLINKS)
		return err_new(ERR_RESOURCE_EXHAUSTED, "more than %d AUFS links", MAX_PLINKS);
	TRY(fd_open(ap->root, ".", O_TMPFILE | O_RDWR, 0600, &fd));
	TRY(apply_data(ap, fd, h->size));
	TRY(apply_meta_fd(ap, fd, m, false, false));
	fd = (int)(uintptr_t)map_put(&ap->plinks, path, (void *)(uintptr_t)(TAKE_FD(fd) + 1)) - 1;
	return NULL;
}

void apply_plinks_fini(struct apply *ap)
{
	for (struct map_entry *e = map_next(&ap->plinks, NULL); e; e = map_next(&ap->plinks, e))
		(void)close((int)(uintptr_t)e->value - 1);
	map_fini(&ap->plinks, NULL);
}
