#include "daemon/worker.h"

#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/version.h"
#include "cache/cachemount.h"
#include "containerd/ctd.h"
#include "exec/runtime.h"
#include "kv/kv.h"
#include "op/exec_proxy.h"
#include "source/git.h"
#include "source/http.h"
#include "source/image.h"
#include "source/local.h"
#include "sys/file.h"
#include "sys/mount.h"
#include "sys/proc.h"
#include "sys/rmtree.h"
#include "sys/userns.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#define LABEL "org.mobyproject.buildkit.worker."

/* ---- state directory ---- */

/* Trying it costs a mount and an unmount, which is most of a start; where the kernel and the
 * file system are known to do it, it is not tried. */
static bool overlay_is_sure(const char *root)
{
	static const long known[] = { EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
				      TMPFS_MAGIC };
	struct str list, line;
	SCOPED_ARENA(a);
	struct statfs st;
	struct err *e;
	bool have = false;

	if (userns_inside() || statfs(root, &st) < 0)
		return false;
	e = file_read_str(AT_FDCWD, "/proc/filesystems", &a, 64 * 1024, &list);
	if (e) {
		err_free(e);
		return false;
	}
	while (str_next(&list, '\n', &line))
		have |= str_has_suffix(line, STR("\toverlay"));
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (have && st.f_type == known[i])
			return true;
	return false;
}

static struct err *pick_snapshotter(const struct config *cfg, const struct config_worker *wc,
				    const char **ret)
{
	const char *s = wc->snapshotter;

	if (strcmp(s, "auto") == 0) {
		TRY(file_mkdirs(AT_FDCWD, cfg->root, 0700));
		*ret = overlay_is_sure(cfg->root) || snapshot_overlay_supported(cfg->root)
			       ? "overlayfs"
			       : "native";
		return NULL;
	}
	if (strcmp(s, "overlayfs") != 0 && strcmp(s, "native") != 0)
		return err_new(ERR_UNIMPLEMENTED, "snapshotter %s is not supported", s);
	*ret = s;
	return NULL;
}

/* Results in the solver's cache name the worker, so both are in one store; the file is for
 * people and other programs. */
static struct err *read_id(struct daemon_worker *w)
{
	char *path = arena_printf(&w->arena, "%s/workerid", w->dir);
	struct str id;
	bool found;

	TRY(kv_get1(w->kv, "worker", str_from("id"), &w->arena, &id, &found));
	if (found) {
		w->id = str_heap(id);
		return NULL;
	}
	w->id = str_heap(str_from(id_new(&w->arena)));
	TRY(kv_put1(w->kv, KV_LAZY, "worker", str_from("id"), str_from(w->id)));
	return file_replace(AT_FDCWD, path, str_from(w->id), 0600, FILE_NO_SYNC);
}

/* Left-overs of an earlier run go; secrets live in memory only. */
static struct err *make_scratch(struct daemon_worker *w)
{
	w->tmp_dir = mem_printf("%s/tmp", w->dir);
	w->secrets_dir = mem_printf("%s/secrets", w->dir);
	/* A daemon in the machine's own mount namespace that was killed leaves its mounts. */
	TRY(mount_umount_below(w->dir));
	TRY(rmtree(AT_FDCWD, w->tmp_dir));
	TRY(file_mkdirs(AT_FDCWD, w->tmp_dir, 0700));
	TRY(file_mkdirs(AT_FDCWD, w->secrets_dir, 0700));
	if (mount("tmpfs", w->secrets_dir, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700") < 0)
		return err_errno(errno, "mount tmpfs at %s", w->secrets_dir);
	return NULL;
}

static struct err *make_dir(struct daemon_worker *w, const char *name, char **ret)
{
	*ret = arena_printf(&w->arena, "%s/%s", w->dir, name);
	return file_mkdirs(AT_FDCWD, *ret, 0700);
}

/* ---- executor ---- */

static const char *const *to_cstrs(struct arena *a, const struct config_strs *s)
{
	const char **out = ARENA_NEW_N(a, const char *, s->n + 1);

	for (size_t i = 0; i < s->n; i++)
		out[i] = str_cstr(a, s->items[i]);
	return out;
}

static struct err *open_executor(const struct config *cfg, const struct config_worker *o,
				 const struct exec_driver *driver, struct ctx *ctx,
				 struct daemon_worker *w)
{
	struct executor_config ec = {
		.runtime = o->binary,
		.driver = driver,
		.net_mode = o->net_mode,
		.cni_config = o->cni_config_path,
		.cni_bin_dir = o->cni_binary_path,
		.cni_pool_size = (int)o->cni_pool_size,
		.bridge_name = o->bridge_name,
		.bridge_subnet = o->bridge_subnet,
		.cgroup_parent = o->default_cgroup_parent,
		.apparmor_profile = o->apparmor_profile,
		.dns_nameservers = to_cstrs(&w->arena, &cfg->dns_nameservers),
		.n_dns_nameservers = cfg->dns_nameservers.n,
		.dns_options = to_cstrs(&w->arena, &cfg->dns_options),
		.n_dns_options = cfg->dns_options.n,
		.dns_search = to_cstrs(&w->arena, &cfg->dns_search),
		.n_dns_search = cfg->dns_search.n,
		.rootless = o->rootless,
		.no_process_sandbox = o->no_process_sandbox,
	};
	char *dir;

	TRY(make_dir(w, "executor", &dir));
	ec.root = dir;
	return executor_open(&ec, ctx, &w->executor);
}

/* ---- devices ---- */

static void open_cdi(const struct config *cfg, struct daemon_worker *w)
{
	static const char *const usual[] = { "/etc/cdi", "/var/run/cdi", "/etc/buildkit/cdi" };
	struct cdi_devices d;

	if (cfg->cdi_disabled)
		return;
	w->cdi = (struct cdi_config) {
		.dirs = cfg->cdi_spec_dirs.n ? to_cstrs(&w->arena, &cfg->cdi_spec_dirs) : usual,
		.n_dirs = cfg->cdi_spec_dirs.n ? cfg->cdi_spec_dirs.n : ARRAY_SIZE(usual),
		.auto_allowed = to_cstrs(&w->arena, &cfg->cdi_auto_allowed),
		.n_auto_allowed = cfg->cdi_auto_allowed.n,
	};
	cdi_load(&w->cdi, &d);
	if (d.problem)
		log_warn("CDI setup error: %s", err_text(d.problem));
	cdi_devices_fini(&d);
}

/* ---- platforms and labels ---- */

/* The machine's own, its lower variants, and what it runs besides. */
static struct err *find_platforms(const struct config_worker *wc, struct daemon_worker *w)
{
	struct platform def = platform_default();

	if (wc->platforms.n) {
		w->n_platforms = wc->platforms.n;
		w->platforms = ARENA_NEW_N(&w->arena, struct platform, w->n_platforms);
		for (size_t i = 0; i < w->n_platforms; i++) {
			TRY(platform_parse(&w->arena, wc->platforms.items[i], &w->platforms[i]));
			w->platforms[i] = platform_normalize(w->platforms[i]);
		}
		return NULL;
	}
	w->platforms = ARENA_NEW_N(&w->arena, struct platform, 5);
	w->platforms[w->n_platforms++] = def;
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt"))
		w->platforms[w->n_platforms++] =
			(struct platform) { .os = def.os, .arch = def.arch, .variant = STR("v2") };
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"))
		w->platforms[w->n_platforms++] =
			(struct platform) { .os = def.os, .arch = def.arch, .variant = STR("v3") };
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
		w->platforms[w->n_platforms++] =
			(struct platform) { .os = def.os, .arch = def.arch, .variant = STR("v4") };
	w->platforms[w->n_platforms++] = (struct platform) { .os = def.os, .arch = STR("386") };
#endif
	return NULL;
}

static int by_key(const void *a, const void *b)
{
	return str_cmp(((const struct oci_kv *)a)->key, ((const struct oci_kv *)b)->key);
}

static void make_labels(const struct config_worker *wc, struct daemon_worker *w,
			const char *snapshotter, struct str containerd_uuid)
{
	char host[256] = "";
	bool ctd = wc->kind == WORKER_CONTAINERD;
	struct oci_kv own[] = {
		{ STR(LABEL "executor"), ctd ? STR("containerd") : STR("oci") },
		{ STR(LABEL "snapshotter"), str_from(snapshotter) },
		{ STR(LABEL "hostname"), str_from(host) },
		{ STR(LABEL "network"), str_from(executor_net_label(w->executor)) },
		{ STR(LABEL "selinux.enabled"), wc->selinux ? STR("true") : STR("false") },
		/* Those without a value are left out. */
		{ STR(LABEL "oci.process-mode"), ctd                      ? STR_NONE
						 : wc->no_process_sandbox ? STR("no-sandbox")
									  : STR("sandbox") },
		{ STR(LABEL "apparmor.profile"), str_from(wc->apparmor_profile) },
		{ STR(LABEL "containerd.uuid"), containerd_uuid },
		{ STR(LABEL "containerd.namespace"), ctd ? str_from(wc->namespace) : STR_NONE },
	};
	size_t n = 0;

	(void)gethostname(host, sizeof(host) - 1);
	own[2].value = str_from(host);
	w->labels = ARENA_NEW_N(&w->arena, struct oci_kv, ARRAY_SIZE(own) + wc->n_labels);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (own[i].value.len)
			w->labels[n++] =
				(struct oci_kv) { own[i].key, str_dup(&w->arena, own[i].value) };
	for (size_t i = 0; i < wc->n_labels; i++)
		w->labels[n++] = wc->labels[i];
	qsort(w->labels, n, sizeof(*w->labels), by_key);
	w->n_labels = n;
}

static struct err *add_sources(struct daemon_worker *w, struct session_manager *sessions,
			       struct registry *registry, struct httpc *client)
{
	char *state = arena_printf(&w->arena, "%s/local", w->dir);
	struct source *image, *local, *http;

	w->sources = source_table_new();
	image = image_source_new(w->cache, registry, sessions, daemon_worker_images(w));
	source_table_add(w->sources, "docker-image", image, true);
	source_table_add(w->sources, "oci-layout", image, false);
	TRY(local_source_new(w->cache, sessions, state, w->tmp_dir, &local));
	source_table_add(w->sources, "local", local, true);
	source_table_add(w->sources, "git", git_source_new(w->cache, sessions, w->tmp_dir), true);
	http = http_source_new(w->cache, sessions, client, w->tmp_dir);
	source_table_add(w->sources, "http", http, true);
	source_table_add(w->sources, "https", http, false);
	return NULL;
}

/* ---- opening ---- */

/* Where it keeps what it has; the first of a kind has the original's name for it. */
static char *state_dir(const struct config *cfg, const struct config_worker *wc,
		       const char *snapshotter)
{
	bool ctd = wc->kind == WORKER_CONTAINERD;
	bool further = strcmp(wc->name, ctd ? "containerd" : "oci") != 0;

	return mem_printf("%s/%s-%s%s%s", cfg->root, ctd ? "containerd" : "runc", snapshotter,
			  further ? "-" : "", further ? wc->name : "");
}

static struct err *open_dir(const struct daemon_parts *p, const struct config_worker *wc,
			    const char *snapshotter, struct daemon_worker *w)
{
	w->dir = state_dir(p->cfg, wc, snapshotter);
	TRY(file_mkdirs(AT_FDCWD, w->dir, 0700));
	w->kv = kv_scope(p->kv, strrchr(w->dir, '/') + 1);
	TRY(read_id(w));
	return make_scratch(w);
}

static struct err *open_oci(const struct daemon_parts *p, const struct config_worker *wc,
			    struct daemon_worker *w)
{
	const char *snapshotter;
	char *content_dir, *snapshot_dir;

	TRY(pick_snapshotter(p->cfg, wc, &snapshotter));
	TRY(open_dir(p, wc, snapshotter, w));
	TRY(make_dir(w, "content", &content_dir));
	TRY(make_dir(w, "snapshots", &snapshot_dir));
	TRYW(content_open_fs(content_dir, w->kv, &w->content), "failed to open content store");
	if (strcmp(snapshotter, "overlayfs") == 0)
		TRYW(snapshotter_open_overlay(snapshot_dir, w->kv, &w->snapshotter),
		     "failed to open snapshotter");
	else
		TRYW(snapshotter_open_native(snapshot_dir, w->kv, &w->snapshotter),
		     "failed to open snapshotter");
	TRYW(open_executor(p->cfg, wc, NULL, p->ctx, w), "failed to open executor");
	make_labels(wc, w, snapshotter, STR_NONE);
	return NULL;
}

static struct err *open_containerd(const struct daemon_parts *p, const struct config_worker *wc,
				   struct daemon_worker *w)
{
	const struct ctd_config cc = {
		.address = wc->address,
		.namespace = wc->namespace,
		.snapshotter = wc->snapshotter,
		.runtime = wc->runtime,
		.runtime_path = wc->runtime_path,
	};
	struct str uuid;

	TRY(open_dir(p, wc, wc->snapshotter, w));
	TRY(ctd_open(p->loop, p->ctx, &cc, wc->enabled_auto ? NSEC_PER_SEC : CTD_PATIENCE,
		     &w->ctd));
	TRY(ctd_uuid(w->ctd, p->ctx, &w->arena, &uuid));
	TRY(ctd_use_lease(w->ctd, p->ctx, w->id));
	TRYW(ctd_content_open(w->ctd, p->ctx, &w->content), "failed to open content store");
	TRYW(ctd_snapshotter_open(w->ctd, p->ctx, &w->snapshotter), "failed to open snapshotter");
	TRYW(open_executor(p->cfg, wc, ctd_driver(w->ctd), p->ctx, w), "failed to open executor");
	make_labels(wc, w, wc->snapshotter, uuid);
	return NULL;
}

struct image_store *daemon_worker_images(struct daemon_worker *w)
{
	return w->ctd ? ctd_images(w->ctd) : NULL;
}

struct err *daemon_worker_open(const struct daemon_parts *p, const struct config_worker *wc,
			       struct daemon_worker *w)
{
	if (wc->kind == WORKER_CONTAINERD)
		TRY(open_containerd(p, wc, w));
	else
		TRY(open_oci(p, wc, w));
	TRYW(cache_open(w->kv, w->snapshotter, w->content, w->tmp_dir, p->ctx, &w->cache),
	     "failed to open cache");
	w->cachemounts = cachemounts_new(w->cache);
	open_cdi(p->cfg, w);
	w->proxies = step_proxies_new(arena_printf(&w->arena, "buildkit/%s", buildkit_version));
	TRY(find_platforms(wc, w));
	TRY(add_sources(w, p->sessions, p->registry, p->http));
	sem_init(&w->parallelism, (size_t)MAX(wc->max_parallelism, INT64_C(0)));
	w->config = wc;
	w->worker = (struct worker) {
		.id = w->id,
		.labels = w->labels,
		.n_labels = w->n_labels,
		.set = p->set,
		.cache = w->cache,
		.cachemounts = w->cachemounts,
		.executor = w->executor,
		.sessions = p->sessions,
		.sources = w->sources,
		.platforms = w->platforms,
		.n_platforms = w->n_platforms,
		.parallelism = wc->max_parallelism > 0 ? &w->parallelism : NULL,
		.tmp_dir = w->tmp_dir,
		.secrets_dir = w->secrets_dir,
		.cdi = p->cfg->cdi_disabled ? NULL : &w->cdi,
		.proxies = w->proxies,
	};
	return NULL;
}

void daemon_worker_close(struct daemon_worker *w)
{
	source_table_free(w->sources);
	if (w->executor)
		executor_close(w->executor);
	step_proxies_free(w->proxies);
	cachemounts_free(w->cachemounts);
	if (w->cache)
		cache_close(w->cache);
	if (w->snapshotter)
		snapshotter_free(w->snapshotter);
	if (w->content)
		content_free(w->content);
	ctd_close(w->ctd);
	if (w->worker.id)
		sem_fini(&w->parallelism);
	if (w->secrets_dir)
		(void)umount2(w->secrets_dir, MNT_DETACH);
	free(w->dir);
	free(w->id);
	free(w->tmp_dir);
	free(w->secrets_dir);
	arena_fini(&w->arena);
	if (w->kv)
		err_free(kv_close(w->kv));
	*w = (struct daemon_worker) { 0 };
}
