/* A cache config, with a manifest's blobs, with layers that describe themselves, and as an inline
 * cache. Whatever it says, each of its results has layers that can be had. */
#include "remotecache/parse.h"

#include "base/limits.h"

#include <assert.h>
#include <stdint.h>

#define SHA_A "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
#define SHA_B "sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(struct arena *a, const struct import_config *c)
{
	const struct import_blob **layers;
	size_t n;

	for (size_t i = 0; i < c->n_records; i++) {
		const struct import_record *r = &c->records[i];

		for (size_t k = 0; k < r->n_inputs; k++) {
			assert(r->n_links[k]);
			for (size_t m = 0; m < r->n_links[k]; m++)
				assert(r->inputs[k][m].record < c->n_records);
		}
		for (size_t k = 0; k < r->n_results; k++) {
			struct err *e = import_result_layers(c, &r->results[k], a, &layers, &n);

			assert(e || n);
			for (size_t m = 0; !e && m < n; m++)
				assert(layers[m]);
			err_free(e);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_make((const char *)data, size);
	struct import_blob blobs[2] = { { .description = STR("a") }, { .description = STR("b") } };
	struct map map = MAP_INIT;
	SCOPED_ARENA(a);
	struct import_config c;
	struct err *e;

	if (size > MIB)
		return 0;
	map_put(&map, STR(SHA_A), &blobs[0]);
	map_put(&map, STR(SHA_B), &blobs[1]);
	e = import_parse(&a, text, &map, &c);
	if (!e)
		walk(&a, &c);
	err_free(e);
	e = import_parse(&a, text, NULL, &c);
	if (!e)
		walk(&a, &c);
	err_free(e);
	e = import_parse_inline(&a, text, blobs, 2, &c);
	if (!e)
		walk(&a, &c);
	err_free(e);
	map_fini(&map, NULL);
	return 0;
}
