/* A manifest, index or descriptor; printed, it is parsed again and printed alike. */
#include "base/limits.h"
#include "codec/oci.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void manifest(struct arena *a, struct str in, struct buf *x, struct buf *y)
{
	struct oci_manifest m;
	struct err *e = oci_parse_manifest(a, in, &m);

	if (!e) {
		oci_print_manifest(&m, x);
		e = oci_parse_manifest(a, buf_str(x), &m);
		assert(!e);
		oci_print_manifest(&m, y);
		assert(str_eq(buf_str(x), buf_str(y)));
	}
	err_free(e);
}

static void indexes(struct arena *a, struct str in, struct buf *x, struct buf *y)
{
	struct oci_index ix;
	struct err *e = oci_parse_index(a, in, &ix);

	if (!e) {
		oci_print_index(&ix, x);
		e = oci_parse_index(a, buf_str(x), &ix);
		assert(!e);
		oci_print_index(&ix, y);
		assert(str_eq(buf_str(x), buf_str(y)));
	}
	err_free(e);
}

static void descriptor(struct arena *a, struct str in, struct buf *x, struct buf *y)
{
	struct oci_descriptor d, copy;
	struct err *e = oci_parse_descriptor(a, in, &d);

	if (!e) {
		oci_descriptor_dup(a, &d, &copy);
		oci_print_descriptor(&d, x);
		oci_print_descriptor(&copy, y);
		assert(str_eq(buf_str(x), buf_str(y)));
	}
	err_free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const all[])(struct arena *, struct str, struct buf *,
				   struct buf *) = { manifest, indexes, descriptor };

	/* A little room: printing again must never pass the limit of what is read. */
	if (size > LIMIT_MANIFEST / 64)
		return 0;
	for (size_t i = 0; i < 3; i++) {
		SCOPED_ARENA(a);
		SCOPED_BUF(x, 64 * MIB);
		SCOPED_BUF(y, 64 * MIB);

		all[i](&a, str_make(data, size), &x, &y);
	}
	return 0;
}
