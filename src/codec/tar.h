/* tar streams: reads v7, ustar, PAX and GNU (long names, base-256, sparse in old GNU and PAX
 * 0.0/0.1/1.0 forms); writes exactly the header bytes that Go's archive/tar writes for the
 * same header (USTAR when it fits, else PAX with sorted records), since diff ids depend on
 * them. Source: POSIX pax, GNU tar manual, Go's documented behaviour. */
#ifndef CODEC_TAR_H
#define CODEC_TAR_H

#include "base/arena.h"
#include "codec/io.h"

struct tar_xattr {
	struct str name;  /* without SCHILY.xattr. */
	struct str value; /* any bytes */
};

struct tar_record { /* a PAX record that is none of the known ones */
	struct str key, value;
};

/* What Go's Header.Format asks for. The reader tells what it found. */
enum tar_format {
	/* mtime is rounded to the next second (half up), atime and ctime are ignored. */
	TAR_FORMAT_ANY,
	TAR_FORMAT_USTAR, /* only that: an error when it does not fit */
	/* Whatever the records are needed for, sub-second times, atime and ctime among it; still
	 * ustar when nothing is. Layers are written so, with times cut to whole seconds. */
	TAR_FORMAT_PAX,
	TAR_FORMAT_GNU, /* read only: written as TAR_FORMAT_ANY */
};

struct tar_header {
	enum tar_format format;
	char type; /* '0' file '1' hard link '2' symlink '3' char '4' block '5' dir '6' fifo;
		      'x','g' are never seen */
	struct str name, linkname, uname, gname; /* as in the archive: unchecked! */
	uint32_t mode;                           /* permission, setuid, setgid, sticky */
	uint64_t uid, gid, size;
	int64_t mtime_ns, atime_ns, ctime_ns; /* the last two 0 when absent */
	uint32_t devmajor, devminor;
	struct tar_xattr *xattrs; /* sorted by name when written */
	size_t n_xattrs;
	struct tar_record *records;
	size_t n_records;
	/* The records of the fields above, as they were in the archive. The writer repeats one
	 * when it says what its field says, as Go does with PAXRecords. */
	struct tar_record *field_records;
	size_t n_field_records;
};

struct tar_reader;
/* Does not take src. */
struct tar_reader *tar_reader_new(struct reader *src);
void tar_reader_free(struct tar_reader *t);
void tar_reader_freep(struct tar_reader **t);
/* The next entry; its strings live in arena: better an arena an entry, since records can be
 * LIMIT_TAR_PAX big. *ret_eof at the end-of-archive blocks or a clean end; src may have been
 * read beyond that. Global records are skipped. Sparse files read as if whole, and can be huge
 * in a small archive. DATA_LOSS on junk and truncation; names are held against LIMIT_PATH. */
struct err *tar_next(struct tar_reader *t, struct arena *a, struct tar_header *ret,
		     bool *ret_eof) ERR_RESULT;
/* Data of the current entry; *ret_n == 0 at its end. */
struct err *tar_read(struct tar_reader *t, void *p, size_t len, size_t *ret_n) ERR_RESULT;

struct tar_writer;
/* Does not take dst. */
struct tar_writer *tar_writer_new(struct writer *dst);
void tar_writer_free(struct tar_writer *t);
void tar_writer_freep(struct tar_writer **t);
/* Pads the entry before it, which must have had all its data. INVALID_ARGUMENT for a header
 * that can't be encoded; the writer stays usable then. */
struct err *tar_write_header(struct tar_writer *t, const struct tar_header *h) ERR_RESULT;
struct err *tar_write(struct tar_writer *t, const void *p, size_t len) ERR_RESULT;
/* Two zero blocks. */
struct err *tar_finish(struct tar_writer *t) ERR_RESULT;

#endif
