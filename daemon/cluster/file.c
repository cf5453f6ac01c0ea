/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cluster/file.h"

#include "base/text.h"
#include "base/tree.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static_assert((int)TREE_ERROR_BYTES <= (int)VIEW_ERROR_BYTES, "a fault of the tree fits into one of the view");

struct reading {
	const char *path;
	char *error;
	struct view_node *nodes;
	const struct tree_node **maps; /* the map of each node, for the lines of faults */
	size_t nodes_count;
};

__attribute__((format(printf, 3, 4))) static int fault(const struct reading *r, unsigned line, const char *format, ...)
{
	int len = snprintf(r->error, VIEW_ERROR_BYTES, "%s:%u: ", r->path, line);
	va_list args;

	if (len >= 0 && len < VIEW_ERROR_BYTES) {
		va_start(args, format);
		(void)vsnprintf(r->error + len, (size_t)(VIEW_ERROR_BYTES - len), format, args);
		va_end(args);
	}
	return -EINVAL;
}

static int out_of_memory(const struct reading *r)
{
	(void)snprintf(r->error, VIEW_ERROR_BYTES, "%s: out of memory", r->path);
	return -ENOMEM;
}

/* What stands where something else would be right. */
static const char *what_is(const struct tree_node *n)
{
	return tree_is_nothing(n) ? "empty" : tree_kind_text(n->kind);
}

static const struct tree_node *child_of(const struct tree_node *map, const char *key)
{
	for (const struct tree_node *n = map->first; n; n = n->next) {
		if (strcmp(n->key, key) == 0)
			return n;
	}
	return NULL;
}

static int check_keys(const struct reading *r, const struct tree_node *map, const char *const *known, size_t known_count, const char *all)
{
	char quoted[TEXT_QUOTE_BYTES];

	for (const struct tree_node *n = map->first; n; n = n->next) {
		const char *near;
		bool is_known = false;

		for (size_t i = 0; i < known_count; i++)
			is_known = is_known || strcmp(n->key, known[i]) == 0;
		if (is_known)
			continue;
		near = text_nearest(n->key, known, known_count);
		if (near)
			return fault(r, n->line, "key %s is not known; is %s meant?", text_quote(n->key, quoted), near);
		return fault(r, n->line, "key %s is not known; %s would be right", text_quote(n->key, quoted), all);
	}
	return 0;
}

/* The text of an entry of addresses or pods. */
static int check_entry(const struct reading *r, const struct tree_node *n, const char *list, const char *example)
{
	if (n->kind != TREE_TEXT)
		return fault(r, n->line, "%s has %s where an entry such as %s would be right", list, tree_kind_text(n->kind), example);
	if (tree_is_nothing(n))
		return fault(r, n->line, "%s has an entry with nothing in it; one such as %s would be right", list, example);
	return 0;
}

static int read_addresses(const struct reading *r, const struct tree_node *list, struct view_node *node)
{
	struct addr *addresses = calloc(list->count + 1, sizeof(*addresses));
	char quoted[TEXT_QUOTE_BYTES];
	int rc = 0;

	if (!addresses)
		return out_of_memory(r);
	node->addresses = addresses;
	for (const struct tree_node *n = list->first; n && rc == 0; n = n->next) {
		rc = check_entry(r, n, "addresses", "172.30.0.1 or fd30::1");
		if (rc == 0 && addr_parse(n->text, &addresses[node->addresses_count++]) < 0)
			rc = fault(r, n->line, "%s in addresses is no IP address; one such as 172.30.0.1 or fd30::1 would be right",
			           text_quote(n->text, quoted));
	}
	return rc;
}

static int read_pods(const struct reading *r, const struct tree_node *list, struct view_node *node)
{
	struct prefix *pods = calloc(list->count + 1, sizeof(*pods));
	char quoted[TEXT_QUOTE_BYTES], why[PREFIX_FAULT_BYTES];
	int rc = 0;

	if (!pods)
		return out_of_memory(r);
	node->pods = pods;
	for (const struct tree_node *n = list->first; n && rc == 0; n = n->next) {
		struct prefix *p = &pods[node->pods_count++];
		int prefix_rc;

		rc = check_entry(r, n, "pods", "10.245.1.0/24 or fd45:1::/64");
		if (rc < 0)
			break;
		prefix_rc = prefix_parse(n->text, p);
		if (prefix_rc < 0)
			rc = fault(r, n->line, "%s in pods %s", text_quote(n->text, quoted), prefix_fault(prefix_rc, p, why));
	}
	return rc;
}

static int read_name(const struct reading *r, const struct tree_node *map, struct view_node *node)
{
	const struct tree_node *name = child_of(map, "name");
	char quoted[TEXT_QUOTE_BYTES];

	if (!name)
		return fault(r, map->line, "a node without name; name: node1 would be right");
	if (name->kind != TREE_TEXT)
		return fault(r, name->line, "name is %s; a text such as node1 would be right", tree_kind_text(name->kind));
	if (tree_is_nothing(name))
		return fault(r, name->line, "name has no value; a text such as node1 would be right");
	if (strlen(name->text) >= sizeof(node->name))
		return fault(r, name->line, "name %s is longer than %d bytes", text_quote(name->text, quoted), VIEW_NODE_NAME_BYTES - 1);
	/* The view would say so too, but other messages show the name before. */
	if (!text_is_subdomain(name->text))
		return fault(r, name->line,
		             "name %s is not a node's; small letters, digits, and inside them - and . would be right, such as node1",
		             text_quote(name->text, quoted));
	memcpy(node->name, name->text, strlen(name->text) + 1);
	return 0;
}

static int read_node(const struct reading *r, const struct tree_node *map, struct view_node *node)
{
	static const char *const keys[] = { "name", "addresses", "pods" };
	const struct tree_node *list;
	int rc;

	if (map->kind != TREE_MAP)
		return fault(r, map->line, "a node is %s; a map with name, addresses and pods would be right", what_is(map));
	rc = check_keys(r, map, keys, sizeof(keys) / sizeof(keys[0]), "name, addresses or pods");
	if (rc == 0)
		rc = read_name(r, map, node);
	if (rc < 0)
		return rc;

	list = child_of(map, "addresses");
	if (!list)
		return fault(r, map->line, "node %s has no addresses; addresses: [172.30.0.1] would be right", node->name);
	if (list->kind != TREE_LIST)
		return fault(r, list->line, "addresses of node %s is %s; a list such as [172.30.0.1] would be right", node->name,
		             what_is(list));
	rc = read_addresses(r, list, node);
	if (rc < 0)
		return rc;

	list = child_of(map, "pods");
	if (!list)
		return fault(r, map->line, "node %s has no pods; pods: [10.245.1.0/24], or pods: [] for none, would be right", node->name);
	if (list->kind != TREE_LIST)
		return fault(r, list->line, "pods of node %s is %s; a list such as [10.245.1.0/24], or [] for none, would be right",
		             node->name, what_is(list));
	return read_pods(r, list, node);
}

static int read_nodes(struct reading *r, const struct tree_node *root)
{
	static const char *const keys[] = { "nodes" };
	const struct tree_node *list;
	int rc;

	if (!root)
		return fault(r, 1, "nothing in it; nodes: with a list of nodes would be right");
	if (root->kind != TREE_MAP)
		return fault(r, root->line, "begins with %s; nodes: with a list of nodes would be right", tree_kind_text(root->kind));
	rc = check_keys(r, root, keys, 1, "nodes");
	if (rc < 0)
		return rc;
	list = child_of(root, "nodes");
	if (!list)
		return fault(r, root->line, "has no nodes; nodes: with a list of nodes would be right");
	if (list->kind != TREE_LIST)
		return fault(r, list->line, "nodes is %s; a list of nodes would be right", what_is(list));
	if (list->count > VIEW_NODES_MAX)
		return fault(r, list->line, "%zu nodes; at most %d would be right", list->count, VIEW_NODES_MAX);
	r->nodes = calloc(list->count + 1, sizeof(*r->nodes));
	r->maps = calloc(list->count + 1, sizeof(*r->maps));
	if (!r->nodes || !r->maps)
		return out_of_memory(r);
	for (const struct tree_node *n = list->first; n && rc == 0; n = n->next) {
		r->maps[r->nodes_count] = n;
		rc = read_node(r, n, &r->nodes[r->nodes_count++]);
	}
	return rc;
}

/* The line of what the view found wrong; 0 where it is no one place. */
static unsigned line_of(const struct reading *r, const struct view_fault *f)
{
	const struct tree_node *n = NULL;
	size_t item = f->item;

	switch (f->part) {
	case VIEW_PART_NONE:
		return 0;
	case VIEW_PART_NAME:
		n = child_of(r->maps[f->node], "name");
		break;
	case VIEW_PART_ADDRESSES:
	case VIEW_PART_ADDRESS:
		n = child_of(r->maps[f->node], "addresses");
		break;
	case VIEW_PART_PODS:
	case VIEW_PART_POD:
		n = child_of(r->maps[f->node], "pods");
		break;
	}
	if (n && (f->part == VIEW_PART_ADDRESS || f->part == VIEW_PART_POD)) {
		for (n = n->first; n && item > 0; n = n->next)
			item--;
	}
	return n ? n->line : r->maps[f->node]->line;
}

static int build_view(const struct reading *r, const struct prefix *cluster_pods, size_t cluster_pods_count, const char *self_name,
                      const struct view *before, struct view **ret)
{
	char why[VIEW_ERROR_BYTES];
	struct view_fault where;
	unsigned line;
	int rc = view_create_located(r->nodes, r->nodes_count, cluster_pods, cluster_pods_count, self_name, before, ret, why, &where);

	if (rc == 0)
		return 0;
	line = rc == -EINVAL ? line_of(r, &where) : 0;
	if (line > 0)
		return fault(r, line, "%s", why);
	(void)snprintf(r->error, VIEW_ERROR_BYTES, "%.200s: %.300s", r->path, why);
	return rc;
}

static int view_from_tree(const char *path, const struct tree *t, const struct prefix *cluster_pods, size_t cluster_pods_count,
                          const char *self_name, const struct view *before, struct view **ret, char error[VIEW_ERROR_BYTES])
{
	struct reading r = { .path = path, .error = error };
	int rc = read_nodes(&r, tree_root(t));

	if (rc == 0)
		rc = build_view(&r, cluster_pods, cluster_pods_count, self_name, before, ret);
	for (size_t i = 0; i < r.nodes_count; i++) {
		free((void *)(uintptr_t)r.nodes[i].addresses);
		free((void *)(uintptr_t)r.nodes[i].pods);
	}
	free(r.nodes);
	free(r.maps);
	return rc;
}

int nodes_file_load(const char *path, const struct prefix *cluster_pods, size_t cluster_pods_count, const char *self_name,
                    const struct view *before, struct view **ret, char error[VIEW_ERROR_BYTES])
{
	struct tree *t;
	int rc = tree_load(path, &t, error);

	if (rc < 0)
		return rc;
	rc = view_from_tree(path, t, cluster_pods, cluster_pods_count, self_name, before, ret, error);
	tree_destroy(t);
	return rc;
}

int nodes_file_parse(const char *path, const char *text, size_t len_bytes, const struct prefix *cluster_pods, size_t cluster_pods_count,
                     const char *self_name, const struct view *before, struct view **ret, char error[VIEW_ERROR_BYTES])
{
	struct tree *t;
	int rc = tree_parse(path, text, len_bytes, &t, error);

	if (rc < 0)
		return rc;
	rc = view_from_tree(path, t, cluster_pods, cluster_pods_count, self_name, before, ret, error);
	tree_destroy(t);
	return rc;
}
