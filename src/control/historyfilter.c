/* Filters of build records: entries are ORed, the comma-separated fields of one are ANDed. Times
 * and durations are compared here, the rest is containerd's syntax. */
#include "base/limits.h"
#include "base/mem.h"
#include "base/vec.h"
#include "cache/filter.h"
#include "control/history.h"

enum when_field { WHEN_STARTED, WHEN_COMPLETED, WHEN_DURATION };
enum when_op { WHEN_GE, WHEN_LE, WHEN_GT, WHEN_LT };

struct when {
	enum when_field field;
	enum when_op op;
	int64_t value; /* seconds since the epoch; ns of a duration */
};

struct entry {
	struct when *whens;
	size_t n_whens;
	struct filter *fields; /* NULL: none */
};

struct history_filter {
	struct entry *entries;
	size_t n;
};

static struct err *parse_value(struct when *w, struct str value)
{
	int64_t ns;

	if (w->field == WHEN_DURATION) {
		if (!clock_parse_duration(value, &w->value))
			return err_new(ERR_UNKNOWN, "invalid duration %.*s", STR_ARG(value));
		return NULL;
	}
	/* A duration is that long ago. */
	if (clock_parse_duration(value, &ns))
		ns = clock_wall() - ns;
	else if (!clock_parse_rfc3339(value, &ns))
		return err_new(ERR_UNKNOWN, "invalid time %.*s", STR_ARG(value));
	w->value = ns / NSEC_PER_SEC;
	return NULL;
}

/* *ret_is false: it is another field. */
static struct err *parse_when(struct str text, struct when *ret, bool *ret_is)
{
	static const char *const names[] = { "startedAt", "completedAt", "duration" };
	static const char *const ops[] = { ">=", "<=", ">", "<" };

	*ret_is = false;
	for (size_t op = 0; op < ARRAY_SIZE(ops); op++) {
		ptrdiff_t at = str_find_str(text, str_from(ops[op]));

		if (at < 0)
			continue;
		for (size_t f = 0; f < ARRAY_SIZE(names); f++) {
			if (!str_eq_cstr(str_sub(text, 0, (size_t)at), names[f]))
				continue;
			*ret_is = true;
			*ret = (struct when) { (enum when_field)f, (enum when_op)op, 0 };
			return parse_value(ret,
					   str_sub(text, (size_t)at + strlen(ops[op]), text.len));
		}
		return NULL;
	}
	return NULL;
}

/* Fields of one CSV line. */
static struct err *split(struct arena *a, struct str line, struct str **ret, size_t *ret_n)
{
	VEC(struct str) out = VEC_INIT;
	struct err *e = NULL;
	size_t i = 0;

	for (;;) {
		SCOPED_BUF(field, LIMIT_URL);

		if (i < line.len && line.ptr[i] == '"') {
			for (i++; i < line.len; i++) {
				if (line.ptr[i] != '"')
					buf_add_char(&field, line.ptr[i]);
				else if (i + 1 < line.len && line.ptr[i + 1] == '"')
					buf_add_char(&field, line.ptr[i++]);
				else
					break;
			}
			if (i++ >= line.len)
				e = err_new(ERR_UNKNOWN, "parse error: extraneous or missing \" in "
							 "quoted-field");
		}
		for (; i < line.len && line.ptr[i] != ','; i++)
			buf_add_char(&field, line.ptr[i]);
		if (!e)
			e = buf_check(&field, "filter");
		vec_push(&out, str_dup(a, buf_str(&field)));
		if (e || i++ >= line.len)
			break;
	}
	*ret = arena_dup(a, out.items, out.len * sizeof(struct str));
	*ret_n = out.len;
	vec_fini(&out);
	return e;
}

static struct err *parse_entry(struct arena *a, struct str line, struct entry *ret)
{
	SCOPED_BUF(rest, LIMIT_URL);
	struct str *fields, joined;
	struct err *e;
	size_t n;

	TRY(split(a, line, &fields, &n));
	ret->whens = ARENA_NEW_N(a, struct when, n);
	for (size_t i = 0; i < n; i++) {
		bool is;

		TRY(parse_when(fields[i], &ret->whens[ret->n_whens], &is));
		if (is)
			ret->n_whens++;
		else
			buf_addf(&rest, "%s%.*s", rest.len ? "," : "", STR_ARG(fields[i]));
	}
	if (!rest.len)
		return NULL;
	joined = str_dup(a, buf_str(&rest));
	e = filter_parse(a, &joined, 1, &ret->fields);
	return err_wrap(e, "failed to parse history filters %.*s", STR_ARG(line));
}

struct err *history_filter_new(struct arena *a, char *const *list, size_t n,
			       struct history_filter **ret)
{
	struct history_filter *f;

	*ret = NULL;
	if (!n)
		return NULL;
	f = ARENA_NEW(a, struct history_filter);
	f->entries = ARENA_NEW_N(a, struct entry, n);
	for (; f->n < n; f->n++) {
		struct err *e = parse_entry(a, str_from(list[f->n]), &f->entries[f->n]);

		if (e) {
			history_filter_free(f);
			return e;
		}
	}
	*ret = f;
	return NULL;
}

void history_filter_free(struct history_filter *f)
{
	for (size_t i = 0; f && i < f->n; i++)
		filter_free(f->entries[i].fields);
}

static bool when_matches(const struct when *w, const history_record *r)
{
	int64_t v = 0;

	switch (w->field) {
	case WHEN_STARTED:
		v = proto_time_ns(r->createdat) / NSEC_PER_SEC;
		break;
	case WHEN_COMPLETED:
		v = r->completedat ? proto_time_ns(r->completedat) / NSEC_PER_SEC : 0;
		break;
	case WHEN_DURATION:
		v = r->completedat ? proto_time_ns(r->completedat) - proto_time_ns(r->createdat)
				   : 0;
		break;
	}
	switch (w->op) {
	case WHEN_GE:
		return v >= w->value;
	case WHEN_LE:
		return v <= w->value;
	case WHEN_GT:
		return v > w->value;
	default:
		return v < w->value;
	}
}

static struct str status_of(const history_record *r)
{
	if (!r->completedat)
		return STR("running");
	if (!r->error)
		return STR("completed");
	return str_find_str(str_from(r->error->message), STR("context canceled")) >= 0
		       ? STR("canceled")
		       : STR("error");
}

static bool field(const void *of, struct str name, struct buf *join, struct str *ret)
{
	const history_record *r = of;

	(void)join;
	*ret = STR_NONE;
	if (str_eq_cstr(name, "ref")) {
		*ret = str_from(r->ref);
		return ret->len > 0;
	}
	if (str_eq_cstr(name, "status")) {
		*ret = status_of(r);
		return true;
	}
	if (str_eq_cstr(name, "repository")) {
		const char *v = PROTO_MAP_GET(r->n_frontendattrs, r->frontendattrs, "vcs:source");
		struct str where, fragment;

		if (v) {
			*ret = str_from(v);
			return true;
		}
		v = PROTO_MAP_GET(r->n_frontendattrs, r->frontendattrs, "context");
		/* The name of a local directory is no remote. */
		if (!v || !strchr(v, ':'))
			return false;
		str_cut(str_from(v), '#', &where, &fragment);
		*ret = where;
		return true;
	}
	return false;
}

bool history_filter_match(const struct history_filter *f, const history_record *r)
{
	if (!f)
		return true;
	for (size_t i = 0; i < f->n; i++) {
		const struct entry *e = &f->entries[i];
		bool all = true;

		for (size_t k = 0; k < e->n_whens && all; k++)
			all = when_matches(&e->whens[k], r);
		if (all && (!e->fields || filter_match_fields(e->fields, field, r)))
			return true;
	}
	return false;
}
