/* Attributes of the exporters of plain trees, local and tar. */
#ifndef EXPORTER_TREEATTRS_H
#define EXPORTER_TREEATTRS_H

#include "exporter/attrs.h"

struct tree_attrs {
	int64_t epoch_s;
	bool epoch_set;
	bool split, split_set;
	bool mode_delete;
	struct str src; /* only this directory of the result; in the caller's memory */
};

struct err *tree_attrs_parse(const struct attrs *at, bool local, struct tree_attrs *ret) ERR_RESULT;

#endif
