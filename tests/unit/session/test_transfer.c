#include "world.h"

#include "session/recv_state.h"
#include "sys/walk.h"

#include <sys/sysmacros.h>
#include <sys/xattr.h>

static int setup(void **state)
{
	struct world *w = NEW(struct world);

	world_open(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	world_close(*state);
	free(*state);
	return 0;
}

/* A context directory and where it arrives. */
struct transfer {
	struct world *w;
	int dest;
	struct buf previous;
	struct filesync_opts o;
	struct contenthash_known *known;
	size_t n_known;
	struct arena a;
	uint64_t bytes;
	bool done;
};

static void on_progress(void *arg, uint64_t bytes, bool done)
{
	struct transfer *t = arg;

	t->bytes = bytes;
	t->done = done;
}

static void transfer_open(struct transfer *t, struct world *w)
{
	*t = (struct transfer) { .w = w };
	t->dest = open_dir(w, "dest");
	buf_init(&t->previous, 64 * MIB);
	t->o.dir_name = STR("context");
	ok(file_mkdirs(w->dirfd, "src", 0755));
	ok(attach_add_local(w->attach, "context", in(w, "src")));
	world_start(w);
}

static struct err *transfer_try(struct transfer *t)
{
	struct filesync_sink sink = { on_progress, t };
	SCOPED_BUF(state, 64 * MIB);
	struct err *e;

	arena_fini(&t->a);
	e = filesync_receive(t->w->session, t->w->root, &t->o, t->dest, buf_str(&t->previous),
			     &state, &t->a, &t->known, &t->n_known, &sink);
	if (!e) {
		buf_clear(&t->previous);
		buf_add_str(&t->previous, buf_str(&state));
		assert_true(t->done);
	}
	return e;
}

static void transfer_run(struct transfer *t)
{
	ok(transfer_try(t));
}

static void transfer_close(struct transfer *t)
{
	(void)close(t->dest);
	buf_fini(&t->previous);
	arena_fini(&t->a);
}

/* What the tree looks like, as text: type, mode, owner, size, time, target, content. */
static char *describe(struct world *w, const char *dir, bool owner, struct arena *a)
{
	CLEANUP(walk_closep) struct walk *walk = NULL;
	const struct walk_entry *e;
	SCOPED_BUF(b, 16 * MIB);
	int fd = open_dir(w, dir);

	ok(walk_open(fd, 0, &walk));
	for (;;) {
		char link[200] = "";

		ok(walk_next(walk, &e));
		if (!e)
			break;
		buf_addf(&b, "%.*s %o", STR_ARG(e->path), e->st.st_mode);
		if (owner)
			buf_addf(&b, " %u:%u", e->st.st_uid, e->st.st_gid);
		if (!S_ISDIR(e->st.st_mode))
			buf_addf(&b, " %lld", (long long)e->st.st_size);
		buf_addf(&b, " %lld n%u", (long long)file_mtime_ns(&e->st),
			 S_ISDIR(e->st.st_mode) ? 0 : (unsigned)e->st.st_nlink);
		if (S_ISLNK(e->st.st_mode) &&
		    readlinkat(e->dirfd, e->name, link, sizeof(link) - 1) > 0)
			buf_addf(&b, " -> %s", link);
		if (S_ISREG(e->st.st_mode)) {
			SCOPED_ARENA(mem);
			struct str s;
			struct digest d;

			ok(file_read_str(e->dirfd, e->name, &mem, 64 * MIB, &s));
			d = digest_sha256(s);
			buf_addf(&b, " %.12s", digest_hex(&d, &mem));
		}
		buf_add_char(&b, '\n');
	}
	(void)close(fd);
	return str_cstr(a, buf_str(&b));
}

static void same_trees(struct world *w)
{
	SCOPED_ARENA(a);

	assert_string_equal(describe(w, "dest", false, &a), describe(w, "src", false, &a));
}

static void set_time(struct world *w, const char *name, int64_t s)
{
	struct timespec t[2] = { { .tv_sec = s, .tv_nsec = 123456789 },
				 { .tv_sec = s, .tv_nsec = 123456789 } };

	assert_int_equal(utimensat(w->dirfd, name, t, AT_SYMLINK_NOFOLLOW), 0);
}

static void fill(struct world *w)
{
	SCOPED_BUF(big, 4 * MIB);

	put_file(w, "src/a", "first");
	put_file(w, "src/empty", "");
	put_file(w, "src/dir/one", "1");
	put_file(w, "src/dir/two", "22");
	put_file(w, "src/dir/sub/deep/three", "333");
	put_file(w, "src/dir.txt", "sorts after dir/");
	put_file(w, "src/weird \xc3\xa4\n*name", "x");
	(void)buf_reserve(&big, 3 * MIB);
	for (size_t i = 0; i < 3 * MIB; i++)
		big.data[i] = (char)(i * 31 ^ i >> 9);
	big.len = 3 * MIB;
	ok(file_write(w->dirfd, "src/big", buf_str(&big), 0600));
	ok(file_mkdirs(w->dirfd, "src/nothing/in", 0755));
	assert_int_equal(symlinkat("dir/one", w->dirfd, "src/link"), 0);
	assert_int_equal(symlinkat("/etc/passwd", w->dirfd, "src/abs"), 0);
	assert_int_equal(linkat(w->dirfd, "src/a", w->dirfd, "src/hard", 0), 0);
	assert_int_equal(linkat(w->dirfd, "src/a", w->dirfd, "src/dir/hard2", 0), 0);
	assert_int_equal(mkfifoat(w->dirfd, "src/fifo", 0640), 0);
	assert_int_equal(fchmodat(w->dirfd, "src/a", 04711, 0), 0);
	assert_int_equal(fchmodat(w->dirfd, "src/dir/one", 0444, 0), 0);
	assert_int_equal(fchmodat(w->dirfd, "src/dir/sub", 01777, 0), 0);
	set_time(w, "src/a", 1000000000);
	set_time(w, "src/dir/two", -5);
	set_time(w, "src/link", 1234567);
	set_time(w, "src/dir/sub", 987654321);
	set_time(w, "src/dir", 86400);
}

static void test_cold_and_warm(void **state)
{
	struct transfer t;
	struct world *w = *state;

	transfer_open(&t, w);
	fill(w);
	transfer_run(&t);
	same_trees(w);
	assert_true(t.bytes > 3 * MIB);
	for (size_t i = 0; i < t.n_known; i++)
		assert_true(digest_is_set(&t.known[i].digest));
	/* Nothing has changed: only the list travels. */
	transfer_run(&t);
	same_trees(w);
	assert_true(t.bytes < 3000);
	transfer_close(&t);
}

static void test_changes(void **state)
{
	struct transfer t;
	struct world *w = *state;
	SCOPED_ARENA(a);
	struct stat before, after;

	transfer_open(&t, w);
	fill(w);
	transfer_run(&t);
	assert_int_equal(fstatat(w->dirfd, "dest/dir/two", &before, 0), 0);
	put_file(w, "src/dir/one2", "new");
	put_file(w, "src/dir/sub/deep/three", "changed");
	assert_int_equal(unlinkat(w->dirfd, "src/dir.txt", 0), 0);
	ok(rmtree(w->dirfd, "src/nothing"));
	/* A file becomes a directory, a directory a file, a link a file, a file a link. */
	assert_int_equal(unlinkat(w->dirfd, "src/empty", 0), 0);
	put_file(w, "src/empty/in/it", "e");
	put_file(w, "src/nothing", "now a file");
	assert_int_equal(unlinkat(w->dirfd, "src/link", 0), 0);
	put_file(w, "src/link", "file");
	assert_int_equal(unlinkat(w->dirfd, "src/big", 0), 0);
	assert_int_equal(symlinkat("a", w->dirfd, "src/big"), 0);
	/* The source of hard links changes with them. */
	put_file(w, "src/a", "a new first");
	/* Only the mode. */
	assert_int_equal(fchmodat(w->dirfd, "src/dir/one", 0755, 0), 0);
	set_time(w, "src/dir", 99);
	transfer_run(&t);
	same_trees(w);
	/* What is the same was not touched. */
	assert_int_equal(fstatat(w->dirfd, "dest/dir/two", &after, 0), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(before.st_ctim.tv_nsec, after.st_ctim.tv_nsec);
	/* And back to nothing. */
	ok(rmtree(w->dirfd, "src/dir"));
	ok(rmtree(w->dirfd, "src/a"));
	transfer_run(&t);
	same_trees(w);
	transfer_close(&t);
}

static void test_lost_state(void **state)
{
	struct transfer t;
	struct world *w = *state;

	transfer_open(&t, w);
	fill(w);
	transfer_run(&t);
	put_file(w, "dest/left/over", "x");
	t.previous.data[20] ^= 1;
	transfer_run(&t);
	same_trees(w);
	transfer_close(&t);
}

static void test_digests(void **state)
{
	struct transfer t, u;
	struct world *w = *state;

	/* The digests of a warm transfer are those of a cold one. */
	transfer_open(&t, w);
	fill(w);
	transfer_run(&t);
	put_file(w, "src/dir/two", "other");
	transfer_run(&t);
	u = (struct transfer) { .w = w, .o = t.o };
	u.dest = open_dir(w, "dest2");
	buf_init(&u.previous, 64 * MIB);
	transfer_run(&u);
	assert_int_equal(t.n_known, u.n_known);
	for (size_t i = 0; i < t.n_known; i++) {
		assert_true(str_eq(t.known[i].path, u.known[i].path));
		assert_true(digest_eq(&t.known[i].digest, &u.known[i].digest));
		assert_int_equal(t.known[i].mode, u.known[i].mode);
	}
	transfer_close(&t);
	transfer_close(&u);
}

static void test_xattrs(void **state)
{
	struct transfer t;
	struct world *w = *state;
	char v[16] = "";

	transfer_open(&t, w);
	put_file(w, "src/f", "x");
	if (setxattr(in(w, "src/f"), "user.test", "value", 5, 0) < 0)
		skip();
	transfer_run(&t);
	assert_int_equal(getxattr(in(w, "dest/f"), "user.test", v, sizeof(v)), 5);
	assert_string_equal(v, "value");
	/* A change of an attribute alone is seen. */
	assert_int_equal(setxattr(in(w, "src/f"), "user.test", "other", 5, 0), 0);
	transfer_run(&t);
	assert_int_equal(getxattr(in(w, "dest/f"), "user.test", v, sizeof(v)), 5);
	assert_string_equal(v, "other");
	transfer_close(&t);
}

static char *names(struct world *w, struct arena *a)
{
	CLEANUP(walk_closep) struct walk *walk = NULL;
	const struct walk_entry *e;
	SCOPED_BUF(b, 1 * MIB);
	int fd = open_dir(w, "dest");

	ok(walk_open(fd, 0, &walk));
	for (;;) {
		ok(walk_next(walk, &e));
		if (!e)
			break;
		buf_addf(&b, "%s%.*s", b.len ? " " : "", STR_ARG(e->path));
	}
	(void)close(fd);
	return str_cstr(a, buf_str(&b));
}

static void test_filters(void **state)
{
	static const struct str include[] = { { "dir/sub", 7 }, { "*.txt", 5 } };
	static const struct str exclude[] = { { "dir", 3 }, { "!dir/sub/deep", 13 }, { "a", 1 } };
	static const struct str follow[] = { { "link", 4 } };
	struct transfer t;
	struct world *w = *state;
	SCOPED_ARENA(a);

	transfer_open(&t, w);
	fill(w);
	t.o.include = include;
	t.o.n_include = 2;
	t.o.has_include = true;
	transfer_run(&t);
	assert_string_equal(names(w, &a), "dir dir/sub dir/sub/deep dir/sub/deep/three dir.txt");
	t.o.n_include = 0;
	t.o.exclude = exclude;
	t.o.n_exclude = 3;
	transfer_run(&t);
	assert_string_equal(names(w, &a),
			    "abs big dir dir/sub dir/sub/deep dir/sub/deep/three dir.txt empty "
			    "fifo hard link nothing nothing/in weird \xc3\xa4\n*name");
	t.o.n_exclude = 0;
	t.o.follow = follow;
	t.o.n_follow = 1;
	transfer_run(&t);
	assert_string_equal(names(w, &a), "dir dir/one link");
	transfer_close(&t);
}

static void test_follow_wildcard(void **state)
{
	static const struct str follow[] = { { "l*/x", 4 }, { "sub/../m?", 9 } };
	static const struct str all[] = { { "up", 2 } };
	struct transfer t;
	struct world *w = *state;
	SCOPED_ARENA(a);

	transfer_open(&t, w);
	put_file(w, "src/real/x", "1");
	put_file(w, "src/real/y", "1");
	put_file(w, "src/m1", "1");
	put_file(w, "src/m22", "1");
	assert_int_equal(symlinkat("real", w->dirfd, "src/l1"), 0);
	assert_int_equal(symlinkat("../../../l1", w->dirfd, "src/l2"), 0);
	assert_int_equal(symlinkat(".", w->dirfd, "src/up"), 0);
	assert_int_equal(symlinkat("loop2", w->dirfd, "src/loop1"), 0);
	assert_int_equal(symlinkat("loop1", w->dirfd, "src/loop2"), 0);
	t.o.follow = follow;
	t.o.n_follow = 2;
	transfer_run(&t);
	assert_string_equal(names(w, &a), "l1 l2 loop1 loop2 m1 real real/x");
	t.o.follow = all;
	t.o.n_follow = 1;
	transfer_run(&t);
	assert_string_equal(names(w, &a), "l1 l2 loop1 loop2 m1 m22 real real/x real/y up");
	transfer_close(&t);
}

static void test_metadata_only(void **state)
{
	static const struct str except[] = { { "dir/sub", 7 }, { "empty", 5 } };
	struct transfer t;
	struct world *w = *state;
	SCOPED_ARENA(a);
	struct stat st;

	transfer_open(&t, w);
	fill(w);
	put_file(w, "src/.fsutil-metadata", "not this");
	t.o.metadata_only = true;
	transfer_run(&t);
	assert_string_equal(names(w, &a), ".fsutil-metadata");
	t.o.metadata_except = except;
	t.o.n_metadata_except = 2;
	for (int i = 0; i < 2; i++) {
		transfer_run(&t);
		assert_string_equal(names(w, &a), ".fsutil-metadata dir dir/sub dir/sub/deep "
						  "dir/sub/deep/three empty");
		assert_string_equal(get_file(w, "dest/dir/sub/deep/three", &a), "333");
		assert_int_equal(t.n_known, 6);
	}
	assert_int_equal(fstatat(w->dirfd, "dest/.fsutil-metadata", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0644);
	assert_true(st.st_size > 200);
	ok(rmtree(w->dirfd, "src/dir"));
	transfer_run(&t);
	assert_string_equal(names(w, &a), ".fsutil-metadata empty");
	transfer_close(&t);
}

static void test_many(void **state)
{
	struct transfer t;
	struct world *w = *state;
	char name[64];

	transfer_open(&t, w);
	for (int i = 0; i < 3000; i++) {
		(void)snprintf(name, sizeof(name), "src/d%d/e%d/f%d", i % 7, i % 31, i);
		put_file(w, name, name);
	}
	transfer_run(&t);
	same_trees(w);
	t.o.differ_none = true;
	transfer_run(&t);
	same_trees(w);
	transfer_close(&t);
}

static void test_no_such_dir(void **state)
{
	struct transfer t;
	struct world *w = *state;

	transfer_open(&t, w);
	t.o.dir_name = STR("w\xc3\xb6ther");
	fails(transfer_try(&t), ERR_NOT_FOUND, "no access allowed to dir \"w\xc3\xb6ther\"");
	transfer_close(&t);
}

static void test_no_locals(void **state)
{
	struct transfer t = { .w = *state };

	world_start(t.w);
	fails(transfer_try(&t), ERR_UNKNOWN, "no local sources enabled");
}

/* ---- exports ---- */

static void test_export_dir(void **state)
{
	struct world *w = *state;
	struct filesend_tree tree[2];
	SCOPED_ARENA(a);
	struct stat st;

	fill(w);
	put_file(w, "dest/stays", "x");
	put_file(w, "dest/dir/one", "is replaced");
	put_file(w, "dest/a/b", "a directory is in the way");
	tree[0] = (struct filesend_tree) { .dirfd = open_dir(w, "src") };
	ok(attach_add_export_dir(w->attach, 0, in(w, "dest"), false));
	ok(attach_add_export_dir(w->attach, 1, in(w, "new/dest"), true));
	world_start(w);
	ok(filesend_trees(w->session, w->root, 0, tree, 1, -1, false, NULL, 0, NULL));
	assert_string_equal(get_file(w, "dest/stays", &a), "x");
	assert_int_equal(unlinkat(w->dirfd, "dest/stays", 0), 0);
	same_trees(w);
	fails(filesend_trees(w->session, w->root, 1, tree, 1, -1, false, NULL, 0, NULL),
	      ERR_UNKNOWN,
	      "local exporter mode=delete requires a BuildKit daemon with multi-platform local "
	      "export support");
	fails(filesend_trees(w->session, w->root, 2, tree, 1, -1, false, NULL, 0, NULL),
	      ERR_UNKNOWN, "exporter 2 not found");
	/* Mirrored, in two sub-directories, at one time. */
	put_file(w, "new/dest/gone/x", "x");
	tree[0].prefix = STR("linux_amd64");
	tree[1] = tree[0];
	tree[1].prefix = STR("linux_arm64");
	ok(filesend_trees(w->session, w->root, 1, tree, 2, 5000000000, true, NULL, 0, NULL));
	assert_int_equal(fstatat(w->dirfd, "new/dest/gone", &st, 0), -1);
	assert_string_equal(get_file(w, "new/dest/linux_arm64/dir/sub/deep/three", &a), "333");
	assert_int_equal(fstatat(w->dirfd, "new/dest/linux_amd64/dir/sub", &st, 0), 0);
	assert_int_equal(st.st_mtim.tv_sec, 5);
	char link[64] = "";
	assert_true(readlinkat(w->dirfd, "new/dest/linux_amd64/abs", link, 63) > 0);
	assert_string_equal(link, "/linux_amd64/etc/passwd");
	(void)close(tree[0].dirfd);
}

static void test_export_stream(void **state)
{
	struct world *w = *state;
	const struct grpc_md md = { STR("exporter-md-containerimage.digest"), STR("sha256:x") };
	SCOPED_ARENA(a);
	SCOPED_BUF(big, 8 * MIB);
	struct writer *out;
	int fd;

	(void)buf_reserve(&big, 7 * MIB);
	memset(big.data, 't', 7 * MIB);
	big.len = 7 * MIB;
	ok(fd_open(w->dirfd, "out.tar", O_WRONLY | O_CREAT, 0644, &fd));
	ok(attach_add_export_fd(w->attach, 0, fd));
	world_start(w);
	ok(filesend_stream(w->session, w->root, 0, &md, 1, &out));
	for (size_t i = 0; i < big.len; i += 100000)
		ok(writer_write(out, big.data + i, MIN((size_t)100000, big.len - i)));
	ok(writer_finish(out));
	writer_close(out);
	assert_int_equal(strlen(get_file(w, "out.tar", &a)), big.len);
	/* The second time the client says so. */
	ok(filesend_stream(w->session, w->root, 0, &md, 1, &out));
	fails(writer_finish(out), ERR_ALREADY_EXISTS, "target already exists");
	writer_close(out);
}

/* ---- the list ---- */

static void test_state(void **state)
{
	struct state_cursor *c = NEW(struct state_cursor);
	uint8_t sha[RECV_SHA] = { 1, 2, 3 };
	struct entry_meta m[3] = {
		{ .path = STR("a"), .mode = 0100644, .mtime_ns = INT64_MIN, .size = UINT64_MAX },
		{ .path = STR("ab"), .mode = 0120777, .linkname = STR("x"), .uid = 1, .gid = 2 },
		{ .path = STR("b"), .mtime_ns = INT64_MAX, .xattr_hash = 77, .devmajor = 8 },
	};
	struct state_writer w;
	SCOPED_BUF(b, 10000);

	assert_false(state_open(c, STR("")));
	assert_false(c->valid);
	state_begin(&w, &b);
	for (int i = 0; i < 3; i++)
		state_put(&w, &m[i], i == 1 ? sha : NULL);
	state_end(&w);
	assert_true(state_open(c, buf_str(&b)));
	for (int i = 0; i < 3; i++) {
		assert_true(c->valid);
		assert_true(str_eq(c->meta.path, m[i].path));
		assert_true(str_eq(c->meta.linkname, m[i].linkname));
		assert_int_equal(c->meta.mode, m[i].mode);
		assert_true(c->meta.mtime_ns == m[i].mtime_ns && c->meta.size == m[i].size);
		assert_true(c->meta.xattr_hash == m[i].xattr_hash);
		assert_int_equal(c->has_digest, i == 1);
		state_next(c);
	}
	assert_false(c->valid);
	for (size_t i = 0; i < b.len; i++) {
		b.data[i] ^= 0x10;
		assert_false(state_open(c, buf_str(&b)));
		b.data[i] ^= 0x10;
		assert_false(state_open(c, str_sub(buf_str(&b), 0, i)));
	}
	free(c);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_cold_and_warm),
		T(test_changes),
		T(test_lost_state),
		T(test_digests),
		T(test_xattrs),
		T(test_filters),
		T(test_follow_wildcard),
		T(test_metadata_only),
		T(test_many),
		T(test_no_such_dir),
		T(test_no_locals),
		T(test_export_dir),
		T(test_export_stream),
		cmocka_unit_test(test_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
