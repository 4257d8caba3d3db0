#include "exec/users.h"

#include "base/limits.h"
#include "base/vec.h"
#include "sys/fd.h"
#include "sys/inroot.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

/* Largest id that a name may stand for: ids are signed in the tools that read these files. */
#define MAX_ID INT32_MAX

static bool parse_id(struct str s, uint32_t *ret)
{
	uint64_t n;

	if (!str_to_u64(s, &n) || n > UINT32_MAX)
		return false;
	*ret = (uint32_t)n;
	return true;
}

/* One of the two ids of "uid:gid"; root is a number too. */
static bool parse_plain(struct str s, uint32_t *ret)
{
	if (str_eq(s, STR("root"))) {
		*ret = 0;
		return true;
	}
	return parse_id(s, ret);
}

/* The file's text, empty if there is none. */
static struct err *read_user_file(int rootfd, struct str path, struct buf *out)
{
	CLEANUP_FD int fd = -1;
	struct stat st;
	struct err *e = inroot_open(rootfd, path, O_RDONLY | O_NONBLOCK, 0, &fd);

	if (e && (err_get_errno(e) == ENOENT || err_get_errno(e) == ENOTDIR)) {
		err_free(e);
		return NULL;
	}
	TRY(e);
	if (fstat(fd, &st) < 0)
		return err_errno(errno, "stat %.*s", STR_ARG(path));
	if (!S_ISREG(st.st_mode))
		return err_new(ERR_INVALID_ARGUMENT, "%.*s is not a regular file", STR_ARG(path));
	TRYW(fd_read_all(fd, out), "read %.*s", STR_ARG(path));
	return buf_check(out, "user file");
}

/* Of a colon-separated file: its next line that has n fields at least. */
static bool next_entry(struct str *rest, struct str *fields, size_t n)
{
	struct str line, field;

	while (str_next(rest, '\n', &line)) {
		size_t i = 0;

		line = str_trim(line);
		while (i < n && str_next(&line, ':', &field))
			fields[i++] = str_trim(field);
		if (i == n)
			return true;
	}
	return false;
}

struct lookup {
	struct str user, group;
	struct str name; /* the user's, by passwd */
	struct exec_user *u;
};

static struct err *find_user(struct lookup *l, struct str passwd)
{
	struct str rest = passwd, f[4];
	uint32_t wanted = 0, uid, gid;
	bool numeric = parse_id(l->user, &wanted);

	while (next_entry(&rest, f, 4)) {
		if (!parse_id(f[2], &uid) || !parse_id(f[3], &gid))
			continue;
		if (!str_eq(f[0], l->user) && !(numeric && uid == wanted))
			continue;
		l->name = f[0];
		l->u->uid = uid;
		l->u->gid = gid;
		return NULL;
	}
	if (!numeric)
		return err_new(ERR_UNKNOWN,
			       "unable to find user %.*s: no matching entries in passwd file",
			       STR_ARG(l->user));
	if (wanted > MAX_ID)
		return err_new(ERR_UNKNOWN, "uids and gids must be in range 0-%d", MAX_ID);
	l->u->uid = wanted;
	return NULL;
}

static bool list_has(struct str list, struct str name)
{
	struct str one;

	while (list.len && str_next(&list, ',', &one))
		if (str_eq(one, name))
			return true;
	return false;
}

static struct err *find_group(struct lookup *l, struct str groups)
{
	struct str rest = groups, f[3];
	uint32_t wanted = 0, gid;
	bool numeric = parse_id(l->group, &wanted);

	while (next_entry(&rest, f, 3)) {
		if (!parse_id(f[2], &gid))
			continue;
		if (str_eq(f[0], l->group) || (numeric && gid == wanted)) {
			l->u->gid = gid;
			return NULL;
		}
	}
	if (!numeric)
		return err_new(ERR_UNKNOWN,
			       "unable to find group %.*s: no matching entries in group file",
			       STR_ARG(l->group));
	if (wanted > MAX_ID)
		return err_new(ERR_UNKNOWN, "uids and gids must be in range 0-%d", MAX_ID);
	l->u->gid = wanted;
	return NULL;
}

/* Every group that lists the user. */
static void find_supplementary(struct lookup *l, struct str groups, struct arena *a)
{
	VEC(uint32_t) v = VEC_INIT;
	struct str rest = groups, f[4];
	uint32_t gid;

	while (next_entry(&rest, f, 4))
		if (parse_id(f[2], &gid) && list_has(f[3], l->name))
			vec_push(&v, gid);
	l->u->n_groups = v.len;
	l->u->groups = v.len ? arena_dup(a, v.items, v.len * sizeof(*v.items)) : NULL;
	vec_fini(&v);
}

/* "uid:gid" needs no file. */
static bool is_plain(struct str user, struct exec_user *ret)
{
	struct str u, g;
	struct exec_user v = { 0 };

	if (!str_cut(user, ':', &u, &g) || !parse_plain(u, &v.uid) || !parse_plain(g, &v.gid))
		return false;
	*ret = v;
	return true;
}

struct err *users_resolve(struct str user, struct str passwd, struct str groups, struct arena *a,
			  struct exec_user *ret)
{
	struct exec_user u = { 0 };
	struct lookup l = { .u = &u };

	if (is_plain(user, ret))
		return NULL;
	(void)str_cut(user.len ? user : STR("0"), ':', &l.user, &l.group);
	if (l.user.len)
		TRY(find_user(&l, passwd));
	if (l.group.len)
		TRY(find_group(&l, groups));
	else if (l.name.len)
		find_supplementary(&l, groups, a);
	*ret = u;
	return NULL;
}

struct err *users_lookup(int rootfd, struct str user, struct arena *a, struct exec_user *ret)
{
	SCOPED_BUF(passwd, LIMIT_PASSWD_FILE);
	SCOPED_BUF(groups, LIMIT_PASSWD_FILE);

	if (is_plain(user, ret))
		return NULL;
	TRY(read_user_file(rootfd, STR("/etc/passwd"), &passwd));
	TRY(read_user_file(rootfd, STR("/etc/group"), &groups));
	return users_resolve(user, buf_str(&passwd), buf_str(&groups), a, ret);
}

struct str users_home(int rootfd, uint32_t uid, struct arena *a)
{
	SCOPED_BUF(text, LIMIT_PASSWD_FILE);
	struct err *e = read_user_file(rootfd, STR("/etc/passwd"), &text);
	struct str rest = buf_str(&text), f[6];
	uint32_t n;

	if (e) {
		err_free(e);
		return STR("/");
	}
	while (next_entry(&rest, f, 6))
		if (parse_id(f[2], &n) && n == uid && f[5].len)
			return str_dup(a, f[5]);
	return STR("/");
}
