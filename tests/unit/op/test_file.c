/* The actions of file operations, on plain directories. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/task.h"
#include "op/file.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/rmtree.h"

#include <fcntl.h>
#include <sys/stat.h>

struct fixture {
	char dir[64];
	int base, src, dst;
	struct task_pool *pool;
	struct ctx *ctx;
};

#define assert_ok(expr)                                                                            \
	do {                                                                                       \
		struct err *e_ = (expr);                                                           \
		if (e_)                                                                            \
			print_error("%s\n", err_text(e_));                                         \
		assert_null(e_);                                                                   \
	} while (0)
#define assert_fails(expr, text)                                                                   \
	do {                                                                                       \
		struct err *e_ = (expr);                                                           \
		assert_non_null(e_);                                                               \
		if (!strstr(err_text(e_), text))                                                   \
			print_error("%s\n", err_text(e_));                                         \
		assert_non_null(strstr(err_text(e_), text));                                       \
		err_free(e_);                                                                      \
	} while (0)

static int setup(void **state)
{
	struct fixture *f = NEW(struct fixture);

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/test-file-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->base = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(f->base, "src", 0755), 0);
	assert_int_equal(mkdirat(f->base, "dst", 0755), 0);
	f->src = openat(f->base, "src", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->dst = openat(f->base, "dst", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->pool = task_pool_new();
	f->ctx = ctx_new_root(f->pool);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)close(f->src);
	(void)close(f->dst);
	(void)close(f->base);
	assert_ok(rmtree(AT_FDCWD, f->dir));
	task_pool_free(f->pool);
	ctx_unref(f->ctx);
	free(f);
	return 0;
}

static void put(int dirfd, const char *path, const char *text)
{
	assert_ok(file_write(dirfd, path, str_from(text), 0644));
}

static void dir(int dirfd, const char *path)
{
	assert_int_equal(mkdirat(dirfd, path, 0755), 0);
}

static void has(int dirfd, const char *path, const char *text)
{
	SCOPED_BUF(b, 10000);
	struct err *e = file_read(dirfd, path, &b);

	if (!text) {
		assert_non_null(e);
		err_free(e);
		return;
	}
	assert_ok(e);
	assert_string_equal(buf_cstr(&b), text);
}

static struct stat st_of(int dirfd, const char *path)
{
	struct stat st;

	assert_int_equal(fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st;
}

static Pb__FileActionCopy copy_of(const char *src, const char *dest)
{
	Pb__FileActionCopy c = PB__FILE_ACTION_COPY__INIT;

	c.src = (char *)src;
	c.dest = (char *)dest;
	c.mode = -1;
	c.timestamp = -1;
	return c;
}

static const struct file_owner nobody;

/* ---- mkdir, mkfile, symlink, rm ---- */

static void makes(void **state)
{
	struct fixture *f = *state;
	Pb__FileActionMkDir d = PB__FILE_ACTION_MK_DIR__INIT;
	Pb__FileActionMkFile m = PB__FILE_ACTION_MK_FILE__INIT;
	Pb__FileActionSymlink s = PB__FILE_ACTION_SYMLINK__INIT;
	const struct file_owner owner = { true, 7, 8 };
	struct stat st;

	d.path = (char *)"/a/b";
	d.mode = 01711;
	d.timestamp = 1000 * NSEC_PER_SEC;
	assert_fails(file_mkdir(f->dst, &d, &nobody), "no such file or directory");
	d.makeparents = true;
	assert_ok(file_mkdir(f->dst, &d, &owner));
	st = st_of(f->dst, "a");
	assert_int_equal(st.st_mode & 07777, 0711); /* no sticky bit */
	assert_int_equal(st.st_uid, 7);
	assert_int_equal(st.st_gid, 8);
	st = st_of(f->dst, "a/b");
	assert_int_equal(st.st_mtim.tv_sec, 1000);
	d.makeparents = false;
	assert_ok(file_mkdir(f->dst, &d, &nobody)); /* there already */
	d.path = (char *)"/";
	assert_ok(file_mkdir(f->dst, &d, &nobody));

	m.path = (char *)"a/file";
	m.mode = 04640;
	m.data = proto_from_str(STR("some data"));
	m.timestamp = 2000 * NSEC_PER_SEC + 5;
	assert_ok(file_mkfile(f->dst, &m, &owner));
	has(f->dst, "a/file", "some data");
	st = st_of(f->dst, "a/file");
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(st.st_uid, 7);
	assert_int_equal(st.st_mtim.tv_sec, 2000);
	assert_int_equal(st.st_mtim.tv_nsec, 5);
	m.data = proto_from_str(STR("less"));
	m.mode = 0600;
	m.timestamp = -1;
	assert_ok(file_mkfile(f->dst, &m, &nobody));
	has(f->dst, "a/file", "less");
	/* What was there is replaced, not written to. */
	st = st_of(f->dst, "a/file");
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(mkfifoat(f->dst, "a/pipe", 0600), 0);
	m.path = (char *)"a/pipe";
	assert_ok(file_mkfile(f->dst, &m, &nobody));
	has(f->dst, "a/pipe", "less");
	m.path = (char *)"/";
	assert_fails(file_mkfile(f->dst, &m, &nobody), "is a directory");
	m.path = (char *)"no/such/dir";
	assert_fails(file_mkfile(f->dst, &m, &nobody), "no such file or directory");

	s.oldpath = (char *)"../../../../etc/target";
	s.newpath = (char *)"/a/link";
	s.timestamp = -1;
	assert_ok(file_symlink(f->dst, &s, &nobody));
	assert_fails(file_symlink(f->dst, &s, &nobody), "no such file or directory");
	/* Through the link, inside the root. */
	dir(f->dst, "etc");
	m.path = (char *)"/a/link";
	assert_ok(file_mkfile(f->dst, &m, &nobody));
	has(f->dst, "etc/target", "less");
	assert_fails(file_symlink(f->dst, &s, &nobody), "file exists");
	s.oldpath = (char *)"elsewhere";
	s.newpath = (char *)"/a/second";
	assert_ok(file_symlink(f->dst, &s, &nobody));
	assert_ok(file_symlink(f->dst, &s, &nobody));
	assert_true(S_ISLNK(st_of(f->dst, "a/elsewhere").st_mode));
}

static void removes(void **state)
{
	struct fixture *f = *state;
	Pb__FileActionRm r = PB__FILE_ACTION_RM__INIT;

	dir(f->dst, "d");
	dir(f->dst, "d/e");
	put(f->dst, "d/e/x.c", "1");
	put(f->dst, "d/e/y.c", "1");
	put(f->dst, "d/e/z.h", "1");
	put(f->src, "safe", "1");
	assert_int_equal(symlinkat("../src", f->dst, "out"), 0);
	r.path = (char *)"/d/*/?.c";
	r.allowwildcard = true;
	assert_ok(file_rm(f->dst, &r));
	has(f->dst, "d/e/x.c", NULL);
	has(f->dst, "d/e/z.h", "1");
	assert_ok(file_rm(f->dst, &r)); /* no match is fine */
	r.allowwildcard = false;
	assert_fails(file_rm(f->dst, &r), "no such file or directory");
	r.allownotfound = true;
	assert_ok(file_rm(f->dst, &r));
	r.path = (char *)"/d";
	assert_ok(file_rm(f->dst, &r));
	assert_fails(fd_open_dir(f->dst, "d", &(int) { 0 }), "no such file");
	r.path = (char *)"/out"; /* the link itself */
	assert_ok(file_rm(f->dst, &r));
	has(f->src, "safe", "1");
	r.path = (char *)"/";
	assert_fails(file_rm(f->dst, &r), "rmPath: invalid empty path");
	r.path = (char *)"../../..";
	assert_fails(file_rm(f->dst, &r), "rmPath: invalid empty path");
}

/* ---- copy ---- */

static void copies_files(void **state)
{
	struct fixture *f = *state;
	const struct file_owner owner = { true, 3, 4 };
	Pb__FileActionCopy c = copy_of("/file", "/new/dir/");
	struct stat st;

	put(f->src, "file", "text");
	assert_int_equal(fchmodat(f->src, "file", 0751, 0), 0);
	assert_int_equal(symlinkat("file", f->src, "link"), 0);
	assert_fails(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL),
		     "failed to stat /new/dir/");
	c.createdestpath = true;
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &owner, NULL));
	has(f->dst, "new/dir/file", "text");
	st = st_of(f->dst, "new/dir/file");
	assert_int_equal(st.st_mode & 07777, 0751);
	assert_int_equal(st.st_uid, 3);
	assert_int_equal(st.st_mtim.tv_sec, st_of(f->src, "file").st_mtim.tv_sec);
	assert_int_equal(st_of(f->dst, "new").st_uid, 3);
	assert_int_equal(st_of(f->dst, "new").st_mode & 0777, 0755);
	/* To a name; with mode and time. */
	c.dest = (char *)"/new/other";
	c.mode = 02700;
	c.timestamp = 5 * NSEC_PER_SEC;
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	st = st_of(f->dst, "new/other");
	assert_int_equal(st.st_mode & 07777, 02700);
	assert_int_equal(st.st_mtim.tv_sec, 5);
	/* Symbolic modes win. */
	c.modestr = (char *)"u=rwX,g+w,o-rwx";
	c.dest = (char *)"/symbolic";
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	assert_int_equal(st_of(f->dst, "symbolic").st_mode & 07777, 0770);
	c.modestr = (char *)"u+q";
	assert_fails(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL), "invalid mode u+q");
	/* A link stays one unless followed. */
	c = copy_of("/link", "/l1");
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	assert_true(S_ISLNK(st_of(f->dst, "l1").st_mode));
	c = copy_of("/link", "/l2");
	c.followsymlink = true;
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	has(f->dst, "l2", "text");
	assert_true(S_ISREG(st_of(f->dst, "l2").st_mode));
	c = copy_of("/missing", "/x");
	assert_fails(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL),
		     "no such file or directory");
	/* Over a directory. */
	dir(f->dst, "adir");
	dir(f->dst, "adir/file");
	c = copy_of("/file", "/adir");
	assert_fails(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL),
		     "cannot replace to directory");
	c.alwaysreplaceexistingdestpaths = true;
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	has(f->dst, "adir/file", "text");
}

static void copies_dirs(void **state)
{
	struct fixture *f = *state;
	Pb__FileActionCopy c = copy_of("/d", "/out");

	dir(f->src, "d");
	dir(f->src, "d/sub");
	put(f->src, "d/a", "a");
	put(f->src, "d/sub/b", "b");
	assert_int_equal(linkat(f->src, "d/a", f->src, "d/sub/hard", 0), 0);
	assert_int_equal(fchmodat(f->src, "d", 0711, 0), 0);
	/* Not there: it becomes that. */
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	has(f->dst, "out/sub/b", "b");
	assert_int_equal(st_of(f->dst, "out").st_mode & 0777, 0711);
	assert_int_equal(st_of(f->dst, "out/a").st_ino, st_of(f->dst, "out/sub/hard").st_ino);
	assert_int_equal(st_of(f->dst, "out").st_mtim.tv_sec, st_of(f->src, "d").st_mtim.tv_sec);
	/* There: into it. */
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	has(f->dst, "out/d/sub/b", "b");
	/* The contents only: in three ways. */
	c = copy_of("/d", "/o2");
	c.dircopycontents = true;
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	has(f->dst, "o2/a", "a");
	assert_int_equal(st_of(f->dst, "o2").st_mode & 0777, 0755); /* not that of /d */
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	has(f->dst, "o2/a", "a");
	has(f->dst, "o2/d/a", NULL);
	dir(f->dst, "o3");
	assert_int_equal(fchmodat(f->dst, "o3", 0750, 0), 0);
	c = copy_of("/d/.", "/o3");
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	has(f->dst, "o3/sub/b", "b");
	assert_int_equal(st_of(f->dst, "o3").st_mode & 0777, 0750); /* keeps its own */
	/* All. */
	c = copy_of("/", "/all");
	c.createdestpath = true;
	c.dircopycontents = true;
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	has(f->dst, "all/d/sub/b", "b");
	c = copy_of("/", "/");
	c.dircopycontents = true;
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	has(f->dst, "d/a", "a");
	/* Over a file. */
	put(f->dst, "plain", "");
	c = copy_of("/d", "/plain");
	c.dircopycontents = true;
	assert_fails(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL),
		     "cannot copy to non-directory");
}

static void copies_by_pattern(void **state)
{
	struct fixture *f = *state;
	Pb__FileActionCopy c = copy_of("/*.txt", "/w/");
	char *include[] = { (char *)"**/*.c", (char *)"keep" };
	char *exclude[] = { (char *)"sub/skip.c" };

	dir(f->src, "p");
	dir(f->src, "p/sub");
	dir(f->src, "p/empty");
	put(f->src, "p/x.c", "x");
	put(f->src, "p/x.h", "x");
	put(f->src, "p/keep", "k");
	put(f->src, "p/sub/skip.c", "s");
	put(f->src, "p/sub/y.c", "y");
	put(f->src, "1.txt", "1");
	put(f->src, "2.txt", "2");
	c.createdestpath = true;
	c.allowwildcard = true;
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	has(f->dst, "w/1.txt", "1");
	has(f->dst, "w/2.txt", "2");
	c.src = (char *)"/no*";
	assert_fails(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL), "/no* not found");
	c.allowemptywildcard = true;
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	c.src = (char *)"/p/*/y.c";
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	has(f->dst, "w/y.c", "y");
	/* Lists. */
	c = copy_of("/p", "/i");
	c.dircopycontents = true;
	c.include_patterns = include;
	c.n_include_patterns = 2;
	c.exclude_patterns = exclude;
	c.n_exclude_patterns = 1;
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	has(f->dst, "i/x.c", "x");
	has(f->dst, "i/keep", "k");
	has(f->dst, "i/sub/y.c", "y");
	has(f->dst, "i/x.h", NULL);
	has(f->dst, "i/sub/skip.c", NULL);
	assert_int_equal(faccessat(f->dst, "i/empty", F_OK, 0), -1);
}

static void stays_inside(void **state)
{
	struct fixture *f = *state;
	Pb__FileActionCopy c = copy_of("/link/secret", "/x");

	put(f->base, "secret", "s");
	assert_int_equal(symlinkat("..", f->src, "link"), 0);
	assert_fails(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL), "no such file");
	put(f->src, "file", "1");
	assert_int_equal(symlinkat("../..", f->dst, "up"), 0);
	c = copy_of("/file", "/up/y");
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	has(f->dst, "y", "1");
	has(f->base, "y", NULL);
	/* A destination that is a link is followed, inside. */
	assert_int_equal(symlinkat("/../../target", f->dst, "lnk"), 0);
	c = copy_of("/file", "/lnk");
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	has(f->dst, "target", "1");
}

/* ---- owners ---- */

static void owners(void **state)
{
	struct fixture *f = *state;
	Pb__ChownOpt o = PB__CHOWN_OPT__INIT;
	Pb__UserOpt user = PB__USER_OPT__INIT, group = PB__USER_OPT__INIT;
	Pb__NamedUserOpt named = PB__NAMED_USER_OPT__INIT, named_group = PB__NAMED_USER_OPT__INIT;
	struct file_owner got;

	dir(f->src, "etc");
	put(f->src, "etc/passwd", "root:x:0:0::/:/sh\n#c\nbad\nme:x:1001:1002:,,,:/home/me:\n");
	put(f->src, "etc/group", "root:x:0:\nmine:x:77:me\n");
	assert_ok(file_find_owner(NULL, f->src, f->src, &got));
	assert_false(got.set);
	o.user = &user;
	user.user_case = PB__USER_OPT__USER_BY_ID;
	user.byid = 12;
	assert_ok(file_find_owner(&o, -1, -1, &got));
	assert_true(got.set && got.uid == 12 && got.gid == 12);
	user.user_case = PB__USER_OPT__USER_BY_NAME;
	user.byname = &named;
	named.name = (char *)"me";
	assert_ok(file_find_owner(&o, f->src, -1, &got));
	assert_true(got.uid == 1001 && got.gid == 1002);
	o.group = &group;
	group.user_case = PB__USER_OPT__USER_BY_NAME;
	group.byname = &named_group;
	named_group.name = (char *)"mine";
	assert_ok(file_find_owner(&o, f->src, f->src, &got));
	assert_true(got.uid == 1001 && got.gid == 77);
	named.name = (char *)"stranger";
	named_group.name = (char *)"stranger";
	assert_ok(file_find_owner(&o, f->src, f->src, &got));
	assert_true(got.set && got.uid == 0 && got.gid == 0);
	assert_ok(file_find_owner(&o, f->dst, f->dst, &got));
	assert_true(got.set && got.uid == 0 && got.gid == 0);
}

static void modes(void **state)
{
	static const struct {
		const char *text;
		mode_t from, to;
	} cases[] = {
		{ "755", 0600, 0755 },      { "0644", 0777, 0644 }, { "4755", 0, 04755 },
		{ "u+x", 0644, 0744 },      { "+x", 0644, 0755 },   { "a-w", 0666, 0444 },
		{ "go=", 0777, 0700 },      { "g=u", 0740, 0770 },  { "u=g,o=g", 0750, 0555 },
		{ "+X", 0644, 0644 },       { "+X", 0744, 0755 },   { "+X", S_IFDIR | 0600, 0711 },
		{ "u+s,g+s", 0755, 06755 }, { "+t", 0777, 01777 },  { "u=rw,go=r", 0777, 0644 },
		{ "u-w+x", 0600, 0500 },    { "a=rX", 0100, 0555 },
	};
	static const char *const bad[] = { "", "u", "8", "u+z", "99999", "x", "u+x,", "77777" };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCOPED_ARENA(a);
		struct file_mode_change *c;

		assert_ok(file_mode_parse(&a, str_from(cases[i].text), &c));
		assert_int_equal(file_mode_apply(c, cases[i].from) & 07777, cases[i].to);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		SCOPED_ARENA(a);
		struct file_mode_change *c;

		assert_fails(file_mode_parse(&a, str_from(bad[i]), &c), "invalid mode");
	}
}

/* ---- archives ---- */

static void run_shell(const struct fixture *f, const char *script)
{
	char *cmd = mem_printf("cd %s/src && %s", f->dir, script);

	assert_int_equal(system(cmd), 0);
	free(cmd);
}

static void unpacks(void **state)
{
	struct fixture *f = *state;
	static const char *const packers[] = { "", "z", "j", "J", "--zstd" };

	run_shell(f, "mkdir -p t/d && echo -n hello > t/d/f && ln t/d/f t/h && ln -s d/f t/l && "
		     "chmod 4711 t/d/f && touch -d @1000 t/d && mkfifo t/p");
	for (size_t i = 0; i < ARRAY_SIZE(packers); i++) {
		Pb__FileActionCopy c = copy_of("/a.tar", "/x");
		char *cmd = mem_printf("tar -c%s%s -C t . > a.tar", packers[i][0] == '-' ? " " : "",
				       packers[i]);
		const struct file_owner owner = { true, 5, 6 };
		struct stat st;

		run_shell(f, cmd);
		free(cmd);
		c.attemptunpackdockercompatibility = true;
		assert_ok(rmtree(f->dst, "x"));
		dir(f->dst, "x");
		dir(f->dst, "x/l"); /* in the way */
		assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &owner, NULL));
		has(f->dst, "x/d/f", "hello");
		st = st_of(f->dst, "x/d/f");
		assert_int_equal(st.st_mode & 07777, 04711);
		assert_int_equal(st.st_uid, 5);
		assert_int_equal(st.st_ino, st_of(f->dst, "x/h").st_ino);
		assert_true(S_ISLNK(st_of(f->dst, "x/l").st_mode));
		assert_true(S_ISFIFO(st_of(f->dst, "x/p").st_mode));
		assert_int_equal(st_of(f->dst, "x/d").st_mtim.tv_sec, 1000);
	}
}

static void unpacks_only_archives(void **state)
{
	struct fixture *f = *state;
	Pb__FileActionCopy c = copy_of("/text", "/x/");

	put(f->src, "text", "just text");
	c.attemptunpackdockercompatibility = true;
	c.createdestpath = true;
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	has(f->dst, "x/text", "just text");
	run_shell(f, "gzip -c text > text.gz && head -c 100 /dev/zero > zeros");
	c.src = (char *)"/text.gz";
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	assert_true(S_ISREG(st_of(f->dst, "x/text.gz").st_mode));
	c.src = (char *)"/zeros";
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	assert_int_equal(st_of(f->dst, "x/zeros").st_size, 100);
}

static void hostile_archive(void **state)
{
	struct fixture *f = *state;
	Pb__FileActionCopy c = copy_of("/a.tar", "/x");

	c.attemptunpackdockercompatibility = true;
	c.createdestpath = true;
	/* A link out of the root, then a file through it; and dots. */
	run_shell(f, "mkdir -p t1 t2/evil && ln -s ../.. t1/evil && echo bad > t2/evil/owned && "
		     "tar -cf a.tar -C t1 evil && tar -rf a.tar -C t2 evil/owned && "
		     "echo worse > owned2 && tar -rPf a.tar --transform=s,^,../../, owned2");
	assert_ok(file_copy(f->ctx, f->src, f->dst, &c, &nobody, NULL));
	assert_int_equal(faccessat(f->base, "owned", F_OK, 0), -1);
	assert_int_equal(faccessat(f->base, "owned2", F_OK, 0), -1);
	has(f->dst, "x/owned2", "worse\n");
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(makes),
		TEST(removes),
		TEST(copies_files),
		TEST(copies_dirs),
		TEST(copies_by_pattern),
		TEST(stays_inside),
		TEST(owners),
		TEST(modes),
		TEST(unpacks),
		TEST(hostile_archive),
		TEST(unpacks_only_archives),
	};

	(void)umask(077);
	return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
