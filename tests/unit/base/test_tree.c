/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct tree *parse(const char *text)
{
	char error[TREE_ERROR_BYTES] = "";
	struct tree *t;

	if (tree_parse("f", text, strlen(text), &t, error) != 0)
		fail_msg("%s", error);
	return t;
}

static void refuse_bytes(const char *text, size_t len, const char *message)
{
	char error[TREE_ERROR_BYTES] = "";
	struct tree *t = NULL;

	assert_int_equal(tree_parse("f", text, len, &t, error), -EINVAL);
	assert_null(t);
	assert_string_equal(error, message);
}

static void refuse(const char *text, const char *message)
{
	refuse_bytes(text, strlen(text), message);
}

static void nodes_know_their_lines(void **state)
{
	struct tree *t = parse("# comment\na: 1\nb:\n- x\n- {c: \"y\", d: [p,\n  q]}\n");
	const struct tree_node *root = tree_root(t), *a = root->first, *b = a->next, *x = b->first, *map = x->next, *c = map->first,
			       *d = c->next;

	(void)state;
	assert_int_equal(root->kind, TREE_MAP);
	assert_int_equal(root->count, 2);
	assert_null(root->key);
	assert_string_equal(a->key, "a");
	assert_string_equal(a->text, "1");
	assert_int_equal(a->line, 2);
	assert_int_equal(b->kind, TREE_LIST);
	assert_int_equal(b->line, 3);
	assert_int_equal(b->count, 2);
	assert_null(b->next);
	assert_string_equal(x->text, "x");
	assert_int_equal(x->line, 4);
	assert_false(x->is_quoted);
	assert_int_equal(map->kind, TREE_MAP);
	assert_true(c->is_quoted);
	assert_int_equal(d->first->line, 5);
	assert_int_equal(d->first->next->line, 6);
	tree_destroy(t);
}

static void nothing_is_not_the_empty_text(void **state)
{
	struct tree *t = parse("a:\nb: ~\nc: null\nd: \"\"\ne: 'null'\nf: x\n");
	const struct tree_node *n = tree_root(t)->first;

	(void)state;
	for (int i = 0; i < 6; i++, n = n->next)
		assert_int_equal(tree_is_nothing(n), i < 3);
	tree_destroy(t);
}

static void an_empty_file_has_no_root(void **state)
{
	static const char *const texts[] = { "", "\n\n", "# nothing\n" };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct tree *t = parse(texts[i]);

		assert_null(tree_root(t));
		tree_destroy(t);
	}
}

static void faults_name_the_line(void **state)
{
	(void)state;
	refuse("a: 1\nb: 2\na: 3\n", "f:3: key \"a\" is there twice (first in line 1); once would be right");
	refuse("a: [1,\n 2\nb: 3\n",
	       "f:3: not valid YAML: did not find expected ',' or ']' (while parsing a flow sequence that begins in line 1)");
	refuse("a:\n\t- 1\n",
	       "f:2: not valid YAML: a tab, or another character that can not stand here; indent with spaces, quote what is no plain word");
	refuse("a: &x 1\n", "f:1: anchors (&), aliases (*) and tags (!) are not read here; write the value out, or quote it");
	refuse("a: 1\nb: *x\n", "f:2: anchors (&), aliases (*) and tags (!) are not read here; write the value out, or quote it");
	refuse("a: !!binary aaaa\n", "f:1: anchors (&), aliases (*) and tags (!) are not read here; write the value out, or quote it");
	refuse("a: &x [1]\n", "f:1: anchors (&), aliases (*) and tags (!) are not read here; write the value out, or quote it");
	refuse("a: &x {}\n", "f:1: anchors (&), aliases (*) and tags (!) are not read here; write the value out, or quote it");
	refuse("a: 1\n---\nb: 1\n", "f:2: a second document begins; one would be right");
	refuse("a: 1\n? [x]\n: 2\n", "f:2: a key of a map is a list; a plain word would be right");
	refuse("? {x: 1}\n: 2\n", "f:1: a key of a map is a map; a plain word would be right");
	refuse("a: \"x\\0y\"\n", "f:1: a NUL byte in a text");
	refuse("a:\n  [[[[[[[[[1]]]]]]]]]\n", "f:2: nested more than 8 deep");
	refuse_bytes("a: 1\nb: \xff\n", 10,
	             "f:2: not valid UTF-8 text (invalid leading UTF-8 octet); a plain text file in UTF-8 would be right");
}

static void too_many_keys_are_refused(void **state)
{
	char text[TREE_KEYS_MAX * 8 + 64] = "";
	size_t len = 0;

	(void)state;
	for (int i = 0; i < TREE_KEYS_MAX; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "k%d: 1\n", i);
	tree_destroy(parse(text));
	(void)snprintf(text + len, sizeof(text) - len, "more: 1\n");
	refuse(text, "f:65: more than 64 keys in one map");
}

static void long_texts_are_whole(void **state)
{
	enum { LEN = 200000 };
	char *text = malloc(LEN + 4);
	struct tree *t;

	(void)state;
	assert_non_null(text);
	memcpy(text, "a: ", 3);
	memset(text + 3, 'x', LEN);
	text[LEN + 3] = '\0';
	t = parse(text);
	assert_string_equal(tree_root(t)->first->text, text + 3);
	tree_destroy(t);
	free(text);
}

static void files_are_read(void **state)
{
	char path[] = "/tmp/culvert-test-tree-XXXXXX", error[TREE_ERROR_BYTES], expected[TREE_ERROR_BYTES];
	struct tree *t;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "a: 1\n", 5), 5);
	assert_int_equal(tree_load(path, &t, error), 0);
	assert_string_equal(tree_root(t)->first->text, "1");
	tree_destroy(t);
	assert_int_equal(write(fd, "a: 2\n", 5), 5);
	assert_int_equal(tree_load(path, &t, error), -EINVAL);
	(void)snprintf(expected, sizeof(expected), "%s:2: key \"a\" is there twice (first in line 1); once would be right", path);
	assert_string_equal(error, expected);
	assert_int_equal(close(fd), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(tree_load(path, &t, error), -ENOENT);
	(void)snprintf(expected, sizeof(expected), "%s: can not be opened: No such file or directory", path);
	assert_string_equal(error, expected);
	assert_int_equal(tree_load("/tmp", &t, error), -EINVAL);
	assert_string_equal(error, "/tmp: is not a file");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nodes_know_their_lines),
		cmocka_unit_test(nothing_is_not_the_empty_text),
		cmocka_unit_test(an_empty_file_has_no_root),
		cmocka_unit_test(faults_name_the_line),
		cmocka_unit_test(too_many_keys_are_refused),
		cmocka_unit_test(long_texts_are_whole),
		cmocka_unit_test(files_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
