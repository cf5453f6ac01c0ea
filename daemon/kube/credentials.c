/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/credentials.h"

#include "base/addr.h"
#include "base/text.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char service_account[] = "/var/run/secrets/kubernetes.io/serviceaccount";

struct credentials {
	struct kubeconfig config; /* in a pod it is filled from the service account */
	struct instant read_at;
	char error[CREDENTIALS_ERROR_BYTES];
};

/* A token over plain HTTP is everybody's on the way; on the machine itself there is no way (kubectl proxy). */
static int check_server(const char *server, char error[CREDENTIALS_ERROR_BYTES])
{
	static const char *const local[] = { "http://127.0.0.1", "http://[::1]", "http://localhost" };
	char quoted[TEXT_QUOTE_BYTES];

	if (strncmp(server, "https://", 8) == 0 && server[8] != '\0')
		return 0;
	for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++) {
		size_t len = strlen(local[i]);

		if (strncmp(server, local[i], len) == 0 && (server[len] == '\0' || server[len] == ':' || server[len] == '/'))
			return 0;
	}
	(void)snprintf(error, CREDENTIALS_ERROR_BYTES,
	               "the API server %s: https://HOST:PORT would be right (http only to 127.0.0.1, [::1] and localhost)",
	               text_quote(server, quoted));
	return -EINVAL;
}

static int load_named(const char *directory, const char *name, enum secret_kind kind, struct secret *ret,
                      char error[CREDENTIALS_ERROR_BYTES])
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path)) {
		(void)snprintf(error, CREDENTIALS_ERROR_BYTES, "the service account's folder has too long a name");
		return -ENAMETOOLONG;
	}
	return secret_load(ret, kind, path, error);
}

static int load_pod(const char *directory, struct kubeconfig *ret, char error[CREDENTIALS_ERROR_BYTES])
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
	struct secret name_space = { 0 };
	struct kubeconfig k = { 0 };
	struct addr addr;
	char quoted[TEXT_QUOTE_BYTES];
	uint64_t number;
	bool is_v6;
	int rc;

	if (!host || !*host || !port || !*port) {
		(void)snprintf(error, CREDENTIALS_ERROR_BYTES,
		               "%s is not set: this is no pod; nodes.kubernetes.kubeconfig names a file for a run from outside",
		               host && *host ? "KUBERNETES_SERVICE_PORT" : "KUBERNETES_SERVICE_HOST");
		return -EINVAL;
	}
	is_v6 = addr_parse(host, &addr) == 0 && !addr_is_v4(&addr);
	if (!is_v6 && host[strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")] != '\0') {
		(void)snprintf(error, CREDENTIALS_ERROR_BYTES, "KUBERNETES_SERVICE_HOST: %s is no address and no name",
		               text_quote(host, quoted));
		return -EINVAL;
	}
	if (text_parse_u64(port, &number) < 0 || number < 1 || number > UINT16_MAX) {
		(void)snprintf(error, CREDENTIALS_ERROR_BYTES, "KUBERNETES_SERVICE_PORT: %s is no port", text_quote(port, quoted));
		return -EINVAL;
	}
	if (asprintf(&k.server, is_v6 ? "https://[%s]:%u" : "https://%s:%u", host, (unsigned)number) < 0) {
		(void)snprintf(error, CREDENTIALS_ERROR_BYTES, "out of memory");
		return -ENOMEM;
	}
	rc = load_named(directory, "token", SECRET_TOKEN, &k.token, error);
	if (rc == 0)
		rc = load_named(directory, "ca.crt", SECRET_AUTHORITY, &k.authority, error);
	if (rc < 0) {
		kubeconfig_done(&k);
		return rc;
	}
	/* Not all projected volumes have it, and few need it. */
	if (load_named(directory, "namespace", SECRET_TEXT, &name_space, error) == 0) {
		name_space.bytes[strcspn(name_space.bytes, " \t\r\n")] = '\0';
		k.name_space = strdup(name_space.bytes);
	}
	secret_done(&name_space);
	*ret = k;
	return 0;
}

int credentials_create(const char *kubeconfig, const char *directory, struct instant now, struct credentials **ret,
                       char error[CREDENTIALS_ERROR_BYTES])
{
	struct credentials *c = calloc(1, sizeof(*c));
	int rc;

	if (!c) {
		(void)snprintf(error, CREDENTIALS_ERROR_BYTES, "out of memory");
		return -ENOMEM;
	}
	rc = kubeconfig ? kubeconfig_load(kubeconfig, &c->config, error)
	                : load_pod(directory ? directory : service_account, &c->config, error);
	if (rc == 0)
		rc = check_server(c->config.server, error);
	if (rc < 0) {
		credentials_destroy(c);
		return rc;
	}
	c->read_at = now;
	*ret = c;
	return 0;
}

void credentials_destroy(struct credentials *c)
{
	if (!c)
		return;
	kubeconfig_done(&c->config);
	free(c);
}

bool credentials_refresh(struct credentials *c, bool is_forced, struct instant now)
{
	struct secret *all[] = { &c->config.token, &c->config.authority, &c->config.certificate, &c->config.key };
	bool is_due = is_forced || instant_elapsed_ns(c->read_at, now) >= CREDENTIALS_READ_MS * NS_PER_MS, is_changed = false;

	c->error[0] = '\0';
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (secret_refresh(all[i], is_due, c->error) > 0)
			is_changed = true;
	}
	if (is_due)
		c->read_at = now;
	return is_changed;
}

const char *credentials_error(const struct credentials *c)
{
	return c->error;
}

const struct kubeconfig *credentials_get(const struct credentials *c)
{
	return &c->config;
}
