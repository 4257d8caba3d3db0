#include "base/pattern_re.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/vec.h"

#define MAX_REPEAT 1000
#define MAX_ITEMS 100000

enum item_kind {
	CHAR,     /* one character of the set */
	DIRS,     /* (.*<slash>)? */
	AT_BEGIN, /* assertions */
	AT_END,
	AT_WORD,
	NOT_AT_WORD,
	ACCEPT, /* an alternative ends */
};

enum quantity { ONE, OPTIONAL, ANY };

struct range {
	uint32_t lo, hi;
};

struct item {
	enum item_kind kind;
	enum quantity quantity; /* of CHAR */
	bool negated;
	size_t n_ranges;
	struct range *ranges;
};

/* Alternatives stand one after the other in items. */
struct pattern_re {
	struct item *items;
	size_t n_items;
	bool anchored; /* all of them begin with AT_BEGIN */
};

/* ---- parsing ---- */

struct parser {
	struct arena *arena;
	struct str s;
	VEC(struct item) items;
	size_t alternative; /* where the one being read begins */
	bool repeated;      /* the last item was repeated, and can't be again */
	/* The class or character being put together. */
	struct range *ranges;
	size_t n_ranges, cap_ranges;
	bool bad;
};

static bool eat(struct parser *p, const char *what)
{
	struct str w = str_from(what);

	if (!str_has_prefix(p->s, w))
		return false;
	p->s = str_sub(p->s, w.len, p->s.len);
	return true;
}

static uint32_t take_rune(struct parser *p)
{
	uint32_t r;
	size_t n = str_rune(p->s, &r);

	p->bad = p->bad || !n;
	p->s = str_sub(p->s, n, p->s.len);
	return r;
}

static void add_range(struct parser *p, uint32_t lo, uint32_t hi)
{
	if (p->n_ranges == p->cap_ranges) {
		size_t cap = p->cap_ranges ? p->cap_ranges * 4 : 1;
		struct range *more = ARENA_NEW_N(p->arena, struct range, cap);

		if (p->n_ranges)
			memcpy(more, p->ranges, p->n_ranges * sizeof(*more));
		p->ranges = more;
		p->cap_ranges = cap;
	}
	p->ranges[p->n_ranges++] = (struct range) { lo, hi };
}

static void add_item(struct parser *p, enum item_kind kind, enum quantity quantity, bool negated)
{
	struct item it = { kind, quantity, negated, p->n_ranges, p->ranges };

	if (p->items.len >= MAX_ITEMS)
		p->bad = true;
	else
		vec_push(&p->items, it);
	p->ranges = NULL;
	p->n_ranges = p->cap_ranges = 0;
	p->repeated = quantity == ANY || kind == DIRS;
}

/* A named set of ASCII characters, as pairs of bounds. */
struct set {
	const char *name;
	struct str pairs;
};

static void add_set(struct parser *p, const struct set *set, bool negated)
{
	uint32_t next = 0;

	for (size_t i = 0; i < set->pairs.len; i += 2) {
		uint32_t lo = (unsigned char)set->pairs.ptr[i];
		uint32_t hi = (unsigned char)set->pairs.ptr[i + 1];

		if (!negated)
			add_range(p, lo, hi);
		else if (next < lo)
			add_range(p, next, lo - 1);
		next = hi + 1;
	}
	if (negated)
		add_range(p, next, 0x10ffff);
}

static bool add_perl_class(struct parser *p)
{
	static const struct set sets[] = {
		{ "d", STR("09") },
		{ "s", STR("\t\n\f\r  ") },
		{ "w", STR("09AZ__az") },
	};

	if (p->s.len < 2 || p->s.ptr[0] != '\\')
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		char lower = sets[i].name[0], upper = (char)(lower - 'a' + 'A');

		if (p->s.ptr[1] == lower || p->s.ptr[1] == upper) {
			add_set(p, &sets[i], p->s.ptr[1] == upper);
			p->s = str_sub(p->s, 2, p->s.len);
			return true;
		}
	}
	return false;
}

/* [:name:] or [:^name:]; false when it is not of that form, then nothing is taken. */
static bool add_posix_class(struct parser *p)
{
	static const struct set sets[] = {
		{ "alnum", STR("09AZaz") },
		{ "alpha", STR("AZaz") },
		{ "ascii", STR("\0\x7f") },
		{ "blank", STR("\t\t  ") },
		{ "cntrl", STR("\0\x1f\x7f\x7f") },
		{ "digit", STR("09") },
		{ "graph", STR("!~") },
		{ "lower", STR("az") },
		{ "print", STR(" ~") },
		{ "punct", STR("!/:@[`{~") },
		{ "space", STR("\t\r  ") },
		{ "upper", STR("AZ") },
		{ "word", STR("09AZ__az") },
		{ "xdigit", STR("09AFaf") },
	};
	struct str name;
	ptrdiff_t end;
	bool negated;

	if (!str_has_prefix(p->s, STR("[:")))
		return false;
	end = str_find_str(str_sub(p->s, 2, p->s.len), STR(":]"));
	if (end < 0)
		return false;
	name = str_sub(p->s, 2, 2 + (size_t)end);
	negated = str_has_prefix(name, STR("^"));
	name = str_trim_prefix(name, STR("^"));
	p->s = str_sub(p->s, (size_t)end + 4, p->s.len);
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		if (str_eq_cstr(name, sets[i].name)) {
			add_set(p, &sets[i], negated);
			return true;
		}
	}
	p->bad = true;
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

/* \x7f or \x{10ffff}, after the x. */
static uint32_t take_hex(struct parser *p)
{
	bool braces = eat(p, "{");
	uint32_t v = 0;
	size_t n = 0;

	for (; p->s.len && (braces || n < 2) && v <= 0x10ffff; n++) {
		int d = hex_digit(p->s.ptr[0]);

		if (d < 0)
			break;
		v = v << 4 | (uint32_t)d;
		p->s = str_sub(p->s, 1, p->s.len);
	}
	if (!n || (!braces && n != 2) || (braces && !eat(p, "}")) || v > 0x10ffff)
		p->bad = true;
	return v;
}

/* What stands after a backslash, when it means one character. */
static uint32_t take_escape(struct parser *p)
{
	static const char letters[] = "afnrtv", means[] = "\a\f\n\r\t\v";
	uint32_t c = take_rune(p);
	const char *known;
	bool octal;

	if (p->bad)
		return 0;
	octal = p->s.len && p->s.ptr[0] >= '0' && p->s.ptr[0] <= '7';
	if (c == '0' || (c >= '1' && c <= '7' && octal)) {
		uint32_t v = c - '0';

		for (int i = 1; i < 3 && p->s.len && p->s.ptr[0] >= '0' && p->s.ptr[0] <= '7'; i++)
			v = v * 8 + (take_rune(p) - '0');
		return v;
	}
	if (c == 'x')
		return take_hex(p);
	known = c && c < 0x80 ? strchr(letters, (int)c) : NULL;
	if (known)
		return (unsigned char)means[known - letters];
	if (c >= 0x80 || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z'))
		p->bad = true;
	return c;
}

static uint32_t take_class_rune(struct parser *p)
{
	return eat(p, "\\") ? take_escape(p) : take_rune(p);
}

static void parse_class(struct parser *p)
{
	bool negated = eat(p, "^");

	for (bool first = true; !p->bad; first = false) {
		uint32_t lo, hi;

		if (!first && eat(p, "]"))
			break;
		if (add_posix_class(p) || add_perl_class(p))
			continue;
		lo = hi = take_class_rune(p);
		if (p->s.len >= 2 && p->s.ptr[0] == '-' && p->s.ptr[1] != ']') {
			p->s = str_sub(p->s, 1, p->s.len);
			hi = take_class_rune(p);
			if (hi < lo)
				p->bad = true;
		}
		add_range(p, lo, hi);
	}
	add_item(p, CHAR, eat(p, "*") ? ANY : ONE, negated);
}

static void add_literal(struct parser *p, uint32_t r)
{
	add_range(p, r, r);
	add_item(p, CHAR, ONE, false);
}

static void parse_escape(struct parser *p)
{
	if (add_perl_class(p)) {
		add_item(p, CHAR, ONE, false);
	} else if (eat(p, "\\A")) {
		add_item(p, AT_BEGIN, ONE, false);
	} else if (eat(p, "\\z")) {
		add_item(p, AT_END, ONE, false);
	} else if (eat(p, "\\b")) {
		add_item(p, AT_WORD, ONE, false);
	} else if (eat(p, "\\B")) {
		add_item(p, NOT_AT_WORD, ONE, false);
	} else if (eat(p, "\\Q")) {
		while (p->s.len && !eat(p, "\\E"))
			add_literal(p, take_rune(p));
	} else {
		p->s = str_sub(p->s, 1, p->s.len);
		add_literal(p, take_escape(p));
	}
}

/* The numbers of {n}, {n,} or {n,m}, *max -1 when open; false, with nothing taken, when it is
 * none of these and so a plain brace. */
static bool take_counts(struct parser *p, int *min, int *max)
{
	struct str s = str_sub(p->s, 1, p->s.len), lo, hi;
	ptrdiff_t end = str_find(s, '}');
	uint64_t n, m;
	bool comma;

	if (end <= 0)
		return false;
	comma = str_cut(str_sub(s, 0, (size_t)end), ',', &lo, &hi);
	/* No leading zeros in Go's numbers here. */
	if ((lo.len > 1 && lo.ptr[0] == '0') || (hi.len > 1 && hi.ptr[0] == '0'))
		return false;
	for (size_t i = 0; i < lo.len + hi.len; i++) {
		char c = i < lo.len ? lo.ptr[i] : hi.ptr[i - lo.len];

		if (c < '0' || c > '9')
			return false;
	}
	if (!lo.len)
		return false;
	if (!str_to_u64(lo, &n) || n > MAX_REPEAT)
		n = MAX_REPEAT + 1;
	if (!hi.len)
		m = n;
	else if (!str_to_u64(hi, &m) || m > MAX_REPEAT)
		m = MAX_REPEAT + 1;
	*min = (int)n;
	*max = comma && !hi.len ? -1 : (int)m;
	p->s = str_sub(s, (size_t)end + 1, s.len);
	return true;
}

static void repeat(struct parser *p, int min, int max)
{
	struct item it;

	if (p->repeated || p->items.len == p->alternative || min > MAX_REPEAT || max > MAX_REPEAT ||
	    (max >= 0 && min > max)) {
		p->bad = true;
		return;
	}
	it = vec_pop(&p->items);
	for (int i = 0; i < MAX(min, max) && !p->bad; i++) {
		p->ranges = it.ranges;
		p->n_ranges = it.n_ranges;
		if (i < min)
			add_item(p, it.kind, ONE, it.negated);
		else if (it.kind == CHAR)
			add_item(p, CHAR, OPTIONAL, it.negated);
	}
	if (max < 0 && it.kind == CHAR) {
		p->ranges = it.ranges;
		p->n_ranges = it.n_ranges;
		add_item(p, CHAR, ANY, it.negated);
	}
	p->repeated = true;
}

static void parse_expression(struct parser *p)
{
	int min, max;

	while (p->s.len && !p->bad) {
		if (p->s.ptr[0] == '{' && take_counts(p, &min, &max)) {
			repeat(p, min, max);
		} else if (eat(p, "(.*/)?")) {
			add_item(p, DIRS, ONE, false);
		} else if (eat(p, ".*")) {
			/* A dot alone never comes: they are escaped. */
			add_range(p, '\n', '\n');
			add_item(p, CHAR, ANY, true);
		} else if (eat(p, "^")) {
			add_item(p, AT_BEGIN, ONE, false);
		} else if (eat(p, "$")) {
			add_item(p, AT_END, ONE, false);
		} else if (eat(p, "[")) {
			parse_class(p);
		} else if (eat(p, "|")) {
			add_item(p, ACCEPT, ONE, false);
			p->alternative = p->items.len;
		} else if (p->s.ptr[0] == '\\') {
			parse_escape(p);
		} else {
			add_literal(p, take_rune(p));
		}
	}
	add_item(p, ACCEPT, ONE, false);
}

bool pattern_re_new(struct arena *a, struct str expression, struct pattern_re **ret)
{
	struct parser p = { .arena = a, .s = expression };
	struct pattern_re *re;

	parse_expression(&p);
	if (!p.bad) {
		re = ARENA_NEW(a, struct pattern_re);
		re->n_items = p.items.len;
		re->items = arena_dup(a, p.items.items, re->n_items * sizeof(struct item));
		re->anchored = true;
		for (size_t i = 0; i < re->n_items; i++)
			if ((i == 0 || re->items[i - 1].kind == ACCEPT) &&
			    re->items[i].kind != AT_BEGIN)
				re->anchored = false;
		*ret = re;
	}
	vec_fini(&p.items);
	return !p.bad;
}

/* ---- running ---- */

static bool in_set(const struct item *it, uint32_t r)
{
	for (size_t i = 0; i < it->n_ranges; i++)
		if (r >= it->ranges[i].lo && r <= it->ranges[i].hi)
			return !it->negated;
	return it->negated;
}

static bool is_word(uint32_t r)
{
	return r == '_' || (r >= '0' && r <= '9') ||
	       (r < 0x80 && (r | 32) >= 'a' && (r | 32) <= 'z');
}

/* State i: the items of the alternative before i are matched. DIRS has a second state,
 * "inside", kept in a set of its own. */
struct machine {
	const struct pattern_re *re;
	uint64_t *at, *inside, *next_at, *next_inside;
	size_t words;
};

static void set_bit(uint64_t *set, size_t i)
{
	set[i / 64] |= UINT64_C(1) << (i % 64);
}

static bool has_bit(const uint64_t *set, size_t i)
{
	return set[i / 64] >> (i % 64) & 1;
}

static void start_all(struct machine *m)
{
	for (size_t i = 0; i < m->re->n_items; i++)
		if (i == 0 || m->re->items[i - 1].kind == ACCEPT)
			set_bit(m->at, i);
}

/* Follows what needs no character; true when an alternative is done. Items come in order,
 * so one pass is enough. */
static bool settle(struct machine *m, bool begin, bool end, bool boundary)
{
	for (size_t i = 0; i < m->re->n_items; i++) {
		bool pass = false;

		if (!m->at[i / 64]) {
			i |= 63;
			continue;
		}
		if (!has_bit(m->at, i))
			continue;
		switch (m->re->items[i].kind) {
		case CHAR:
			pass = m->re->items[i].quantity != ONE;
			break;
		case DIRS:
			set_bit(m->inside, i);
			pass = true;
			break;
		case AT_BEGIN:
			pass = begin;
			break;
		case AT_END:
			pass = end;
			break;
		case AT_WORD:
			pass = boundary;
			break;
		case NOT_AT_WORD:
			pass = !boundary;
			break;
		case ACCEPT:
			return true;
		}
		if (pass)
			set_bit(m->at, i + 1);
	}
	return false;
}

static void swap(uint64_t **a, uint64_t **b)
{
	uint64_t *was = *a;

	*a = *b;
	*b = was;
}

/* False when no state is left. */
static bool step(struct machine *m, uint32_t r)
{
	bool alive = false;

	memset(m->next_at, 0, m->words * sizeof(uint64_t));
	memset(m->next_inside, 0, m->words * sizeof(uint64_t));
	for (size_t i = 0; i < m->re->n_items; i++) {
		const struct item *it = &m->re->items[i];

		if (!(m->at[i / 64] | m->inside[i / 64])) {
			i |= 63;
			continue;
		}
		if (it->kind == DIRS && has_bit(m->inside, i)) {
			if (r != '\n')
				set_bit(m->next_inside, i);
			if (r == '/')
				set_bit(m->next_at, i + 1);
			alive = alive || r != '\n';
		}
		if (!has_bit(m->at, i) || it->kind != CHAR || !in_set(it, r))
			continue;
		set_bit(m->next_at, it->quantity == ANY ? i : i + 1);
		alive = true;
	}
	swap(&m->at, &m->next_at);
	swap(&m->inside, &m->next_inside);
	return alive;
}

bool pattern_re_match(const struct pattern_re *re, struct str s)
{
	uint64_t stack[4 * 4] = { 0 };
	size_t words = (re->n_items + 63) / 64;
	CLEANUP_FREE uint64_t *heap = NULL;
	uint64_t *sets = stack;
	struct machine m = { .re = re, .words = words };
	bool begin = true, before = false;

	if (words > 4)
		sets = heap = mem_calloc(words * 4, sizeof(*sets));
	m.at = sets;
	m.inside = sets + words;
	m.next_at = sets + 2 * words;
	m.next_inside = sets + 3 * words;
	for (;;) {
		uint32_t r = 0;
		size_t n = str_rune(s, &r);
		bool word = n && is_word(r);

		if (begin || !re->anchored)
			start_all(&m);
		if (settle(&m, begin, n == 0, word != before))
			return true;
		if (!n || (!step(&m, r) && re->anchored))
			return false;
		s = str_sub(s, n, s.len);
		begin = false;
		before = word;
	}
}
