#include "exec/cdi.h"
#include "op/op_impl.h"

struct err *entitlement_parse(struct str name, enum entitlement *ret)
{
	if (str_eq_cstr(name, "network.host"))
		*ret = ENTITLEMENT_NETWORK_HOST;
	else if (str_eq_cstr(name, "security.insecure"))
		*ret = ENTITLEMENT_SECURITY_INSECURE;
	else if (str_eq_cstr(name, "device") || str_has_prefix(name, STR("device=")))
		*ret = ENTITLEMENT_DEVICE;
	else
		return err_new(ERR_INVALID_ARGUMENT, "unknown entitlement %.*s", STR_ARG(name));
	return NULL;
}

static const char *step_name(const Pb__ExecOp *exec, const Pb__OpMetadata *md, struct buf *b)
{
	const char *name =
		md ? PROTO_MAP_GET(md->n_description, md->description, "llb.customname") : NULL;

	if (name && name[0])
		return name;
	for (size_t i = 0; i < exec->meta->n_args; i++)
		buf_addf(b, "%s%s", i ? " " : "", exec->meta->args[i]);
	return buf_cstr(b);
}

/* ---- devices ---- */

struct err *entitlement_add_device(struct arena *a, struct str text, struct entitlement_devices *d)
{
	struct entitlement_device *list, one = { 0 };
	struct str rest, field, key, value;

	if (str_eq_cstr(text, "device") || str_eq_cstr(text, "device=")) {
		d->all = true;
		return NULL;
	}
	if (!str_has_prefix(text, STR("device=")))
		return NULL;
	rest = str_trim_prefix(text, STR("device="));
	(void)str_next(&rest, ',', &one.name);
	while (rest.len && str_next(&rest, ',', &field)) {
		if (!str_cut(field, '=', &key, &value))
			return err_new(ERR_UNKNOWN, "invalid device config \"%.*s\"",
				       STR_ARG(field));
		if (!str_eq_cstr(key, "alias"))
			return err_new(ERR_UNKNOWN, "unknown device config key \"%.*s\"",
				       STR_ARG(key));
		if (value.len)
			one = (struct entitlement_device) { value, one.is.len ? one.is : one.name };
	}
	list = ARENA_NEW_N(a, struct entitlement_device, d->n + 1);
	if (d->n)
		memcpy(list, d->list, d->n * sizeof(*list));
	list[d->n++] = one;
	d->list = list;
	return NULL;
}

struct entitlement_devices entitlement_devices_dup(struct arena *a,
						   const struct entitlement_devices *d)
{
	struct entitlement_devices out = { .all = d->all };

	out.list = ARENA_NEW_N(a, struct entitlement_device, d->n + 1);
	for (; out.n < d->n; out.n++)
		out.list[out.n] = (struct entitlement_device) { str_dup(a, d->list[out.n].name),
								str_dup(a, d->list[out.n].is) };
	return out;
}

static struct err *refuse_all(const Pb__ExecOp *exec, const Pb__OpMetadata *md)
{
	SCOPED_BUF(b, LIMIT_ERROR_TEXT);

	for (size_t i = 0; i < exec->n_cdidevices; i++)
		if (!exec->cdidevices[i]->optional)
			return err_new(ERR_UNKNOWN,
				       "CDI device \"%s\" is required by step \"%s\", but CDI "
				       "device support is disabled",
				       exec->cdidevices[i]->name, step_name(exec, md, &b));
	return NULL;
}

static void keep_device(Pb__ExecOp *exec, size_t *n, struct arena *a, const char *name,
			bool optional)
{
	Pb__CDIDevice *dev = ARENA_NEW(a, Pb__CDIDevice);

	pb__cdidevice__init(dev);
	dev->name = arena_strdup(a, name);
	dev->optional = optional;
	exec->cdidevices[(*n)++] = dev;
}

static struct str alias_of(const struct entitlement_devices *granted, const char *name)
{
	for (size_t i = 0; granted && i < granted->n; i++)
		if (str_eq_cstr(granted->list[i].name, name))
			return granted->list[i].is;
	return STR_NONE;
}

static bool is_granted(const struct cdi_found *granted, const struct cdi_device *dev)
{
	bool yes = dev->auto_allow;

	for (size_t i = 0; i < granted->list.len; i++)
		yes = yes || granted->list.items[i] == dev;
	return yes;
}

static struct err *check_found(const struct cdi_found *wanted, const struct cdi_found *granted)
{
	SCOPED_BUF(b, LIMIT_ERROR_TEXT);
	size_t n = 0;

	for (size_t i = 0; i < wanted->list.len; i++)
		if (!is_granted(granted, wanted->list.items[i]))
			buf_addf(&b, "%s%s", n++ ? ", " : "", wanted->list.items[i]->name);
	if (!n)
		return NULL;
	return err_new(ERR_UNKNOWN, "device%s %s %s requested by the build but not allowed",
		       n > 1 ? "s" : "", buf_cstr(&b), n > 1 ? "are" : "is");
}

/* Each name becomes the devices it stands for now; an alias is granted by its name. */
static struct err *resolve(Pb__ExecOp *exec, const struct cdi_devices *all,
			   const struct entitlement_devices *granted, struct cdi_found *wanted,
			   struct cdi_found *allowed, struct arena *a)
{
	Pb__CDIDevice **asked = exec->cdidevices;
	size_t n_asked = exec->n_cdidevices, n = 0;

	exec->cdidevices = ARENA_NEW_N(a, Pb__CDIDevice *, n_asked + all->n + 1);
	for (size_t i = 0; i < n_asked; i++) {
		struct str alias = alias_of(granted, asked[i]->name);

		if (alias.len)
			keep_device(exec, &n, a, str_cstr(a, alias), asked[i]->optional);
		else
			TRY(cdi_find(all, str_from(asked[i]->name), asked[i]->optional, wanted));
	}
	for (size_t i = 0; wanted->list.len && granted && i < granted->n; i++)
		TRY(cdi_find(all, granted->list[i].name, granted->list[i].is.len > 0, allowed));
	TRY(check_found(wanted, allowed));
	for (size_t i = 0; i < wanted->list.len; i++)
		keep_device(exec, &n, a, wanted->list.items[i]->name, false);
	exec->n_cdidevices = n;
	return NULL;
}

static struct err *check_devices(Pb__ExecOp *exec, const Pb__OpMetadata *md,
				 const struct op_load_opts *o, struct arena *a)
{
	struct cdi_found wanted = { 0 }, allowed = { 0 };
	struct cdi_devices all;
	struct err *e;

	if (!exec->n_cdidevices)
		return NULL;
	if (!o->worker->cdi) {
		TRY(refuse_all(exec, md));
		exec->n_cdidevices = 0;
		return NULL;
	}
	if (o->devices && o->devices->all)
		return NULL;
	cdi_load(o->worker->cdi, &all);
	e = resolve(exec, &all, o->devices, &wanted, &allowed, a);
	cdi_found_fini(&wanted);
	cdi_found_fini(&allowed);
	cdi_devices_fini(&all);
	return e;
}

struct err *entitlement_check(Pb__Op *op, const Pb__OpMetadata *md, const struct op_load_opts *o,
			      struct arena *a)
{
	Pb__ExecOp *exec = op->exec;
	unsigned allowed = o->entitlements;

	if (op->op_case != PB__OP__OP_EXEC)
		return NULL;
	if (exec->network == PB__NET_MODE__NET_MODE_HOST && !(allowed & ENTITLEMENT_NETWORK_HOST))
		return err_new(ERR_UNKNOWN, "entitlement network.host is not allowed");
	if (exec->security == PB__SECURITY_MODE__SECURITY_MODE_INSECURE &&
	    !(allowed & ENTITLEMENT_SECURITY_INSECURE))
		return err_new(ERR_UNKNOWN, "entitlement security.insecure is not allowed");
	return check_devices(exec, md, o, a);
}
