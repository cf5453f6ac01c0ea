/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/kubeconfig.h"

#include "base/base64.h"
#include "base/text.h"
#include "base/tree.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)KUBECONFIG_ERROR_BYTES == (int)SECRET_ERROR_BYTES && (int)KUBECONFIG_ERROR_BYTES == (int)TREE_ERROR_BYTES,
               "one buffer serves all three");

struct reader {
	const char *path;
	char *error;
};

/* What a user or a cluster may say that is not done here. */
static const struct {
	const char *key, *why;
} user_refusals[] = {
	{ "exec", "plug-ins are programs, and none is started here; a token, tokenFile or client-certificate would be right" },
	{ "auth-provider", "plug-ins are not used; a token, tokenFile or client-certificate would be right" },
	{ "username", "names with passwords are not sent; a token, tokenFile or client-certificate would be right" },
	{ "as", "acting as another user is not done here" },
};

__attribute__((format(printf, 3, 4))) static int fault(const struct reader *r, const struct tree_node *at, const char *format, ...)
{
	int len = at ? snprintf(r->error, KUBECONFIG_ERROR_BYTES, "%s:%u: ", r->path, at->line)
	             : snprintf(r->error, KUBECONFIG_ERROR_BYTES, "%s: ", r->path);
	va_list args;

	if (len >= 0 && len < KUBECONFIG_ERROR_BYTES) {
		va_start(args, format);
		(void)vsnprintf(r->error + len, (size_t)(KUBECONFIG_ERROR_BYTES - len), format, args);
		va_end(args);
	}
	return -EINVAL;
}

static int no_memory(const struct reader *r)
{
	(void)fault(r, NULL, "out of memory");
	return -ENOMEM;
}

static const struct tree_node *find(const struct tree_node *map, const char *key)
{
	if (!map || map->kind != TREE_MAP)
		return NULL;
	for (const struct tree_node *n = map->first; n; n = n->next) {
		if (strcmp(n->key, key) == 0)
			return tree_is_nothing(n) ? NULL : n;
	}
	return NULL;
}

/* The text of a key; *ret NULL where it is not there or empty. */
static int get_text(const struct reader *r, const struct tree_node *map, const char *key, const struct tree_node **ret)
{
	const struct tree_node *n = find(map, key);

	*ret = NULL;
	if (!n)
		return 0;
	if (n->kind != TREE_TEXT)
		return fault(r, n, "%s is %s; a text would be right", key, tree_kind_text(n->kind));
	if (n->text[0] != '\0')
		*ret = n;
	return 0;
}

static int copy_text(const struct reader *r, const struct tree_node *n, char **ret)
{
	if (!n)
		return 0;
	*ret = strdup(n->text);
	return *ret ? 0 : no_memory(r);
}

/* The map below the entry of a list by its name: clusters, users and contexts are all made so. */
static int find_named(const struct reader *r, const struct tree_node *root, const char *list_key, const char *name, const char *map_key,
                      const struct tree_node **ret)
{
	const struct tree_node *list = find(root, list_key), *map, *text;
	char quoted[TEXT_QUOTE_BYTES];
	int rc;

	if (list && list->kind != TREE_LIST)
		return fault(r, list, "%s is %s; a list would be right", list_key, tree_kind_text(list->kind));
	for (const struct tree_node *n = list ? list->first : NULL; n; n = n->next) {
		rc = get_text(r, n, "name", &text);
		if (rc < 0)
			return rc;
		if (!text || strcmp(text->text, name) != 0)
			continue;
		map = find(n, map_key);
		if (map && map->kind != TREE_MAP)
			return fault(r, map, "%s is %s; a map would be right", map_key, tree_kind_text(map->kind));
		if (!map && strcmp(map_key, "user") != 0)
			return fault(r, n, "the entry %s of %s has no %s", text_quote(name, quoted), list_key, map_key);
		*ret = map;
		return 0;
	}
	return fault(r, list, "%s has no entry with the name %s", list_key, text_quote(name, quoted));
}

/* A path in a kubeconfig counts from the folder of the file. */
static int load_file(const struct reader *r, const struct tree_node *n, enum secret_kind kind, struct secret *ret)
{
	const char *slash = strrchr(r->path, '/');
	char path[PATH_MAX];
	int len;

	if (n->text[0] == '/' || !slash)
		len = snprintf(path, sizeof(path), "%s", n->text);
	else
		len = snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - r->path), r->path, n->text);
	if (len < 0 || len >= (int)sizeof(path))
		return fault(r, n, "%s is too long", n->key);
	return secret_load(ret, kind, path, r->error);
}

static int load_data(const struct reader *r, const struct tree_node *n, enum secret_kind kind, struct secret *ret)
{
	size_t text_len = strlen(n->text), len;
	uint8_t *bytes = malloc(BASE64_BYTES_BYTES(text_len));
	int rc;

	if (!bytes)
		return no_memory(r);
	if (base64_decode(n->text, text_len, bytes, &len) < 0)
		rc = fault(r, n, "%s is not base64", n->key);
	else
		rc = secret_set(ret, kind, bytes, len, r->error);
	explicit_bzero(bytes, BASE64_BYTES_BYTES(text_len));
	free(bytes);
	return rc;
}

/* key-data wins over key, as elsewhere. */
static int load_either(const struct reader *r, const struct tree_node *map, const char *key, const char *data_key, enum secret_kind kind,
                       struct secret *ret)
{
	const struct tree_node *n;
	int rc = get_text(r, map, data_key, &n);

	if (rc < 0)
		return rc;
	if (n)
		return load_data(r, n, kind, ret);
	rc = get_text(r, map, key, &n);
	if (rc < 0 || !n)
		return rc;
	return load_file(r, n, kind, ret);
}

static int read_cluster(const struct reader *r, const struct tree_node *cluster, struct kubeconfig *k)
{
	const struct tree_node *n;
	size_t len;
	int rc = get_text(r, cluster, "server", &n);

	if (rc < 0)
		return rc;
	if (!n)
		return fault(r, cluster, "the cluster has no server");
	rc = copy_text(r, n, &k->server);
	if (rc < 0)
		return rc;
	len = strlen(k->server);
	while (len > 0 && k->server[len - 1] == '/')
		k->server[--len] = '\0';
	if (len == 0)
		return fault(r, n, "server: \"%.100s\" names no host; https://10.0.0.1:6443 would be right", n->text);
	rc = get_text(r, cluster, "insecure-skip-tls-verify", &n);
	if (rc < 0)
		return rc;
	if (n && strcmp(n->text, "false") != 0)
		return fault(r, n,
		             "insecure-skip-tls-verify: who the API server is decides who is encrypted to, so it is always verified; "
		             "certificate-authority would be right");
	rc = get_text(r, cluster, "proxy-url", &n);
	if (rc < 0)
		return rc;
	if (n)
		return fault(r, n, "proxy-url: proxies are not used; a server that is reached directly would be right");
	rc = get_text(r, cluster, "tls-server-name", &n);
	if (rc == 0)
		rc = copy_text(r, n, &k->tls_name);
	if (rc == 0)
		rc = load_either(r, cluster, "certificate-authority", "certificate-authority-data", SECRET_AUTHORITY, &k->authority);
	return rc;
}

static int read_user(const struct reader *r, const struct tree_node *user, struct kubeconfig *k)
{
	const struct tree_node *n, *token, *file;
	int rc;

	for (size_t i = 0; i < sizeof(user_refusals) / sizeof(user_refusals[0]); i++) {
		n = find(user, user_refusals[i].key);
		if (n)
			return fault(r, n, "%s: %s", n->key, user_refusals[i].why);
	}
	rc = load_either(r, user, "client-certificate", "client-certificate-data", SECRET_CERTIFICATE, &k->certificate);
	if (rc == 0)
		rc = load_either(r, user, "client-key", "client-key-data", SECRET_KEY, &k->key);
	if (rc < 0)
		return rc;
	if (!k->certificate.bytes != !k->key.bytes)
		return fault(r, user, "the user has a client-%s without its client-%s", k->key.bytes ? "key" : "certificate",
		             k->key.bytes ? "certificate" : "key");
	rc = get_text(r, user, "token", &token);
	if (rc == 0)
		rc = get_text(r, user, "tokenFile", &file);
	if (rc < 0)
		return rc;
	if (file)
		return load_file(r, file, SECRET_TOKEN, &k->token);
	return token ? secret_set(&k->token, SECRET_TOKEN, token->text, strlen(token->text), r->error) : 0;
}

static int read_config(const struct reader *r, const struct tree_node *root, struct kubeconfig *k)
{
	const struct tree_node *context, *cluster, *user = NULL, *name, *cluster_name, *user_name;
	int rc;

	if (!root || root->kind != TREE_MAP)
		return fault(r, root, "this is no kubeconfig");
	rc = get_text(r, root, "current-context", &name);
	if (rc < 0)
		return rc;
	if (!name)
		return fault(r, NULL, "current-context is missing: it says which cluster and user to take");
	rc = find_named(r, root, "contexts", name->text, "context", &context);
	if (rc == 0)
		rc = get_text(r, context, "cluster", &cluster_name);
	if (rc == 0)
		rc = get_text(r, context, "user", &user_name);
	if (rc < 0)
		return rc;
	if (!cluster_name)
		return fault(r, context, "the context names no cluster");
	rc = find_named(r, root, "clusters", cluster_name->text, "cluster", &cluster);
	if (rc == 0 && user_name)
		rc = find_named(r, root, "users", user_name->text, "user", &user);
	if (rc == 0)
		rc = get_text(r, context, "namespace", &name);
	if (rc == 0)
		rc = copy_text(r, name, &k->name_space);
	if (rc == 0)
		rc = read_cluster(r, cluster, k);
	if (rc == 0)
		rc = read_user(r, user, k);
	return rc;
}

/* Takes the tree. */
static int take_tree(const char *path, struct tree *tree, struct kubeconfig *ret, char error[KUBECONFIG_ERROR_BYTES])
{
	struct reader r = { path, error };
	struct kubeconfig k = { 0 };
	int rc;

	rc = read_config(&r, tree_root(tree), &k);
	tree_destroy(tree);
	if (rc < 0)
		kubeconfig_done(&k);
	else
		*ret = k;
	return rc;
}

int kubeconfig_load(const char *path, struct kubeconfig *ret, char error[KUBECONFIG_ERROR_BYTES])
{
	struct tree *tree;
	int rc = tree_load(path, &tree, error);

	return rc < 0 ? rc : take_tree(path, tree, ret, error);
}

int kubeconfig_parse(const char *path, const char *text, size_t len_bytes, struct kubeconfig *ret, char error[KUBECONFIG_ERROR_BYTES])
{
	struct tree *tree;
	int rc = tree_parse(path, text, len_bytes, &tree, error);

	return rc < 0 ? rc : take_tree(path, tree, ret, error);
}

void kubeconfig_done(struct kubeconfig *k)
{
	free(k->server);
	free(k->tls_name);
	free(k->name_space);
	secret_done(&k->authority);
	secret_done(&k->certificate);
	secret_done(&k->key);
	secret_done(&k->token);
	*k = (struct kubeconfig){ 0 };
}
