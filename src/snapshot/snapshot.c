#include "snapshot/snapshot.h"

struct err *snapshot_stat(struct snapshotter *s, struct arena *a, struct str name,
			  struct snapshot_info *ret)
{
	return s->ops->stat(s, a, name, ret);
}

struct err *snapshot_prepare(struct snapshotter *s, struct str name, struct str parent)
{
	return s->ops->prepare(s, name, parent);
}

struct err *snapshot_view(struct snapshotter *s, struct str name, struct str parent)
{
	return s->ops->view(s, name, parent);
}

struct err *snapshot_commit(struct snapshotter *s, struct str name, struct str active)
{
	return s->ops->commit(s, name, active);
}

struct err *snapshot_rest(struct snapshotter *s, struct str name)
{
	return s->ops->rest ? s->ops->rest(s, name) : NULL;
}

struct err *snapshot_wake(struct snapshotter *s, struct str name)
{
	return s->ops->wake ? s->ops->wake(s, name) : NULL;
}

struct err *snapshot_mounts(struct snapshotter *s, struct arena *a, struct str name,
			    struct mounts **ret)
{
	return s->ops->mounts(s, a, name, ret);
}

struct err *snapshot_remove(struct snapshotter *s, struct str name)
{
	return s->ops->remove(s, name);
}

struct err *snapshot_usage(struct snapshotter *s, struct ctx *ctx, struct str name,
			   uint64_t *ret_bytes, uint64_t *ret_inodes)
{
	return s->ops->usage(s, ctx, name, ret_bytes, ret_inodes);
}

struct err *snapshot_merge(struct snapshotter *s, struct ctx *ctx, struct str name,
			   const struct str *parents, size_t n)
{
	return s->ops->merge(s, ctx, name, parents, n);
}

struct err *snapshot_between(struct snapshotter *s, struct ctx *ctx, struct str name,
			     struct str lower, struct str upper)
{
	return s->ops->between(s, ctx, name, lower, upper);
}

void snapshotter_free(struct snapshotter *s)
{
	if (s)
		s->ops->free(s);
}
