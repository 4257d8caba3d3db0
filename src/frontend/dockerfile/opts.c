#include "frontend/dockerfile/opts.h"

#include "base/json.h"
#include "codec/imageref.h"

#include <arpa/inet.h>

#define DEFAULT_SCANNER "docker/buildkit-syft-scanner:stable-1"

struct str opts_get(const struct opts *o, struct str key)
{
	struct str v;

	return env_get(&o->all, key, &v) ? v : STR_NONE;
}

bool opts_no_cache(const struct opts *o, struct str stage)
{
	if (o->no_cache_all)
		return true;
	for (size_t i = 0; i < o->no_cache.len; i++)
		if (str_eq_nocase(o->no_cache.items[i], stage))
			return true;
	return false;
}

struct err *opts_bad_int(struct arena *a, const char *fn, struct str text)
{
	struct str digits = text;
	bool number;

	if (digits.len && (digits.ptr[0] == '-' || digits.ptr[0] == '+'))
		digits = str_sub(digits, 1, digits.len);
	number = digits.len > 0;
	for (size_t i = 0; i < digits.len; i++)
		number &= digits.ptr[i] >= '0' && digits.ptr[i] <= '9';
	return err_new(ERR_UNKNOWN, "strconv.%s: parsing %s: %s", fn, text_quote(a, text),
		       number ? "value out of range" : "invalid syntax");
}

static void filter(struct arena *a, const struct bridge *b, struct str prefix, struct env *out)
{
	for (size_t i = 0; i < b->info->n_opts; i++) {
		const struct frontend_kv *kv = &b->info->opts[i];

		if (str_has_prefix(kv->key, prefix))
			env_set(a, out, str_trim_prefix(kv->key, prefix), kv->value);
	}
}

static struct err *parse_platforms(struct arena *a, struct opts *o, struct str list)
{
	struct str one;
	size_t n = 1;

	if (!list.len)
		return NULL;
	for (size_t i = 0; i < list.len; i++)
		n += list.ptr[i] == ',';
	o->targets = ARENA_NEW_N(a, struct platform, n);
	while (str_next(&list, ',', &one)) {
		struct platform p;

		TRYW(text_plain_err(platform_parse(a, one, &p)),
		     "failed to parse target platform %.*s", STR_ARG(one));
		o->targets[o->n_targets++] = platform_normalize(p);
	}
	return NULL;
}

static struct err *parse_resolve_mode(struct opts *o, struct str mode)
{
	if (!mode.len)
		mode = STR("default");
	if (!str_eq(mode, STR("default")) && !str_eq(mode, STR("pull")) &&
	    !str_eq(mode, STR("local")))
		return err_new(ERR_UNKNOWN, "invalid image-resolve-mode: %.*s", STR_ARG(mode));
	o->resolve_mode = mode;
	return NULL;
}

/* As Go prints the address; empty when it is none. */
static struct str parse_ip(struct arena *a, struct str text)
{
	char out[INET6_ADDRSTRLEN], *in = arena_dup0(a, text.ptr ? text.ptr : "", text.len);
	struct in6_addr v6;
	struct in_addr v4;

	if (inet_pton(AF_INET, in, &v4) == 1)
		return str_from(in);
	if (inet_pton(AF_INET6, in, &v6) != 1)
		return STR_NONE;
	if (IN6_IS_ADDR_V4MAPPED(&v6))
		inet_ntop(AF_INET, &v6.s6_addr[12], out, sizeof(out));
	else
		inet_ntop(AF_INET6, &v6, out, sizeof(out));
	return str_from(arena_strdup(a, out));
}

static struct err *parse_hosts(struct arena *a, struct opts *o, struct str list)
{
	struct strs fields;

	if (!list.len)
		return NULL;
	TRY(text_csv(a, list, &fields));
	o->hosts = ARENA_NEW_N(a, struct extra_host, fields.len);
	for (size_t i = 0; i < fields.len; i++) {
		struct extra_host *h = &o->hosts[i];
		struct str ip;

		if (!str_cut(text_lower(a, fields.items[i]), '=', &h->host, &ip))
			return err_new(ERR_UNKNOWN, "invalid key-value pair %.*s",
				       STR_ARG(fields.items[i]));
		h->ip = parse_ip(a, ip);
		if (!h->ip.len)
			return err_new(ERR_UNKNOWN, "failed to parse IP %.*s", STR_ARG(ip));
		o->n_hosts++;
	}
	return NULL;
}

static const char *const ulimit_names[] = {
	"core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue", "nice",
	"nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack",
};

static struct err *parse_ulimit(struct arena *a, struct str field, struct ulimit_opt *ret)
{
	struct str limits, soft, hard;
	bool known = false;

	if (!str_cut(field, '=', &ret->name, &limits))
		return err_new(ERR_UNKNOWN, "invalid ulimit argument: %.*s", STR_ARG(field));
	for (size_t i = 0; i < ARRAY_SIZE(ulimit_names); i++)
		known |= str_eq_cstr(ret->name, ulimit_names[i]);
	if (!known)
		return err_new(ERR_UNKNOWN, "invalid ulimit type: %.*s", STR_ARG(ret->name));
	if (!str_cut(limits, ':', &soft, &hard))
		hard = soft;
	else if (str_find(hard, ':') >= 0)
		return err_new(ERR_UNKNOWN,
			       "too many limit value arguments - %.*s, can only have up to two, "
			       "`soft[:hard]`",
			       STR_ARG(limits));
	if (!str_to_i64(hard, &ret->hard))
		return opts_bad_int(a, "ParseInt", hard);
	if (!str_to_i64(soft, &ret->soft))
		return opts_bad_int(a, "ParseInt", soft);
	if (ret->hard != -1 && ret->soft == -1)
		return err_new(ERR_UNKNOWN,
			       "ulimit soft limit must be less than or equal to hard limit: soft: "
			       "-1 (unlimited), hard: %lld",
			       (long long)ret->hard);
	if (ret->hard != -1 && ret->soft > ret->hard)
		return err_new(ERR_UNKNOWN,
			       "ulimit soft limit must be less than or equal to hard limit: "
			       "%lld > %lld",
			       (long long)ret->soft, (long long)ret->hard);
	return NULL;
}

static struct err *parse_ulimits(struct arena *a, struct opts *o, struct str list)
{
	struct strs fields;

	if (!list.len)
		return NULL;
	TRY(text_csv(a, list, &fields));
	o->ulimits = ARENA_NEW_N(a, struct ulimit_opt, fields.len);
	for (size_t i = 0; i < fields.len; i++)
		TRY(parse_ulimit(a, fields.items[i], &o->ulimits[o->n_ulimits++]));
	return NULL;
}

/* "0-3,5" */
static struct err *check_cpuset(struct arena *a, struct str set)
{
	struct str part;

	while (str_next(&set, ',', &part)) {
		struct str lo, hi;
		uint64_t from, to;
		bool range;

		part = str_trim(part);
		if (!part.len)
			continue;
		range = str_cut(part, '-', &lo, &hi);
		if (!range)
			hi = lo;
		if (!str_to_u64(str_trim(lo), &from) || !str_to_u64(str_trim(hi), &to) || to < from)
			return err_new(ERR_UNKNOWN, "invalid cpuset %s %s",
				       range ? "range" : "element", text_quote(a, part));
		if (to > 8192)
			return err_new(ERR_UNKNOWN, "cpuset element %s exceeds maximum 8192",
				       text_quote(a, part));
	}
	return NULL;
}

static struct err *resource(struct arena *a, const struct opts *o, const char *key, bool is_signed,
			    int64_t min, int64_t *ret)
{
	struct str v = opts_get(o, str_from(key));
	uint64_t u = 0;

	if (!v.len)
		return NULL;
	if (is_signed ? !str_to_i64(v, ret) : !str_to_u64(v, &u))
		return err_wrap(opts_bad_int(a, is_signed ? "ParseInt" : "ParseUint", v),
				"invalid %s value: %.*s", key, STR_ARG(v));
	if (!is_signed)
		*ret = (int64_t)u;
	if (*ret == 0 || (is_signed && *ret < min))
		return err_new(ERR_UNKNOWN, "invalid %s value: %.*s: must be %s> 0", key,
			       STR_ARG(v), min < 0 ? "-1 (unlimited) or " : "");
	return NULL;
}

static struct err *parse_resources(struct arena *a, struct opts *o)
{
	Pb__LinuxResources *r = ARENA_NEW(a, Pb__LinuxResources);
	int64_t shares = 0, period = 0;
	struct str cpus = opts_get(o, STR("cpusetcpus")), mems = opts_get(o, STR("cpusetmems"));

	pb__linux_resources__init(r);
	TRY(resource(a, o, "memory", true, 1, &r->memory));
	TRY(resource(a, o, "memswap", true, -1, &r->memoryswap));
	TRY(resource(a, o, "cpushares", false, 0, &shares));
	TRY(resource(a, o, "cpuperiod", false, 0, &period));
	TRY(resource(a, o, "cpuquota", true, 1, &r->cpuquota));
	r->cpushares = (uint64_t)shares;
	r->cpuperiod = (uint64_t)period;
	TRYW(check_cpuset(a, cpus), "invalid cpusetcpus value: %.*s", STR_ARG(cpus));
	TRYW(check_cpuset(a, mems), "invalid cpusetmems value: %.*s", STR_ARG(mems));
	r->cpusetcpus = arena_dup0(a, cpus.ptr ? cpus.ptr : "", cpus.len);
	r->cpusetmems = arena_dup0(a, mems.ptr ? mems.ptr : "", mems.len);
	if (r->memory || r->memoryswap || r->cpushares || r->cpuperiod || r->cpuquota || cpus.len ||
	    mems.len)
		o->resources = r;
	return NULL;
}

static struct err *parse_network(struct opts *o, struct str mode)
{
	o->network = PB__NET_MODE__NET_MODE_UNSET;
	if (str_eq(mode, STR("none")))
		o->network = PB__NET_MODE__NET_MODE_NONE;
	else if (str_eq(mode, STR("host")))
		o->network = PB__NET_MODE__NET_MODE_HOST;
	else if (mode.len && !str_eq(mode, STR("sandbox")))
		return err_new(ERR_UNKNOWN, "invalid netmode %.*s", STR_ARG(mode));
	return NULL;
}

static struct err *parse_multi_platform(struct arena *a, struct opts *o)
{
	struct str v = opts_get(o, STR("build-arg:BUILDKIT_MULTI_PLATFORM"));
	bool wanted;

	o->multi_platform = o->n_targets > 1;
	if (v.len)
		env_set(a, &o->all, STR("multi-platform"), v);
	v = opts_get(o, STR("multi-platform"));
	if (!v.len)
		return NULL;
	if (!str_to_bool(v, &wanted))
		return err_new(ERR_UNKNOWN, "invalid boolean value for multi-platform: %.*s",
			       STR_ARG(v));
	if (!wanted && o->multi_platform)
		return err_new(ERR_UNKNOWN, "conflicting config: returning multiple target "
					    "platforms is not allowed");
	o->multi_platform = wanted;
	return NULL;
}

typedef Moby__Buildkit__V1__Frontend__CacheOptionsEntry cache_entry;
typedef Moby__Buildkit__V1__Frontend__CacheOptionsEntry__AttrsEntry cache_attr;

static void add_attr(struct arena *a, cache_entry *e, const char *key, struct str value)
{
	cache_attr *attr = ARENA_NEW(a, cache_attr);

	moby__buildkit__v1__frontend__cache_options_entry__attrs_entry__init(attr);
	attr->key = arena_strdup(a, key);
	attr->value = arena_dup0(a, value.ptr ? value.ptr : "", value.len);
	e->attrs[e->n_attrs++] = attr;
}

static cache_entry *add_cache(struct arena *a, struct opts *o, struct str type, size_t n_attrs)
{
	cache_entry *e = ARENA_NEW(a, cache_entry);

	moby__buildkit__v1__frontend__cache_options_entry__init(e);
	e->type = arena_dup0(a, type.ptr ? type.ptr : "", type.len);
	e->attrs = ARENA_NEW_N(a, cache_attr *, n_attrs);
	o->cache_imports[o->n_cache_imports++] = e;
	return e;
}

static struct err *parse_cache_imports(struct arena *a, struct opts *o)
{
	SCOPED_JSON(list);
	struct str text = opts_get(o, STR("cache-imports")), from = opts_get(o, STR("cache-from"));
	struct str ref;
	size_t n = 1;

	if (text.len)
		TRYW(text_plain_err(json_read(text, "cache-imports", &list)),
		     "failed to unmarshal cache-imports (%s)", text_quote(a, text));
	for (size_t i = 0; i < from.len; i++)
		n += from.ptr[i] == ',';
	o->cache_imports = ARENA_NEW_N(a, cache_entry *, n + json_array_size(list));
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *one = json_array_get(list, i);
		json_t *attrs = json_object_get(one, "Attrs"), *v;
		const char *key;
		cache_entry *e;

		e = add_cache(a, o, json_get_str(one, "Type"), json_object_size(attrs));
		json_object_foreach(attrs, key, v)
			add_attr(a, e, key, str_make(json_string_value(v), json_string_length(v)));
	}
	while (from.len && str_next(&from, ',', &ref))
		add_attr(a, add_cache(a, o, STR("registry"), 1), "ref", ref);
	return NULL;
}

static struct err *parse_sbom(struct arena *a, struct opts *o, struct str value)
{
	struct str generator = STR(DEFAULT_SCANNER);
	struct strs fields = { 0 };
	struct imageref ref;

	if (value.len)
		TRYW(text_csv(a, value, &fields), "failed to parse sbom");
	for (size_t i = 0; i < fields.len; i++) {
		struct str key, v;

		str_cut(fields.items[i], '=', &key, &v);
		if (str_eq(key, STR("generator")))
			generator = v;
		else
			env_set(a, &o->sbom_params, key, v);
	}
	TRYW(text_plain_err(imageref_parse(a, generator, &ref)),
	     "failed to parse sbom scanner %.*s", STR_ARG(generator));
	ref = imageref_with_default_tag(ref);
	o->sbom_generator = str_from(imageref_format(a, &ref));
	return NULL;
}

static struct err *parse_attestations(struct arena *a, struct opts *o)
{
	static const struct str prefixes[] = { STR("attest:"), STR("build-arg:BUILDKIT_ATTEST_") };

	for (size_t i = 0; i < o->all.len; i++) {
		const struct env_var *v = &o->all.vars[i];

		for (size_t k = 0; k < ARRAY_SIZE(prefixes); k++) {
			struct str type;

			if (!str_has_prefix(v->key, prefixes[k]))
				continue;
			type = text_lower(a, str_trim_prefix(v->key, prefixes[k]));
			if (str_eq(type, STR("sbom")))
				TRY(parse_sbom(a, o, v->value));
			else if (!str_eq(type, STR("provenance")))
				return err_new(ERR_UNKNOWN, "unknown attestation type %s",
					       text_quote(a, type));
		}
	}
	return NULL;
}

static void parse_no_cache(struct arena *a, struct opts *o)
{
	struct str list, stage;

	if (!env_get(&o->all, STR("no-cache"), &list))
		return;
	if (!list.len) {
		o->no_cache_all = true;
		return;
	}
	while (str_next(&list, ',', &stage))
		strs_add(a, &o->no_cache, stage);
}

static struct err *check_removed(const struct opts *o)
{
	bool off;

	if (opts_get(o, STR("override-copy-image")).len)
		return err_new(ERR_UNKNOWN, "support for \"override-copy-image\" was removed in "
					    "BuildKit 0.11");
	if (str_to_bool(opts_get(o, STR("build-arg:BUILDKIT_DISABLE_FILEOP")), &off) && off)
		return err_new(ERR_UNKNOWN, "support for \"BUILDKIT_DISABLE_FILEOP\" build-arg was "
					    "removed in BuildKit 0.11");
	return NULL;
}

static struct err *parse_flags(struct arena *a, struct opts *o)
{
	struct str v;

	if (env_get(&o->all, STR("build-arg:BUILDKIT_DOCKERFILE_CHECK"), &v)) {
		TRYW(lint_parse_config(a, v, &o->lint),
		     "failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK");
		o->has_lint = true;
	}
	v = opts_get(o, STR("build-arg:BUILDKIT_GIT_ADVICE"));
	if (v.len && !str_to_bool(v, &o->git_advice))
		return err_new(ERR_UNKNOWN,
			       "failed to parse build-arg:BUILDKIT_GIT_ADVICE: "
			       "strconv.ParseBool: parsing %s: invalid syntax",
			       text_quote(a, v));
	return NULL;
}

struct err *opts_parse(struct arena *a, const struct bridge *b, struct opts *ret)
{
	struct opts o = { 0 };
	struct str v;

	filter(a, b, STR(""), &o.all);
	TRY(check_removed(&o));
	if (b->info->n_workers && b->info->workers[0].n_platforms) {
		o.build_platform = &b->info->workers[0].platforms[0];
	} else {
		struct platform p = platform_normalize(platform_default());

		o.build_platform = arena_dup(a, &p, sizeof(p));
	}
	TRY(parse_platforms(a, &o, opts_get(&o, STR("platform"))));
	TRY(parse_resolve_mode(&o, opts_get(&o, STR("image-resolve-mode"))));
	TRYW(parse_hosts(a, &o, opts_get(&o, STR("add-hosts"))),
	     "failed to parse additional hosts");
	v = opts_get(&o, STR("shm-size"));
	if (v.len && !str_to_i64(v, &o.shm_size))
		return err_wrap(opts_bad_int(a, "ParseInt", v), "failed to parse shm size");
	TRYW(parse_ulimits(a, &o, opts_get(&o, STR("ulimit"))), "failed to parse ulimit");
	TRYW(parse_resources(a, &o), "failed to parse resource limits");
	TRY(parse_network(&o, opts_get(&o, STR("force-network-mode"))));
	parse_no_cache(a, &o);
	TRY(parse_multi_platform(a, &o));
	TRY(parse_cache_imports(a, &o));
	TRY(parse_attestations(a, &o));
	filter(a, b, STR("build-arg:"), &o.build_args);
	filter(a, b, STR("label:"), &o.labels);
	o.cache_namespace = opts_get(&o, STR("build-arg:BUILDKIT_CACHE_MOUNT_NS"));
	o.cgroup_parent = opts_get(&o, STR("cgroup-parent"));
	o.target = opts_get(&o, STR("target"));
	o.hostname = opts_get(&o, STR("build-arg:BUILDKIT_SANDBOX_HOSTNAME"));
	if (!o.hostname.len)
		o.hostname = opts_get(&o, STR("hostname"));
	TRY(parse_flags(a, &o));
	*ret = o;
	return NULL;
}
