#include "exporter/annotations.h"

#include "base/mem.h"

static struct err *parse_type(struct str s, enum annotation_type *ret)
{
	static const char *const names[] = { "manifest", "index", "manifest-descriptor",
					     "index-descriptor" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (str_eq_cstr(s, names[i])) {
			*ret = (enum annotation_type)i;
			return NULL;
		}
	}
	return err_new(ERR_UNKNOWN, "unrecognized annotation type %.*s", STR_ARG(s));
}

struct err *annotation_parse(struct arena *a, struct str key, struct str value,
			     struct annotation *ret, bool *ret_is)
{
	struct annotation an = { .type = ANNOTATION_MANIFEST, .value = value };
	struct str head, rest = str_trim_prefix(key, STR("annotation"));
	size_t dot = 0;
	bool in_brackets = false;

	*ret_is = false;
	if (rest.len == key.len || !rest.len ||
	    (rest.ptr[0] != '.' && rest.ptr[0] != '-' && rest.ptr[0] != '['))
		return NULL;
	for (; dot < rest.len && (in_brackets || rest.ptr[dot] != '.'); dot++) {
		if (rest.ptr[dot] == '[')
			in_brackets = true;
		else if (rest.ptr[dot] == ']')
			in_brackets = false;
	}
	if (dot + 1 >= rest.len)
		return NULL;
	head = str_sub(rest, 0, dot);
	an.key = str_sub(rest, dot + 1, rest.len);
	if (str_has_suffix(head, STR("]"))) {
		ptrdiff_t open = str_find(head, '[');
		struct platform p;

		TRY(platform_parse(a, str_sub(head, (size_t)open + 1, head.len - 1), &p));
		an.platform_id = str_from(platform_format(a, platform_normalize(p)));
		head = str_sub(head, 0, (size_t)open);
	}
	if (head.len)
		TRY(parse_type(str_trim_prefix(head, STR("-")), &an.type));
	*ret = an;
	*ret_is = true;
	return NULL;
}

static struct err *add(struct arena *a, struct annotations *out, const struct exporter_kv *kv,
		       size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool is;

		TRY(annotation_parse(a, kv[i].key, kv[i].value, &out->items[out->n], &is));
		out->n += is;
	}
	return NULL;
}

struct err *annotations_collect(struct arena *a, const struct exporter_kv *attrs, size_t n_attrs,
				const struct exporter_kv *meta, size_t n_meta,
				struct annotations *ret)
{
	struct annotations out = { ARENA_NEW_N(a, struct annotation, n_attrs + n_meta), 0 };

	TRY(add(a, &out, attrs, n_attrs));
	TRY(add(a, &out, meta, n_meta));
	*ret = out;
	return NULL;
}

static int by_key(const void *a, const void *b)
{
	return str_cmp(((const struct oci_kv *)a)->key, ((const struct oci_kv *)b)->key);
}

void annotations_select(struct arena *a, const struct annotations *all, enum annotation_type type,
			struct str platform_id, struct oci_kv **ret, size_t *ret_n)
{
	struct oci_kv *out = ARENA_NEW_N(a, struct oci_kv, all->n);
	size_t n = 0;

	for (size_t i = 0; i < all->n; i++) {
		const struct annotation *an = &all->items[i];
		size_t k = 0;

		if (an->type != type ||
		    (an->platform_id.len && !str_eq(an->platform_id, platform_id)))
			continue;
		while (k < n && !str_eq(out[k].key, an->key))
			k++;
		out[k] = (struct oci_kv) { an->key, an->value };
		n = MAX(n, k + 1);
	}
	if (n)
		qsort(out, n, sizeof(*out), by_key);
	*ret = out;
	*ret_n = n;
}
