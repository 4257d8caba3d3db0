#include "archive.h"

struct layers {
	struct archive a[8];
	size_t opened;
	int fail_at; /* 0: never */
};

static struct err *open_layer(void *arg, struct ctx *ctx, size_t i, struct reader **ret)
{
	struct layers *l = arg;

	if (l->fail_at && i + 1 == (size_t)l->fail_at)
		return err_new(ERR_UNKNOWN, "no such blob");
	*ret = reader_of_str(buf_str(&l->a[i].b));
	return NULL;
}

static void build(struct layers *l)
{
	struct tar_header d = { .type = '5',
				.name = STR("d/"),
				.mode = 0750,
				.uid = 7,
				.gid = 8,
				.mtime_ns = 77000000000 };

	for (int i = 0; i < 4; i++)
		archive_begin(&l->a[i]);
	put_header(&l->a[0], &d, NULL);
	put_entry(&l->a[0], '0', "d/one", "1", 0644);
	put_entry(&l->a[0], '0', "d/gone", "1", 0644);
	put_entry(&l->a[0], '0', ".wh.nothing", "", 0);
	put_entry(&l->a[0], '0', "o/old", "1", 0644);
	/* Its directory is in no entry here. */
	put_entry(&l->a[1], '0', "d/two", "2", 0644);
	put_entry(&l->a[1], '0', "d/.wh.gone", "", 0);
	put_entry(&l->a[1], '1', "linked", "d/one", 0644);
	put_entry(&l->a[1], '0', "o/.wh..wh..opq", "", 0);
	put_entry(&l->a[1], '0', "o/new", "2", 0644);
	put_entry(&l->a[2], '0', "d/three", "3", 0644);
	put_entry(&l->a[2], '0', "d/one", "3", 0644);
	put_entry(&l->a[2], '0', ".wh.linked", "", 0);
	put_entry(&l->a[3], '2', "linked", "d/three", 0644);
	for (int i = 0; i < 4; i++)
		(void)archive_end(&l->a[i]);
}

static void fini(struct layers *l)
{
	for (int i = 0; i < 4; i++)
		buf_fini(&l->a[i].b);
}

static const struct str names[] = { STR("l0"), STR("l1"), STR("l2"), STR("l3") };

static void whole_chain(void **state)
{
	struct shot *t = *state;
	struct layers l = { 0 };

	build(&l);
	assert_ok(snapshot_unpack_chain(t->s, t->ctx, STR(""), names, 4, open_layer, &l));
	in_snapshot(t, "l0", "test \"$(ls)\" = \"d\no\"; test \"$(ls d)\" = \"gone\none\"");
	in_snapshot(t, "l1",
		    "test $(cat linked) = 1; test ! -e d/gone; test \"$(ls o)\" = new;"
		    "test \"$(stat -c '%a %u %g' d)\" = '750 7 8'");
	in_snapshot(
		t, "l3",
		"test \"$(ls d)\" = \"one\nthree\ntwo\"; test $(cat d/one) = 3;"
		"test $(readlink linked) = d/three; test \"$(stat -c '%a %u %g' d)\" = '750 7 8'");
	make(t, "on", "l3", "rm -r d; echo > x");
	fini(&l);
}

static void on_a_parent(void **state)
{
	struct shot *t = *state;
	struct layers l = { 0 };

	build(&l);
	make(t, "base", "", "chmod 711 .; mkdir d; echo b > d/base; chmod 700 d; echo > nothing");
	assert_ok(snapshot_unpack_chain(t->s, t->ctx, STR("base"), names, 2, open_layer, &l));
	in_snapshot(t, "l1",
		    "test $(cat d/base) = b; test $(cat d/two) = 2; test ! -e nothing;"
		    "test $(stat -c %a d) = 750; test $(stat -c %a .) = 711");
	fini(&l);
}

static void a_failure_keeps_what_is_below(void **state)
{
	struct shot *t = *state;
	struct layers l = { .fail_at = 3 };
	struct snapshot_info i;
	SCOPED_ARENA(a);

	build(&l);
	assert_err(snapshot_unpack_chain(t->s, t->ctx, STR(""), names, 4, open_layer, &l),
		   "no such blob");
	assert_err(snapshot_stat(t->s, &a, STR("l2"), &i), "does not exist");
	assert_err(snapshot_stat(t->s, &a, STR("l3"), &i), "does not exist");
	/* The lower ones may have been done by then. */
	struct err *e = snapshot_stat(t->s, &a, STR("l0"), &i);

	if (!e)
		in_snapshot(t, "l0", "test $(cat d/one) = 1");
	err_free(e);
	fini(&l);
}

static void bad_archives(void **state)
{
	struct shot *t = *state;
	struct layers l = { 0 };

	build(&l);
	l.a[1].b.len = 300;
	assert_err(snapshot_unpack_chain(t->s, t->ctx, STR(""), names, 4, open_layer, &l), "");
	l.a[1].b.len = 0;
	fini(&l);
	assert_err(snapshot_unpack_chain(t->s, t->ctx, STR("none"), names, 1, open_layer, &l),
		   "none does not exist");
}

static void cancelled(void **state)
{
	struct shot *t = *state;
	struct layers l = { 0 };
	struct ctx *c = ctx_new(t->ctx);

	build(&l);
	ctx_cancel(c, NULL);
	assert_err(snapshot_unpack_chain(t->s, c, STR(""), names, 4, open_layer, &l),
		   "context canceled");
	ctx_unref(c);
	fini(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SHOT_TEST(whole_chain),
		SHOT_TEST(on_a_parent),
		SHOT_TEST(a_failure_keeps_what_is_below),
		SHOT_TEST(bad_archives),
		SHOT_TEST(cancelled),
	};
	int r;

	if (!may_mount())
		return 77;
	r = cmocka_run_group_tests_name("overlay", tests, NULL, NULL);
	shot_native = true;
	return r | cmocka_run_group_tests_name("native", tests, NULL, NULL);
}
