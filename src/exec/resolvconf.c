#include "exec/resolvconf.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/vec.h"
#include "sys/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/stat.h>

#define HOST_FILE "/etc/resolv.conf"
/* What systemd-resolved forwards to: its own address, 127.0.0.53, is of no use elsewhere. */
#define RESOLVED_FILE "/run/systemd/resolve/resolv.conf"
#define LIMIT_RESOLV_CONF (1 * MIB)

static const char *const public_servers[] = { "8.8.8.8", "8.8.4.4", "2001:4860:4860::8888",
					      "2001:4860:4860::8844" };

struct parts {
	VEC(struct str) servers, search, options, other;
};

static void parts_fini(struct parts *p)
{
	vec_fini(&p->servers);
	vec_fini(&p->search);
	vec_fini(&p->options);
	vec_fini(&p->other);
}

/* Next word of a line. */
static bool next_word(struct str *line, struct str *ret)
{
	*line = str_trim(*line);
	size_t n = 0;

	while (n < line->len && line->ptr[n] != ' ' && line->ptr[n] != '\t')
		n++;
	*ret = str_sub(*line, 0, n);
	*line = str_sub(*line, n, line->len);
	return n > 0;
}

/* Without the zone of an IPv6 address. */
static bool parse_address(struct str s, int *ret_family, unsigned char out[16])
{
	char text[64];
	struct str addr, zone;

	(void)str_cut(s, '%', &addr, &zone);
	if (addr.len >= sizeof(text))
		return false;
	memcpy(text, addr.ptr, addr.len);
	text[addr.len] = '\0';
	*ret_family = memchr(text, ':', addr.len) ? AF_INET6 : AF_INET;
	return inet_pton(*ret_family, text, out) == 1;
}

static bool is_loopback(struct str s)
{
	static const unsigned char one[16] = { [15] = 1 };
	unsigned char a[16];
	int family;

	if (!parse_address(s, &family, a))
		return false;
	return family == AF_INET ? a[0] == 127 : memcmp(a, one, sizeof(one)) == 0;
}

static void parse_line(struct parts *p, struct str line)
{
	struct str rest = line, key, word;
	unsigned char a[16];
	int family;

	if (!next_word(&rest, &key) || key.ptr[0] == '#' || key.ptr[0] == ';')
		return;
	if (str_eq(key, STR("nameserver"))) {
		if (next_word(&rest, &word) && parse_address(word, &family, a))
			vec_push(&p->servers, word);
	} else if (str_eq(key, STR("search")) || str_eq(key, STR("domain"))) {
		if (!str_trim(rest).len)
			return;
		/* The last one counts. */
		vec_clear(&p->search);
		while (next_word(&rest, &word))
			vec_push(&p->search, word);
	} else if (str_eq(key, STR("options"))) {
		while (next_word(&rest, &word))
			vec_push(&p->options, word);
	} else {
		vec_push(&p->other, str_trim(line));
	}
}

static struct err *set_servers(struct parts *p, const struct resolvconf_opts *o)
{
	unsigned char a[16];
	int family;

	vec_clear(&p->servers);
	for (size_t i = 0; i < o->n_nameservers; i++) {
		if (!parse_address(str_from(o->nameservers[i]), &family, a))
			return err_new(ERR_INVALID_ARGUMENT, "bad nameserver address: %s",
				       o->nameservers[i]);
		vec_push(&p->servers, str_from(o->nameservers[i]));
	}
	return NULL;
}

static void keep_reachable(struct parts *p)
{
	size_t n = 0;

	vec_each (&p->servers, s)
		if (!is_loopback(*s))
			p->servers.items[n++] = *s;
	p->servers.len = n;
	for (size_t i = 0; !n && i < ARRAY_SIZE(public_servers); i++)
		vec_push(&p->servers, str_from(public_servers[i]));
}

static struct err *apply(struct parts *p, const struct resolvconf_opts *o)
{
	if (o->n_search)
		vec_clear(&p->search);
	/* A lone "." is no domain at all. */
	for (size_t i = 0; i < o->n_search; i++)
		if (o->n_search > 1 || strcmp(o->search[i], ".") != 0)
			vec_push(&p->search, str_from(o->search[i]));
	if (o->n_options)
		vec_clear(&p->options);
	for (size_t i = 0; i < o->n_options; i++)
		vec_push(&p->options, str_from(o->options[i]));
	/* What was configured is taken as it is. */
	if (o->n_nameservers)
		return set_servers(p, o);
	if (!o->host_net || !p->servers.len)
		keep_reachable(p);
	return NULL;
}

static void write_words(struct buf *out, const char *key, const struct str *words, size_t n)
{
	if (!n)
		return;
	buf_add_cstr(out, key);
	for (size_t i = 0; i < n; i++) {
		buf_add_char(out, ' ');
		buf_add_str(out, words[i]);
	}
	buf_add_char(out, '\n');
}

struct err *resolvconf_make(struct str source, const struct resolvconf_opts *o, struct buf *out)
{
	CLEANUP(parts_fini) struct parts p = { 0 };
	struct str rest = source, line;

	while (rest.len && str_next(&rest, '\n', &line))
		parse_line(&p, line);
	TRY(apply(&p, o));
	vec_each (&p.servers, s)
		buf_addf(out, "nameserver %.*s\n", STR_ARG(*s));
	write_words(out, "search", p.search.items, p.search.len);
	write_words(out, "options", p.options.items, p.options.len);
	vec_each (&p.other, s)
		buf_addf(out, "%.*s\n", STR_ARG(*s));
	return buf_check(out, "resolv.conf");
}

static struct err *read_if_there(const char *path, struct arena *a, struct str *ret)
{
	struct err *e = file_read_str(AT_FDCWD, path, a, LIMIT_RESOLV_CONF, ret);

	if (err_get_errno(e) == ENOENT) {
		err_free(e);
		*ret = STR_NONE;
		return NULL;
	}
	return e;
}

/* Is systemd-resolved's address the only nameserver? */
static bool is_resolved_stub(struct str text)
{
	CLEANUP(parts_fini) struct parts p = { 0 };
	struct str line;

	while (text.len && str_next(&text, '\n', &line))
		parse_line(&p, line);
	return p.servers.len == 1 && str_eq(p.servers.items[0], STR("127.0.0.53"));
}

struct err *resolvconf_reset(const char *dir)
{
	SCOPED_ARENA(a);

	TRY(file_unlink(AT_FDCWD, arena_printf(&a, "%s/resolv.conf", dir)));
	return file_unlink(AT_FDCWD, arena_printf(&a, "%s/resolv-host.conf", dir));
}

struct err *resolvconf_file(const char *dir, const struct resolvconf_opts *o, struct arena *a,
			    const char **ret)
{
	const char *path = arena_printf(a, "%s/resolv%s.conf", dir, o->host_net ? "-host" : "");
	SCOPED_BUF(out, 2 * LIMIT_RESOLV_CONF);
	struct stat made, host;
	struct str text;

	if (stat(path, &made) == 0 &&
	    (stat(HOST_FILE, &host) < 0 || file_mtime_ns(&host) < file_mtime_ns(&made))) {
		*ret = path;
		return NULL;
	}
	TRY(read_if_there(HOST_FILE, a, &text));
	if (!o->host_net && is_resolved_stub(text))
		TRY(read_if_there(RESOLVED_FILE, a, &text));
	TRY(resolvconf_make(text, o, &out));
	/* Steps that run keep the old file, which is another inode. */
	TRY(file_replace(AT_FDCWD, path, buf_str(&out), 0644, FILE_NO_SYNC));
	*ret = path;
	return NULL;
}
