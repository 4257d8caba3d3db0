/* Columns of text, as Go's text/tabwriter aligns them. */
#ifndef FRONTEND_DOCKERFILE_TABLE_H
#define FRONTEND_DOCKERFILE_TABLE_H

#include "base/buf.h"
#include "frontend/dockerfile/text.h"

/* Cells row by row, n_cols each. All columns but the last are as wide as their widest cell and
 * `padding` blanks. */
void table_print(struct buf *out, const struct strs *cells, size_t n_cols, size_t padding);

#endif
