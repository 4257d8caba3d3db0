#include "control/control.h"

#include "base/mem.h"

#define CONTROL "/moby.buildkit.v1.Control/"
#define BRIDGE "/moby.buildkit.v1.frontend.LLBBridge/"
#define INSIGHT "/buildkitc.v1.Insight/" /* our own */
#define CONTENT "/containerd.services.content.v1.Content/"

const struct grpc_method control_methods[] = {
	{ CONTROL "Solve", control_solve },
	{ CONTROL "Status", control_status },
	{ CONTROL "Session", control_session },
	{ CONTROL "DiskUsage", control_disk_usage },
	{ CONTROL "Prune", control_prune },
	{ CONTROL "ListWorkers", control_list_workers },
	{ CONTROL "Info", control_info },
	{ CONTROL "ListenBuildHistory", control_listen_history },
	{ CONTROL "UpdateBuildHistory", control_update_history },
	{ BRIDGE "Ping", llbbridge_ping },
	{ BRIDGE "Solve", llbbridge_solve },
	{ BRIDGE "ResolveImageConfig", llbbridge_resolve_image_config },
	{ BRIDGE "ResolveSourceMeta", llbbridge_resolve_source_meta },
	{ BRIDGE "ReadFile", llbbridge_read_file },
	{ BRIDGE "ReadDir", llbbridge_read_dir },
	{ BRIDGE "StatFile", llbbridge_stat_file },
	{ BRIDGE "Evaluate", llbbridge_evaluate },
	{ BRIDGE "Return", llbbridge_do_return },
	{ BRIDGE "Inputs", llbbridge_inputs },
	{ BRIDGE "Warn", llbbridge_warn },
	{ BRIDGE "NewContainer", llbbridge_new_container },
	{ BRIDGE "ReleaseContainer", llbbridge_release_container },
	{ BRIDGE "ExecProcess", llbbridge_exec_process },
	{ BRIDGE "ReadFileContainer", llbbridge_read_file_container },
	{ BRIDGE "ReadDirContainer", llbbridge_read_dir_container },
	{ BRIDGE "StatFileContainer", llbbridge_stat_file_container },
	{ INSIGHT "Explain", insight_explain },
	{ INSIGHT "Memory", insight_memory },
	{ CONTENT "Info", content_info_rpc },
	{ CONTENT "Read", content_read_rpc },
	{ CONTENT "List", content_list_rpc },
	{ CONTENT "ListStatuses", content_statuses_rpc },
	{ CONTENT "Write", content_refuse_rpc },
	{ CONTENT "Delete", content_refuse_rpc },
	{ CONTENT "Update", content_refuse_rpc },
	{ CONTENT "Abort", content_refuse_rpc },
};
const size_t control_n_methods = ARRAY_SIZE(control_methods);

void control_init(struct control *c)
{
	lock_init(&c->lock, LOCK_CONTROL);
	cond_init(&c->builds_changed);
	map_init(&c->builds);
	c->explain = explain_store_new(c->kv);
	c->running = 0;
	c->last_gc_ns = 0;
	c->gc_pending = c->trim_pending = false;
}

void control_fini(struct control *c)
{
	explain_store_free(c->explain);
	map_fini(&c->builds, NULL);
	cond_fini(&c->builds_changed);
	lock_fini(&c->lock);
}
