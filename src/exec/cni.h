/* CNI: networks made by plugin programs (containernetworking/cni, SPEC.md). A list is a network
 * configuration; immutable, any thread. */
#ifndef EXEC_CNI_H
#define EXEC_CNI_H

#include "base/arena.h"
#include "base/ctx.h"
#include "base/err.h"

struct cni;

/* A list ("plugins": [...]), or with single one plugin's configuration. Plugins are looked for in
 * dirs, NULL ends. INVALID_ARGUMENT on junk; what names the text in errors. */
struct err *cni_parse(struct str text, bool single, const char *what, const char *const *dirs,
		      struct cni **ret) ERR_RESULT;
/* By its name: ".conflist" is a list, else a single one. */
struct err *cni_load(const char *path, const char *const *dirs, struct cni **ret) ERR_RESULT;
void cni_free(struct cni *c); /* NULL is fine */

struct cni_attachment {
	const char *id;      /* of the container */
	const char *netns;   /* path */
	const char *ifname;  /* eth0 */
	struct str hostname; /* for plugins that name hosts; or empty */
};
/* *ret_result: what the last plugin said, needed to undo. What was half done on failure is undone.
 * Errors: `plugin type="bridge" name="x" failed (add): ...`. */
struct err *cni_add(const struct cni *c, struct ctx *ctx, const struct cni_attachment *at,
		    struct arena *a, struct str *ret_result) ERR_RESULT;
/* result may be empty. All plugins are asked, whatever the others say; the first error. */
struct err *cni_del(const struct cni *c, struct ctx *ctx, const struct cni_attachment *at,
		    struct str result) ERR_RESULT;

#endif
