#include "base/id.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

void id_random(void *p, size_t len)
{
	unsigned char *to = p;

	while (len) {
		ssize_t n = getrandom(to, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			abort();
		to += n;
		len -= (size_t)n;
	}
}

void id_make(char out[ID_LEN + 1])
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	size_t n = 0;

	while (n < ID_LEN) {
		unsigned char raw[32];

		id_random(raw, sizeof(raw));
		for (size_t i = 0; i < sizeof(raw) && n < ID_LEN; i++)
			if (raw[i] < 36 * 7) /* no bias */
				out[n++] = digits[raw[i] % 36];
	}
	out[n] = '\0';
}

char *id_new(struct arena *a)
{
	char *s = arena_alloc(a, ID_LEN + 1);

	id_make(s);
	return s;
}
