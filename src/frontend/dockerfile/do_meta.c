/* WORKDIR and the instructions that only touch the image config. */
#include "frontend/dockerfile/plan.h"

#include "base/buf.h"
#include "base/clock.h"
#include "frontend/dockerfile/paths.h"

struct err *set_workdir(struct plan *p, struct stage *s, struct str dir, struct str *ret)
{
	const struct platform *os = stage_os(p, s);

	dir = paths_absolute(&p->a, s->image.working_dir, dir, os, false);
	s->image.working_dir = paths_from_slash(&p->a, dir, os);
	s->state.dir = dir;
	*ret = dir;
	return NULL;
}

struct err *do_workdir(struct doing *d)
{
	struct plan *p = d->p;
	struct stage *s = d->s;
	const struct platform *os = stage_os(p, s);
	struct str dir = d->in->args.items[0], text;
	Pb__FileActionMkDir *mkdir;
	struct llb_node *n;
	bool layer;

	if (!s->workdir_set && !paths_is_abs(&p->a, dir, os))
		lint_run(&d->lint, LINT_WORKDIR_RELATIVE_PATH, d->in->loc, text_quote(&p->a, dir));
	s->workdir_set = true;
	TRY(set_workdir(p, s, dir, &dir));
	layer = !str_eq(dir, STR("/"));
	if (layer) {
		text = step_text(p, &p->shell, d->in->code, &s->state.env);
		n = llb_file(&p->a, s->state.out);
		mkdir = llb_mkdir(&p->a, n, paths_clean(&p->a, STR("/"), dir, false));
		mkdir->mode = 0755;
		mkdir->makeparents = true;
		mkdir->owner = llb_chown(&p->a, s->image.user);
		if (p->has_epoch)
			mkdir->timestamp = p->epoch * NSEC_PER_SEC;
		llb_name(&p->a, n, step_name(p, s, text, os, &s->state.env));
		llb_locate(&p->a, n, &p->map, d->in->loc.start, d->in->loc.end);
		s->state.out = llb_out_of(n);
	}
	stage_history(p, s, str_from(arena_printf(&p->a, "WORKDIR %.*s", STR_ARG(dir))), layer);
	return NULL;
}

/* ---- Go's ways to print lists ---- */

static struct str print_list(struct arena *a, const char *what, const struct strs *list,
			     bool quoted)
{
	SCOPED_BUF(b, SIZE_MAX);

	buf_addf(&b, "%s [", what);
	for (size_t i = 0; i < list->len; i++) {
		if (i)
			buf_add_char(&b, ' ');
		if (quoted)
			buf_add_cstr(&b, text_quote(a, list->items[i]));
		else
			buf_add_str(&b, list->items[i]);
	}
	buf_add_char(&b, ']');
	return str_dup(a, buf_str(&b));
}

/* ---- CMD, ENTRYPOINT ---- */

static struct strs command(struct doing *d)
{
	struct strs args = d->in->args;

	if (!d->in->shell_form)
		return args;
	if (!d->s->image.shell.len)
		lint_run(&d->lint, LINT_JSON_ARGS_RECOMMENDED, d->in->loc,
			 text_c(&d->p->a, d->in->name));
	shell_join(&d->p->a, &d->s->image, &d->in->args, &args);
	return args;
}

static void do_cmd(struct doing *d)
{
	struct image *img = &d->s->image;

	check_once(d, &d->s->cmd);
	img->cmd = command(d);
	img->args_escaped = true;
	stage_history(d->p, d->s, print_list(&d->p->a, "CMD", &img->cmd, true), false);
}

static void do_entrypoint(struct doing *d)
{
	struct image *img = &d->s->image;

	check_once(d, &d->s->entrypoint);
	img->entrypoint = command(d);
	if (!d->s->cmd.set)
		img->cmd = (struct strs) { 0 };
	stage_history(d->p, d->s, print_list(&d->p->a, "ENTRYPOINT", &img->entrypoint, true),
		      false);
}

/* ---- the others ---- */

static void do_healthcheck(struct doing *d)
{
	struct arena *a = &d->p->a;
	struct healthcheck *h = arena_dup(a, d->in->health, sizeof(*h));
	struct str test = strs_join(a, &h->test, STR(" "));

	check_once(d, &d->s->healthcheck);
	d->s->image.health = h;
	stage_history(d->p, d->s,
		      str_from(arena_printf(a,
					    "HEALTHCHECK {Test:[%.*s] Interval:%s Timeout:%s "
					    "StartPeriod:%s StartInterval:%s Retries:%lld}",
					    STR_ARG(test), clock_format_duration(a, h->interval),
					    clock_format_duration(a, h->timeout),
					    clock_format_duration(a, h->start_period),
					    clock_format_duration(a, h->start_interval),
					    (long long)h->retries)),
		      false);
}

static struct err *do_volume(struct doing *d)
{
	for (size_t i = 0; i < d->in->args.len; i++)
		if (!d->in->args.items[i].len)
			return err_new(ERR_UNKNOWN, "VOLUME specified can not be an empty string");
	image_set_add(&d->p->a, &d->s->image.volumes, &d->in->args);
	stage_history(d->p, d->s, print_list(&d->p->a, "VOLUME", &d->in->args, false), false);
	return NULL;
}

/* Names of Linux' signals, without SIG; the real-time ones are counted from both ends. */
static bool is_signal(struct arena *a, struct str s)
{
	static const char *const names[] = {
		"ABRT", "ALRM",   "BUS",  "CHLD",   "CLD",   "CONT", "FPE",  "HUP",   "ILL",
		"INT",  "IO",     "IOT",  "KILL",   "PIPE",  "POLL", "PROF", "PWR",   "QUIT",
		"SEGV", "STKFLT", "STOP", "SYS",    "TERM",  "TRAP", "TSTP", "TTIN",  "TTOU",
		"URG",  "USR1",   "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
	};
	int64_t number;
	uint64_t n;

	if (str_to_i64(str_trim_prefix(s, STR("+")), &number))
		return number != 0;
	s = str_trim_prefix(text_upper(a, s), STR("SIG"));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (str_eq_cstr(s, names[i]))
			return true;
	if (str_has_prefix(s, STR("RTMIN+")))
		return str_to_u64(str_sub(s, 6, s.len), &n) && n >= 1 && n <= 15 && s.ptr[6] != '0';
	if (str_has_prefix(s, STR("RTMAX-")))
		return str_to_u64(str_sub(s, 6, s.len), &n) && n >= 1 && n <= 14 && s.ptr[6] != '0';
	return false;
}

static struct err *do_stopsignal(struct doing *d)
{
	struct str s = d->in->args.items[0];

	if (!is_signal(&d->p->a, s))
		return err_new(ERR_UNKNOWN, "invalid signal: %.*s", STR_ARG(s));
	d->s->image.stop_signal = s;
	return NULL;
}

/* "NAME value" */
static void history_of(struct doing *d, struct str value)
{
	stage_history(d->p, d->s,
		      str_from(arena_printf(&d->p->a, "%s %.*s", instr_name(d->in->kind),
					    STR_ARG(value))),
		      false);
}

struct err *do_metadata(struct doing *d)
{
	struct image *img = &d->s->image;
	struct str first = d->in->args.len ? d->in->args.items[0] : STR("");

	switch (d->in->kind) {
	case INSTR_CMD:
		do_cmd(d);
		break;
	case INSTR_ENTRYPOINT:
		do_entrypoint(d);
		break;
	case INSTR_HEALTHCHECK:
		do_healthcheck(d);
		break;
	case INSTR_USER:
		d->s->state.user = img->user = first;
		history_of(d, first);
		break;
	case INSTR_VOLUME:
		return do_volume(d);
	case INSTR_STOPSIGNAL:
		TRY(do_stopsignal(d));
		history_of(d, first);
		break;
	case INSTR_SHELL:
		img->shell = d->in->args;
		stage_history(d->p, d->s, print_list(&d->p->a, "SHELL", &d->in->args, false),
			      false);
		break;
	case INSTR_MAINTAINER:
		img->author = first;
		history_of(d, first);
		break;
	case INSTR_ONBUILD: /* no history of its own */
		strs_add(&d->p->a, &img->on_build, first);
		break;
	default:
		break;
	}
	return NULL;
}
