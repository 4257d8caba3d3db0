#include "exec/shared.h"

#include "base/list.h"
#include "base/lock.h"
#include "base/mem.h"
#include "sys/mount.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct shared_mount {
	struct list link;
	char *upper, *path;
	unsigned refs;
	bool mounted, failed; /* neither: one of those who have it is about to mount it */
};

struct shared_mounts {
	char *dir;
	struct lock lock;
	struct cond changed;
	struct list all; /* those that may be had */
	uint64_t next;
};

struct shared_mounts *shared_mounts_new(const char *dir)
{
	struct shared_mounts *s = NEW(struct shared_mounts);

	s->dir = mem_strdup(dir);
	list_init(&s->all);
	lock_init(&s->lock, LOCK_EXEC);
	cond_init(&s->changed);
	return s;
}

void shared_mounts_free(struct shared_mounts *s)
{
	if (!s)
		return;
	cond_fini(&s->changed);
	lock_fini(&s->lock);
	free(s->dir);
	free(s);
}

const char *shared_mount_path(const struct shared_mount *m)
{
	return m->path;
}

static struct shared_mount *find_locked(struct shared_mounts *s, struct str upper)
{
	list_each (&s->all, l) {
		struct shared_mount *m = list_entry(l, struct shared_mount, link);

		if (str_eq_cstr(upper, m->upper))
			return m;
	}
	return NULL;
}

/* The entry with a reference; *ret_new when the caller is to mount it. */
static struct shared_mount *take_entry(struct shared_mounts *s, struct str upper, bool *ret_new)
{
	struct shared_mount *m;

	LOCKED(&s->lock);
	m = find_locked(s, upper);
	*ret_new = !m;
	if (!m) {
		m = NEW(struct shared_mount);
		m->upper = mem_strndup(upper.ptr, upper.len);
		m->path = mem_printf("%s/%llu", s->dir, (unsigned long long)s->next++);
		list_add_tail(&s->all, &m->link);
	}
	m->refs++;
	return m;
}

static struct err *mount_it(const struct shared_mount *m, const struct mounts *what)
{
	struct mounts writable = *what;
	struct err *e;

	/* Who has it read-only binds it so. */
	writable.readonly = false;
	if (mkdir(m->path, 0700) < 0)
		return err_errno(errno, "mkdir %s", m->path);
	e = mounts_attach(&writable, m->path);
	if (e)
		(void)rmdir(m->path);
	return e;
}

static struct err *wait_mounted(struct shared_mounts *s, struct ctx *ctx, struct shared_mount *m)
{
	LOCKED(&s->lock);
	while (!m->mounted && !m->failed)
		TRY(cond_wait(&s->changed, &s->lock, ctx));
	return m->failed ? err_new(ERR_UNAVAILABLE, "mount of %s failed in another step", m->upper)
			 : NULL;
}

struct err *shared_mount_get(struct shared_mounts *s, struct ctx *ctx, const struct mounts *m,
			     struct shared_mount **ret)
{
	bool is_new;
	struct shared_mount *sm = take_entry(s, m->upper, &is_new);
	struct err *e;

	if (is_new) {
		e = mount_it(sm, m);
		lock_take(&s->lock);
		sm->mounted = !e;
		sm->failed = e != NULL;
		/* The next one tries anew. */
		if (e)
			list_del(&sm->link);
		cond_broadcast(&s->changed);
		lock_drop(&s->lock);
	} else {
		e = wait_mounted(s, ctx, sm);
	}
	if (e) {
		shared_mount_put(s, sm);
		return e;
	}
	*ret = sm;
	return NULL;
}

void shared_mount_put(struct shared_mounts *s, struct shared_mount *m)
{
	lock_take(&s->lock);
	if (--m->refs) {
		lock_drop(&s->lock);
		return;
	}
	list_del(&m->link);
	lock_drop(&s->lock);
	if (m->mounted) {
		err_free(mount_umount(m->path, true));
		(void)rmdir(m->path);
	}
	free(m->upper);
	free(m->path);
	free(m);
}
