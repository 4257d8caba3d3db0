/* EXPOSE: [ip:][hostport:]port[-range][/protocol]; only port and protocol have a meaning. */
#include "frontend/dockerfile/plan.h"

#include "base/buf.h"

#include <arpa/inet.h>

struct port {
	struct str ip, host_port, port, proto;
};

static void split(struct str text, struct port *ret)
{
	ptrdiff_t colon;

	*ret = (struct port) { .port = text };
	colon = str_rfind(text, ':');
	if (colon < 0)
		return;
	ret->port = str_sub(text, (size_t)colon + 1, text.len);
	text = str_sub(text, 0, (size_t)colon);
	colon = str_rfind(text, ':');
	ret->host_port = colon < 0 ? text : str_sub(text, (size_t)colon + 1, text.len);
	if (colon >= 0)
		ret->ip = str_sub(text, 0, (size_t)colon);
}

static struct err *split_proto(struct port *p)
{
	str_cut(p->port, '/', &p->port, &p->proto);
	if (!p->port.len)
		return err_new(ERR_UNKNOWN, "no port specified");
	if (!p->proto.len)
		p->proto = STR("tcp");
	if (!str_eq_nocase(p->proto, STR("tcp")) && !str_eq_nocase(p->proto, STR("udp")) &&
	    !str_eq_nocase(p->proto, STR("sctp")))
		return err_new(ERR_UNKNOWN, "invalid proto: %.*s", STR_ARG(p->proto));
	return NULL;
}

static bool number(struct str s, uint64_t *ret)
{
	return str_to_u64(str_trim_prefix(s, STR("+")), ret) && *ret <= 65535;
}

static bool range(struct str s, uint64_t *from, uint64_t *to)
{
	struct str lo, hi;

	if (!str_cut(s, '-', &lo, &hi))
		hi = lo;
	return number(lo, from) && number(hi, to) && *to >= *from;
}

static struct err *check_ip(struct arena *a, struct str ip)
{
	char addr[sizeof(struct in6_addr)];
	const char *text;

	if (!ip.len)
		return NULL;
	if (ip.ptr[0] == '[' && str_has_suffix(ip, STR("]")))
		ip = str_sub(ip, 1, ip.len - 1);
	text = text_c(a, ip);
	if (inet_pton(AF_INET, text, addr) == 1 || inet_pton(AF_INET6, text, addr) == 1)
		return NULL;
	return err_new(ERR_UNKNOWN, "invalid IP address: %s", text);
}

static struct err *expose(struct doing *d, struct str text, struct strs *out)
{
	struct arena *a = &d->p->a;
	uint64_t from, to, host_from, host_to;
	struct port p;

	split(text, &p);
	TRYW(split_proto(&p), "invalid port: %s", text_quote(a, text));
	if (!str_eq(p.proto, text_lower(a, p.proto)))
		lint_run(&d->lint, LINT_EXPOSE_PROTO_CASING, d->in->loc, text_c(a, text));
	if (p.ip.len || p.host_port.len)
		lint_run(&d->lint, LINT_EXPOSE_INVALID_FORMAT, d->in->loc, text_c(a, text));
	TRY(check_ip(a, p.ip));
	if (!range(p.port, &from, &to))
		return err_new(ERR_UNKNOWN, "invalid containerPort: %.*s", STR_ARG(p.port));
	if (p.host_port.len) {
		if (!range(p.host_port, &host_from, &host_to))
			return err_new(ERR_UNKNOWN, "invalid hostPort: %.*s", STR_ARG(p.host_port));
		if (to - from != host_to - host_from && to != from)
			return err_new(ERR_UNKNOWN,
				       "invalid ranges specified for container and host Ports: "
				       "%.*s and %.*s",
				       STR_ARG(p.port), STR_ARG(p.host_port));
	}
	for (; from <= to; from++)
		strs_add(a, out,
			 str_from(arena_printf(a, "%u/%.*s", (unsigned)from,
					       STR_ARG(text_lower(a, p.proto)))));
	return NULL;
}

struct err *do_expose(struct doing *d)
{
	struct arena *a = &d->p->a;
	struct strs ports = { 0 };

	for (size_t i = 0; i < d->in->args.len; i++) {
		struct strs words;

		TRY(shell_words(a, &d->p->shell, d->in->args.items[i], &d->s->state.env, &words));
		for (size_t k = 0; k < words.len; k++)
			TRY(expose(d, words.items[k], &ports));
	}
	image_set_add(a, &d->s->image.exposed_ports, &ports);
	stage_history(
		d->p, d->s,
		str_from(arena_printf(a, "EXPOSE [%.*s]", STR_ARG(strs_join(a, &ports, STR(" "))))),
		false);
	return NULL;
}
