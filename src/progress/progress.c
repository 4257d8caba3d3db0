#include "progress/progress.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "progress/backend.h"

#include <errno.h>

struct progress {
	enum progress_mode mode;
	int fd;
	struct pmodel model;
	struct progress_backend *backend; /* plain and tty */
};

struct err *progress_parse_mode(struct str s, enum progress_mode *ret)
{
	static const char *const names[] = { "auto", "plain", "tty", "rawjson", "quiet" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (str_eq_cstr(s, names[i])) {
			*ret = (enum progress_mode)i;
			return NULL;
		}
	}
	return err_new(ERR_INVALID_ARGUMENT, "invalid progress mode %.*s", STR_ARG(s));
}

struct progress *progress_new(enum progress_mode mode, int fd)
{
	struct progress *p = NEW(struct progress);

	if (mode == PROGRESS_AUTO)
		mode = isatty(fd) ? PROGRESS_TTY : PROGRESS_PLAIN;
	p->mode = mode;
	p->fd = fd;
	pmodel_init(&p->model);
	if (mode == PROGRESS_PLAIN)
		p->backend = progress_plain_new(fd);
	else if (mode == PROGRESS_TTY)
		p->backend = progress_tty_new(fd);
	return p;
}

void progress_free(struct progress *p)
{
	if (!p)
		return;
	if (p->backend)
		p->backend->free(p->backend);
	pmodel_fini(&p->model);
	free(p);
}

void progress_freep(struct progress **p)
{
	progress_free(*p);
	*p = NULL;
}

void progress_write(int fd, struct buf *b)
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

void progress_update(struct progress *p, const Moby__Buildkit__V1__StatusResponse *r)
{
	if (p->mode == PROGRESS_RAWJSON) {
		SCOPED_BUF(line, SIZE_MAX / 4);

		progress_rawjson(r, &line);
		progress_write(p->fd, &line);
		return;
	}
	if (p->mode == PROGRESS_QUIET)
		return;
	pmodel_update(&p->model, r);
	p->backend->update(p->backend, &p->model);
}

void progress_tick(struct progress *p)
{
	if (p->backend && p->backend->tick)
		p->backend->tick(p->backend, &p->model);
}

int64_t progress_interval(const struct progress *p)
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

void progress_finish(struct progress *p, const struct err *build_error)
{
	SCOPED_BUF(out, SIZE_MAX / 4);

	if (!p->backend)
		return;
	p->backend->finish(p->backend, &p->model);
	vec_each (&p->model.order, it) {
		if (build_error && (*it)->error && !pvertex_is_canceled(*it))
			print_failure(&out, *it);
	}
	progress_write(p->fd, &out);
}
