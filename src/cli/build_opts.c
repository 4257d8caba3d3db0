#include "cli/build_opts.h"

#include "base/mem.h"

static const struct cmd *self = &cmd_build;

static struct err *parse_pairs(struct arena *a, const struct flag_list *l, const char *flag,
			       struct kv_pair **ret, size_t *ret_n)
{
	struct kv_pair *out = ARENA_NEW_N(a, struct kv_pair, l->n);

	for (size_t i = 0; i < l->n; i++)
		if (!str_cut(str_from(l->items[i]), '=', &out[i].key, &out[i].value))
			return err_new(ERR_INVALID_ARGUMENT,
				       "invalid value %s for --%s: expected k=v", l->items[i],
				       flag);
	*ret = out;
	*ret_n = l->n;
	return NULL;
}

static bool has_key(const struct kv_pair *p, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq_cstr(p[i].key, key))
			return true;
	return false;
}

/* `build-arg:NAME` alone takes the value from the environment, or is dropped. */
static struct err *parse_opts(struct arena *a, const struct flag_list *l, struct build_opts *o)
{
	const char *epoch = getenv("SOURCE_DATE_EPOCH");

	o->opts = ARENA_NEW_N(a, struct kv_pair, l->n + 2);
	for (size_t i = 0; i < l->n; i++) {
		struct kv_pair p;

		if (!str_cut(str_from(l->items[i]), '=', &p.key, &p.value)) {
			struct str name = str_trim_prefix(p.key, STR("build-arg:"));
			const char *v;

			if (name.len == p.key.len)
				return err_new(ERR_INVALID_ARGUMENT,
					       "invalid value %s for --opt: expected k=v",
					       l->items[i]);
			v = getenv(str_cstr(a, name));
			if (!v)
				continue;
			p.value = str_from(v);
		}
		o->opts[o->n_opts++] = p;
	}
	if (epoch && *epoch && !has_key(o->opts, o->n_opts, "build-arg:SOURCE_DATE_EPOCH"))
		o->opts[o->n_opts++] =
			(struct kv_pair) { STR("build-arg:SOURCE_DATE_EPOCH"), str_from(epoch) };
	if (o->no_cache && o->frontend)
		o->opts[o->n_opts++] = (struct kv_pair) { STR("no-cache"), STR("") };
	return NULL;
}

static char *lower(struct arena *a, struct str s)
{
	char *out = str_cstr(a, s);

	for (char *p = out; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	return out;
}

static struct err *check_dest(struct build_output *o)
{
	bool file = strcmp(o->type, "tar") == 0 || strcmp(o->type, "oci") == 0 ||
		    strcmp(o->type, "docker") == 0;
	bool tar = true;

	if (strcmp(o->type, "local") == 0 && !o->dest)
		return err_new(ERR_INVALID_ARGUMENT,
			       "output directory is required for local exporter");
	if (o->dest && !file && strcmp(o->type, "local") != 0)
		return err_new(ERR_INVALID_ARGUMENT, "output %s is not supported by %s exporter",
			       o->dest, o->type);
	for (size_t i = 0; i < o->n_attrs; i++)
		if (str_eq_cstr(o->attrs[i].key, "tar"))
			(void)str_to_bool(o->attrs[i].value, &tar);
	if (!file)
		return NULL;
	if (!tar)
		return o->dest ? NULL
			       : err_new(ERR_INVALID_ARGUMENT,
					 "output directory is required for %s exporter with "
					 "tar=false",
					 o->type);
	if (o->dest && strcmp(o->dest, "-") != 0)
		return NULL;
	if (isatty(STDOUT_FILENO))
		return err_new(
			ERR_INVALID_ARGUMENT,
			"output file is required for %s exporter. refusing to write to console",
			o->type);
	o->to_stdout = true;
	return NULL;
}

static struct err *parse_output(struct arena *a, const char *text, struct build_output *o)
{
	struct str *fields;
	size_t n;

	TRY(cli_csv(a, text, &fields, &n));
	o->attrs = ARENA_NEW_N(a, struct kv_pair, n);
	for (size_t i = 0; i < n; i++) {
		struct str k, v;
		char *key;

		if (!str_cut(fields[i], '=', &k, &v))
			return err_new(ERR_INVALID_ARGUMENT, "invalid value %.*s",
				       STR_ARG(fields[i]));
		key = lower(a, k);
		if (strcmp(key, "type") == 0)
			o->type = str_cstr(a, v);
		else if (strcmp(key, "dest") == 0)
			o->dest = str_cstr(a, v);
		else
			o->attrs[o->n_attrs++] = (struct kv_pair) { str_from(key), v };
	}
	if (!o->type)
		return err_new(ERR_INVALID_ARGUMENT, "--output requires type=<type>");
	for (size_t i = 0; i < o->n_attrs; i++)
		if (str_eq_cstr(o->attrs[i].key, "output"))
			return err_new(
				ERR_INVALID_ARGUMENT,
				"output=%.*s not supported for --output, you meant dest=%.*s?",
				STR_ARG(o->attrs[i].value), STR_ARG(o->attrs[i].value));
	return check_dest(o);
}

static struct err *parse_cache(struct arena *a, const struct flag_list *l, const char *flag,
			       struct build_cache_opt **ret, size_t *ret_n)
{
	struct build_cache_opt *out = ARENA_NEW_N(a, struct build_cache_opt, l->n);

	for (size_t i = 0; i < l->n; i++) {
		struct build_cache_opt *o = &out[i];
		struct str *fields;
		size_t n;

		TRY(cli_csv(a, l->items[i], &fields, &n));
		o->attrs = ARENA_NEW_N(a, struct kv_pair, n + 1);
		for (size_t k = 0; k < n; k++) {
			struct kv_pair p;

			if (!str_cut(fields[k], '=', &p.key, &p.value)) {
				if (n > 1)
					return err_new(ERR_INVALID_ARGUMENT, "invalid value %.*s",
						       STR_ARG(fields[k]));
				/* The old form: just a reference. */
				o->type = "registry";
				p = (struct kv_pair) { STR("ref"), fields[k] };
			}
			if (str_eq_cstr(p.key, "type"))
				o->type = str_cstr(a, p.value);
			else
				o->attrs[o->n_attrs++] = p;
		}
		if (!o->type)
			return err_new(ERR_INVALID_ARGUMENT, "--%s requires type=<type>", flag);
		if (strcmp(flag, "export-cache") == 0 && !has_key(o->attrs, o->n_attrs, "mode"))
			o->attrs[o->n_attrs++] = (struct kv_pair) { STR("mode"), STR("min") };
	}
	*ret = out;
	*ret_n = l->n;
	return NULL;
}

struct err *build_opts_parse(struct cli *c, int argc, char **argv, struct build_opts *ret)
{
	struct flag_list output = { 0 }, local = { 0 }, oci_layout = { 0 }, opt = { 0 },
			 export_cache = { 0 }, import_cache = { 0 }, ignored = { 0 };
	const char *mode = "auto", *policy = NULL, *metrics = NULL;
	bool proxy = false;
	struct build_opts o = { 0 };
	const struct flag flags[] = {
		{ .name = "output",
		  .alias = "o",
		  .type = FLAG_LIST,
		  .value = &output,
		  .help = "Define exports for build result, e.g. --output "
			  "type=image,name=docker.io/username/image,push=true" },
		{ .name = "progress",
		  .type = FLAG_STRING,
		  .value = &mode,
		  .help = "Set type of progress (auto, plain, tty, rawjson, quiet)" },
		{ .name = "trace",
		  .type = FLAG_STRING,
		  .value = &o.trace_file,
		  .help = "Path to trace file. Defaults to no tracing" },
		{ .name = "local",
		  .type = FLAG_LIST,
		  .value = &local,
		  .help = "Allow build access to the local directory" },
		{ .name = "oci-layout",
		  .type = FLAG_LIST,
		  .value = &oci_layout,
		  .help = "Allow build access to the local OCI layout" },
		{ .name = "frontend",
		  .type = FLAG_STRING,
		  .value = &o.frontend,
		  .help = "Define frontend used for build" },
		{ .name = "opt",
		  .type = FLAG_LIST,
		  .value = &opt,
		  .help = "Define custom options for frontend, e.g. --opt target=foo --opt "
			  "build-arg:foo=bar" },
		{ .name = "no-cache",
		  .type = FLAG_BOOL,
		  .value = &o.no_cache,
		  .help = "Disable cache for all the vertices" },
		{ .name = "export-cache",
		  .type = FLAG_LIST,
		  .value = &export_cache,
		  .help = "Export build cache, e.g. --export-cache "
			  "type=registry,ref=example.com/foo/bar" },
		{ .name = "import-cache",
		  .type = FLAG_LIST,
		  .value = &import_cache,
		  .help = "Import build cache" },
		{ .name = "secret",
		  .type = FLAG_LIST,
		  .value = &o.secrets,
		  .help = "Secret value exposed to the build. Format id=secretname,src=filepath" },
		{ .name = "allow",
		  .type = FLAG_LIST,
		  .value = &o.allow,
		  .help = "Allow extra privileged entitlement, e.g. network.host, "
			  "security.insecure" },
		{ .name = "ssh",
		  .type = FLAG_LIST,
		  .value = &o.ssh,
		  .help = "Allow forwarding SSH agent to the builder. Format "
			  "default|<id>[=<socket>]" },
		{ .name = "metadata-file",
		  .type = FLAG_STRING,
		  .value = &o.metadata_file,
		  .help = "Output build metadata (e.g., image digest) to a file as JSON" },
		{ .name = "source-policy-file",
		  .type = FLAG_STRING,
		  .value = &policy,
		  .help = "Read source policy file from a JSON file" },
		{ .name = "ref-file",
		  .type = FLAG_STRING,
		  .value = &o.ref_file,
		  .help = "Write build ref to a file" },
		{ .name = "registry-auth-tlscontext",
		  .type = FLAG_LIST,
		  .value = &ignored,
		  .hidden = true },
		{ .name = "debug-json-cache-metrics",
		  .type = FLAG_STRING,
		  .value = &metrics,
		  .hidden = true },
		{ .name = "proxy-network", .type = FLAG_BOOL, .value = &proxy, .hidden = true },
		{ .name = "daemonless",
		  .type = FLAG_BOOL,
		  .value = &o.daemonless,
		  .help = "Start a daemon of our own for this build and end it afterwards" },
	};
	const char *env = getenv("BUILDKIT_PROGRESS");
	int at;

	TRY(cmd_flags(c, self, flags, ARRAY_SIZE(flags), argc, argv, &at, &o.help));
	if (o.help) {
		*ret = o;
		return NULL;
	}
	if (policy || metrics || proxy || ignored.n)
		return err_new(ERR_UNIMPLEMENTED, "--%s is not supported",
			       policy    ? "source-policy-file"
			       : metrics ? "debug-json-cache-metrics"
			       : proxy   ? "proxy-network"
					 : "registry-auth-tlscontext");
	if (strcmp(mode, "auto") == 0 && env && *env)
		mode = env;
	TRY(display_parse_mode(str_from(mode), &o.display));
	TRY(parse_opts(c->arena, &opt, &o));
	TRY(parse_pairs(c->arena, &local, "local", &o.locals, &o.n_locals));
	TRY(parse_pairs(c->arena, &oci_layout, "oci-layout", &o.oci_layouts, &o.n_oci_layouts));
	o.outputs = ARENA_NEW_N(c->arena, struct build_output, output.n);
	for (size_t i = 0; i < output.n; i++)
		TRY(parse_output(c->arena, output.items[i], &o.outputs[o.n_outputs++]));
	TRY(parse_cache(c->arena, &export_cache, "export-cache", &o.cache_exports,
			&o.n_cache_exports));
	TRY(parse_cache(c->arena, &import_cache, "import-cache", &o.cache_imports,
			&o.n_cache_imports));
	*ret = o;
	return NULL;
}
