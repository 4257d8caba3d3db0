/* frontend.targets: the stages of a file. */
#include "frontend/dockerfile/subrequest.h"

#include "base/json.h"
#include "frontend/dockerfile/table.h"

static void put(struct json_out *j, struct str key, struct str value)
{
	if (!value.len)
		return;
	json_key(j, key);
	json_str(j, value);
}

static void print_target(struct json_out *j, const struct instr *from, bool is_default)
{
	json_obj_begin(j);
	put(j, STR("name"), from->stage_name);
	if (is_default)
		json_kbool(j, "default", true);
	put(j, STR("description"), from->doc);
	put(j, STR("base"), from->args.items[0]);
	put(j, STR("platform"), from->platform);
	json_key(j, STR("location"));
	print_location(j, from->loc);
	json_obj_end(j);
}

static struct str label(struct arena *a, struct str name, bool is_default)
{
	if (!is_default)
		return name;
	return str_from(arena_printf(a, "%.*s%s(default)", STR_ARG(name), name.len ? " " : ""));
}

struct err *subrequest_targets(struct df *df, struct frontend_result *ret)
{
	static const struct lint no_lint = { 0 };
	SCOPED_ARENA(a);
	SCOPED_BUF(json, SIZE_MAX);
	SCOPED_BUF(text, SIZE_MAX);
	struct instr_lines lines;
	struct dockerfile file;
	struct strs cells = { 0 };
	struct json_out j;
	struct loc loc;

	TRY(lex_file(&a, df->data, &lines, &loc));
	TRY(parse_dockerfile(&a, &lines, &no_lint, &file, &loc));
	strs_add(&a, &cells, STR("TARGET"));
	strs_add(&a, &cells, STR("DESCRIPTION"));
	json_out_init(&j, &json, "  ");
	json_obj_begin(&j);
	json_key(&j, STR("targets"));
	if (!file.n_stages)
		json_nil(&j);
	else
		json_arr_begin(&j);
	for (size_t i = 0; i < file.n_stages; i++) {
		const struct instr *from = &file.stages[i].from;
		bool is_default = i + 1 == file.n_stages;

		print_target(&j, from, is_default);
		strs_add(&a, &cells, label(&a, from->stage_name, is_default));
		strs_add(&a, &cells, from->doc);
	}
	if (file.n_stages)
		json_arr_end(&j);
	json_key(&j, STR("sources"));
	json_arr_begin(&j);
	json_base64(&j, df->data);
	json_arr_end(&j);
	json_obj_end(&j);
	table_print(&text, &cells, 2, 1);
	frontend_result_set_meta(ret, STR("result.json"), buf_str(&json));
	frontend_result_set_meta(ret, STR("result.txt"), buf_str(&text));
	frontend_result_set_meta(ret, STR("version"), STR("1.0.0"));
	return NULL;
}
