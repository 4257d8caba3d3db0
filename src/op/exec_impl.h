/* Between the files of the exec operation. */
#ifndef OP_EXEC_IMPL_H
#define OP_EXEC_IMPL_H

#include "op/exec_mounts.h"
#include "op/exec_proxy.h"
#include "op/op_impl.h"

struct exec_op {
	struct op_base base;
	const Pb__ExecOp *pb;
	struct digest digest;
	/* Mount number of output i. */
	size_t *outputs;
	size_t n_outputs;
	struct capture *capture; /* once it has run with a proxy */
};

/* ---- exec_key.c ---- */
struct err *exec_op_make_key(struct exec_op *o);
/* The message as it counts for the key: a copy without what is only about how it is run. */
Pb__ExecOp *exec_op_key_message(const Pb__ExecOp *pb, struct arena *a);

/* ---- exec_env.c ---- */
/* The process, network, limits: all of the spec but the mounts. */
struct err *exec_op_spec(struct exec_op *o, const struct op_env *env, struct arena *a,
			 struct exec_spec *ret);
/* The mount of the emulator for a step of another architecture; false if none is needed. */
bool exec_op_emulator(const struct exec_op *o, struct arena *a, struct exec_mount *ret);
/* Arguments joined by spaces. */
const char *exec_op_args(const Pb__ExecOp *pb, struct arena *a);

/* ---- private_file.c: what is bind-mounted into one step only ---- */
struct private_file;
/* *ret_found false: there is none, and it is optional. */
struct err *private_file_secret(const struct exec_mounts_in *in, const Pb__SecretOpt *o,
				struct private_file **ret, bool *ret_found);
struct err *private_file_ssh(const struct exec_mounts_in *in, const Pb__SSHOpt *o,
			     struct private_file **ret, bool *ret_found);
const char *private_file_path(const struct private_file *f);
void private_file_free(struct private_file *f); /* NULL is fine */

#endif
