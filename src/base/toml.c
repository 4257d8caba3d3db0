#include "base/toml.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/toml_lex.h"

/* Of nested arrays and inline tables, and of the parts of a key. */
#define MAX_DEPTH 100

/* How a table came to be decides what may be added to it later. */
enum origin {
	BY_PARENT, /* [a.b] made a: [a] may still follow, once */
	BY_HEADER,
	BY_DOTTED_KEY, /* only dotted keys of the same table add to it */
	INLINE,        /* closed */
	BY_ARRAY,      /* [[a]], the array and its elements */
	VALUE,
};

struct node {
	struct toml pub;
	struct toml **tail; /* where the next child goes */
	enum origin origin;
	struct node *home; /* the table whose body made this dotted one */
};

static struct node *new_node(struct toml_lex *p, enum toml_type type, enum origin origin)
{
	struct node *n = ARENA_NEW(p->arena, struct node);

	n->pub.type = type;
	n->pub.line = p->line;
	n->tail = &n->pub.child;
	n->origin = origin;
	return n;
}

static void append(struct node *parent, struct node *child)
{
	*parent->tail = &child->pub;
	parent->tail = &child->pub.next;
}

static void make_index_key(struct buf *b, const struct node *table, struct str key)
{
	buf_add(b, &table, sizeof(table));
	buf_add_str(b, key);
}

static struct node *find(struct toml_lex *p, const struct node *table, struct str key)
{
	SCOPED_BUF(k, LIMIT_TOML_FILE + sizeof(table));

	make_index_key(&k, table, key);
	return map_get(&p->children, buf_str(&k));
}

static void add_to_table(struct toml_lex *p, struct node *table, struct str key, struct node *child)
{
	SCOPED_BUF(k, LIMIT_TOML_FILE + sizeof(table));

	make_index_key(&k, table, key);
	(void)map_put(&p->children, buf_str(&k), child);
	child->pub.key = key;
	append(table, child);
}

static bool is_bare_key_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '_' || c == '-';
}

static struct err *parse_key_part(struct toml_lex *p, struct str *ret)
{
	size_t n = 0;

	toml_skip_blanks(p);
	if (toml_peek(p) == '"' || toml_peek(p) == '\'') {
		TRY(toml_string(p, false, ret));
	} else {
		while (n < p->s.len && is_bare_key_char(p->s.ptr[n]))
			n++;
		if (!n)
			return toml_bad(p, "key expected");
		*ret = str_dup(p->arena, str_sub(p->s, 0, n));
		toml_skip(p, n);
	}
	toml_skip_blanks(p);
	return NULL;
}

static struct err *duplicate(const struct toml_lex *p, struct str key)
{
	return err_new(ERR_INVALID_ARGUMENT, "line %d: key %.*s is already defined", p->line,
		       STR_ARG(key));
}

static struct err *parse_value(struct toml_lex *p, struct node **ret);

/* key = value, or a.b.c = value, in the body of table. */
static struct err *parse_pair(struct toml_lex *p, struct node *table)
{
	struct node *at = table, *value;
	struct str key;
	int depth = 0;

	TRY(parse_key_part(p, &key));
	while (toml_eat(p, ".")) {
		struct node *next = find(p, at, key);

		if (++depth > MAX_DEPTH)
			return toml_bad(p, "key has too many parts");
		if (!next) {
			next = new_node(p, TOML_TABLE, BY_DOTTED_KEY);
			next->home = table;
			add_to_table(p, at, key, next);
		} else if (next->origin != BY_DOTTED_KEY || next->home != table) {
			return duplicate(p, key);
		}
		at = next;
		TRY(parse_key_part(p, &key));
	}
	if (!toml_eat(p, "="))
		return toml_bad(p, "expected = after a key");
	toml_skip_blanks(p);
	if (find(p, at, key))
		return duplicate(p, key);
	TRY(parse_value(p, &value));
	add_to_table(p, at, key, value);
	return NULL;
}

static struct err *parse_array(struct toml_lex *p, struct node **ret)
{
	struct node *array = new_node(p, TOML_ARRAY, VALUE);

	toml_skip(p, 1);
	for (bool first = true;; first = false) {
		struct node *item;

		TRY(toml_skip_space(p));
		if (toml_eat(p, "]"))
			break;
		if (!first) {
			if (!toml_eat(p, ","))
				return toml_bad(p, "expected , or ] in an array");
			TRY(toml_skip_space(p));
			if (toml_eat(p, "]"))
				break;
		}
		TRY(parse_value(p, &item));
		append(array, item);
	}
	*ret = array;
	return NULL;
}

static struct err *parse_inline_table(struct toml_lex *p, struct node **ret)
{
	struct node *table = new_node(p, TOML_TABLE, INLINE);

	toml_skip(p, 1);
	toml_skip_blanks(p);
	while (!toml_eat(p, "}")) {
		if (table->pub.child && !toml_eat(p, ","))
			return toml_bad(p, "expected , or } in an inline table");
		TRY(parse_pair(p, table));
		toml_skip_blanks(p);
	}
	*ret = table;
	return NULL;
}

static struct err *parse_value(struct toml_lex *p, struct node **ret)
{
	struct err *e = NULL;

	switch (toml_peek(p)) {
	case '[':
	case '{':
		if (p->depth >= MAX_DEPTH)
			return toml_bad(p, "nested too deeply");
		p->depth++;
		e = toml_peek(p) == '[' ? parse_array(p, ret) : parse_inline_table(p, ret);
		p->depth--;
		return e;
	case '"':
	case '\'':
		*ret = new_node(p, TOML_STRING, VALUE);
		return toml_string(p, true, &(*ret)->pub.string);
	default:
		*ret = new_node(p, TOML_STRING, VALUE);
		return toml_bare(p, &(*ret)->pub);
	}
}

/* The table a header's inner part names: an array stands for its last element. */
static struct err *descend(struct toml_lex *p, struct node **at, struct str key)
{
	struct node *next = find(p, *at, key);

	if (!next) {
		next = new_node(p, TOML_TABLE, BY_PARENT);
		add_to_table(p, *at, key, next);
	} else if (next->origin == BY_ARRAY) {
		next = container_of(container_of(next->tail, struct toml, next), struct node, pub);
	} else if (next->pub.type != TOML_TABLE || next->origin == INLINE) {
		return duplicate(p, key);
	}
	*at = next;
	return NULL;
}

static struct err *open_table(struct toml_lex *p, struct node *parent, struct str key,
			      struct node **ret)
{
	struct node *table = find(p, parent, key);

	if (!table) {
		table = new_node(p, TOML_TABLE, BY_HEADER);
		add_to_table(p, parent, key, table);
	} else if (table->origin == BY_PARENT) {
		table->origin = BY_HEADER;
		table->pub.line = p->line;
	} else {
		return duplicate(p, key);
	}
	*ret = table;
	return NULL;
}

static struct err *open_array_element(struct toml_lex *p, struct node *parent, struct str key,
				      struct node **ret)
{
	struct node *array = find(p, parent, key);

	if (!array) {
		array = new_node(p, TOML_ARRAY, BY_ARRAY);
		add_to_table(p, parent, key, array);
	} else if (array->origin != BY_ARRAY) {
		return duplicate(p, key);
	}
	*ret = new_node(p, TOML_TABLE, BY_HEADER);
	append(array, *ret);
	return NULL;
}

static struct err *parse_header(struct toml_lex *p, struct node *root, struct node **ret)
{
	bool array = toml_eat(p, "[[");
	struct node *at = root;
	struct str key;
	int depth = 0;

	if (!array)
		toml_skip(p, 1);
	TRY(parse_key_part(p, &key));
	while (toml_eat(p, ".")) {
		if (++depth > MAX_DEPTH)
			return toml_bad(p, "key has too many parts");
		TRY(descend(p, &at, key));
		TRY(parse_key_part(p, &key));
	}
	if (!toml_eat(p, array ? "]]" : "]"))
		return toml_bad(p, "table header does not end");
	if (array)
		TRY(open_array_element(p, at, key, ret));
	else
		TRY(open_table(p, at, key, ret));
	return toml_end_of_line(p);
}

static struct err *parse_file(struct toml_lex *p, struct toml **ret_root)
{
	struct node *root = new_node(p, TOML_TABLE, BY_HEADER), *table = root;

	for (;;) {
		TRY(toml_skip_space(p));
		if (!p->s.len)
			break;
		if (toml_peek(p) == '[') {
			TRY(parse_header(p, root, &table));
			continue;
		}
		TRY(parse_pair(p, table));
		TRY(toml_end_of_line(p));
	}
	*ret_root = &root->pub;
	return NULL;
}

struct err *toml_parse(struct arena *a, struct str text, struct toml **ret_root)
{
	struct toml_lex p = { .arena = a, .s = text, .line = 1 };
	struct err *e;

	if (text.len > LIMIT_TOML_FILE)
		return err_new(ERR_INVALID_ARGUMENT, "file is larger than %zu bytes",
			       LIMIT_TOML_FILE);
	if (!str_is_utf8(text))
		return err_new(ERR_INVALID_ARGUMENT, "file is not UTF-8");
	(void)toml_eat(&p, "\xef\xbb\xbf");
	e = parse_file(&p, ret_root);
	map_fini(&p.children, NULL);
	return e;
}

struct toml *toml_get(const struct toml *table, const char *key)
{
	struct str k = str_from(key);

	if (!table || table->type != TOML_TABLE)
		return NULL;
	for (struct toml *t = table->child; t; t = t->next)
		if (str_eq(t->key, k))
			return t;
	for (struct toml *t = table->child; t; t = t->next)
		if (str_eq_nocase(t->key, k))
			return t;
	return NULL;
}

struct toml *toml_path(const struct toml *table, const char *path)
{
	struct str rest = str_from(path), part;
	const struct toml *t = table;

	while (str_next(&rest, '.', &part)) {
		SCOPED_ARENA(a);

		t = toml_get(t, str_cstr(&a, part));
	}
	return (struct toml *)t;
}
