/* Runs the actions. A result that goes only into the next action stays a mutable layer, mounted
 * once for the whole chain; one that is used twice or is an output is committed. */
#include "base/path.h"
#include "op/file_op.h"
#include "op/tree.h"

struct state {
	size_t n_uses; /* as an input or as an output */
	bool running, done;
	/* Either a layer being written ... */
	struct cache_mut *mut;
	struct mounts *view;
	struct localmount *mount; /* NULL: closed for the moment */
	/* ... or a committed one (NULL: scratch), and its tree once it was read. */
	bool committed;
	struct cache_ref *ref;
	struct tree *tree;
};

struct solving {
	struct file_op *o;
	const struct op_env *env;
	struct worker *worker;
	struct arena arena;
	size_t n_inputs, n_states;
	struct state *states; /* of inputs, then of actions */
	int64_t failed;
};

static void state_fini(struct state *s)
{
	localmount_close(s->mount);
	cache_mut_release(s->mut);
	tree_close(s->tree);
	cache_ref_release(s->ref);
}

/* ---- who needs what ---- */

/* All that action i reads; the base first. At most four. */
static size_t needs(const Pb__FileAction *a, int64_t out[4])
{
	const Pb__ChownOpt *c = file_action_owner(a);
	int64_t i;
	size_t n = 0;

	if (a->input >= 0)
		out[n++] = a->input;
	if (a->secondaryinput >= 0 && a->action_case == PB__FILE_ACTION__ACTION_COPY)
		out[n++] = a->secondaryinput;
	/* Names are looked up in the base before it changes: no use of its own. */
	if (c && file_owner_input(c->user, &i) && i >= 0 && i != a->input)
		out[n++] = i;
	if (c && file_owner_input(c->group, &i) && i >= 0 && i != a->input)
		out[n++] = i;
	return n;
}

static void count_uses(struct solving *s)
{
	const Pb__FileOp *f = s->o->pb;
	int64_t in[4];

	for (size_t i = 0; i < f->n_actions; i++) {
		size_t n = needs(f->actions[i], in);

		for (size_t k = 0; k < n; k++)
			s->states[in[k]].n_uses++;
		if (f->actions[i]->output != -1)
			s->states[s->n_inputs + i].n_uses++;
	}
}

/* ---- states ---- */

static struct err *commit(struct solving *s, struct state *st)
{
	if (st->committed)
		return NULL;
	localmount_close(st->mount);
	st->mount = NULL;
	TRY(cache_mut_commit(TAKE_PTR(st->mut), s->env->ctx, &st->ref));
	st->committed = true;
	return NULL;
}

static struct err *open_view(struct solving *s, struct state *st)
{
	return st->mount ? NULL : localmount_open(st->view, s->worker->tmp_dir, &st->mount);
}

static void close_view(void *arg)
{
	struct state *st = arg;

	localmount_close(TAKE_PTR(st->mount));
}

/* The tree of a state, to read. -1: nothing is there. */
static struct err *read_fd(struct solving *s, int64_t i, int *ret)
{
	struct state *st;

	*ret = -1;
	if (i < 0)
		return NULL;
	st = &s->states[i];
	if (!st->committed) {
		TRY(open_view(s, st));
		*ret = localmount_dirfd(st->mount);
		return NULL;
	}
	if (!st->tree) {
		TRY(op_unlazy(s->env, st->ref));
		TRY(tree_open(s->worker, s->env->ctx, st->ref, &st->tree));
	}
	*ret = tree_fd(st->tree);
	return NULL;
}

/* Makes st a layer on top of base, taking over base's own layer if nobody else needs it. */
static struct err *begin(struct solving *s, struct state *st, int64_t base)
{
	struct cache_opts opts = { .description = str_from(s->o->base.vertex->name) };
	struct state *b = base >= 0 ? &s->states[base] : NULL;

	if (b && !b->committed && b->n_uses == 1) {
		st->mut = TAKE_PTR(b->mut);
		st->mount = TAKE_PTR(b->mount);
		st->view = b->view;
		return NULL;
	}
	if (b)
		TRY(commit(s, b));
	if (b)
		TRY(op_unlazy(s->env, b->ref));
	TRY(cache_new(s->worker->cache, s->env->ctx, b ? b->ref : NULL, &opts, &st->mut));
	return cache_mut_mounts(st->mut, s->env->ctx, &s->arena, false, &st->view);
}

/* ---- actions ---- */

static struct err *find_owner(struct solving *s, const Pb__FileAction *a, int root,
			      struct file_owner *ret)
{
	const Pb__ChownOpt *c = file_action_owner(a);
	int user_fd = -1, group_fd = -1;
	int64_t i;

	if (c && file_owner_input(c->user, &i)) {
		user_fd = root;
		if (i != a->input)
			TRY(read_fd(s, i, &user_fd));
	}
	if (c && file_owner_input(c->group, &i)) {
		group_fd = root;
		if (i != a->input)
			TRY(read_fd(s, i, &group_fd));
	}
	return file_find_owner(c, user_fd, group_fd, ret);
}

static struct err *run_copy(struct solving *s, const Pb__FileAction *a, struct state *st,
			    const struct file_owner *owner)
{
	struct file_views views = { .dst = st->view, .leave = close_view, .arg = st };
	struct tree *empty = NULL;
	struct err *e;
	int src;

	TRY(read_fd(s, a->secondaryinput, &src));
	if (src < 0) {
		TRY(tree_open(s->worker, s->env->ctx, NULL, &empty));
		src = tree_fd(empty);
	} else if (s->states[a->secondaryinput].tree) {
		views.src = tree_mounts(s->states[a->secondaryinput].tree);
	}
	e = file_copy(s->env->ctx, src, localmount_dirfd(st->mount), a->copy, owner, &views);
	tree_close(empty);
	return e;
}

/* Something new may need no mount. */
static struct err *run_direct(struct solving *s, const Pb__FileAction *a, struct state *st,
			      bool *ret_done)
{
	const Pb__ChownOpt *c = file_action_owner(a);
	Pb__FileActionMkFile file;
	Pb__FileActionMkDir dir;
	Pb__FileActionSymlink link;
	struct file_owner owner;
	CLEANUP_FD int fd = -1;
	struct str path, rest;
	const char *given;
	int64_t i;
	bool ok;

	*ret_done = false;
	if (st->mount || a->action_case == PB__FILE_ACTION__ACTION_COPY ||
	    a->action_case == PB__FILE_ACTION__ACTION_RM)
		return NULL;
	if (c && ((file_owner_input(c->user, &i) && i == a->input) ||
		  (file_owner_input(c->group, &i) && i == a->input)))
		return NULL; /* the tree is read, too */
	given = a->action_case == PB__FILE_ACTION__ACTION_MKDIR    ? a->mkdir->path
		: a->action_case == PB__FILE_ACTION__ACTION_MKFILE ? a->mkfile->path
								   : a->symlink->newpath;
	path = path_join(&s->arena, STR("/"), str_from(given));
	TRY(file_direct(st->view, path, &fd, &rest, &ok));
	/* Missing parents, or a path that is there: the usual way has the right answers. */
	if (!ok || (!rest.len && a->action_case != PB__FILE_ACTION__ACTION_MKDIR) ||
	    (str_find(rest, '/') >= 0 &&
	     (a->action_case != PB__FILE_ACTION__ACTION_MKDIR || !a->mkdir->makeparents)))
		return NULL;
	*ret_done = true;
	if (!rest.len)
		return NULL;
	TRY(find_owner(s, a, -1, &owner));
	switch (a->action_case) {
	case PB__FILE_ACTION__ACTION_MKDIR:
		dir = *a->mkdir;
		dir.path = str_cstr(&s->arena, rest);
		return file_mkdir(fd, &dir, &owner);
	case PB__FILE_ACTION__ACTION_MKFILE:
		file = *a->mkfile;
		file.path = str_cstr(&s->arena, rest);
		return file_mkfile(fd, &file, &owner);
	default:
		link = *a->symlink;
		link.newpath = str_cstr(&s->arena, rest);
		return file_symlink(fd, &link, &owner);
	}
}

static struct err *run_action(struct solving *s, const Pb__FileAction *a, struct state *st)
{
	struct file_owner owner;
	bool done;
	int root;

	TRY(run_direct(s, a, st, &done));
	if (done)
		return NULL;
	TRY(open_view(s, st));
	root = localmount_dirfd(st->mount);
	TRY(find_owner(s, a, root, &owner));
	switch (a->action_case) {
	case PB__FILE_ACTION__ACTION_MKDIR:
		return file_mkdir(root, a->mkdir, &owner);
	case PB__FILE_ACTION__ACTION_MKFILE:
		return file_mkfile(root, a->mkfile, &owner);
	case PB__FILE_ACTION__ACTION_SYMLINK:
		return file_symlink(root, a->symlink, &owner);
	case PB__FILE_ACTION__ACTION_RM:
		return file_rm(root, a->rm);
	default:
		return run_copy(s, a, st, &owner);
	}
}

static struct err *run_one(struct solving *s, size_t number)
{
	const Pb__FileAction *a = s->o->pb->actions[number];
	struct state *st = &s->states[s->n_inputs + number];
	int64_t in[4];
	size_t n = needs(a, in);

	TRY(ctx_err(s->env->ctx));
	/* What is read from must stand still: only the base may be taken over. */
	for (size_t k = a->input >= 0 ? 1 : 0; k < n; k++)
		TRY(commit(s, &s->states[in[k]]));
	TRY(begin(s, st, a->input));
	s->failed = (int64_t)number;
	TRY(run_action(s, a, st));
	s->failed = -1;
	if (st->n_uses > 1)
		TRY(commit(s, st));
	return NULL;
}

/* Action i after all it needs; without recursion, since chains may be long. */
static struct err *run_with_needs(struct solving *s, size_t number)
{
	size_t *stack = ARENA_NEW_N(&s->arena, size_t, s->o->pb->n_actions * 4 + 1);
	size_t depth = 0;

	stack[depth++] = number;
	while (depth) {
		size_t i = stack[depth - 1], before = depth;
		struct state *st = &s->states[s->n_inputs + i];
		int64_t in[4];
		size_t n = needs(s->o->pb->actions[i], in);

		if (st->done) {
			depth--;
			continue;
		}
		for (size_t k = n; k-- > 0;) {
			struct state *need = &s->states[in[k]];

			if ((uint64_t)in[k] < s->n_inputs || need->done)
				continue;
			if (need->running || depth == s->o->pb->n_actions * 4 + 1)
				return err_new(ERR_INVALID_ARGUMENT, "loop from index %lld",
					       (long long)in[k]);
			stack[depth++] = (size_t)in[k] - s->n_inputs;
		}
		st->running = true;
		if (depth > before)
			continue;
		TRY(run_one(s, i));
		st->done = true;
		depth--;
	}
	return NULL;
}

static struct err *solve(struct solving *s, struct op_outputs *out)
{
	for (size_t k = 0; k < s->o->n_outputs; k++)
		TRY(run_with_needs(s, s->o->outputs[k]));
	for (size_t k = 0; k < s->o->n_outputs; k++) {
		struct state *st = &s->states[s->n_inputs + s->o->outputs[k]];

		TRY(commit(s, st));
		op_outputs_add(out, op_result_new(s->worker, cache_ref_clone(st->ref)));
	}
	return NULL;
}

/* The trees that the failed action worked on, for a look at them. */
static void keep_states(struct solving *s, struct file_op_failure *f)
{
	const Pb__FileAction *a = s->o->pb->actions[s->failed];
	const int64_t look[2] = { (int64_t)s->n_inputs + s->failed, a->secondaryinput };

	f->states = mem_calloc(s->o->pb->n_actions, sizeof(*f->states));
	for (size_t i = 0; i < ARRAY_SIZE(look); i++) {
		struct state *st;
		struct err *e;

		if (look[i] < (int64_t)s->n_inputs)
			continue;
		st = &s->states[look[i]];
		e = st->mut || st->committed ? commit(s, st) : NULL;
		/* Only a help: without it the step has failed all the same. */
		err_free(e);
		if (!e && st->ref)
			f->states[look[i] - (int64_t)s->n_inputs] = cache_ref_clone(st->ref);
	}
}

struct err *file_op_solve(struct file_op *o, const struct op_env *env, struct result *const *inputs,
			  struct op_outputs *out, struct file_op_failure *ret)
{
	struct solving s = {
		.o = o,
		.env = env,
		.worker = o->base.worker,
		.n_inputs = o->base.vertex->n_inputs,
		.failed = -1,
	};
	struct err *e;

	s.n_states = s.n_inputs + o->pb->n_actions;
	s.states = ARENA_NEW_N(&s.arena, struct state, s.n_states);
	for (size_t i = 0; i < s.n_inputs; i++) {
		struct cache_ref *r = op_result_ref(inputs[i]);

		s.states[i].committed = s.states[i].done = true;
		s.states[i].ref = r ? cache_ref_clone(r) : NULL;
	}
	count_uses(&s);
	e = solve(&s, out);
	*ret = (struct file_op_failure) { .action = s.failed };
	if (e && s.failed >= 0 && !ctx_done(env->ctx))
		keep_states(&s, ret);
	for (size_t i = 0; i < s.n_states; i++)
		state_fini(&s.states[i]);
	arena_fini(&s.arena);
	return e;
}
