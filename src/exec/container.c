#include "exec/exec_impl.h"

struct err *container_start(struct executor *e, struct ctx *ctx, const struct exec_spec *spec,
			    const struct exec_io *io, struct container **ret)
{
	return err_new(ERR_UNIMPLEMENTED, "containers of several processes are not supported");
}

struct err *container_exec(struct container *c, struct ctx *ctx, const struct exec_process *p,
			   const struct exec_io *io, int *ret_exit)
{
	return err_new(ERR_UNIMPLEMENTED, "containers of several processes are not supported");
}

struct err *container_wait(struct container *c, struct ctx *ctx, int *ret_exit)
{
	return err_new(ERR_UNIMPLEMENTED, "containers of several processes are not supported");
}

void container_free(struct container *c)
{
}
