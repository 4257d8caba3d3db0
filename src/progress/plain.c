#include "progress/backend.h"

#include "base/clock.h"
#include "base/mem.h"

/* Text for logs: one vertex at a time, "#N" in front of every line. The vertex last
 * written to goes on as long as it has something to say; another one takes over when it
 * is done or has been silent for a while. */

#define SWITCH_AFTER (NSEC_PER_SEC / 2)

struct plain {
	struct display_backend base;
	int fd;
	struct pvertex *current;
	int64_t current_since;
	struct buf out;
	bool truncate;
};

static void add_header(struct plain *p, struct pvertex *v)
{
	struct str name = str_from(v->name);

	if (p->truncate && name.len > 72)
		buf_addf(&p->out, "#%d %.*s...\n", v->number, 69, name.ptr);
	else
		buf_addf(&p->out, "#%d %s\n", v->number, v->name);
}

static void add_log_lines(struct plain *p, struct pvertex *v, bool flush)
{
	double t = (double)(clock_wall() - v->started_ns) / 1e9;

	for (;;) {
		ptrdiff_t nl = str_find(buf_str(&v->pending), '\n');
		struct str line;

		if (nl < 0 && !(flush && v->pending.len))
			return;
		line = str_sub(buf_str(&v->pending), 0, nl < 0 ? v->pending.len : (size_t)nl);
		/* Of a line redrawn with carriage returns, what was left standing. */
		if (line.len && line.ptr[line.len - 1] == '\r')
			line.len--;
		if (str_rfind(line, '\r') >= 0)
			line = str_sub(line, (size_t)str_rfind(line, '\r') + 1, line.len);
		buf_addf(&p->out, "#%d %.3f ", v->number, MAX(t, 0.0));
		buf_add_str(&p->out, line);
		buf_add_char(&p->out, '\n');
		buf_consume(&v->pending, nl < 0 ? v->pending.len : (size_t)nl + 1);
	}
}

static void add_end(struct plain *p, struct pvertex *v)
{
	if (v->error && pvertex_is_canceled(v))
		buf_addf(&p->out, "#%d CANCELED\n", v->number);
	else if (v->error)
		buf_addf(&p->out, "#%d ERROR: %s\n", v->number, v->error);
	else if (v->cached)
		buf_addf(&p->out, "#%d CACHED\n", v->number);
	else
		buf_addf(&p->out, "#%d DONE %.1fs\n", v->number,
			 (double)pvertex_elapsed(v, clock_wall()) / 1e9);
}

static void print_vertex(struct plain *p, struct pvertex *v)
{
	SCOPED_ARENA(a);

	if (p->current != v) {
		if (p->current) {
			if (!p->current->completed)
				buf_addf(&p->out, "#%d ...\n", p->current->number);
			buf_add_char(&p->out, '\n');
		}
		add_header(p, v);
		p->current = v;
	}
	p->current_since = clock_now();
	vec_each (&v->statuses, it) {
		struct pstatus *s = *it;

		if (!s->dirty)
			continue;
		s->dirty = false;
		buf_addf(&p->out, "#%d %s\n", v->number, pstatus_text(&a, s, clock_wall()));
	}
	for (; v->n_new_warnings; v->n_new_warnings--)
		buf_addf(&p->out, "#%d WARN: %s\n", v->number,
			 v->warnings.items[v->warnings.len - v->n_new_warnings]->text);
	add_log_lines(p, v, v->completed);
	if (v->completed) {
		add_end(p, v);
		buf_add_char(&p->out, '\n');
		p->current = NULL;
	}
	v->dirty = false;
}

static bool has_news(const struct pvertex *v)
{
	return v->dirty && v->number;
}

static void plain_update(struct display_backend *b, struct pmodel *m)
{
	struct plain *p = container_of(b, struct plain, base);

	if (p->current && has_news(p->current))
		print_vertex(p, p->current);
	vec_each (&m->by_start, it) {
		struct pvertex *v = *it;

		if (!has_news(v) || v == p->current)
			continue;
		if (p->current && !v->completed && clock_now() - p->current_since < SWITCH_AFTER)
			continue;
		print_vertex(p, v);
	}
	display_write(p->fd, &p->out);
}

static void plain_finish(struct display_backend *b, struct pmodel *m)
{
	struct plain *p = container_of(b, struct plain, base);

	vec_each (&m->by_start, it) {
		if (has_news(*it) || (*it)->pending.len)
			print_vertex(p, *it);
	}
	display_write(p->fd, &p->out);
}

static void plain_free(struct display_backend *b)
{
	struct plain *p = container_of(b, struct plain, base);

	buf_fini(&p->out);
	free(p);
}

struct display_backend *display_plain_new(int fd)
{
	struct plain *p = NEW(struct plain);
	const char *no_trunc = getenv("PROGRESS_NO_TRUNC");

	p->base = (struct display_backend) {
		.update = plain_update,
		.tick = plain_update,
		.finish = plain_finish,
		.free = plain_free,
		.interval_ns = SWITCH_AFTER,
	};
	p->fd = fd;
	p->truncate = no_trunc && strcmp(no_trunc, "0") == 0;
	buf_init(&p->out, SIZE_MAX / 4);
	return &p->base;
}
