/* Blobs and manifests into a content store: mirrors, then the origin, then a foreign layer's own
 * URLs. What a broken transfer has left is resumed, by the next try as by the next call. */
#include "registry/request.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "registry/source_label.h"

#define DELAY_FIRST_NS (1 * NSEC_PER_SEC)
#define DELAY_LAST_NS (8 * NSEC_PER_SEC) /* would be reached: given up */
#define RESTARTS_MAX 3
#define PROGRESS_MIN ((uint64_t)64 * 1024) /* a try that got this far starts the delays anew */

struct fetch {
	struct registry *r;
	struct ctx *ctx;
	struct arena *a;
	const struct imageref *ref;
	const struct oci_descriptor *desc;
	struct content *store;
	const struct registry_auth *auth;
	const struct registry_progress *progress;
	struct content_writer *w;
	bool opened; /* an answer with the blob has begun */
};

/* ---- one transfer ---- */

struct transfer {
	struct fetch *f;
	uint64_t skip; /* bytes that we have already and are sent again */
	uint64_t from; /* asked for */
};

static struct err *on_head(void *arg, const struct httpc_response *head)
{
	struct transfer *x = arg;
	uint64_t from, to;
	int64_t size;

	x->skip = 0;
	x->f->opened |= head->status / 100 == 2;
	if (head->status == 200) {
		x->skip = x->from; /* the server does not do ranges */
	} else if (head->status == 206) {
		if (!httpc_content_range(httpc_header_get(head, "Content-Range"), &from, &to,
					 &size) ||
		    from > x->from)
			return err_new(ERR_DATA_LOSS, "unexpected Content-Range \"%.*s\" from %.*s",
				       STR_ARG(httpc_header_get(head, "Content-Range")),
				       STR_ARG(head->url));
		x->skip = x->from - from;
	}
	return NULL;
}

static struct err *on_body(void *arg, const void *p, size_t len)
{
	struct transfer *x = arg;
	struct fetch *f = x->f;
	const char *data = p;
	uint64_t size = (uint64_t)f->desc->size;

	if (x->skip) {
		size_t n = (size_t)MIN(x->skip, (uint64_t)len);

		x->skip -= n;
		data += n;
		len -= n;
	}
	if (!len)
		return NULL;
	if (f->desc->size > 0 && (f->w->offset > size || len > size - f->w->offset))
		return err_new(ERR_FAILED_PRECONDITION,
			       "read past expected size %llu: failed precondition",
			       (unsigned long long)size);
	if (f->desc->size <= 0 && reg_is_manifest(f->desc->media_type) &&
	    len > LIMIT_MANIFEST - MIN(f->w->offset, LIMIT_MANIFEST))
		return err_new(ERR_RESOURCE_EXHAUSTED, "manifest is larger than %zu bytes",
			       LIMIT_MANIFEST);
	TRY(writer_write(&f->w->io, data, len));
	if (f->progress && f->progress->report)
		f->progress->report(f->progress->arg, f->desc, (int64_t)f->w->offset,
				    f->desc->size);
	return NULL;
}

static void prepare(struct transfer *x, struct httpc_request *rq, struct httpc_header h[2])
{
	struct fetch *f = x->f;
	struct str type = f->desc->media_type;

	x->from = f->w->offset;
	h[0] = (struct httpc_header) {
		STR("Accept"),
		type.len ? str_from(arena_printf(f->a, "%.*s, */*", STR_ARG(type))) : STR("*/*")
	};
	h[1] = (struct httpc_header) { STR("Range"),
				       str_from(arena_printf(f->a, "bytes=%llu-",
							     (unsigned long long)x->from)) };
	rq->headers = h;
	rq->n_headers = x->from ? 2 : 1;
	rq->on_head = on_head;
	rq->on_body = on_body;
	rq->arg = x;
}

static void drop_writer(struct fetch *f)
{
	if (f->w)
		f->w->discard(f->w);
	content_writer_closep(&f->w);
}

/* *ret_found false: it is not there. *ret_transient: trying again may help. */
static struct err *judge(struct fetch *f, const struct httpc_response *resp, bool *ret_found,
			 bool *ret_transient)
{
	*ret_found = resp->status != 404;
	if (!*ret_found)
		return NULL;
	if (resp->status == 200 || resp->status == 206)
		return NULL;
	if (resp->status == 416 && f->w->offset) {
		/* What we have is not the beginning of what they have. */
		*ret_transient = true;
		drop_writer(f);
	} else {
		*ret_transient = resp->status / 100 == 5;
	}
	return reg_status_error(resp);
}

static struct err *from_endpoint(struct fetch *f, const struct endpoint *ep, bool *ret_found,
				 bool *ret_transient)
{
	const struct oci_descriptor *d = f->desc;
	bool manifest = reg_is_manifest(d->media_type);
	struct transfer x = { .f = f };
	struct httpc_header headers[2];
	struct reg_request rq = { .json = manifest || str_has_suffix(d->media_type, STR("+json")) };
	struct reg_target t;
	struct httpc_response resp;
	struct err *e;

	reg_target_init(&t, f->r, f->a, ep, f->auth, f->ref->path, false, STR_NONE);
	rq.http.url = reg_url(&t, f->a, manifest ? "manifests/" : "blobs/",
			      str_from(digest_text(&d->digest, f->a)));
	prepare(&x, &rq.http, headers);
	e = reg_do(&t, f->ctx, f->a, &rq, &resp);
	if (!e)
		return judge(f, &resp, ret_found, ret_transient);
	*ret_found = true;
	*ret_transient = rq.transient;
	if (rq.denied)
		e = err_wrap(e, "pull access denied, repository does not exist or may require "
				"authorization");
	return e;
}

/* A layer that registries may not serve. Nothing of ours is sent along. */
static struct err *from_url(struct fetch *f, struct str url, bool *ret_found, bool *ret_transient)
{
	struct transfer x = { .f = f };
	struct httpc_header headers[2];
	enum httpc_failure failure = HTTPC_OTHER;
	struct httpc_request rq = { .url = url, .failure = &failure };
	struct httpc_response resp;
	struct err *e;

	prepare(&x, &rq, headers);
	e = httpc_do(f->r->http, f->ctx, f->a, &rq, &resp);
	if (!e)
		return judge(f, &resp, ret_found, ret_transient);
	*ret_found = true;
	*ret_transient = failure == HTTPC_BROKEN || failure == HTTPC_TIMEOUT;
	return err_wrap(e, "failed to do request");
}

static struct err *not_found(struct fetch *f, const struct endpoint *ep)
{
	const struct oci_descriptor *d = f->desc;
	char *digest = digest_text(&d->digest, f->a);

	if (reg_is_manifest(d->media_type))
		return err_new(ERR_NOT_FOUND,
			       "content at %.*s/%.*s/manifests/%s not found: not found",
			       STR_ARG(ep->base), STR_ARG(f->ref->path), digest);
	return err_new(ERR_NOT_FOUND,
		       "could not fetch content descriptor %s (%.*s) from remote: not found",
		       digest, STR_ARG(d->media_type));
}

/* ---- all places ---- */

static struct err *open_writer(struct fetch *f)
{
	char *key = reg_ref_key(f->a, f->desc);

	content_writer_closep(&f->w);
	TRY(content_writer_open(f->store, f->ctx, str_from(key), &f->w));
	if (f->desc->size > 0 && f->w->offset > (uint64_t)f->desc->size) {
		drop_writer(f);
		TRY(content_writer_open(f->store, f->ctx, str_from(key), &f->w));
	}
	return NULL;
}

/* One place after the other until one has it. The first error is kept, as the one of the place
 * that should have answered. */
static struct err *round_once(struct fetch *f, const struct endpoint *eps, size_t n,
			      bool *ret_transient)
{
	size_t total = n + f->desc->n_urls;
	struct err *first = NULL, *e;

	for (size_t i = 0; i < total; i++) {
		bool found = false, transient = false;

		if (!f->w) {
			e = open_writer(f);
			if (e)
				return err_first(first, e);
		}
		e = i < n ? from_endpoint(f, &eps[i], &found, &transient)
			  : from_url(f, f->desc->urls[i - n], &found, &transient);
		if (!e && found) {
			err_free(first);
			return NULL;
		}
		if (e && ctx_done(f->ctx)) {
			err_free(first);
			return e;
		}
		*ret_transient |= transient;
		/* Anything but a broken transfer leaves bytes that can't be trusted. */
		if (e && !transient)
			drop_writer(f);
		first = err_first(first, e);
	}
	return first ? first : not_found(f, &eps[n - 1]);
}

/* There the kind of an error is the end of its text. */
static struct err *in_containerds_words(struct err *e)
{
	struct err *named;

	if (!err_is(e, ERR_FAILED_PRECONDITION) ||
	    str_has_suffix(str_from(err_text(e)), STR("failed precondition")))
		return e;
	named = err_new(ERR_FAILED_PRECONDITION, "%s: failed precondition", err_text(e));
	err_free(e);
	return named;
}

static struct err *commit(struct fetch *f)
{
	const struct oci_descriptor *d = f->desc;
	struct content_label label = { str_from(reg_source_label(f->a, f->ref->domain)),
				       f->ref->path };
	struct err *e;

	if (d->size > 0 && f->w->offset < (uint64_t)d->size)
		return err_new(ERR_DATA_LOSS, "unexpected EOF");
	e = content_commit(f->w, (uint64_t)MAX(d->size, 0), &d->digest, &label, 1, NULL);
	if (err_is(e, ERR_ALREADY_EXISTS)) {
		err_free(e);
		content_writer_closep(&f->w);
		return source_label_add(f->store, f->ctx, &d->digest, label.key, label.value);
	}
	if (e) {
		drop_writer(f);
		e = err_wrap(in_containerds_words(e), "failed commit on ref \"%s\"",
			     reg_ref_key(f->a, d));
	}
	content_writer_closep(&f->w);
	return e;
}

/* Brings what is missing. */
static struct err *transfer_once(struct fetch *f, const struct endpoint *eps, size_t n,
				 bool *ret_transient)
{
	uint64_t size = (uint64_t)MAX(f->desc->size, 0);
	struct err *e;

	*ret_transient = f->opened = false;
	if (size && f->w->offset == size)
		return NULL;
	e = round_once(f, eps, n, ret_transient);
	if (!e && f->w->offset < size) {
		/* The answer was shorter than the blob though it ended well. */
		e = err_new(ERR_DATA_LOSS, "unexpected EOF");
		*ret_transient = true;
	}
	return err_wrap(e, f->opened ? "failed to copy: httpReadSeeker"
				     : "failed to copy: httpReadSeeker: failed open");
}

static struct err *try_all(struct fetch *f, const struct endpoint *eps, size_t n)
{
	int64_t delay = DELAY_FIRST_NS;
	bool resumed, transient;
	int restarts = 0;
	struct err *e;

	TRY(open_writer(f));
	/* Bytes of an earlier call may turn out bad: then once more without them. */
	resumed = f->w->offset > 0;
	for (;;) {
		uint64_t before = f->w->offset;

		e = transfer_once(f, eps, n, &transient);
		if (!e)
			e = commit(f);
		if (!e)
			return NULL;
		if (!f->w && resumed && err_is(e, ERR_FAILED_PRECONDITION))
			transient = true;
		if (!transient || ctx_done(f->ctx))
			return e;
		if (!f->w) {
			if (restarts++ >= RESTARTS_MAX)
				return e;
			resumed = false;
			err_free(e);
			TRY(open_writer(f));
			continue;
		}
		if (f->w->offset >= before + PROGRESS_MIN) {
			delay = DELAY_FIRST_NS;
		} else if (delay >= DELAY_LAST_NS) {
			return e;
		} else {
			struct err *e2 = ctx_sleep(f->ctx, delay);

			if (e2)
				return err_first(e2, e);
			delay *= 2;
		}
		err_free(e);
	}
}

/* ---- one fetch of a blob at a time ---- */

struct claim {
	struct registry *r;
	char *key;
};

static void claim_drop(struct claim *c)
{
	if (!c->key)
		return;
	lock_take(&c->r->lock);
	(void)map_del(&c->r->fetching, str_from(c->key));
	cond_broadcast(&c->r->fetched);
	lock_drop(&c->r->lock);
	free(c->key);
}

/* Waits for another fetch of the same blob into the same store. */
static struct err *claim_take(struct claim *c, struct fetch *f)
{
	char text[DIGEST_TEXT_MAX];
	char *key = mem_printf("%p %s", (void *)f->store, digest_format(&f->desc->digest, text));
	struct err *e = NULL;

	lock_take(&f->r->lock);
	while (!e && map_has(&f->r->fetching, str_from(key)))
		e = cond_wait(&f->r->fetched, &f->r->lock, f->ctx);
	if (!e)
		(void)map_put(&f->r->fetching, str_from(key), f->r);
	lock_drop(&f->r->lock);
	if (e)
		free(key);
	else
		*c = (struct claim) { f->r, key };
	return e;
}

/* A descriptor may carry its small content itself. */
static bool has_inline_data(const struct oci_descriptor *d)
{
	struct digest got;

	if (!d->data.len || d->digest.algo != DIGEST_SHA256)
		return false;
	got = digest_sha256(d->data);
	return digest_eq(&got, &d->digest);
}

static struct err *run(struct fetch *f)
{
	CLEANUP(claim_drop) struct claim claim = { 0 };
	struct endpoint *eps;
	struct err *e;
	size_t n;

	TRY(claim_take(&claim, f));
	if (content_has(f->store, f->ctx, &f->desc->digest))
		return source_label_add(f->store, f->ctx, &f->desc->digest,
					str_from(reg_source_label(f->a, f->ref->domain)),
					f->ref->path);
	if (has_inline_data(f->desc))
		return content_write_blob(f->store, f->ctx, f->desc->data, NULL, 0, NULL);
	TRY(hosts_endpoints(&f->r->hosts, f->a, f->ref->domain, false, f->auth && f->auth->insecure,
			    &eps, &n));
	e = try_all(f, eps, n);
	content_writer_closep(&f->w);
	return e;
}

struct err *registry_fetch(struct registry *r, struct ctx *ctx, const struct imageref *ref,
			   const struct oci_descriptor *desc, struct content *store,
			   const struct registry_auth *auth, const struct registry_progress *p)
{
	SCOPED_ARENA(a);
	struct fetch f = { r, ctx, &a, ref, desc, store, auth, p, NULL, false };

	if (reg_is_manifest(desc->media_type) && desc->size > (int64_t)LIMIT_MANIFEST)
		return err_new(ERR_NOT_FOUND, "rejecting %lld byte manifest for %s: not found",
			       (long long)desc->size, imageref_format(&a, ref));
	if (!digest_is_set(&desc->digest) || desc->digest.algo == DIGEST_RANDOM)
		return err_new(ERR_INVALID_ARGUMENT, "%s: descriptor without a digest",
			       imageref_format(&a, ref));
	return run(&f);
}
