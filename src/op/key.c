#include "base/path.h"
#include "cache/contenthash.h"
#include "op/op_impl.h"

#define KEY_JSON_MAX (64 * MIB)

void key_json_begin(struct key_json *k, const char *type)
{
	buf_init(&k->out, KEY_JSON_MAX);
	json_out_init(&k->j, &k->out, NULL);
	json_obj_begin(&k->j);
	json_kstr(&k->j, "Type", str_from(type));
}

struct digest key_json_end(struct key_json *k)
{
	struct digest d;

	json_obj_end(&k->j);
	d = digest_sha256(buf_str(&k->out));
	buf_fini(&k->out);
	return d;
}

void key_json_platform(struct key_json *k, const struct platform *p)
{
	json_kstr(&k->j, "OS", p->os);
	json_kstr(&k->j, "Arch", p->arch);
	if (p->variant.len)
		json_kstr(&k->j, "Variant", p->variant);
	if (p->os_version.len)
		json_kstr(&k->j, "OSVersion", p->os_version);
	if (p->n_os_features) {
		json_key(&k->j, STR("OSFeatures"));
		json_arr_begin(&k->j);
		for (size_t i = 0; i < p->n_os_features; i++)
			json_str(&k->j, p->os_features[i]);
		json_arr_end(&k->j);
	}
}

/* ---- lazy layers ---- */

struct unlazy {
	struct vprogress *progress;
	int64_t start;
};

static void report_unlazy(void *arg, const char *id, const char *action, int64_t current,
			  int64_t total, bool done)
{
	struct unlazy *u = arg;
	SCOPED_BUF(name, 512);

	buf_addf(&name, "%s%s%s", action, action[0] ? " " : "", id);
	progress_status(u->progress, &(struct progress_status) {
					     .id = buf_str(&name),
					     .name = str_from(action),
					     .started_ns = u->start,
					     .completed_ns = done ? clock_wall() : 0,
				     });
}

struct err *op_unlazy(const struct op_env *env, struct cache_ref *r)
{
	struct unlazy u = { env->progress, clock_wall() };
	struct cache_progress p = { report_unlazy, &u };

	return r ? cache_ref_unlazy(r, env->ctx, &p) : NULL;
}

/* ---- content ---- */

/* In the cache of the worker that has it, which may be another than the operation's. */
static struct err *checksum(const struct worker *w, const struct op_env *env, struct cache_ref *ref,
			    const struct content_select *s, struct digest *ret)
{
	struct err *e;
	SCOPED_ARENA(a);

	if (ref) {
		e = contenthash_checksum(w->cache, env->ctx, ref, s->path, &s->opts, ret);
	} else {
		struct str path = path_join(&a, STR("/"), s->path);

		*ret = digest_sha256(STR_NONE);
		e = str_eq(path, STR("/"))
			    ? NULL
			    : err_new(ERR_NOT_FOUND, "%.*s: no such file or directory",
				      STR_ARG(path));
	}
	return err_wrap(e, "failed to calculate checksum of ref %s::%s", w->id,
			ref ? cache_ref_id(ref) : "");
}

static bool is_plain(const struct content_select *s)
{
	return !s->opts.wildcard && !s->opts.n_include && !s->opts.n_exclude;
}

/* Does b, taken whole, cover a? */
static bool is_covered(const struct content_select *a, const struct content_select *b)
{
	struct str below = str_trim_suffix(b->path, STR("/"));

	if (!is_plain(a) || !is_plain(b) || a->opts.follow_links != b->opts.follow_links)
		return false;
	return a->path.len > below.len && a->path.ptr[below.len] == '/' &&
	       str_has_prefix(a->path, below) && !str_eq(a->path, b->path);
}

static int by_path(const void *a, const void *b)
{
	const struct content_select *x = a, *y = b;
	int order = str_cmp(x->path, y->path);

	if (order)
		return order;
	return (int)is_plain(y) - (int)is_plain(x) ?: x->opts.follow_links - y->opts.follow_links;
}

static bool is_twice(const struct content_select *s, const struct content_select *before)
{
	return is_plain(s) && is_plain(before) && str_eq(s->path, before->path) &&
	       s->opts.follow_links == before->opts.follow_links;
}

struct content_selects *content_selects_new(struct arena *a, struct content_select *list, size_t n)
{
	struct content_selects *out = ARENA_NEW(a, struct content_selects);
	struct content_select *kept = ARENA_NEW_N(a, struct content_select, n + 1);

	if (n)
		qsort(list, n, sizeof(*list), by_path);
	for (size_t i = 0; i < n; i++) {
		bool covered = out->n && is_twice(&list[i], &kept[out->n - 1]);

		for (size_t k = 0; k < n && !covered; k++)
			covered = is_covered(&list[i], &list[k]);
		if (!covered)
			kept[out->n++] = list[i];
	}
	out->list = kept;
	return out;
}

static struct err *hash_all(struct op *op, const struct op_env *env, void *arg,
			    struct result *input, struct digest *ret)
{
	const struct worker *w = input ? op_result_worker(input) : op_base_of(op)->worker;
	const struct content_selects *s = arg;
	struct cache_ref *ref = op_result_ref(input);
	SCOPED_BUF(joined, KEY_JSON_MAX);

	TRY(op_unlazy(env, ref));
	for (size_t i = 0; i < s->n; i++) {
		struct digest d;
		char text[DIGEST_TEXT_MAX];

		TRY(checksum(w, env, ref, &s->list[i], &d));
		if (i)
			buf_add_char(&joined, '\0');
		buf_add_cstr(&joined, digest_format(&d, text));
	}
	*ret = digest_sha256(buf_str(&joined));
	return NULL;
}

struct err *op_content_hash(struct op *op, const struct op_env *env, void *arg,
			    struct result *input, struct digest *ret)
{
	struct op_base *o = op_base_of(op);
	struct err *e = hash_all(op, env, arg, input, ret);
	struct op_failure *f;

	if (!e || !env->failure)
		return e;
	f = op_failure_new(o, &input, 1);
	for (size_t i = 0; i < o->vertex->n_inputs; i++)
		if (o->deps[i].arg == arg)
			f->content_input = (int64_t)i;
	*env->failure = &f->base;
	return e;
}
