#include "exporter/imageconfig.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/vec.h"

#define COMMENT "buildkit.exporter.image.v0"

struct history {
	int64_t created_ns; /* 0: none */
	bool has_created;
	struct str created_by, author, comment;
	bool empty_layer;
};

typedef VEC(struct history) history_vec;

/* ---- raw members of an object ---- */

struct member {
	struct str key; /* decoded */
	struct str raw; /* the value as it stands */
};
typedef VEC(struct member) member_vec;

/* End of the JSON value at s (already known to be well-formed). */
static size_t value_end(struct str s)
{
	size_t i = 0;
	int depth = 0;
	bool in_string = false;

	for (; i < s.len; i++) {
		char c = s.ptr[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
			if (!in_string && depth == 0)
				return i + 1;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			depth++;
		} else if (c == '}' || c == ']') {
			if (depth == 0)
				return i;
			if (--depth == 0)
				return i + 1;
		} else if (c == ',' && depth == 0) {
			return i;
		}
	}
	return i;
}

static struct str skip(struct str s, char c)
{
	s = str_trim(s);
	return s.len && s.ptr[0] == c ? str_trim(str_sub(s, 1, s.len)) : s;
}

/* Cuts a well-formed object into its members without touching the values. */
static struct err *members_of(struct arena *a, struct str json, member_vec *out)
{
	struct str s = skip(json, '{');

	while (s.len && s.ptr[0] == '"') {
		size_t end = value_end(s);
		SCOPED_JSON(key);
		struct member m;

		TRY(json_read(str_make(arena_printf(a, "[%.*s]", (int)end, s.ptr), end + 2),
			      "image config", &key));
		m.key = str_dup(a, str_make(json_string_value(json_array_get(key, 0)),
					    json_string_length(json_array_get(key, 0))));
		s = skip(str_sub(s, end, s.len), ':');
		end = value_end(s);
		m.raw = str_trim(str_sub(s, 0, end));
		vec_push(out, m);
		s = skip(str_sub(s, end, s.len), ',');
	}
	return NULL;
}

static int by_key(const void *a, const void *b)
{
	return str_cmp(((const struct member *)a)->key, ((const struct member *)b)->key);
}

/* ---- history ---- */

static void read_history(struct arena *a, const json_t *config, history_vec *out)
{
	json_t *list = json_object_get(config, "history"), *it;
	size_t i;

	json_array_foreach(list, i, it)
	{
		struct history h = {
			.created_by = str_dup(a, json_get_str(it, "created_by")),
			.author = str_dup(a, json_get_str(it, "author")),
			.comment = str_dup(a, json_get_str(it, "comment")),
			.empty_layer = json_get_bool(it, "empty_layer", false),
		};

		h.has_created = clock_parse_rfc3339(json_get_str(it, "created"), &h.created_ns);
		vec_push(out, h);
	}
}

/* As many layer entries as there are layers: too many become empty ones, missing ones are
 * made from what the records say. */
static void match_layers(history_vec *v, const struct imageconfig_layer *layers, size_t n)
{
	size_t seen = 0;

	vec_each (v, h) {
		if (!h->empty_layer && seen >= n)
			h->empty_layer = true;
		seen += !h->empty_layer;
	}
	for (; seen < n; seen++)
		vec_push(v, ((struct history) { .created_ns = layers[seen].created_ns,
						.has_created = layers[seen].created_ns != 0,
						.created_by = layers[seen].description,
						.comment = STR(COMMENT) }));
	seen = 0;
	vec_each (v, h) {
		if (h->empty_layer)
			continue;
		if (!h->has_created && layers[seen].created_ns) {
			h->has_created = true;
			h->created_ns = layers[seen].created_ns;
		}
		seen++;
	}
}

/* Entries without a time get that of the first layer this build made, or of the entry
 * before them. */
static void fill_times(history_vec *v)
{
	bool have = false, gap = false;
	int64_t created = 0;

	vec_each (v, h) {
		if (h->has_created) {
			created = h->created_ns;
			have = true;
			if (gap)
				break;
		} else {
			gap = true;
		}
	}
	gap = false;
	vec_each (v, h) {
		if (h->has_created) {
			if (gap)
				created = h->created_ns;
		} else {
			gap = true;
			h->has_created = have;
			h->created_ns = created;
		}
	}
}

static void put_history(struct json_out *j, struct arena *a, const history_vec *v)
{
	json_arr_begin(j);
	vec_each (v, h) {
		json_obj_begin(j);
		if (h->has_created)
			json_kstr(j, "created", str_from(clock_rfc3339(a, h->created_ns)));
		if (h->created_by.len)
			json_kstr(j, "created_by", h->created_by);
		if (h->author.len)
			json_kstr(j, "author", h->author);
		if (h->comment.len)
			json_kstr(j, "comment", h->comment);
		if (h->empty_layer)
			json_kbool(j, "empty_layer", true);
		json_obj_end(j);
	}
	json_arr_end(j);
}

static void put_rootfs(struct json_out *j, struct arena *a, const struct imageconfig_layer *layers,
		       size_t n)
{
	json_obj_begin(j);
	json_kstr(j, "type", STR("layers"));
	json_key(j, STR("diff_ids"));
	json_arr_begin(j);
	for (size_t i = 0; i < n; i++)
		json_str(j, str_from(digest_text(&layers[i].diff_id, a)));
	json_arr_end(j);
	json_obj_end(j);
}

/* ---- the whole ---- */

static struct str default_config(struct arena *a, struct platform p)
{
	struct buf b = BUF_INIT(64 * KIB);
	struct json_out j;
	struct str out;

	json_out_init(&j, &b, NULL);
	json_obj_begin(&j);
	json_kstr(&j, "architecture", p.arch);
	json_key(&j, STR("config"));
	json_obj_begin(&j);
	json_key(&j, STR("Env"));
	json_arr_begin(&j);
	json_str(&j, STR("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
	json_arr_end(&j);
	json_kstr(&j, "WorkingDir", STR("/"));
	json_obj_end(&j);
	json_kstr(&j, "os", p.os);
	if (p.variant.len)
		json_kstr(&j, "variant", p.variant);
	json_obj_end(&j);
	out = str_dup(a, buf_str(&b));
	buf_fini(&b);
	return out;
}

static struct err *check(const json_t *config)
{
	if (!json_is_object(config))
		return err_new(ERR_UNKNOWN, "invalid null image config for export");
	if (!json_get_str(config, "os").len)
		return err_new(ERR_UNKNOWN, "invalid image config for export: missing os");
	if (!json_get_str(config, "architecture").len)
		return err_new(ERR_UNKNOWN,
			       "invalid image config for export: missing architecture");
	return NULL;
}

static bool is_made_here(struct str key)
{
	return str_eq_cstr(key, "rootfs") || str_eq_cstr(key, "history") ||
	       str_eq_cstr(key, "created") || str_eq_cstr(key, "moby.buildkit.cache.v0");
}

/* Raw JSON of a piece that put() writes. */
#define RAW(a, max, j, put)                                                                        \
	({                                                                                         \
		struct buf b_ = BUF_INIT(max);                                                     \
		struct json_out j;                                                                 \
		struct str s_;                                                                     \
		json_out_init(&j, &b_, NULL);                                                      \
		put;                                                                               \
		s_ = str_dup((a), buf_str(&b_));                                                   \
		buf_fini(&b_);                                                                     \
		s_;                                                                                \
	})

struct err *imageconfig_patch(struct str config, struct str base_config, struct platform platform,
			      const struct imageconfig_layer *layers, size_t n, int64_t epoch_s,
			      struct str inline_cache, struct buf *out)
{
	SCOPED_ARENA(a);
	SCOPED_JSON(root);
	SCOPED_JSON(base);
	history_vec history = VEC_INIT;
	member_vec all = VEC_INIT, keep = VEC_INIT;
	size_t n_base = 0;
	int64_t created_ns = 0;
	bool has_created;
	struct json_out j;
	struct err *e;

	if (!config.len)
		config = default_config(&a, platform);
	TRYW(json_read(config, "image config", &root), "failed to parse image config for export");
	TRY(check(root));
	if (base_config.len) {
		TRYW(json_read(base_config, "base image config", &base),
		     "failed to parse base image config for export");
		n_base = json_array_size(json_object_get(base, "history"));
	}
	e = members_of(&a, config, &all);
	if (e) {
		vec_fini(&all);
		return e;
	}
	read_history(&a, root, &history);
	match_layers(&history, layers, n);
	fill_times(&history);
	if (epoch_s >= 0) {
		size_t i = 0;

		vec_each (&history, h) {
			if (i++ >= n_base && h->has_created)
				h->created_ns = MIN(h->created_ns, epoch_s * NSEC_PER_SEC);
		}
	}
	has_created = clock_parse_rfc3339(json_get_str(root, "created"), &created_ns);
	if (!has_created && history.len && history.items[history.len - 1].has_created) {
		created_ns = history.items[history.len - 1].created_ns;
		has_created = true;
	}
	if (epoch_s >= 0) {
		created_ns = has_created ? MIN(created_ns, epoch_s * NSEC_PER_SEC)
					 : epoch_s * NSEC_PER_SEC;
		has_created = true;
	}
	vec_each (&all, m) {
		if (!is_made_here(m->key))
			vec_push(&keep, *m);
	}
	vec_push(&keep, ((struct member) { STR("rootfs"),
					   RAW(&a, 64 * MIB, r, put_rootfs(&r, &a, layers, n)) }));
	vec_push(&keep, ((struct member) { STR("history"),
					   RAW(&a, 64 * MIB, r, put_history(&r, &a, &history)) }));
	if (has_created)
		vec_push(&keep,
			 ((struct member) {
				 STR("created"),
				 RAW(&a, KIB, r,
				     json_str(&r, str_from(clock_rfc3339(&a, created_ns)))) }));
	if (inline_cache.len)
		vec_push(&keep,
			 ((struct member) { STR("moby.buildkit.cache.v0"),
					    RAW(&a, 64 * MIB, r, json_base64(&r, inline_cache)) }));
	qsort(keep.items, keep.len, sizeof(*keep.items), by_key);
	json_out_init(&j, out, NULL);
	json_obj_begin(&j);
	vec_each (&keep, m) {
		json_key(&j, m->key);
		json_raw(&j, m->raw);
	}
	json_obj_end(&j);
	vec_fini(&all);
	vec_fini(&keep);
	vec_fini(&history);
	return buf_check(out, "image config");
}

struct err *imageconfig_platform(struct str config, struct arena *a, struct platform *ret)
{
	SCOPED_JSON(root);

	TRYW(json_read(config, "image config", &root), "failed to parse image config for export");
	TRY(check(root));
	*ret = (struct platform) {
		.os = str_dup(a, json_get_str(root, "os")),
		.arch = str_dup(a, json_get_str(root, "architecture")),
		.variant = str_dup(a, json_get_str(root, "variant")),
		.os_version = str_dup(a, json_get_str(root, "os.version")),
	};
	return NULL;
}
