#include "source/policy.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/path.h"
#include "codec/imageref.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define MAX_ROUNDS 20
#define MATCH_LIMIT 1000000
#define MAX_GROUPS 100

typedef Moby__Buildkit__V1__Sourcepolicy__Policy policy;
typedef Moby__Buildkit__V1__Sourcepolicy__Rule rule;
typedef Moby__Buildkit__V1__Sourcepolicy__Selector selector;
typedef Moby__Buildkit__V1__Sourcepolicy__AttrConstraint constraint;

struct err *policy_validate(const policy *p)
{
	for (size_t i = 0; i < p->n_rules; i++)
		if (!p->rules[i]->selector)
			return err_new(ERR_UNKNOWN, "invalid nil selector in policy");
	return NULL;
}

/* ---- names ---- */

static char *canonical_image(struct arena *a, const char *identifier, const char *scheme)
{
	struct imageref ref;
	struct err *e = imageref_parse(a, str_from(identifier + strlen(scheme)), &ref);

	if (e) {
		err_free(e);
		return arena_strdup(a, identifier);
	}
	ref = imageref_with_default_tag(ref);
	return arena_printf(a, "%s%s", scheme, imageref_format(a, &ref));
}

static char *canonical_git(struct arena *a, const char *identifier)
{
	struct str rest = str_trim_prefix(str_from(identifier), STR("git://")), where, fragment;
	struct str host, path, ref, subdir;
	ptrdiff_t at;

	str_cut(rest, '#', &where, &fragment);
	if (!str_cut(where, '/', &host, &path) || !host.len)
		return arena_strdup(a, identifier);
	at = str_rfind(host, '@');
	host = str_sub(host, (size_t)(at + 1), host.len);
	path = path_clean(a, str_from(arena_printf(a, "/%.*s", STR_ARG(path))));
	str_cut(fragment, ':', &ref, &subdir);
	if (!ref.len && !subdir.len)
		return arena_printf(a, "git://%.*s%.*s", STR_ARG(host), STR_ARG(path));
	return arena_printf(a, "git://%.*s%.*s#%.*s%s%.*s", STR_ARG(host), STR_ARG(path),
			    STR_ARG(ref), subdir.len ? ":" : "", STR_ARG(subdir));
}

char *source_canonical(struct arena *a, const char *identifier)
{
	static const char *const images[] = { "docker-image://", "oci-layout://" };

	for (size_t i = 0; i < ARRAY_SIZE(images); i++)
		if (strncmp(identifier, images[i], strlen(images[i])) == 0)
			return canonical_image(a, identifier, images[i]);
	if (strncmp(identifier, "git://", 6) == 0)
		return canonical_git(a, identifier);
	return arena_strdup(a, identifier);
}

/* ---- regular expressions ---- */

struct match {
	bool found;
	struct str groups[MAX_GROUPS]; /* 0 is all of it; borrowed from the subject */
	size_t n;
	pcre2_code *code; /* for the names of groups */
};

static void match_fini(struct match *m)
{
	pcre2_code_free(m->code);
}

static struct err *run_regex(struct str pattern, struct str subject, struct match *ret)
{
	pcre2_match_context *limits;
	pcre2_match_data *data;
	PCRE2_SIZE at, *v;
	int code, n;

	if (!subject.ptr)
		subject = STR("");
	*ret = (struct match) { 0 };
	ret->code =
		pcre2_compile((PCRE2_SPTR)pattern.ptr, pattern.len, PCRE2_UTF, &code, &at, NULL);
	if (!ret->code)
		return err_new(ERR_UNKNOWN, "error parsing regexp: `%.*s`", STR_ARG(pattern));
	limits = pcre2_match_context_create(NULL);
	data = pcre2_match_data_create_from_pattern(ret->code, NULL);
	pcre2_set_match_limit(limits, MATCH_LIMIT);
	n = pcre2_match(ret->code, (PCRE2_SPTR)subject.ptr, subject.len, 0, 0, data, limits);
	v = pcre2_get_ovector_pointer(data);
	ret->found = n > 0;
	for (int i = 0; i < n && i < MAX_GROUPS; i++)
		ret->groups[ret->n++] = v[2 * i] == PCRE2_UNSET
						? STR_NONE
						: str_sub(subject, v[2 * i], v[2 * i + 1]);
	pcre2_match_data_free(data);
	pcre2_match_context_free(limits);
	if (n < 0 && n != PCRE2_ERROR_NOMATCH)
		return err_new(ERR_RESOURCE_EXHAUSTED, "regexp `%.*s` takes too long",
			       STR_ARG(pattern));
	return NULL;
}

/* "*" is any text, and a group. */
static struct err *wildcard_regex(struct arena *a, struct str wildcard, struct str *ret)
{
	SCOPED_BUF(b, LIMIT_URL * 4);

	if (str_find_str(wildcard, STR("**")) >= 0)
		return err_new(ERR_UNKNOWN,
			       "failed to translate wildcard \"%.*s\" to regexp: invalid wildcard: "
			       "\"**\"",
			       STR_ARG(wildcard));
	buf_add_char(&b, '^');
	for (size_t i = 0; i < wildcard.len; i++) {
		char c = wildcard.ptr[i];

		if (c == '*') {
			buf_add_cstr(&b, "(.*)");
			continue;
		}
		if (strchr("\\.+?()|[]{}^$", c))
			buf_add_char(&b, '\\');
		buf_add_char(&b, c);
	}
	buf_add_cstr(&b, "$");
	TRY(buf_check(&b, "wildcard"));
	*ret = str_dup(a, buf_str(&b));
	return NULL;
}

static struct str group_by_name(const struct match *m, struct str name)
{
	char text[64];
	uint64_t number;
	int n;

	if (str_to_u64(name, &number))
		return number < m->n ? m->groups[number] : STR_NONE;
	if (name.len >= sizeof(text))
		return STR_NONE;
	memcpy(text, name.ptr, name.len);
	text[name.len] = '\0';
	n = pcre2_substring_number_from_name(m->code, (PCRE2_SPTR)text);
	return n > 0 && (size_t)n < m->n ? m->groups[n] : STR_NONE;
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

/* $1, ${1}, $name, ${name} and $$, as Go's regexp expands them. */
static void expand(const struct match *m, struct str format, struct buf *out)
{
	for (size_t i = 0; i < format.len;) {
		size_t end = i + 1, from = i + 1;

		if (format.ptr[i] != '$' || end >= format.len) {
			buf_add_char(out, format.ptr[i++]);
			continue;
		}
		if (format.ptr[end] == '$') {
			buf_add_char(out, '$');
			i += 2;
			continue;
		}
		if (format.ptr[end] == '{') {
			ptrdiff_t close = str_find(str_sub(format, i, format.len), '}');

			if (close < 0) {
				buf_add_char(out, format.ptr[i++]);
				continue;
			}
			buf_add_str(out,
				    group_by_name(m, str_sub(format, i + 2, i + (size_t)close)));
			i += (size_t)close + 1;
			continue;
		}
		while (end < format.len && is_word(format.ptr[end]))
			end++;
		if (end == from) {
			buf_add_char(out, format.ptr[i++]);
			continue;
		}
		buf_add_str(out, group_by_name(m, str_sub(format, from, end)));
		i = end;
	}
}

/* ---- rules ---- */

static struct str attr_of(const Pb__SourceOp *s, const char *key)
{
	return str_from(PROTO_MAP_GET(s->n_attrs, s->attrs, key));
}

static struct err *constraint_holds(const constraint *c, const Pb__SourceOp *s, bool *ret)
{
	struct str have = attr_of(s, c->key);
	CLEANUP(match_fini) struct match m = { 0 };

	switch (c->condition) {
	case MOBY__BUILDKIT__V1__SOURCEPOLICY__ATTR_MATCH__ATTR_MATCH_EQUAL:
		*ret = str_eq_cstr(have, c->value);
		return NULL;
	case MOBY__BUILDKIT__V1__SOURCEPOLICY__ATTR_MATCH__ATTR_MATCH_NOTEQUAL:
		*ret = !str_eq_cstr(have, c->value);
		return NULL;
	case MOBY__BUILDKIT__V1__SOURCEPOLICY__ATTR_MATCH__ATTR_MATCH_MATCHES:
		TRYW(run_regex(str_from(c->value), have, &m), "invalid regex \"%s\"", c->value);
		*ret = m.found;
		return NULL;
	default:
		return err_new(ERR_UNKNOWN, "unknown attr condition: %d", (int)c->condition);
	}
}

static struct err *pattern_of(const selector *sel, struct arena *a, struct str *ret)
{
	*ret = str_from(sel->identifier);
	if (sel->match_type == MOBY__BUILDKIT__V1__SOURCEPOLICY__MATCH_TYPE__MATCH_TYPE_WILDCARD)
		return wildcard_regex(a, *ret, ret);
	return NULL;
}

static struct err *selected(const selector *sel, const Pb__SourceOp *s, struct arena *a, bool *ret)
{
	CLEANUP(match_fini) struct match m = { 0 };
	struct str pattern;

	*ret = false;
	for (size_t i = 0; i < sel->n_constraints; i++) {
		bool holds = false;

		TRY(constraint_holds(sel->constraints[i], s, &holds));
		if (!holds)
			return NULL;
	}
	*ret = strcmp(sel->identifier, s->identifier) == 0;
	if (*ret ||
	    sel->match_type == MOBY__BUILDKIT__V1__SOURCEPOLICY__MATCH_TYPE__MATCH_TYPE_EXACT)
		return NULL;
	if (!proto_enum_known(&moby__buildkit__v1__sourcepolicy__match_type__descriptor,
			      (int)sel->match_type))
		return err_new(ERR_UNKNOWN, "unknown match type: %d", (int)sel->match_type);
	TRY(pattern_of(sel, a, &pattern));
	TRY(run_regex(pattern, str_from(s->identifier), &m));
	*ret = m.found;
	return NULL;
}

/* The destination with what the selector matched put in. */
static struct err *destination(const rule *r, const Pb__SourceOp *s, struct arena *a, char **ret)
{
	const selector *sel = r->selector;
	const char *to = r->updates->identifier[0] ? r->updates->identifier : sel->identifier;
	struct str pattern, subject = str_from(s->identifier), before, after;
	CLEANUP(match_fini) struct match m = { 0 };
	SCOPED_BUF(out, LIMIT_URL);

	if (sel->match_type == MOBY__BUILDKIT__V1__SOURCEPOLICY__MATCH_TYPE__MATCH_TYPE_EXACT) {
		*ret = arena_strdup(a, to);
		return NULL;
	}
	TRY(pattern_of(sel, a, &pattern));
	TRY(run_regex(pattern, subject, &m));
	if (!m.found) {
		*ret = arena_strdup(a, s->identifier);
		return NULL;
	}
	/* Of a regular expression only what it matched is replaced. */
	before = str_sub(subject, 0, (size_t)(m.groups[0].ptr - subject.ptr));
	after = str_sub(subject, before.len + m.groups[0].len, subject.len);
	buf_add_str(&out, before);
	expand(&m, str_from(to), &out);
	buf_add_str(&out, after);
	TRY(buf_check(&out, "identifier"));
	*ret = str_cstr(a, buf_str(&out));
	return NULL;
}

static bool set_attr(Pb__SourceOp *s, const char *key, const char *value, struct arena *a)
{
	Pb__SourceOp__AttrsEntry *e = PROTO_MAP_FIND(s->n_attrs, s->attrs, key), **more;

	if (e && strcmp(e->value, value) == 0)
		return false;
	if (e) {
		e->value = arena_strdup(a, value);
		return true;
	}
	more = ARENA_NEW_N(a, Pb__SourceOp__AttrsEntry *, s->n_attrs + 1);
	memcpy(more, s->attrs, s->n_attrs * sizeof(*more));
	e = ARENA_NEW(a, Pb__SourceOp__AttrsEntry);
	pb__source_op__attrs_entry__init(e);
	e->key = arena_strdup(a, key);
	e->value = arena_strdup(a, value);
	more[s->n_attrs++] = e;
	s->attrs = more;
	return true;
}

static struct err *convert(const rule *r, struct arena *a, Pb__SourceOp *s, bool *ret_changed)
{
	bool changed = false;
	char *to;

	if (!r->updates)
		return err_new(ERR_UNKNOWN, "missing destination for convert rule");
	TRYW(destination(r, s, a, &to), "error formatting destination");
	if (*to && strcmp(to, s->identifier) != 0) {
		s->identifier = to;
		changed = true;
	}
	for (size_t i = 0; i < r->updates->n_attrs; i++)
		changed |= set_attr(s, r->updates->attrs[i]->key, r->updates->attrs[i]->value, a);
	*ret_changed = changed;
	return NULL;
}

static struct err *apply(const policy *p, struct arena *a, Pb__SourceOp *s, bool *ret_changed)
{
	bool deny = false;

	*ret_changed = false;
	for (size_t i = 0; i < p->n_rules; i++) {
		const rule *r = p->rules[i];
		bool matched = false;

		TRYW(selected(r->selector, s, a, &matched), "error matching source policy");
		if (!matched)
			continue;
		switch (r->action) {
		case MOBY__BUILDKIT__V1__SOURCEPOLICY__POLICY_ACTION__POLICY_ACTION_ALLOW:
			deny = false;
			break;
		case MOBY__BUILDKIT__V1__SOURCEPOLICY__POLICY_ACTION__POLICY_ACTION_DENY:
			deny = true;
			break;
		case MOBY__BUILDKIT__V1__SOURCEPOLICY__POLICY_ACTION__POLICY_ACTION_CONVERT:
			TRYW(convert(r, a, s, ret_changed), "error mutating source policy");
			if (*ret_changed)
				return NULL;
			break;
		default:
			return err_new(ERR_UNKNOWN,
				       "source policy: rule %d %s: unknown type \"%s\"",
				       (int)r->action, r->selector->identifier, s->identifier);
		}
	}
	if (deny)
		return err_new(ERR_UNKNOWN,
			       "source \"%s\" denied by policy: source denied by policy",
			       s->identifier);
	return NULL;
}

struct err *policy_evaluate(const policy *const *list, size_t n, struct arena *a, Pb__SourceOp *s,
			    bool *ret_changed)
{
	bool again = n > 0;

	*ret_changed = false;
	for (int round = 0; again; round++) {
		if (round > MAX_ROUNDS)
			return err_new(ERR_UNKNOWN, "too many mutations on a single source: too "
						    "many operations");
		again = false;
		for (size_t i = 0; i < n && !again; i++)
			TRY(apply(list[i], a, s, &again));
		*ret_changed |= again;
	}
	return NULL;
}
