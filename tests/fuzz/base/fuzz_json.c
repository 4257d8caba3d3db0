/* Reading, and what is written again: it must read back as the same value. */
#include "base/json.h"
#include "base/limits.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = str_make(data, size);
	SCOPED_BUF(out, 16 * MIB);
	SCOPED_BUF(again, 16 * MIB);
	SCOPED_JSON(v);
	SCOPED_JSON(w);
	SCOPED_ARENA(a);
	struct json_out j;
	struct str bytes;
	struct err *e;

	/* Any bytes make a string that is JSON. */
	json_out_init(&j, &out, NULL);
	json_str(&j, in);
	e = json_read(buf_str(&out), "string", &w);
	assert(!e || str_find(in, '\0') >= 0);
	err_free(e);
	buf_clear(&out);
	go_quote(&out, in);
	assert(str_is_utf8(buf_str(&out)));
	e = base64_decode(&a, in, &bytes);
	err_free(e);
	buf_clear(&out);

	e = json_read(in, "input", &v);
	if (e) {
		err_free(e);
		return 0;
	}
	/* Once through: the float -0 becomes an integer, and integers that are too big floats. */
	json_out_init(&j, &out, NULL);
	json_value(&j, v);
	json_decref(TAKE_PTR(v));
	e = json_read(buf_str(&out), "output", &v);
	assert(!e);
	for (int indent = 0; indent < 2; indent++) {
		const char *spaces = indent ? "  " : NULL;

		buf_clear(&out);
		json_out_init(&j, &out, spaces);
		json_value(&j, v);
		json_decref(TAKE_PTR(w));
		e = json_read(buf_str(&out), "output", &w);
		assert(!e);
		buf_clear(&again);
		json_out_init(&j, &again, spaces);
		json_value(&j, w);
		assert(str_eq(buf_str(&out), buf_str(&again)));
		/* Raw text of what is laid out already comes out as it went in. */
		buf_clear(&again);
		json_out_init(&j, &again, spaces);
		json_raw(&j, buf_str(&out));
		assert(str_eq(buf_str(&out), buf_str(&again)));
	}
	return 0;
}
