/* What went wrong below HTTP, in the words of Go's net, crypto/tls and net/http. */
#include "registry/httpc_impl.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

static const char *peer_text(const struct httpc_exchange *x, char *out, size_t cap)
{
	char ip[INET6_ADDRSTRLEN] = "";

	out[0] = '\0';
	if (!x->have_peer)
		return out;
	if (x->peer.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)&x->peer;

		(void)inet_ntop(AF_INET, &in->sin_addr, ip, sizeof(ip));
		(void)snprintf(out, cap, " %s:%u", ip, ntohs(in->sin_port));
	} else if (x->peer.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const void *)&x->peer;

		(void)inet_ntop(AF_INET6, &in->sin6_addr, ip, sizeof(ip));
		(void)snprintf(out, cap, " [%s]:%u", ip, ntohs(in->sin6_port));
	}
	return out;
}

static struct str host_of(struct str url)
{
	ptrdiff_t at = str_find_str(url, STR("//"));
	struct str rest = str_sub(url, (size_t)at + 2, url.len);

	for (size_t i = 0; i < rest.len; i++)
		if (strchr("/?#:", rest.ptr[i]) && rest.ptr[0] != '[')
			return str_sub(rest, 0, i);
	return rest;
}

static struct err *dial_error(struct httpc_exchange *x, const char *text)
{
	char peer[INET6_ADDRSTRLEN + 16];
	long errnum = 0;

	(void)curl_easy_getinfo(x->cd->easy, CURLINFO_OS_ERRNO, &errnum);
	(void)peer_text(x, peer, sizeof(peer));
	if (errnum)
		return err_wrap(err_errno((int)errnum, "connect"), "dial tcp%s", peer);
	return err_new(ERR_UNKNOWN, "dial tcp%s: %s", peer, text);
}

/* Numbers of OpenSSL's X509_V_ERR_*. */
static const char *verify_text(long result)
{
	switch (result) {
	case 9:
	case 10:
		return "x509: certificate has expired or is not yet valid";
	case 18:
	case 19:
	case 20:
	case 21:
		return "x509: certificate signed by unknown authority";
	default:
		return NULL;
	}
}

static struct err *verify_error(struct httpc_exchange *x, const char *text)
{
	long result = 0;
	const char *why;

	(void)curl_easy_getinfo(x->cd->easy, CURLINFO_SSL_VERIFYRESULT, &result);
	why = verify_text(result);
	if (!why && result == 0)
		return err_new(ERR_UNKNOWN,
			       "tls: failed to verify certificate: x509: certificate is not valid "
			       "for %.*s",
			       STR_ARG(host_of(x->url)));
	return err_new(ERR_UNKNOWN, "tls: failed to verify certificate: %s", why ? why : text);
}

static bool mentions(const char *text, const char *what)
{
	return strstr(text, what) != NULL;
}

/* With TLS 1.3 the alert comes when the answer is read. */
static bool is_client_cert(const char *text)
{
	return mentions(text, "alert") &&
	       (mentions(text, "certificate") || mentions(text, "unknown ca"));
}

static struct err *tls_error(struct httpc_exchange *x, const char *text,
			     enum httpc_failure *failure)
{
	long errnum = 0;

	if (is_client_cert(text)) {
		*failure = HTTPC_CLIENT_CERT;
		return err_new(ERR_UNKNOWN, "remote error: tls: %s", text);
	}
	if (mentions(text, "wrong version number") || mentions(text, "packet length too long") ||
	    mentions(text, "unexpected TLS packet") || mentions(text, "http request")) {
		*failure = HTTPC_PLAIN_HTTP;
		return err_new(ERR_UNKNOWN, "http: server gave HTTP response to HTTPS client");
	}
	(void)curl_easy_getinfo(x->cd->easy, CURLINFO_OS_ERRNO, &errnum);
	*failure = HTTPC_BROKEN;
	if (errnum == ECONNRESET)
		return err_new(ERR_UNKNOWN, "read tcp: connection reset by peer");
	if (mentions(text, "SSL_ERROR_SYSCALL") || mentions(text, "unexpected eof"))
		return err_new(ERR_UNKNOWN, "EOF");
	*failure = HTTPC_OTHER;
	return err_new(ERR_UNKNOWN, "tls: %s", text);
}

static struct err *broken_error(struct httpc_exchange *x, const char *verb, const char *text,
				enum httpc_failure *failure)
{
	long errnum = 0;
	char peer[INET6_ADDRSTRLEN + 16];

	(void)curl_easy_getinfo(x->cd->easy, CURLINFO_OS_ERRNO, &errnum);
	(void)peer_text(x, peer, sizeof(peer));
	if (is_client_cert(text)) {
		*failure = HTTPC_CLIENT_CERT;
		return err_new(ERR_UNKNOWN, "remote error: tls: %s", text);
	}
	if (mentions(text, "unexpected eof"))
		return err_new(ERR_UNKNOWN, "unexpected EOF");
	if (!errnum)
		errnum = ECONNRESET;
	return err_wrap(err_errno((int)errnum, "%s", verb), "%s tcp%s", verb, peer);
}

struct err *httpc_curl_error(struct httpc_exchange *x, CURLcode code, const char *text,
			     enum httpc_failure *failure)
{
	char peer[INET6_ADDRSTRLEN + 16];
	curl_off_t connected = 0;

	if (!*text)
		text = curl_easy_strerror(code);
	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		*failure = HTTPC_DIAL;
		return err_new(ERR_UNKNOWN, "dial tcp: lookup %.*s: no such host",
			       STR_ARG(host_of(x->url)));
	case CURLE_COULDNT_CONNECT:
		*failure = HTTPC_DIAL;
		return dial_error(x, text);
	case CURLE_OPERATION_TIMEDOUT:
		*failure = HTTPC_TIMEOUT;
		(void)curl_easy_getinfo(x->cd->easy, CURLINFO_CONNECT_TIME_T, &connected);
		if (connected > 0)
			return err_new(ERR_UNKNOWN, "net/http: TLS handshake timeout");
		return err_new(ERR_UNKNOWN, "dial tcp%s: i/o timeout",
			       peer_text(x, peer, sizeof(peer)));
	case CURLE_GOT_NOTHING:
		*failure = HTTPC_BROKEN;
		return err_new(ERR_UNKNOWN, "EOF");
	case CURLE_PARTIAL_FILE:
		*failure = HTTPC_BROKEN;
		return err_new(ERR_UNKNOWN, "unexpected EOF");
	case CURLE_RECV_ERROR:
		*failure = HTTPC_BROKEN;
		return broken_error(x, "read", text, failure);
	case CURLE_SEND_ERROR:
		*failure = HTTPC_BROKEN;
		return broken_error(x, "write", text, failure);
	case CURLE_PEER_FAILED_VERIFICATION:
		return verify_error(x, text);
	case CURLE_SSL_CONNECT_ERROR:
		return tls_error(x, text, failure);
	case CURLE_SSL_CERTPROBLEM:
		return err_new(ERR_UNKNOWN, "tls: client certificate: %s", text);
	case CURLE_OUT_OF_MEMORY:
		abort();
	default:
		return err_new(ERR_UNKNOWN, "%s", text);
	}
}
