#include "exec/exec_impl.h"

#include "base/id.h"
#include "base/limits.h"
#include "base/path.h"
#include "exec/hosts.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/inroot.h"
#include "sys/mount.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIMIT_CONFIG_JSON (64 * MIB)
/* /etc/resolv.conf, /etc/hosts, the trace socket. */
#define EXTRA_MOUNTS 3

struct err *exec_check_process(const struct exec_process *p)
{
	if (!p->n_args || !p->args[0].len)
		return err_new(ERR_INVALID_ARGUMENT,
			       "no process arguments: args must not be empty");
	return NULL;
}

/* A place in the bundle's directory, of the kind that something can be mounted on. */
static struct err *make_place(struct bundle *b, const char *name, bool dir, const char **ret)
{
	const char *p = arena_printf(&b->arena, "%s/%s", b->dir, name);
	int fd = -1;

	if (dir) {
		if (mkdir(p, 0755) < 0)
			return err_errno(errno, "mkdir %s", p);
	} else {
		TRY(fd_open(AT_FDCWD, p, O_WRONLY | O_CREAT | O_EXCL, 0600, &fd));
		(void)close(fd);
	}
	*ret = p;
	return NULL;
}

static void note_mounted(struct bundle *b, const char *place)
{
	b->mounted[b->n_mounted++] = place;
}

static struct err *attach(struct bundle *b, const struct mounts *m, const char *name,
			  const char **ret)
{
	TRY(make_place(b, name, true, ret));
	TRY(mounts_attach(m, *ret));
	note_mounted(b, *ret);
	return NULL;
}

static struct err *mount_root(struct bundle *b)
{
	const struct mounts *m = b->spec->root;

	/* The runtime mounts a directory on itself: no need to do it here. */
	if (m->kind == MOUNT_BIND && !m->readonly)
		b->rootfs = str_cstr(&b->arena, m->source);
	else
		TRY(attach(b, m, "rootfs", &b->rootfs));
	return fd_open(AT_FDCWD, b->rootfs, O_PATH | O_DIRECTORY, 0, &b->rootfd);
}

/* Runtime programs make links and nodes by path in what they take for their own mounts: with a link
 * in such a place they made them outside of the root (runc before 1.2 in /dev). No image has that
 * by accident. */
static struct err *check_places(const struct bundle *b)
{
	static const char *const places[] = { "/proc",         "/sys",     "/dev",
					      "/dev/pts",      "/dev/shm", "/dev/mqueue",
					      "/sys/fs/cgroup" };

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct stat st;
		struct err *e = inroot_stat(b->rootfd, str_from(places[i]), false, &st);
		bool is_link = !e && S_ISLNK(st.st_mode);

		err_free(e);
		if (is_link)
			return err_new(ERR_FAILED_PRECONDITION,
				       "%s of the root file system is a symbolic link", places[i]);
	}
	return NULL;
}

/* A part of a source, which what runs elsewhere may change meanwhile: mounted by its descriptor, as
 * the runtime would follow links out of the source. */
static struct err *attach_part(struct bundle *b, struct str source, struct str selector,
			       const char *name, const char **ret)
{
	CLEANUP_FD int root = -1, part = -1, mnt = -1;
	struct stat st;

	TRY(fd_open(AT_FDCWD, str_cstr(&b->arena, source), O_PATH | O_DIRECTORY, 0, &root));
	TRY(inroot_open(root, selector, O_PATH, 0, &part));
	if (fstat(part, &st) < 0)
		return err_errno(errno, "stat %.*s", STR_ARG(selector));
	TRY(make_place(b, name, S_ISDIR(st.st_mode), ret));
	TRYW(mount_clone(part, "", true, &mnt), "mount %.*s", STR_ARG(selector));
	TRYW(mount_attach(mnt, AT_FDCWD, *ret), "mount %.*s", STR_ARG(selector));
	note_mounted(b, *ret);
	return NULL;
}

static struct err *attach_shared(struct bundle *b, struct ctx *ctx, const struct mounts *m,
				 struct str *ret)
{
	struct shared_mount *sm;

	TRY(shared_mount_get(b->e->shared, ctx, m, &sm));
	b->shared[b->n_shared++] = sm;
	*ret = str_from(shared_mount_path(sm));
	return NULL;
}

static struct err *add_mount(struct bundle *b, struct ctx *ctx, const struct exec_mount *x,
			     size_t i)
{
	struct spec_mount *m = &b->mounts[b->n_mounts];
	bool whole = !x->selector.len || str_eq(x->selector, STR("/"));
	struct str source = x->mounts->source;
	const char *place;

	m->dest = path_clean(&b->arena, x->dest);
	if (!path_is_abs(m->dest))
		return err_new(ERR_INVALID_ARGUMENT, "mount destination %.*s is not absolute",
			       STR_ARG(x->dest));
	if (x->mounts->kind == MOUNT_TMPFS) {
		size_t n = 0;

		m->type = m->source = STR("tmpfs");
		m->options[n++] = "nosuid";
		if (x->readonly || x->mounts->readonly)
			m->options[n++] = "ro";
		if (x->nodev)
			m->options[n++] = "nodev";
		if (x->noexec)
			m->options[n++] = "noexec";
		if (x->mounts->size)
			m->options[n++] = arena_printf(&b->arena, "size=%llu",
						       (unsigned long long)x->mounts->size);
		b->n_mounts++;
		return NULL;
	}
	if (x->mounts->kind == MOUNT_OVERLAY && x->mounts->upper.len) {
		TRY(attach_shared(b, ctx, x->mounts, &source));
	} else if (x->mounts->kind == MOUNT_OVERLAY) {
		TRY(attach(b, x->mounts, arena_printf(&b->arena, "m%zu", i), &place));
		source = str_from(place);
	}
	if (!whole) {
		TRY(attach_part(b, source, x->selector, arena_printf(&b->arena, "s%zu", i),
				&place));
		source = str_from(place);
	}
	m->source = source;
	spec_bind_options(m, b->e->userns, x->readonly || x->mounts->readonly, x->nosuid, x->nodev,
			  x->noexec);
	b->n_mounts++;
	return NULL;
}

static void add_file(struct bundle *b, const char *dest, const char *source, bool strict)
{
	struct spec_mount *m = &b->mounts[b->n_mounts++];

	m->dest = str_from(dest);
	m->source = str_from(source);
	spec_bind_options(m, b->e->userns, true, strict, strict, strict);
}

static struct err *add_hosts(struct bundle *b)
{
	SCOPED_BUF(text, MIB);
	const char *p = arena_printf(&b->arena, "%s/hosts", b->dir);

	hosts_make(b->spec->hostname, b->spec->hosts, b->spec->n_hosts, &text);
	TRY(buf_check(&text, "hosts file"));
	TRY(file_write(AT_FDCWD, p, buf_str(&text), 0644));
	add_file(b, "/etc/hosts", p, true);
	return NULL;
}

static void add_edits(struct bundle *b)
{
	const struct exec_edits *ed = b->spec->edits;

	for (size_t i = 0; ed && i < ed->n_mounts; i++) {
		const struct exec_edit_mount *x = &ed->mounts[i];
		struct spec_mount *m = &b->mounts[b->n_mounts++];

		*m = (struct spec_mount) {
			path_clean(&b->arena, x->dest), x->type, x->source, { NULL }
		};
		memcpy(m->options, x->options, sizeof(x->options));
	}
}

static struct err *add_mounts(struct bundle *b, struct ctx *ctx)
{
	struct resolvconf_opts dns = b->e->dns;
	const char *p;

	dns.host_net = b->spec->net == EXEC_NET_HOST;
	TRY(resolvconf_file(b->e->root, &dns, &b->arena, &p));
	add_file(b, "/etc/resolv.conf", p, true);
	TRY(add_hosts(b));
	for (size_t i = 0; i < b->spec->n_mounts; i++)
		TRY(add_mount(b, ctx, &b->spec->mounts[i], i));
	if (b->e->otel_socket && file_exists(AT_FDCWD, b->e->otel_socket)) {
		add_file(b, "/dev/otel-grpc.sock", b->e->otel_socket, false);
		b->traced = true;
	}
	add_edits(b);
	return NULL;
}

static void note_stubs(struct bundle *b)
{
	bool all = b->spec->remove_stubs_recursive;

	stubs_note(&b->stubs, b->rootfd, STR("/etc/resolv.conf"), all, &b->arena);
	stubs_note(&b->stubs, b->rootfd, STR("/etc/hosts"), all, &b->arena);
	for (size_t i = 0; i < b->spec->n_mounts; i++)
		stubs_note(&b->stubs, b->rootfd, b->spec->mounts[i].dest, all, &b->arena);
	for (size_t i = 0; b->spec->edits && i < b->spec->edits->n_mounts; i++)
		stubs_note(&b->stubs, b->rootfd, b->spec->edits->mounts[i].dest, all, &b->arena);
}

static struct err *make_cwd(struct bundle *b)
{
	struct str cwd = b->spec->process.cwd;
	const struct inroot_mkdirs_opts o = { .mode = 0755,
					      .uid = b->user.uid,
					      .gid = b->user.gid };

	struct stat st;
	struct err *e;

	if (cwd.len <= 1)
		return NULL;
	/* Something else than a directory is left to the runtime. */
	e = inroot_stat(b->rootfd, cwd, true, &st);
	if (!e)
		return NULL;
	err_free(e);
	TRYW(inroot_mkdirs(b->rootfd, cwd, &o, NULL), "failed to create working directory %.*s",
	     STR_ARG(cwd));
	return NULL;
}

struct err *bundle_add_rootless_stubs(struct bundle *b)
{
	const struct inroot_mkdirs_opts o = { .mode = 0755 };

	if (!b->e->rootless)
		return NULL;
	return inroot_mkdirs(b->rootfd, STR("/sys"), &o, NULL);
}

/* The native runner has its filter compiled already. */
static const struct seccomp no_seccomp;

void bundle_spec_in(const struct bundle *b, struct spec_in *ret)
{
	*ret = (struct spec_in) {
		.exec = b->spec,
		.user = &b->user,
		.root = str_from(b->rootfs),
		.mounts = b->mounts,
		.n_mounts = b->n_mounts,
		.new_netns = b->net.fresh,
		.netns = str_from(b->net.netns),
		.cgroup = str_from(b->cgroup),
		.apparmor = str_from(b->e->apparmor),
		.seccomp = b->e->is_native ? &no_seccomp : &b->e->seccomp,
		.cgroup_ns = b->e->cgroup_ns,
		.rootless = b->e->rootless,
		.host_pid = b->e->host_pid,
		.traced = b->traced,
		.env = b->proxy_env,
		.n_env = b->n_proxy_env,
	};
}

static struct err *write_config(struct bundle *b)
{
	SCOPED_BUF(out, LIMIT_CONFIG_JSON);
	struct spec_in in;

	bundle_spec_in(b, &in);
	spec_write(&in, &out);
	TRY(buf_check(&out, "configuration of the process"));
	if (b->e->is_native)
		b->config = str_dup(&b->arena, buf_str(&out));
	return file_write(AT_FDCWD, arena_printf(&b->arena, "%s/config.json", b->dir),
			  buf_str(&out), 0600);
}

/* "/<parent>/buildkit/<id>", or with a systemd slice "<parent><id>". */
static const char *cgroup_of(struct bundle *b)
{
	struct str parent = b->spec->cgroup_parent;

	if (!b->e->cgroups)
		return "";
	if (!parent.len)
		parent = str_from(b->e->cgroup_parent);
	if (str_find_str(parent, STR(".slice")) > 0 && str_has_suffix(parent, STR(":")))
		return arena_printf(&b->arena, "%.*s%s", STR_ARG(parent), b->id);
	parent = path_join(&b->arena, STR("/"), parent);
	return arena_printf(&b->arena, "%.*s/buildkit/%s",
			    STR_ARG(parent.len > 1 ? parent : STR("")), b->id);
}

/* A systemd slice is not a path that we can find the group by. */
const char *bundle_own_cgroup(const struct bundle *b)
{
	return b->cgroup[0] == '/' ? b->cgroup : "";
}

/* ---- a network with a proxy only ---- */

static struct err *start_proxy(struct bundle *b, struct ctx *ctx)
{
	const struct exec_proxy *p = b->spec->proxy;

	TRY(net_get_proxied(b->e->net, ctx, b->spec->net, &b->net));
	b->n_proxy_env = proxynet_env(b->net.proxy_url, &b->arena, b->proxy_env);
	TRY(proxyca_add(b->rootfd, p->ca_pem, &b->ca));
	TRY(p->start(p->arg, ctx, b->net.listen_fd, net_lease_socket, &b->net));
	b->proxy_started = true;
	return NULL;
}

static void stop_proxy(struct bundle *b)
{
	if (b->proxy_started)
		b->spec->proxy->stop(b->spec->proxy->arg);
	b->proxy_started = false;
}

struct err *bundle_end_proxy(struct bundle *b, struct err *take_e)
{
	struct err *e, *both;

	stop_proxy(b);
	e = err_wrap(proxyca_remove(b->rootfd, &b->ca), "failed to clean up proxy CA");
	if (!e || !take_e)
		return err_first(take_e, e);
	both = err_new(err_code(take_e), "%s\n%s", err_text(take_e), err_text(e));
	for (size_t i = 0; i < err_detail_count(take_e); i++) {
		struct str value;
		const char *type = err_detail(take_e, i, &value);

		err_add_detail(both, type, value);
	}
	err_free(take_e);
	err_free(e);
	return both;
}

static struct err *get_net(struct bundle *b, struct ctx *ctx)
{
	if (b->spec->proxy && b->spec->net != EXEC_NET_NONE)
		return start_proxy(b, ctx);
	return net_get(b->e->net, ctx, b->spec->net, b->spec->hostname, &b->net);
}

static struct err *fill(struct bundle *b, struct ctx *ctx)
{
	if (mkdir(b->dir, 0711) < 0)
		return err_errno(errno, "mkdir %s", b->dir);
	TRY(mount_root(b));
	TRY(check_places(b));
	TRY(users_lookup(b->rootfd, b->spec->process.user, &b->arena, &b->user));
	note_stubs(b);
	TRY(make_cwd(b));
	TRY(add_mounts(b, ctx));
	TRY(get_net(b, ctx));
	return write_config(b);
}

struct err *bundle_make(struct executor *e, struct ctx *ctx, const struct exec_spec *spec,
			struct bundle *ret)
{
	struct bundle *b = ret;
	struct err *err;

	*b = (struct bundle) { .e = e, .spec = spec, .rootfd = -1, .init_fd = -1 };
	b->id = id_new(&b->arena);
	b->dir = arena_printf(&b->arena, "%s/%s", e->bundles, b->id);
	b->cgroup = cgroup_of(b);
	b->mounted = ARENA_NEW_N(&b->arena, const char *, spec->n_mounts * 2 + 1);
	b->shared = ARENA_NEW_N(&b->arena, struct shared_mount *, spec->n_mounts + 1);
	b->mounts = ARENA_NEW_N(&b->arena, struct spec_mount,
				spec->n_mounts + EXTRA_MOUNTS +
					(spec->edits ? spec->edits->n_mounts : 0));
	err = fill(b, ctx);
	if (err)
		bundle_release(b);
	return err;
}

void bundle_release(struct bundle *b)
{
	stop_proxy(b);
	if (b->init_fd >= 0)
		(void)close(b->init_fd);
	if (b->rootfd >= 0) {
		/* Only of what could not be started: else it has been done. */
		err_free(proxyca_remove(b->rootfd, &b->ca));
		stubs_remove(&b->stubs, b->rootfd);
		(void)close(b->rootfd);
		b->rootfd = -1;
	}
	while (b->n_mounted)
		err_free(mount_umount(b->mounted[--b->n_mounted], true));
	while (b->n_shared)
		shared_mount_put(b->e->shared, b->shared[--b->n_shared]);
	net_put(b->e->net, &b->net, b->spec->insecure);
	janitor_put(&b->e->janitor, b->id, bundle_own_cgroup(b), b->ended);
	arena_fini(&b->arena);
}
