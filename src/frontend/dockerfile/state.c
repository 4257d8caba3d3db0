#include "frontend/dockerfile/state.h"

#include "base/path.h"

struct fs_state state_new(struct llb_out out)
{
	return (struct fs_state) { .out = out, .dir = STR("/"), .user = STR("") };
}

void state_set_platform(struct fs_state *st, const struct platform *p)
{
	st->has_platform = true;
	st->platform = platform_normalize(*p);
}

void state_use_env(struct arena *a, struct fs_state *st, const struct strs *env)
{
	for (size_t i = 0; i < env->len; i++) {
		struct str key, value;

		if (!str_cut(env->items[i], '=', &key, &value))
			value = STR("");
		env_set(a, &st->env, key, value);
	}
}

void state_use_image(struct arena *a, struct fs_state *st, const struct image *img)
{
	state_use_env(a, st, &img->env);
	st->dir = path_is_abs(img->working_dir) ? img->working_dir
						: path_join(a, st->dir, img->working_dir);
	if (img->platform.arch.len && img->platform.os.len)
		state_set_platform(st, &img->platform);
}

struct llb_node *image_source(struct arena *a, struct str ref, const struct platform *p)
{
	struct llb_node *n =
		llb_source(a, str_from(arena_printf(a, "docker-image://%.*s", STR_ARG(ref))));

	llb_cap(a, n, "source.image");
	if (p)
		llb_platform(a, n, p);
	return n;
}

struct llb_node *http_source(struct arena *a, struct str url, struct str filename, struct str name)
{
	struct llb_node *n = llb_source(a, url);

	llb_attr(a, n, "http.filename", filename);
	llb_cap(a, n, "source.http");
	if (name.len)
		llb_name(a, n, name);
	return n;
}
