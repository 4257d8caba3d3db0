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

static struct err *check_devices(const Pb__ExecOp *exec)
{
	SCOPED_BUF(names, LIMIT_ERROR_TEXT);
	size_t n = 0;

	for (size_t i = 0; i < exec->n_cdidevices; i++) {
		if (exec->cdidevices[i]->optional)
			continue;
		buf_addf(&names, "%s%s", n++ ? ", " : "", exec->cdidevices[i]->name);
	}
	if (!n)
		return NULL;
	return err_new(ERR_PERMISSION_DENIED,
		       n == 1 ? "device %s is requested by the build but not allowed"
			      : "devices %s are requested by the build but not allowed",
		       buf_cstr(&names));
}

struct err *entitlement_check(const Pb__Op *op, unsigned allowed)
{
	const Pb__ExecOp *exec = op->exec;

	if (op->op_case != PB__OP__OP_EXEC)
		return NULL;
	if (exec->network == PB__NET_MODE__NET_MODE_HOST && !(allowed & ENTITLEMENT_NETWORK_HOST))
		return err_new(ERR_PERMISSION_DENIED, "entitlement network.host is not allowed");
	if (exec->security == PB__SECURITY_MODE__SECURITY_MODE_INSECURE &&
	    !(allowed & ENTITLEMENT_SECURITY_INSECURE))
		return err_new(ERR_PERMISSION_DENIED,
			       "entitlement security.insecure is not allowed");
	if (!(allowed & ENTITLEMENT_DEVICE))
		return check_devices(exec);
	return NULL;
}
