#include "frontend/dockerfile/directive.h"

#include "base/json.h"
#include "frontend/dockerfile/text.h"

static const struct str known[] = { STR("syntax"), STR("escape"), STR("check") };

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f';
}

/* NAME = VALUE */
static bool split(struct str line, struct str *ret_name, struct str *ret_value)
{
	size_t n = 0;

	while (n < line.len && text_space(line, n))
		n += text_space(line, n);
	line = str_sub(line, n, line.len);
	for (n = 0; n < line.len; n++) {
		char c = line.ptr[n] | 0x20;
		bool digit = line.ptr[n] >= '0' && line.ptr[n] <= '9';

		if (!(c >= 'a' && c <= 'z') && !(digit && n))
			break;
	}
	*ret_name = str_sub(line, 0, n);
	while (n < line.len && is_blank(line.ptr[n]))
		n++;
	if (!ret_name->len || n == line.len || line.ptr[n] != '=')
		return false;
	line = str_sub(line, n + 1, line.len);
	while (line.len && is_blank(line.ptr[0]))
		line = str_sub(line, 1, line.len);
	while (line.len && is_blank(line.ptr[line.len - 1]))
		line.len--;
	*ret_value = line;
	return line.len > 0 && str_find(line, '\n') < 0;
}

struct err *directive_line(struct directives *d, struct str line, bool *ret_found,
			   struct directive *ret)
{
	struct str name, value;

	*ret_found = false;
	if (d->done)
		return NULL;
	d->done = true;
	if (!str_has_prefix(line, d->sign) ||
	    !split(str_sub(line, d->sign.len, line.len), &name, &value))
		return NULL;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (!str_eq_nocase(name, known[i]))
			continue;
		d->done = false;
		if (d->seen & 1u << i)
			return err_new(ERR_UNKNOWN, "only one %.*s parser directive can be used",
				       STR_ARG(known[i]));
		d->seen |= 1u << i;
		*ret = (struct directive) { known[i], value };
		*ret_found = true;
	}
	return NULL;
}

static struct str skip_bom(struct str data)
{
	return str_trim_prefix(data, STR("\xEF\xBB\xBF"));
}

static bool find_with(struct str data, struct str sign, struct str name, int line, struct str *ret,
		      int *ret_line)
{
	struct directives d = { .sign = sign };
	struct str text;

	while (!d.done && data.len) {
		struct directive found;
		bool is;
		struct err *e;

		str_cut(data, '\n', &text, &data);
		line++;
		e = directive_line(&d, str_trim_suffix(text, STR("\r")), &is, &found);
		if (e) {
			err_free(e);
			return false;
		}
		if (is && str_eq(found.name, name)) {
			*ret = found.value;
			if (ret_line)
				*ret_line = line;
			return true;
		}
	}
	return false;
}

static struct str skip_shebang(struct str data, int *line)
{
	struct str first, rest;

	if (!str_has_prefix(data, STR("#!")))
		return data;
	str_cut(data, '\n', &first, &rest);
	++*line;
	return rest;
}

bool directive_find(struct str data, struct str name, struct str *ret, int *ret_line)
{
	int line = 0;

	data = skip_shebang(skip_bom(data), &line);
	return find_with(data, STR("#"), name, line, ret, ret_line);
}

static bool find_json(struct arena *a, struct str data, struct str *ret)
{
	SCOPED_JSON(j);
	struct err *e;
	const json_t *v;

	if (!str_has_prefix(str_trim(data), STR("{")))
		return false;
	e = json_read(data, "file", &j);
	if (e) {
		err_free(e);
		return false;
	}
	v = json_object_get(j, "syntax");
	if (!json_is_string(v))
		return false;
	*ret = str_dup(a, str_make(json_string_value(v), json_string_length(v)));
	return true;
}

bool directive_syntax(struct arena *a, struct str data, struct str *ret_ref, struct str *ret_value,
		      int *ret_line)
{
	int line = 0;
	struct str rest;

	data = skip_shebang(skip_bom(data), &line);
	if (find_with(data, STR("#"), STR("syntax"), line, ret_value, ret_line) ||
	    find_with(data, STR("//"), STR("syntax"), line, ret_value, ret_line)) {
		str_cut(*ret_value, ' ', ret_ref, &rest);
		return true;
	}
	if (!find_json(a, data, ret_value))
		return false;
	*ret_ref = *ret_value;
	*ret_line = line;
	return true;
}
