/* containerd's content store as the worker's. Blobs are in the worker's lease from the moment they
 * are used; removing one takes it out of the lease, and containerd's collection does the rest. */
#include "containerd/internal.h"

#include "base/map.h"
#include "base/mem.h"
#include "codec/digest.h"
#include "content/content.h"
#include "session/remote_content.h"
#include "sys/fd.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

struct ctd_content {
	struct content base;
	struct ctd *ctd;
	struct remote_content link;
	struct content *wire;
	char *blobs; /* its directory of blobs, if that can be read; or NULL */
	struct lock lock;
	struct map held; /* digest texts that are known to be in the lease */
};

static struct ctd_content *of(struct content *c)
{
	return container_of(c, struct ctd_content, base);
}

/* ---- the wire ---- */

static struct err *link_unary(void *arg, struct ctx *ctx, const char *path, const void *request,
			      struct arena *a, const ProtobufCMessageDescriptor *reply,
			      void *ret_reply)
{
	return ctd_call(arg, ctx, path, request, a, reply, ret_reply, NULL);
}

/* A stream that is there is the caller's: it ends with the connection. */
static struct err *link_call(void *arg, struct ctx *ctx, const char *path, struct grpc_stream **ret)
{
	struct ctd *c = arg;
	struct ctd_conn *conn;
	struct grpc_md md[2];
	size_t n = ctd_md(c, md);
	struct err *e;

	TRY(ctd_connect(c, ctx, &conn));
	e = grpc_call(conn->client, ctx, path, md, n, ret);
	ctd_conn_unref(conn);
	return e;
}

/* ---- the lease ---- */

static bool is_held(struct ctd_content *cc, const char *digest)
{
	LOCKED(&cc->lock);
	return map_has(&cc->held, str_from(digest));
}

static void note_held(struct ctd_content *cc, const char *digest, bool yes)
{
	LOCKED(&cc->lock);
	if (yes)
		(void)map_put(&cc->held, str_from(digest), cc);
	else
		(void)map_del(&cc->held, str_from(digest));
}

static struct err *hold(struct ctd_content *cc, struct ctx *ctx, const struct digest *d)
{
	char text[DIGEST_TEXT_MAX];

	if (is_held(cc, digest_format(d, text)))
		return NULL;
	TRY(ctd_lease_add(cc->ctd, ctx, "content", text));
	note_held(cc, text, true);
	return NULL;
}

static struct err *info(struct content *c, struct ctx *ctx, struct arena *a, const struct digest *d,
			struct content_info *ret)
{
	struct ctd_content *cc = of(c);
	char text[DIGEST_TEXT_MAX];
	struct err *e = cc->wire->ops->info(cc->wire, ctx, a, d, ret);

	if (err_is(e, ERR_NOT_FOUND))
		note_held(cc, digest_format(d, text), false);
	return e ? e : hold(cc, ctx, d);
}

static struct err *label(struct content *c, struct ctx *ctx, const struct digest *d,
			 const struct content_label *labels, size_t n)
{
	return content_label(of(c)->wire, ctx, d, labels, n);
}

static struct err *remove_blob(struct content *c, struct ctx *ctx, const struct digest *d)
{
	struct ctd_content *cc = of(c);
	char text[DIGEST_TEXT_MAX];

	note_held(cc, digest_format(d, text), false);
	return ctd_lease_drop(cc->ctd, ctx, "content", text);
}

/* Those of the lease: others in the namespace are not ours. */
static struct err *each(struct content *c, struct ctx *ctx,
			struct err *(*fn)(void *arg, const struct content_info *i), void *arg)
{
	struct ctd_content *cc = of(c);
	Ctd__ListResourcesRequest q = CTD__LIST_RESOURCES_REQUEST__INIT;
	Ctd__ListResourcesResponse *r;
	SCOPED_ARENA(a);

	q.id = (char *)cc->ctd->lease;
	TRY(ctd_call(cc->ctd, ctx, CTD_SERVICE("leases.v1.Leases", "ListResources"), &q, &a,
		     &ctd__list_resources_response__descriptor, &r, NULL));
	for (size_t i = 0; i < r->n_resources; i++) {
		struct content_info ci;
		struct digest d;
		struct err *e;

		if (strcmp(r->resources[i]->type, "content") != 0)
			continue;
		TRY(digest_parse(str_from(r->resources[i]->id), &d));
		e = cc->wire->ops->info(cc->wire, ctx, &a, &d, &ci);
		if (err_is(e, ERR_NOT_FOUND)) {
			err_free(e);
			continue;
		}
		TRY(e);
		TRY(fn(arg, &ci));
	}
	return NULL;
}

/* containerd collects when it has seen many changes, or at the end of a lease that waits for it. */
static struct err *collect(struct content *c, struct ctx *ctx)
{
	return ctd_collect(of(c)->ctd, ctx);
}

/* ---- reading: the file itself where we see it ---- */

struct file_reader {
	struct content_reader base;
};

static struct err *file_read_at(struct content_reader *r, void *p, size_t len, uint64_t offset,
				size_t *ret_n)
{
	ssize_t n;

	do
		n = pread(r->fd, p, len, (off_t)offset);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_errno(errno, "read blob");
	*ret_n = (size_t)n;
	return NULL;
}

static void file_close(struct content_reader *r)
{
	(void)close(r->fd);
	free(container_of(r, struct file_reader, base));
}

static struct err *open_blob(struct content *c, struct ctx *ctx, const struct digest *d,
			     struct content_reader **ret)
{
	struct ctd_content *cc = of(c);
	char text[DIGEST_TEXT_MAX];
	struct content_info ci;
	struct file_reader *fr;
	const char *colon;
	struct stat st;
	SCOPED_ARENA(a);
	int fd = -1;

	/* That it is there, and ours. */
	TRY(info(c, ctx, &a, d, &ci));
	colon = strchr(digest_format(d, text), ':');
	if (cc->blobs && colon)
		fd = open(arena_printf(&a, "%s/%.*s/%s", cc->blobs, (int)(colon - text), text,
				       colon + 1),
			  O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && (fstat(fd, &st) < 0 || (uint64_t)st.st_size != ci.size)) {
		(void)close(fd);
		fd = -1;
	}
	if (fd < 0)
		return content_open(cc->wire, ctx, d, ret);
	fr = NEW(struct file_reader);
	fr->base = (struct content_reader) {
		.read_at = file_read_at, .close = file_close, .size = ci.size, .fd = fd
	};
	*ret = &fr->base;
	return NULL;
}

/* ---- writing: what it comes to is known here, too, for blobs that are there already ---- */

struct hashed_writer {
	struct content_writer base;
	struct ctd_content *cc;
	struct content_writer *wire;
	struct hasher *hasher; /* NULL for an ingest that goes on from an earlier one */
	struct ctx *ctx;
};

static struct err *hashed_write(struct writer *io, const void *p, size_t len)
{
	struct hashed_writer *w = container_of(io, struct hashed_writer, base.io);

	TRY(w->wire->io.write(&w->wire->io, p, len));
	if (w->hasher)
		hasher_add(w->hasher, p, len);
	w->base.offset = w->wire->offset;
	return NULL;
}

static struct err *hashed_commit(struct content_writer *base, uint64_t size,
				 const struct digest *expected, const struct content_label *labels,
				 size_t n, struct digest *ret)
{
	struct hashed_writer *w = container_of(base, struct hashed_writer, base);
	struct digest got = { 0 };
	char text[DIGEST_TEXT_MAX];
	struct err *e;

	if (w->hasher)
		got = hasher_sum(w->hasher);
	if (w->hasher && expected && digest_is_set(expected) && expected->algo == got.algo &&
	    !digest_eq(&got, expected)) {
		char a[DIGEST_TEXT_MAX], b[DIGEST_TEXT_MAX];

		return err_new(ERR_FAILED_PRECONDITION, "unexpected commit digest %s, expected %s",
			       digest_format(&got, a), digest_format(expected, b));
	}
	e = w->wire->commit(w->wire, size, expected, labels, n, ret);
	if (e && !err_is(e, ERR_ALREADY_EXISTS))
		return e;
	if (e) {
		struct err *held;

		if (expected && digest_is_set(expected))
			got = *expected;
		if (!digest_is_set(&got))
			return e;
		held = hold(w->cc, w->ctx, &got);
		if (held) {
			err_free(e);
			return held;
		}
		*ret = got;
		return e;
	}
	note_held(w->cc, digest_format(ret, text), true);
	return NULL;
}

static void hashed_discard(struct content_writer *base)
{
	struct hashed_writer *w = container_of(base, struct hashed_writer, base);

	w->wire->discard(w->wire);
}

static void hashed_close(struct writer *io)
{
	struct hashed_writer *w = container_of(io, struct hashed_writer, base.io);

	content_writer_close(w->wire);
	hasher_free(w->hasher);
	free(w);
}

static struct err *writer(struct content *c, struct ctx *ctx, struct str ref,
			  struct content_writer **ret)
{
	struct ctd_content *cc = of(c);
	struct content_writer *wire;
	struct hashed_writer *w;

	TRY(content_writer_open(cc->wire, ctx, ref, &wire));
	w = NEW(struct hashed_writer);
	w->base = (struct content_writer) {
		.io = { .write = hashed_write, .close = hashed_close },
		.offset = wire->offset,
		.commit = hashed_commit,
		.discard = hashed_discard,
	};
	w->cc = cc;
	w->wire = wire;
	w->ctx = ctx;
	if (!wire->offset)
		w->hasher = hasher_new(DIGEST_SHA256);
	*ret = &w->base;
	return NULL;
}

/* ---- opening ---- */

static void content_close(struct content *c)
{
	struct ctd_content *cc = of(c);

	if (cc->wire)
		content_free(cc->wire);
	map_fini(&cc->held, NULL);
	lock_fini(&cc->lock);
	free(cc->blobs);
	free(cc);
}

static const struct content_ops ops = {
	.info = info,
	.open = open_blob,
	.writer = writer,
	.label = label,
	.remove = remove_blob,
	.each = each,
	.collect = collect,
	.free = content_close,
};

/* Where containerd says that it keeps blobs, if it is on this machine. */
static struct err *find_blobs(struct ctd_content *cc, struct ctx *ctx)
{
	Ctd__PluginsRequest q = CTD__PLUGINS_REQUEST__INIT;
	Ctd__PluginsResponse *r;
	SCOPED_ARENA(a);
	char *filters[] = { (char *)"type==io.containerd.content.v1,id==content" };

	q.filters = filters;
	q.n_filters = 1;
	TRY(ctd_call(cc->ctd, ctx, CTD_SERVICE("introspection.v1.Introspection", "Plugins"), &q, &a,
		     &ctd__plugins_response__descriptor, &r, NULL));
	for (size_t i = 0; i < r->n_plugins; i++) {
		const char *root =
			PROTO_MAP_GET(r->plugins[i]->n_exports, r->plugins[i]->exports, "root");
		char *dir = root && root[0] == '/' ? mem_printf("%s/blobs", root) : NULL;

		if (dir && access(dir, R_OK | X_OK) == 0 && !cc->blobs)
			cc->blobs = dir;
		else
			free(dir);
	}
	return NULL;
}

struct err *ctd_content_open(struct ctd *c, struct ctx *ctx, struct content **ret)
{
	struct ctd_content *cc = NEW(struct ctd_content);
	struct err *e;

	cc->base.ops = &ops;
	cc->ctd = c;
	cc->link = (struct remote_content) { link_unary, link_call, c->ctx, c };
	cc->wire = remote_content_new(&cc->link);
	lock_init(&cc->lock, LOCK_CONTENT);
	e = find_blobs(cc, ctx);
	if (e) {
		content_close(&cc->base);
		return e;
	}
	c->content = &cc->base;
	*ret = &cc->base;
	return NULL;
}
