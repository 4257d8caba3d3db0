#include "frontend/dockerfile/run_mount.h"

#include <math.h>
#include <stdio.h>

static const struct str type_names[] = { STR("bind"), STR("cache"), STR("tmpfs"), STR("secret"),
					 STR("ssh") };
static const struct str sharing_names[] = { STR(""), STR("shared"), STR("private"), STR("locked") };

enum mount_key {
	KEY_TYPE,
	KEY_FROM,
	KEY_SOURCE,
	KEY_TARGET,
	KEY_READONLY,
	KEY_READWRITE,
	KEY_REQUIRED,
	KEY_SIZE,
	KEY_ID,
	KEY_SHARING,
	KEY_MODE,
	KEY_UID,
	KEY_GID,
	KEY_ENV,
};

static const struct key_name {
	struct str name;
	enum mount_key key;
} key_names[] = {
	{ STR("type"), KEY_TYPE },
	{ STR("from"), KEY_FROM },
	{ STR("source"), KEY_SOURCE },
	{ STR("target"), KEY_TARGET },
	{ STR("readonly"), KEY_READONLY },
	{ STR("id"), KEY_ID },
	{ STR("sharing"), KEY_SHARING },
	{ STR("required"), KEY_REQUIRED },
	{ STR("size"), KEY_SIZE },
	{ STR("mode"), KEY_MODE },
	{ STR("uid"), KEY_UID },
	{ STR("gid"), KEY_GID },
	{ STR("src"), KEY_SOURCE },
	{ STR("dst"), KEY_TARGET },
	{ STR("destination"), KEY_TARGET },
	{ STR("ro"), KEY_READONLY },
	{ STR("rw"), KEY_READWRITE },
	{ STR("readwrite"), KEY_READWRITE },
	{ STR("env"), KEY_ENV },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

bool size_parse(struct str text, int64_t *ret)
{
	static const char units[] = "kmgtp";
	char number[64], extra;
	double value;
	size_t n = text.len;
	struct str unit;

	while (n && !strchr("0123456789. ", text.ptr[n - 1]))
		n--;
	unit = str_sub(text, n, text.len);
	if (n && text.ptr[n - 1] == ' ')
		n--;
	if (!n || n >= sizeof(number) || unit.len > 3)
		return false;
	for (size_t i = 0; i < n; i++) /* no hexadecimal, infinities, blanks */
		if (!strchr("0123456789.eE+-", text.ptr[i]))
			return false;
	memcpy(number, text.ptr, n);
	number[n] = '\0';
	if (sscanf(number, "%lf%c", &value, &extra) != 1 || value < 0)
		return false;
	if (unit.len && (unit.ptr[0] | 0x20) != 'b') {
		const char *u = strchr(units, unit.ptr[0] | 0x20);
		struct str rest = str_sub(unit, 1, unit.len);

		if (!u ||
		    (rest.len && !str_eq_nocase(rest, STR("b")) && !str_eq_nocase(rest, STR("ib"))))
			return false;
		value = ldexp(value, 10 * (int)(u - units + 1));
	} else if (unit.len > 1) {
		return false;
	}
	if (!(value < 9223372036854775807.0))
		return false;
	*ret = (int64_t)value;
	return true;
}

static bool parse_uint(struct str s, int base, uint32_t *ret)
{
	uint64_t v = 0;

	for (size_t i = 0; i < s.len; i++) {
		int d = s.ptr[i] - '0';

		if (d < 0 || d >= base)
			return false;
		v = v * (uint64_t)base + (uint64_t)d;
		if (v > UINT32_MAX)
			return false;
	}
	*ret = (uint32_t)v;
	return s.len > 0;
}

static struct err *bad_value(struct str key, struct str value)
{
	return err_new(ERR_UNKNOWN, "invalid value for %.*s: %.*s", STR_ARG(key), STR_ARG(value));
}

static struct err *wrong_type(struct str key, enum run_mount_type type)
{
	return err_new(ERR_UNKNOWN, "unexpected key '%.*s' for mount type '%s'", STR_ARG(key),
		       type_names[type].ptr);
}

static struct err *unknown_key(struct arena *a, struct str key, struct str field)
{
	struct strs names = { 0 };

	for (size_t i = 0; i < COUNT(key_names); i++)
		strs_add(a, &names, key_names[i].name);
	return text_suggest_err(a,
				err_new(ERR_UNKNOWN, "unexpected key '%.*s' in '%.*s'",
					STR_ARG(key), STR_ARG(field)),
				key, &names, true);
}

/* Index of value, whatever its case, in names; an error with a suggestion otherwise. */
static struct err *choose(struct arena *a, const char *what, struct str value,
			  const struct str *names, size_t n, int *ret)
{
	struct strs all = { 0 };

	for (size_t i = 0; i < n; i++) {
		if (names[i].len && str_eq_nocase(value, names[i])) {
			*ret = (int)i;
			return NULL;
		}
		strs_add(a, &all, names[i]);
	}
	strs_sort(&all);
	return text_suggest_err(
		a, err_new(ERR_UNKNOWN, "unsupported %s %s", what, text_quote(a, value)), value,
		&all, true);
}

static const struct key_name *find_key(struct str key)
{
	for (size_t i = 0; i < COUNT(key_names); i++)
		if (str_eq(key, key_names[i].name))
			return &key_names[i];
	return NULL;
}

struct parse {
	struct arena *a;
	struct run_mount m;
	bool ro_given;
};

static bool is_client_mount(enum run_mount_type t)
{
	return t == MOUNT_SECRET || t == MOUNT_SSH;
}

/* A key without a value. */
static struct err *set_plain(struct parse *p, struct str key, struct str field)
{
	const struct key_name *k = find_key(key);

	if (k && (k->key == KEY_READONLY || k->key == KEY_READWRITE)) {
		p->m.read_only = k->key == KEY_READONLY;
		p->ro_given = true;
		return NULL;
	}
	if (k && k->key == KEY_REQUIRED) {
		if (!is_client_mount(p->m.type))
			return wrong_type(key, p->m.type);
		p->m.required = true;
		return NULL;
	}
	return err_new(ERR_UNKNOWN, "invalid field '%.*s' must be a key=value pair",
		       STR_ARG(field));
}

static struct err *set_number(struct str key, struct str value, int base, bool *has, uint32_t *ret)
{
	if (!parse_uint(value, base, ret))
		return err_new(ERR_UNKNOWN, "invalid value %.*s for %.*s", STR_ARG(value),
			       STR_ARG(key));
	*has = true;
	return NULL;
}

static struct err *set_key(struct parse *p, struct str key, struct str value, struct str field)
{
	const struct key_name *k = find_key(key);
	struct run_mount *m = &p->m;
	int choice = 0;

	if (!k)
		return unknown_key(p->a, key, field);
	switch (k->key) {
	case KEY_TYPE:
		TRY(choose(p->a, "mount type", value, type_names, COUNT(type_names), &choice));
		m->type = (enum run_mount_type)choice;
		break;
	case KEY_FROM:
		m->from = value;
		break;
	case KEY_SOURCE:
		m->source = value;
		break;
	case KEY_TARGET:
		m->target = value;
		break;
	case KEY_READONLY:
	case KEY_READWRITE:
		if (!str_to_bool(value, &m->read_only))
			return bad_value(key, value);
		m->read_only ^= k->key == KEY_READWRITE;
		p->ro_given = true;
		break;
	case KEY_REQUIRED:
		if (!is_client_mount(m->type))
			return wrong_type(key, m->type);
		if (!str_to_bool(value, &m->required))
			return bad_value(key, value);
		break;
	case KEY_SIZE:
		if (m->type != MOUNT_TMPFS)
			return wrong_type(key, m->type);
		if (!size_parse(value, &m->size))
			return bad_value(key, value);
		break;
	case KEY_ID:
		m->id = value;
		break;
	case KEY_SHARING:
		TRY(choose(p->a, "sharing value", value, sharing_names, COUNT(sharing_names),
			   &choice));
		m->sharing = (enum run_mount_sharing)choice;
		break;
	case KEY_MODE:
		return set_number(key, value, 8, &m->has_mode, &m->mode);
	case KEY_UID:
		return set_number(key, value, 10, &m->has_uid, &m->uid);
	case KEY_GID:
		return set_number(key, value, 10, &m->has_gid, &m->gid);
	case KEY_ENV:
		m->has_env = true;
		m->env = value;
		break;
	}
	return NULL;
}

static struct err *check(const struct run_mount *m)
{
	const char *type = type_names[m->type].ptr;

	if (!is_client_mount(m->type) && m->type != MOUNT_CACHE) {
		const char *what = m->has_mode ? "mode" : m->has_uid ? "uid" : "gid";

		if (m->has_mode || m->has_uid || m->has_gid)
			return err_new(ERR_UNKNOWN, "%s not allowed for \"%s\" type mounts", what,
				       type);
	}
	if (m->type == MOUNT_SECRET) {
		if (m->from.len)
			return err_new(ERR_UNKNOWN, "secret mount should not have a from");
		if (m->sharing)
			return err_new(ERR_UNKNOWN, "secret mount should not define sharing");
		if (!m->source.len && !m->target.len && !m->id.len)
			return err_new(ERR_UNKNOWN, "invalid secret mount. one of source, target "
						    "required");
		if (m->source.len && m->id.len)
			return err_new(ERR_UNKNOWN, "both source and id can't be set");
	}
	if (m->sharing && m->type != MOUNT_CACHE)
		return err_new(ERR_UNKNOWN, "invalid cache sharing set for %s mount", type);
	return NULL;
}

struct err *run_mount_from(struct arena *a, struct str text, struct run_mount *ret)
{
	struct strs fields;

	*ret = (struct run_mount) { 0 };
	TRYW(text_csv(a, text, &fields), "failed to parse csv mounts");
	for (size_t i = 0; i < fields.len; i++) {
		struct str key, value;
		ptrdiff_t dollar;

		if (!str_cut(fields.items[i], '=', &key, &value) ||
		    !str_eq_nocase(key, STR("from")))
			continue;
		dollar = str_find(value, '$');
		if (dollar >= 0 && (size_t)dollar + 1 != value.len)
			return err_new(ERR_UNKNOWN, "'from' doesn't support variable expansion, "
						    "define alias stage instead");
		ret->from = value;
	}
	return NULL;
}

struct err *run_mount_parse(struct arena *a, struct str text, const struct mount_expander *x,
			    struct run_mount *ret)
{
	struct parse p = { .a = a };
	struct strs fields;

	TRYW(text_csv(a, text, &fields), "failed to parse csv mounts");
	for (size_t i = 0; i < fields.len; i++) {
		struct str key, value;
		bool pair = str_cut(fields.items[i], '=', &key, &value);

		key = text_lower(a, key);
		if (!pair) {
			TRY(set_plain(&p, key, fields.items[i]));
			continue;
		}
		TRY(x->expand(x->arg, value, &value));
		TRY(set_key(&p, key, value, fields.items[i]));
	}
	TRY(check(&p.m));
	if (!p.ro_given)
		p.m.read_only = p.m.type != MOUNT_CACHE && p.m.type != MOUNT_TMPFS;
	*ret = p.m;
	return NULL;
}

struct err *run_device_parse(struct arena *a, struct str text, struct run_device *ret)
{
	struct run_device d = { 0 };
	struct strs fields;

	TRYW(text_csv(a, text, &fields), "failed to parse csv devices");
	for (size_t i = 0; i < fields.len; i++) {
		struct str field = fields.items[i], key, value;
		bool pair = str_cut(field, '=', &key, &value);

		key = text_lower(a, key);
		if (str_eq(key, STR("required"))) {
			d.required = true;
			if (pair && !str_to_bool(value, &d.required))
				return bad_value(key, value);
		} else if (pair && str_eq(key, STR("name"))) {
			if (d.name.len)
				return err_new(ERR_UNKNOWN, "device name already set to %.*s",
					       STR_ARG(d.name));
			d.name = value;
		} else if (!d.name.len) {
			d.name = field;
		} else if (!pair) {
			return err_new(ERR_UNKNOWN, "invalid field '%.*s' must be a key=value pair",
				       STR_ARG(field));
		} else {
			struct strs names = { 0 };

			strs_add(a, &names, STR("name"));
			strs_add(a, &names, STR("required"));
			return text_suggest_err(a,
						err_new(ERR_UNKNOWN,
							"unexpected key '%.*s' in '%.*s'",
							STR_ARG(key), STR_ARG(field)),
						key, &names, true);
		}
	}
	*ret = d;
	return NULL;
}
