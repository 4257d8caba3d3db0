#include "frontend/dockerfile/ignore.h"

#include "base/path.h"

#define MAX_LINE 65535

struct err *ignore_parse(struct arena *a, struct str data, struct strs *ret)
{
	struct strs out = { 0 };
	struct str line;
	bool more = data.len > 0;

	data = str_trim_prefix(data, STR("\xEF\xBB\xBF"));
	while (more) {
		bool negated;

		more = str_cut(data, '\n', &line, &data);
		if (line.len > MAX_LINE)
			return err_new(ERR_UNKNOWN, "bufio.Scanner: token too long");
		if (str_has_prefix(line, STR("#")))
			continue;
		line = str_trim(line);
		if (!line.len)
			continue;
		negated = line.ptr[0] == '!';
		if (negated)
			line = str_trim(str_sub(line, 1, line.len));
		if (line.len) {
			line = path_clean(a, line);
			if (line.len > 1)
				line = str_trim_prefix(line, STR("/"));
		}
		if (negated)
			line = str_from(arena_printf(a, "!%.*s", STR_ARG(line)));
		strs_add(a, &out, line);
	}
	*ret = out;
	return NULL;
}
