#include "frontend/dockerfile/flags.h"

static struct err *unknown(struct arena *a, struct str name, const struct flag *flags, size_t n)
{
	struct strs names = { 0 };

	for (size_t i = 0; i < n; i++)
		strs_add(a, &names, str_from(flags[i].name));
	return text_suggest_err(a, err_new(ERR_UNKNOWN, "unknown flag: --%.*s", STR_ARG(name)),
				name, &names, true);
}

static struct err *set_bool(struct flag *f, struct str value, bool has_value)
{
	if (has_value && !value.len)
		return err_new(ERR_UNKNOWN, "missing a value on flag: --%s", f->name);
	if (!has_value || str_eq_nocase(value, STR("true")))
		f->on = true;
	else if (str_eq_nocase(value, STR("false")))
		f->on = false;
	else
		return err_new(ERR_UNKNOWN, "expecting boolean value for flag --%s, not: %.*s",
			       f->name, STR_ARG(value));
	return NULL;
}

struct err *instr_flags_parse(struct arena *a, const struct strs *words, struct flag *flags,
			      size_t n)
{
	for (size_t i = 0; i < words->len; i++) {
		struct str name, value;
		bool has_value = str_cut(words->items[i], '=', &name, &value);
		struct flag *f = NULL;

		name = str_trim_prefix(name, STR("--"));
		for (size_t k = 0; k < n && !f; k++)
			if (str_eq_cstr(name, flags[k].name))
				f = &flags[k];
		if (!f)
			return unknown(a, name, flags, n);
		if (f->used && f->kind != FLAG_LIST)
			return err_new(ERR_UNKNOWN, "duplicate flag specified: --%s", f->name);
		f->used = true;
		if (f->kind == FLAG_BOOL) {
			TRY(set_bool(f, value, has_value));
			continue;
		}
		if (!has_value)
			return err_new(ERR_UNKNOWN, "missing a value on flag: --%s", f->name);
		if (f->kind == FLAG_LIST)
			strs_add(a, &f->list, value);
		else
			f->text = value;
	}
	return NULL;
}
