/* Layer archives built in memory. */
#ifndef TESTS_SNAPSHOT_ARCHIVE_H
#define TESTS_SNAPSHOT_ARCHIVE_H

#include "shot.h"

#include "codec/tar.h"
#include "snapshot/diff.h"

struct archive {
	struct buf b;
	struct writer *w;
	struct tar_writer *t;
};

static inline void archive_begin(struct archive *a)
{
	buf_init(&a->b, 64 << 20);
	a->w = writer_of_buf(&a->b);
	a->t = tar_writer_new(a->w);
}

static inline void put_header(struct archive *a, const struct tar_header *h, const char *data)
{
	struct tar_header x = *h;

	x.format = TAR_FORMAT_PAX;
	x.size = data ? strlen(data) : 0;
	assert_ok(tar_write_header(a->t, &x));
	if (x.size)
		assert_ok(tar_write(a->t, data, x.size));
}

/* type as in the archive; text is data or link target */
static inline void put_entry(struct archive *a, char type, const char *name, const char *text,
			     uint32_t mode)
{
	struct tar_header h = { .type = type,
				.name = str_from(name),
				.mode = mode,
				.mtime_ns = INT64_C(1234567890) * 1000000000 };

	if (type == '1' || type == '2')
		h.linkname = str_from(text);
	put_header(a, &h, type == '0' ? text : NULL);
}

static inline struct str archive_end(struct archive *a)
{
	assert_ok(tar_finish(a->t));
	tar_writer_free(a->t);
	writer_close(a->w);
	return buf_str(&a->b);
}

static inline struct err *unpack_at(struct shot *t, int fd, struct archive *a, bool overlay,
				    int lower_fd)
{
	const struct apply_opts o = { .whiteouts_overlay = overlay, .lower_fd = lower_fd };
	struct reader *r = reader_of_str(archive_end(a));
	uint64_t n;
	struct err *e = snapshot_apply(t->ctx, fd, r, &o, &n);

	reader_close(r);
	buf_fini(&a->b);
	return e;
}

#endif
