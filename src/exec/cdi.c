#include "exec/cdi.h"

#include "base/limits.h"
#include "base/yaml.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/walk.h"

#include <errno.h>

/* ---- names ---- */

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_alnum(char c)
{
	return is_letter(c) || (c >= '0' && c <= '9');
}

/* Begins as first says, ends with a letter or a digit, between them also characters of more. */
static bool is_name(struct str s, bool (*first)(char), const char *more)
{
	if (!s.len || s.len > LIMIT_FILE_NAME || !first(s.ptr[0]) || !is_alnum(s.ptr[s.len - 1]))
		return false;
	for (size_t i = 1; i < s.len; i++)
		if (!is_alnum(s.ptr[i]) && !strchr(more, s.ptr[i]))
			return false;
	return true;
}

static bool is_kind(struct str kind)
{
	struct str vendor, class;

	return str_cut(kind, '/', &vendor, &class) && is_name(vendor, is_letter, "_-.") &&
	       is_name(class, is_letter, "_-");
}

/* ---- annotations ---- */

static struct str text_of(const json_t *v, struct arena *a)
{
	if (json_is_string(v))
		return str_make(json_string_value(v), json_string_length(v));
	if (json_is_boolean(v))
		return json_is_true(v) ? STR("true") : STR("false");
	if (json_is_integer(v))
		return str_from(arena_printf(a, "%lld", (long long)json_integer_value(v)));
	return STR_NONE;
}

static void set_annotation(struct cdi_device *dev, struct str key, struct str value)
{
	for (size_t i = 0; i < dev->n_annotations; i++) {
		if (str_eq(dev->annotations[i].key, key)) {
			dev->annotations[i].value = value;
			return;
		}
	}
	dev->annotations[dev->n_annotations++] = (struct exec_kv) { key, value };
}

/* The device's own go over the file's. */
static void read_annotations(struct cdi_devices *d, const json_t *file, const json_t *device,
			     struct cdi_device *dev)
{
	json_t *const from[] = { json_object_get(file, "annotations"),
				 json_object_get(device, "annotations") };
	size_t n = json_object_size(from[0]) + json_object_size(from[1]);
	const char *key;
	json_t *v;

	dev->annotations = ARENA_NEW_N(&d->arena, struct exec_kv, n + 1);
	for (size_t i = 0; i < ARRAY_SIZE(from); i++)
		json_object_foreach(from[i], key, v)
			set_annotation(dev, str_from(key), text_of(v, &d->arena));
}

static struct str annotation(const struct cdi_device *dev, const char *key)
{
	for (size_t i = 0; i < dev->n_annotations; i++)
		if (str_eq_cstr(dev->annotations[i].key, key))
			return dev->annotations[i].value;
	return STR_NONE;
}

static bool is_auto_allowed(const struct cdi_config *c, const struct cdi_device *dev,
			    struct str kind)
{
	bool yes = false;

	for (size_t i = 0; i < c->n_auto_allowed; i++)
		if (strcmp(c->auto_allowed[i], dev->name) == 0 ||
		    str_eq_cstr(kind, c->auto_allowed[i]))
			return true;
	return str_to_bool(annotation(dev, CDI_AUTO_ALLOW), &yes) && yes;
}

/* ---- files ---- */

static void add_device(struct cdi_devices *d, const struct cdi_device *dev)
{
	for (size_t i = 0; i < d->n; i++) {
		struct cdi_device *old = &d->list[i];

		if (strcmp(old->name, dev->name) != 0)
			continue;
		if (old->dir == dev->dir)
			old->conflict = true;
		else
			*old = *dev;
		return;
	}
	if (d->n == d->cap) {
		size_t cap = d->cap ? d->cap * 2 : 16;
		struct cdi_device *p = ARENA_NEW_N(&d->arena, struct cdi_device, cap);

		if (d->n)
			memcpy(p, d->list, d->n * sizeof(*p));
		d->list = p;
		d->cap = cap;
	}
	d->list[d->n++] = *dev;
}

static struct err *check_file(const json_t *file, const char *what)
{
	struct str version = json_get_str(file, "cdiVersion");
	const json_t *devices = json_object_get(file, "devices"), *dev;
	size_t i, k;

	if (!str_has_prefix(version, STR("0.")) && !str_has_prefix(version, STR("1.")))
		return err_new(ERR_INVALID_ARGUMENT, "%s: invalid version \"%.*s\"", what,
			       STR_ARG(version));
	if (!is_kind(json_get_str(file, "kind")))
		return err_new(ERR_INVALID_ARGUMENT, "%s: invalid kind \"%.*s\"", what,
			       STR_ARG(json_get_str(file, "kind")));
	if (!json_array_size(devices))
		return err_new(ERR_INVALID_ARGUMENT, "%s: no devices", what);
	json_array_foreach(devices, i, dev)
	{
		struct str name = json_get_str(dev, "name");

		if (!is_name(name, is_alnum, "_-.:"))
			return err_new(ERR_INVALID_ARGUMENT, "%s: invalid device name \"%.*s\"",
				       what, STR_ARG(name));
		for (k = 0; k < i; k++)
			if (str_eq(name, json_get_str(json_array_get(devices, k), "name")))
				return err_new(ERR_INVALID_ARGUMENT, "%s: multiple device \"%.*s\"",
					       what, STR_ARG(name));
	}
	return NULL;
}

struct err *cdi_parse(const struct cdi_config *c, struct str text, const char *what, bool yaml,
		      size_t dir, struct cdi_devices *d)
{
	json_t *file = NULL;
	const json_t *devices, *in;
	struct str kind;
	struct err *e;
	size_t i;

	TRY(yaml ? yaml_read(text, what, &file) : json_read(text, what, &file));
	e = check_file(file, what);
	if (e) {
		json_decref(file);
		return e;
	}
	vec_push(&d->files, file);
	kind = json_get_str(file, "kind");
	devices = json_object_get(file, "devices");
	json_array_foreach(devices, i, in)
	{
		struct str name = json_get_str(in, "name");
		char *full = arena_printf(&d->arena, "%.*s=%.*s", STR_ARG(kind), STR_ARG(name));
		struct cdi_device dev = {
			.name = full,
			.edits = json_object_get(in, "containerEdits"),
			.file_edits = json_object_get(file, "containerEdits"),
			.dir = dir,
		};

		read_annotations(d, file, in, &dev);
		dev.auto_allow = is_auto_allowed(c, &dev, kind);
		add_device(d, &dev);
	}
	return NULL;
}

static struct err *load_file(const struct cdi_config *c, size_t dir, int dirfd, const char *name,
			     struct cdi_devices *d)
{
	bool json = str_has_suffix(str_from(name), STR(".json"));
	const char *path;
	struct str text;

	if (!json && !str_has_suffix(str_from(name), STR(".yaml")))
		return NULL;
	path = arena_printf(&d->arena, "%s/%s", c->dirs[dir], name);
	TRY(file_read_str(dirfd, name, &d->arena, LIMIT_CDI_FILE, &text));
	return cdi_parse(c, text, path, !json, dir, d);
}

static void load_dir(const struct cdi_config *c, size_t dir, struct cdi_devices *d)
{
	CLEANUP(walk_names_fini) struct walk_names names = { 0 };
	CLEANUP_FD int fd = -1;
	struct err *e = fd_open_dir(AT_FDCWD, c->dirs[dir], &fd);

	if (err_get_errno(e) == ENOENT) {
		err_free(e);
		return;
	}
	if (!e)
		e = walk_read_names(fd, true, &names);
	if (!e && names.n > LIMIT_CDI_FILES)
		e = err_new(ERR_RESOURCE_EXHAUSTED, "%s: more than %d files", c->dirs[dir],
			    LIMIT_CDI_FILES);
	d->problem = err_first(d->problem, e);
	if (e)
		return;
	for (size_t i = 0; i < names.n; i++)
		d->problem = err_first(d->problem, load_file(c, dir, fd, names.items[i].name, d));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct cdi_device *)a)->name, ((const struct cdi_device *)b)->name);
}

void cdi_load(const struct cdi_config *c, struct cdi_devices *ret)
{
	size_t n = 0;

	*ret = (struct cdi_devices) { 0 };
	for (size_t i = 0; i < c->n_dirs; i++)
		load_dir(c, i, ret);
	for (size_t i = 0; i < ret->n; i++)
		if (!ret->list[i].conflict)
			ret->list[n++] = ret->list[i];
	ret->n = n;
	if (n)
		qsort(ret->list, n, sizeof(*ret->list), by_name);
}

void cdi_devices_fini(struct cdi_devices *d)
{
	vec_each (&d->files, f)
		json_decref(*f);
	vec_fini(&d->files);
	err_free(d->problem);
	arena_fini(&d->arena);
	*d = (struct cdi_devices) { 0 };
}

/* ---- requests ---- */

static bool add_found(struct cdi_found *f, const struct cdi_device *dev)
{
	vec_each (&f->list, x)
		if (*x == dev)
			return true;
	vec_push(&f->list, dev);
	return true;
}

struct err *cdi_find(const struct cdi_devices *d, struct str request, bool optional,
		     struct cdi_found *found)
{
	struct str kind = request, name = STR_NONE, dev_kind, dev_name;
	bool any = false;

	(void)str_cut(request, '=', &kind, &name);
	for (size_t i = 0; i < d->n && is_kind(kind); i++) {
		const struct cdi_device *dev = &d->list[i];

		(void)str_cut(str_from(dev->name), '=', &dev_kind, &dev_name);
		if (!str_eq(kind, dev_kind))
			continue;
		/* Without a name the first one is enough. */
		if (name.len ? str_eq_cstr(name, "*") || str_eq(name, dev_name) : !any)
			any = add_found(found, dev);
	}
	for (size_t i = 0, had = any; i < d->n && !had; i++)
		if (request.len && str_eq(annotation(&d->list[i], CDI_CLASS), request))
			any = add_found(found, &d->list[i]);
	if (any || optional)
		return NULL;
	return err_new(ERR_UNKNOWN, "required device \"%.*s\" is not registered", STR_ARG(request));
}

void cdi_found_fini(struct cdi_found *f)
{
	vec_fini(&f->list);
}
