/* SPDX-License-Identifier: GPL-3.0-or-later */
/* tree.h - a YAML file as a tree of maps, lists and texts that know their lines.
 * Knows nothing of what the keys mean. One document; no anchors, aliases or tags; keys are texts and stand once in their map; bounded depth
 * and size: what a hostile file can cost is bounded by its length. Thread: one at a time. */
#ifndef CULVERT_BASE_TREE_H
#define CULVERT_BASE_TREE_H

#include <stdbool.h>
#include <stddef.h>

struct tree;

enum {
	TREE_ERROR_BYTES = 512,
	TREE_FILE_MAX_BYTES = 32 << 20, /* a nodes file of 150,000 prefixes is about 4 MB */
	TREE_DEPTH_MAX = 8,             /* our files need 4 */
	TREE_KEYS_MAX = 64,             /* of one map: each new one is compared with those before */
};

enum tree_kind { TREE_TEXT, TREE_LIST, TREE_MAP };

struct tree_node {
	enum tree_kind kind;
	unsigned line;                  /* 1.. */
	const char *key;                /* in a map; else NULL */
	const char *text;               /* of TREE_TEXT; holds no NUL */
	bool is_quoted;                 /* "" is a text, and nothing at all is not */
	size_t count;                   /* of children */
	struct tree_node *first, *next; /* first child, next sibling, in the file's order */
};

/* Reads a file. 0; or -EINVAL (its content), -EFBIG, -ENOMEM or the errno of reading it, with a sentence in error that names file and line.
 */
int tree_load(const char *path, struct tree **ret, char error[TREE_ERROR_BYTES]);
/* The same from memory; path only names the source in messages. */
int tree_parse(const char *path, const char *text, size_t len_bytes, struct tree **ret, char error[TREE_ERROR_BYTES]);
void tree_destroy(struct tree *t); /* NULL is welcome */

/* NULL where the file is empty. Lives as long as t. */
const struct tree_node *tree_root(const struct tree *t);
/* A text with nothing in it, or null: the key is there and its value is not. */
bool tree_is_nothing(const struct tree_node *n);
/* "a text", "a list", "a map": for messages. */
const char *tree_kind_text(enum tree_kind kind);

#endif
