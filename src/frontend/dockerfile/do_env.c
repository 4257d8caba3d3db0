/* ENV, LABEL, ARG. */
#include "frontend/dockerfile/plan.h"

#include "base/buf.h"

static void add_pair(struct buf *text, struct str key, struct str value)
{
	buf_add_char(text, ' ');
	buf_add_str(text, key);
	buf_add_char(text, '=');
	buf_add_str(text, value);
}

static void check_legacy(struct doing *d, const struct pair *v)
{
	const char *name = text_c(&d->p->a, d->in->name);

	if (v->legacy)
		lint_run(&d->lint, LINT_LEGACY_KEY_VALUE_FORMAT, d->in->loc, name, name);
}

struct err *do_env(struct doing *d)
{
	struct arena *a = &d->p->a;
	SCOPED_BUF(text, SIZE_MAX);

	buf_add_cstr(&text, "ENV");
	for (size_t i = 0; i < d->in->n_pairs; i++) {
		const struct pair *v = &d->in->pairs[i];

		check_legacy(d, v);
		check_secret(d, "ENV", v->key);
		add_pair(&text, v->key, v->value);
		env_set(a, &d->s->state.env, v->key, v->value);
		image_set_env(a, &d->s->image, v->key, v->value);
	}
	stage_history(d->p, d->s, str_dup(a, buf_str(&text)), false);
	return NULL;
}

struct err *do_label(struct doing *d)
{
	SCOPED_BUF(text, SIZE_MAX);

	buf_add_cstr(&text, "LABEL");
	for (size_t i = 0; i < d->in->n_pairs; i++) {
		const struct pair *v = &d->in->pairs[i];

		check_legacy(d, v);
		image_set_label(&d->p->a, &d->s->image, v->key, v->value);
		add_pair(&text, v->key, v->value);
	}
	stage_history(d->p, d->s, str_dup(&d->p->a, buf_str(&text)), false);
	return NULL;
}

/* A value given for the build, else the default, else what the name has before the first FROM. */
static struct err *arg_value(struct doing *d, struct pair *v, bool *ret_inherited)
{
	*ret_inherited = false;
	if (env_get(&d->p->build_args, v->key, &v->value)) {
		v->has_value = true;
		return NULL;
	}
	if (v->has_value)
		return expand(d, v->value, &v->value);
	*ret_inherited = v->has_value = env_get(&d->p->globals, v->key, &v->value);
	return NULL;
}

/* These steer the scan of the image; steps do not see them. */
static bool is_scan_arg(struct str key)
{
	return str_eq(key, STR("BUILDKIT_SBOM_SCAN_CONTEXT")) ||
	       str_eq(key, STR("BUILDKIT_SBOM_SCAN_STAGE"));
}

struct err *do_arg(struct doing *d)
{
	struct stage *s = d->s;
	struct arena *a = &d->p->a;
	SCOPED_BUF(text, SIZE_MAX);

	buf_add_cstr(&text, "ARG");
	for (size_t i = 0; i < d->in->n_pairs; i++) {
		struct pair v = d->in->pairs[i];
		struct arg_info info = { .name = v.key, .doc = v.doc, .loc = d->in->loc };
		bool inherited;

		check_secret(d, "ARG", v.key);
		TRY(arg_value(d, &v, &inherited));
		buf_add_char(&text, ' ');
		buf_add_str(&text, v.key);
		if (v.has_value) {
			if (!is_scan_arg(v.key))
				env_set(a, &s->state.env, v.key, v.value);
			info.value = v.value;
			buf_add_char(&text, '=');
			buf_add_str(&text, v.value);
		}
		if (!inherited)
			outline_set_arg(a, &s->outline, &info);
		strs_add_new(a, &s->outline.used, v.key);
		ARENA_PUSH(a, s->args, s->n_args, s->cap_args, v);
	}
	stage_history(d->p, s, str_dup(a, buf_str(&text)), false);
	return NULL;
}
