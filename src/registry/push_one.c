/* One try at one blob or manifest. Source: OCI distribution specification, "Push". */
#include "registry/push.h"

#include "base/limits.h"
#include "base/mem.h"
#include "registry/source_label.h"

/* One try's view. */
struct step {
	struct push *p;
	struct ctx *ctx;
	struct arena *a;
	const struct oci_descriptor *d;
	struct reg_target t;
	struct push_failure *why;
};

static struct err *do_step(struct step *s, const struct reg_target *t, struct reg_request *rq,
			   struct httpc_response *ret)
{
	struct err *e = reg_do(t, s->ctx, s->a, rq, ret);

	if (!e)
		return NULL;
	s->why->transient = rq->transient;
	if (rq->denied)
		e = err_wrap(e, "push access denied, repository does not exist or may require "
				"authorization");
	return e;
}

static struct err *refused(struct step *s, const struct httpc_response *r)
{
	s->why->transient = r->status / 100 == 5;
	s->why->says = reg_body_errors(s->a, r->body);
	return reg_status_error(r);
}

/* ---- is it there? ---- */

static struct err *exists(struct step *s, struct str url, bool json, struct httpc_response *ret)
{
	struct str type = s->d->media_type;
	struct httpc_header accept = {
		STR("Accept"),
		type.len ? str_from(arena_printf(s->a, "%.*s, */*", STR_ARG(type))) : STR("*/*")
	};
	struct reg_request rq = {
		.http = { .method = "HEAD",
			  .url = url,
			  .headers = &accept,
			  .n_headers = 1,
			  .max_body = LIMIT_ERROR_TEXT },
		.json = json,
	};

	TRY(do_step(s, &s->t, &rq, ret));
	if (ret->status != 403 && ret->status != 405)
		return NULL;
	/* Refused: ask in a way that is answered with the reason, or at all. */
	rq.http.method = "GET";
	return do_step(s, &s->t, &rq, ret);
}

/* ---- blobs ---- */

struct upload {
	struct step *s;
	struct reader base; /* counts what another reader gives */
	struct reader *inner;
	uint64_t sent;
};

static struct err *upload_read(struct reader *r, void *p, size_t len, size_t *ret_n)
{
	struct upload *u = container_of(r, struct upload, base);

	TRY(reader_read(u->inner, p, len, ret_n));
	u->sent += *ret_n;
	push_report(u->s->p, u->s->d, (int64_t)u->sent);
	return NULL;
}

static void upload_close(struct reader *r)
{
	struct upload *u = container_of(r, struct upload, base);

	reader_close(u->inner);
	free(u);
}

static struct err *open_blob(void *arg, struct reader **ret)
{
	struct step *s = arg;
	struct content_reader *c;
	struct upload *u;

	TRY(content_open(s->p->store, s->ctx, &s->d->digest, &c));
	u = NEW(struct upload);
	*u = (struct upload) { .s = s, .base = { upload_read, upload_close } };
	u->inner = content_as_reader(c);
	*ret = &u->base;
	return NULL;
}

/* Where the blob is known to be on the same host, by its label or annotation. */
static struct str mount_source(struct step *s)
{
	char *key = reg_source_label(s->a, s->p->ref->domain);
	struct str list = oci_annotation(s->d, key);
	struct content_info info;
	SCOPED_ERR(e);

	e = content_info(s->p->store, s->ctx, s->a, &s->d->digest, &info);
	for (size_t i = 0; !e && i < info.n_labels; i++)
		if (str_eq_cstr(info.labels[i].key, key))
			list = info.labels[i].value;
	return source_label_pick(list, s->p->ref->path);
}

static struct err *begin_upload(struct step *s, const struct reg_target *t, struct str url,
				struct httpc_response *ret)
{
	struct reg_request rq = {
		.http = { .method = "POST", .url = url, .max_body = LIMIT_ERROR_TEXT }
	};

	return do_step(s, t, &rq, ret);
}

/* *ret_location is where to upload to; empty when the registry took the blob from another
 * repository. */
static struct err *start(struct step *s, struct str *ret_location)
{
	struct str url = reg_url(&s->t, s->a, "blobs/uploads/", STR_NONE);
	struct str from = mount_source(s), mount_url;
	struct httpc_response r = { 0 };

	if (from.len) {
		struct reg_target t;

		reg_target_init(&t, s->p->r, s->a, s->p->ep, s->p->auth, s->p->ref->path, true,
				from);
		mount_url = httpc_url_add(s->a, url, "mount",
					  str_from(digest_text(&s->d->digest, s->a)));
		mount_url = httpc_url_add(s->a, mount_url, "from", from);
		err_free(begin_upload(s, &t, mount_url, &r));
		if (ctx_done(s->ctx))
			return ctx_err(s->ctx);
	}
	/* Mounting is a favour: without it, the plain way. */
	if (r.status != 201 && r.status != 202)
		TRY(begin_upload(s, &s->t, url, &r));
	*ret_location = STR_NONE;
	if (r.status == 201 && from.len)
		return NULL;
	if (r.status != 200 && r.status != 201 && r.status != 202)
		return refused(s, &r);
	*ret_location = httpc_header_get(&r, "Location");
	if (!ret_location->len)
		return err_new(ERR_UNKNOWN, "upload of %s to %.*s got no Location",
			       digest_text(&s->d->digest, s->a), STR_ARG(url));
	return httpc_url_resolve(s->a, r.url, *ret_location, ret_location);
}

static struct err *upload(struct step *s, struct str location)
{
	static const struct httpc_header type = { STR("Content-Type"),
						  STR("application/octet-stream") };
	struct reg_request rq = {
		.http = {
			.method = "PUT",
			.headers = &type,
			.n_headers = 1,
			.open_body = open_blob,
			.body_size = s->d->size,
			.arg = s,
			.max_body = LIMIT_ERROR_TEXT,
		},
	};
	struct httpc_response r;

	rq.http.url =
		httpc_url_add(s->a, location, "digest", str_from(digest_text(&s->d->digest, s->a)));
	TRY(do_step(s, &s->t, &rq, &r));
	if (r.status / 100 != 2)
		return err_wrap(refused(s, &r), "failed commit on ref \"%s\"",
				reg_ref_key(s->a, s->d));
	return NULL;
}

static void step_init(struct step *s, struct push *p, struct ctx *ctx, struct arena *a,
		      const struct oci_descriptor *d, struct push_failure *why)
{
	*why = (struct push_failure) { 0 };
	*s = (struct step) { .p = p, .ctx = ctx, .a = a, .d = d, .why = why };
	reg_target_init(&s->t, p->r, a, p->ep, p->auth, p->ref->path, true, STR_NONE);
}

struct err *push_blob(struct push *p, struct ctx *ctx, struct arena *a,
		      const struct oci_descriptor *d, struct push_failure *why)
{
	struct str digest = str_from(digest_text(&d->digest, a)), location;
	struct oci_descriptor sized = *d;
	struct content_info info;
	struct httpc_response r;
	struct step s;

	step_init(&s, p, ctx, a, d, why);
	TRY(exists(&s, reg_url(&s.t, a, "blobs/", digest), false, &r));
	if (r.status / 100 == 2) {
		push_report(p, d, d->size);
		return NULL;
	}
	if (r.status != 404)
		return refused(&s, &r);
	TRY(start(&s, &location));
	if (!location.len) {
		push_report(p, d, d->size);
		return NULL;
	}
	/* Only now it has to be here. */
	TRY(push_need(p, ctx, d));
	TRY(content_info(p->store, ctx, a, &d->digest, &info));
	sized.size = (int64_t)info.size;
	s.d = &sized;
	return upload(&s, location);
}

/* ---- manifests ---- */

struct err *push_manifest(struct push *p, struct ctx *ctx, struct arena *a,
			  const struct oci_descriptor *d, bool root, struct push_failure *why)
{
	SCOPED_BUF(body, LIMIT_MANIFEST);
	struct httpc_header type = { STR("Content-Type"), d->media_type };
	struct str digest = str_from(digest_text(&d->digest, a));
	struct str object = root && p->tag.len ? p->tag : digest;
	struct reg_request rq = {
		.http = { .method = "PUT",
			  .headers = &type,
			  .n_headers = 1,
			  .max_body = LIMIT_ERROR_TEXT },
		.json = true,
	};
	struct httpc_response r;
	struct step s;

	step_init(&s, p, ctx, a, d, why);
	TRY(exists(&s, reg_url(&s.t, a, "manifests/", object), true, &r));
	if (r.status / 100 == 2 && str_eq(httpc_header_get(&r, "Docker-Content-Digest"), digest)) {
		push_report(p, d, d->size);
		return NULL;
	}
	if (r.status != 404 && r.status / 100 != 2)
		return refused(&s, &r);
	TRY(content_read_blob(p->store, ctx, &d->digest, LIMIT_MANIFEST, &body));
	rq.http.body = buf_str(&body);
	rq.http.url = reg_url(&s.t, a, "manifests/", object);
	TRY(do_step(&s, &s.t, &rq, &r));
	if (r.status / 100 != 2)
		return err_wrap(refused(&s, &r), "failed commit on ref \"%s\"", reg_ref_key(a, d));
	push_report(p, d, d->size);
	return NULL;
}
