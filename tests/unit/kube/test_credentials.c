/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kube/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AUTHORITY   "-----BEGIN CERTIFICATE-----\nauthority\n"
#define AUTHORITY64 "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCmF1dGhvcml0eQo="
#define KEY64       "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCg=="

static char folder[] = "/tmp/culvert-credentials-XXXXXX";
static const char *const names[] = { "token", "ca.crt", "namespace", "config", "token.new" };
static const struct instant start = { NS_PER_S };

static const char *path_of(const char *name)
{
	static char paths[4][PATH_MAX];
	static unsigned next;
	char *path = paths[next++ % 4];

	(void)snprintf(path, PATH_MAX, "%s/%s", folder, name);
	return path;
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(path_of(name), "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void replace_file(const char *name, const char *text)
{
	write_file("token.new", text);
	assert_int_equal(rename(path_of("token.new"), path_of(name)), 0);
}

static int set_up(void **state)
{
	(void)state;
	write_file("token", "abc.def\n");
	write_file("ca.crt", AUTHORITY);
	write_file("namespace", "culvert\n");
	(void)setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1", 1);
	(void)setenv("KUBERNETES_SERVICE_PORT", "443", 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void)unlink(path_of(names[i]));
	return 0;
}

static void test_a_pod(void **state)
{
	char error[CREDENTIALS_ERROR_BYTES];
	const struct kubeconfig *k;
	struct credentials *c;

	(void)state;
	assert_int_equal(credentials_create(NULL, folder, start, &c, error), 0);
	k = credentials_get(c);
	assert_string_equal(k->server, "https://10.96.0.1:443");
	assert_string_equal(k->token.bytes, "abc.def");
	assert_string_equal(k->authority.bytes, AUTHORITY);
	assert_string_equal(k->name_space, "culvert");
	assert_null(k->tls_name);
	assert_null(k->certificate.bytes);
	credentials_destroy(c);

	(void)setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
	(void)unlink(path_of("namespace"));
	assert_int_equal(credentials_create(NULL, folder, start, &c, error), 0);
	assert_string_equal(credentials_get(c)->server, "https://[fd00::1]:443");
	assert_null(credentials_get(c)->name_space);
	credentials_destroy(c);
	(void)setenv("KUBERNETES_SERVICE_HOST", "api.example", 1);
	assert_int_equal(credentials_create(NULL, folder, start, &c, error), 0);
	assert_string_equal(credentials_get(c)->server, "https://api.example:443");
	credentials_destroy(c);
}

static void assert_refused(const char *kubeconfig, int rc, const char *says)
{
	char error[CREDENTIALS_ERROR_BYTES] = "";
	struct credentials *c = NULL;

	assert_int_equal(credentials_create(kubeconfig, folder, start, &c, error), rc);
	assert_null(c);
	if (!strstr(error, says))
		fail_msg("\"%s\" does not say \"%s\"", error, says);
	assert_null(strchr(error, '\n'));
}

static void test_what_a_pod_lacks_is_named(void **state)
{
	(void)state;
	(void)unsetenv("KUBERNETES_SERVICE_HOST");
	assert_refused(NULL, -EINVAL, "KUBERNETES_SERVICE_HOST is not set: this is no pod");
	(void)setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1/x", 1);
	assert_refused(NULL, -EINVAL, "KUBERNETES_SERVICE_HOST: \"10.96.0.1/x\" is no address and no name");
	(void)setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1", 1);
	(void)unsetenv("KUBERNETES_SERVICE_PORT");
	assert_refused(NULL, -EINVAL, "KUBERNETES_SERVICE_PORT is not set");
	(void)setenv("KUBERNETES_SERVICE_PORT", "0", 1);
	assert_refused(NULL, -EINVAL, "KUBERNETES_SERVICE_PORT: \"0\" is no port");
	(void)setenv("KUBERNETES_SERVICE_PORT", "443", 1);
	write_file("token", " \n");
	assert_refused(NULL, -EINVAL, "/token: the token is empty");
	write_file("token", "abc\nInjected: header");
	assert_refused(NULL, -EINVAL, "/token: byte 4 is no character of a token");
	write_file("token", "abc");
	write_file("ca.crt", "no certificate");
	assert_refused(NULL, -EINVAL, "/ca.crt: no certificate in it; -----BEGIN CERTIFICATE----- would be right");
	(void)unlink(path_of("ca.crt"));
	assert_refused(NULL, -ENOENT, "/ca.crt: can not be opened: No such file");
}

static void test_files_are_read_again_when_they_change(void **state)
{
	char error[CREDENTIALS_ERROR_BYTES];
	struct credentials *c;

	(void)state;
	assert_int_equal(credentials_create(NULL, folder, start, &c, error), 0);
	assert_false(credentials_refresh(c, false, start));
	assert_false(credentials_refresh(c, true, start));
	replace_file("token", "another");
	assert_true(credentials_refresh(c, false, start));
	assert_string_equal(credentials_get(c)->token.bytes, "another");
	assert_false(credentials_refresh(c, false, start));

	/* What is no token, or not there, leaves the one that was; the error stays as long as that. */
	replace_file("token", "");
	assert_false(credentials_refresh(c, false, start));
	assert_string_equal(credentials_get(c)->token.bytes, "another");
	assert_non_null(strstr(credentials_error(c), "the token is empty"));
	assert_false(credentials_refresh(c, false, start));
	assert_non_null(strstr(credentials_error(c), "the token is empty"));
	(void)unlink(path_of("token"));
	assert_false(credentials_refresh(c, false, start));
	assert_non_null(strstr(credentials_error(c), "can not be opened"));
	replace_file("token", "third");
	assert_true(credentials_refresh(c, false, start));
	assert_string_equal(credentials_get(c)->token.bytes, "third");
	assert_string_equal(credentials_error(c), "");

	replace_file("ca.crt", AUTHORITY "more\n");
	assert_true(credentials_refresh(c, false, start));
	assert_string_equal(credentials_get(c)->authority.bytes, AUTHORITY "more\n");
	credentials_destroy(c);
}

static void write_same_time(const char *name, const char *text, const struct stat *st)
{
	write_file(name, text);
	assert_int_equal(utimensat(AT_FDCWD, path_of(name), (struct timespec[]){ st->st_atim, st->st_mtim }, 0), 0);
}

static void test_files_that_look_the_same_are_read_each_minute(void **state)
{
	char error[CREDENTIALS_ERROR_BYTES];
	struct credentials *c;
	struct stat st;

	(void)state;
	assert_int_equal(credentials_create(NULL, folder, start, &c, error), 0);
	assert_int_equal(stat(path_of("token"), &st), 0);
	write_same_time("token", "ABC.DEF\n", &st);
	assert_false(credentials_refresh(c, false, start));
	assert_string_equal(credentials_get(c)->token.bytes, "abc.def");
	assert_false(credentials_refresh(c, false, instant_add_ms(start, CREDENTIALS_READ_MS - 1)));
	assert_true(credentials_refresh(c, false, instant_add_ms(start, CREDENTIALS_READ_MS)));
	assert_string_equal(credentials_get(c)->token.bytes, "ABC.DEF");
	write_same_time("token", "aBC.DEF\n", &st);
	assert_true(credentials_refresh(c, true, instant_add_ms(start, CREDENTIALS_READ_MS)));
	assert_string_equal(credentials_get(c)->token.bytes, "aBC.DEF");
	credentials_destroy(c);
}

static const char whole[] = "apiVersion: v1\n"
			    "kind: Config\n"
			    "current-context: second\n"
			    "preferences: {}\n"
			    "contexts:\n"
			    "- {name: first, context: {cluster: one, user: one}}\n"
			    "- name: second\n"
			    "  context:\n"
			    "    cluster: two\n"
			    "    user: two\n"
			    "    namespace: spaced\n"
			    "clusters:\n"
			    "- {name: one, cluster: {server: \"https://elsewhere\"}}\n"
			    "- name: two\n"
			    "  cluster:\n"
			    "    server: %s\n"
			    "    %s\n"
			    "users:\n"
			    "- {name: one, user: {exec: {command: rm}}}\n"
			    "- name: two\n"
			    "  user:\n"
			    "    %s\n";

static void write_config(const char *server, const char *cluster, const char *user)
{
	char text[4096];

	assert_true(snprintf(text, sizeof(text), whole, server, cluster, user) < (int)sizeof(text));
	write_file("config", text);
}

static void test_a_kubeconfig_with_data(void **state)
{
	char error[CREDENTIALS_ERROR_BYTES];
	const struct kubeconfig *k;
	struct credentials *c;

	(void)state;
	write_file("config",
	           "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u, namespace: spaced}}]\n"
	           "clusters: [{name: k, cluster: {server: \"https://10.0.0.1:6443//\", certificate-authority: /nowhere, "
	           "certificate-authority-data: " AUTHORITY64 ", tls-server-name: kubernetes, insecure-skip-tls-verify: false}}]\n"
	           "users: [{name: u, user: {client-certificate-data: " AUTHORITY64 ", client-key-data: " KEY64 ", token: xyz}}]\n");
	assert_int_equal(credentials_create(path_of("config"), NULL, start, &c, error), 0);
	k = credentials_get(c);
	assert_string_equal(k->server, "https://10.0.0.1:6443");
	assert_string_equal(k->tls_name, "kubernetes");
	assert_string_equal(k->name_space, "spaced");
	assert_string_equal(k->authority.bytes, AUTHORITY);
	assert_string_equal(k->certificate.bytes, AUTHORITY);
	assert_string_equal(k->key.bytes, "-----BEGIN PRIVATE KEY-----\n");
	assert_string_equal(k->token.bytes, "xyz");
	assert_false(credentials_refresh(c, true, start));
	credentials_destroy(c);
}

static void test_a_kubeconfig_with_files(void **state)
{
	char error[CREDENTIALS_ERROR_BYTES];
	struct credentials *c;

	(void)state;
	/* Paths count from the folder of the file; tokenFile wins over token. */
	write_config("https://10.0.0.1", "certificate-authority: ca.crt", "tokenFile: token\n    token: other");
	assert_int_equal(credentials_create(path_of("config"), NULL, start, &c, error), 0);
	assert_string_equal(credentials_get(c)->token.bytes, "abc.def");
	assert_string_equal(credentials_get(c)->authority.bytes, AUTHORITY);
	assert_string_equal(credentials_get(c)->name_space, "spaced");
	replace_file("token", "renewed");
	assert_true(credentials_refresh(c, false, start));
	assert_string_equal(credentials_get(c)->token.bytes, "renewed");
	credentials_destroy(c);
}

static void test_what_is_not_done_is_refused_with_a_sentence(void **state)
{
	char kept[PATH_MAX];
	const char *ca = "certificate-authority: ca.crt";

	(void)state;
	(void)snprintf(kept, sizeof(kept), "%s", path_of("config"));
	write_config("https://10.0.0.1", "insecure-skip-tls-verify: true", "token: x");
	assert_refused(kept, -EINVAL, "config:17: insecure-skip-tls-verify: ");
	write_config("https://10.0.0.1", "proxy-url: http://proxy", "token: x");
	assert_refused(kept, -EINVAL, "config:17: proxy-url: ");
	write_config("https://10.0.0.1", ca, "exec: {command: aws, args: [eks], env: [{name: A, value: B}]}");
	assert_refused(kept, -EINVAL, "config:22: exec: plug-ins are programs, and none is started here");
	write_config("https://10.0.0.1", ca, "auth-provider: {name: gcp}");
	assert_refused(kept, -EINVAL, "config:22: auth-provider: ");
	write_config("https://10.0.0.1", ca, "username: a\n    password: b");
	assert_refused(kept, -EINVAL, "config:22: username: ");
	write_config("https://10.0.0.1", ca, "as: other");
	assert_refused(kept, -EINVAL, "config:22: as: ");
	write_config("http://10.0.0.1", ca, "token: x");
	assert_refused(kept, -EINVAL, "the API server \"http://10.0.0.1\": https://HOST:PORT would be right");
	write_config("http://127.0.0.1.example", ca, "token: x");
	assert_refused(kept, -EINVAL, "https://HOST:PORT would be right");
	write_config("\"\"", ca, "token: x");
	assert_refused(kept, -EINVAL, "the cluster has no server");
	write_config("//", ca, "token: x");
	assert_refused(kept, -EINVAL, "server: \"//\" names no host; https://10.0.0.1:6443 would be right");
	write_config("https://10.0.0.1", "certificate-authority: gone.crt", "token: x");
	assert_refused(kept, -ENOENT, "/gone.crt: can not be opened");
	write_config("https://10.0.0.1", "certificate-authority-data: \"%%%\"", "token: x");
	assert_refused(kept, -EINVAL, "config:17: certificate-authority-data is not base64");
	write_config("https://10.0.0.1", "certificate-authority-data: Zm9v", "token: x");
	assert_refused(kept, -EINVAL, "certificate-authority-data: no certificate in it");
	write_config("https://10.0.0.1", ca, "client-key-data: " KEY64);
	assert_refused(kept, -EINVAL, "the user has a client-key without its client-certificate");
	write_config("https://10.0.0.1", ca, "token: [x]");
	assert_refused(kept, -EINVAL, "config:22: token is a list; a text would be right");
	write_file("config", "current-context: c\ncontexts: [{name: other, context: {cluster: k}}]\n");
	assert_refused(kept, -EINVAL, "config:2: contexts has no entry with the name \"c\"");
	write_file("config", "contexts: [{name: other, context: {cluster: k}}]\n");
	assert_refused(kept, -EINVAL, "current-context is missing");
	write_file("config", "current-context: c\ncontexts: [{name: c, context: {user: u}}]\n");
	assert_refused(kept, -EINVAL, "the context names no cluster");
	write_file("config", "current-context: c\ncontexts: [{name: c, context: {cluster: k}}]\nclusters: 7\n");
	assert_refused(kept, -EINVAL, "config:3: clusters is a text; a list would be right");
	write_file("config", "- a\n");
	assert_refused(kept, -EINVAL, "this is no kubeconfig");
	write_file("config", "");
	assert_refused(kept, -EINVAL, "this is no kubeconfig");
	write_file("config", "{");
	assert_refused(kept, -EINVAL, "not valid YAML");
}

static void test_http_only_on_the_machine_itself(void **state)
{
	static const char *const local[] = { "http://127.0.0.1:8001", "http://[::1]:8001/", "http://localhost" };
	char error[CREDENTIALS_ERROR_BYTES];
	struct credentials *c;

	(void)state;
	for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++) {
		char quoted[64];

		(void)snprintf(quoted, sizeof(quoted), "\"%s\"", local[i]);
		write_config(quoted, "certificate-authority: ca.crt", "token: x");
		assert_int_equal(credentials_create(path_of("config"), NULL, start, &c, error), 0);
		credentials_destroy(c);
	}
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		T(test_a_pod),
		T(test_what_a_pod_lacks_is_named),
		T(test_files_are_read_again_when_they_change),
		T(test_files_that_look_the_same_are_read_each_minute),
		T(test_a_kubeconfig_with_data),
		T(test_a_kubeconfig_with_files),
		T(test_what_is_not_done_is_refused_with_a_sentence),
		T(test_http_only_on_the_machine_itself),
	};

	return cmocka_run_group_tests_name("credentials", tests, make_folder, remove_folder);
}
