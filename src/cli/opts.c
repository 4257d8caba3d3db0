#include "cli/cmd.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/vec.h"

struct err *cmd_flags(struct cli *c, const struct cmd *cmd, const struct flag *flags, size_t n,
		      int argc, char **argv, int *ret_rest, bool *ret_help)
{
	int at = 1;

	TRY(flags_parse(c->arena, flags, n, argc, argv, &at, ret_help));
	if (*ret_help) {
		printf("NAME:\n   buildctl %s - %s\n\nOPTIONS:\n", cmd->name, cmd->usage);
		flags_describe(flags, n, stdout);
	}
	*ret_rest = at;
	return NULL;
}

struct err *cli_csv(struct arena *a, const char *line, struct str **ret, size_t *ret_n)
{
	size_t max = 1, n = 0;
	struct str *out;
	const char *p = line;

	for (; *p; p++)
		max += *p == ',';
	out = ARENA_NEW_N(a, struct str, max);
	p = line;
	for (;;) {
		if (*p == '"') {
			SCOPED_BUF(field, LIMIT_ERROR_TEXT);

			for (p++; *p && !(*p == '"' && p[1] != '"'); p++) {
				if (*p == '"')
					p++;
				buf_add_char(&field, *p);
			}
			if (*p++ != '"' || (*p && *p != ','))
				return err_new(ERR_INVALID_ARGUMENT,
					       "parse error on line 1: extraneous or missing \" in "
					       "quoted-field");
			TRY(buf_check(&field, "field"));
			out[n++] = str_dup(a, buf_str(&field));
		} else {
			size_t len = strcspn(p, ",");

			if (memchr(p, '"', len))
				return err_new(
					ERR_INVALID_ARGUMENT,
					"parse error on line 1: bare \" in non-quoted-field");
			out[n++] = str_make(p, len);
			p += len;
		}
		if (!*p)
			break;
		p++;
	}
	*ret = out;
	*ret_n = n;
	return NULL;
}

void cli_columns(struct buf *rows, FILE *out)
{
	VEC(size_t) widths = VEC_INIT;
	struct str rest = buf_str(rows), line, field;

	for (struct str r = rest; str_next(&r, '\n', &line);) {
		size_t i = 0;

		for (struct str f = line; str_next(&f, '\t', &field); i++) {
			if (i == widths.len)
				vec_push(&widths, (size_t)0);
			/* The last cell of a line does not make its column wider. */
			if (f.len != SIZE_MAX)
				widths.items[i] = MAX(widths.items[i], field.len);
		}
	}
	while (str_next(&rest, '\n', &line)) {
		size_t i = 0;

		if (rest.len == SIZE_MAX && !line.len)
			break;
		for (struct str f = line; str_next(&f, '\t', &field); i++) {
			size_t tabs, cell = (widths.items[i] + 8) / 8 * 8;

			fwrite(field.ptr ? field.ptr : "", 1, field.len, out);
			if (f.len == SIZE_MAX)
				break;
			tabs = (cell - field.len + 7) / 8;
			while (tabs--)
				fputc('\t', out);
		}
		fputc('\n', out);
	}
	vec_fini(&widths);
}

char *cli_size(struct arena *a, int64_t bytes)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 1000 && u + 1 < ARRAY_SIZE(units)) {
		v /= 1000;
		u++;
	}
	return u ? arena_printf(a, "%.2f%s", v, units[u])
		 : arena_printf(a, "%lld%s", (long long)bytes, units[u]);
}
