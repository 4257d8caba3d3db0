#include "base/err.h"

#include "base/mem.h"

#include <errno.h>
#include <stdio.h>

struct err_detail_item {
	char *type_url;
	char *value;
	size_t len;
};

struct err {
	enum err_code code;
	int errnum;
	char *text;
	struct err_detail_item *details;
	size_t n_details;
};

struct err *err_newv(enum err_code code, const char *fmt, va_list ap)
{
	struct err *e = NEW(struct err);

	e->code = code;
	if (vasprintf(&e->text, fmt, ap) < 0)
		abort();
	return e;
}

struct err *err_new(enum err_code code, const char *fmt, ...)
{
	struct err *e;
	va_list ap;

	va_start(ap, fmt);
	e = err_newv(code, fmt, ap);
	va_end(ap);
	return e;
}

static enum err_code code_of_errno(int errnum)
{
	switch (errnum) {
	case ENOENT:
		return ERR_NOT_FOUND;
	case EEXIST:
		return ERR_ALREADY_EXISTS;
	case ENOSPC:
	case ENOMEM:
	case EDQUOT:
		return ERR_RESOURCE_EXHAUSTED;
	case EIO:
	case EFAULT:
	case ENOTRECOVERABLE:
	case EHWPOISON:
		return ERR_INTERNAL;
	case ECANCELED:
		return ERR_CANCELED;
	default:
		return ERR_UNKNOWN;
	}
}

struct err *err_errno(int errnum, const char *fmt, ...)
{
	struct err *e;
	char tmp[128], *full;
	const char *s;
	va_list ap;

	va_start(ap, fmt);
	e = err_newv(code_of_errno(errnum), fmt, ap);
	va_end(ap);
	e->errnum = errnum;
	s = strerror_r(errnum, tmp, sizeof(tmp));
	full = mem_printf("%s: %s", e->text, s);
	/* Clients look for Go's wording, which starts in lower case unless the
	 * first word is an acronym ("RFS specific error"). */
	size_t at = strlen(e->text) + 2;
	if (full[at] >= 'A' && full[at] <= 'Z' && !(full[at + 1] >= 'A' && full[at + 1] <= 'Z'))
		full[at] = (char)(full[at] - 'A' + 'a');
	free(e->text);
	e->text = full;
	return e;
}

struct err *err_wrap(struct err *e, const char *fmt, ...)
{
	char *prefix, *full;
	va_list ap;

	if (!e)
		return NULL;
	va_start(ap, fmt);
	if (vasprintf(&prefix, fmt, ap) < 0)
		abort();
	va_end(ap);
	full = mem_printf("%s: %s", prefix, e->text);
	free(prefix);
	free(e->text);
	e->text = full;
	return e;
}

struct err *err_dup(const struct err *e)
{
	struct err *d;

	if (!e)
		return NULL;
	d = NEW(struct err);
	d->code = e->code;
	d->errnum = e->errnum;
	d->text = mem_strdup(e->text);
	for (size_t i = 0; i < e->n_details; i++)
		err_add_detail(d, e->details[i].type_url,
			       str_make(e->details[i].value, e->details[i].len));
	return d;
}

void err_free(struct err *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->n_details; i++) {
		free(e->details[i].type_url);
		free(e->details[i].value);
	}
	free(e->details);
	free(e->text);
	free(e);
}

void err_freep(struct err **e)
{
	err_free(*e);
	*e = NULL;
}

enum err_code err_code(const struct err *e)
{
	return e ? e->code : ERR_OK;
}

void err_set_code(struct err *e, enum err_code code)
{
	e->code = code;
}

int err_get_errno(const struct err *e)
{
	return e ? e->errnum : 0;
}

const char *err_text(const struct err *e)
{
	return e ? e->text : "";
}

bool err_is(const struct err *e, enum err_code code)
{
	return e && e->code == code;
}

const char *err_code_name(enum err_code code)
{
	switch (code) {
#define ERR_CODE(name, num, text)                                                                  \
	case ERR_##name:                                                                           \
		return text;
#include "base/err_codes.def"
#undef ERR_CODE
	}
	return "Unknown";
}

void err_add_detail(struct err *e, const char *type_url, struct str value)
{
	e->details = mem_realloc(e->details, e->n_details + 1, sizeof(*e->details));
	e->details[e->n_details++] = (struct err_detail_item) {
		.type_url = mem_strdup(type_url),
		.value = mem_dup(value.ptr, value.len),
		.len = value.len,
	};
}

size_t err_detail_count(const struct err *e)
{
	return e ? e->n_details : 0;
}

const char *err_detail(const struct err *e, size_t i, struct str *ret_value)
{
	*ret_value = str_make(e->details[i].value, e->details[i].len);
	return e->details[i].type_url;
}

bool err_has_detail(const struct err *e, const char *type_url)
{
	for (size_t i = 0; e && i < e->n_details; i++)
		if (strcmp(e->details[i].type_url, type_url) == 0)
			return true;
	return false;
}

struct err *err_first(struct err *a, struct err *b)
{
	if (!a)
		return b;
	err_free(b);
	return a;
}
