/* The words that announce a heredoc: [fd]<<[-]WORD. */
#ifndef FRONTEND_DOCKERFILE_HEREDOC_H
#define FRONTEND_DOCKERFILE_HEREDOC_H

#include "frontend/dockerfile/text.h"

struct heredoc {
	struct str name;
	bool expand; /* the word was not quoted */
	bool chomp;  /* <<-: leading tabs go */
	struct str content;
};

/* *ret_is: word announces one. An error for broken quoting in it. */
struct err *heredoc_word(struct arena *a, struct str word, bool *ret_is,
			 struct heredoc *ret) ERR_RESULT;
/* The same, with broken ones being none. */
bool heredoc_is(struct arena *a, struct str word, struct heredoc *ret);
/* Those of a line, without content. */
struct err *heredoc_line(struct arena *a, struct str line, struct heredoc **ret,
			 size_t *ret_n) ERR_RESULT;
/* Without the tabs at the beginning of each line. */
struct str heredoc_chomp(struct arena *a, struct str content);

#endif
