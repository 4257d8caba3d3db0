/* An image that was written gets its names in the worker's image store, with the labels that keep
 * its content together there, and on request the snapshots that containers start from. */
#include "exporter/store.h"

#include "base/mem.h"
#include "cache/cache.h"

#define GC_REF "containerd.io/gc.ref.content."

struct labels {
	struct arena *a;
	struct content_label *items;
	size_t n;
};

static void refer(struct labels *l, const char *what, const struct digest *d)
{
	l->items[l->n++] = (struct content_label) { str_from(arena_printf(l->a, GC_REF "%s", what)),
						    str_from(digest_text(d, l->a)) };
}

static struct err *label_manifest(const struct exporter_env *env, const struct image_part *p)
{
	const struct oci_manifest *m = &p->manifest;
	SCOPED_ARENA(a);
	struct labels l = { &a, ARENA_NEW_N(&a, struct content_label, m->n_layers + 1), 0 };

	refer(&l, "config", &m->config.digest);
	for (size_t i = 0; i < m->n_layers; i++)
		refer(&l, arena_printf(&a, "l.%zu", i), &m->layers[i].digest);
	return content_label(cache_content(env->host->cache), env->ctx, &p->desc.digest, l.items,
			     l.n);
}

static struct err *label_all(const struct exporter_env *env, const struct image *img)
{
	SCOPED_ARENA(a);
	struct labels l = { &a, ARENA_NEW_N(&a, struct content_label, img->n_parts + 1), 0 };

	for (size_t i = 0; i < img->n_parts; i++) {
		TRY(label_manifest(env, &img->parts[i]));
		refer(&l, arena_printf(&a, "m.%zu", i), &img->parts[i].desc.digest);
	}
	if (!img->is_index)
		return NULL;
	return content_label(cache_content(env->host->cache), env->ctx, &img->root.digest, l.items,
			     l.n);
}

/* The one for this machine. */
static const struct image_part *part_to_unpack(const struct exporter_env *env,
					       const struct image *img)
{
	for (size_t i = 0; i < img->n_parts; i++)
		if (platform_match_rank(env->host->platform, img->parts[i].desc.platform) >= 0)
			return &img->parts[i];
	return NULL;
}

static struct err *unpack(const struct exporter_env *env, const struct image *img, const char *name)
{
	struct image_store *s = env->host->images;
	const struct image_part *p = part_to_unpack(env, img);
	SCOPED_ARENA(a);
	struct str id = str_from(arena_printf(&a, "unpacking to %s", name));
	int64_t started = progress_status_begin(env->progress, id);

	if (p)
		TRY(s->unpack(s, env->ctx, p->manifest.layers, p->diff_ids, p->manifest.n_layers,
			      &p->manifest.config.digest));
	progress_status_done(env->progress, id, started);
	return NULL;
}

struct err *image_store_add(const struct exporter_env *env, const struct image *img,
			    const struct imageref *names, size_t n, bool want_unpack)
{
	struct image_store *s = env->host->images;

	TRY(label_all(env, img));
	for (size_t i = 0; i < n; i++) {
		SCOPED_ARENA(a);
		char *name = imageref_format(&a, &names[i]);
		struct str id = str_from(arena_printf(&a, "naming to %s", name));
		int64_t started = progress_status_begin(env->progress, id);

		TRYW(s->put(s, env->ctx, str_from(name), &img->root), "failed to store image %s",
		     name);
		progress_status_done(env->progress, id, started);
		if (want_unpack && i == 0)
			TRY(unpack(env, img, name));
	}
	return NULL;
}
