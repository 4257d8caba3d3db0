#include "cli/usage.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

void usage_row(struct buf *rows, const Moby__Buildkit__V1__UsageRecord *r)
{
	SCOPED_ARENA(a);
	char *id;

	if (!r) {
		buf_add_cstr(rows, "ID\tRECLAIMABLE\tSIZE\tLAST ACCESSED\n");
		return;
	}
	id = arena_printf(&a, "%s%s", r->id, r->mutable_ ? "*" : "");
	buf_addf(rows, "%-71s\t%-11s\t%s%s\t\n", id, r->inuse ? "false" : "true",
		 cli_size(&a, r->size), r->shared ? "*" : "");
}

/* As Go prints a time.Time in UTC. */
static char *go_time(struct arena *a, const Google__Protobuf__Timestamp *t)
{
	struct str s = str_from(clock_rfc3339(a, proto_time_ns(t)));
	struct str day, clock;

	(void)str_cut(str_trim_suffix(s, STR("Z")), 'T', &day, &clock);
	return arena_printf(a, "%.*s %.*s +0000 UTC", STR_ARG(day), STR_ARG(clock));
}

void usage_block(const Moby__Buildkit__V1__UsageRecord *r, FILE *out)
{
	SCOPED_BUF(b, MIB);
	SCOPED_ARENA(a);

	buf_addf(&b, "ID:\t%s\n", r->id);
	if (r->n_parents) {
		buf_add_cstr(&b, "Parents:\t");
		for (size_t i = 0; i < r->n_parents; i++)
			buf_addf(&b, "%s%s", i ? ";" : "", r->parents[i]);
		buf_add_char(&b, '\n');
	}
	if (r->createdat)
		buf_addf(&b, "Created at:\t%s\n", go_time(&a, r->createdat));
	buf_addf(&b, "Mutable:\t%s\n", r->mutable_ ? "true" : "false");
	buf_addf(&b, "Reclaimable:\t%s\n", r->inuse ? "false" : "true");
	buf_addf(&b, "Shared:\t%s\n", r->shared ? "true" : "false");
	buf_addf(&b, "Size:\t%s\n", cli_size(&a, r->size));
	if (*r->description)
		buf_addf(&b, "Description:\t%s\n", r->description);
	buf_addf(&b, "Usage count:\t%lld\n", (long long)r->usagecount);
	if (r->lastusedat)
		buf_addf(&b, "Last used:\t%s\n", go_time(&a, r->lastusedat));
	if (*r->recordtype)
		buf_addf(&b, "Type:\t%s\n", r->recordtype);
	cli_columns(&b, out);
	fputc('\n', out);
}

static void put_time(struct json_out *j, struct str key, const Google__Protobuf__Timestamp *t)
{
	SCOPED_ARENA(a);

	json_key(j, key);
	if (t)
		json_str(j, str_from(clock_rfc3339(&a, proto_time_ns(t))));
	else
		json_nil(j);
}

void usage_json(struct json_out *j, const Moby__Buildkit__V1__UsageRecord *r)
{
	json_obj_begin(j);
	json_kstr(j, "id", str_from(r->id));
	json_kbool(j, "mutable", r->mutable_);
	json_kbool(j, "inUse", r->inuse);
	json_kint(j, "size", r->size);
	put_time(j, STR("createdAt"), r->createdat);
	put_time(j, STR("lastUsedAt"), r->lastusedat);
	json_kint(j, "usageCount", r->usagecount);
	json_key(j, STR("parents"));
	if (r->n_parents) {
		json_arr_begin(j);
		for (size_t i = 0; i < r->n_parents; i++)
			json_str(j, str_from(r->parents[i]));
		json_arr_end(j);
	} else {
		json_nil(j);
	}
	json_kstr(j, "description", str_from(r->description));
	json_kstr(j, "recordType", str_from(r->recordtype));
	json_kbool(j, "shared", r->shared);
	json_obj_end(j);
}
