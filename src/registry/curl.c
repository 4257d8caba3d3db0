#define REGISTRY_CURL_NO_MACROS
#include "registry/curl.h"

#include <dlfcn.h>
#include <pthread.h>

static struct curl_lib lib;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
	static const char *const names[] = { "libcurl.so.4", "libcurl-gnutls.so.4" };
	void *h = NULL;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !h; i++)
		h = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
	if (!h) {
		fprintf(stderr, "%s\n", dlerror());
		abort();
	}
#define CURL_FN(name)                                                                              \
	*(void **)&lib.name = dlsym(h, "curl_" #name);                                             \
	if (!lib.name)                                                                             \
		abort();
#include "registry/curl.def"
#undef CURL_FN
}

const struct curl_lib *curl_lib(void)
{
	(void)pthread_once(&once, load);
	return &lib;
}
