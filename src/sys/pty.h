/* Pseudo terminals. */
#ifndef SYS_PTY_H
#define SYS_PTY_H

#include "base/err.h"

/* A new pair; both O_CLOEXEC and O_NOCTTY. */
struct err *pty_open(int *ret_master, int *ret_slave) ERR_RESULT;
struct err *pty_set_size(int fd, unsigned rows, unsigned cols) ERR_RESULT;
bool pty_get_size(int fd, unsigned *ret_rows, unsigned *ret_cols);
bool pty_is_terminal(int fd);
/* Raw mode of a terminal we sit at, and back. */
struct pty_saved;
struct err *pty_make_raw(int fd, struct pty_saved **ret) ERR_RESULT;
void pty_restore(struct pty_saved *take); /* NULL is fine */

#endif
