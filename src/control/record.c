/* The record of a build while it goes on: filled in as things become known, handed to the history
 * at the end. */
#include "control/build.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "control/history.h"

/* For what follows a build that was cancelled. */
#define RECORD_PATIENCE (300 * NSEC_PER_SEC)

typedef Moby__Buildkit__V1__BuildHistoryRecord__FrontendAttrsEntry attr_entry;
typedef Moby__Buildkit__V1__BuildHistoryRecord__ExporterResponseEntry response_entry;
typedef Moby__Buildkit__V1__BuildResultInfo__ResultsEntry result_entry;

void build_record_begin(struct build *b)
{
	const Moby__Buildkit__V1__SolveRequest *req = b->req;
	struct history *h = b->control->history;
	struct arena *a = &b->arena;
	history_record *r;
	struct err *e;

	if (!h || req->internal)
		return;
	r = ARENA_NEW(a, history_record);
	moby__buildkit__v1__build_history_record__init(r);
	r->ref = req->ref;
	r->frontend = req->frontend;
	r->n_frontendattrs = req->n_frontendattrs;
	r->frontendattrs = ARENA_NEW_N(a, attr_entry *, req->n_frontendattrs + 1);
	for (size_t i = 0; i < req->n_frontendattrs; i++) {
		r->frontendattrs[i] = ARENA_NEW(a, attr_entry);
		moby__buildkit__v1__build_history_record__frontend_attrs_entry__init(
			r->frontendattrs[i]);
		r->frontendattrs[i]->key = req->frontendattrs[i]->key;
		r->frontendattrs[i]->value = req->frontendattrs[i]->value;
	}
	r->n_exporters = req->n_exporters;
	r->exporters = req->exporters;
	r->createdat = proto_timestamp(a, clock_wall());
	e = history_begin(h, r);
	if (e)
		log_warn("build %s has no record: %s", req->ref, err_text(e));
	else
		b->record = r;
	err_free(e);
}

void build_record_result(struct build *b, const struct frontend_result *result)
{
	history_record *r = b->record;
	struct arena *a = &b->arena;

	if (!r)
		return;
	r->n_exporterresponse = result->n_metadata;
	r->exporterresponse = ARENA_NEW_N(a, response_entry *, result->n_metadata + 1);
	for (size_t i = 0; i < result->n_metadata; i++) {
		response_entry *e = ARENA_NEW(a, response_entry);

		moby__buildkit__v1__build_history_record__exporter_response_entry__init(e);
		e->key = str_cstr(a, result->metadata[i].key);
		/* Strings of the protocol: what is none can't be told. */
		e->value = str_is_utf8(result->metadata[i].value)
				   ? str_cstr(a, result->metadata[i].value)
				   : (char *)"";
		r->exporterresponse[i] = e;
	}
}

static struct err *parse_descriptor(struct arena *a, struct str base64,
				    Moby__Buildkit__V1__Descriptor **ret)
{
	Moby__Buildkit__V1__Descriptor *d = ARENA_NEW(a, Moby__Buildkit__V1__Descriptor);
	SCOPED_JSON(json);
	struct str text;

	TRY(base64_decode(a, base64, &text));
	TRY(json_read(text, "descriptor", &json));
	moby__buildkit__v1__descriptor__init(d);
	d->media_type = str_cstr(a, json_get_str(json, "mediaType"));
	d->digest = str_cstr(a, json_get_str(json, "digest"));
	d->size = json_get_int(json, "size", 0);
	*ret = d;
	return NULL;
}

void build_record_export(struct build *b, int index, const struct map *response)
{
	const char *text = map_get(response, STR("containerimage.descriptor"));
	Moby__Buildkit__V1__BuildResultInfo *info;
	Moby__Buildkit__V1__Descriptor *d;
	struct arena *a = &b->arena;
	result_entry **more, *entry;
	struct err *e;

	if (!b->record || !text)
		return;
	e = parse_descriptor(a, str_from(text), &d);
	if (e) {
		log_warn("descriptor of an export of build %s: %s", b->record->ref, err_text(e));
		err_free(e);
		return;
	}
	if (!b->record->result) {
		b->record->result = ARENA_NEW(a, Moby__Buildkit__V1__BuildResultInfo);
		moby__buildkit__v1__build_result_info__init(b->record->result);
	}
	info = b->record->result;
	/* For clients that know of one only. */
	if (!info->resultdeprecated)
		info->resultdeprecated = d;
	more = ARENA_NEW_N(a, result_entry *, info->n_results + 1);
	memcpy(more, info->results, info->n_results * sizeof(result_entry *));
	entry = ARENA_NEW(a, result_entry);
	moby__buildkit__v1__build_result_info__results_entry__init(entry);
	entry->key = index;
	entry->value = d;
	more[info->n_results++] = entry;
	info->results = more;
}

void build_record_end(struct build *b, const struct err *failed)
{
	struct control *c = b->control;
	struct ctx *ctx;
	struct err *e;

	if (!b->record)
		return;
	progress_close(job_progress(b->job));
	ctx = ctx_new_timeout(c->ctx, RECORD_PATIENCE);
	e = history_end(c->history, ctx, &b->arena, b->record, job_progress(b->job), failed);
	if (e) {
		log_warn("build %s has no record: %s", b->record->ref, err_text(e));
		history_drop(c->history, str_from(b->record->ref));
	}
	err_free(e);
	ctx_unref(ctx);
	b->record = NULL;
}
