#include "source/imagefetch.h"

#include "base/lock.h"
#include "base/mem.h"

/* Between two reports of one download. */
#define REPORT_NS (150 * NSEC_PER_MSEC)

struct imagefetch {
	struct ref ref;
	struct image_origin *origin;
	struct source_tracker *tracker; /* or NULL */
	struct lock lock;
	int64_t unpacking_since; /* layers of a chain are unpacked one after the other */
};

struct download {
	struct imagefetch *f;
	int64_t started_ns, reported_ns; /* wall, monotonic */
};

static void imagefetch_ref(void *arg)
{
	struct imagefetch *f = arg;

	ref_get(&f->ref);
}

static void imagefetch_unref(void *arg)
{
	struct imagefetch *f = arg;

	if (!ref_put(&f->ref))
		return;
	image_origin_unref(f->origin);
	if (f->tracker)
		f->tracker->unref(f->tracker);
	lock_fini(&f->lock);
	free(f);
}

static void status(struct imagefetch *f, const struct oci_descriptor *d, const char *name,
		   int64_t current, int64_t total, int64_t started_ns, bool done)
{
	char text[DIGEST_TEXT_MAX], id[DIGEST_TEXT_MAX + 16];

	(void)snprintf(id, sizeof(id), "%s%s%s", name, *name ? " " : "",
		       digest_format(&d->digest, text));
	f->tracker->status(f->tracker, id, name, current, total, started_ns, done);
}

static void on_progress(void *arg, const struct oci_descriptor *d, int64_t current, int64_t total)
{
	struct download *dl = arg;
	int64_t now = clock_now();

	if (now - dl->reported_ns < REPORT_NS)
		return;
	dl->reported_ns = now;
	status(dl->f, d, "", current, total, dl->started_ns, false);
}

static struct err *fetch(void *arg, struct ctx *ctx, const struct oci_descriptor *d)
{
	struct imagefetch *f = arg;
	struct download dl = { f, clock_wall(), 0 };
	struct registry_progress p = { on_progress, &dl };
	struct err *e;

	if (!f->tracker || content_has(f->origin->store, ctx, &d->digest))
		return image_origin_fetch(f->origin, ctx, d, NULL);
	f->tracker->start(f->tracker);
	status(f, d, "", 0, d->size, dl.started_ns, false);
	e = image_origin_fetch(f->origin, ctx, d, &p);
	if (!e)
		status(f, d, "", d->size, d->size, dl.started_ns, true);
	f->tracker->stop(f->tracker, e);
	return e;
}

static void unpacking(void *arg, const struct oci_descriptor *d, bool done)
{
	struct imagefetch *f = arg;
	int64_t since;

	lock_take(&f->lock);
	if (!done)
		f->unpacking_since = clock_wall();
	since = f->unpacking_since;
	lock_drop(&f->lock);
	if (!done)
		f->tracker->start(f->tracker);
	status(f, d, "extracting", 0, 0, since, done);
	if (done)
		f->tracker->stop(f->tracker, NULL);
}

struct cache_fetcher imagefetch_new(struct image_origin *o, struct source_tracker *tracker)
{
	struct imagefetch *f = NEW(struct imagefetch);

	ref_init(&f->ref);
	f->origin = image_origin_ref(o);
	f->tracker = tracker;
	if (tracker)
		tracker->ref(tracker);
	lock_init(&f->lock, LOCK_SOURCE);
	return (struct cache_fetcher) {
		.fetch = fetch,
		.ref = imagefetch_ref,
		.unref = imagefetch_unref,
		.arg = f,
		.unpacking = tracker ? unpacking : NULL,
	};
}
