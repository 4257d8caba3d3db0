#include "progress/backend.h"

#include "base/clock.h"
#include "base/mem.h"

#include <sys/ioctl.h>

/* A display redrawn in place: a header line, then one line a vertex with its statuses, and
 * the last lines of the log of steps under way. */

#define LOG_LINES_DEFAULT 6

struct line {
	char *text;
	char *right; /* time */
	const char *color;
};

struct tty {
	struct display_backend base;
	int fd;
	int drawn; /* lines of ours above the cursor */
	int log_lines;
	bool color;
	struct buf out;
};

static void size_of(int fd, int *w, int *h)
{
	struct winsize ws;

	*w = 80;
	*h = 24;
	if (ioctl(fd, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 20 && ws.ws_row > 4) {
		*w = ws.ws_col;
		*h = ws.ws_row;
	}
}

static const char *vertex_color(const struct pvertex *v)
{
	if (v->error)
		return pvertex_is_canceled(v) ? "33" : "31";
	return v->completed ? "34" : NULL;
}

static char *seconds(struct arena *a, int64_t ns)
{
	return arena_printf(a, "%.1fs", (double)ns / 1e9);
}

typedef VEC(struct line) line_vec;

static void add_log(struct tty *t, struct arena *a, line_vec *lines, const struct pvertex *v)
{
	struct str log = str_trim_suffix(buf_str(&v->log), STR("\n"));
	size_t from = log.len;

	for (int n = 0; n < t->log_lines && from > 0; n++) {
		ptrdiff_t nl = str_rfind(str_sub(log, 0, from), '\n');

		from = nl < 0 ? 0 : (size_t)nl;
	}
	log = str_sub(log, from && log.ptr[from] == '\n' ? from + 1 : from, log.len);
	for (struct str line; log.len && str_next(&log, '\n', &line);) {
		char *text;

		if (str_rfind(str_trim_suffix(line, STR("\r")), '\r') >= 0)
			line = str_sub(line, (size_t)str_rfind(line, '\r') + 1, line.len);
		text = arena_printf(a, " => => # %.*s", STR_ARG(line));
		for (char *c = text; *c; c++)
			if ((unsigned char)*c < 0x20)
				*c = ' ';
		vec_push(lines, ((struct line) { text, NULL, NULL }));
		if (log.len == SIZE_MAX)
			break;
	}
}

static void add_vertex(struct tty *t, struct arena *a, line_vec *lines, const struct pvertex *v,
		       int64_t now)
{
	const char *mark = v->cached  ? "CACHED "
			   : v->error ? (pvertex_is_canceled(v) ? "CANCELED " : "ERROR ")
				      : "";

	vec_push(lines, ((struct line) { arena_printf(a, " => %s%s", mark, v->name),
					 seconds(a, pvertex_elapsed(v, now)), vertex_color(v) }));
	vec_each (&v->statuses, it) {
		const struct pstatus *s = *it;
		int64_t end = s->completed_ns ? s->completed_ns : now;
		char *text = arena_printf(a, " => => %s", s->id);

		if (s->total)
			text = arena_printf(a, "%s %s / %s", text, display_size(a, s->current),
					    display_size(a, s->total));
		else if (s->current)
			text = arena_printf(a, "%s %s", text, display_size(a, s->current));
		vec_push(lines,
			 ((struct line) { text,
					  s->started_ns ? seconds(a, end - s->started_ns) : NULL,
					  vertex_color(v) }));
	}
	if (!v->completed && v->log.len)
		add_log(t, a, lines, v);
}

static void put_line(struct tty *t, const struct line *l, int width)
{
	int right = l->right ? (int)strlen(l->right) : 0;
	int room = width - right - 1;
	int len = (int)strlen(l->text);

	buf_add_cstr(&t->out, "\x1b[2K");
	if (t->color && l->color)
		buf_addf(&t->out, "\x1b[%sm", l->color);
	if (len > room)
		buf_addf(&t->out, "%.*s", room, l->text);
	else
		buf_addf(&t->out, "%-*s", room, l->text);
	if (l->right)
		buf_addf(&t->out, " %s", l->right);
	if (t->color && l->color)
		buf_add_cstr(&t->out, "\x1b[0m");
	buf_add_char(&t->out, '\n');
}

static void draw(struct tty *t, struct pmodel *m, bool final)
{
	SCOPED_ARENA(a);
	line_vec lines = VEC_INIT;
	int64_t now = clock_wall();
	size_t done = 0, total = 0, first = 0;
	struct line head;
	int w, h, n = 0;

	size_of(t->fd, &w, &h);
	vec_each (&m->by_start, it) {
		add_vertex(t, &a, &lines, *it, now);
	}
	vec_each (&m->order, it) {
		total++;
		done += (*it)->completed;
	}
	if (t->drawn)
		buf_addf(&t->out, "\x1b[%dA", t->drawn);
	head = (struct line) { arena_printf(&a, "[+] Building %s (%zu/%zu)%s",
					    seconds(&a, m->first_ns ? now - m->first_ns : 0), done,
					    total, final ? " FINISHED" : ""),
			       NULL, NULL };
	put_line(t, &head, w);
	n++;
	/* While it runs only what fits is drawn, the newest; at the end everything. */
	if (!final && lines.len > (size_t)h - 2)
		first = lines.len - ((size_t)h - 2);
	for (size_t i = first; i < lines.len; i++, n++)
		put_line(t, &lines.items[i], w);
	for (int k = n; k < t->drawn; k++)
		buf_add_cstr(&t->out, "\x1b[2K\n");
	t->drawn = MAX(n, t->drawn);
	if (final)
		t->drawn = 0;
	vec_fini(&lines);
	display_write(t->fd, &t->out);
}

static void tty_update(struct display_backend *b, struct pmodel *m)
{
	/* Drawing is left to the tick; only the plain output buffers are not needed. */
	vec_each (&m->order, it)
		buf_clear(&(*it)->pending);
	(void)b;
}

static void tty_tick(struct display_backend *b, struct pmodel *m)
{
	struct tty *t = container_of(b, struct tty, base);

	draw(t, m, false);
}

static void tty_finish(struct display_backend *b, struct pmodel *m)
{
	struct tty *t = container_of(b, struct tty, base);

	draw(t, m, true);
}

static void tty_free(struct display_backend *b)
{
	struct tty *t = container_of(b, struct tty, base);

	buf_fini(&t->out);
	free(t);
}

struct display_backend *display_tty_new(int fd)
{
	struct tty *t = NEW(struct tty);
	const char *rate = getenv("TTY_DISPLAY_RATE"), *lines = getenv("BUILDKIT_TTY_LOG_LINES");
	int64_t ms = 100, n = LOG_LINES_DEFAULT;

	if (rate)
		(void)str_to_i64(str_from(rate), &ms);
	if (lines)
		(void)str_to_i64(str_from(lines), &n);
	t->base = (struct display_backend) {
		.update = tty_update,
		.tick = tty_tick,
		.finish = tty_finish,
		.free = tty_free,
		.interval_ns = MAX(ms, INT64_C(10)) * NSEC_PER_MSEC,
	};
	t->fd = fd;
	t->color = !getenv("NO_COLOR");
	t->log_lines = (int)MIN(MAX(n, INT64_C(1)), INT64_C(100));
	buf_init(&t->out, SIZE_MAX / 4);
	return &t->base;
}
