/* RUN. */
#include "frontend/dockerfile/plan.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/path.h"
#include "frontend/dockerfile/paths.h"

struct run {
	struct doing *d;
	struct arena *a;
	struct llb_node *n;
	Pb__ExecOp *op;
	struct strs args;
	struct str text; /* for the name */
	size_t n_ssh;
	struct str ssh_target; /* of the first one */
};

/* ---- heredocs ---- */

static struct str first_line(struct arena *a, struct str doc)
{
	struct str line, rest;
	bool more;

	more = str_cut(str_trim(doc), '\n', &line, &rest);
	line = str_trim_suffix(line, STR("\r"));
	return str_from(arena_printf(a, "%.*s%s", STR_ARG(line), more ? "..." : ""));
}

/* A script of its own: put where it can be executed. */
static void add_script(struct run *r, struct str name, struct str data)
{
	struct llb_node *file = llb_file(r->a, LLB_SCRATCH);
	Pb__FileActionMkFile *m = llb_mkfile(r->a, file, paths_clean(r->a, STR("/"), name, false));
	Pb__Mount *mount;

	m->mode = 0755;
	m->data = proto_from_str(data);
	llb_name(r->a, file, STR("[internal] preparing inline document"));
	mount = llb_exec_mount(r->a, r->n, STR("/dev/pipes/"), llb_out_of(file), true);
	mount->selector = arena_strdup(r->a, "/");
	mount->readonly = true;
	r->args = (struct strs) { 0 };
	strs_add(r->a, &r->args, path_join(r->a, STR("/dev/pipes/"), name));
	llb_cap(r->a, r->n, "exec.mount.selector");
	llb_cap(r->a, r->n, "exec.mount.bind");
}

/* The command is nothing but a heredoc: its text is the command. */
static void use_document(struct run *r, const struct heredoc *h)
{
	struct str data = h->chomp ? heredoc_chomp(r->a, h->content) : h->content;

	r->text = str_from(arena_printf(r->a, "%.*s (%.*s)", STR_ARG(r->text),
					STR_ARG(first_line(r->a, h->content))));
	if (!str_eq(r->d->s->image.platform.os, STR("windows")) &&
	    str_has_prefix(data, STR("#!"))) {
		add_script(r, h->name, data);
		return;
	}
	r->args = (struct strs) { 0 };
	strs_add(r->a, &r->args, data);
}

/* The shell of the step reads them, so they are put together again. */
static struct err *pass_documents(struct run *r)
{
	SCOPED_BUF(text, LIMIT_DOCKERFILE);

	buf_add_str(&text, r->args.items[0]);
	for (size_t i = 0; i < r->d->in->n_heredocs; i++) {
		buf_add_char(&text, '\n');
		buf_add_str(&text, r->d->in->heredocs[i].content);
		buf_add_str(&text, r->d->in->heredocs[i].name);
	}
	TRY(buf_check(&text, "RUN"));
	r->args = (struct strs) { 0 };
	strs_add(r->a, &r->args, str_dup(r->a, buf_str(&text)));
	return NULL;
}

static struct err *use_heredocs(struct run *r)
{
	struct heredoc word;

	if (!r->d->in->n_heredocs)
		return NULL;
	if (r->args.len != 1 || !r->d->in->shell_form)
		return err_new(ERR_UNKNOWN, "parsing produced an invalid run command: [%.*s]",
			       STR_ARG(strs_join(r->a, &r->args, STR(" "))));
	if (!heredoc_is(r->a, r->args.items[0], &word))
		return pass_documents(r);
	use_document(r, &r->d->in->heredocs[0]);
	return NULL;
}

/* ---- mounts ---- */

static void note_need(struct run *r, bool ssh, struct str id, bool required)
{
	struct outline *o = &r->d->s->outline;
	struct need_info **list = ssh ? &o->ssh : &o->secrets;
	size_t *n = ssh ? &o->n_ssh : &o->n_secrets, *cap = ssh ? &o->cap_ssh : &o->cap_secrets;

	for (size_t i = 0; i < *n; i++)
		if (str_eq((*list)[i].id, id))
			return;
	ARENA_PUSH(r->a, *list, *n, *cap, ((struct need_info) { id, required, r->d->in->loc }));
}

static bool has_owner(const struct run_mount *m)
{
	return m->has_uid || m->has_gid || m->has_mode;
}

static struct err *add_secret(struct run *r, const struct run_mount *m)
{
	struct str id = m->source.len ? m->source : m->id, target = m->target;
	Pb__SecretOpt *opt;
	Pb__Mount *mount;

	if (!id.len) {
		if (!target.len)
			return err_new(ERR_UNKNOWN, "one of source, target required");
		id = path_base(target);
	}
	if (!target.len && !m->has_env)
		target = str_from(arena_printf(r->a, "/run/secrets/%.*s", STR_ARG(path_base(id))));
	note_need(r, false, id, m->required);
	llb_cap(r->a, r->n, "exec.mount.secret");
	if (m->has_env) {
		Pb__SecretEnv *env = ARENA_NEW(r->a, Pb__SecretEnv), **list;

		pb__secret_env__init(env);
		env->id = llb_text(r->a, id);
		env->name = llb_text(r->a, m->env);
		env->optional = !m->required;
		list = ARENA_NEW_N(r->a, Pb__SecretEnv *, r->op->n_secretenv + 1);
		if (r->op->n_secretenv)
			memcpy(list, r->op->secretenv, r->op->n_secretenv * sizeof(*list));
		list[r->op->n_secretenv++] = env;
		r->op->secretenv = list;
		llb_cap(r->a, r->n, "exec.secretenv");
	}
	if (!target.len)
		return NULL;
	opt = ARENA_NEW(r->a, Pb__SecretOpt);
	pb__secret_opt__init(opt);
	opt->id = llb_text(r->a, id);
	opt->uid = m->uid;
	opt->gid = m->gid;
	opt->mode = m->has_mode ? m->mode : 0400;
	opt->optional = !m->required;
	mount = llb_exec_tail_mount(r->a, r->n, target);
	mount->mounttype = PB__MOUNT_TYPE__MOUNT_TYPE_SECRET;
	mount->secretopt = opt;
	return NULL;
}

static struct err *add_ssh(struct run *r, const struct run_mount *m)
{
	struct str target = m->target;
	Pb__Mount *mount;
	Pb__SSHOpt *opt;

	if (m->source.len)
		return err_new(ERR_UNKNOWN, "ssh does not support source");
	note_need(r, true, m->id.len ? m->id : STR("default"), m->required);
	if (!target.len)
		target = str_from(arena_printf(r->a, "/run/buildkit/ssh_agent.%zu", r->n_ssh));
	if (!r->n_ssh++)
		r->ssh_target = target;
	mount = llb_exec_tail_mount(r->a, r->n, target);
	opt = ARENA_NEW(r->a, Pb__SSHOpt);
	pb__sshopt__init(opt);
	opt->id = llb_text(r->a, m->id);
	opt->uid = m->uid;
	opt->gid = m->gid;
	opt->mode = m->has_mode ? m->mode : 0600;
	opt->optional = !m->required;
	mount->mounttype = PB__MOUNT_TYPE__MOUNT_TYPE_SSH;
	mount->sshopt = opt;
	llb_cap(r->a, r->n, "exec.mount.ssh");
	return NULL;
}

/* An empty directory with these rights. */
static struct llb_out owned_dir(struct run *r, const struct run_mount *m, struct llb_out base)
{
	struct llb_node *n = llb_file(r->a, base);
	Pb__FileActionMkDir *dir = llb_mkdir(r->a, n, STR("/cache"));

	dir->mode = (int32_t)((m->has_mode ? m->mode : 0755) & 0777);
	dir->owner = llb_chown_ids(r->a, m->uid, m->gid);
	llb_name(r->a, n, STR("[internal] setting cache mount permissions"));
	return llb_out_of(n);
}

static void set_cache(struct run *r, const struct run_mount *m, Pb__Mount *mount)
{
	struct str ns = r->d->p->df->opts.cache_namespace;
	struct str id = m->id.len ? m->id : path_clean(r->a, m->target);
	Pb__CacheOpt *opt = ARENA_NEW(r->a, Pb__CacheOpt);

	pb__cache_opt__init(opt);
	opt->id = arena_printf(r->a, "%.*s/%.*s", STR_ARG(ns), STR_ARG(id));
	opt->sharing =
		m->sharing == SHARING_PRIVATE  ? PB__CACHE_SHARING_OPT__CACHE_SHARING_OPT_PRIVATE
		: m->sharing == SHARING_LOCKED ? PB__CACHE_SHARING_OPT__CACHE_SHARING_OPT_LOCKED
					       : PB__CACHE_SHARING_OPT__CACHE_SHARING_OPT_SHARED;
	mount->mounttype = PB__MOUNT_TYPE__MOUNT_TYPE_CACHE;
	mount->cacheopt = opt;
	llb_cap(r->a, r->n, "exec.mount.cache");
	llb_cap(r->a, r->n, "exec.mount.cache.sharing");
}

static void set_tmpfs(struct run *r, int64_t size, Pb__Mount *mount)
{
	Pb__TmpfsOpt *opt = ARENA_NEW(r->a, Pb__TmpfsOpt);

	pb__tmpfs_opt__init(opt);
	opt->size = size;
	mount->mounttype = PB__MOUNT_TYPE__MOUNT_TYPE_TMPFS;
	mount->tmpfsopt = opt;
	llb_cap(r->a, r->n, "exec.mount.tmpfs");
	if (size > 0)
		llb_cap(r->a, r->n, "exec.mount.tmpfs.size");
}

/* bind, cache, tmpfs */
static struct err *add_mount(struct run *r, const struct run_mount *m, struct stage *source)
{
	struct str target = m->target, path = path_join(r->a, STR("/"), m->source), selector;
	bool from_context = !m->from.len && m->type != MOUNT_CACHE;
	struct llb_out out = from_context ? llb_out_of(r->d->p->context) : source->state.out;
	Pb__Mount *mount;

	if (!from_context && !source->dispatched)
		return err_new(ERR_UNKNOWN,
			       "cannot mount from stage %s to %s, stage needs to be defined before "
			       "current command",
			       text_quote(r->a, m->from), text_quote(r->a, m->target));
	if (m->type == MOUNT_TMPFS)
		out = LLB_SCRATCH;
	if (!path_is_abs(path_clean(r->a, target)))
		target = path_join(r->a, path_join(r->a, STR("/"), r->d->s->state.dir), target);
	if (str_eq(target, STR("/")))
		return err_new(ERR_UNKNOWN, "invalid mount target \"/\"");
	selector = str_eq(path, STR("/")) ? STR("") : path;
	if (!selector.len && has_owner(m)) {
		out = owned_dir(r, m, out);
		selector = STR("/cache");
	}
	mount = llb_exec_mount(r->a, r->n, target, out, m->type == MOUNT_BIND && !m->read_only);
	mount->readonly = m->read_only;
	mount->selector = llb_text(r->a, selector);
	if (selector.len)
		llb_cap(r->a, r->n, "exec.mount.selector");
	if (m->type == MOUNT_CACHE)
		set_cache(r, m, mount);
	else if (m->type == MOUNT_TMPFS)
		set_tmpfs(r, m->size, mount);
	else if (out.node)
		llb_cap(r->a, r->n, "exec.mount.bind");
	strs_add(r->a, from_context ? &r->d->s->context_paths : source->paths, path);
	return NULL;
}

static struct err *add_mounts(struct run *r)
{
	const struct run_instr *run = r->d->in->run;

	for (size_t i = 0; i < run->mount_texts.len; i++) {
		const struct run_mount *m = &run->mounts[i];

		if (m->from.len && !r->d->step->sources[i]->dispatched)
			return err_new(ERR_UNKNOWN,
				       "cannot mount from stage %s to %s, stage needs to be "
				       "defined before current command",
				       text_quote(r->a, m->from), text_quote(r->a, m->target));
		if (m->type == MOUNT_SECRET)
			TRY(add_secret(r, m));
		else if (m->type == MOUNT_SSH)
			TRY(add_ssh(r, m));
		else
			TRY(add_mount(r, m, r->d->step->sources[i]));
	}
	return NULL;
}

/* ---- what the process runs with ---- */

static void set_env(struct run *r)
{
	const struct env *env = &r->d->s->state.env;
	Pb__Meta *meta = r->op->meta;
	struct str unused;

	meta->env = ARENA_NEW_N(r->a, char *, env->len + 1);
	for (size_t i = 0; i < env->len; i++)
		meta->env[meta->n_env++] = llb_text(r->a, env_text(r->a, &env->vars[i]));
	if (r->n_ssh && !env_get(env, STR("SSH_AUTH_SOCK"), &unused))
		meta->env[meta->n_env++] =
			arena_printf(r->a, "SSH_AUTH_SOCK=%.*s", STR_ARG(r->ssh_target));
}

static void set_limits(struct run *r)
{
	const struct opts *o = &r->d->p->df->opts;
	Pb__Meta *meta = r->op->meta;

	meta->extrahosts = ARENA_NEW_N(r->a, Pb__HostIP *, o->n_hosts);
	for (size_t i = 0; i < o->n_hosts; i++) {
		Pb__HostIP *h = ARENA_NEW(r->a, Pb__HostIP);

		pb__host_ip__init(h);
		h->host = llb_text(r->a, o->hosts[i].host);
		h->ip = llb_text(r->a, o->hosts[i].ip);
		meta->extrahosts[meta->n_extrahosts++] = h;
	}
	meta->ulimit = ARENA_NEW_N(r->a, Pb__Ulimit *, o->n_ulimits);
	for (size_t i = 0; i < o->n_ulimits; i++) {
		Pb__Ulimit *u = ARENA_NEW(r->a, Pb__Ulimit);

		pb__ulimit__init(u);
		u->name = llb_text(r->a, o->ulimits[i].name);
		u->soft = o->ulimits[i].soft;
		u->hard = o->ulimits[i].hard;
		meta->ulimit[meta->n_ulimit++] = u;
		llb_cap(r->a, r->n, "exec.meta.ulimit");
	}
	meta->hostname = llb_text(r->a, o->hostname);
	meta->cgroupparent = llb_text(r->a, o->cgroup_parent);
	if (o->resources) {
		llb_metadata(r->n)->linux_resources = o->resources;
		llb_cap(r->a, r->n, "exec.meta.linux.resources");
	}
	if (o->shm_size > 0)
		set_tmpfs(r, o->shm_size,
			  llb_exec_mount(r->a, r->n, STR("/dev/shm"), LLB_SCRATCH, false));
}

static void set_isolation(struct run *r)
{
	const struct run_instr *run = r->d->in->run;

	r->op->network = r->d->p->df->opts.network;
	if (str_eq(run->network, STR("none")))
		r->op->network = PB__NET_MODE__NET_MODE_NONE;
	else if (str_eq(run->network, STR("host")))
		r->op->network = PB__NET_MODE__NET_MODE_HOST;
	if (r->op->network != PB__NET_MODE__NET_MODE_UNSET)
		llb_cap(r->a, r->n, "exec.meta.network");
	if (str_eq(run->security, STR("insecure"))) {
		r->op->security = PB__SECURITY_MODE__SECURITY_MODE_INSECURE;
		llb_cap(r->a, r->n, "exec.meta.security");
	}
	r->op->cdidevices = ARENA_NEW_N(r->a, Pb__CDIDevice *, run->n_devices);
	for (size_t i = 0; i < run->n_devices; i++) {
		Pb__CDIDevice *dev = ARENA_NEW(r->a, Pb__CDIDevice);

		pb__cdidevice__init(dev);
		dev->name = llb_text(r->a, run->devices[i].name);
		dev->optional = !run->devices[i].required;
		r->op->cdidevices[r->op->n_cdidevices++] = dev;
		llb_cap(r->a, r->n, "exec.meta.cdi");
	}
}

static void set_meta(struct run *r)
{
	const struct fs_state *st = &r->d->s->state;
	Pb__Meta *meta = r->op->meta;

	meta->args = ARENA_NEW_N(r->a, char *, r->args.len);
	for (size_t i = 0; i < r->args.len; i++)
		meta->args[meta->n_args++] = llb_text(r->a, r->args.items[i]);
	set_env(r);
	meta->cwd = llb_text(r->a, st->dir);
	meta->user = llb_text(r->a, st->user);
	meta->removemountstubsrecursive = true;
	meta->proxy_env = args_proxy(r->a, &r->d->p->df->opts.build_args);
	if (meta->proxy_env)
		llb_cap(r->a, r->n, "exec.meta.proxyenv");
	llb_cap(r->a, r->n, "exec.meta.base");
	llb_cap(r->a, r->n, "exec.meta.setsdefaultpath");
}

/* ---- names ---- */

/* "|2 A=1 B=2 " for the ARGs of the stage: they are part of what the step depends on. */
static struct str history_args(struct run *r)
{
	const struct stage *s = r->d->s;
	SCOPED_BUF(text, SIZE_MAX);
	struct env args = { 0 };

	for (size_t i = 0; i < s->n_args; i++) {
		struct str value = s->args[i].has_value ? s->args[i].value : STR("");
		size_t k = 0;

		env_get(&s->state.env, s->args[i].key, &value);
		while (k < args.len && !str_eq(args.vars[k].key, s->args[i].key))
			k++;
		if (k < args.len) /* keeps its place */
			args.vars[k].value = value;
		else
			env_set(r->a, &args, s->args[i].key, value);
	}
	if (!args.len)
		return STR("");
	buf_addf(&text, "|%zu ", args.len);
	for (size_t i = 0; i < args.len; i++) {
		buf_add_str(&text, env_text(r->a, &args.vars[i]));
		buf_add_char(&text, ' ');
	}
	return str_dup(r->a, buf_str(&text));
}

static struct str display_name(struct run *r)
{
	struct shell sh = r->d->p->shell;
	struct env env = r->d->s->state.env;
	const struct run_instr *run = r->d->in->run;
	bool masked = false;

	sh.raw_quotes = sh.raw_escapes = sh.skip_unset = true;
	for (size_t i = 0; i < run->mount_texts.len; i++) {
		if (run->mounts[i].type != MOUNT_SECRET || !run->mounts[i].has_env)
			continue;
		if (!masked)
			env = env_clone(r->a, &env);
		masked = true;
		env_set(r->a, &env, run->mounts[i].env, STR("****"));
	}
	return step_text(r->d->p, &sh, r->text, &env);
}

struct err *do_run(struct doing *d)
{
	struct arena *a = &d->p->a;
	struct stage *s = d->s;
	struct run r = { .d = d, .a = a, .args = d->in->args, .text = d->in->code };

	strs_add(a, s->paths, STR("/")); /* a command may read anything */
	r.n = llb_exec(a);
	r.op = llb_exec_op(r.n);
	llb_exec_mount(a, r.n, STR("/"), s->state.out, false);
	if (s->state.out.node)
		llb_cap(a, r.n, "exec.mount.bind");
	TRY(use_heredocs(&r));
	if (d->in->shell_form)
		shell_join(a, &s->image, &r.args, &r.args);
	if (!r.args.len)
		return err_new(ERR_UNKNOWN,
			       "failed to marshal LLB definition: arguments are required");
	llb_describe(a, r.n, "com.docker.dockerfile.v1.command", d->in->code);
	llb_locate(a, r.n, &d->p->map, d->in->loc.start, d->in->loc.end);
	if (s->ignore_cache)
		llb_ignore_cache(r.n);
	TRY(add_mounts(&r));
	set_limits(&r);
	set_isolation(&r);
	set_meta(&r);
	if (s->state.has_platform)
		llb_platform(a, r.n, &s->state.platform);
	llb_name(a, r.n,
		 step_name(d->p, s, display_name(&r),
			   s->state.has_platform ? &s->state.platform : NULL, &s->state.env));
	s->state.out = llb_out_of(r.n);
	stage_history(d->p, s,
		      str_from(arena_printf(a, "RUN %.*s%.*s # buildkit", STR_ARG(history_args(&r)),
					    STR_ARG(strs_join(a, &r.args, STR(" "))))),
		      true);
	return NULL;
}
