#include "base/flags.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>

static const struct flag *find(const struct flag *flags, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq_cstr(name, flags[i].name) ||
		    (flags[i].alias && str_eq_cstr(name, flags[i].alias)))
			return &flags[i];
	return NULL;
}

static struct err *bad_value(const struct flag *f, const char *value)
{
	return err_new(ERR_INVALID_ARGUMENT, "invalid value \"%s\" for flag -%s: parse error",
		       value, f->name);
}

static struct err *store(struct arena *a, const struct flag *f, const char *value)
{
	struct str s = str_from(value);

	switch (f->type) {
	case FLAG_BOOL:
		if (!str_to_bool(s, f->value))
			return bad_value(f, value);
		break;
	case FLAG_STRING:
		*(const char **)f->value = value;
		break;
	case FLAG_INT:
		if (!str_to_i64(s, f->value))
			return bad_value(f, value);
		break;
	case FLAG_FLOAT: {
		char *end;

		errno = 0;
		*(double *)f->value = strtod(value, &end);
		if (errno || end == value || *end)
			return bad_value(f, value);
		break;
	}
	case FLAG_DURATION:
		if (!clock_parse_duration(s, f->value))
			return bad_value(f, value);
		break;
	case FLAG_LIST: {
		struct flag_list *l = f->value;
		char **items = ARENA_NEW_N(a, char *, l->n + 1);

		if (l->n)
			memcpy(items, l->items, l->n * sizeof(*items));
		items[l->n] = arena_strdup(a, value);
		*l = (struct flag_list) { items, l->n + 1 };
		break;
	}
	}
	if (f->was_set)
		*f->was_set = true;
	return NULL;
}

static struct err *apply_env(struct arena *a, const struct flag *flags, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *v = flags[i].env ? getenv(flags[i].env) : NULL;

		if (v && *v)
			TRY(store(a, &flags[i], arena_strdup(a, v)));
	}
	return NULL;
}

struct err *flags_parse(struct arena *a, const struct flag *flags, size_t n, int argc, char **argv,
			int *at, bool *ret_help)
{
	*ret_help = false;
	TRY(apply_env(a, flags, n));
	for (; *at < argc; (*at)++) {
		struct str arg = str_from(argv[*at]), name, value;
		const struct flag *f;
		bool has_value;

		if (arg.len < 2 || arg.ptr[0] != '-')
			return NULL;
		if (str_eq_cstr(arg, "--")) {
			(*at)++;
			return NULL;
		}
		arg = str_trim_prefix(arg, str_has_prefix(arg, STR("--")) ? STR("--") : STR("-"));
		has_value = str_cut(arg, '=', &name, &value);
		f = find(flags, n, name);
		if (!f && (str_eq_cstr(name, "help") || str_eq_cstr(name, "h"))) {
			*ret_help = true;
			return NULL;
		}
		if (!f)
			return err_new(ERR_INVALID_ARGUMENT, "flag provided but not defined: -%.*s",
				       STR_ARG(name));
		if (has_value) {
			TRY(store(a, f, value.ptr));
		} else if (f->type == FLAG_BOOL) {
			TRY(store(a, f, "true"));
		} else {
			if (++*at >= argc)
				return err_new(ERR_INVALID_ARGUMENT, "flag needs an argument: -%s",
					       f->name);
			TRY(store(a, f, argv[*at]));
		}
	}
	return NULL;
}

void flags_describe(const struct flag *flags, size_t n, FILE *out)
{
	for (size_t i = 0; i < n; i++) {
		SCOPED_ARENA(a);
		char *names;

		if (flags[i].hidden)
			continue;
		names = arena_printf(&a, "--%s%s%s%s", flags[i].name,
				     flags[i].type == FLAG_BOOL ? "" : " value",
				     !flags[i].alias               ? ""
				     : strlen(flags[i].alias) == 1 ? ", -"
								   : ", --",
				     flags[i].alias ? flags[i].alias : "");
		fprintf(out, "   %-42s %s%s%s%s\n", names, flags[i].help ? flags[i].help : "",
			flags[i].env ? " [$" : "", flags[i].env ? flags[i].env : "",
			flags[i].env ? "]" : "");
	}
}
