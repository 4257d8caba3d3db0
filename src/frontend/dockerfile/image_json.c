/* Image configurations from and to JSON. */
#include "frontend/dockerfile/image.h"

#include "base/json.h"
#include "base/limits.h"

#include <stdlib.h>

/* ---- reading ---- */

static struct str get(struct arena *a, const json_t *obj, const char *key)
{
	return str_dup(a, json_get_str(obj, key));
}

/* As Go prints a time again: no zeros at the end of the fraction, Z for no offset. */
static struct str get_time(struct arena *a, const json_t *obj, const char *key)
{
	struct str t = json_get_str(obj, key), zone;
	size_t end = 0;

	if (t.len < 20)
		return str_dup(a, t);
	end = 19;
	if (t.ptr[end] == '.') {
		do
			end++;
		while (end < t.len && t.ptr[end] >= '0' && t.ptr[end] <= '9');
	}
	zone = str_sub(t, end, t.len);
	if (str_eq(zone, STR("+00:00")) || str_eq(zone, STR("-00:00")))
		zone = STR("Z");
	while (end > 19 && t.ptr[end - 1] == '0')
		end--;
	if (t.ptr[end - 1] == '.')
		end--;
	return str_from(arena_printf(a, "%.*s%.*s", (int)end, t.ptr, STR_ARG(zone)));
}

static struct strs get_list(struct arena *a, const json_t *obj, const char *key)
{
	const json_t *list = json_object_get(obj, key);
	struct strs out = { 0 };

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *v = json_array_get(list, i);

		strs_add(a, &out,
			 str_dup(a, str_make(json_string_value(v), json_string_length(v))));
	}
	return out;
}

static struct strs get_set(struct arena *a, const json_t *obj, const char *key)
{
	json_t *map = json_object_get(obj, key), *v;
	struct strs out = { 0 };
	const char *k;

	json_object_foreach(map, k, v) strs_add(a, &out, str_from(arena_strdup(a, k)));
	strs_sort(&out);
	return out;
}

static void get_config(struct arena *a, const json_t *c, struct image *img)
{
	json_t *labels = json_object_get(c, "Labels"), *v;
	const json_t *health = json_object_get(c, "Healthcheck");
	const char *k;

	img->user = get(a, c, "User");
	img->working_dir = get(a, c, "WorkingDir");
	img->stop_signal = get(a, c, "StopSignal");
	img->exposed_ports = get_set(a, c, "ExposedPorts");
	img->volumes = get_set(a, c, "Volumes");
	img->env = get_list(a, c, "Env");
	img->entrypoint = get_list(a, c, "Entrypoint");
	img->cmd = get_list(a, c, "Cmd");
	img->on_build = get_list(a, c, "OnBuild");
	img->shell = get_list(a, c, "Shell");
	img->args_escaped = json_get_bool(c, "ArgsEscaped", false);
	json_object_foreach(labels, k, v)
		image_set_label(a, img, str_from(arena_strdup(a, k)),
				str_dup(a, str_make(json_string_value(v), json_string_length(v))));
	if (json_is_object(health)) {
		struct healthcheck *h = ARENA_NEW(a, struct healthcheck);

		h->test = get_list(a, health, "Test");
		h->interval = json_get_int(health, "Interval", 0);
		h->timeout = json_get_int(health, "Timeout", 0);
		h->start_period = json_get_int(health, "StartPeriod", 0);
		h->start_interval = json_get_int(health, "StartInterval", 0);
		h->retries = json_get_int(health, "Retries", 0);
		img->health = h;
	}
}

static void get_history(struct arena *a, const json_t *list, struct image *img)
{
	size_t n = json_array_size(list);

	img->history = ARENA_NEW_N(a, struct history, n);
	img->n_history = img->cap_history = n;
	for (size_t i = 0; i < n; i++) {
		const json_t *h = json_array_get(list, i);

		img->history[i] = (struct history) {
			.created = get_time(a, h, "created"),
			.created_by = get(a, h, "created_by"),
			.author = get(a, h, "author"),
			.comment = get(a, h, "comment"),
			.empty_layer = json_get_bool(h, "empty_layer", false),
		};
	}
}

struct err *image_parse(struct arena *a, struct str json, struct image *ret)
{
	SCOPED_JSON(j);
	struct image img = { 0 };
	const json_t *rootfs;
	struct strs features;

	if (json.len > LIMIT_IMAGE_CONFIG)
		return err_new(ERR_RESOURCE_EXHAUSTED, "image config is larger than %zu bytes",
			       LIMIT_IMAGE_CONFIG);
	TRY(text_plain_err(json_read(json, "image config", &j)));
	if (!json_is_object(j))
		return err_new(ERR_UNKNOWN, "image config is not an object");
	img.created = get_time(a, j, "created");
	img.author = get(a, j, "author");
	img.platform.arch = get(a, j, "architecture");
	img.platform.os = get(a, j, "os");
	img.platform.os_version = get(a, j, "os.version");
	img.platform.variant = get(a, j, "variant");
	features = get_list(a, j, "os.features");
	img.platform.os_features = features.items;
	img.platform.n_os_features = features.len;
	get_config(a, json_object_get(j, "config"), &img);
	rootfs = json_object_get(j, "rootfs");
	img.rootfs_type = get(a, rootfs, "type");
	img.has_diff_ids = json_is_array(json_object_get(rootfs, "diff_ids"));
	img.diff_ids = get_list(a, rootfs, "diff_ids");
	get_history(a, json_object_get(j, "history"), &img);
	*ret = img;
	return NULL;
}

/* ---- writing: members that are empty are left out, as `omitempty` does ---- */

static void put(struct json_out *j, struct str key, struct str value)
{
	if (!value.len)
		return;
	json_key(j, key);
	json_str(j, value);
}

static void put_list(struct json_out *j, struct str key, const struct strs *list)
{
	if (!list->len)
		return;
	json_key(j, key);
	json_arr_begin(j);
	for (size_t i = 0; i < list->len; i++)
		json_str(j, list->items[i]);
	json_arr_end(j);
}

static void put_set(struct json_out *j, struct str key, const struct strs *set)
{
	if (!set->len)
		return;
	json_key(j, key);
	json_obj_begin(j);
	for (size_t i = 0; i < set->len; i++) {
		json_key(j, set->items[i]);
		json_obj_begin(j);
		json_obj_end(j);
	}
	json_obj_end(j);
}

static void put_int(struct json_out *j, struct str key, int64_t v)
{
	if (!v)
		return;
	json_key(j, key);
	json_int(j, v);
}

static void put_true(struct json_out *j, struct str key, bool v)
{
	if (!v)
		return;
	json_key(j, key);
	json_bool(j, true);
}

static void put_health(struct json_out *j, const struct healthcheck *h)
{
	if (!h)
		return;
	json_key(j, STR("Healthcheck"));
	json_obj_begin(j);
	put_list(j, STR("Test"), &h->test);
	put_int(j, STR("Interval"), h->interval);
	put_int(j, STR("Timeout"), h->timeout);
	put_int(j, STR("StartPeriod"), h->start_period);
	put_int(j, STR("StartInterval"), h->start_interval);
	put_int(j, STR("Retries"), h->retries);
	json_obj_end(j);
}

static void put_config(struct json_out *j, const struct image *img)
{
	json_obj_begin(j);
	put(j, STR("User"), img->user);
	put_set(j, STR("ExposedPorts"), &img->exposed_ports);
	put_list(j, STR("Env"), &img->env);
	put_list(j, STR("Entrypoint"), &img->entrypoint);
	put_list(j, STR("Cmd"), &img->cmd);
	put_set(j, STR("Volumes"), &img->volumes);
	put(j, STR("WorkingDir"), img->working_dir);
	if (img->n_labels) {
		json_key(j, STR("Labels"));
		json_obj_begin(j);
		for (size_t i = 0; i < img->n_labels; i++) {
			json_key(j, img->labels[i].key);
			json_str(j, img->labels[i].value);
		}
		json_obj_end(j);
	}
	put(j, STR("StopSignal"), img->stop_signal);
	put_true(j, STR("ArgsEscaped"), img->args_escaped);
	put_health(j, img->health);
	put_list(j, STR("OnBuild"), &img->on_build);
	put_list(j, STR("Shell"), &img->shell);
	json_obj_end(j);
}

static void put_rootfs(struct json_out *j, const struct image *img)
{
	json_obj_begin(j);
	json_kstr(j, "type", img->rootfs_type);
	json_key(j, STR("diff_ids"));
	if (!img->has_diff_ids) {
		json_nil(j);
	} else {
		json_arr_begin(j);
		for (size_t i = 0; i < img->diff_ids.len; i++)
			json_str(j, img->diff_ids.items[i]);
		json_arr_end(j);
	}
	json_obj_end(j);
}

static void put_history(struct json_out *j, const struct image *img)
{
	if (!img->n_history)
		return;
	json_key(j, STR("history"));
	json_arr_begin(j);
	for (size_t i = 0; i < img->n_history; i++) {
		const struct history *h = &img->history[i];

		json_obj_begin(j);
		put(j, STR("created"), h->created);
		put(j, STR("created_by"), h->created_by);
		put(j, STR("author"), h->author);
		put(j, STR("comment"), h->comment);
		put_true(j, STR("empty_layer"), h->empty_layer);
		json_obj_end(j);
	}
	json_arr_end(j);
}

void image_print(const struct image *img, struct buf *out)
{
	struct strs features = { img->platform.os_features, img->platform.n_os_features, 0 };
	struct json_out j;

	json_out_init(&j, out, NULL);
	json_obj_begin(&j);
	put(&j, STR("created"), img->created);
	put(&j, STR("author"), img->author);
	json_kstr(&j, "architecture", img->platform.arch);
	json_kstr(&j, "os", img->platform.os);
	put(&j, STR("os.version"), img->platform.os_version);
	put_list(&j, STR("os.features"), &features);
	put(&j, STR("variant"), img->platform.variant);
	json_key(&j, STR("rootfs"));
	put_rootfs(&j, img);
	put_history(&j, img);
	json_key(&j, STR("config"));
	put_config(&j, img);
	json_obj_end(&j);
}
