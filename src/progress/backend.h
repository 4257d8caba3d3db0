/* Inside of the progress folder: one output form. */
#ifndef PROGRESS_BACKEND_H
#define PROGRESS_BACKEND_H

#include "progress/model.h"
#include "progress/progress.h"

struct progress_backend {
	void (*update)(struct progress_backend *b, struct pmodel *m);
	void (*tick)(struct progress_backend *b, struct pmodel *m);
	void (*finish)(struct progress_backend *b, struct pmodel *m);
	void (*free)(struct progress_backend *b);
	int64_t interval_ns;
};

struct progress_backend *progress_plain_new(int fd);
struct progress_backend *progress_tty_new(int fd);

void progress_write(int fd, struct buf *b); /* and clears */

#endif
