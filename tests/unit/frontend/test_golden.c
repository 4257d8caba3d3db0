/* Whole Dockerfiles against what the original frontend made of them: golden/CASE has a Dockerfile,
 * maybe more files and `opts` (key=value lines), and expect.json: the result metadata or the error
 * with its details, the warnings, and the answer to frontend.convertllb. golden/images.json holds
 * the images.
 *
 * With arguments, runs the directories given instead and prints differences (for new cases). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_bridge.h"

#include "base/ctx.h"
#include "base/mem.h"
#include "base/task.h"

#include <dirent.h>
#include <stdio.h>

static struct task_pool *pool;
static json_t *images;

static char *read_text(const char *path)
{
	FILE *f = fopen(path, "rb");
	SCOPED_BUF(b, SIZE_MAX);
	char chunk[4096];
	size_t n;

	if (!f)
		return NULL;
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		buf_add(&b, chunk, n);
	fclose(f);
	return buf_take(&b);
}

static json_t *read_json(const char *path)
{
	json_t *j = json_load_file(path, 0, NULL);

	if (!j)
		fail_msg("%s is not readable", path);
	return j;
}

/* Progress groups have random ids. */
static void hide_ids(char *json)
{
	static const char mark[] = "\"progress_group\"";

	for (char *p = json; (p = strstr(p, mark)); p += sizeof(mark)) {
		char *id = strstr(p, "\"id\": \"");

		if (id)
			memset(id + 7, '-', 25);
	}
}

static bool same(const char *dir, const char *what, const char *want, const char *got)
{
	size_t i = 0;

	if (strcmp(want, got) == 0)
		return true;
	while (want[i] && want[i] == got[i])
		i++;
	i = i > 200 ? i - 200 : 0;
	print_error("%s: %s differs at %zu\n--- want ...%.600s\n--- got  ...%.600s\n", dir, what, i,
		    want + i, got + i);
	return false;
}

struct job {
	const char *dir;
	const json_t *want;
	bool convert;
	bool ok;
};

static size_t read_opts(struct arena *a, const char *dir, bool convert, char **opts)
{
	CLEANUP_FREE char *text = read_text(arena_printf(a, "%s/opts", dir));
	struct str rest = str_from(text), line;
	size_t n = 0;

	while (text && str_next(&rest, '\n', &line))
		if (line.len && !str_has_prefix(line, STR("local:")))
			opts[n++] = str_cstr(a, line);
	if (convert)
		opts[n++] = arena_strdup(a, "requestid=frontend.convertllb");
	return n;
}

static bool same_metadata(const struct job *j, const struct frontend_result *res)
{
	json_t *md = json_object_get(j->want, "metadata"), *v;
	bool ok = true;
	const char *key;
	struct str got;

	json_object_foreach(md, key, v)
	{
		if (!frontend_result_meta(res, str_from(key), &got)) {
			print_error("%s: no metadata %s\n", j->dir, key);
			ok = false;
			continue;
		}
		ok &= same(j->dir, key, json_string_value(v), got.ptr);
	}
	if (json_object_size(md) != res->n_metadata) {
		print_error("%s: %zu metadata keys instead of %zu\n", j->dir, res->n_metadata,
			    json_object_size(md));
		ok = false;
	}
	return ok;
}

static bool same_error(const struct job *j, const struct err *e)
{
	const json_t *details = json_object_get(j->want, "details");
	struct str want = json_get_str(j->want, "error");
	bool ok = same(j->dir, "error", want.len ? want.ptr : "", err_text(e));
	size_t n = 0;

	for (size_t i = 0; i < json_array_size(details); i++) {
		const char *d = json_string_value(json_array_get(details, i));
		const char *space = strchr(d, ' ');
		struct str value = STR("");
		const char *url;
		char *got;

		if (strstr(d, "errdefs.Source+json") == NULL)
			continue;
		url = n < err_detail_count(e) ? err_detail(e, n, &value) : NULL;
		n++;
		if (!url || strncmp(url, d, (size_t)(space - d)) != 0) {
			print_error("%s: detail %s is missing\n", j->dir, d);
			ok = false;
			continue;
		}
		got = mem_strndup(value.ptr, value.len);
		ok &= same(j->dir, "detail", space + 1, got);
		free(got);
	}
	return ok;
}

static bool same_warnings(const struct job *j, const struct fake *f)
{
	const json_t *want = json_object_get(j->want, "warnings");
	bool ok = json_array_size(want) == f->n_warnings;

	for (size_t i = 0; i < json_array_size(want); i++)
		ok &= i < f->n_warnings &&
		      same(j->dir, "warning", json_string_value(json_array_get(want, i)),
			   f->warnings[i]);
	if (!ok) {
		print_error("%s: %zu warnings instead of %zu\n", j->dir, f->n_warnings,
			    json_array_size(want));
		for (size_t i = 0; i < f->n_warnings; i++)
			print_error("   %s\n", f->warnings[i]);
	}
	return ok;
}

static struct err *run_job(struct ctx *ctx, void *arg)
{
	struct job *j = arg;
	SCOPED_FRONTEND_RESULT(res);
	SCOPED_ARENA(a);
	SCOPED_ERR(e);
	char *opts[64];
	size_t n = read_opts(&a, j->dir, j->convert, opts);
	struct str session = json_get_str(j->want, "session"), got = STR("");
	struct fake f;

	fake_init(&f, j->dir, images, session.ptr ? session.ptr : "s", opts, n);
	e = dockerfile_build(ctx, &f.bridge, &res);
	if (!j->convert) {
		j->ok = same_error(j, e) && same_warnings(j, &f);
		if (!e)
			j->ok &= same_metadata(j, &res);
	} else if (e) {
		print_error("%s: convertllb: %s\n", j->dir, err_text(e));
		j->ok = false;
	} else {
		char *want = str_cstr(&a, json_get_str(j->want, "convert")), *have;

		frontend_result_meta(&res, STR("result.json"), &got);
		have = str_cstr(&a, got);
		hide_ids(want);
		hide_ids(have);
		j->ok = same(j->dir, "convertllb", want, have);
	}
	fake_fini(&f);
	return NULL;
}

static bool run_case(const char *dir)
{
	SCOPED_ARENA(a);
	SCOPED_JSON(want);
	struct ctx *ctx = ctx_new_root(pool);
	struct job jobs[2] = { { .dir = dir }, { .dir = dir, .convert = true, .ok = true } };

	want = read_json(arena_printf(&a, "%s/expect.json", dir));
	jobs[0].want = jobs[1].want = want;
	/* As a task, on its small stack. */
	assert_null(task_wait(task_start(ctx, "test", run_job, &jobs[0])));
	if (json_object_get(want, "convert"))
		assert_null(task_wait(task_start(ctx, "test", run_job, &jobs[1])));
	ctx_unref(ctx);
	return jobs[0].ok && jobs[1].ok;
}

static int by_name(const void *x, const void *y)
{
	return strcmp(*(char *const *)x, *(char *const *)y);
}

static void test_all(void **state)
{
	const char *root = GOLDEN_DIR;
	char *names[256];
	size_t n = 0, bad = 0;
	DIR *d = opendir(root);
	struct dirent *e;

	(void)state;
	assert_non_null(d);
	while ((e = readdir(d)) && n < ARRAY_SIZE(names))
		if (e->d_name[0] != '.' && !strchr(e->d_name, '.'))
			names[n++] = mem_printf("%s/%s", root, e->d_name);
	closedir(d);
	qsort(names, n, sizeof(*names), by_name);
	assert_true(n > 0);
	for (size_t i = 0; i < n; i++) {
		bad += !run_case(names[i]);
		free(names[i]);
	}
	assert_int_equal(bad, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_all) };
	int status = 0, bad = 0;

	pool = task_pool_new();
	images = read_json(GOLDEN_DIR "/images.json");
	for (int i = 1; i < argc; i++) {
		bool ok = run_case(argv[i]);

		bad += !ok;
	}
	if (argc > 1)
		printf("%d of %d differ\n", bad, argc - 1);
	else
		status = cmocka_run_group_tests(tests, NULL, NULL);
	json_decref(images);
	task_pool_free(pool);
	return status + (bad > 0);
}
