/* Between copy.c (single entries) and copy_tree.c (the walk and its threads). */
#ifndef SYS_COPY_INTERNAL_H
#define SYS_COPY_INTERNAL_H

#include "sys/copy.h"

struct copy_what {
	int src_dirfd;
	const char *src_name;
	int dst_dirfd;
	const char *dst_name;
	const char *path; /* for messages */
	const struct stat *st;
};

void copy_attr_of(const struct stat *st, struct copy_attr *ret);
/* Anything but a directory. */
struct err *copy_non_dir(const struct copy_what *w, const struct copy_attr *at, unsigned flags,
			 unsigned *hint) ERR_RESULT;
/* Opens the directory, making it (0700) if missing. */
struct err *copy_make_dir(int dirfd, const char *name, const char *path, unsigned flags,
			  int *ret_fd, bool *ret_existed) ERR_RESULT;
struct err *copy_dir_attrs(int src, int dst, const struct copy_attr *at, unsigned flags) ERR_RESULT;
/* Takes what stands at name away, as far as the flags allow. */
struct err *copy_make_way(int dirfd, const char *name, const char *path, unsigned flags) ERR_RESULT;

#endif
