#include "kv/mark.h"

#include "base/id.h"
#include "codec/digest.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define SLOT_SIZE 4096
static const char magic[8] = "bkcmark1";

struct slot {
	struct mark mark;
	unsigned char sum[32];
};
_Static_assert(sizeof(struct slot) <= SLOT_SIZE, "a slot is one page");

static struct digest sum_of(const struct mark *m)
{
	return digest_sha256(str_make(m, sizeof(*m)));
}

static struct err *read_slot(struct mark_file *f, int i, bool *ret_junk)
{
	unsigned char raw[SLOT_SIZE] = { 0 };
	struct slot s;
	struct digest d;
	ssize_t n = pread(f->fd, raw, sizeof(raw), (off_t)i * SLOT_SIZE);

	if (n < 0)
		return err_errno(errno, "kv: read mark");
	memcpy(&s, raw, sizeof(s));
	d = sum_of(&s.mark);
	if (memcmp(s.mark.magic, magic, sizeof(magic)) == 0 &&
	    memcmp(d.bytes, s.sum, sizeof(s.sum)) == 0) {
		if (!f->found || s.mark.seq > f->last.seq)
			f->last = s.mark;
		f->found = true;
		return NULL;
	}
	for (size_t k = 0; k < sizeof(raw); k++)
		*ret_junk |= raw[k];
	return NULL;
}

struct err *mark_open(int dirfd, struct mark_file *ret)
{
	CLEANUP_FD int fd = openat(dirfd, "mark", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct mark_file f = { 0 };
	bool junk = false, first_junk = false;

	if (fd < 0)
		return err_errno(errno, "kv: open mark");
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? err_new(ERR_FAILED_PRECONDITION,
						      "kv: locked, another instance running?")
					    : err_errno(errno, "kv: lock mark");
	f.fd = fd;
	TRY(read_slot(&f, 0, &junk));
	/* The first record is not synced, so it may be torn where there never was a second. */
	TRY(read_slot(&f, 1, &first_junk));
	if (!f.found && junk)
		return err_new(ERR_DATA_LOSS, "kv: mark is damaged");
	if (!f.found) {
		/* Room for both now: a full disk must not get in the way later. */
		char zero[SLOT_SIZE] = { 0 };

		for (int i = 0; i < 2; i++)
			if (pwrite(fd, zero, sizeof(zero), (off_t)i * SLOT_SIZE) !=
			    (ssize_t)sizeof(zero))
				return err_errno(errno ? errno : ENOSPC, "kv: write mark");
	}
	(void)TAKE_FD(fd);
	*ret = f;
	return NULL;
}

void mark_close(struct mark_file *f)
{
	if (f->fd >= 0)
		(void)close(f->fd);
	f->fd = -1;
}

static struct err *write_slot(struct mark_file *f, struct mark *m)
{
	struct slot s;
	struct digest d;
	ssize_t n;

	memcpy(m->magic, magic, sizeof(magic));
	m->seq = f->last.seq + 1;
	memset(&s, 0, sizeof(s));
	s.mark = *m;
	d = sum_of(m);
	memcpy(s.sum, d.bytes, sizeof(s.sum));
	n = pwrite(f->fd, &s, sizeof(s), (off_t)(m->seq & 1) * SLOT_SIZE);
	if (n != (ssize_t)sizeof(s))
		return err_errno(n < 0 ? errno : ENOSPC, "kv: write mark");
	return NULL;
}

static void note(struct mark_file *f, const struct mark *m)
{
	f->last = *m;
	f->found = true;
}

struct err *mark_write(struct mark_file *f, struct mark *m)
{
	TRY(write_slot(f, m));
	if (fdatasync(f->fd) < 0)
		return err_errno(errno, "kv: sync mark");
	note(f, m);
	return NULL;
}

struct err *mark_write_first(struct mark_file *f, struct mark *m)
{
	assert(!f->found);
	TRY(write_slot(f, m));
	note(f, m);
	return NULL;
}

bool mark_is_first(const struct mark_file *f)
{
	return f->found && f->last.seq == 1;
}

void boot_id_read(char out[MARK_BOOT_ID])
{
	CLEANUP_FD int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, out, MARK_BOOT_ID) != MARK_BOOT_ID)
		id_random(out, MARK_BOOT_ID);
}
