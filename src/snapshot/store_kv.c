#include "base/limits.h"
#include "kv/pack.h"
#include "snapshot/store.h"
#include "sys/fd.h"
#include "sys/walk.h"

#include <dirent.h>
#include <unistd.h>

/* A record, by name, in table "snapshot" (kv/pack.h):
 *   version 2, kind, boot id ("" once durable), parent name ("" is none),
 *   layers: own (0 or 1 of them), base, joined: each a count and that many layers,
 *   is-diff, name of its lower, name of its upper.
 * A layer: id, flags, and with FLAG_COPY the id of its clean copy. */
#define VERSION 2

enum {
	FLAG_WHITEOUTS = 1,
	FLAG_LINKED = 2,
	FLAG_CLEAN = 4,
	FLAG_COPY = 8,
	FLAG_JOIN = 16,
};

static void pack_layers(const struct store *st, struct buf *b, struct layer *const *l, size_t n)
{
	pack_uint(b, n);
	for (size_t i = 0; i < n; i++) {
		const struct layer *copy = l[i]->clean_copy;

		if (copy && store_layer_is_fresh(st, copy))
			copy = NULL;
		pack_uint(b, l[i]->id);
		pack_uint(b, (l[i]->whiteouts ? FLAG_WHITEOUTS : 0) |
				     (l[i]->linked ? FLAG_LINKED : 0) |
				     (l[i]->clean ? FLAG_CLEAN : 0) |
				     (l[i]->is_join ? FLAG_JOIN : 0) | (copy ? FLAG_COPY : 0));
		if (copy)
			pack_uint(b, copy->id);
	}
}

static struct str name_of(const struct snap *s)
{
	return s ? str_from(s->name) : STR("");
}

static bool any_fresh(const struct store *st, struct layer *const *l, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (store_layer_is_fresh(st, l[i]))
			return true;
	return false;
}

void store_encode_locked(const struct store *st, const struct snap *s, struct buf *b)
{
	size_t n_joined = any_fresh(st, s->joined, s->n_joined) ? 0 : s->n_joined;

	pack_uint(b, VERSION);
	pack_uint(b, s->kind);
	pack_str(b, s->durable ? STR("") : str_from(st->boot_id));
	pack_str(b, name_of(s->parent));
	pack_layers(st, b, &s->own, s->own ? 1 : 0);
	pack_layers(st, b, s->base, s->n_base);
	pack_layers(st, b, s->joined, n_joined);
	pack_uint(b, s->is_diff);
	pack_str(b, name_of(s->diff_lower));
	pack_str(b, name_of(s->diff_upper));
}

struct loaded_layer {
	uint64_t id, copy;
	unsigned flags;
};

struct loaded { /* in the loader's arena */
	struct str name, boot_id, parent, lower, upper;
	enum snapshot_kind kind;
	struct loaded_layer *own, *base, *joined;
	size_t n_own, n_base, n_joined;
	bool is_diff;
	int state; /* 0 not looked at, 1 being looked at, 2 good, 3 dropped */
	struct snap *snap;
};

struct loader {
	struct store *st;
	struct arena arena;
	VEC(struct loaded *) all;
	VEC(struct str) junk; /* names of records that can't be read */
	struct map by_name;
	struct map dirs;   /* layer directories there are, by id */
	struct map layers; /* struct layer made, by id */
};

static struct loaded_layer *unpack_layers(struct unpack *u, struct arena *a, size_t *ret_n)
{
	size_t n = unpack_count(u, 2);
	struct loaded_layer *l = n ? ARENA_NEW_N(a, struct loaded_layer, n) : NULL;

	for (size_t i = 0; i < n; i++) {
		l[i].id = unpack_uint(u);
		l[i].flags = (unsigned)unpack_uint(u);
		if (l[i].flags & FLAG_COPY)
			l[i].copy = unpack_uint(u);
	}
	*ret_n = n;
	return l;
}

static bool load_one(void *arg, struct str key, struct str value)
{
	struct loader *ld = arg;
	struct arena *a = &ld->arena;
	struct loaded *r = ARENA_NEW(a, struct loaded);
	struct unpack u = unpack_of(str_dup(a, value));
	uint64_t version = unpack_uint(&u), kind = unpack_uint(&u);

	r->name = str_dup(a, key);
	r->boot_id = unpack_str(&u);
	r->parent = unpack_str(&u);
	r->own = unpack_layers(&u, a, &r->n_own);
	r->base = unpack_layers(&u, a, &r->n_base);
	r->joined = unpack_layers(&u, a, &r->n_joined);
	r->is_diff = unpack_uint(&u);
	r->lower = unpack_str(&u);
	r->upper = unpack_str(&u);
	if (u.bad || version != VERSION || kind > SNAPSHOT_COMMITTED || r->n_own > 1) {
		vec_push(&ld->junk, r->name);
		return true;
	}
	r->kind = (enum snapshot_kind)kind;
	vec_push(&ld->all, r);
	(void)map_put(&ld->by_name, r->name, r);
	return true;
}

static struct err *read_records(struct kv_txn *t, void *arg)
{
	return kv_scan(t, SNAPSHOT_TABLE, STR(""), load_one, arg);
}

static struct str id_key(uint64_t id, char buf[24])
{
	return str_make(buf, (size_t)snprintf(buf, 24, "%llu", (unsigned long long)id));
}

static struct err *read_dirs(struct loader *ld)
{
	struct walk_names names;
	CLEANUP_FD int fd = -1;

	TRY(fd_open_dir(ld->st->dirfd, ".", &fd));
	TRY(walk_read_names(fd, false, &names));
	for (size_t i = 0; i < names.n; i++) {
		struct str n = str_from(names.items[i].name);
		uint64_t id;

		if (!str_to_u64(n, &id))
			continue;
		(void)map_put(&ld->dirs, n, ld);
		ld->st->next_id = MAX(ld->st->next_id, id + 1);
	}
	walk_names_fini(&names);
	return NULL;
}

static bool dirs_exist(struct loader *ld, const struct loaded_layer *l, size_t n)
{
	char k[24];

	for (size_t i = 0; i < n; i++)
		if (!map_has(&ld->dirs, id_key(l[i].id, k)))
			return false;
	return true;
}

static bool is_good(struct loader *ld, struct loaded *r);

static bool name_is_good(struct loader *ld, struct str name)
{
	struct loaded *r;

	if (!name.len)
		return true;
	r = map_get(&ld->by_name, name);
	return r && is_good(ld, r);
}

/* Its directories are there, it was on the disk or this is still the same boot, and so for what it
 * stands on. Follows the parents in a loop: chains can be thousands deep. */
static bool is_good(struct loader *ld, struct loaded *r)
{
	VEC(struct loaded *) path = VEC_INIT;
	bool good = true;

	for (struct loaded *x = r; x; x = map_get(&ld->by_name, x->parent)) {
		if (x->state == 2)
			break;
		if (x->state) {
			good = false; /* dropped, or a cycle */
			break;
		}
		x->state = 1;
		vec_push(&path, x);
		if ((x->boot_id.len && !str_eq_cstr(x->boot_id, ld->st->boot_id)) ||
		    !dirs_exist(ld, x->own, x->n_own) || !dirs_exist(ld, x->base, x->n_base) ||
		    (x->parent.len && !map_has(&ld->by_name, x->parent)) ||
		    !name_is_good(ld, x->lower) || !name_is_good(ld, x->upper)) {
			good = false;
			break;
		}
		if (!x->parent.len)
			break;
	}
	/* All above a bad one are bad; the path ends with the one that told. */
	vec_each (&path, x)
		(*x)->state = good ? 2 : 3;
	vec_fini(&path);
	return good;
}

static struct layer *get_layer(struct loader *ld, const struct loaded_layer *from)
{
	char k[24];
	struct layer *l = map_get(&ld->layers, id_key(from->id, k));

	if (l) {
		l->refs++;
	} else {
		l = NEW(struct layer);
		l->id = from->id;
		l->refs = 1;
		(void)map_put(&ld->layers, id_key(from->id, k), l);
	}
	l->whiteouts = l->whiteouts || (from->flags & FLAG_WHITEOUTS);
	l->linked = l->linked || (from->flags & FLAG_LINKED);
	l->is_join = l->is_join || (from->flags & FLAG_JOIN);
	l->clean = l->clean || (from->flags & FLAG_CLEAN);
	if ((from->flags & FLAG_COPY) && !l->clean_copy && from->copy != from->id &&
	    map_has(&ld->dirs, id_key(from->copy, k))) {
		const struct loaded_layer copy = { .id = from->copy,
						   .flags = FLAG_CLEAN | FLAG_LINKED };

		l->clean_copy = get_layer(ld, &copy);
	}
	return l;
}

static struct layer **get_layers(struct loader *ld, const struct loaded_layer *from, size_t n)
{
	struct layer **l = n ? mem_calloc(n, sizeof(*l)) : NULL;

	for (size_t i = 0; i < n; i++)
		l[i] = get_layer(ld, &from[i]);
	return l;
}

static struct snap *snap_of(struct loader *ld, struct str name)
{
	struct loaded *r = name.len ? map_get(&ld->by_name, name) : NULL;

	if (!r)
		return NULL;
	r->snap->children++;
	return r->snap;
}

static void make_snaps(struct loader *ld)
{
	vec_each (&ld->all, it) {
		struct loaded *r = *it;
		struct snap *s;

		if (r->state != 2)
			continue;
		r->snap = s = NEW(struct snap);
		s->kind = r->kind;
		s->name = mem_strndup(r->name.ptr, r->name.len);
		s->durable = !r->boot_id.len;
		/* An active one that was being written to when the daemon was killed is awake until
		 * its owner, if it has one, lets it rest again. */
		s->awake = !s->durable && s->kind == SNAPSHOT_ACTIVE;
		s->is_diff = r->is_diff;
		if (r->n_own)
			s->own = get_layer(ld, r->own);
		s->n_base = r->n_base;
		s->base = get_layers(ld, r->base, r->n_base);
		/* A joined layer can be made again. */
		if (dirs_exist(ld, r->joined, r->n_joined)) {
			s->n_joined = r->n_joined;
			s->joined = get_layers(ld, r->joined, r->n_joined);
		}
		(void)map_put(&ld->st->snaps, r->name, s);
	}
	vec_each (&ld->all, it) {
		struct loaded *r = *it;

		if (r->state != 2)
			continue;
		r->snap->parent = snap_of(ld, r->parent);
		r->snap->diff_lower = snap_of(ld, r->lower);
		r->snap->diff_upper = snap_of(ld, r->upper);
	}
}

static struct err *delete_dropped(struct kv_txn *t, void *arg)
{
	struct loader *ld = arg;

	vec_each (&ld->junk, name)
		TRY(kv_del(t, SNAPSHOT_TABLE, *name));
	vec_each (&ld->all, it)
		if ((*it)->state != 2)
			TRY(kv_del(t, SNAPSHOT_TABLE, (*it)->name));
	return NULL;
}

/* Directories that no record names. */
static struct err *bury_orphans(struct loader *ld)
{
	for (struct map_entry *e = map_next(&ld->dirs, NULL); e; e = map_next(&ld->dirs, e))
		if (!map_has(&ld->layers, map_key(e)))
			TRY(trash_put(ld->st->trash, ld->st->dirfd, e->key));
	return NULL;
}

static struct err *load(struct loader *ld)
{
	bool dropped = false;

	TRY(read_dirs(ld));
	TRY(kv_view(ld->st->kv, read_records, ld));
	vec_each (&ld->all, it)
		dropped = !is_good(ld, *it) || dropped;
	make_snaps(ld);
	if (dropped || ld->junk.len)
		TRY(kv_update(ld->st->kv, KV_LAZY, delete_dropped, ld));
	return bury_orphans(ld);
}

struct err *store_load(struct store *st)
{
	struct loader ld = { .st = st };
	struct err *e = load(&ld);

	vec_fini(&ld.all);
	vec_fini(&ld.junk);
	map_fini(&ld.by_name, NULL);
	map_fini(&ld.dirs, NULL);
	map_fini(&ld.layers, NULL);
	arena_fini(&ld.arena);
	return e;
}
