/* frontend.lint: all warnings, and the error that a build would end with. */
#include "frontend/dockerfile/subrequest.h"

#include "base/json.h"
#include "base/mem.h"
#include "frontend/dockerfile/pbjson.h"

struct warning {
	const struct lint_rule *rule;
	struct str text;
	struct loc loc;
};

struct results {
	struct arena *a;
	struct warning *items;
	size_t len, cap;
};

static void add_warning(void *arg, const struct lint_rule *rule, const char *text, struct loc loc)
{
	struct results *r = arg;
	struct warning w = { rule, str_dup(r->a, str_from(text)), loc };

	ARENA_PUSH(r->a, r->items, r->len, r->cap, w);
}

/* The lines of a file around a place, the place marked; nothing for one that is not in it. */
static void print_excerpt(struct buf *out, struct str name, struct str data, struct loc loc)
{
	SCOPED_ARENA(a);
	struct strs lines = { 0 };
	struct str line, rest = data;
	int start = loc.start, end = loc.end, pad, n;

	while (str_next(&rest, '\n', &line))
		strs_add(&a, &lines, line);
	n = (int)lines.len;
	if (!loc.set || start < 1 || start > n)
		return;
	end = end > n ? n : end;
	pad = start == end ? 4 : 2;
	for (int p = 0; p < pad; p++) {
		if (start > 1) {
			start--;
			p++;
		}
		if (end != n) {
			end++;
			p++;
		}
	}
	buf_addf(out, "%.*s:%d\n--------------------\n", STR_ARG(name), loc.start);
	for (int i = start; i <= end; i++)
		buf_addf(out, " %3d | %s %.*s\n", i, i >= loc.start && i <= loc.end ? ">>>" : "   ",
			 STR_ARG(lines.items[i - 1]));
	buf_add_cstr(out, "--------------------\n");
}

/* By line, those without one first by rule. */
static bool before(const struct warning *x, const struct warning *y)
{
	if (!x->loc.set || !y->loc.set) {
		if (x->loc.set == y->loc.set)
			return strcmp(x->rule->name, y->rule->name) < 0;
		return !x->loc.set;
	}
	return x->loc.start < y->loc.start;
}

static void print_text(const struct df *df, const struct results *r, struct buf *out)
{
	struct warning *sorted = arena_dup(r->a, r->items, r->len * sizeof(*r->items));

	for (size_t i = 1; i < r->len; i++) {
		struct warning w = sorted[i];
		size_t k = i;

		for (; k > 0 && before(&w, &sorted[k - 1]); k--)
			sorted[k] = sorted[k - 1];
		sorted[k] = w;
	}
	for (size_t i = 0; i < r->len; i++) {
		const struct warning *w = &sorted[i];

		buf_addf(out, "\nWARNING: %s", w->rule->name);
		if (w->rule->url[0])
			buf_addf(out, " - %s", w->rule->url);
		buf_addf(out, "\n%.*s\n", STR_ARG(w->text));
		print_excerpt(out, df->map.filename, df->data, w->loc);
	}
}

static void print_warnings(struct json_out *j, const struct results *r)
{
	json_key(j, STR("warnings"));
	if (!r->len) {
		json_nil(j);
		return;
	}
	json_arr_begin(j);
	for (size_t i = 0; i < r->len; i++) {
		const struct warning *w = &r->items[i];

		json_obj_begin(j);
		json_kstr(j, "ruleName", str_from(w->rule->name));
		if (w->rule->description[0])
			json_kstr(j, "description", str_from(w->rule->description));
		if (w->rule->url[0])
			json_kstr(j, "url", str_from(w->rule->url));
		if (w->text.len)
			json_kstr(j, "detail", w->text);
		json_key(j, STR("location"));
		print_location(j, w->loc);
		json_obj_end(j);
	}
	json_arr_end(j);
}

static void print_error(struct json_out *j, const struct plan *p, const struct err *e)
{
	bool any = false;

	json_key(j, STR("buildError"));
	json_obj_begin(j);
	json_kstr(j, "message", str_from(err_text(e)));
	json_key(j, STR("location"));
	json_obj_begin(j);
	for (size_t i = 0; i < p->n_locs; i++)
		any |= p->locs[i].set;
	if (any) {
		json_key(j, STR("ranges"));
		print_ranges(j, p->locs, p->n_locs, true);
	}
	json_obj_end(j);
	json_obj_end(j);
}

struct err *subrequest_lint(struct plan *p, struct frontend_result *ret)
{
	struct results r = { .a = &p->a };
	SCOPED_BUF(json, SIZE_MAX);
	SCOPED_BUF(text, SIZE_MAX);
	SCOPED_ERR(e);
	struct json_out j;

	p->lint.warn = add_warning;
	p->lint.arg = &r;
	p->all_stages = !p->df->opts.target.len;
	e = plan_run(p);
	if (e && ctx_done(p->ctx))
		return TAKE_PTR(e);
	json_out_init(&j, &json, "  ");
	json_obj_begin(&j);
	print_warnings(&j, &r);
	json_key(&j, STR("sources"));
	json_arr_begin(&j);
	pbjson_go(&j, source_info(&p->a, p->df));
	json_arr_end(&j);
	if (e)
		print_error(&j, p, e);
	json_obj_end(&j);
	print_text(p->df, &r, &text);
	frontend_result_set_meta(ret, STR("result.json"), buf_str(&json));
	frontend_result_set_meta(ret, STR("result.txt"), buf_str(&text));
	frontend_result_set_meta(ret, STR("result.statuscode"), r.len || e ? STR("1") : STR("0"));
	frontend_result_set_meta(ret, STR("version"), STR("1.0.0"));
	return NULL;
}
