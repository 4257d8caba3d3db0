#include "exec/hosts.h"

void hosts_make(struct str hostname, const struct exec_kv *hosts, size_t n, struct buf *out)
{
	if (!hostname.len)
		hostname = STR(EXEC_DEFAULT_HOSTNAME);
	buf_addf(out, "127.0.0.1\tlocalhost %.*s\n::1\tlocalhost ip6-localhost ip6-loopback\n",
		 STR_ARG(hostname));
	for (size_t i = 0; i < n; i++)
		buf_addf(out, "%.*s\t%.*s\n", STR_ARG(hosts[i].value), STR_ARG(hosts[i].key));
}
