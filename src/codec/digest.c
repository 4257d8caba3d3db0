#include "codec/digest.h"

#include "base/id.h"
#include "base/mem.h"

#include <assert.h>
#include <openssl/evp.h>
#include <pthread.h>

static const struct {
	const char *name;
	size_t size;
} algos[] = {
	[DIGEST_NONE] = { "", 0 },          [DIGEST_SHA256] = { "sha256", 32 },
	[DIGEST_SHA384] = { "sha384", 48 }, [DIGEST_SHA512] = { "sha512", 64 },
	[DIGEST_RANDOM] = { "random", 32 },
};

size_t digest_size(enum digest_algo algo)
{
	return algos[algo].size;
}

bool digest_is_set(const struct digest *d)
{
	return d->algo != DIGEST_NONE;
}

bool digest_eq(const struct digest *a, const struct digest *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

int digest_cmp(const struct digest *a, const struct digest *b)
{
	/* The order of the texts. */
	if (a->algo != b->algo)
		return strcmp(algos[a->algo].name, algos[b->algo].name);
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

/* ---- text ---- */

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* [a-z0-9]+([.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+ */
static bool is_digest_shaped(struct str algo, struct str encoded)
{
	bool after_alnum = false;

	for (size_t i = 0; i < algo.len; i++) {
		bool alnum = is_lower_alnum(algo.ptr[i]);

		if (!alnum && (!after_alnum || !strchr(".+_-", algo.ptr[i]) || !algo.ptr[i]))
			return false;
		after_alnum = alnum;
	}
	if (!after_alnum || !encoded.len)
		return false;
	for (size_t i = 0; i < encoded.len; i++) {
		char c = encoded.ptr[i];

		if (!is_lower_alnum(c) && !(c >= 'A' && c <= 'Z') && c != '=' && c != '_' &&
		    c != '-')
			return false;
	}
	return true;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

struct err *digest_parse(struct str text, struct digest *ret)
{
	struct str algo, hex;
	struct digest d = { 0 };
	size_t size;

	if (!str_cut(text, ':', &algo, &hex) || !algo.len || !hex.len)
		return err_new(ERR_INVALID_ARGUMENT, "invalid checksum digest format");
	for (uint8_t i = DIGEST_SHA256; i <= DIGEST_SHA512; i++)
		if (str_eq_cstr(algo, algos[i].name))
			d.algo = i;
	if (d.algo == DIGEST_NONE) {
		if (!is_digest_shaped(algo, hex))
			return err_new(ERR_INVALID_ARGUMENT, "invalid checksum digest format");
		return err_new(ERR_INVALID_ARGUMENT, "unsupported digest algorithm");
	}
	size = algos[d.algo].size;
	if (hex.len != size * 2)
		return err_new(ERR_INVALID_ARGUMENT, "invalid checksum digest length");
	for (size_t i = 0; i < size; i++) {
		int hi = hex_value(hex.ptr[2 * i]), lo = hex_value(hex.ptr[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return err_new(ERR_INVALID_ARGUMENT, "invalid checksum digest format");
		d.bytes[i] = (uint8_t)(hi << 4 | lo);
	}
	*ret = d;
	return NULL;
}

static char *add_hex(char *out, const struct digest *d)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < algos[d->algo].size; i++) {
		*out++ = digits[d->bytes[i] >> 4];
		*out++ = digits[d->bytes[i] & 15];
	}
	*out = '\0';
	return out;
}

char *digest_format(const struct digest *d, char out[DIGEST_TEXT_MAX])
{
	size_t n = strlen(algos[d->algo].name);

	if (!n) {
		out[0] = '\0';
		return out;
	}
	memcpy(out, algos[d->algo].name, n);
	out[n] = ':';
	(void)add_hex(out + n + 1, d);
	return out;
}

char *digest_text(const struct digest *d, struct arena *a)
{
	char text[DIGEST_TEXT_MAX];

	return arena_strdup(a, digest_format(d, text));
}

char *digest_hex(const struct digest *d, struct arena *a)
{
	char *out = arena_alloc(a, algos[d->algo].size * 2 + 1);

	(void)add_hex(out, d);
	return out;
}

/* ---- hashing ---- */

static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static EVP_MD *fetched[DIGEST_SHA512 + 1];
static pthread_key_t thread_ctx; /* of digest_sha256(), one EVP_MD_CTX a thread */

static void free_thread_ctx(void *p)
{
	EVP_MD_CTX_free(p);
}

static void fetch_all(void)
{
	fetched[DIGEST_SHA256] = EVP_MD_fetch(NULL, "SHA256", NULL);
	fetched[DIGEST_SHA384] = EVP_MD_fetch(NULL, "SHA384", NULL);
	fetched[DIGEST_SHA512] = EVP_MD_fetch(NULL, "SHA512", NULL);
	if (!fetched[DIGEST_SHA256] || !fetched[DIGEST_SHA384] || !fetched[DIGEST_SHA512] ||
	    pthread_key_create(&thread_ctx, free_thread_ctx) != 0)
		abort();
}

/* OpenSSL's digests only fail for lack of memory. */
static void must(int ok)
{
	if (ok != 1)
		abort();
}

static EVP_MD_CTX *new_ctx(enum digest_algo algo)
{
	EVP_MD_CTX *ctx;

	(void)pthread_once(&fetch_once, fetch_all);
	ctx = EVP_MD_CTX_new();
	must(ctx != NULL);
	must(EVP_DigestInit_ex2(ctx, fetched[algo], NULL));
	return ctx;
}

struct digest digest_sha256(struct str data)
{
	struct digest d = { .algo = DIGEST_SHA256 };
	EVP_MD_CTX *ctx;

	(void)pthread_once(&fetch_once, fetch_all);
	ctx = pthread_getspecific(thread_ctx);
	if (!ctx) {
		ctx = new_ctx(DIGEST_SHA256);
		must(pthread_setspecific(thread_ctx, ctx) == 0);
	} else {
		must(EVP_DigestInit_ex2(ctx, NULL, NULL));
	}
	if (data.len)
		must(EVP_DigestUpdate(ctx, data.ptr, data.len));
	must(EVP_DigestFinal_ex(ctx, d.bytes, NULL));
	return d;
}

struct digest digest_hmac_sha256(struct str key, struct str data)
{
	CLEANUP(hasher_freep) struct hasher *h = hasher_new(DIGEST_SHA256);
	uint8_t block[64] = { 0 };
	struct digest d;

	if (key.len > sizeof(block)) {
		d = digest_sha256(key);
		memcpy(block, d.bytes, 32);
	} else if (key.len) {
		memcpy(block, key.ptr, key.len);
	}
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] ^= 0x36;
	hasher_add(h, block, sizeof(block));
	hasher_add_str(h, data);
	d = hasher_sum(h);
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] ^= 0x36 ^ 0x5c;
	hasher_add(h, block, sizeof(block));
	hasher_add(h, d.bytes, 32);
	return hasher_sum(h);
}

struct digest digest_random(void)
{
	struct digest d = { .algo = DIGEST_RANDOM };

	id_random(d.bytes, algos[DIGEST_RANDOM].size);
	return d;
}

struct hasher {
	EVP_MD_CTX *ctx;
	enum digest_algo algo;
};

struct hasher *hasher_new(enum digest_algo algo)
{
	struct hasher *h = NEW(struct hasher);

	assert(algo >= DIGEST_SHA256 && algo <= DIGEST_SHA512);
	h->algo = algo;
	h->ctx = new_ctx(algo);
	return h;
}

void hasher_free(struct hasher *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

void hasher_freep(struct hasher **h)
{
	hasher_free(*h);
	*h = NULL;
}

void hasher_reset(struct hasher *h)
{
	must(EVP_DigestInit_ex2(h->ctx, NULL, NULL));
}

void hasher_add(struct hasher *h, const void *p, size_t len)
{
	if (len)
		must(EVP_DigestUpdate(h->ctx, p, len));
}

void hasher_add_str(struct hasher *h, struct str s)
{
	hasher_add(h, s.ptr, s.len);
}

struct digest hasher_sum(struct hasher *h)
{
	struct digest d = { .algo = (uint8_t)h->algo };

	must(EVP_DigestFinal_ex(h->ctx, d.bytes, NULL));
	hasher_reset(h);
	return d;
}
