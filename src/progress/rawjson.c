#include "progress/display.h"

#include "base/clock.h"
#include "base/json.h"

static void put_time(struct json_out *j, struct str key, const Google__Protobuf__Timestamp *t)
{
	SCOPED_ARENA(a);

	if (!t)
		return;
	json_key(j, key);
	json_str(j, str_from(clock_rfc3339(&a, proto_time_ns(t))));
}

static void put_str(struct json_out *j, struct str key, const char *v)
{
	if (!*v)
		return;
	json_key(j, key);
	json_str(j, str_from(v));
}

static void put_vertex(struct json_out *j, const Moby__Buildkit__V1__Vertex *v)
{
	json_obj_begin(j);
	put_str(j, STR("digest"), v->digest);
	if (v->n_inputs) {
		json_key(j, STR("inputs"));
		json_arr_begin(j);
		for (size_t i = 0; i < v->n_inputs; i++)
			json_str(j, str_from(v->inputs[i]));
		json_arr_end(j);
	}
	put_str(j, STR("name"), v->name);
	put_time(j, STR("started"), v->started);
	put_time(j, STR("completed"), v->completed);
	if (v->cached)
		json_kbool(j, "cached", true);
	put_str(j, STR("error"), v->error);
	if (v->progressgroup) {
		json_key(j, STR("progressGroup"));
		json_obj_begin(j);
		put_str(j, STR("id"), v->progressgroup->id);
		put_str(j, STR("name"), v->progressgroup->name);
		if (v->progressgroup->weak)
			json_kbool(j, "weak", true);
		json_obj_end(j);
	}
	json_obj_end(j);
}

static void put_status(struct json_out *j, const Moby__Buildkit__V1__VertexStatus *s)
{
	SCOPED_ARENA(a);

	json_obj_begin(j);
	json_kstr(j, "id", str_from(s->id));
	put_str(j, STR("vertex"), s->vertex);
	put_str(j, STR("name"), s->name);
	if (s->total)
		json_kint(j, "total", s->total);
	json_kint(j, "current", s->current);
	json_kstr(j, "timestamp", str_from(clock_rfc3339(&a, proto_time_ns(s->timestamp))));
	put_time(j, STR("started"), s->started);
	put_time(j, STR("completed"), s->completed);
	json_obj_end(j);
}

static void put_log(struct json_out *j, const Moby__Buildkit__V1__VertexLog *l)
{
	SCOPED_ARENA(a);

	json_obj_begin(j);
	put_str(j, STR("vertex"), l->vertex);
	if (l->stream)
		json_kint(j, "stream", l->stream);
	json_key(j, STR("data"));
	json_base64(j, proto_bytes(l->msg));
	json_kstr(j, "timestamp", str_from(clock_rfc3339(&a, proto_time_ns(l->timestamp))));
	json_obj_end(j);
}

static void put_warning(struct json_out *j, const Moby__Buildkit__V1__VertexWarning *w)
{
	json_obj_begin(j);
	put_str(j, STR("vertex"), w->vertex);
	if (w->level)
		json_kint(j, "level", w->level);
	if (w->short_.len) {
		json_key(j, STR("short"));
		json_base64(j, proto_bytes(w->short_));
	}
	if (w->n_detail) {
		json_key(j, STR("detail"));
		json_arr_begin(j);
		for (size_t i = 0; i < w->n_detail; i++)
			json_base64(j, proto_bytes(w->detail[i]));
		json_arr_end(j);
	}
	put_str(j, STR("url"), w->url);
	if (w->info) {
		json_key(j, STR("sourceInfo"));
		json_obj_begin(j);
		put_str(j, STR("filename"), w->info->filename);
		if (w->info->data.len) {
			json_key(j, STR("data"));
			json_base64(j, proto_bytes(w->info->data));
		}
		put_str(j, STR("language"), w->info->language);
		json_obj_end(j);
	}
	if (w->n_ranges) {
		json_key(j, STR("range"));
		json_arr_begin(j);
		for (size_t i = 0; i < w->n_ranges; i++) {
			const Pb__Position *p[2] = { w->ranges[i]->start, w->ranges[i]->end };
			const char *const names[2] = { "start", "end" };

			json_obj_begin(j);
			for (int k = 0; k < 2; k++) {
				if (!p[k])
					continue;
				json_key(j, str_from(names[k]));
				json_obj_begin(j);
				if (p[k]->line)
					json_kint(j, "line", p[k]->line);
				if (p[k]->character)
					json_kint(j, "character", p[k]->character);
				json_obj_end(j);
			}
			json_obj_end(j);
		}
		json_arr_end(j);
	}
	json_obj_end(j);
}

#define PUT_ARRAY(j, name, n, items, put)                                                          \
	do {                                                                                       \
		if (!(n))                                                                          \
			break;                                                                     \
		json_key((j), STR(name));                                                          \
		json_arr_begin(j);                                                                 \
		for (size_t i_ = 0; i_ < (n); i_++)                                                \
			put((j), (items)[i_]);                                                     \
		json_arr_end(j);                                                                   \
	} while (0)

void display_rawjson(const Moby__Buildkit__V1__StatusResponse *r, struct buf *out)
{
	struct json_out j;

	json_out_init(&j, out, NULL);
	json_obj_begin(&j);
	PUT_ARRAY(&j, "vertexes", r->n_vertexes, r->vertexes, put_vertex);
	PUT_ARRAY(&j, "statuses", r->n_statuses, r->statuses, put_status);
	PUT_ARRAY(&j, "logs", r->n_logs, r->logs, put_log);
	PUT_ARRAY(&j, "warnings", r->n_warnings, r->warnings, put_warning);
	json_obj_end(&j);
	buf_add_char(out, '\n');
}
