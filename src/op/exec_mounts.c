#include "op/exec_mounts.h"

#include "base/mem.h"
#include "base/path.h"
#include "cache/cachemount.h"
#include "op/exec_impl.h"
#include "op/op_impl.h"

#include <errno.h>

struct mount_state {
	const Pb__Mount *pb;
	struct cache_ref *input; /* borrowed */
	struct cache_mut *mut;   /* a layer being written */
	struct cache_ref *done;  /* it, committed */
	struct cachemount *cachemount;
	struct private_file *file; /* a secret or a socket */
	struct mounts *mounts;     /* NULL: left out */
	bool nosuid, nodev, noexec, is_file;
};

struct exec_mounts {
	const struct exec_mounts_in *in;
	struct arena arena;
	struct mount_state *list;
	size_t n, root;
	struct exec_mount *mounts; /* all but the root, sorted */
	size_t n_mounts;
};

/* ---- layers ---- */

static struct err *open_mut(struct exec_mounts *m, struct mount_state *s)
{
	const struct exec_mounts_in *in = m->in;
	struct cache_opts opts = {
		.description = str_from(
			arena_printf(&m->arena, "mount %s from %s", s->pb->dest, in->what)),
	};

	TRY(cache_new(in->worker->cache, in->ctx, s->input, &opts, &s->mut));
	return cache_mut_mounts(s->mut, in->ctx, &m->arena, false, &s->mounts);
}

static struct err *open_bind(struct exec_mounts *m, struct mount_state *s)
{
	const Pb__Mount *pb = s->pb;
	bool root = strcmp(pb->dest, "/") == 0;

	/* A root is written to in any case: places for mounts are made in it. */
	if (root || !s->input || !pb->readonly)
		return open_mut(m, s);
	return cache_ref_mounts(s->input, m->in->ctx, &m->arena, &s->mounts);
}

/* ---- cache directories ---- */

static struct err *open_cache(struct exec_mounts *m, size_t i)
{
	const struct exec_mounts_in *in = m->in;
	struct mount_state *s = &m->list[i];
	const Pb__CacheOpt *o = s->pb->cacheopt;
	struct cache_opts opts = { 0 };
	enum cachemount_sharing sharing;

	if (!o)
		return err_new(ERR_INVALID_ARGUMENT, "missing cache mount options");
	switch (o->sharing) {
	case PB__CACHE_SHARING_OPT__CACHE_SHARING_OPT_SHARED:
		sharing = CACHEMOUNT_SHARED;
		break;
	case PB__CACHE_SHARING_OPT__CACHE_SHARING_OPT_PRIVATE:
		sharing = CACHEMOUNT_PRIVATE;
		break;
	case PB__CACHE_SHARING_OPT__CACHE_SHARING_OPT_LOCKED:
		sharing = CACHEMOUNT_LOCKED;
		break;
	default:
		return err_new(ERR_INVALID_ARGUMENT, "invalid cache sharing option: %d",
			       o->sharing);
	}
	/* The same name twice in one step is one directory. */
	for (size_t k = 0; k < i && !s->cachemount; k++) {
		const struct mount_state *other = &m->list[k];

		if (other->cachemount && other->input == s->input &&
		    strcmp(other->pb->cacheopt->id, o->id) == 0)
			s->cachemount = cachemount_ref(other->cachemount);
	}
	if (!s->cachemount && !in->worker->cachemounts)
		return err_new(ERR_UNIMPLEMENTED, "cache mounts are not supported");
	if (!s->cachemount) {
		opts.description = str_from(arena_printf(
			&m->arena, "cached mount %s from %s%s%s%s", s->pb->dest, in->what,
			o->id[0] ? " with id \"" : "", o->id, o->id[0] ? "\"" : ""));
		TRY(cachemount_get(in->worker->cachemounts, in->ctx, str_from(o->id), s->input,
				   sharing, &opts, &s->cachemount));
	}
	return cachemount_mounts(s->cachemount, in->ctx, &m->arena, false, &s->mounts);
}

/* ---- tmpfs, secrets, sockets ---- */

static struct mounts *bind_of(struct exec_mounts *m, const char *path, bool readonly)
{
	struct mounts *b = ARENA_NEW(&m->arena, struct mounts);

	b->kind = MOUNT_BIND;
	b->readonly = readonly;
	b->source = str_from(path);
	return b;
}

static void open_tmpfs(struct exec_mounts *m, struct mount_state *s)
{
	const Pb__TmpfsOpt *o = s->pb->tmpfsopt;

	s->mounts = ARENA_NEW(&m->arena, struct mounts);
	s->mounts->kind = MOUNT_TMPFS;
	s->mounts->readonly = s->pb->readonly;
	if (o && o->size > 0)
		s->mounts->size = (uint64_t)o->size;
	s->nosuid = true;
}

static struct err *open_secret(struct exec_mounts *m, struct mount_state *s)
{
	const Pb__SecretOpt *o = s->pb->secretopt;
	struct err *e;
	bool found;

	if (!o)
		return err_new(ERR_INVALID_ARGUMENT, "invalid secret mount options");
	e = private_file_secret(m->in, o, &s->file, &found);
	if (e || !found)
		return e;
	s->mounts = bind_of(m, private_file_path(s->file), true);
	s->is_file = s->nodev = s->nosuid = true;
	s->noexec = !(o->mode & 0111);
	return NULL;
}

static struct err *open_ssh(struct exec_mounts *m, struct mount_state *s)
{
	const Pb__SSHOpt *o = s->pb->sshopt;
	bool found;

	if (!o)
		return err_new(ERR_INVALID_ARGUMENT, "invalid ssh mount options");
	TRY(private_file_ssh(m->in, o, &s->file, &found));
	if (!found)
		return NULL;
	s->mounts = bind_of(m, private_file_path(s->file), false);
	s->is_file = s->nodev = s->nosuid = true;
	return NULL;
}

static const char *type_name(Pb__MountType t)
{
	static const char *const names[] = { "BIND", "SECRET", "SSH", "CACHE", "TMPFS" };

	return t >= 0 && (size_t)t < ARRAY_SIZE(names) ? names[t] : "?";
}

static struct err *open_one(struct exec_mounts *m, size_t i)
{
	struct mount_state *s = &m->list[i];
	const Pb__Mount *pb = s->pb;
	bool root = strcmp(pb->dest, "/") == 0;

	if (root && pb->mounttype != PB__MOUNT_TYPE__MOUNT_TYPE_BIND)
		return err_new(ERR_INVALID_ARGUMENT, "invalid mount type %s for /",
			       type_name(pb->mounttype));
	switch (pb->mounttype) {
	case PB__MOUNT_TYPE__MOUNT_TYPE_BIND:
		return open_bind(m, s);
	case PB__MOUNT_TYPE__MOUNT_TYPE_CACHE:
		return open_cache(m, i);
	case PB__MOUNT_TYPE__MOUNT_TYPE_TMPFS:
		open_tmpfs(m, s);
		return NULL;
	case PB__MOUNT_TYPE__MOUNT_TYPE_SECRET:
		return open_secret(m, s);
	case PB__MOUNT_TYPE__MOUNT_TYPE_SSH:
		return open_ssh(m, s);
	default:
		return err_new(ERR_UNIMPLEMENTED, "mount type %d not implemented", pb->mounttype);
	}
}

/* ---- all of them ---- */

static struct str absolute(struct exec_mounts *m, const char *dest)
{
	struct str d = path_clean(&m->arena, str_from(dest));

	if (path_is_abs(d))
		return d;
	return path_join(&m->arena, path_join(&m->arena, STR("/"), m->in->cwd), d);
}

static void sort_mounts(struct exec_mounts *m)
{
	/* Insertion: the list is short and mostly sorted, and equal ones must keep their order. */
	for (size_t i = 1; i < m->n_mounts; i++) {
		struct exec_mount x = m->mounts[i];
		size_t k = i;

		for (; k && str_cmp(m->mounts[k - 1].dest, x.dest) > 0; k--)
			m->mounts[k] = m->mounts[k - 1];
		m->mounts[k] = x;
	}
}

static struct err *open_all(struct exec_mounts *m)
{
	bool root = false;

	for (size_t i = 0; i < m->n; i++) {
		const Pb__Mount *pb = m->list[i].pb;

		TRY(open_one(m, i));
		if (strcmp(pb->dest, "/") == 0) {
			m->root = i;
			root = true;
		}
	}
	if (!root)
		return err_new(ERR_INVALID_ARGUMENT, "invalid exec op with no rootfs");
	for (size_t i = 0; i < m->n; i++) {
		const struct mount_state *s = &m->list[i];

		if (i == m->root || !s->mounts)
			continue;
		m->mounts[m->n_mounts++] = (struct exec_mount) {
			.dest = absolute(m, s->pb->dest),
			.mounts = s->mounts,
			.selector = str_from(s->pb->selector),
			.readonly = s->pb->readonly ||
				    s->pb->mounttype == PB__MOUNT_TYPE__MOUNT_TYPE_SECRET,
			.nosuid = s->nosuid,
			.nodev = s->nodev,
			.noexec = s->noexec,
			.is_file = s->is_file,
		};
	}
	sort_mounts(m);
	return NULL;
}

struct err *exec_mounts_open(const struct exec_mounts_in *in, struct exec_mounts **ret)
{
	struct exec_mounts *m = NEW(struct exec_mounts);
	struct err *e;

	m->in = in;
	m->n = in->n;
	m->list = ARENA_NEW_N(&m->arena, struct mount_state, in->n + 1);
	m->mounts = ARENA_NEW_N(&m->arena, struct exec_mount, in->n + 1);
	for (size_t i = 0; i < in->n; i++) {
		m->list[i].pb = in->mounts[i];
		m->list[i].input = in->refs[i];
	}
	e = open_all(m);
	if (e) {
		exec_mounts_free(m);
		return e;
	}
	*ret = m;
	return NULL;
}

void exec_mounts_free(struct exec_mounts *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++) {
		struct mount_state *s = &m->list[i];

		cache_mut_release(s->mut);
		cache_ref_release(s->done);
		cachemount_put(s->cachemount);
		private_file_free(s->file);
	}
	arena_fini(&m->arena);
	free(m);
}

void exec_mounts_fill(const struct exec_mounts *m, struct exec_spec *spec)
{
	spec->root = m->list[m->root].mounts;
	spec->root_readonly = m->list[m->root].pb->readonly;
	spec->mounts = m->mounts;
	spec->n_mounts = m->n_mounts;
}

struct err *exec_mounts_result(struct exec_mounts *m, size_t i, struct cache_ref **ret)
{
	struct mount_state *s = &m->list[i];

	if (s->mut)
		TRY(cache_mut_commit(TAKE_PTR(s->mut), m->in->ctx, &s->done));
	if (s->done)
		*ret = cache_ref_clone(s->done);
	else
		*ret = s->input ? cache_ref_clone(s->input) : NULL;
	return NULL;
}

struct err *exec_mounts_view(struct exec_mounts *m, struct ctx *ctx, size_t i, struct arena *a,
			     struct mounts **ret)
{
	struct mount_state *s = i < m->n ? &m->list[i] : NULL;

	/* A tmpfs is the container's own, and a file is no directory. */
	if (!s || !s->mounts || s->is_file || s->mounts->kind == MOUNT_TMPFS)
		return err_new(ERR_UNKNOWN, "mountable %zu not found", i);
	if (s->mut)
		return cache_mut_mounts(s->mut, ctx, a, true, ret);
	if (s->cachemount)
		return cachemount_mounts(s->cachemount, ctx, a, true, ret);
	*ret = s->mounts;
	return NULL;
}
