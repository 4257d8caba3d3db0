/* What a list of entries must be like to be believed: clean relative paths, in stream order,
 * every parent a directory that came before. Texts are fsutil's. */
#ifndef SESSION_RECV_ORDER_H
#define SESSION_RECV_ORDER_H

#include "base/err.h"
#include "base/vec.h"

struct order_parent {
	struct str dir;  /* "" is the top */
	struct str last; /* name that came last in it */
};
struct order {
	VEC(struct order_parent) parents;
};

void order_fini(struct order *o);
/* The next path, which must live as long as o. */
struct err *order_check(struct order *o, struct str path, bool is_dir) ERR_RESULT;

/* Parent directory ("" for the top) and name of a clean relative path. */
struct str order_dir(struct str path);
struct str order_name(struct str path);

#endif
