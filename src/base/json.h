/* JSON: jansson to read, an own writer whose bytes are those of Go's encoding/json
 * (HTML escaping of <, >, &, U+2028/9; map keys sorted by the caller; integers plain).
 * json_* of jansson are used directly for reading; include this header, not jansson.h. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

/* INVALID_ARGUMENT naming `what` on junk. Depth is bounded. The caller json_decrefs. */
struct err *json_read(struct str text, const char *what, json_t **ret) ERR_RESULT;
static inline void json_unrefp(json_t **j)
{
	json_decref(*j);
}
#define SCOPED_JSON(name) CLEANUP(json_unrefp) json_t *name = NULL
/* Member of an object as a string slice (borrowed from the json_t), or empty. */
struct str json_get_str(const json_t *obj, const char *key);
int64_t json_get_int(const json_t *obj, const char *key, int64_t otherwise);
bool json_get_bool(const json_t *obj, const char *key, bool otherwise);

/* The writer: commas and indentation are its business. indent NULL is compact; else as
 * json.MarshalIndent(v, "", indent): empty {} and [] stay on one line. */
struct json_out {
	struct buf *out;
	const char *indent;
	int depth;
	bool need_comma, empty, after_key;
	bool no_html_escape; /* as Encoder.SetEscapeHTML(false) */
};
void json_out_init(struct json_out *j, struct buf *out, const char *indent);
void json_obj_begin(struct json_out *j);
void json_obj_end(struct json_out *j);
void json_arr_begin(struct json_out *j);
void json_arr_end(struct json_out *j);
void json_key(struct json_out *j, struct str key);
void json_str(struct json_out *j, struct str value);
void json_int(struct json_out *j, int64_t v);
void json_uint(struct json_out *j, uint64_t v);
void json_bool(struct json_out *j, bool v);
void json_nil(struct json_out *j);
void json_base64(struct json_out *j, struct str bytes); /* Go's []byte */
/* A parsed value again, object keys sorted (as Go marshals a map). */
void json_value(struct json_out *j, const json_t *v);
/* Raw JSON text, copied compact as it is. */
void json_raw(struct json_out *j, struct str text);
#define json_kstr(j, k, v) (json_key((j), STR(k)), json_str((j), (v)))
#define json_kint(j, k, v) (json_key((j), STR(k)), json_int((j), (v)))
#define json_kbool(j, k, v) (json_key((j), STR(k)), json_bool((j), (v)))

/* Standard base64 with padding. */
void base64_encode(struct buf *out, struct str bytes);
struct err *base64_decode(struct arena *a, struct str text, struct str *ret) ERR_RESULT;
/* Go's %q of a string. */
void go_quote(struct buf *out, struct str s);

#endif
