#include "progress/display.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "progress/backend.h"

#include <errno.h>

struct display {
	enum display_mode mode;
	int fd;
	struct pmodel model;
	struct display_backend *backend; /* plain and tty */
};

struct err *display_parse_mode(struct str s, enum display_mode *ret)
{
	static const char *const names[] = { "auto", "plain", "tty", "rawjson", "quiet" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (str_eq_cstr(s, names[i])) {
			*ret = (enum display_mode)i;
			return NULL;
		}
	}
	return err_new(ERR_INVALID_ARGUMENT, "invalid progress mode %.*s", STR_ARG(s));
}

struct display *display_new(enum display_mode mode, int fd)
{
	struct display *p = NEW(struct display);

	if (mode == DISPLAY_AUTO)
		mode = isatty(fd) ? DISPLAY_TTY : DISPLAY_PLAIN;
	p->mode = mode;
	p->fd = fd;
	pmodel_init(&p->model);
	if (mode == DISPLAY_PLAIN)
		p->backend = display_plain_new(fd);
	else if (mode == DISPLAY_TTY)
		p->backend = display_tty_new(fd);
	return p;
}

void display_free(struct display *p)
{
	if (!p)
		return;
	if (p->backend)
		p->backend->free(p->backend);
	pmodel_fini(&p->model);
	free(p);
}

void display_freep(struct display **p)
{
	display_free(*p);
	*p = NULL;
}

void display_write(int fd, struct buf *b)
{
	size_t at = 0;

	while (at < b->len) {
		ssize_t n = write(fd, b->data + at, b->len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break; /* nobody reads any more: the build goes on */
		at += (size_t)n;
	}
	buf_clear(b);
}

void display_update(struct display *p, const Moby__Buildkit__V1__StatusResponse *r)
{
	if (p->mode == DISPLAY_RAWJSON) {
		SCOPED_BUF(line, SIZE_MAX / 4);

		display_rawjson(r, &line);
		display_write(p->fd, &line);
		return;
	}
	if (p->mode == DISPLAY_QUIET)
		return;
	pmodel_update(&p->model, r);
	p->backend->update(p->backend, &p->model);
}

void display_tick(struct display *p)
{
	if (p->backend && p->backend->tick)
		p->backend->tick(p->backend, &p->model);
}

int64_t display_interval(const struct display *p)
{
	return p->backend ? p->backend->interval_ns : 0;
}

/* The log of a step that failed by itself (not because another one did). */
static void print_failure(struct buf *out, const struct pvertex *v)
{
	struct str log = str_trim_suffix(buf_str(&v->log), STR("\n"));

	buf_add_cstr(out, "------\n");
	buf_addf(out, " > %s:\n", v->name);
	if (log.len) {
		buf_add_str(out, log);
		buf_add_char(out, '\n');
	}
	buf_add_cstr(out, "------\n");
}

void display_finish(struct display *p, const struct err *build_error)
{
	SCOPED_BUF(out, SIZE_MAX / 4);

	if (!p->backend)
		return;
	p->backend->finish(p->backend, &p->model);
	vec_each (&p->model.order, it) {
		if (build_error && (*it)->error && !pvertex_is_canceled(*it))
			print_failure(&out, *it);
	}
	display_write(p->fd, &out);
}
