/* Devices of the machine that steps may ask for by name, as the Container Device Interface
 * describes them: files *.json and *.yaml in a few directories (specification 0.3.0 to 1.1.0).
 * Nothing is kept between calls: files come and go while the daemon runs, and a look at directories
 * that mostly are not there is cheap. */
#ifndef EXEC_CDI_H
#define EXEC_CDI_H

#include "base/json.h"
#include "base/vec.h"
#include "exec/runtime.h"

#define CDI_CLASS "org.mobyproject.buildkit.device.class"
#define CDI_AUTO_ALLOW "org.mobyproject.buildkit.device.autoallow"

struct cdi_config {
	const char *const *dirs; /* a later one's devices hide those of earlier ones */
	size_t n_dirs;
	const char *const *auto_allowed; /* names or kinds that need no entitlement */
	size_t n_auto_allowed;
};

struct cdi_device {
	const char *name; /* vendor/class=name */
	struct exec_kv *annotations;
	size_t n_annotations;
	bool auto_allow;
	const json_t *edits;      /* containerEdits, or NULL */
	const json_t *file_edits; /* those of all devices of its file; or NULL */
	size_t dir;
	bool conflict; /* the same name twice in one directory: nobody's */
};
struct cdi_devices {
	struct arena arena;
	struct cdi_device *list; /* by name */
	size_t n, cap;
	VEC(json_t *) files;
	struct err *problem; /* of the first file that was left out */
};
/* Files that are not as they should be are left out, with their devices. */
void cdi_load(const struct cdi_config *c, struct cdi_devices *ret);
void cdi_devices_fini(struct cdi_devices *d);
/* The file's devices into d, for directory number dir. */
struct err *cdi_parse(const struct cdi_config *c, struct str text, const char *what, bool yaml,
		      size_t dir, struct cdi_devices *d) ERR_RESULT;

struct cdi_found {
	VEC(const struct cdi_device *) list; /* each once, as asked for */
};
/* "vendor/class=name", "vendor/class" (the first one), "vendor/class=*" (all), or an annotated
 * class. `required device "X" is not registered` when there is none and it is not optional. */
struct err *cdi_find(const struct cdi_devices *d, struct str request, bool optional,
		     struct cdi_found *found) ERR_RESULT;
void cdi_found_fini(struct cdi_found *f);

/* What the devices change in a step; it borrows from d, and lives in the arena. Device nodes are
 * looked up on the machine. */
struct err *cdi_edits(const struct cdi_found *f, struct arena *a,
		      const struct exec_edits **ret) ERR_RESULT;

#endif
