/* RUN and the other instructions with a command line. */
#include "frontend/dockerfile/parse_int.h"

#include "base/clock.h"

/* The arguments as they stand, or joined for a shell. */
static struct strs command_line(const struct parsing *p, size_t from)
{
	struct strs args = p->line->args, out = { 0 };

	if (from) {
		args.items += from;
		args.len -= from;
	}
	if (p->line->json || !args.len)
		return args;
	strs_add(p->a, &out, strs_join(p->a, &args, STR(" ")));
	return out;
}

static struct err *parse_command(struct parsing *p)
{
	TRY(no_flags(p));
	p->out->args = command_line(p, 0);
	p->out->shell_form = !p->line->json;
	return NULL;
}

struct err *parse_CMD(struct parsing *p)
{
	return parse_command(p);
}

struct err *parse_ENTRYPOINT(struct parsing *p)
{
	return parse_command(p);
}

struct err *parse_SHELL(struct parsing *p)
{
	TRY(no_flags(p));
	p->out->args = command_line(p, 0);
	if (!p->out->args.len)
		return need_args("SHELL");
	if (!p->line->json)
		return err_new(ERR_UNKNOWN, "SHELL requires the arguments to be in JSON form");
	return NULL;
}

struct err *parse_RUN(struct parsing *p)
{
	enum { MOUNT, NETWORK, SECURITY, DEVICE, N };
	struct flag flags[N] = {
		[MOUNT] = { "mount", FLAG_LIST },
		[NETWORK] = { "network", FLAG_TEXT, STR("default") },
		[SECURITY] = { "security", FLAG_TEXT, STR("sandbox") },
		[DEVICE] = { "device", FLAG_LIST },
	};
	struct run_instr *r = ARENA_NEW(p->a, struct run_instr);

	TRY(instr_flags_parse(p->a, &p->line->flags, flags, N));
	p->out->args = command_line(p, 0);
	p->out->shell_form = !p->line->json;
	p->out->heredocs = p->line->heredocs;
	p->out->n_heredocs = p->line->n_heredocs;
	p->out->run = r;

	r->n_devices = flags[DEVICE].list.len;
	r->devices = ARENA_NEW_N(p->a, struct run_device, r->n_devices);
	for (size_t i = 0; i < r->n_devices; i++)
		TRY(run_device_parse(p->a, flags[DEVICE].list.items[i], &r->devices[i]));
	r->mount_texts = flags[MOUNT].list;
	r->mounts = ARENA_NEW_N(p->a, struct run_mount, r->mount_texts.len);
	for (size_t i = 0; i < r->mount_texts.len; i++)
		TRY(run_mount_from(p->a, r->mount_texts.items[i], &r->mounts[i]));
	r->network = flags[NETWORK].text;
	if (!str_eq(r->network, STR("default")) && !str_eq(r->network, STR("none")) &&
	    !str_eq(r->network, STR("host")))
		return err_new(ERR_UNKNOWN, "invalid network mode %s",
			       text_quote(p->a, r->network));
	r->security = flags[SECURITY].text;
	if (!str_eq(r->security, STR("sandbox")) && !str_eq(r->security, STR("insecure")))
		return err_new(ERR_UNKNOWN, "security %s is not valid",
			       text_quote(p->a, r->security));
	return NULL;
}

static struct err *interval(struct parsing *p, const struct flag *f, int64_t *ret)
{
	if (!f->text.len)
		return NULL;
	if (!clock_parse_duration(f->text, ret))
		return err_new(ERR_UNKNOWN, "time: invalid duration %s", text_quote(p->a, f->text));
	if (*ret != 0 && *ret < NSEC_PER_MSEC)
		return err_new(ERR_UNKNOWN, "Interval \"%s\" cannot be less than 1ms", f->name);
	return NULL;
}

static struct err *retries(struct parsing *p, struct str text, int64_t *ret)
{
	const char *why = NULL;

	if (!text.len)
		return NULL;
	if (!str_to_i64(text, ret))
		why = "invalid syntax";
	else if (*ret < INT32_MIN || *ret > INT32_MAX)
		why = "value out of range";
	if (why)
		return err_new(ERR_UNKNOWN, "strconv.ParseInt: parsing %s: %s",
			       text_quote(p->a, text), why);
	if (*ret < 0)
		return err_new(ERR_UNKNOWN, "--retries cannot be negative (%d)", (int)*ret);
	return NULL;
}

struct err *parse_HEALTHCHECK(struct parsing *p)
{
	enum { INTERVAL, TIMEOUT, START_PERIOD, START_INTERVAL, RETRIES, N };
	struct flag flags[N] = {
		[INTERVAL] = { "interval", FLAG_TEXT },
		[TIMEOUT] = { "timeout", FLAG_TEXT },
		[START_PERIOD] = { "start-period", FLAG_TEXT },
		[START_INTERVAL] = { "start-interval", FLAG_TEXT },
		[RETRIES] = { "retries", FLAG_TEXT },
	};
	struct healthcheck *h = ARENA_NEW(p->a, struct healthcheck);
	struct strs command;
	struct str type;

	if (!p->line->args.len)
		return need_args("HEALTHCHECK");
	p->out->health = h;
	type = text_upper(p->a, p->line->args.items[0]);
	command = command_line(p, 1);
	if (str_eq(type, STR("NONE"))) {
		if (command.len)
			return err_new(ERR_UNKNOWN, "HEALTHCHECK NONE takes no arguments");
		strs_add(p->a, &h->test, type);
		return NULL;
	}
	TRY(instr_flags_parse(p->a, &p->line->flags, flags, N));
	if (!str_eq(type, STR("CMD")))
		return err_new(ERR_UNKNOWN, "Unknown type %s in HEALTHCHECK (try CMD)",
			       text_quote(p->a, type));
	if (!command.len)
		return err_new(ERR_UNKNOWN, "Missing command after HEALTHCHECK CMD");
	strs_add(p->a, &h->test, p->line->json ? STR("CMD") : STR("CMD-SHELL"));
	for (size_t i = 0; i < command.len; i++)
		strs_add(p->a, &h->test, command.items[i]);
	TRY(interval(p, &flags[INTERVAL], &h->interval));
	TRY(interval(p, &flags[TIMEOUT], &h->timeout));
	TRY(interval(p, &flags[START_PERIOD], &h->start_period));
	TRY(interval(p, &flags[START_INTERVAL], &h->start_interval));
	return retries(p, flags[RETRIES].text, &h->retries);
}
