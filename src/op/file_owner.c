#include "op/file.h"
#include "sys/fd.h"
#include "sys/inroot.h"

/* A system file of the tree; what can't be read counts as empty. */
static bool read_db(int root, const char *path, struct buf *out)
{
	CLEANUP_FD int fd = -1;
	struct stat st;
	struct err *e;

	if (root < 0)
		return false;
	e = inroot_open(root, str_from(path), O_RDONLY | O_NONBLOCK, 0, &fd);
	if (!e && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)))
		return false;
	if (!e)
		e = fd_read_all(fd, out);
	if (e) {
		err_free(e);
		return false;
	}
	return true;
}

/* "name:x:number:number2:...": the numbers of the line of that name. */
static bool find_line(struct str text, struct str name, uint64_t *ret_first, uint64_t *ret_second)
{
	struct str line;

	while (str_next(&text, '\n', &line)) {
		struct str field[4] = { { 0 } };

		for (size_t i = 0; i < ARRAY_SIZE(field); i++)
			if (!str_next(&line, ':', &field[i]))
				break;
		if (!str_eq(str_trim(field[0]), name) || !str_to_u64(field[2], ret_first))
			continue;
		if (!str_to_u64(field[3], ret_second))
			*ret_second = 0;
		return true;
	}
	return false;
}

static bool look_up(int root, const char *path, const char *name, uint64_t *ret_first,
		    uint64_t *ret_second)
{
	SCOPED_BUF(text, LIMIT_PASSWD_FILE);

	return read_db(root, path, &text) &&
	       find_line(buf_str(&text), str_from(name), ret_first, ret_second);
}

bool file_owner_input(const Pb__UserOpt *u, int64_t *ret_input)
{
	if (!u || u->user_case != PB__USER_OPT__USER_BY_NAME)
		return false;
	*ret_input = u->byname->input;
	return true;
}

struct err *file_find_owner(const Pb__ChownOpt *o, int passwd_fd, int group_fd,
			    struct file_owner *ret)
{
	uint64_t id, gid;

	*ret = (struct file_owner) { .set = o };
	if (!o)
		return NULL;
	if (o->user && o->user->user_case == PB__USER_OPT__USER_BY_ID) {
		ret->uid = o->user->byid;
		ret->gid = o->user->byid;
	} else if (o->user && o->user->user_case == PB__USER_OPT__USER_BY_NAME &&
		   look_up(passwd_fd, "/etc/passwd", o->user->byname->name, &id, &gid)) {
		ret->uid = (uid_t)id;
		ret->gid = (gid_t)gid;
	}
	if (o->group && o->group->user_case == PB__USER_OPT__USER_BY_ID) {
		ret->gid = o->group->byid;
	} else if (o->group && o->group->user_case == PB__USER_OPT__USER_BY_NAME) {
		ret->gid = 0;
		if (look_up(group_fd, "/etc/group", o->group->byname->name, &id, &gid))
			ret->gid = (gid_t)id;
	}
	return NULL;
}
