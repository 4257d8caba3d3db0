/* frontend.outline: arguments, secrets and SSH agents a target takes. */
#include "frontend/dockerfile/subrequest.h"

#include "base/json.h"
#include "base/mem.h"
#include "frontend/dockerfile/table.h"

struct found {
	struct str name, value, doc;
	bool required;
	struct loc loc;
};

struct founds {
	struct found *items;
	size_t len, cap;
};

static bool has(const struct founds *l, struct str name)
{
	for (size_t i = 0; i < l->len; i++)
		if (str_eq(l->items[i].name, name))
			return true;
	return false;
}

static void add(struct arena *a, struct founds *l, struct found f)
{
	if (!has(l, f.name))
		ARENA_PUSH(a, l->items, l->len, l->cap, f);
}

/* An argument that is used uses those its default is made of. */
static void close_used(struct plan *p, struct outline *o)
{
	for (size_t i = 0; i < o->used.len; i++)
		for (size_t k = 0; k < o->n_args; k++) {
			const struct arg_info *arg = &o->args[k];

			if (!str_eq(arg->name, o->used.items[i]))
				continue;
			for (size_t d = 0; d < arg->deps.len; d++)
				strs_add_new(&p->a, &o->used, arg->deps.items[d]);
		}
}

static void collect(struct plan *p, struct stage *s, struct founds *args, struct founds *secrets,
		    struct founds *ssh)
{
	struct outline *o = &s->outline;

	close_used(p, o);
	for (size_t i = 0; i < o->n_args; i++) {
		const struct arg_info *arg = &o->args[i];

		if (strs_has(&o->used, arg->name))
			add(&p->a, args,
			    (struct found) { arg->name, arg->value, arg->doc, false, arg->loc });
	}
	for (size_t i = 0; i < o->n_secrets; i++)
		add(&p->a, secrets,
		    (struct found) { .name = o->secrets[i].id,
				     .required = o->secrets[i].required,
				     .loc = o->secrets[i].loc });
	for (size_t i = 0; i < o->n_ssh; i++)
		add(&p->a, ssh,
		    (struct found) { .name = o->ssh[i].id,
				     .required = o->ssh[i].required,
				     .loc = o->ssh[i].loc });
}

/* By line; what stands on one line stays in order. */
static void sort(struct founds *l)
{
	for (size_t i = 1; i < l->len; i++) {
		struct found f = l->items[i];
		size_t k = i;

		for (; k > 0 && l->items[k - 1].loc.start > f.loc.start; k--)
			l->items[k] = l->items[k - 1];
		l->items[k] = f;
	}
}

static void put(struct json_out *j, struct str key, struct str value)
{
	if (!value.len)
		return;
	json_key(j, key);
	json_str(j, value);
}

static void print_found(struct json_out *j, const char *key, const struct founds *l)
{
	if (!l->len)
		return;
	json_key(j, str_from(key));
	json_arr_begin(j);
	for (size_t i = 0; i < l->len; i++) {
		const struct found *f = &l->items[i];

		json_obj_begin(j);
		json_kstr(j, "name", f->name);
		put(j, STR("description"), f->doc);
		put(j, STR("value"), f->value);
		if (f->required)
			json_kbool(j, "required", true);
		if (f->loc.set) {
			json_key(j, STR("location"));
			print_location(j, f->loc);
		}
		json_obj_end(j);
	}
	json_arr_end(j);
}

static void print_head(struct arena *a, struct buf *text, const struct instr *from)
{
	struct strs cells = { 0 };

	if (!from->stage_name.len && !from->doc.len)
		return;
	strs_add(a, &cells, STR("TARGET:"));
	strs_add(a, &cells, from->stage_name.len ? from->stage_name : STR("(default)"));
	if (from->doc.len) {
		strs_add(a, &cells, STR("DESCRIPTION:"));
		strs_add(a, &cells, from->doc);
	}
	table_print(text, &cells, 2, 1);
	buf_add_char(text, '\n');
}

static void print_table(struct arena *a, struct buf *text, const struct founds *l,
			const char *title, bool args)
{
	struct strs cells = { 0 };

	if (!l->len)
		return;
	strs_add(a, &cells, str_from(title));
	if (args) {
		strs_add(a, &cells, STR("VALUE"));
		strs_add(a, &cells, STR("DESCRIPTION"));
	} else {
		strs_add(a, &cells, STR("REQUIRED"));
	}
	for (size_t i = 0; i < l->len; i++) {
		const struct found *f = &l->items[i];

		strs_add(a, &cells, f->name);
		if (args) {
			strs_add(a, &cells, f->value);
			strs_add(a, &cells, f->doc);
		} else {
			strs_add(a, &cells, f->required ? STR("true") : STR(""));
		}
	}
	table_print(text, &cells, args ? 3 : 2, 3);
	buf_add_char(text, '\n');
}

struct err *subrequest_outline(struct plan *p, struct frontend_result *ret)
{
	struct founds args = { 0 }, secrets = { 0 }, ssh = { 0 };
	SCOPED_BUF(json, SIZE_MAX);
	SCOPED_BUF(text, SIZE_MAX);
	const struct instr *from;
	struct stage **reach;
	struct json_out j;
	size_t n;

	TRY(plan_run(p));
	from = &p->target_ptr->from;
	stages_reachable(p, p->target_ptr, &reach, &n);
	for (size_t i = 0; i < n; i++)
		collect(p, reach[i], &args, &secrets, &ssh);
	sort(&args);
	sort(&secrets);
	sort(&ssh);

	json_out_init(&j, &json, "  ");
	json_obj_begin(&j);
	put(&j, STR("name"), from->stage_name);
	put(&j, STR("description"), from->doc);
	print_found(&j, "args", &args);
	print_found(&j, "secrets", &secrets);
	print_found(&j, "ssh", &ssh);
	json_key(&j, STR("sources"));
	json_arr_begin(&j);
	json_base64(&j, p->df->data);
	json_arr_end(&j);
	json_obj_end(&j);
	print_head(&p->a, &text, from);
	print_table(&p->a, &text, &args, "BUILD ARG", true);
	print_table(&p->a, &text, &secrets, "SECRET", false);
	print_table(&p->a, &text, &ssh, "SSH", false);
	frontend_result_set_meta(ret, STR("result.json"), buf_str(&json));
	frontend_result_set_meta(ret, STR("result.txt"), buf_str(&text));
	frontend_result_set_meta(ret, STR("version"), STR("1.0.0"));
	return NULL;
}
