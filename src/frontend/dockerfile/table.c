#include "frontend/dockerfile/table.h"

static size_t width(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i += text_char(s, i))
		n++;
	return n;
}

void table_print(struct buf *out, const struct strs *cells, size_t n_cols, size_t padding)
{
	for (size_t i = 0; i < cells->len; i++) {
		size_t col = i % n_cols, widest = 0;

		buf_add_str(out, cells->items[i]);
		if (col + 1 == n_cols) {
			buf_add_char(out, '\n');
			continue;
		}
		for (size_t k = col; k < cells->len; k += n_cols)
			widest = width(cells->items[k]) > widest ? width(cells->items[k]) : widest;
		buf_addf(out, "%*s", (int)(widest + padding - width(cells->items[i])), "");
	}
}
