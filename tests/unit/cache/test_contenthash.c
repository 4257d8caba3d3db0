/* Checksums, held against those that buildkitd v0.34 computed for the same files (seen in the
 * records of an exported cache: sha256 of "sha256:<sha256 of the checksum's text>@-1"). */
#include "env.h"

#include "cache/contenthash.h"

static const char *const dirs[] = { "d", "d/sub", "e", "e/f" };
static const char *const files[][2] = {
	{ "a.txt", "hello\n" }, { "d/b", "b\n" },       { "d/sub/c", "c\n" },
	{ "e/f/x.go", "1\n" },  { "e/f/z.txt", "3\n" }, { "e/y.go", "2\n" },
};
static const char *const links[][2] = {
	{ "d/broken", "nowhere" },
	{ "d/link", "../a.txt" },
	{ "e/ld", "../d" },
	{ "le", "e" },
};

static void fill(const struct mounts *m, const char *tmp)
{
	struct localmount *l;
	int root;

	OK(localmount_open(m, tmp, &l));
	root = localmount_dirfd(l);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		assert_int_equal(mkdirat(root, dirs[i], 0755), 0);
	localmount_close(l);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		env_write(m, tmp, files[i][0], files[i][1]);
	OK(localmount_open(m, tmp, &l));
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		assert_int_equal(symlinkat(links[i][1], localmount_dirfd(l), links[i][0]), 0);
	localmount_close(l);
}

static struct cache_ref *make_tree(struct env *e)
{
	struct cache_mut *m;
	struct cache_ref *r;
	struct mounts *mounts;

	OK(cache_new(e->c, e->ctx, NULL, NULL, &m));
	OK(cache_mut_mounts(m, e->ctx, &e->a, false, &mounts));
	fill(mounts, e->tmp);
	OK(cache_mut_commit(m, e->ctx, &r));
	return r;
}

static struct digest hash_entry(const struct contenthash_entry *x, const char *text)
{
	CLEANUP(hasher_freep) struct hasher *h = hasher_new(DIGEST_SHA256);

	contenthash_begin(h, x);
	hasher_add_str(h, str_from(text));
	return hasher_sum(h);
}

/* As a transfer would tell it. */
static struct cache_ref *make_seeded(struct env *e)
{
	struct contenthash_known known[20];
	struct cache_opts o = { .retain = true };
	struct cache_mut *m = env_mut(e, NULL, &o, NULL, NULL);
	struct cache_ref *r;
	struct mounts *mounts;
	size_t n = 0;

	OK(cache_mut_mounts(m, e->ctx, &e->a, false, &mounts));
	fill(mounts, e->tmp);
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		struct contenthash_entry x = { .mode = S_IFLNK | 0777,
					       .linkname = str_from(links[i][1]),
					       .size = 7 };

		known[n++] = (struct contenthash_known) { .path = str_from(links[i][0]),
							  .mode = x.mode,
							  .linkname = x.linkname,
							  .digest = hash_entry(&x, "") };
	}
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct contenthash_entry x = { .mode = S_IFREG | 0644,
					       .size = strlen(files[i][1]) };

		known[n++] = (struct contenthash_known) { .path = str_from(files[i][0]),
							  .mode = x.mode,
							  .digest = hash_entry(&x, files[i][1]) };
	}
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		struct contenthash_entry x = { .mode = S_IFDIR | 0755, .size = 4096 };

		known[n++] = (struct contenthash_known) { .path = str_from(dirs[i]),
							  .mode = x.mode,
							  .digest = hash_entry(&x, "") };
	}
	OK(contenthash_seed(e->c, str_from(cache_mut_id(m)), known, n));
	OK(cache_mut_freeze(m, e->ctx, &r));
	return r;
}

struct fact {
	const char *path, *include, *exclude1, *exclude2, *want;
	bool seeded_only;
};

static const struct fact facts[] = {
	{ "/a.txt", .want = "c24a47b576469b52903dd7e5045a62fee5855b447dee1771d67b829458d2c08e" },
	{ "/d", .want = "dddecebbe06647fa861ac0d2614709e89afeeae13a2b39492f8dffec772abf94" },
	{ "/d/", .want = "dddecebbe06647fa861ac0d2614709e89afeeae13a2b39492f8dffec772abf94" },
	{ "/d/sub", .want = "1c914f4b0370a50d6d193f794df8266c70bed2688ff99ca8cd9f10469435aea2" },
	{ "/d/link", .want = "c24a47b576469b52903dd7e5045a62fee5855b447dee1771d67b829458d2c08e" },
	{ "/", .want = "b7d4c94b925fb17535d51d0eca8704200c9efa6e72fb38436f6e5997d812e432",
	  .seeded_only = true },
	{ "/le", .want = "7fda7372f5df5f454cf3550dbe2c818dd90e30538aa4935ac49c653a4db26a00" },
	{ "/le/f", .want = "327a64081c0832b2319d7895017df59459bafbfd29de0a16a7b7ca436608c213" },
	{ "/e/ld/sub", .want = "1c914f4b0370a50d6d193f794df8266c70bed2688ff99ca8cd9f10469435aea2" },
	{ "/le/ld/link",
	  .want = "c24a47b576469b52903dd7e5045a62fee5855b447dee1771d67b829458d2c08e" },
	{ "/e/y.go", .want = "38640cddce3378b5dd10b614847a3effd7ef5be8e4970901df8058d0ad31d4dc" },
	/* wildcards */
	{ "/a*", .want = "01436a46cff605df4c688bed4608df7481079567822e14e5ed74214984801cda" },
	{ "/d/s*", .want = "404befef5f679751901a7c9f5d3ff6a1149312c599130190fc4f78fdef62866f" },
	{ "/nope*", .want = "b58f6cd83b69bbc0eba0437bb72d34b4814b12891064666e9cb8efea631847fb" },
	{ "/nope/x*", .want = "b58f6cd83b69bbc0eba0437bb72d34b4814b12891064666e9cb8efea631847fb" },
	{ "/le/*.go", .want = "1d73b021dd0bc85ffc1846aab16e534376668d147656145586f50343711dd965" },
	{ "/le/f/*.go",
	  .want = "a65203534ab3f21d0b13046149e58873239ea4783657e499c151a1b4325fcab3" },
	{ "/l*", .want = "b7af0dd6a744ed2edc29d21387c6d507ac0fbd58e1d5a98283d7fb5d3b6e2be5" },
	{ "/e/*", .want = "7b8b70b8572d38ef07ca2a9f728a8af8846d10f35ed3b6a64c60e0a3416197a1" },
	{ "/*/*.go", .want = "9291f9c704accecf9f1dfabebecc5035af907ec5920b242b08e8ead4f8985119" },
	{ "/[ab].txt", .want = "01436a46cff605df4c688bed4608df7481079567822e14e5ed74214984801cda" },
	{ "/d/?", .want = "9b3418044c0a88ac0661b4eb0c43a6c8fd6634fcc942f21be9aa05b374209e0d" },
	{ "/d/li*", .want = "203b7898fc3c6c3b6dff3e47d2d2fa02c5d810c5524306b714ae65decfb390de" },
	{ "/e/l*", .want = "06df354352e1ac4641c9e69911f0223e97ff1afb5e408397ad8452869f13747f" },
	{ "/e/f*", .want = "e860da22924fa05267bfbafc1e331927cb08a796c569fa425f3282062680950a" },
	{ "/e/f/../*.go",
	  .want = "1d73b021dd0bc85ffc1846aab16e534376668d147656145586f50343711dd965" },
	/* exclude */
	{ "/d", .exclude1 = "sub",
	  .want = "5cb5a696559dd16abd83660aafb15457dc7e55261bd6c51e7d5d41bb53033be4" },
	{ "/le", .exclude1 = "f",
	  .want = "7fda7372f5df5f454cf3550dbe2c818dd90e30538aa4935ac49c653a4db26a00" },
	{ "/e", .exclude1 = "**/z.txt",
	  .want = "b7d18408afe632c80dc21089cc8a746e19b5a9acc597923f06d9a57f877da8a4" },
	{ "/e", .exclude1 = "**", .exclude2 = "!**/*.go",
	  .want = "b10d26e2ef4c21c3ca2a5ef0b1287ead18f1a1ad54fbe13c09e3de8f6c81a44e" },
	{ "/e", .exclude1 = "*.go", .exclude2 = "*.txt",
	  .want = "25e3b116fc2f1fbe63b4d52566497ce0d55cb0149133fff7ee07a742bcaa9612" },
	{ "/e/*", .exclude1 = "*.go",
	  .want = "57fb4ce07cf266a399d2e0358ff122a92c091d356a5041d3766ca1ebb7da5efd" },
	{ "/e/*", .exclude1 = "x.go",
	  .want = "57fb4ce07cf266a399d2e0358ff122a92c091d356a5041d3766ca1ebb7da5efd" },
	{ "/e/*", .exclude1 = "f",
	  .want = "7b8b70b8572d38ef07ca2a9f728a8af8846d10f35ed3b6a64c60e0a3416197a1" },
	{ "/*", .exclude1 = "e/f",
	  .want = "da1deeacba1e6de3dde5d20b5e29f4578fbe8499d5054d05899818cafa0c5d62" },
	{ "/e/[fg]", .exclude1 = "*.txt",
	  .want = "b98960f2a077e9d8e4379d815e589e4a6286b832dbbaf94105e969749de9e144" },
	{ "/a.txt", .exclude1 = "a.txt",
	  .want = "c24a47b576469b52903dd7e5045a62fee5855b447dee1771d67b829458d2c08e" },
	{ "/", .exclude1 = "b",
	  .want = "da1deeacba1e6de3dde5d20b5e29f4578fbe8499d5054d05899818cafa0c5d62" },
	{ "/", .exclude1 = "e",
	  .want = "aff31013cf22c884bdd0a605f66df8db23cf832435637cbcbfa19251edf9223d" },
	{ "/", .exclude1 = "e/*",
	  .want = "6f1bc7700cc06e67ddacd4a86c63a62dfc1cacbc3d254473c24d95fb23420042" },
	{ "/", .exclude1 = "d",
	  .want = "5caeed46726de9441dbef1e9d97449bf6ad362529272d89b679f3595ee45e478" },
	{ "/", .exclude1 = "le",
	  .want = "42e40724c5b9b8d2cae4b6bd473bf1f0ea6bc077e823a69474c0fd83161ab4a5" },
	{ "/nope", .exclude1 = "x",
	  .want = "b58f6cd83b69bbc0eba0437bb72d34b4814b12891064666e9cb8efea631847fb" },
	/* include */
	{ "/", .include = "**/*.go",
	  .want = "5f41da4c63b592744155f4207efbe39650757211fefcd4e853f76f174f25d0b7" },
	{ "/e", .include = "f/x.go",
	  .want = "d9dcdb7dd6a49d39de7727853e96ba391e81ce736df648fec902b60c75aa96cc" },
	{ "/", .include = "d/broken",
	  .want = "d5056ea89f0deda8578f3f4cf65ef88c642f68e04357f105a5f67175bf38a09b" },
	{ "/", .include = "e/*/*.go",
	  .want = "d5c57389156d92a09c9c91cbd85169f3005294fdb4156e92abbb17f129ad9c92" },
	{ "/e", .include = "*/*.go",
	  .want = "d9dcdb7dd6a49d39de7727853e96ba391e81ce736df648fec902b60c75aa96cc" },
	{ "/", .include = "e", .exclude1 = "**/z.txt",
	  .want = "414e9122eea821c1b7ffe1f9e2529fc1cb7cb336027e8b89ef7671dd7b78d174" },
	{ "/", .include = "e", .exclude1 = "e/f/z.txt",
	  .want = "414e9122eea821c1b7ffe1f9e2529fc1cb7cb336027e8b89ef7671dd7b78d174" },
};

/* As an op makes a cache key of it. */
static void key_text(const struct digest *d, char out[DIGEST_TEXT_MAX])
{
	char text[DIGEST_TEXT_MAX + 4];
	struct digest k;

	(void)digest_format(d, text);
	k = digest_sha256(str_from(text));
	(void)digest_format(&k, text);
	memcpy(text + strlen(text), "@-1", 4);
	k = digest_sha256(str_from(text));
	(void)digest_format(&k, out);
}

static void check_facts(struct env *e, struct cache_ref *r, bool seeded)
{
	for (size_t i = 0; i < ARRAY_SIZE(facts); i++) {
		const struct fact *f = &facts[i];
		struct str include = str_from(f->include);
		struct str exclude[] = { str_from(f->exclude1), str_from(f->exclude2) };
		struct contenthash_opts o = { .follow_links = true,
					      .wildcard = true,
					      .include = &include,
					      .n_include = f->include != NULL,
					      .exclude = exclude,
					      .n_exclude = (f->exclude1 != NULL) +
							   (f->exclude2 != NULL) };
		char got[DIGEST_TEXT_MAX];
		struct digest d;

		if (f->seeded_only && !seeded)
			continue;
		OK(contenthash_checksum(e->c, e->ctx, r, str_from(f->path), &o, &d));
		key_text(&d, got);
		if (strcmp(got + 7, f->want) != 0)
			fail_msg("fact %zu: %s include %s exclude %s: %s", i, f->path,
				 f->include ? f->include : "", f->exclude1 ? f->exclude1 : "", got);
	}
}

static void scanned(void **state)
{
	struct env *e = *state;
	struct cache_ref *r = make_tree(e);

	check_facts(e, r, false);
	check_facts(e, r, false); /* out of the tree */
	cache_ref_release(r);
}

static void seeded(void **state)
{
	struct env *e = *state;
	struct cache_ref *r = make_seeded(e);

	check_facts(e, r, true);
	cache_ref_release(r);
}

/* Each alone on a fresh tree: what is read on demand does not depend on what was asked before. */
static void one_by_one(void **state)
{
	struct env *e = *state;
	struct contenthash_opts o = { .follow_links = true, .wildcard = true };

	for (size_t i = 0; i < ARRAY_SIZE(facts); i++) {
		struct cache_ref *r;
		struct digest d;
		char got[DIGEST_TEXT_MAX];

		if (facts[i].include || facts[i].exclude1 || facts[i].seeded_only)
			continue;
		r = make_tree(e);
		OK(contenthash_checksum(e->c, e->ctx, r, str_from(facts[i].path), &o, &d));
		key_text(&d, got);
		assert_string_equal(got + 7, facts[i].want);
		cache_ref_release(r);
	}
}

static char *id_of(struct env *e, struct cache_ref *r)
{
	return arena_strdup(&e->a, cache_ref_id(r));
}

/* Stored trees answer without the files. */
static void kept(void **state)
{
	struct env *e = *state;
	struct cache_ref *r = make_tree(e), *s = make_seeded(e);
	struct contenthash_opts o = { .follow_links = true };
	char *id = id_of(e, r), *seeded_id = id_of(e, s);
	struct digest before, after;
	struct mounts *m;
	char cmd[256];

	OK(contenthash_checksum(e->c, e->ctx, r, STR("/e"), &o, &before));
	OK(cache_ref_mounts(r, e->ctx, &e->a, &m));
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %.*s/e/*", STR_ARG(m->source));
	cache_ref_release(r);
	cache_ref_release(s);
	env_reopen(e);
	assert_int_equal(system(cmd), 0);
	r = env_get(e, id);
	OK(contenthash_checksum(e->c, e->ctx, r, STR("/e"), &o, &after));
	assert_true(digest_eq(&before, &after));
	/* At once after the last handle, and again. */
	for (int i = 0; i < 3; i++) {
		cache_ref_release(r);
		r = env_get(e, id);
		OK(contenthash_checksum(e->c, e->ctx, r, STR("/e"), &o, &after));
		assert_true(digest_eq(&before, &after));
	}
	cache_ref_release(r);
	s = env_get(e, seeded_id);
	check_facts(e, s, true);
	cache_ref_release(s);
}

/* A mutable record that is written to loses what was known, unless told otherwise. */
static void stale(void **state)
{
	struct env *e = *state;
	struct cache_opts keep = { .retain = true };
	struct contenthash_opts o = { 0 };
	struct cache_mut *m = env_mut(e, NULL, &keep, "f", "1");
	char *id = arena_strdup(&e->a, cache_mut_id(m));
	struct digest d[4];
	struct cache_ref *r;
	struct mounts *mounts;

	OK(cache_mut_freeze(m, e->ctx, &r));
	OK(contenthash_checksum(e->c, e->ctx, r, STR("f"), &o, &d[0]));
	cache_ref_release(r);
	OK(cache_get_mut(e->c, e->ctx, str_from(id), &m));
	OK(cache_mut_mounts(m, e->ctx, &e->a, false, &mounts));
	env_write(mounts, e->tmp, "f", "2");
	OK(cache_mut_freeze(m, e->ctx, &r));
	OK(contenthash_checksum(e->c, e->ctx, r, STR("f"), &o, &d[1]));
	cache_ref_release(r);
	assert_false(digest_eq(&d[0], &d[1]));
	OK(cache_get_mut(e->c, e->ctx, str_from(id), &m));
	OK(cache_mut_mounts(m, e->ctx, &e->a, false, &mounts));
	contenthash_unchanged(e->c, str_from(id));
	OK(cache_mut_freeze(m, e->ctx, &r));
	OK(contenthash_checksum(e->c, e->ctx, r, STR("f"), &o, &d[2]));
	cache_ref_release(r);
	assert_true(digest_eq(&d[1], &d[2]));
}

static void expect_missing(struct env *e, struct cache_ref *r, const char *path,
			   const struct contenthash_opts *o, const char *text)
{
	struct digest d;
	struct err *err = contenthash_checksum(e->c, e->ctx, r, str_from(path), o, &d);

	if (!err_is(err, ERR_NOT_FOUND))
		fail_msg("%s: %s", path, err ? err_text(err) : "no error");
	assert_string_equal(err_text(err), text);
	err_free(err);
}

static void missing(void **state)
{
	struct env *e = *state;
	struct cache_ref *r = make_tree(e);
	struct contenthash_opts o = { .follow_links = true, .wildcard = true };
	struct contenthash_opts plain = { 0 };
	struct str required = STR("/d/nope"), include = STR("d/nope");
	struct str through = STR("/le/f"), through_include = STR("le/f");
	struct contenthash_opts req = {
		.include = &include, .n_include = 1, .required = &required, .n_required = 1
	};
	struct digest d, empty = digest_sha256(STR_NONE);

	expect_missing(e, r, "/nope", &o, "\"/nope\": not found");
	expect_missing(e, r, "d/nope/x", &o, "\"/d/nope/x\": not found");
	expect_missing(e, r, "/a.txt/x", &o, "\"/a.txt/x\": not found");
	expect_missing(e, r, "/d/broken", &o, "\"/d/broken\": not found");
	expect_missing(e, r, "/d/*", &o, "\"/d/broken\": not found");
	expect_missing(e, r, "/d/b*", &o, "\"/d/broken\": not found");
	OK(contenthash_checksum(e->c, e->ctx, r, STR("/d/broken"), &plain, &d));
	expect_missing(e, r, "/", &req, "\"/d/nope\": not found");
	req.required = &through;
	req.include = &through_include;
	expect_missing(e, r, "/", &req, "\"/le/f\": not found");
	cache_ref_release(r);

	/* Nothing at all. */
	expect_missing(e, NULL, "/nope", &o, "\"/nope\": not found");
	OK(contenthash_checksum(e->c, e->ctx, NULL, STR("/x*"), &o, &d));
	assert_true(digest_eq(&d, &empty));
	OK(contenthash_checksum(e->c, e->ctx, NULL, STR("/"), &o, &d));
}

static void loops(void **state)
{
	struct env *e = *state;
	struct contenthash_opts o = { .follow_links = true };
	struct cache_mut *m;
	struct cache_ref *r;
	struct mounts *mounts;
	struct localmount *l;
	struct digest d, out;

	OK(cache_new(e->c, e->ctx, NULL, NULL, &m));
	OK(cache_mut_mounts(m, e->ctx, &e->a, false, &mounts));
	OK(localmount_open(mounts, e->tmp, &l));
	assert_int_equal(symlinkat("b", localmount_dirfd(l), "a"), 0);
	assert_int_equal(symlinkat("a", localmount_dirfd(l), "b"), 0);
	assert_int_equal(symlinkat("../../../../f", localmount_dirfd(l), "up"), 0);
	assert_int_equal(symlinkat("/f", localmount_dirfd(l), "abs"), 0);
	localmount_close(l);
	env_write(mounts, e->tmp, "f", "inside");
	OK(cache_mut_commit(m, e->ctx, &r));
	EXPECT(ERR_UNKNOWN, contenthash_checksum(e->c, e->ctx, r, STR("/a/x"), &o, &d));
	OK(contenthash_checksum(e->c, e->ctx, r, STR("/f"), &o, &d));
	OK(contenthash_checksum(e->c, e->ctx, r, STR("/up"), &o, &out));
	assert_true(digest_eq(&d, &out));
	OK(contenthash_checksum(e->c, e->ctx, r, STR("/abs"), &o, &out));
	assert_true(digest_eq(&d, &out));
	OK(contenthash_checksum(e->c, e->ctx, r, STR("/../../f"), &o, &out));
	assert_true(digest_eq(&d, &out));
	cache_ref_release(r);
}

/* Enough files for all workers. */
static void many_files(void **state)
{
	struct env *e = *state;
	struct contenthash_opts o = { 0 };
	struct digest d[2];

	for (int round = 0; round < 2; round++) {
		struct cache_mut *m;
		struct cache_ref *r;
		struct mounts *mounts;
		struct localmount *l;

		OK(cache_new(e->c, e->ctx, NULL, NULL, &m));
		OK(cache_mut_mounts(m, e->ctx, &e->a, false, &mounts));
		OK(localmount_open(mounts, e->tmp, &l));
		for (int i = 0; i < 20; i++) {
			char name[64];

			(void)snprintf(name, sizeof(name), "d%d", i);
			assert_int_equal(mkdirat(localmount_dirfd(l), name, 0755), 0);
			for (int k = 0; k < 100; k++) {
				int fd;

				(void)snprintf(name, sizeof(name), "d%d/f%d", i, k);
				fd = openat(localmount_dirfd(l), name,
					    O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
				assert_int_equal(write(fd, name, (size_t)k / 10), (size_t)k / 10);
				(void)close(fd);
			}
		}
		localmount_close(l);
		OK(cache_mut_commit(m, e->ctx, &r));
		/* In parts the second time. */
		for (int i = 0; round && i < 20; i += 3) {
			char name[64];
			struct digest x;

			(void)snprintf(name, sizeof(name), "d%d", i);
			OK(contenthash_checksum(e->c, e->ctx, r, str_from(name), &o, &x));
		}
		OK(contenthash_checksum(e->c, e->ctx, r, STR("/"), &o, &d[round]));
		cache_ref_release(r);
	}
	assert_true(digest_eq(&d[0], &d[1]));
}

static void special_files(void **state)
{
	struct env *e = *state;
	static const struct str names[] = { STR("security.capability"), STR("security.selinux"),
					    STR("user.b") };
	static const struct str values[] = { STR("cap"), STR("no"), STR("yes") };
	static const struct str counted[] = { STR("security.capability"), STR("user.b") };
	static const struct str counted_values[] = { STR("cap"), STR("yes") };
	struct contenthash_entry x = { .mode = S_IFREG | 04755,
				       .size = 3,
				       .xattr_names = names,
				       .xattr_values = values,
				       .n_xattrs = 3 };
	struct contenthash_entry y = { .mode = S_IFREG | 04755,
				       .size = 3,
				       .xattr_names = counted,
				       .xattr_values = counted_values,
				       .n_xattrs = 2 };
	struct digest a = hash_entry(&x, "abc"), b = hash_entry(&y, "abc");
	struct digest want = digest_sha256(
		STR("namemode2541uid0gid0size3typeflag0linknameunamegnamedevmajor0devminor0"
		    "security.capabilitycapuser.byesabc"));

	(void)e;
	assert_true(digest_eq(&a, &b));
	assert_true(digest_eq(&a, &want));
	x = (struct contenthash_entry) {
		.mode = S_IFCHR | 0600, .devmajor = 1, .devminor = 3, .size = 99
	};
	a = hash_entry(&x, "");
	want = digest_sha256(
		STR("namemode384uid0gid0size0typeflag3linknameunamegnamedevmajor1devminor3"));
	assert_true(digest_eq(&a, &want));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(scanned), T(seeded), T(one_by_one), T(kept),          T(stale),
		T(missing), T(loops),  T(many_files), T(special_files),
	};

	if (!env_init())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
