#include "session/token_seed.h"

#include "base/id.h"
#include "base/json.h"
#include "base/limits.h"
#include "sys/file.h"

#include <errno.h>
#include <sys/file.h>

#define SEED 16
#define FILE_MAX (1 * MIB)

static bool not_for_us(int why)
{
	return why == EROFS || why == EACCES || why == EPERM || why == ENOENT || why == ENOTDIR;
}

/* What another process is about to write must be seen: wait for it. */
static struct err *take_lock(const char *dir, int *ret_fd)
{
	SCOPED_ARENA(a);
	CLEANUP_FD int fd = open(arena_printf(&a, "%s/.token_seed.lock", dir),
				 O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	*ret_fd = -1;
	if (fd < 0 && not_for_us(errno))
		return NULL;
	if (fd < 0)
		return err_errno(errno, "open .token_seed.lock");
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_errno(errno, "flock .token_seed.lock");
	*ret_fd = TAKE_FD(fd);
	return NULL;
}

static bool has_seed(json_t *all, const char *host, struct arena *a, uint8_t ret[SEED])
{
	struct str text = json_get_str(json_object_get(all, host), "Seed"), bytes;
	struct err *e = base64_decode(a, text, &bytes);
	bool ok = !e && bytes.len == SEED;

	err_free(e);
	if (ok)
		memcpy(ret, bytes.ptr, SEED);
	return ok;
}

static struct err *add_seed(json_t *all, const char *host, uint8_t ret[SEED])
{
	SCOPED_BUF(b64, 64);

	id_random(ret, SEED);
	base64_encode(&b64, str_make(ret, SEED));
	(void)json_object_set_new(all, host, json_pack("{s:s}", "Seed", buf_cstr(&b64)));
	return NULL;
}

struct err *token_seed_get(const char *dir, struct str host, uint8_t ret[SEED])
{
	SCOPED_ARENA(a);
	const char *path = arena_printf(&a, "%s/.token_seed", dir), *key = str_cstr(&a, host);
	CLEANUP_FD int lock = -1;
	SCOPED_BUF(out, FILE_MAX);
	struct json_out j;
	SCOPED_JSON(all);
	struct str text;
	struct err *e = file_mkdirs(AT_FDCWD, dir, 0755);

	err_free(e); /* what can't be made can't be opened either */
	TRY(take_lock(dir, &lock));
	e = file_read_str(AT_FDCWD, path, &a, FILE_MAX, &text);
	if (e && !not_for_us(err_get_errno(e)))
		return e;
	/* A torn file counts as none. */
	if (!e)
		e = json_read(text, path, &all);
	err_free(e);
	if (!json_is_object(all)) {
		json_decref(all);
		all = json_object();
	}
	if (has_seed(all, key, &a, ret))
		return NULL;
	TRY(add_seed(all, key, ret));
	json_out_init(&j, &out, "  ");
	json_value(&j, all);
	TRY(buf_check(&out, path));
	e = file_write(AT_FDCWD, path, buf_str(&out), 0600);
	if (e && not_for_us(err_get_errno(e))) {
		err_free(e);
		e = NULL;
	}
	return e;
}
