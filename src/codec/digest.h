/* Content digests as values (OCI image spec, "Digests"). Text ("sha256:<hex>") only at
 * the edges: JSON, wire, logs. The zero value is "no digest".
 * DIGEST_RANDOM is BuildKit's `random:` pseudo-digest: an identity that is never
 * persisted or exported. */
#ifndef CODEC_DIGEST_H
#define CODEC_DIGEST_H

#include "base/arena.h"
#include "base/err.h"

#include <stdint.h>

enum digest_algo { DIGEST_NONE, DIGEST_SHA256, DIGEST_SHA384, DIGEST_SHA512, DIGEST_RANDOM };

struct digest {
	uint8_t algo;      /* enum digest_algo */
	uint8_t bytes[64]; /* unused tail is zero, so memcmp compares */
};

#define DIGEST_TEXT_MAX 136 /* "sha512:" + 128 hex digits + NUL */

size_t digest_size(enum digest_algo algo); /* bytes: 32, 48, 64 */
bool digest_is_set(const struct digest *d);
bool digest_eq(const struct digest *a, const struct digest *b);
int digest_cmp(const struct digest *a, const struct digest *b);
/* INVALID_ARGUMENT `invalid checksum digest format` / `unsupported digest algorithm`
 * / `invalid checksum digest length`, as Go's go-digest words it. */
struct err *digest_parse(struct str text, struct digest *ret) ERR_RESULT;
/* Writes the text with its NUL; returns out. */
char *digest_format(const struct digest *d, char out[DIGEST_TEXT_MAX]);
char *digest_text(const struct digest *d, struct arena *a);
/* Only the hex part. */
char *digest_hex(const struct digest *d, struct arena *a);

struct digest digest_sha256(struct str data);
/* HMAC (RFC 2104) with SHA-256. */
struct digest digest_hmac_sha256(struct str key, struct str data);
struct digest digest_random(void); /* algo DIGEST_RANDOM, fresh */

/* Running hash; reusable. OpenSSL's EVP_MD is fetched once for the process. */
struct hasher;
struct hasher *hasher_new(enum digest_algo algo);
void hasher_free(struct hasher *h);
void hasher_freep(struct hasher **h);
void hasher_reset(struct hasher *h);
void hasher_add(struct hasher *h, const void *p, size_t len);
void hasher_add_str(struct hasher *h, struct str s);
struct digest hasher_sum(struct hasher *h); /* and resets */

#endif
