#include "op/exec_impl.h"
#include "sys/fd.h"

#include <sys/stat.h>

/* A directory that only root can enter, with one file or socket in it. */
struct private_file {
	char *dir, *path;
	struct sshforward *forward;
};

static struct err *make(const char *parent, const char *name, struct private_file **ret)
{
	struct private_file *f;

	if (!parent)
		return err_new(ERR_INTERNAL, "no directory for secrets");
	f = NEW(struct private_file);
	f->dir = mem_printf("%s/step-XXXXXX", parent);
	if (!mkdtemp(f->dir)) {
		struct err *e = err_errno(errno, "mkdir %s", f->dir);

		free(f->dir);
		free(f);
		return e;
	}
	f->path = mem_printf("%s/%s", f->dir, name);
	*ret = f;
	return NULL;
}

void private_file_free(struct private_file *f)
{
	if (!f)
		return;
	sshforward_close(f->forward);
	(void)unlink(f->path);
	(void)rmdir(f->dir);
	free(f->path);
	free(f->dir);
	free(f);
}

const char *private_file_path(const struct private_file *f)
{
	return f->path;
}

static struct err *write_secret(const char *path, struct str data, const Pb__SecretOpt *o)
{
	CLEANUP_FD int fd = -1;

	TRY(fd_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL, 0600, &fd));
	TRY(fd_write_all(fd, data.ptr, data.len));
	if (fchown(fd, o->uid, o->gid) < 0)
		return err_errno(errno, "chown secret");
	if (fchmod(fd, o->mode & 0777) < 0)
		return err_errno(errno, "chmod secret");
	return NULL;
}

struct err *private_file_secret(const struct exec_mounts_in *in, const Pb__SecretOpt *o,
				struct private_file **ret, bool *ret_found)
{
	struct private_file *f;
	struct err *e;
	SCOPED_BUF(data, LIMIT_SECRET);

	*ret_found = false;
	if (!o->id[0])
		return err_new(ERR_INVALID_ARGUMENT, "secret ID missing from mount options");
	e = session_secret(in->worker->sessions, in->ctx, in->sessions, str_from(o->id), &data);
	if (e && o->optional && err_is(e, ERR_NOT_FOUND)) {
		err_free(e);
		return NULL;
	}
	TRY(e);
	e = make(in->worker->secrets_dir, "secret", &f);
	if (!e) {
		e = write_secret(f->path, buf_str(&data), o);
		if (e)
			private_file_free(f);
	}
	if (data.data)
		explicit_bzero(data.data, data.cap);
	TRY(e);
	*ret = f;
	*ret_found = true;
	return NULL;
}

struct err *private_file_ssh(const struct exec_mounts_in *in, const Pb__SSHOpt *o,
			     struct private_file **ret, bool *ret_found)
{
	struct str id = o->id[0] ? str_from(o->id) : STR("default");
	struct private_file *f;
	struct err *e;

	*ret_found = false;
	e = session_ssh_check(in->worker->sessions, in->ctx, in->sessions, id);
	if (e && o->optional) {
		err_free(e);
		return ctx_err(in->ctx);
	}
	if (err_is(e, ERR_UNIMPLEMENTED)) {
		err_free(e);
		return err_new(ERR_UNKNOWN, "no SSH key \"%.*s\" forwarded from the client",
			       STR_ARG(id));
	}
	TRY(e);
	TRY(make(in->worker->tmp_dir, "ssh_agent", &f));
	e = sshforward_open(in->worker->sessions, in->ctx, in->sessions, id, f->path, o->uid,
			    o->gid, o->mode & 0777, &f->forward);
	if (e) {
		private_file_free(f);
		return e;
	}
	*ret = f;
	*ret_found = true;
	return NULL;
}
