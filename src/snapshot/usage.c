#include "snapshot/usage.h"

#include "base/map.h"
#include "snapshot/store.h"
#include "sys/walk.h"

#include <errno.h>
#include <unistd.h>

struct usage {
	uint64_t bytes, inodes;
};

/* Files with several names count once. Where the layer was linked together from others, they are
 * those layers' files. */
static struct err *measure(struct ctx *ctx, int fd, bool linked, struct usage *u)
{
	CLEANUP(walk_closep) struct walk *w = NULL;
	const struct walk_entry *we;
	struct map seen = MAP_INIT;
	struct stat root;
	struct err *e = NULL;
	unsigned n = 0;

	if (fstat(fd, &root) < 0)
		return err_errno(errno, "fstat");
	u->bytes += (uint64_t)root.st_blocks * 512;
	u->inodes++;
	TRY(walk_open(fd, WALK_UNSORTED, &w));
	while (!(e = walk_next(w, &we)) && we) {
		const struct stat *st = &we->st;

		if (!S_ISDIR(st->st_mode) && st->st_nlink > 1) {
			struct str key = str_make(&st->st_ino, sizeof(st->st_ino));

			if (linked || map_has(&seen, key))
				continue;
			(void)map_put(&seen, key, u);
		}
		u->bytes += (uint64_t)st->st_blocks * 512;
		u->inodes++;
		if (++n % 1024 == 0 && (e = ctx_err(ctx)))
			break;
	}
	map_fini(&seen, NULL);
	return e;
}

/* The directory that the layer's is in. */
static void measure_place(const struct store *st, const struct layer *l, struct usage *u)
{
	char name[24];
	struct stat s;

	(void)snprintf(name, sizeof(name), "%llu", (unsigned long long)l->id);
	if (fstatat(st->dirfd, name, &s, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	u->bytes += (uint64_t)s.st_blocks * 512;
	u->inodes++;
}

struct err *store_usage(struct snapshotter *sn, struct ctx *ctx, struct str name,
			uint64_t *ret_bytes, uint64_t *ret_inodes)
{
	struct store *st = store_of(sn);
	struct usage u = { 0 };
	VEC(struct layer *) own = VEC_INIT;
	struct snap *s;
	struct err *e;

	lock_take(&st->lock);
	e = store_find_locked(st, name, &s);
	if (!e && s->own)
		vec_push(&own, store_layer_ref_locked(s->own));
	if (!e && s->own && s->own->clean_copy)
		vec_push(&own, store_layer_ref_locked(s->own->clean_copy));
	/* Layers that nobody else shows: joined ones, and copies made for this one. */
	for (size_t i = 0; !e && i < s->n_joined; i++)
		if (s->joined[i]->linked && s->joined[i]->refs == 1)
			vec_push(&own, store_layer_ref_locked(s->joined[i]));
	for (size_t i = 0; !e && i < s->n_base; i++)
		if (s->base[i]->linked && s->base[i]->refs == 1)
			vec_push(&own, store_layer_ref_locked(s->base[i]));
	lock_drop(&st->lock);
	for (size_t i = 0; i < own.len; i++) {
		int fd = -1;

		if (!e)
			e = store_layer_open(st, own.items[i], &fd);
		if (!e)
			e = measure(ctx, fd, own.items[i]->linked, &u);
		if (!e)
			measure_place(st, own.items[i], &u);
		if (fd >= 0)
			(void)close(fd);
		store_layer_unref(st, own.items[i]);
	}
	vec_fini(&own);
	TRY(e);
	*ret_bytes = u.bytes;
	*ret_inodes = u.inodes;
	return NULL;
}
