#include "source/http.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/vec.h"
#include "codec/io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* Of the file that a record holds. */
#define META "http.meta"
#define MAX_SUFFIX (4 * 1024)
#define MAX_HEADERS 4

struct http_source {
	struct source base;
	struct cache *cache;
	struct session_manager *sessions;
	struct httpc *client;
	char *tmp_dir;
};

struct http_instance {
	struct source_instance base;
	struct http_source *src;
	struct arena arena;
	struct str url, filename, auth_secret;
	struct digest checksum; /* asked for; may be unset */
	uint32_t perm;
	int64_t uid, gid;
	struct httpc_header headers[MAX_HEADERS]; /* accept, user-agent */
	size_t n_headers;
	/* Once it is known. */
	struct cache_ref *ref;
	struct digest got;
	struct str got_name, last_modified;
};

/* ---- identifying ---- */

static struct err *parse_id(const struct source_request *r, const char *key, int64_t *ret)
{
	struct str v = source_attr_get(r, key);

	if (v.len && (!str_to_i64(v, ret) || *ret < 0 || *ret > INT32_MAX))
		return err_new(ERR_INVALID_ARGUMENT, "invalid value for %s: %.*s", key, STR_ARG(v));
	return NULL;
}

/* As strconv.ParseInt(s, 0, 32): 0644, 0o644, 0x1a4, 420. */
static struct err *parse_perm(struct str v, uint32_t *ret)
{
	SCOPED_ARENA(a);
	char *text = str_cstr(&a, v), *end;
	unsigned long n;

	*ret = 0600;
	if (!v.len)
		return NULL;
	if (str_has_prefix(v, STR("0o")) || str_has_prefix(v, STR("0O")))
		n = strtoul(text + 2, &end, 8);
	else
		n = strtoul(text, &end, 0);
	if (*end || end == text || n > 07777)
		return err_new(ERR_INVALID_ARGUMENT, "invalid http.perm: %.*s", STR_ARG(v));
	*ret = (uint32_t)n;
	return NULL;
}

static struct err *fill(struct http_instance *i, const struct source_request *r)
{
	struct str sum = source_attr_get(r, "http.checksum");

	i->url = str_dup(&i->arena, r->identifier);
	i->filename = str_dup(&i->arena, source_attr_get(r, "http.filename"));
	i->auth_secret = str_dup(&i->arena, source_attr_get(r, "http.authheadersecret"));
	i->uid = i->gid = 0;
	TRY(parse_id(r, "http.uid", &i->uid));
	TRY(parse_id(r, "http.gid", &i->gid));
	TRY(parse_perm(source_attr_get(r, "http.perm"), &i->perm));
	if (sum.len)
		TRY(digest_parse(sum, &i->checksum));
	if (source_attr_get(r, "http.sig.pubkey").len ||
	    source_attr_get(r, "http.sig.signature").len)
		return err_new(ERR_UNIMPLEMENTED, "http signature checks are not supported");
	for (size_t k = 0; k < r->n_attrs; k++) {
		struct str name = str_trim_prefix(r->attrs[k].key, STR("http.header."));

		if (name.len == r->attrs[k].key.len || (!str_eq_nocase(name, STR("accept")) &&
							!str_eq_nocase(name, STR("user-agent"))))
			continue;
		if (i->n_headers < MAX_HEADERS)
			i->headers[i->n_headers++] =
				(struct httpc_header) { str_dup(&i->arena, name),
							str_dup(&i->arena, r->attrs[k].value) };
	}
	return NULL;
}

static void instance_free(struct source_instance *si)
{
	struct http_instance *i = container_of(si, struct http_instance, base);

	cache_ref_release(i->ref);
	arena_fini(&i->arena);
	free(i);
}

/* ---- records of earlier downloads ---- */

struct known {
	struct str id, etag, name, last_modified;
	struct digest digest;
};

static char *index_of(struct http_instance *i, struct arena *a)
{
	struct digest d;
	char *text =
		arena_printf(a, "%.*s|%.*s|%o|%lld|%lld", STR_ARG(i->url), STR_ARG(i->filename),
			     i->perm, (long long)i->uid, (long long)i->gid);

	d = digest_sha256(str_from(text));
	return arena_printf(a, "http:%s", digest_hex(&d, a));
}

static struct err *find_known(struct http_instance *i, struct arena *a, struct known **ret,
			      size_t *ret_n)
{
	struct cache *c = i->src->cache;
	struct str *ids;
	size_t n, k = 0;

	TRY(cache_meta_search(c, str_from(index_of(i, a)), a, &ids, &n));
	*ret = ARENA_NEW_N(a, struct known, n);
	for (size_t x = 0; x < n; x++) {
		SCOPED_JSON(j);
		struct str text;
		bool found;
		struct err *e = cache_meta_get(c, ids[x], META, a, &text, &found);

		if (!e && found)
			e = json_read(text, META, &j);
		if (!e && j) {
			struct known *w = &(*ret)[k];

			w->id = ids[x];
			w->etag = str_dup(a, json_get_str(j, "etag"));
			w->name = str_dup(a, json_get_str(j, "name"));
			w->last_modified = str_dup(a, json_get_str(j, "modified"));
			e = digest_parse(json_get_str(j, "digest"), &w->digest);
			k += !e;
		}
		err_free(e);
	}
	*ret_n = k;
	return NULL;
}

static bool use_known(struct http_instance *i, struct ctx *ctx, const struct known *w)
{
	struct err *e = cache_get(i->src->cache, ctx, w->id, &i->ref);

	err_free(e);
	if (e)
		return false;
	i->got = w->digest;
	i->got_name = str_dup(&i->arena, w->name);
	i->last_modified = str_dup(&i->arena, w->last_modified);
	return true;
}

static struct err *remember(struct http_instance *i, struct str etag)
{
	SCOPED_ARENA(a);
	SCOPED_BUF(b, MIB);
	struct json_out j;

	json_out_init(&j, &b, NULL);
	json_obj_begin(&j);
	json_kstr(&j, "digest", str_from(digest_text(&i->got, &a)));
	json_kstr(&j, "etag", etag);
	json_kstr(&j, "name", i->got_name);
	json_kstr(&j, "modified", i->last_modified);
	json_obj_end(&j);
	TRY(buf_check(&b, "http metadata"));
	return cache_meta_set(i->src->cache, str_from(cache_ref_id(i->ref)), META, buf_str(&b),
			      str_from(index_of(i, &a)));
}

/* ---- downloading ---- */

struct download {
	struct http_instance *i;
	const struct source_env *env;
	struct cache_mut *mut;
	struct localmount *at;
	int fd;
	struct hasher *hasher;
	uint64_t size, total;
	bool not_modified;
};

/* In any of HTTP's forms. */
static int64_t parse_http_date(struct str s)
{
	int64_t ns;

	return httpc_date(s, &ns) ? ns : 0;
}

static struct str http_date(struct arena *a, int64_t wall_ns)
{
	time_t t = (time_t)(wall_ns / NSEC_PER_SEC);
	char text[64];
	struct tm tm;

	gmtime_r(&t, &tm);
	return str_dup(
		a, str_make(text, strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm)));
}

static struct str url_name(struct str url)
{
	ptrdiff_t i = str_find_str(url, STR("://")), q;

	url = str_sub(url, i < 0 ? 0 : (size_t)i + 3, url.len);
	q = str_find(url, '?');
	url = str_sub(url, 0, q < 0 ? url.len : (size_t)q);
	i = str_rfind(url, '/');
	return i < 0 ? STR_NONE : str_sub(url, (size_t)i + 1, url.len);
}

static struct err *create_file(struct download *d, struct str name, int64_t total)
{
	struct http_instance *i = d->i;
	SCOPED_ARENA(a);
	struct cache_opts o = { .description = str_from(
					arena_printf(&a, "http url %.*s", STR_ARG(i->url))) };
	struct mounts *m;

	i->got_name = name;
	d->total = total > 0 ? (uint64_t)total : 0;
	TRY(cache_new(i->src->cache, d->env->ctx, NULL, &o, &d->mut));
	TRY(cache_mut_upper(d->mut, &a, &m));
	TRY(localmount_open(m, i->src->tmp_dir, &d->at));
	d->fd = openat(localmount_dirfd(d->at), str_cstr(&a, name),
		       O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (d->fd < 0)
		return err_errno(errno, "create %.*s", STR_ARG(name));
	d->hasher = hasher_new(digest_is_set(&i->checksum) ? i->checksum.algo : DIGEST_SHA256);
	return NULL;
}

static struct err *on_head(void *arg, const struct httpc_response *h)
{
	struct download *d = arg;
	struct http_instance *i = d->i;
	struct str name = i->filename, length;
	int64_t total = 0;

	if (h->status == 304) {
		d->not_modified = true;
		return NULL;
	}
	if (h->status < 200 || h->status >= 400)
		return err_new(ERR_UNKNOWN, "invalid response status %d", h->status);
	if (!name.len)
		name = http_disposition_name(&i->arena, httpc_header_get(h, "Content-Disposition"));
	if (!name.len)
		name = url_name(i->url);
	i->last_modified = str_dup(&i->arena, httpc_header_get(h, "Last-Modified"));
	length = httpc_header_get(h, "Content-Length");
	(void)str_to_i64(length, &total);
	return create_file(d, http_safe_name(&i->arena, name), total);
}

static struct err *on_body(void *arg, const void *p, size_t len)
{
	struct download *d = arg;
	const char *at = p;

	hasher_add(d->hasher, p, len);
	d->size += len;
	source_status(d->env->progress, "downloading", "", (int64_t)d->size, (int64_t)d->total,
		      false);
	while (len) {
		ssize_t n = write(d->fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(errno, "write %.*s", STR_ARG(d->i->got_name));
		at += n;
		len -= (size_t)n;
	}
	return NULL;
}

/* Owner, mode and time, then the record. */
static struct err *finish(struct download *d, struct str etag)
{
	struct http_instance *i = d->i;
	SCOPED_ARENA(a);
	int64_t t = parse_http_date(i->last_modified);
	struct timespec ts[2] = { clock_to_timespec(t), clock_to_timespec(t) };

	i->got = hasher_sum(d->hasher);
	source_status(d->env->progress, "downloading", "", (int64_t)d->size, (int64_t)d->total,
		      true);
	if (digest_is_set(&i->checksum) && !digest_eq(&i->checksum, &i->got))
		return err_new(ERR_INVALID_ARGUMENT, "digest mismatch for %.*s: %s (expected: %s)",
			       STR_ARG(i->url), digest_text(&i->got, &a),
			       digest_text(&i->checksum, &a));
	if (fchown(d->fd, (uid_t)i->uid, (gid_t)i->gid) < 0 || fchmod(d->fd, i->perm) < 0 ||
	    futimens(d->fd, ts) < 0 || futimens(localmount_dirfd(d->at), ts) < 0)
		return err_errno(errno, "finish %.*s", STR_ARG(i->got_name));
	localmount_close(TAKE_PTR(d->at));
	TRY(cache_mut_commit(TAKE_PTR(d->mut), d->env->ctx, &i->ref));
	return remember(i, etag);
}

static void download_end(struct download *d)
{
	if (d->fd >= 0)
		(void)close(d->fd);
	localmount_close(d->at);
	cache_mut_release(d->mut);
	hasher_free(d->hasher);
}

static struct err *pull_upload(struct ctx *ctx, struct session *s, void *arg)
{
	struct download *d = arg;
	struct http_instance *i = d->i;
	CLEANUP(reader_closep) struct reader *r = NULL;
	CLEANUP_FREE char *chunk = mem_alloc(MIB);
	struct str rest = str_sub(i->url, (size_t)str_find_str(i->url, STR("://")) + 3, i->url.len);
	struct str host, path;

	(void)str_cut(rest, '/', &host, &path);
	TRY(session_upload_pull(s, ctx, str_make(path.ptr - 1, path.len + 1), host, &r));
	TRY(create_file(
		d, http_safe_name(&i->arena, i->filename.len ? i->filename : url_name(i->url)), 0));
	for (;;) {
		size_t n;

		TRY(reader_read(r, chunk, MIB, &n));
		if (!n)
			return NULL;
		TRY(on_body(d, chunk, n));
	}
}

static bool is_session_upload(const struct http_instance *i)
{
	return str_has_prefix(i->url, STR("http://buildkit-session/"));
}

static struct err *auth_header(struct http_instance *i, const struct source_env *env,
			       struct arena *a, struct httpc_header *ret, bool *ret_found)
{
	SCOPED_BUF(b, LIMIT_SECRET);
	struct err *e;

	*ret_found = false;
	if (!i->auth_secret.len || !env->sessions)
		return NULL;
	e = session_secret(i->src->sessions, env->ctx, env->sessions, i->auth_secret, &b);
	if (err_is(e, ERR_NOT_FOUND) || err_is(e, ERR_UNIMPLEMENTED)) {
		err_free(e);
		return NULL;
	}
	TRY(e);
	*ret = (struct httpc_header) { STR("Authorization"), str_dup(a, str_trim(buf_str(&b))) };
	*ret_found = true;
	return NULL;
}

static bool fits(const struct http_instance *i, const struct known *k, struct str etag)
{
	return (!etag.len || str_eq(etag, k->etag)) &&
	       (!digest_is_set(&i->checksum) || digest_eq(&k->digest, &i->checksum));
}

/* Asks for the head only: servers that don't know If-None-Match still say the ETag. gzip, because
 * with compression some have another one. Whatever fails, the real request says why. */
static bool is_unchanged(struct http_instance *i, const struct source_env *env,
			 const struct httpc_request *get, const struct known *known, size_t n)
{
	struct httpc_header h[MAX_HEADERS + 4];
	struct httpc_request rq = { .method = "HEAD",
				    .url = get->url,
				    .headers = h,
				    .n_headers = get->n_headers + 1,
				    .http2 = true };
	struct httpc_response resp;
	struct str etag;
	SCOPED_ARENA(a);
	struct err *e;

	memcpy(h, get->headers, get->n_headers * sizeof(*h));
	h[get->n_headers] = (struct httpc_header) { STR("Accept-Encoding"), STR("gzip") };
	e = httpc_do(i->src->client, env->ctx, &a, &rq, &resp);
	err_free(e);
	if (e || (resp.status != 200 && resp.status != 304))
		return false;
	etag = httpc_header_get(&resp, "ETag");
	/* Without one it is clear only which it is if there is one to choose from. */
	if (!etag.len && (resp.status != 304 || n != 1))
		return false;
	for (size_t k = 0; k < n; k++)
		if (fits(i, &known[k], etag) && use_known(i, env->ctx, &known[k]))
			return true;
	return false;
}

/* The file, from an earlier record if the server says that it is still the same. */
static struct err *get(struct http_instance *i, const struct source_env *env)
{
	CLEANUP(download_end) struct download d = { .i = i, .env = env, .fd = -1 };
	SCOPED_ARENA(a);
	struct httpc_header h[MAX_HEADERS + 3];
	struct httpc_response resp;
	struct httpc_request rq = { .url = i->url,
				    .headers = h,
				    .on_head = on_head,
				    .on_body = on_body,
				    .arg = &d,
				    .http2 = true };
	struct known *known = NULL;
	SCOPED_BUF(etags, 64 * KIB);
	size_t n_known = 0;
	bool found;

	if (i->ref)
		return NULL;
	if (is_session_upload(i)) {
		if (!env->sessions)
			return err_new(ERR_NOT_FOUND, "no active sessions");
		TRY(session_any(i->src->sessions, env->ctx, env->sessions, pull_upload, &d));
		return finish(&d, STR_NONE);
	}
	for (size_t k = 0; k < i->n_headers; k++)
		h[rq.n_headers++] = i->headers[k];
	TRY(auth_header(i, env, &a, &h[rq.n_headers], &found));
	rq.n_headers += found;
	TRY(find_known(i, &a, &known, &n_known));
	for (size_t k = 0; k < n_known; k++)
		if (known[k].etag.len &&
		    (!digest_is_set(&i->checksum) || digest_eq(&known[k].digest, &i->checksum)))
			buf_addf(&etags, "%s%.*s", etags.len ? ", " : "", STR_ARG(known[k].etag));
	if (etags.len && !etags.overflow)
		h[rq.n_headers++] = (struct httpc_header) { STR("If-None-Match"), buf_str(&etags) };
	if (etags.len && !etags.overflow && is_unchanged(i, env, &rq, known, n_known))
		return NULL;
	TRY(httpc_do(i->src->client, env->ctx, &a, &rq, &resp));
	if (d.not_modified) {
		struct str etag = httpc_header_get(&resp, "ETag");

		for (size_t k = 0; k < n_known; k++)
			if (fits(i, &known[k], etag) && use_known(i, env->ctx, &known[k]))
				return NULL;
		return err_new(ERR_UNKNOWN, "invalid response status 304");
	}
	if (d.fd < 0)
		return err_new(ERR_UNKNOWN, "invalid response status %d", resp.status);
	return finish(&d, httpc_header_get(&resp, "ETag"));
}

/* ---- the calls ---- */

static struct err *cache_key(struct source_instance *si, const struct source_env *env,
			     unsigned index, struct arena *a, struct source_key *ret)
{
	struct http_instance *i = container_of(si, struct http_instance, base);
	SCOPED_BUF(b, MIB);
	struct json_out j;
	struct digest d;

	(void)index;
	if (!digest_is_set(&i->checksum))
		TRY(get(i, env));
	else
		i->got = i->checksum;
	json_out_init(&j, &b, NULL);
	json_obj_begin(&j);
	json_kstr(&j, "Filename",
		  i->filename.len   ? i->filename
		  : i->got_name.len ? i->got_name
				    : http_safe_name(a, url_name(i->url)));
	json_kint(&j, "Perm", i->perm);
	json_kint(&j, "UID", i->uid);
	json_kint(&j, "GID", i->gid);
	json_kstr(&j, "Checksum", str_from(digest_text(&i->got, a)));
	if (parse_http_date(i->last_modified))
		json_kstr(&j, "LastModTime", http_date(a, parse_http_date(i->last_modified)));
	if (i->auth_secret.len)
		json_kstr(&j, "AuthHeaderSecret", i->auth_secret);
	if (i->n_headers)
		json_key(&j, STR("Header"));
	if (i->n_headers)
		json_arr_begin(&j);
	for (size_t k = 0; k < i->n_headers; k++) {
		json_obj_begin(&j);
		json_kstr(&j, "Name", i->headers[k].name);
		json_kstr(&j, "Value", i->headers[k].value);
		json_obj_end(&j);
	}
	if (i->n_headers)
		json_arr_end(&j);
	json_obj_end(&j);
	TRY(buf_check(&b, "http key"));
	d = digest_sha256(buf_str(&b));
	ret->key = str_from(digest_text(&d, a));
	ret->pin = str_from(digest_text(&i->got, a));
	ret->done = true;
	return NULL;
}

static struct err *snapshot(struct source_instance *si, const struct source_env *env,
			    struct cache_ref **ret)
{
	struct http_instance *i = container_of(si, struct http_instance, base);
	SCOPED_ARENA(a);

	if (!i->ref && digest_is_set(&i->checksum)) {
		struct known *known;
		size_t n;

		TRY(find_known(i, &a, &known, &n));
		for (size_t k = 0; k < n && !i->ref; k++)
			if (digest_eq(&known[k].digest, &i->checksum))
				(void)use_known(i, env->ctx, &known[k]);
	}
	TRY(get(i, env));
	*ret = cache_ref_clone(i->ref);
	return NULL;
}

/* Of the file and what follows it. */
static struct err *sum_with_suffix(struct http_instance *i, const struct source_env *env,
				   const struct source_meta_opts *o, struct digest *ret)
{
	CLEANUP(localmount_closep) struct localmount *at = NULL;
	CLEANUP(hasher_freep) struct hasher *h = hasher_new(o->checksum_algo);
	CLEANUP_FREE char *chunk = mem_alloc(MIB);
	CLEANUP_FD int fd = -1;
	SCOPED_ARENA(a);
	struct mounts *m;
	ssize_t n;

	TRY(cache_ref_mounts(i->ref, env->ctx, &a, &m));
	TRY(localmount_open(m, i->src->tmp_dir, &at));
	fd = openat(localmount_dirfd(at), str_cstr(&a, i->got_name), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(errno, "open %.*s", STR_ARG(i->got_name));
	while ((n = read(fd, chunk, MIB)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(errno, "read %.*s", STR_ARG(i->got_name));
		hasher_add(h, chunk, (size_t)n);
	}
	hasher_add_str(h, o->checksum_suffix);
	*ret = hasher_sum(h);
	return NULL;
}

static struct err *metadata(struct source_instance *si, const struct source_env *env,
			    const struct source_meta_opts *o, struct arena *a,
			    struct source_meta *ret)
{
	struct http_instance *i = container_of(si, struct http_instance, base);

	if (o->checksum_suffix.len > MAX_SUFFIX)
		return err_new(ERR_UNKNOWN, "http checksum request suffix exceeds max size %d",
			       MAX_SUFFIX);
	if (!digest_is_set(&i->checksum) || o->checksum_algo)
		TRY(get(i, env));
	else
		i->got = i->checksum;
	ret->digest = i->got;
	ret->filename = str_dup(a, i->filename.len   ? i->filename
				   : i->got_name.len ? i->got_name
						     : http_safe_name(a, url_name(i->url)));
	ret->last_modified_ns = parse_http_date(i->last_modified);
	return o->checksum_algo ? sum_with_suffix(i, env, o, &ret->suffixed) : NULL;
}

static const struct source_instance_ops instance_ops = {
	.cache_key = cache_key,
	.snapshot = snapshot,
	.metadata = metadata,
	.free = instance_free,
};

static struct err *identify(struct source *s, const struct source_request *r,
			    struct source_instance **ret)
{
	struct http_instance *i = NEW(struct http_instance);
	struct err *e;

	i->base.ops = &instance_ops;
	i->src = container_of(s, struct http_source, base);
	e = fill(i, r);
	if (e) {
		instance_free(&i->base);
		return e;
	}
	*ret = &i->base;
	return NULL;
}

static void source_free(struct source *s)
{
	struct http_source *h = container_of(s, struct http_source, base);

	free(h->tmp_dir);
	free(h);
}

static const struct source_ops http_ops = { .identify = identify, .free = source_free };

struct source *http_source_new(struct cache *c, struct session_manager *m, struct httpc *client,
			       const char *tmp_dir)
{
	struct http_source *s = NEW(struct http_source);

	s->base.ops = &http_ops;
	s->cache = c;
	s->sessions = m;
	s->client = client;
	s->tmp_dir = mem_strdup(tmp_dir);
	return &s->base;
}
