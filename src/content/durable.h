/* Makes files durable without making anybody wait: a thread runs one syncfs for all that was
 * noted since the last, some time after the first of them, and then tells what has passed.
 * Thread-safe. */
#ifndef CONTENT_DURABLE_H
#define CONTENT_DURABLE_H

#include "base/err.h"
#include "codec/digest.h"

struct durable;
/* passed() runs on the thread, with no lock held; an error means that they are tried again. fd is
 * on the file system in question; borrowed. */
struct durable *durable_new(int fd, int64_t delay_ns,
			    struct err *(*passed)(void *arg, const struct digest *d, size_t n),
			    void *arg);
/* Its bytes have been written (to the page cache). */
void durable_note(struct durable *d, const struct digest *digest);
/* Without the delay; returns when all noted before has passed, with the error if it did not. */
struct err *durable_flush(struct durable *d) ERR_RESULT;
/* Flushes and ends. */
void durable_free(struct durable *d);

#endif
