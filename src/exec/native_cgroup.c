#include "exec/native_cgroup.h"

#include "base/vec.h"
#include "sys/cgroup.h"
#include "sys/cgroup_devices.h"

#include <string.h>

/* What runtimes allow whatever the configuration says: making any node, and using these. */
static const struct device_rule default_devices[] = {
	{ 'c', -1, -1, DEVICE_MKNOD }, { 'b', -1, -1, DEVICE_MKNOD }, { 'c', 1, 3, DEVICE_ALL },
	{ 'c', 1, 8, DEVICE_ALL },     { 'c', 1, 7, DEVICE_ALL },     { 'c', 5, 0, DEVICE_ALL },
	{ 'c', 1, 5, DEVICE_ALL },     { 'c', 1, 9, DEVICE_ALL },     { 'c', 5, 1, DEVICE_ALL },
	{ 'c', 136, -1, DEVICE_ALL },  { 'c', 5, 2, DEVICE_ALL },
};

static struct err *write_num(const char *path, const char *file, int64_t n)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%lld", (long long)n);
	return cgroup_write(path, file, text);
}

static struct err *set_memory(const char *path, const json_t *m, bool v2)
{
	int64_t limit = json_get_int(m, "limit", 0), swap = json_get_int(m, "swap", 0);

	if (limit)
		TRY(v2 && limit < 0
			    ? cgroup_write(path, "memory.max", "max")
			    : write_num(path, v2 ? "memory.max" : "memory.limit_in_bytes", limit));
	if (!swap)
		return NULL;
	/* The configuration counts memory and swap together, version 2 only swap. */
	if (!v2)
		return write_num(path, "memory.memsw.limit_in_bytes", swap);
	if (swap < 0)
		return cgroup_write(path, "memory.swap.max", "max");
	if (swap < limit)
		return err_new(ERR_INVALID_ARGUMENT,
			       "memory+swap limit must be larger than memory limit");
	return write_num(path, "memory.swap.max", swap - limit);
}

/* Shares of 2..262144 as weights of 1..10000, as OCI runtimes do it. */
static int64_t weight_of(int64_t shares)
{
	return 1 + (MIN(MAX(shares, 2), 262144) - 2) * 9999 / 262142;
}

static struct err *set_cpu(const char *path, const json_t *c, bool v2)
{
	int64_t shares = json_get_int(c, "shares", 0), quota = json_get_int(c, "quota", 0);
	int64_t period = json_get_int(c, "period", 0);
	struct str cpus = json_get_str(c, "cpus"), mems = json_get_str(c, "mems");

	if (shares)
		TRY(v2 ? write_num(path, "cpu.weight", weight_of(shares))
		       : write_num(path, "cpu.shares", shares));
	if (v2 && (quota || period)) {
		char text[64];

		if (quota > 0)
			(void)snprintf(text, sizeof(text), "%lld %lld", (long long)quota,
				       (long long)(period ? period : 100000));
		else
			(void)snprintf(text, sizeof(text), "max %lld",
				       (long long)(period ? period : 100000));
		TRY(cgroup_write(path, "cpu.max", text));
	}
	if (!v2 && period)
		TRY(write_num(path, "cpu.cfs_period_us", period));
	if (!v2 && quota)
		TRY(write_num(path, "cpu.cfs_quota_us", quota));
	if (cpus.len)
		TRY(cgroup_write(path, "cpuset.cpus", cpus.ptr));
	if (mems.len)
		TRY(cgroup_write(path, "cpuset.mems", mems.ptr));
	return NULL;
}

static unsigned access_of(struct str s)
{
	unsigned a = 0;

	for (size_t i = 0; i < s.len; i++)
		a |= s.ptr[i] == 'r'   ? DEVICE_READ
		     : s.ptr[i] == 'w' ? DEVICE_WRITE
		     : s.ptr[i] == 'm' ? DEVICE_MKNOD
				       : 0u;
	return a;
}

/* A denial in the list is the default; those that come after something allowed are not made by us.
 */
static struct err *set_devices(const char *path, const json_t *list)
{
	VEC(struct device_rule) v = VEC_INIT;
	struct err *e;
	size_t i;
	json_t *r;

	json_array_foreach(list, i, r)
	{
		struct str type = json_get_str(r, "type");
		struct device_rule d = {
			.maj = json_get_int(r, "major", -1),
			.min = json_get_int(r, "minor", -1),
			.access = access_of(json_get_str(r, "access")),
		};

		if (!json_get_bool(r, "allow", false))
			continue;
		if (!type.len || str_eq(type, STR("a")) || str_eq(type, STR("c"))) {
			d.type = 'c';
			vec_push(&v, d);
		}
		if (!type.len || str_eq(type, STR("a")) || str_eq(type, STR("b"))) {
			d.type = 'b';
			vec_push(&v, d);
		}
	}
	for (i = 0; i < ARRAY_SIZE(default_devices); i++)
		vec_push(&v, default_devices[i]);
	e = cgroup_allow_devices(path, v.items, v.len);
	vec_fini(&v);
	return e;
}

struct err *native_cgroup_make(const char *path, const json_t *resources)
{
	bool v2 = cgroup_mode() == CGROUP_V2;
	const json_t *m = json_object_get(resources, "memory");
	const json_t *c = json_object_get(resources, "cpu");

	TRY(cgroup_create(path));
	if (!resources)
		return NULL;
	if (m)
		TRY(set_memory(path, m, v2));
	if (c)
		TRY(set_cpu(path, c, v2));
	return set_devices(path, json_object_get(resources, "devices"));
}
