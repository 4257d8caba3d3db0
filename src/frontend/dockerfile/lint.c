#include "frontend/dockerfile/lint.h"

#include "frontend/dockerfile/directive.h"

#define URL_OF(page)                                                                               \
	(sizeof(page) > 1 ? "https://docs.docker.com/go/dockerfile/rule/" page "/" : "")

static const struct lint_rule rules[] = {
#define LINT_RULE(id, name, description, page, format, experimental)                               \
	[LINT_##id] = { name, description, URL_OF(page), format, experimental },
#include "frontend/dockerfile/lint.def"
#undef LINT_RULE
};

static void parse_rules(struct arena *a, struct str value, bool *all, struct strs *list)
{
	struct str rule;

	value = str_trim(value);
	if (str_eq(value, STR("all"))) {
		*all = true;
		return;
	}
	*list = (struct strs) { 0 };
	while (str_next(&value, ',', &rule))
		strs_add(a, list, str_dup(a, str_trim(rule)));
}

struct err *lint_parse_config(struct arena *a, struct str text, struct lint_config *ret)
{
	struct lint_config c = { 0 };
	struct str part, key, value;

	bool more;

	text = str_trim(text);
	more = text.len > 0;
	for (int i = 0; more; i++) {
		if (i < 2) {
			more = str_cut(text, ';', &part, &text);
		} else { /* the third one is the rest */
			part = text;
			more = false;
		}
		if (!str_cut(part, '=', &key, &value))
			return err_new(ERR_UNKNOWN, "invalid check option %s", text_quote(a, part));
		key = str_trim(key);
		if (str_eq(key, STR("skip"))) {
			parse_rules(a, value, &c.skip_all, &c.skip);
		} else if (str_eq(key, STR("experimental"))) {
			parse_rules(a, value, &c.experimental_all, &c.experimental);
		} else if (str_eq(key, STR("error"))) {
			value = str_trim(value);
			if (!str_to_bool(value, &c.as_error))
				return err_new(ERR_UNKNOWN,
					       "failed to parse check option %s: "
					       "strconv.ParseBool: parsing %s: invalid syntax",
					       text_quote(a, part), text_quote(a, value));
		} else {
			return err_new(ERR_UNKNOWN, "invalid check option %s", text_quote(a, key));
		}
	}
	*ret = c;
	return NULL;
}

static void add_all(struct arena *a, struct strs *into, const struct strs *from)
{
	struct strs all = strs_clone(a, into);

	for (size_t i = 0; i < from->len; i++)
		strs_add_new(a, &all, from->items[i]);
	*into = all;
}

struct lint lint_for(const struct lint *l, const struct strs *comments)
{
	struct lint merged = *l;

	for (size_t i = 0; l->warn && i < comments->len; i++) {
		struct directives ds = { 0 };
		struct directive d;
		struct lint_config c;
		struct str first, rest;
		bool is = false;
		struct err *e = directive_line(&ds, comments->items[i], &is, &d);

		err_free(e);
		if (e || !is || !str_eq(d.name, STR("check")))
			continue;
		str_cut(d.value, ' ', &first, &rest);
		e = lint_parse_config(l->a, first, &c);
		err_free(e);
		if (e)
			break;
		merged.config.skip_all |= c.skip_all;
		merged.config.experimental_all |= c.experimental_all;
		add_all(l->a, &merged.config.skip, &c.skip);
		add_all(l->a, &merged.config.experimental, &c.experimental);
		break;
	}
	return merged;
}

void lint_run(const struct lint *l, enum lint_id id, struct loc loc, ...)
{
	const struct lint_rule *r = &rules[id];
	struct str name = str_from(r->name);
	va_list ap;

	if (!l->warn)
		return;
	if (r->experimental
		    ? !l->config.experimental_all && !strs_has(&l->config.experimental, name)
		    : l->config.skip_all || strs_has(&l->config.skip, name))
		return;
	strs_add_new(l->a, l->called, name);
	va_start(ap, loc);
	l->warn(l->arg, r, arena_vprintf(l->a, r->format, ap), loc);
	va_end(ap);
}

struct err *lint_error(const struct lint *l)
{
	if (!l->config.as_error || !l->called->len)
		return NULL;
	return err_new(ERR_UNKNOWN, "lint violation found for rules: %.*s",
		       STR_ARG(strs_join(l->a, l->called, STR(", "))));
}
