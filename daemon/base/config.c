/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/config.h"

#include "base/config_value.h"
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int unknown_key(const struct config_reading *r, const char *section, const struct tree_node *n)
{
	char quoted[TEXT_QUOTE_BYTES], full[2 * CONFIG_DOTTED_BYTES], all[CONFIG_FORM_BYTES] = "", name[CONFIG_DOTTED_BYTES];
	const char *words[CONFIG_KEYS_MAX], *dot = *section != '\0' ? "." : "", *near;
	size_t count = config_words_of(section, words), len = 0;

	(void)snprintf(full, sizeof(full), "%s%s%.80s", section, dot, n->key);
	text_quote(full, quoted);
	near = text_nearest(n->key, words, count);
	if (near)
		return config_fault(r, n->line, "key %s is not known; is %s%s%s meant?", quoted, section, dot, near);
	for (size_t i = 0; i < config_keys_count; i++) {
		if (strcmp(config_keys[i].name, n->key) == 0)
			return config_fault(r, n->line, "key %s is not known; is %s meant?", quoted, config_dotted(&config_keys[i], name));
	}
	for (size_t i = 0; i < count && len < sizeof(all); i++)
		len += (size_t)snprintf(all + len, sizeof(all) - len, "%s%s", i > 0 ? ", " : "", words[i]);
	return config_fault(r, n->line, "key %s is not known; the keys here are %s", quoted, all);
}

static int read_section(const struct config_reading *r, const char *section, const struct tree_node *map);

static int read_value(const struct config_reading *r, const struct config_key *k, const struct tree_node *n)
{
	int rc;

	r->config->lines[k - config_keys] = n->line;
	rc = config_take(r, k, n);
	return rc == 0 && k->kind == CONFIG_IS_MAP ? read_section(r, CONFIG_KUBERNETES, n) : rc;
}

static int read_section(const struct config_reading *r, const char *section, const struct tree_node *map)
{
	const char *words[CONFIG_KEYS_MAX];
	int rc = 0;

	/* Everything in it is commented out. */
	if (tree_is_nothing(map))
		return 0;
	if (map->kind != TREE_MAP)
		return config_fault(r, map->line, "%s: is %s; a map with keys such as %s would be right", section,
		                    tree_kind_text(map->kind), config_words_of(section, words) > 0 ? words[0] : "");
	for (const struct tree_node *n = map->first; n && rc == 0; n = n->next) {
		const struct config_key *k = config_key_find(section, n->key);

		if (!k)
			return unknown_key(r, section, n);
		rc = read_value(r, k, n);
	}
	return rc;
}

static int read_all(const struct config_reading *r, const struct tree_node *root)
{
	int rc = 0;

	if (!root)
		return 0;
	if (root->kind != TREE_MAP)
		return config_fault(r, root->line, "begins with %s; a map with keys such as node would be right",
		                    tree_kind_text(root->kind));
	for (const struct tree_node *n = root->first; n && rc == 0; n = n->next) {
		const struct config_key *k = config_key_find("", n->key);

		if (k) {
			rc = read_value(r, k, n);
		} else if (config_is_section(n->key)) {
			rc = read_section(r, n->key, n);
		} else {
			rc = unknown_key(r, "", n);
		}
	}
	return rc;
}

static int take_default(const struct config_reading *r, const struct config_key *k)
{
	struct tree_node n = { .kind = TREE_TEXT, .text = k->standard, .is_quoted = true };
	char bare[CONFIG_DOTTED_BYTES];
	size_t len = strlen(k->standard);

	/* The two forms of defaults that YAML itself would take apart. */
	if (strcmp(k->standard, "[]") == 0)
		return 0;
	if (k->standard[0] == '"') {
		memcpy(bare, k->standard + 1, len - 2);
		bare[len - 2] = '\0';
		n.text = bare;
	}
	return config_take(r, k, &n);
}

/* The name of this node where one file serves many. The file's own, if it has one, was checked like every value. */
static int take_node_flag(const struct config_reading *r)
{
	const struct config_key *k = config_key_find("", "node");
	char form[CONFIG_FORM_BYTES], quoted[TEXT_QUOTE_BYTES];

	if (!text_is_subdomain(r->node)) {
		(void)snprintf(r->error, CONFIG_ERROR_BYTES, "--node: %s is no node's name; %s would be right", text_quote(r->node, quoted),
		               config_form(k, form));
		return -EINVAL;
	}
	memcpy(r->config->node, r->node, strlen(r->node) + 1);
	return 0;
}

/* What can only be judged when all is read. */
static int check_whole(const struct config_reading *r)
{
	const struct config *c = r->config;
	unsigned file_line = config_line(c, "nodes.file"), kubernetes_line = config_line(c, "nodes.kubernetes");
	char name[CONFIG_DOTTED_BYTES], form[CONFIG_FORM_BYTES];

	if (file_line > 0 && kubernetes_line > 0)
		return config_fault(r, kubernetes_line,
		                    "two sources of nodes: nodes.file (line %u) and nodes.kubernetes; one of them would be right",
		                    file_line);
	for (size_t i = 0; i < config_keys_count; i++) {
		if (config_keys[i].standard || c->lines[i] > 0 || (config_keys[i].kind == CONFIG_IS_NODE && r->node))
			continue;
		if (strcmp(config_keys[i].section, "nodes") != 0)
			return config_fault(r, 0, "%s is missing; %s would be right", config_dotted(&config_keys[i], name),
			                    config_form(&config_keys[i], form));
		if (file_line == 0 && kubernetes_line == 0)
			return config_fault(
				r, 0, "nodes.file is missing; an absolute path, or in its place nodes: {kubernetes: {}}, would be right");
	}
	if (c->identity.signer[0] && kubernetes_line == 0)
		return config_fault(
			r, config_line(c, "identity.signer"),
			"identity.signer: the cluster is asked for the certificate, so the nodes must come from it (nodes: {kubernetes: {}}); "
			"\"\" would be right here");
	return 0;
}

static int config_from_tree(const char *path, const struct tree *t, const char *node, struct config *ret, char error[CONFIG_ERROR_BYTES])
{
	struct config c = { 0 };
	struct config_reading r = { .path = path, .error = error, .config = &c, .node = node };
	int rc = 0;

	for (size_t i = 0; i < config_keys_count && rc == 0; i++) {
		if (config_keys[i].standard)
			rc = take_default(&r, &config_keys[i]);
	}
	if (rc == 0)
		rc = read_all(&r, tree_root(t));
	if (rc == 0 && node)
		rc = take_node_flag(&r);
	if (rc == 0)
		rc = check_whole(&r);
	if (rc < 0) {
		config_done(&c);
		return rc;
	}
	*ret = c;
	return 0;
}

int config_load(const char *path, const char *node, struct config *ret, char error[CONFIG_ERROR_BYTES])
{
	struct tree *t;
	int rc = tree_load(path, &t, error);

	if (rc < 0)
		return rc;
	rc = config_from_tree(path, t, node, ret, error);
	tree_destroy(t);
	return rc;
}

int config_parse(const char *path, const char *text, size_t len_bytes, const char *node, struct config *ret, char error[CONFIG_ERROR_BYTES])
{
	struct tree *t;
	int rc = tree_parse(path, text, len_bytes, &t, error);

	if (rc < 0)
		return rc;
	rc = config_from_tree(path, t, node, ret, error);
	tree_destroy(t);
	return rc;
}

void config_done(struct config *c)
{
	for (size_t i = 0; i < c->capture.devices.count; i++)
		free(c->capture.devices.names[i]);
	free(c->capture.devices.names);
	free(c->nodes.kubernetes.service_ranges.items);
	free(c->capture.cluster_pods.items);
	free(c->capture.exclude.items);
	*c = (struct config){ 0 };
}

unsigned config_line(const struct config *c, const char *key)
{
	char name[CONFIG_DOTTED_BYTES];

	for (size_t i = 0; i < config_keys_count; i++) {
		if (strcmp(config_dotted(&config_keys[i], name), key) == 0)
			return c->lines[i];
	}
	return 0;
}
