#include "base/yaml.h"

#include "base/limits.h"
#include "base/mem.h"

#include <yaml.h>

struct reader {
	yaml_parser_t parser;
	const char *what;
	size_t values;
	size_t line; /* of the value at hand */
};

static struct err *invalid(const struct reader *r, const char *text)
{
	return err_new(ERR_INVALID_ARGUMENT, "%s: yaml: line %zu: %s", r->what, r->line, text);
}

static struct err *next(struct reader *r, yaml_event_t *ret)
{
	if (!yaml_parser_parse(&r->parser, ret))
		return err_new(ERR_INVALID_ARGUMENT, "%s: yaml: line %zu: %s", r->what,
			       r->parser.problem_mark.line + 1,
			       r->parser.problem ? r->parser.problem : "unreadable");
	r->line = ret->start_mark.line + 1;
	if (++r->values > LIMIT_YAML_VALUES) {
		yaml_event_delete(ret);
		return invalid(r, "too many values");
	}
	return NULL;
}

static bool is_one_of(struct str s, const char *const *words)
{
	for (; *words; words++)
		if (str_eq_cstr(s, *words))
			return true;
	return false;
}

static json_t *plain_scalar(struct str s)
{
	static const char *const yes[] = { "true", "True", "TRUE", NULL };
	static const char *const no[] = { "false", "False", "FALSE", NULL };
	static const char *const nil[] = { "", "~", "null", "Null", "NULL", NULL };
	int64_t n;

	if (is_one_of(s, nil))
		return json_null();
	if (is_one_of(s, yes) || is_one_of(s, no))
		return json_boolean(is_one_of(s, yes));
	/* "007" is a text to us: octal numbers are nobody's intention. */
	if (str_to_i64(s, &n) && (s.len == 1 || s.ptr[0] != '0'))
		return json_integer(n);
	return json_stringn_nocheck(s.ptr, s.len);
}

static struct err *scalar(struct reader *r, const yaml_event_t *ev, json_t **ret)
{
	struct str s = str_make(ev->data.scalar.value, ev->data.scalar.length);

	if (s.len && memchr(s.ptr, '\0', s.len))
		return invalid(r, "NUL in a text");
	*ret = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE
		       ? plain_scalar(s)
		       : json_stringn_nocheck(s.ptr, s.len);
	return NULL;
}

/* The containers that are open, and the key that waits for its value. */
struct level {
	json_t *value;
	char *key;
};

static struct err *put(struct reader *r, struct level *top, const yaml_event_t *ev, json_t *take)
{
	if (json_is_array(top->value)) {
		(void)json_array_append_new(top->value, take);
		return NULL;
	}
	if (!top->key) {
		bool is_key = ev->type == YAML_SCALAR_EVENT;

		json_decref(take);
		if (!is_key)
			return invalid(r, "a key is not a text");
		top->key = mem_strdup((const char *)ev->data.scalar.value);
		return NULL;
	}
	if (json_object_get(top->value, top->key)) {
		json_decref(take);
		return invalid(r, "a key is there twice");
	}
	(void)json_object_set_new_nocheck(top->value, top->key, take);
	free(TAKE_PTR(top->key));
	return NULL;
}

/* One event inside the document. */
static struct err *handle(struct reader *r, const yaml_event_t *ev, struct level *stack,
			  size_t *depth, json_t **root)
{
	json_t *v = NULL;
	bool opens = ev->type == YAML_MAPPING_START_EVENT || ev->type == YAML_SEQUENCE_START_EVENT;

	switch (ev->type) {
	case YAML_SCALAR_EVENT:
		TRY(scalar(r, ev, &v));
		break;
	case YAML_MAPPING_START_EVENT:
		v = json_object();
		break;
	case YAML_SEQUENCE_START_EVENT:
		v = json_array();
		break;
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		(*depth)--;
		return NULL;
	case YAML_ALIAS_EVENT:
		return invalid(r, "aliases are not supported");
	default:
		return invalid(r, "more than one document");
	}
	if (*depth)
		TRY(put(r, &stack[*depth - 1], ev, v));
	else
		*root = v;
	if (!opens)
		return NULL;
	if (*depth == LIMIT_JSON_DEPTH)
		return invalid(r, "nested too deeply");
	stack[(*depth)++] = (struct level) { .value = v };
	return NULL;
}

static struct err *read_all(struct reader *r, json_t **root)
{
	struct level stack[LIMIT_JSON_DEPTH] = { 0 };
	bool end = false;
	size_t depth = 0;
	struct err *e = NULL;

	while (!end && !e) {
		yaml_event_t ev;

		e = next(r, &ev);
		if (e)
			break;
		end = ev.type == YAML_STREAM_END_EVENT;
		switch (ev.type) {
		case YAML_STREAM_START_EVENT:
		case YAML_STREAM_END_EVENT:
		case YAML_DOCUMENT_END_EVENT:
			break;
		case YAML_DOCUMENT_START_EVENT:
			if (*root)
				e = invalid(r, "more than one document");
			break;
		default:
			e = handle(r, &ev, stack, &depth, root);
		}
		yaml_event_delete(&ev);
	}
	for (size_t i = 0; i < LIMIT_JSON_DEPTH; i++)
		free(stack[i].key);
	return e;
}

struct err *yaml_read(struct str text, const char *what, json_t **ret)
{
	struct reader r = { .what = what };
	json_t *root = NULL;
	struct err *e;

	if (!yaml_parser_initialize(&r.parser))
		abort();
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text.ptr, text.len);
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	e = read_all(&r, &root);
	if (!e && !root)
		root = json_null();
	yaml_parser_delete(&r.parser);
	if (e) {
		json_decref(root);
		return e;
	}
	*ret = root;
	return NULL;
}
