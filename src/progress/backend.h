/* Inside of the progress folder: one output form. */
#ifndef PROGRESS_BACKEND_H
#define PROGRESS_BACKEND_H

#include "progress/model.h"
#include "progress/display.h"

struct display_backend {
	void (*update)(struct display_backend *b, struct pmodel *m);
	void (*tick)(struct display_backend *b, struct pmodel *m);
	void (*finish)(struct display_backend *b, struct pmodel *m);
	void (*free)(struct display_backend *b);
	int64_t interval_ns;
};

struct display_backend *display_plain_new(int fd);
struct display_backend *display_tty_new(int fd);

void display_write(int fd, struct buf *b); /* and clears */

#endif
