/* Reads an archive and writes it again: what the writer takes must read back. */
#include "base/buf.h"
#include "base/limits.h"
#include "codec/tar.h"

#include <assert.h>
#include <stdint.h>

#define DATA_MAX ((uint64_t)1 << 20) /* of an entry: sparse ones have no end */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t read_all(struct str in, struct tar_writer *copy)
{
	struct reader *r = reader_of_str(in);
	CLEANUP(tar_reader_freep) struct tar_reader *t = tar_reader_new(r);
	size_t entries = 0;
	struct err *e = NULL;

	while (!e && entries < 200) {
		SCOPED_ARENA(a);
		struct tar_header h;
		bool eof, write = false;
		uint64_t total = 0;
		char chunk[4096];
		size_t n;

		e = tar_next(t, &a, &h, &eof);
		if (e || eof)
			break;
		assert(h.type != 'x' && h.type != 'g' && h.type != 'L' && h.type != 'K');
		assert(h.name.len <= LIMIT_PATH && h.linkname.len <= LIMIT_PATH);
		if (copy && h.size <= DATA_MAX) {
			struct err *w = tar_write_header(copy, &h);

			write = !w;
			err_free(w);
		}
		do {
			e = tar_read(t, chunk, sizeof(chunk), &n);
			if (!e && write)
				e = tar_write(copy, chunk, n);
			total += e ? 0 : n;
		} while (!e && n && total < DATA_MAX);
		if (!e && write)
			entries++;
		/* An entry that was cut short leaves the copy unfinished. */
		if (e && write)
			entries = SIZE_MAX;
	}
	err_free(e);
	reader_close(r);
	return entries;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SCOPED_BUF(out, 64 * MIB);
	struct writer *w = writer_of_buf(&out);
	struct tar_writer *copy = tar_writer_new(w);
	size_t n = read_all(str_make(data, size), copy);
	struct err *e = tar_finish(copy);

	if (!e && n != SIZE_MAX && n < 200) {
		struct reader *r = reader_of_str(buf_str(&out));
		struct tar_reader *t = tar_reader_new(r);
		bool eof = false;

		for (size_t i = 0; !eof; i++) {
			SCOPED_ARENA(a);
			struct tar_header h;
			struct err *f = tar_next(t, &a, &h, &eof);

			assert(!f);
			assert(eof == (i == n));
		}
		tar_reader_free(t);
		reader_close(r);
	}
	err_free(e);
	tar_writer_free(copy);
	writer_close(w);
	return 0;
}
