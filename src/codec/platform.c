#include "codec/platform.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/path.h"

#include <sys/utsname.h>

#if defined(__x86_64__)
#define HOST_ARCH "amd64"
#elif defined(__aarch64__)
#define HOST_ARCH "arm64"
#elif defined(__arm__)
#define HOST_ARCH "arm"
#elif defined(__riscv) && __riscv_xlen == 64
#define HOST_ARCH "riscv64"
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
#define HOST_ARCH "ppc64le"
#elif defined(__s390x__)
#define HOST_ARCH "s390x"
#elif defined(__loongarch64)
#define HOST_ARCH "loong64"
#elif defined(__i386__)
#define HOST_ARCH "386"
#else
#error "name this machine's architecture as Go does"
#endif

/* Go's lists. Names in them are folded to lower case. */
static const char *const known_os[] = {
	"aix",   "android", "darwin", "dragonfly", "freebsd", "hurd",    "illumos", "ios", "js",
	"linux", "nacl",    "netbsd", "openbsd",   "plan9",   "solaris", "windows", "zos",
};
static const char *const known_arch[] = {
	"386",     "amd64",    "amd64p32",  "arm",         "armbe",   "arm64",
	"arm64be", "ppc64",    "ppc64le",   "loong64",     "mips",    "mipsle",
	"mips64",  "mips64le", "mips64p32", "mips64p32le", "ppc",     "riscv",
	"riscv64", "s390",     "s390x",     "sparc",       "sparc64", "wasm",
};

/* The literal of the same name in the list, ignoring case, or s. */
static struct str fold(struct str s, const char *const *list, size_t n, bool *ret_known)
{
	for (size_t i = 0; i < n; i++) {
		if (str_eq_nocase(s, str_from(list[i]))) {
			*ret_known = true;
			return str_from(list[i]);
		}
	}
	*ret_known = false;
	return s;
}

static bool is_arch(const struct platform *p, const char *arch)
{
	return str_eq_cstr(p->arch, arch);
}

struct platform platform_default(void)
{
	struct platform p = { .os = STR("linux"), .arch = STR(HOST_ARCH) };
	struct utsname u;

	if (!is_arch(&p, "arm"))
		return p;
	p.variant = STR("v7");
	if (uname(&u) == 0 && str_has_prefix(str_from(u.machine), STR("armv6")))
		p.variant = STR("v6");
	else if (uname(&u) == 0 && str_has_prefix(str_from(u.machine), STR("armv5")))
		p.variant = STR("v5");
	return p;
}

static struct str normalize_os(struct str os, bool *ret_known)
{
	if (!os.len) {
		*ret_known = true;
		return STR("linux");
	}
	if (str_eq_nocase(os, STR("macos"))) {
		*ret_known = true;
		return STR("darwin");
	}
	return fold(os, known_os, ARRAY_SIZE(known_os), ret_known);
}

static bool is_any(struct str s, const char *const *names)
{
	for (; *names; names++)
		if (str_eq_nocase(s, str_from(*names)))
			return true;
	return false;
}

static void normalize_arch(struct platform *p)
{
	static const char *const amd64[] = { "x86_64", "x86-64", "amd64", NULL };
	static const char *const arm64[] = { "aarch64", "arm64", NULL };
	static const char *const v8[] = { "8", "v8", "v8.0", NULL };
	static const char *const v9[] = { "9", "9.0", "v9.0", NULL };
	/* In lower case, so that other code may compare plainly. */
	static const char *const variants[] = {
		"v1",   "v2",   "v3",   "v4",   "v5",   "v6",   "v7",   "v8",   "v8.1",
		"v8.2", "v8.3", "v8.4", "v8.5", "v8.6", "v8.7", "v8.8", "v8.9", "v9",
		"v9.1", "v9.2", "v9.3", "v9.4", "v9.5", "v9.6", "v9.7",
	};
	bool known;

	p->variant = fold(p->variant, variants, ARRAY_SIZE(variants), &known);
	if (str_eq_nocase(p->arch, STR("i386"))) {
		p->arch = STR("386");
		p->variant = STR_NONE;
	} else if (is_any(p->arch, amd64)) {
		p->arch = STR("amd64");
		if (str_eq(p->variant, STR("v1")))
			p->variant = STR_NONE;
	} else if (is_any(p->arch, arm64)) {
		p->arch = STR("arm64");
		if (is_any(p->variant, v8))
			p->variant = STR_NONE;
		else if (is_any(p->variant, v9))
			p->variant = STR("v9");
	} else if (str_eq_nocase(p->arch, STR("armhf"))) {
		p->arch = STR("arm");
		p->variant = STR("v7");
	} else if (str_eq_nocase(p->arch, STR("armel"))) {
		p->arch = STR("arm");
		p->variant = STR("v6");
	} else if (str_eq_nocase(p->arch, STR("arm"))) {
		static const char *const numbers[] = { "v5", "v6", "v7", "v8" };

		p->arch = STR("arm");
		if (!p->variant.len)
			p->variant = STR("v7");
		for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
			if (str_eq_cstr(p->variant, numbers[i] + 1))
				p->variant = str_from(numbers[i]);
	} else {
		p->arch = fold(p->arch, known_arch, ARRAY_SIZE(known_arch), &known);
	}
}

struct platform platform_normalize(struct platform p)
{
	bool known;

	p.os = normalize_os(p.os, &known);
	normalize_arch(&p);
	return p;
}

/* ---- parsing ---- */

/* As the messages show them. */
#define PART_PATTERN "^[A-Za-z0-9_.-]+$"
#define OS_PATTERN "^([A-Za-z0-9_-]+)(?:\\(([A-Za-z0-9_.%-]*)((?:\\+[A-Za-z0-9_.%-]+)*)\\))?$"

static bool only_of(struct str s, const char *more)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    (!c || !strchr(more, c)))
			return false;
	}
	return true;
}

/* os, os(version), os(version+feature+feature). *ret_options is what stands in the
 * parentheses. */
static bool split_os(struct str part, struct str *ret_os, struct str *ret_options)
{
	struct str options, field;
	bool first = true;

	if (!str_cut(part, '(', ret_os, ret_options)) {
		*ret_options = STR_NONE;
		return part.len && only_of(part, "_-");
	}
	if (!ret_os->len || !only_of(*ret_os, "_-") || !str_has_suffix(*ret_options, STR(")")))
		return false;
	*ret_options = str_sub(*ret_options, 0, ret_options->len - 1);
	options = *ret_options;
	while (str_next(&options, '+', &field)) {
		if (!only_of(field, "_.%-") || (!first && !field.len))
			return false;
		first = false;
	}
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 32) >= 'a' && (c | 32) <= 'f')
		return (c | 32) - 'a' + 10;
	return -1;
}

static struct err *unescape(struct arena *a, struct str s, struct str *ret)
{
	char *out = arena_alloc(a, s.len + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] != '%') {
			out[n++] = s.ptr[i];
			continue;
		}
		if (i + 2 >= s.len || hex_digit(s.ptr[i + 1]) < 0 || hex_digit(s.ptr[i + 2]) < 0) {
			SCOPED_BUF(q, 64);

			go_quote(&q, str_sub(s, i, i + 3));
			return err_new(ERR_INVALID_ARGUMENT, "invalid URL escape %s", buf_cstr(&q));
		}
		out[n++] = (char)(hex_digit(s.ptr[i + 1]) << 4 | hex_digit(s.ptr[i + 2]));
		i += 2;
	}
	*ret = str_make(out, n);
	return NULL;
}

static const char *quoted(struct arena *a, struct str s)
{
	SCOPED_BUF(q, 12 * s.len + 8);

	go_quote(&q, s);
	return arena_strdup(a, buf_cstr(&q));
}

static struct str lower(struct arena *a, struct str s)
{
	char *out = str_cstr(a, s);

	for (size_t i = 0; i < s.len; i++)
		if (out[i] >= 'A' && out[i] <= 'Z')
			out[i] = (char)(out[i] | 32);
	return str_make(out, s.len);
}

static struct err *parse_os(struct arena *a, struct str text, struct str part, struct platform *p,
			    bool *ret_known)
{
	struct str options, version, feature;
	size_t n = 0;

	if (!split_os(part, &p->os, &options))
		return err_new(ERR_INVALID_ARGUMENT,
			       "%s is an invalid OS component of %s: OSAndVersion specifier "
			       "component must match %s: invalid argument",
			       quoted(a, part), quoted(a, text), quoted(a, STR(OS_PATTERN)));
	p->os = normalize_os(p->os, ret_known);
	if (!*ret_known)
		p->os = lower(a, p->os);
	(void)str_next(&options, '+', &version);
	TRYW(unescape(a, version, &p->os_version), "%s has an invalid OS version %s",
	     quoted(a, text), quoted(a, version));
	for (struct str rest = options; str_next(&rest, '+', &feature);)
		n++;
	p->os_features = n ? ARENA_NEW_N(a, struct str, n) : NULL;
	while (str_next(&options, '+', &feature)) {
		struct err *e = unescape(a, feature, &p->os_features[p->n_os_features]);

		if (e)
			return err_wrap(e, "%s has invalid OS features: invalid os feature %s",
					quoted(a, text), quoted(a, feature));
		if (p->os_features[p->n_os_features].len)
			p->n_os_features++;
	}
	return NULL;
}

struct err *platform_parse(struct arena *a, struct str text, struct platform *ret)
{
	struct platform p = { 0 };
	struct str parts[4], rest = text;
	bool known = false;
	size_t n = 0;

	if (str_find(text, '*') >= 0)
		return err_new(ERR_INVALID_ARGUMENT,
			       "%s: wildcards not yet supported: invalid argument",
			       quoted(a, text));
	text = rest = str_dup(a, text);
	for (bool more = true; more; n++) {
		parts[n] = rest;
		more = n < 3 && str_cut(rest, '/', &parts[n], &rest);
	}
	TRY(parse_os(a, text, parts[0], &p, &known));
	for (size_t i = 1; i < n; i++)
		if (!parts[i].len || !only_of(parts[i], "_.-"))
			return err_new(ERR_INVALID_ARGUMENT,
				       "%s is an invalid component of %s: platform specifier "
				       "component must match %s: invalid argument",
				       quoted(a, parts[i]), quoted(a, text),
				       quoted(a, STR(PART_PATTERN)));
	if (n == 4)
		return err_new(ERR_INVALID_ARGUMENT,
			       "%s: cannot parse platform specifier: invalid argument",
			       quoted(a, text));
	if (n == 1 && known) {
		struct platform host = platform_default();

		p.arch = host.arch;
		if (is_arch(&host, "arm") && !str_eq(host.variant, STR("v7")))
			p.variant = host.variant;
		*ret = p;
		return NULL;
	}
	p.arch = lower(a, n == 1 ? parts[0] : parts[1]);
	p.variant = n == 3 ? lower(a, parts[2]) : STR_NONE;
	normalize_arch(&p);
	if (n < 3 && is_arch(&p, "arm") && str_eq(p.variant, STR("v7")))
		p.variant = STR_NONE;
	if (n == 3 && is_arch(&p, "arm64") && !p.variant.len)
		p.variant = STR("v8");
	if (n == 1) {
		(void)fold(p.arch, known_arch, ARRAY_SIZE(known_arch), &known);
		if (!known)
			return err_new(ERR_INVALID_ARGUMENT,
				       "%s: unknown operating system or architecture: invalid "
				       "argument",
				       quoted(a, text));
		p.os = STR("linux");
		p.os_version = STR_NONE;
		p.n_os_features = 0;
	}
	*ret = p;
	return NULL;
}

/* ---- text ---- */

static char *join(struct arena *a, struct str os, struct str arch, struct str variant)
{
	struct str s = path_join(a, path_join(a, os, arch), variant);

	return str_cstr(a, s);
}

char *platform_format(struct arena *a, struct platform p)
{
	if (!p.os.len)
		return arena_strdup(a, "unknown");
	return join(a, p.os, p.arch, p.variant);
}

static void add_escaped(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] && strchr("%+()/", s.ptr[i]))
			buf_addf(out, "%%%02X", (unsigned char)s.ptr[i]);
		else
			buf_add_char(out, s.ptr[i]);
	}
}

static int by_text(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

char *platform_format_all(struct arena *a, struct platform p)
{
	SCOPED_BUF(os, SIZE_MAX / 2);
	struct str *features, last = STR_NONE;

	if (!p.os.len)
		return arena_strdup(a, "unknown");
	if (!p.os_version.len && !p.n_os_features)
		return platform_format(a, p);
	features = arena_dup(a, p.os_features, p.n_os_features * sizeof(*features));
	if (p.n_os_features)
		qsort(features, p.n_os_features, sizeof(*features), by_text);
	buf_add_str(&os, p.os);
	buf_add_char(&os, '(');
	add_escaped(&os, p.os_version);
	for (size_t i = 0; i < p.n_os_features; i++) {
		if (str_eq(features[i], last))
			continue;
		buf_add_char(&os, '+');
		add_escaped(&os, features[i]);
		last = features[i];
	}
	buf_add_char(&os, ')');
	/* Only empty features: as if there were none. */
	if (str_has_suffix(buf_str(&os), STR("()")))
		return platform_format(a, p);
	return join(a, buf_str(&os), p.arch, p.variant);
}

/* ---- matching ---- */

static bool has_feature(const struct platform *p, struct str feature)
{
	for (size_t i = 0; i < p->n_os_features; i++)
		if (str_eq(p->os_features[i], feature))
			return true;
	return false;
}

bool platform_eq(struct platform a, struct platform b)
{
	a = platform_normalize(a);
	b = platform_normalize(b);
	if (!str_eq_nocase(a.os, b.os) || !str_eq_nocase(a.arch, b.arch) ||
	    !str_eq_nocase(a.variant, b.variant) || !str_eq(a.os_version, b.os_version))
		return false;
	for (size_t i = 0; i < a.n_os_features; i++)
		if (!has_feature(&b, a.os_features[i]))
			return false;
	for (size_t i = 0; i < b.n_os_features; i++)
		if (!has_feature(&a, b.os_features[i]))
			return false;
	return true;
}

struct windows_version {
	uint64_t major, minor, build;
};

/* "10.0.17763[.1]"; all zero for anything else. */
static struct windows_version windows_version(struct str s)
{
	struct windows_version v;
	struct str major, minor, build;

	if (!str_cut(s, '.', &major, &s) || !str_cut(s, '.', &minor, &s))
		return (struct windows_version) { 0 };
	(void)str_cut(s, '.', &build, &s);
	if (!str_to_u64(major, &v.major) || v.major > UINT8_MAX || !str_to_u64(minor, &v.minor) ||
	    v.minor > UINT8_MAX || !str_to_u64(build, &v.build) || v.build > UINT16_MAX)
		return (struct windows_version) { 0 };
	return v;
}

/* Windows Server from 2022 on runs containers from the long-term release before its own up to
 * its own build; older hosts want the same build. */
static bool windows_match(struct str want, struct str have)
{
	enum { LTSC2022 = 20348, LTSC2025 = 26100 };
	struct windows_version host = windows_version(want), image;

	if (!have.len || (!host.major && !host.minor && !host.build))
		return true;
	image = windows_version(have);
	if (host.major != image.major || host.minor != image.minor)
		return false;
	if (host.build < LTSC2022)
		return host.build == image.build;
	/* Before and after LTSC2025 alike the floor is 2022, until a third release is known. */
	return image.build >= LTSC2022 && image.build <= host.build;
}

static bool features_match(const struct platform *want, const struct platform *have)
{
	bool windows = str_eq(want->os, STR("windows"));

	for (size_t i = 0; i < have->n_os_features; i++) {
		if (windows && str_eq(have->os_features[i], STR("win32k")))
			continue;
		if (!has_feature(want, have->os_features[i]))
			return false;
	}
	return true;
}

/* "v<n>" */
static bool variant_number(struct str variant, int *ret)
{
	uint64_t n;

	if (!str_to_u64(str_trim_prefix(variant, STR("v")), &n) || n > 1000)
		return false;
	*ret = (int)n;
	return true;
}

/* Steps from arm/v<want> down to v5. */
static int arm_distance(struct str want, struct str have)
{
	int w, h;

	if (str_eq(want, have))
		return 0;
	if (!variant_number(want, &w) || !variant_number(have, &h) || h >= w || h < 5)
		return -1;
	return w - h;
}

static int amd64_distance(const struct platform *want, const struct platform *have)
{
	int w = 1, h = 1;
	bool numbered = !want->variant.len || variant_number(want->variant, &w);

	if (is_arch(have, "386"))
		return !have->variant.len ? (numbered ? w : 1) : -1;
	if (!is_arch(have, "amd64"))
		return -1;
	if (str_eq(want->variant, have->variant))
		return 0;
	if (have->variant.len &&
	    (have->variant.ptr[0] != 'v' || !variant_number(have->variant, &h)))
		return -1;
	if (!numbered || h >= w || h < 1)
		return -1;
	return w - h;
}

/* v8.<minor> or v9.<minor>; a bare v8 or v9 is minor 0. */
static bool arm64_version(struct str variant, int *ret_major, int *ret_minor)
{
	struct str v = variant.len ? variant : STR("v8");

	if (v.len < 2 || v.ptr[0] != 'v' || (v.ptr[1] != '8' && v.ptr[1] != '9'))
		return false;
	*ret_major = v.ptr[1] - '0';
	*ret_minor = 0;
	if (v.len == 2)
		return true;
	if (v.len != 4 || v.ptr[2] != '.' || v.ptr[3] < '0' || v.ptr[3] > '9')
		return false;
	*ret_minor = v.ptr[3] - '0';
	return *ret_major == 8 || *ret_minor <= 7;
}

/* Down the minors of the own major, from v9.<n> on to v8.<n+5>, then to 32 bits. */
static int arm64_distance(const struct platform *want, const struct platform *have)
{
	int major, minor, h_major, h_minor, steps, top;

	if (!arm64_version(want->variant, &major, &minor))
		return -1;
	steps = minor + 1;
	top = MIN(minor + 5, 9);
	if (is_arch(have, "arm")) {
		int d = arm_distance(STR("v8"), have->variant);

		return d < 0 ? -1 : steps + (major == 9 ? top + 1 : 0) + d;
	}
	if (!is_arch(have, "arm64") || !arm64_version(have->variant, &h_major, &h_minor))
		return -1;
	if (h_major == major)
		return h_minor <= minor ? minor - h_minor : -1;
	if (major == 9 && h_minor <= top)
		return steps + top - h_minor;
	return -1;
}

int platform_match_rank(struct platform want, struct platform have)
{
	const int features_max = 1024;
	int distance;

	want = platform_normalize(want);
	have = platform_normalize(have);
	if (!str_eq_nocase(want.os, have.os) || !features_match(&want, &have) ||
	    (str_eq(want.os, STR("windows")) && !windows_match(want.os_version, have.os_version)))
		return -1;
	if (is_arch(&want, "amd64"))
		distance = amd64_distance(&want, &have);
	else if (is_arch(&want, "arm64"))
		distance = arm64_distance(&want, &have);
	else if (!str_eq_nocase(want.arch, have.arch))
		distance = -1;
	else if (is_arch(&want, "arm"))
		distance = arm_distance(want.variant, have.variant);
	else
		distance = str_eq_nocase(want.variant, have.variant) ? 0 : -1;
	if (distance < 0)
		return -1;
	/* Of equal ones, that with the most features. */
	return (distance + 1) * features_max - 1 -
	       (int)MIN(have.n_os_features, (size_t)features_max - 1);
}
