#include "cli/metadata.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>

typedef Moby__Buildkit__V1__SolveResponse__ExporterResponseEntry entry;

static int by_key(const void *a, const void *b)
{
	return strcmp((*(entry *const *)a)->key, (*(entry *const *)b)->key);
}

/* A value that is base64 of a JSON object is shown as that object. */
static void put_value(struct json_out *j, const char *value)
{
	SCOPED_ARENA(a);
	SCOPED_JSON(v);
	struct str raw;
	struct err *e = base64_decode(&a, str_from(value), &raw);

	if (!e && raw.len && raw.ptr[0] == '{')
		e = json_read(raw, "value", &v);
	err_free(e);
	if (v && json_is_object(v))
		json_value(j, v);
	else
		json_str(j, str_from(value));
}

struct err *cli_write_metadata(struct arena *a, const char *path,
			       const Moby__Buildkit__V1__SolveResponse *r)
{
	SCOPED_BUF(out, LIMIT_GRPC_MESSAGE * 2);
	char *tmp = arena_printf(a, "%s.tmp%d", path, (int)getpid());
	CLEANUP_FD int fd = -1;
	struct json_out j;

	json_out_init(&j, &out, "  ");
	json_obj_begin(&j);
	if (r->n_exporterresponse)
		qsort(r->exporterresponse, r->n_exporterresponse, sizeof(*r->exporterresponse),
		      by_key);
	for (size_t i = 0; i < r->n_exporterresponse; i++) {
		json_key(&j, str_from(r->exporterresponse[i]->key));
		put_value(&j, r->exporterresponse[i]->value);
	}
	json_obj_end(&j);
	TRY(buf_check(&out, "metadata"));
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return err_errno(errno, "open %s", tmp);
	if (write(fd, out.data, out.len) != (ssize_t)out.len || rename(tmp, path) < 0) {
		struct err *e = err_errno(errno, "write %s", path);

		(void)unlink(tmp);
		return e;
	}
	return NULL;
}
