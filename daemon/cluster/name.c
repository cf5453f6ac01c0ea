/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cluster/name.h"

#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const type_texts[] = {
	[TLS_NAME_URI] = "URI",
	[TLS_NAME_DNS] = "DNS",
};

static const char node_word[] = "{node}";

/* What only Kubernetes can say of a node. */
enum pod_word { WORD_POD, WORD_POD_UID, WORD_NAMESPACE, POD_WORDS };
enum { WORD_BYTES = 16 }; /* the longest is {namespace} */
static const char *const kubernetes_words[POD_WORDS] = { "{pod}", "{pod_uid}", "{namespace}" };

__attribute__((format(printf, 2, 3))) static void explain(char error[NAME_ERROR_BYTES], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(error, NAME_ERROR_BYTES, format, args);
	va_end(args);
}

static bool is_one_of(char c, const char *set)
{
	return c != '\0' && strchr(set, c);
}

static bool is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* RFC 3986, 3.1, with something behind it. */
static bool has_scheme(const char *uri)
{
	size_t i = 0;

	if (!is_alpha(uri[0]))
		return false;
	while (is_alpha(uri[i]) || is_digit(uri[i]) || is_one_of(uri[i], "+-."))
		i++;
	return uri[i] == ':';
}

/* Every character that a name of the type can have, beside the placeholder. */
static bool is_name_char(enum tls_name_type type, char c)
{
	if (type == TLS_NAME_DNS)
		return is_alpha(c) || is_digit(c) || is_one_of(c, "-._");
	return c > ' ' && c < 0x7f && !is_one_of(c, "\"<>\\^`{|}*");
}

static bool is_name_text(enum tls_name_type type, const char *text)
{
	while (is_name_char(type, *text))
		text++;
	return *text == '\0';
}

/* The word in braces at p, or NULL: no whole one. *ret_len: with its braces. */
static bool word_at(const char *p, char word[WORD_BYTES], size_t *ret_len)
{
	const char *end = strchr(p, '}');
	size_t len = end ? (size_t)(end - p) + 1 : 0;

	if (len == 0 || len >= WORD_BYTES)
		return false;
	memcpy(word, p, len);
	word[len] = '\0';
	*ret_len = len;
	return true;
}

/* Which of Kubernetes' words it is; POD_WORDS: none. */
static enum pod_word pod_word_of(const char *word)
{
	int i = 0;

	while (i < POD_WORDS && strcmp(word, kubernetes_words[i]) != 0)
		i++;
	return (enum pod_word)i;
}

/* Looks at the first placeholder of text that is not {node}. */
static bool has_foreign_word(const char *text, char error[NAME_ERROR_BYTES])
{
	char word[WORD_BYTES];
	size_t len;

	for (const char *p = text; (p = strchr(p, '{')); p++) {
		if (!word_at(p, word, &len)) {
			explain(error, "has a { without a word that is known; {node} would be right");
			return true;
		}
		if (strcmp(word, node_word) == 0)
			continue;
		if (pod_word_of(word) < POD_WORDS)
			explain(error,
			        "%s is known only where the nodes come from Kubernetes, and a nodes file can not fill it; {node} would be right",
			        word);
		else
			explain(error, "has a word in braces that is not known; {node} would be right");
		return true;
	}
	return false;
}

/* Takes "URI:" or "DNS:" off. NULL: neither is there. */
static const char *take_type(const char *text, enum tls_name_type *ret, char error[NAME_ERROR_BYTES])
{
	if (strncmp(text, "URI:", 4) != 0 && strncmp(text, "DNS:", 4) != 0) {
		explain(error, "does not say what kind of name it is; URI:..., DNS:... or shared would be right");
		return NULL;
	}
	*ret = text[0] == 'U' ? TLS_NAME_URI : TLS_NAME_DNS;
	return text + 4;
}

/* What stands around the words. */
static int check_literals(const struct name_template *t, const char *whole, const char *first, const char *rest,
                          char error[NAME_ERROR_BYTES])
{
	if (strchr(whole, '*')) {
		explain(error, "has a *, and names are compared byte for byte; {node} stands for the node's name");
		return -EINVAL;
	}
	if (!is_name_text(t->type, first) || !is_name_text(t->type, rest)) {
		explain(error, "has a character that no %s has", t->type == TLS_NAME_URI ? "URI" : "host name");
		return -EINVAL;
	}
	if (t->type == TLS_NAME_URI && !has_scheme(first)) {
		explain(error, "is no URI: it has no scheme in front; URI:spiffe://cluster.local/ns/culvert/node/{node} would be right");
		return -EINVAL;
	}
	return 0;
}

int name_template_parse(const char *text, struct name_template *ret, char error[NAME_ERROR_BYTES])
{
	struct name_template t = { 0 };
	const char *node;
	size_t before_len, after_len;

	if (strcmp(text, "shared") == 0) {
		t.is_shared = true;
		*ret = t;
		return 0;
	}
	text = take_type(text, &t.type, error);
	if (!text || has_foreign_word(text, error))
		return -EINVAL;
	node = strstr(text, node_word);
	if (!node) {
		explain(error,
		        "has no {node}, so that all nodes would have one name; with {node}, or the single word shared, it would be right");
		return -EINVAL;
	}
	if (strstr(node + 1, node_word)) {
		explain(error, "has {node} twice, so that a name could be read in two ways; once would be right");
		return -EINVAL;
	}
	before_len = (size_t)(node - text);
	after_len = strlen(node + sizeof(node_word) - 1);
	/* Room for the shortest node name and the NUL; a longer one is judged by name_of_node. */
	if (before_len + after_len + 2 > TLS_NAME_BYTES) {
		explain(error, "is longer than a name can be (%d bytes)", TLS_NAME_BYTES - 1);
		return -EINVAL;
	}
	memcpy(t.before, text, before_len);
	memcpy(t.after, node + sizeof(node_word) - 1, after_len);
	if (check_literals(&t, text, t.before, t.after, error) < 0)
		return -EINVAL;
	*ret = t;
	return 0;
}

/* Splits text at its words: what stands before the first, and all else that is no word. Words are counted by kind, {node} behind the others. */
static int split_words(const char *text, char first[TLS_NAME_BYTES], char rest[TLS_NAME_BYTES], unsigned counts[POD_WORDS + 1],
                       char error[NAME_ERROR_BYTES])
{
	size_t first_len = 0, rest_len = 0;
	bool is_first = true, is_after_word = false;

	for (const char *p = text; *p != '\0';) {
		char word[WORD_BYTES];
		enum pod_word which;
		size_t len;

		if (*p != '{') {
			*(is_first ? &first[first_len++] : &rest[rest_len++]) = *p++;
			is_after_word = false;
			continue;
		}
		if (!word_at(p, word, &len)) {
			explain(error, "has a { without a word that is known; {node} or {pod_uid} would be right");
			return -EINVAL;
		}
		which = pod_word_of(word);
		if (which == POD_WORDS && strcmp(word, node_word) != 0) {
			explain(error, "has a word in braces that is not known; {node}, {pod_uid}, {pod} or {namespace} would be right");
			return -EINVAL;
		}
		if (is_after_word || ++counts[which] > 1) {
			explain(error, "%s, so that a name could be read in two ways",
			        is_after_word ? "has two words with nothing between them" : "has a word twice");
			return -EINVAL;
		}
		p += len;
		is_first = false;
		is_after_word = true;
	}
	first[first_len] = rest[rest_len] = '\0';
	return 0;
}

int name_template_parse_kubernetes(const char *text, struct name_template *ret, char error[NAME_ERROR_BYTES])
{
	struct name_template t = { .is_of_pod = true };
	char first[TLS_NAME_BYTES], rest[TLS_NAME_BYTES];
	unsigned counts[POD_WORDS + 1] = { 0 };

	if (!strstr(text, kubernetes_words[WORD_POD]) && !strstr(text, kubernetes_words[WORD_POD_UID]) &&
	    !strstr(text, kubernetes_words[WORD_NAMESPACE]))
		return name_template_parse(text, ret, error);
	text = take_type(text, &t.type, error);
	if (!text)
		return -EINVAL;
	if (strlen(text) >= TLS_NAME_BYTES) {
		explain(error, "is longer than a name can be (%d bytes)", TLS_NAME_BYTES - 1);
		return -EINVAL;
	}
	if (split_words(text, first, rest, counts, error) < 0)
		return -EINVAL;
	if (!counts[WORD_POD] && !counts[WORD_POD_UID] && !counts[POD_WORDS]) {
		explain(error, "has nothing that tells nodes apart; {node} or {pod_uid} would be right");
		return -EINVAL;
	}
	if (check_literals(&t, text, first, rest, error) < 0)
		return -EINVAL;
	memcpy(t.before, text, strlen(text) + 1);
	*ret = t;
	return 0;
}

static int append_whole(char text[TLS_NAME_BYTES], size_t *len, const char *more, size_t more_len)
{
	if (more_len >= TLS_NAME_BYTES - *len)
		return -ENAMETOOLONG;
	memcpy(text + *len, more, more_len);
	*len += more_len;
	text[*len] = '\0';
	return 0;
}

static int expand(const struct name_template *t, const char *node_name, const struct view_daemon *d, struct tls_name *ret)
{
	const char *values[POD_WORDS + 1] = {
		[WORD_POD] = d->pod, [WORD_POD_UID] = d->pod_uid, [WORD_NAMESPACE] = d->name_space, [POD_WORDS] = node_name
	};
	struct tls_name name = { .type = t->type };
	size_t len = 0, word_len = 0;
	char word[WORD_BYTES];
	int r = 0;

	for (const char *p = t->before; *p != '\0' && r == 0;) {
		if (*p == '{' && word_at(p, word, &word_len)) {
			const char *value = values[pod_word_of(word)];

			r = append_whole(name.text, &len, value, strlen(value));
			p += word_len;
		} else {
			r = append_whole(name.text, &len, p++, 1);
		}
	}
	if (r == 0)
		*ret = name;
	return r;
}

int name_of_node(const struct name_template *t, const char *node_name, struct tls_name *ret)
{
	struct tls_name name = { .type = t->type };
	int len;

	if (t->is_shared)
		return -EINVAL;
	if (t->is_of_pod)
		return -ENOENT;
	len = snprintf(name.text, sizeof(name.text), "%s%s%s", t->before, node_name, t->after);
	if (len < 0 || (size_t)len >= sizeof(name.text))
		return -ENAMETOOLONG;
	*ret = name;
	return 0;
}

int name_of_daemon(const struct name_template *t, const struct view_node *node, size_t index, struct tls_name *ret)
{
	if (t->is_shared)
		return -EINVAL;
	if (!t->is_of_pod)
		return index == 0 ? name_of_node(t, node->name, ret) : -ENOENT;
	return index < node->daemons_count ? expand(t, node->name, &node->daemons[index], ret) : -ENOENT;
}

static size_t count_of_type(const struct tls_peer *peer, enum tls_name_type type, const struct tls_name **ret_last)
{
	size_t count = 0;

	for (size_t i = 0; i < peer->names_count && i < TLS_NAMES_MAX; i++) {
		if (peer->names[i].type == type) {
			*ret_last = &peer->names[i];
			count++;
		}
	}
	return count;
}

/* Is text the name of node? */
static bool is_name_of(const struct name_template *t, const struct view_node *node, const char *text)
{
	struct tls_name expected;
	int r = 0;

	for (size_t i = 0; r != -ENOENT; i++) {
		r = name_of_daemon(t, node, i, &expected);
		if (r == 0 && strcmp(text, expected.text) == 0)
			return true;
	}
	return false;
}

bool name_is_node(const struct name_template *t, const struct tls_peer *peer, const struct view_node *node)
{
	const struct tls_name *found;

	if (t->is_shared)
		return true;
	return count_of_type(peer, t->type, &found) == 1 && is_name_of(t, node, found->text);
}

/* Appends to a text of cap bytes what fits; returns the new length. */
static size_t append(char *text, size_t len, size_t cap, const char *more)
{
	size_t more_len = strlen(more);

	if (more_len >= cap - len)
		more_len = cap - len - 1;
	memcpy(text + len, more, more_len);
	text[len + more_len] = '\0';
	return len + more_len;
}

/* All names of a certificate, or those of one type, as URI:"..." and DNS:"...". */
static const char *list_names(const struct tls_peer *peer, const enum tls_name_type *only, char *text, size_t cap)
{
	char quoted[TEXT_QUOTE_BYTES];
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < peer->names_count && i < TLS_NAMES_MAX; i++) {
		const struct tls_name *n = &peer->names[i];

		if (only && n->type != *only)
			continue;
		len = append(text, len, cap, len > 0 ? ", " : "");
		len = append(text, len, cap, type_texts[n->type]);
		len = append(text, len, cap, ":");
		len = append(text, len, cap, text_quote(n->text, quoted));
	}
	return len > 0 ? text : "none";
}

static bool has_unprintable(const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text <= ' ' || *text >= 0x7f)
			return true;
	}
	return false;
}

/* The node's name inside a name of the template's form; false with a sentence where it has another form. */
static bool extract_node(const struct name_template *t, const char *text, char node_name[VIEW_NODE_NAME_BYTES],
                         char error[NAME_ERROR_BYTES])
{
	size_t len = strlen(text), before_len = strlen(t->before), after_len = strlen(t->after), node_len;
	char quoted[TEXT_QUOTE_BYTES];
	const char *kind = type_texts[t->type];

	text_quote(text, quoted);
	if (has_unprintable(text)) {
		explain(error, "certificate's %s name %s has a byte that no name has; %.60s{node}%.60s would be right", kind, quoted,
		        t->before, t->after);
		return false;
	}
	if (strchr(text, '*')) {
		explain(error, "certificate's %s name %s is a wildcard; the whole name of one node would be right", kind, quoted);
		return false;
	}
	if (len <= before_len + after_len || memcmp(text, t->before, before_len) != 0 || strcmp(text + len - after_len, t->after) != 0) {
		explain(error, "certificate's %s name %s is not a node's; %.60s{node}%.60s would be right", kind, quoted, t->before,
		        t->after);
		return false;
	}
	node_len = len - before_len - after_len;
	if (node_len >= VIEW_NODE_NAME_BYTES) {
		explain(error, "certificate's %s name %s has a node name that is longer than any node's", kind, quoted);
		return false;
	}
	memcpy(node_name, text + before_len, node_len);
	node_name[node_len] = '\0';
	return true;
}

/* The words have no order that a name could be taken apart by, so each node is asked: some microseconds for a hundred of them, and only for
 * who has a certificate of our authorities. */
static const struct view_node *find_by_pod(const struct name_template *t, const char *text, const struct view *v,
                                           char error[NAME_ERROR_BYTES])
{
	const struct view_node *only = NULL;
	char quoted[TEXT_QUOTE_BYTES];

	for (size_t i = 0; i < view_nodes_count(v); i++) {
		const struct view_node *node = view_node_at(v, i);

		if (!is_name_of(t, node, text))
			continue;
		if (only) {
			explain(error, "certificate's name %s is that of two nodes, %.60s and %.60s", text_quote(text, quoted), only->name,
			        node->name);
			return NULL;
		}
		only = node;
	}
	if (!only)
		explain(error, "certificate's name %s is of no pod of Culvert that runs on a node; one by %.60s would be right",
		        text_quote(text, quoted), t->before);
	return only;
}

const struct view_node *name_find_node(const struct name_template *t, const struct tls_peer *peer, const struct view *v,
                                       char error[NAME_ERROR_BYTES])
{
	const struct tls_name *found = NULL;
	const struct view_node *node;
	char node_name[VIEW_NODE_NAME_BYTES], listed[128], quoted[TEXT_QUOTE_BYTES];
	const char *kind = type_texts[t->type];

	if (t->is_shared) {
		explain(error, "peer_name is shared: certificates do not tell nodes apart");
		return NULL;
	}
	switch (count_of_type(peer, t->type, &found)) {
	case 0:
		explain(error, "certificate has no %s name (its names: %s); one %s name %.50s{node}%.50s would be right", kind,
		        list_names(peer, NULL, listed, 90), kind, t->before, t->after);
		return NULL;
	case 1:
		break;
	default:
		explain(error, "certificate has several %s names (%s); exactly one would be right", kind,
		        list_names(peer, &t->type, listed, sizeof(listed)));
		return NULL;
	}
	if (t->is_of_pod)
		return find_by_pod(t, found->text, v, error);
	if (!extract_node(t, found->text, node_name, error))
		return NULL;
	node = view_node_by_name(v, node_name);
	if (!node)
		explain(error, "certificate names node %s, and no node of the cluster has that name", text_quote(node_name, quoted));
	return node;
}
