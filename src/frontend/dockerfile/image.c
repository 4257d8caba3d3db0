#include "frontend/dockerfile/image.h"

#include "frontend/push.h"

const char *image_default_path(const struct platform *p)
{
	if (str_eq(p->os, STR("windows")))
		return "c:\\Windows\\System32;c:\\Windows;C:\\Windows\\System32\\"
		       "WindowsPowerShell\\v1.0";
	return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

struct image image_empty(struct arena *a, const struct platform *p)
{
	struct image img = {
		.platform = *p,
		.working_dir = STR("/"),
		.rootfs_type = STR("layers"),
	};

	if (!str_eq(p->os, STR("windows")))
		strs_add(a, &img.env, str_from(arena_printf(a, "PATH=%s", image_default_path(p))));
	return img;
}

struct image image_clone(struct arena *a, const struct image *img)
{
	struct image c = *img;

	c.exposed_ports = strs_clone(a, &img->exposed_ports);
	c.volumes = strs_clone(a, &img->volumes);
	c.env = strs_clone(a, &img->env);
	c.entrypoint = strs_clone(a, &img->entrypoint);
	c.cmd = strs_clone(a, &img->cmd);
	c.on_build = strs_clone(a, &img->on_build);
	c.shell = strs_clone(a, &img->shell);
	c.labels = arena_dup(a, img->labels, img->n_labels * sizeof(*img->labels));
	if (img->health)
		c.health = arena_dup(a, img->health, sizeof(*img->health));
	c.history = arena_dup(a, img->history, img->n_history * sizeof(*img->history));
	c.cap_history = img->n_history;
	return c;
}

void image_set_add(struct arena *a, struct strs *set, const struct strs *list)
{
	for (size_t i = 0; i < list->len; i++)
		strs_add(a, set, list->items[i]);
	strs_sort(set);
	strs_unique(set);
}

void image_set_label(struct arena *a, struct image *img, struct str key, struct str value)
{
	struct env_var *more;
	size_t i = 0;

	while (i < img->n_labels && str_cmp(img->labels[i].key, key) < 0)
		i++;
	if (i < img->n_labels && str_eq(img->labels[i].key, key)) {
		img->labels[i].value = value;
		return;
	}
	more = ARENA_NEW_N(a, struct env_var, img->n_labels + 1);
	if (i)
		memcpy(more, img->labels, i * sizeof(*more));
	if (i < img->n_labels)
		memcpy(more + i + 1, img->labels + i, (img->n_labels - i) * sizeof(*more));
	more[i] = (struct env_var) { key, value };
	img->labels = more;
	img->n_labels++;
}

/* Keeps the place of a variable that is there. */
void image_set_env(struct arena *a, struct image *img, struct str key, struct str value)
{
	struct env_var v = { key, value };
	struct str text = env_text(a, &v), k, rest;

	for (size_t i = 0; i < img->env.len; i++) {
		str_cut(img->env.items[i], '=', &k, &rest);
		if (str_eq(k, key)) {
			img->env.items[i] = text;
			return;
		}
	}
	strs_add(a, &img->env, text);
}

void image_add_history(struct arena *a, struct image *img, struct str created_by, bool empty_layer,
		       struct str created)
{
	ARENA_GROW(a, img->history, img->n_history, img->cap_history);
	img->history[img->n_history++] = (struct history) {
		.created = created,
		.created_by = created_by,
		.comment = STR("buildkit.dockerfile.v0"),
		.empty_layer = empty_layer,
	};
}
