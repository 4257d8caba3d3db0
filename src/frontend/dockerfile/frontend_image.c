/* The image of a frontend. Named contexts are those of the Dockerfile frontend, which is why this
 * is here. */
#include "codec/imageref.h"
#include "frontend/dockerfile/named.h"

static void use_image(struct arena *a, const struct image *img, struct frontend_image *ret)
{
	ret->env = arena_dup(a, img->env.items, img->env.len * sizeof(struct str));
	ret->n_env = img->env.len;
	ret->entrypoint =
		arena_dup(a, img->entrypoint.items, img->entrypoint.len * sizeof(struct str));
	ret->n_entrypoint = img->entrypoint.len;
	ret->cwd = img->working_dir;
	ret->labels = ARENA_NEW_N(a, struct frontend_kv, img->n_labels);
	ret->n_labels = img->n_labels;
	for (size_t i = 0; i < img->n_labels; i++)
		ret->labels[i] = (struct frontend_kv) { img->labels[i].key, img->labels[i].value };
}

static struct err *load_named(struct df *df, struct ctx *ctx, const struct named_context *nc,
			      struct arena *a, struct frontend_image *ret)
{
	struct named_result r;

	TRY(named_load(df, ctx, a, nc, &r));
	if (r.has_image)
		use_image(a, &r.image, ret);
	return llb_marshal(a, r.state.out, df->opts.build_platform, &ret->def, NULL);
}

static struct err *load_image(struct df *df, struct ctx *ctx, struct str source, struct arena *a,
			      struct frontend_image *ret)
{
	struct image_meta meta;
	struct imageref ref;
	struct image img;
	struct llb_node *n;

	TRY(text_plain_err(imageref_parse(a, source, &ref)));
	ref = imageref_with_default_tag(ref);
	TRY(df_image_meta(df, ctx, a, str_from(imageref_format(a, &ref)), NULL, STR_NONE, NULL,
			  &meta));
	TRY(image_parse(a, meta.config, &img));
	use_image(a, &img, ret);
	ret->digest = meta.digest;
	TRY(text_plain_err(imageref_parse(a, meta.ref, &ref)));
	if (meta.digest.len)
		TRY(digest_parse(meta.digest, &ref.digest));
	n = image_source(a, str_from(imageref_format(a, &ref)), NULL);
	llb_attr(a, n, "image.recordtype", STR("frontend"));
	return llb_marshal(a, llb_out_of(n), df->opts.build_platform, &ret->def, NULL);
}

struct err *frontend_image_find(struct ctx *ctx, struct bridge *b, struct str source,
				struct arena *a, struct frontend_image *ret)
{
	CLEANUP(df_fini) struct df df;
	struct named_context nc;
	bool found;

	*ret = (struct frontend_image) { 0 };
	df_init(&df, b);
	TRY(opts_parse(&df.a, b, &df.opts));
	TRY(named_find(&df, a, source, NULL, &found, &nc));
	return found ? load_named(&df, ctx, &nc, a, ret) : load_image(&df, ctx, source, a, ret);
}
