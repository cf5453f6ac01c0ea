/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/tree.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

enum { BLOCK_BYTES = 64 << 10 };

/* All memory of a tree lies in such blocks and goes at once. */
struct block {
	struct block *next;
	size_t used, cap;
	max_align_t bytes[];
};

struct tree {
	struct block *blocks;
	struct tree_node *root;
};

struct open_node {
	struct tree_node *node;
	struct tree_node *last;
	const char *key; /* a map's key that waits for its value */
	unsigned key_line;
};

struct parse {
	const char *path;
	struct tree *tree;
	yaml_parser_t parser;
	char *error;
	struct open_node open[TREE_DEPTH_MAX];
	unsigned depth, documents;
};

static void *tree_alloc(struct tree *t, size_t len_bytes)
{
	struct block *b = t->blocks;
	void *ret;

	len_bytes = (len_bytes + sizeof(max_align_t) - 1) & ~(sizeof(max_align_t) - 1);
	if (!b || b->cap - b->used < len_bytes) {
		size_t cap = len_bytes > BLOCK_BYTES ? len_bytes : BLOCK_BYTES;

		b = malloc(sizeof(*b) + cap);
		if (!b)
			return NULL;
		b->next = t->blocks;
		b->used = 0;
		b->cap = cap;
		t->blocks = b;
	}
	ret = (char *)b->bytes + b->used;
	b->used += len_bytes;
	return ret;
}

__attribute__((format(printf, 3, 4))) static int fault(const struct parse *p, unsigned line, const char *format, ...)
{
	int len = snprintf(p->error, TREE_ERROR_BYTES, "%s:%u: ", p->path, line);
	va_list args;

	if (len >= 0 && len < TREE_ERROR_BYTES) {
		va_start(args, format);
		(void)vsnprintf(p->error + len, (size_t)(TREE_ERROR_BYTES - len), format, args);
		va_end(args);
	}
	return -EINVAL;
}

static int out_of_memory(const struct parse *p)
{
	(void)snprintf(p->error, TREE_ERROR_BYTES, "%s: out of memory", p->path);
	return -ENOMEM;
}

static unsigned line_of(const yaml_mark_t *mark)
{
	return mark->line < UINT32_MAX ? (unsigned)mark->line + 1 : UINT32_MAX;
}

/* The parser's own faults. It speaks in fragments: problem, and what it was in the middle of. */
static int parser_fault(struct parse *p, const char *text, size_t len_bytes)
{
	const yaml_parser_t *y = &p->parser;
	unsigned line = line_of(&y->problem_mark);

	switch (y->error) {
	case YAML_MEMORY_ERROR:
		return out_of_memory(p);
	case YAML_READER_ERROR:
		line = 1;
		for (size_t i = 0; i < len_bytes && i < y->problem_offset; i++)
			line += text[i] == '\n';
		return fault(p, line, "not valid UTF-8 text (%s); a plain text file in UTF-8 would be right", y->problem);
	default:
		break;
	}
	if (y->problem && strstr(y->problem, "cannot start any token"))
		return fault(
			p, line,
			"not valid YAML: a tab, or another character that can not stand here; indent with spaces, quote what is no plain word");
	if (y->context && y->context_mark.line != y->problem_mark.line)
		return fault(p, line, "not valid YAML: %s (%s that begins in line %u)", y->problem, y->context, line_of(&y->context_mark));
	return fault(p, line, "not valid YAML: %s%s%s", y->problem ? y->problem : "?", y->context ? ", " : "",
	             y->context ? y->context : "");
}

/* Puts a new node below the innermost open one. */
static int place(struct parse *p, enum tree_kind kind, const yaml_mark_t *mark, struct tree_node **ret)
{
	struct open_node *parent = p->depth ? &p->open[p->depth - 1] : NULL;
	struct tree_node *n = tree_alloc(p->tree, sizeof(*n));

	if (!n)
		return out_of_memory(p);
	*n = (struct tree_node){ .kind = kind, .line = line_of(mark) };
	if (!parent) {
		p->tree->root = n;
	} else {
		n->key = parent->key;
		/* A fault of "key:" with its value in the lines below is looked for at the key. */
		if (parent->key)
			n->line = parent->key_line;
		parent->key = NULL;
		if (parent->last)
			parent->last->next = n;
		else
			parent->node->first = n;
		parent->last = n;
		parent->node->count++;
	}
	*ret = n;
	return 0;
}

static bool is_key_expected(const struct parse *p)
{
	const struct open_node *parent = p->depth ? &p->open[p->depth - 1] : NULL;

	return parent && parent->node->kind == TREE_MAP && !parent->key;
}

static int open_container(struct parse *p, enum tree_kind kind, const yaml_event_t *event)
{
	struct tree_node *n;
	int rc;

	if (is_key_expected(p))
		return fault(p, line_of(&event->start_mark), "a key of a map is %s; a plain word would be right", tree_kind_text(kind));
	if (p->depth == TREE_DEPTH_MAX)
		return fault(p, line_of(&event->start_mark), "nested more than %d deep", TREE_DEPTH_MAX);
	rc = place(p, kind, &event->start_mark, &n);
	if (rc < 0)
		return rc;
	p->open[p->depth++] = (struct open_node){ .node = n };
	return 0;
}

static int set_key(struct parse *p, const char *text, unsigned line)
{
	struct open_node *map = &p->open[p->depth - 1];
	char quoted[TEXT_QUOTE_BYTES];

	if (map->node->count == TREE_KEYS_MAX)
		return fault(p, line, "more than %d keys in one map", TREE_KEYS_MAX);
	for (const struct tree_node *n = map->node->first; n; n = n->next) {
		if (strcmp(n->key, text) == 0)
			return fault(p, line, "key %s is there twice (first in line %u); once would be right", text_quote(text, quoted),
			             n->line);
	}
	map->key = text;
	map->key_line = line;
	return 0;
}

static int take_text(struct parse *p, const yaml_event_t *event)
{
	const char *bytes = (const char *)event->data.scalar.value;
	size_t len = event->data.scalar.length;
	unsigned line = line_of(&event->start_mark);
	struct tree_node *n;
	char *text;
	int rc;

	if (memchr(bytes, '\0', len))
		return fault(p, line, "a NUL byte in a text");
	text = tree_alloc(p->tree, len + 1);
	if (!text)
		return out_of_memory(p);
	memcpy(text, bytes, len);
	text[len] = '\0';
	if (is_key_expected(p))
		return set_key(p, text, line);
	rc = place(p, TREE_TEXT, &event->start_mark, &n);
	if (rc < 0)
		return rc;
	n->text = text;
	n->is_quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	return 0;
}

/* Does an event carry an anchor or a tag? */
static bool is_adorned(const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return event->data.scalar.anchor || event->data.scalar.tag;
	case YAML_SEQUENCE_START_EVENT:
		return event->data.sequence_start.anchor || event->data.sequence_start.tag;
	case YAML_MAPPING_START_EVENT:
		return event->data.mapping_start.anchor || event->data.mapping_start.tag;
	default:
		return event->type == YAML_ALIAS_EVENT;
	}
}

static int take_event(struct parse *p, const yaml_event_t *event)
{
	unsigned line = line_of(&event->start_mark);

	if (is_adorned(event))
		return fault(p, line, "anchors (&), aliases (*) and tags (!) are not read here; write the value out, or quote it");
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		return p->documents++ == 0 ? 0 : fault(p, line, "a second document begins; one would be right");
	case YAML_MAPPING_START_EVENT:
		return open_container(p, TREE_MAP, event);
	case YAML_SEQUENCE_START_EVENT:
		return open_container(p, TREE_LIST, event);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		p->depth--;
		return 0;
	case YAML_SCALAR_EVENT:
		return take_text(p, event);
	default:
		return 0;
	}
}

int tree_parse(const char *path, const char *text, size_t len_bytes, struct tree **ret, char error[TREE_ERROR_BYTES])
{
	struct parse p = { .path = path, .error = error };
	bool is_end = false;
	int rc = 0;

	p.tree = calloc(1, sizeof(*p.tree));
	if (!p.tree || !yaml_parser_initialize(&p.parser)) {
		free(p.tree);
		return out_of_memory(&p);
	}
	yaml_parser_set_encoding(&p.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&p.parser, (const unsigned char *)text, len_bytes);
	while (rc == 0 && !is_end) {
		yaml_event_t event;

		if (!yaml_parser_parse(&p.parser, &event)) {
			rc = parser_fault(&p, text, len_bytes);
			break;
		}
		is_end = event.type == YAML_STREAM_END_EVENT;
		rc = take_event(&p, &event);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&p.parser);
	if (rc < 0) {
		tree_destroy(p.tree);
		return rc;
	}
	*ret = p.tree;
	return 0;
}

static int read_all(int fd, char **ret_text, size_t *ret_len)
{
	size_t len = 0, cap = 16 << 10;
	char *text = malloc(cap), *bigger;
	ssize_t got;
	int rc;

	if (!text)
		return -ENOMEM;
	for (;;) {
		if (len == cap) {
			cap *= 2;
			bigger = realloc(text, cap);
			if (!bigger) {
				rc = -ENOMEM;
				break;
			}
			text = bigger;
		}
		got = read(fd, text + len, cap - len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			rc = -errno;
			break;
		}
		if (got == 0) {
			*ret_text = text;
			*ret_len = len;
			return 0;
		}
		len += (size_t)got;
		if (len > TREE_FILE_MAX_BYTES) {
			rc = -EFBIG;
			break;
		}
	}
	free(text);
	return rc;
}

int tree_load(const char *path, struct tree **ret, char error[TREE_ERROR_BYTES])
{
	/* Non-blocking, so that a path that names a pipe does not stop the daemon. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	size_t len = 0;
	char *text = NULL;
	int rc;

	if (fd < 0) {
		rc = -errno;
		(void)snprintf(error, TREE_ERROR_BYTES, "%s: can not be opened: %s", path, strerror(-rc));
		return rc;
	}
	if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
		(void)close(fd);
		(void)snprintf(error, TREE_ERROR_BYTES, "%s: is not a file", path);
		return -EINVAL;
	}
	rc = read_all(fd, &text, &len);
	(void)close(fd);
	if (rc < 0) {
		(void)snprintf(error, TREE_ERROR_BYTES, "%s: can not be read: %s", path,
		               rc == -EFBIG ? "it is larger than 32 MiB, so it is hardly ours" : strerror(-rc));
		return rc;
	}
	rc = tree_parse(path, text, len, ret, error);
	free(text);
	return rc;
}

void tree_destroy(struct tree *t)
{
	struct block *next;

	if (!t)
		return;
	for (struct block *b = t->blocks; b; b = next) {
		next = b->next;
		free(b);
	}
	free(t);
}

const struct tree_node *tree_root(const struct tree *t)
{
	return t->root;
}

bool tree_is_nothing(const struct tree_node *n)
{
	return n->kind == TREE_TEXT && !n->is_quoted && (n->text[0] == '\0' || strcmp(n->text, "~") == 0 || strcmp(n->text, "null") == 0);
}

const char *tree_kind_text(enum tree_kind kind)
{
	return kind == TREE_TEXT ? "a text" : kind == TREE_LIST ? "a list" : "a map";
}
