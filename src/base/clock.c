#include "base/clock.h"

#include <stdio.h>

int64_t clock_now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return clock_from_timespec(ts);
}

int64_t clock_wall(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return clock_from_timespec(ts);
}

struct timespec clock_to_timespec(int64_t ns)
{
	int64_t s = ns / NSEC_PER_SEC, rest = ns % NSEC_PER_SEC;

	if (rest < 0) {
		s--;
		rest += NSEC_PER_SEC;
	}
	return (struct timespec) { .tv_sec = s, .tv_nsec = rest };
}

/* n nanoseconds below a second as ".123", without trailing zeros. */
static void format_fraction(char *out, size_t size, int64_t n)
{
	char digits[16];
	int len = 9;

	out[0] = '\0';
	if (!n)
		return;
	(void)snprintf(digits, sizeof(digits), "%09lld", (long long)n);
	while (digits[len - 1] == '0')
		len--;
	(void)snprintf(out, size, ".%.*s", len, digits);
}

char *clock_rfc3339(struct arena *a, int64_t wall_ns)
{
	struct timespec ts = clock_to_timespec(wall_ns);
	struct tm tm;
	char frac[16];

	(void)gmtime_r(&ts.tv_sec, &tm);
	format_fraction(frac, sizeof(frac), ts.tv_nsec);
	return arena_printf(a, "%04d-%02d-%02dT%02d:%02d:%02d%sZ", tm.tm_year + 1900, tm.tm_mon + 1,
			    tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, frac);
}

static bool take_digits(struct str *s, size_t n, int *ret)
{
	uint64_t v;

	if (s->len < n || !str_to_u64(str_sub(*s, 0, n), &v))
		return false;
	*s = str_sub(*s, n, s->len);
	*ret = (int)v;
	return true;
}

static bool take_char(struct str *s, const char *any_of)
{
	if (!s->len || !s->ptr[0] || !strchr(any_of, s->ptr[0]))
		return false;
	*s = str_sub(*s, 1, s->len);
	return true;
}

static int days_in(int year, int mon)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return mon == 2 && leap ? 29 : days[mon - 1];
}

bool clock_parse_rfc3339(struct str s, int64_t *ret_wall_ns)
{
	struct tm tm = { 0 };
	int64_t frac = 0, scale = NSEC_PER_SEC / 10, sec, ns;
	int year, mon, oh = 0, om = 0, sign = 0;

	if (!take_digits(&s, 4, &year) || !take_char(&s, "-") || !take_digits(&s, 2, &mon) ||
	    !take_char(&s, "-") || !take_digits(&s, 2, &tm.tm_mday) || !take_char(&s, "Tt ") ||
	    !take_digits(&s, 2, &tm.tm_hour) || !take_char(&s, ":") ||
	    !take_digits(&s, 2, &tm.tm_min) || !take_char(&s, ":") ||
	    !take_digits(&s, 2, &tm.tm_sec))
		return false;
	if (mon < 1 || mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
	    tm.tm_min > 59 || tm.tm_sec > 60)
		return false;
	if (take_char(&s, ".")) {
		if (!s.len || s.ptr[0] < '0' || s.ptr[0] > '9')
			return false;
		for (; s.len && s.ptr[0] >= '0' && s.ptr[0] <= '9'; s = str_sub(s, 1, s.len)) {
			frac += (s.ptr[0] - '0') * scale;
			scale /= 10;
		}
	}
	if (!take_char(&s, "Zz")) {
		if (!s.len || (s.ptr[0] != '+' && s.ptr[0] != '-'))
			return false;
		sign = s.ptr[0] == '-' ? 1 : -1;
		s = str_sub(s, 1, s.len);
		if (!take_digits(&s, 2, &oh) || !take_char(&s, ":") || !take_digits(&s, 2, &om))
			return false;
	}
	if (s.len)
		return false;
	tm.tm_year = year - 1900;
	tm.tm_mon = mon - 1;
	if (tm.tm_mday > days_in(year, mon))
		return false;
	sec = (int64_t)timegm(&tm) + sign * (oh * 3600 + om * 60);
	/* Go's zero time, of the year 1, is met in images: it is the earliest there is here. */
	if (__builtin_mul_overflow(sec, NSEC_PER_SEC, &ns) || __builtin_add_overflow(ns, frac, &ns))
		ns = sec < 0 ? INT64_MIN : INT64_MAX;
	*ret_wall_ns = ns;
	return true;
}

/* The unit at the head of s, up to the next digit or dot. */
static bool take_unit(struct str *s, uint64_t *ret_ns)
{
	static const struct {
		struct str name;
		uint64_t ns;
	} units[] = {
		{ STR("ns"), 1 },
		{ STR("us"), 1000 },
		{ STR("\xc2\xb5s"), 1000 },
		{ STR("\xce\xbcs"), 1000 },
		{ STR("ms"), NSEC_PER_MSEC },
		{ STR("s"), NSEC_PER_SEC },
		{ STR("m"), 60 * NSEC_PER_SEC },
		{ STR("h"), 3600 * NSEC_PER_SEC },
	};
	size_t n = 0;

	while (n < s->len && s->ptr[n] != '.' && (s->ptr[n] < '0' || s->ptr[n] > '9'))
		n++;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (str_eq(str_sub(*s, 0, n), units[i].name)) {
			*s = str_sub(*s, n, s->len);
			*ret_ns = units[i].ns;
			return true;
		}
	}
	return false;
}

/* One "12.5h". Sums stay at or below 2^63, which only a negative duration can hold. */
static bool add_term(struct str *s, uint64_t *sum)
{
	const uint64_t limit = UINT64_C(1) << 63;
	uint64_t whole = 0, frac = 0, unit, ns;
	double scale = 1;
	bool digits = false, full = false;
	size_t n = 0;

	for (; n < s->len && s->ptr[n] >= '0' && s->ptr[n] <= '9'; n++, digits = true) {
		if (__builtin_mul_overflow(whole, (uint64_t)10, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(s->ptr[n] - '0'), &whole) ||
		    whole > limit)
			return false;
	}
	if (n < s->len && s->ptr[n] == '.') {
		for (n++; n < s->len && s->ptr[n] >= '0' && s->ptr[n] <= '9'; n++, digits = true) {
			/* More digits than 64 bits hold say nothing any more. */
			full = full || frac > (limit - 10) / 10;
			if (full)
				continue;
			frac = frac * 10 + (uint64_t)(s->ptr[n] - '0');
			scale *= 10;
		}
	}
	*s = str_sub(*s, n, s->len);
	if (!digits || !take_unit(s, &unit) || __builtin_mul_overflow(whole, unit, &ns))
		return false;
	ns += (uint64_t)((double)frac * ((double)unit / scale));
	if (ns > limit || *sum > limit - ns)
		return false;
	*sum += ns;
	return true;
}

bool clock_parse_duration(struct str s, int64_t *ret_ns)
{
	uint64_t sum = 0;
	bool neg = false;

	if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+')) {
		neg = s.ptr[0] == '-';
		s = str_sub(s, 1, s.len);
	}
	if (str_eq_cstr(s, "0")) {
		*ret_ns = 0;
		return true;
	}
	if (!s.len)
		return false;
	while (s.len)
		if (!add_term(&s, &sum))
			return false;
	if (sum > (uint64_t)INT64_MAX && !neg)
		return false;
	*ret_ns = neg ? (int64_t)(0 - sum) : (int64_t)sum;
	return true;
}

char *clock_format_duration(struct arena *a, int64_t ns)
{
	const char *sign = ns < 0 ? "-" : "";
	uint64_t u = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
	uint64_t h, m, s;
	char frac[16];

	if (!u)
		return arena_strdup(a, "0s");
	if (u < (uint64_t)NSEC_PER_SEC) {
		/* Below a second: one unit, with a fraction. */
		uint64_t unit = u < 1000 ? 1 : u < 1000000 ? 1000 : 1000000;
		const char *name = unit == 1 ? "ns" : unit == 1000 ? "\xc2\xb5s" : "ms";

		format_fraction(frac, sizeof(frac), (int64_t)((u % unit) * (1000000000u / unit)));
		return arena_printf(a, "%s%llu%s%s", sign, (unsigned long long)(u / unit), frac,
				    name);
	}
	format_fraction(frac, sizeof(frac), (int64_t)(u % (uint64_t)NSEC_PER_SEC));
	s = u / (uint64_t)NSEC_PER_SEC;
	h = s / 3600;
	m = s / 60 % 60;
	s %= 60;
	if (h)
		return arena_printf(a, "%s%lluh%llum%llu%ss", sign, (unsigned long long)h,
				    (unsigned long long)m, (unsigned long long)s, frac);
	if (m)
		return arena_printf(a, "%s%llum%llu%ss", sign, (unsigned long long)m,
				    (unsigned long long)s, frac);
	return arena_printf(a, "%s%llu%ss", sign, (unsigned long long)s, frac);
}
