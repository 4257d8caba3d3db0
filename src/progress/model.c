#include "progress/model.h"

#include "base/clock.h"
#include "base/mem.h"

void pmodel_init(struct pmodel *m)
{
	*m = (struct pmodel) { 0 };
}

static void free_warning(struct pwarning *w)
{
	vec_each (&w->detail, d)
		free(*d);
	vec_fini(&w->detail);
	free(w->text);
	free(w->url);
	free(w);
}

static void free_vertex(void *p)
{
	struct pvertex *v = p;

	vec_each (&v->statuses, s) {
		free((*s)->id);
		free((*s)->name);
		free(*s);
	}
	vec_fini(&v->statuses);
	vec_each (&v->warnings, w)
		free_warning(*w);
	vec_fini(&v->warnings);
	buf_fini(&v->log);
	buf_fini(&v->pending);
	free(v->digest);
	free(v->name);
	free(v->error);
	free(v);
}

void pmodel_fini(struct pmodel *m)
{
	map_fini(&m->by_digest, free_vertex);
	vec_fini(&m->order);
	vec_fini(&m->by_start);
}

static struct pvertex *get_vertex(struct pmodel *m, const char *digest)
{
	struct pvertex *v = map_get(&m->by_digest, str_from(digest));

	if (v)
		return v;
	v = NEW(struct pvertex);
	v->digest = mem_strdup(digest);
	v->name = mem_strdup(digest);
	buf_init(&v->log, DISPLAY_LOG_TAIL * 2);
	buf_init(&v->pending, SIZE_MAX / 4);
	(void)map_put(&m->by_digest, str_from(digest), v);
	vec_push(&m->order, v);
	return v;
}

static void update_vertex(struct pmodel *m, const Moby__Buildkit__V1__Vertex *in)
{
	struct pvertex *v = get_vertex(m, in->digest);
	int64_t started = proto_time_ns(in->started);

	free(v->name);
	v->name = mem_strdup(in->name);
	if (started && v->completed && started != v->started_ns && !in->completed)
		/* It runs again, e.g. after its cache was looked up. */
		v->spent_ns += v->completed_ns - v->started_ns;
	if (started) {
		if (!v->number) {
			v->number = ++m->n_started;
			vec_push(&m->by_start, v);
		}
		v->started = true;
		v->started_ns = started;
		if (!m->first_ns || started < m->first_ns)
			m->first_ns = started;
	}
	v->completed = in->completed != NULL;
	v->completed_ns = proto_time_ns(in->completed);
	v->cached = in->cached;
	free(v->error);
	v->error = *in->error ? mem_strdup(in->error) : NULL;
	v->dirty = true;
}

static void update_status(struct pmodel *m, const Moby__Buildkit__V1__VertexStatus *in)
{
	struct pvertex *v = get_vertex(m, in->vertex);
	struct pstatus *s = NULL;

	vec_each (&v->statuses, it) {
		if (strcmp((*it)->id, in->id) == 0)
			s = *it;
	}
	if (!s) {
		s = NEW(struct pstatus);
		s->id = mem_strdup(in->id);
		s->name = mem_strdup(in->name);
		vec_push(&v->statuses, s);
	}
	s->current = in->current;
	s->total = in->total;
	s->started_ns = proto_time_ns(in->started);
	s->completed_ns = proto_time_ns(in->completed);
	s->dirty = v->dirty = true;
}

static void update_log(struct pmodel *m, const Moby__Buildkit__V1__VertexLog *in)
{
	struct pvertex *v = get_vertex(m, in->vertex);
	struct str msg = proto_bytes(in->msg);

	buf_add_str(&v->pending, msg);
	if (msg.len > DISPLAY_LOG_TAIL)
		msg = str_sub(msg, msg.len - DISPLAY_LOG_TAIL, msg.len);
	if (v->log.len + msg.len > DISPLAY_LOG_TAIL * 2)
		buf_consume(&v->log, v->log.len - MIN(v->log.len, (size_t)DISPLAY_LOG_TAIL));
	buf_add_str(&v->log, msg);
	v->dirty = true;
}

static void update_warning(struct pmodel *m, const Moby__Buildkit__V1__VertexWarning *in)
{
	struct pvertex *v = get_vertex(m, in->vertex);
	struct pwarning *w = NEW(struct pwarning);

	w->vertex = v;
	w->text = str_heap(proto_bytes(in->short_));
	w->url = mem_strdup(in->url);
	for (size_t i = 0; i < in->n_detail; i++)
		vec_push(&w->detail, str_heap(proto_bytes(in->detail[i])));
	vec_push(&v->warnings, w);
	v->n_new_warnings++;
	v->dirty = true;
}

void pmodel_update(struct pmodel *m, const Moby__Buildkit__V1__StatusResponse *r)
{
	for (size_t i = 0; i < r->n_vertexes; i++)
		update_vertex(m, r->vertexes[i]);
	for (size_t i = 0; i < r->n_statuses; i++)
		update_status(m, r->statuses[i]);
	for (size_t i = 0; i < r->n_logs; i++)
		update_log(m, r->logs[i]);
	for (size_t i = 0; i < r->n_warnings; i++)
		update_warning(m, r->warnings[i]);
}

int64_t pvertex_elapsed(const struct pvertex *v, int64_t now_ns)
{
	int64_t end = v->completed ? v->completed_ns : now_ns;

	if (!v->started)
		return 0;
	return v->spent_ns + MAX(end - v->started_ns, INT64_C(0));
}

bool pvertex_is_internal(const struct pvertex *v)
{
	return str_has_prefix(str_from(v->name), STR("[internal] "));
}

bool pvertex_is_canceled(const struct pvertex *v)
{
	return v->error && str_has_suffix(str_from(v->error), STR("context canceled"));
}

char *display_size(struct arena *a, int64_t bytes)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 1000 && u + 1 < ARRAY_SIZE(units)) {
		v /= 1000;
		u++;
	}
	return u ? arena_printf(a, "%.2f%s", v, units[u])
		 : arena_printf(a, "%lld%s", (long long)bytes, units[u]);
}

char *pstatus_text(struct arena *a, const struct pstatus *s, int64_t now_ns)
{
	char *text = arena_strdup(a, s->id);
	int64_t end = s->completed_ns ? s->completed_ns : now_ns;

	if (s->total)
		text = arena_printf(a, "%s %s / %s", text, display_size(a, s->current),
				    display_size(a, s->total));
	else if (s->current)
		text = arena_printf(a, "%s %s", text, display_size(a, s->current));
	if (s->started_ns && end - s->started_ns >= 50 * NSEC_PER_MSEC)
		text = arena_printf(a, "%s %.1fs", text, (double)(end - s->started_ns) / 1e9);
	if (s->completed_ns)
		text = arena_printf(a, "%s done", text);
	return text;
}
