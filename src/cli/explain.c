#include "cli/cmd.h"

#include "base/json.h"
#include "base/limits.h"
#include "cli/insight.h"
#include "grpc/message.h"

#include <time.h>

static void print_time(int64_t wall_ns, char *out, size_t size)
{
	time_t t = (time_t)(wall_ns / NSEC_PER_SEC);
	struct tm tm;

	if (!localtime_r(&t, &tm) || !strftime(out, size, "%Y-%m-%d %H:%M:%S", &tm))
		(void)snprintf(out, size, "?");
}

static void print_text(const Buildkitc__V1__ExplainResponse *r)
{
	char when[64];

	print_time(r->time, when, sizeof(when));
	printf("build %s of %s: %u cached, %u ran\n", r->ref, when, r->cached, r->ran);
	for (size_t i = 0; i < r->n_vertices; i++) {
		const Buildkitc__V1__ExplainVertex *v = r->vertices[i];

		printf("\n%s%s\n", v->cached ? "CACHED " : "", v->name);
		if (*v->error)
			printf("  failed: %s\n", v->error);
		for (size_t k = 0; k < v->n_reasons; k++)
			printf("  %s\n", v->reasons[k]);
		if (*v->compared) {
			print_time(v->compared_time, when, sizeof(when));
			printf("  (compared with %s of %s)\n", v->compared, when);
		}
	}
}

static void print_json(const Buildkitc__V1__ExplainResponse *r)
{
	SCOPED_BUF(b, 256 * MIB);
	struct json_out j;

	json_out_init(&j, &b, "  ");
	json_obj_begin(&j);
	json_kstr(&j, "ref", str_from(r->ref));
	json_kint(&j, "time", r->time);
	json_kint(&j, "cached", r->cached);
	json_kint(&j, "ran", r->ran);
	json_kint(&j, "known", r->known);
	json_key(&j, STR("vertices"));
	json_arr_begin(&j);
	for (size_t i = 0; i < r->n_vertices; i++) {
		const Buildkitc__V1__ExplainVertex *v = r->vertices[i];

		json_obj_begin(&j);
		json_kstr(&j, "digest", str_from(v->digest));
		json_kstr(&j, "name", str_from(v->name));
		json_kbool(&j, "cached", v->cached);
		json_kstr(&j, "error", str_from(v->error));
		json_key(&j, STR("reasons"));
		json_arr_begin(&j);
		for (size_t k = 0; k < v->n_reasons; k++)
			json_str(&j, str_from(v->reasons[k]));
		json_arr_end(&j);
		json_kstr(&j, "compared", str_from(v->compared));
		json_kint(&j, "comparedTime", v->compared_time);
		json_obj_end(&j);
	}
	json_arr_end(&j);
	json_obj_end(&j);
	buf_add_char(&b, '\n');
	(void)fwrite(buf_cstr(&b), 1, b.len, stdout);
}

static struct err *run(struct cli *c, int argc, char **argv)
{
	Buildkitc__V1__ExplainRequest req = BUILDKITC__V1__EXPLAIN_REQUEST__INIT;
	Buildkitc__V1__ExplainResponse *r;
	const char *format = NULL, *ref = "";
	bool all = false, help;
	const struct flag flags[] = {
		{ .name = "ref",
		  .type = FLAG_STRING,
		  .value = &ref,
		  .help = "Explain the build with this ref, not the last one" },
		{ .name = "all",
		  .type = FLAG_BOOL,
		  .value = &all,
		  .help = "Show steps that were cached too" },
		{ .name = "format",
		  .type = FLAG_STRING,
		  .value = &format,
		  .help = "Format the output: json" },
	};
	int at;

	TRY(cmd_flags(c, &cmd_explain, flags, ARRAY_SIZE(flags), argc, argv, &at, &help));
	if (help)
		return NULL;
	if (format && strcmp(format, "json") != 0)
		return err_new(ERR_UNIMPLEMENTED, "format %s is not supported: use json", format);
	TRY(cli_connect(c));
	req.ref = (char *)ref;
	req.all = all;
	TRY(insight_call(c, "Explain", &req, &buildkitc__v1__explain_response__descriptor, &r));
	if (format)
		print_json(r);
	else
		print_text(r);
	return NULL;
}

const struct cmd cmd_explain = { .name = "explain",
				 .usage = "say why steps of the last build ran",
				 .run = run };
