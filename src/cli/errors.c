#include "cli/errors.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"

#define SOURCE_URL "github.com/moby/buildkit/errdefs.Source+json"

struct range {
	int64_t start, end;
};

static bool is_marked(const struct range *r, size_t n, int64_t line)
{
	for (size_t i = 0; i < n; i++)
		if (line >= r[i].start && line <= r[i].end)
			return true;
	return false;
}

/* Three lines of context around the marked ones. */
static void print_excerpt(struct str file, struct str data, const struct range *r, size_t n,
			  FILE *out)
{
	const int64_t pad = 2;
	int64_t first = r[0].start, last = r[0].end, line = 1;

	for (size_t i = 1; i < n; i++) {
		first = MIN(first, r[i].start);
		last = MAX(last, r[i].end);
	}
	fprintf(out, "%.*s:%lld\n--------------------\n", STR_ARG(file), (long long)first);
	for (struct str text; str_next(&data, '\n', &text); line++) {
		if (line < first - pad || line > last + pad)
			continue;
		fprintf(out, " %3lld | %s %.*s\n", (long long)line,
			is_marked(r, n, line) ? ">>>" : "   ", STR_ARG(text));
	}
	fprintf(out, "--------------------\n");
}

static void print_source(struct str json, FILE *out)
{
	SCOPED_ARENA(a);
	SCOPED_JSON(root);
	SCOPED_ERR(e);
	json_t *info, *ranges, *it;
	struct str data;
	struct range *r;
	size_t i, n = 0;

	e = json_read(json, "source detail", &root);
	if (e)
		return;
	info = json_object_get(root, "info");
	ranges = json_object_get(root, "ranges");
	if (!info || !json_array_size(ranges))
		return;
	e = base64_decode(&a, json_get_str(info, "data"), &data);
	if (e)
		return;
	r = ARENA_NEW_N(&a, struct range, json_array_size(ranges));
	json_array_foreach(ranges, i, it)
	{
		r[n].start = json_get_int(json_object_get(it, "start"), "line", 0);
		r[n].end = json_get_int(json_object_get(it, "end"), "line", r[n].start);
		if (r[n].end < r[n].start)
			r[n].end = r[n].start;
		n++;
	}
	print_excerpt(json_get_str(info, "filename"), data, r, n, out);
}

void cli_print_error(const struct err *e, bool debug, FILE *out)
{
	for (size_t i = 0; i < err_detail_count(e); i++) {
		struct str value;
		const char *url = err_detail(e, i, &value);

		if (strcmp(url, SOURCE_URL) == 0)
			print_source(value, out);
		else if (debug)
			fprintf(out, "%s: %.*s\n", url, STR_ARG(value));
	}
	fprintf(out, "error: %s\n", err_text(e));
}
