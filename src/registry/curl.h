/* libcurl, loaded when it is first used: with what it brings along (two TLS libraries,
 * Kerberos, LDAP, SSH, ...) it would be a third of the memory of an idle daemon and of the
 * time of its start. Include this instead of <curl/curl.h>; the functions keep their names. */
#ifndef REGISTRY_CURL_H
#define REGISTRY_CURL_H

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

struct curl_lib {
#define CURL_FN(name) __typeof__(&curl_##name) name;
#include "registry/curl.def"
#undef CURL_FN
};

/* Aborts when the library is not there: it is a dependency of the package, as if linked. */
const struct curl_lib *curl_lib(void);

#ifndef REGISTRY_CURL_NO_MACROS
#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_share_setopt
#undef curl_multi_setopt
#define curl_easy_cleanup(...) curl_lib()->easy_cleanup(__VA_ARGS__)
#define curl_easy_getinfo(...) curl_lib()->easy_getinfo(__VA_ARGS__)
#define curl_easy_init() curl_lib()->easy_init()
#define curl_easy_reset(...) curl_lib()->easy_reset(__VA_ARGS__)
#define curl_easy_setopt(...) curl_lib()->easy_setopt(__VA_ARGS__)
#define curl_easy_strerror(...) curl_lib()->easy_strerror(__VA_ARGS__)
#define curl_free(...) curl_lib()->free(__VA_ARGS__)
#define curl_getdate(...) curl_lib()->getdate(__VA_ARGS__)
#define curl_global_init(...) curl_lib()->global_init(__VA_ARGS__)
#define curl_multi_add_handle(...) curl_lib()->multi_add_handle(__VA_ARGS__)
#define curl_multi_cleanup(...) curl_lib()->multi_cleanup(__VA_ARGS__)
#define curl_multi_info_read(...) curl_lib()->multi_info_read(__VA_ARGS__)
#define curl_multi_init() curl_lib()->multi_init()
#define curl_multi_perform(...) curl_lib()->multi_perform(__VA_ARGS__)
#define curl_multi_poll(...) curl_lib()->multi_poll(__VA_ARGS__)
#define curl_multi_remove_handle(...) curl_lib()->multi_remove_handle(__VA_ARGS__)
#define curl_multi_setopt(...) curl_lib()->multi_setopt(__VA_ARGS__)
#define curl_multi_wakeup(...) curl_lib()->multi_wakeup(__VA_ARGS__)
#define curl_share_cleanup(...) curl_lib()->share_cleanup(__VA_ARGS__)
#define curl_share_init() curl_lib()->share_init()
#define curl_share_setopt(...) curl_lib()->share_setopt(__VA_ARGS__)
#define curl_slist_append(...) curl_lib()->slist_append(__VA_ARGS__)
#define curl_slist_free_all(...) curl_lib()->slist_free_all(__VA_ARGS__)
#define curl_url() curl_lib()->url()
#define curl_url_cleanup(...) curl_lib()->url_cleanup(__VA_ARGS__)
#define curl_url_get(...) curl_lib()->url_get(__VA_ARGS__)
#define curl_url_set(...) curl_lib()->url_set(__VA_ARGS__)
#define curl_url_strerror(...) curl_lib()->url_strerror(__VA_ARGS__)
#endif

#endif
