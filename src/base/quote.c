/* go_quote(): Go's %q. */
#include "base/json.h"
#include "base/mem.h"

static const struct {
	uint32_t first, last;
} printable[] = {
#define PRINTABLE(first, last) { first, last },
#include "base/printable.def"
#undef PRINTABLE
};

static bool is_print(uint32_t r)
{
	size_t lo = 0, hi = ARRAY_SIZE(printable);

	if (r < 0x80)
		return r >= 0x20 && r < 0x7f;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (r > printable[mid].last)
			lo = mid + 1;
		else if (r < printable[mid].first)
			hi = mid;
		else
			return true;
	}
	return false;
}

void go_quote(struct buf *out, struct str s)
{
	static const char plain[] = "\a\b\f\n\r\t\v", letters[] = "abfnrtv";

	buf_add_char(out, '"');
	while (s.len) {
		uint32_t r;
		size_t n = str_rune(s, &r);
		const char *known = r && r < 0x20 ? strchr(plain, (int)r) : NULL;

		if (n == 1 && r == 0xfffd)
			buf_addf(out, "\\x%02x", (unsigned char)s.ptr[0]);
		else if (r == '"' || r == '\\')
			buf_addf(out, "\\%c", (int)r);
		else if (is_print(r))
			buf_add(out, s.ptr, n);
		else if (known)
			buf_addf(out, "\\%c", letters[known - plain]);
		else if (r < 0x20 || r == 0x7f)
			buf_addf(out, "\\x%02x", r);
		else
			buf_addf(out, r < 0x10000 ? "\\u%04x" : "\\U%08x", r);
		s = str_sub(s, n, s.len);
	}
	buf_add_char(out, '"');
}
