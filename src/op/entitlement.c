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

/* There is no support for devices: only optional ones can be asked for. */
static struct err *check_devices(const Pb__ExecOp *exec, const Pb__OpMetadata *md)
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

struct err *entitlement_check(const Pb__Op *op, const Pb__OpMetadata *md, unsigned allowed)
{
	const Pb__ExecOp *exec = op->exec;

	if (op->op_case != PB__OP__OP_EXEC)
		return NULL;
	if (exec->network == PB__NET_MODE__NET_MODE_HOST && !(allowed & ENTITLEMENT_NETWORK_HOST))
		return err_new(ERR_UNKNOWN, "entitlement network.host is not allowed");
	if (exec->security == PB__SECURITY_MODE__SECURITY_MODE_INSECURE &&
	    !(allowed & ENTITLEMENT_SECURITY_INSECURE))
		return err_new(ERR_UNKNOWN, "entitlement security.insecure is not allowed");
	return check_devices(exec, md);
}
