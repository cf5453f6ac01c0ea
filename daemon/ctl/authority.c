/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/authority.h"

#include "base/text.h"
#include "cluster/name.h"
#include "ctl/exit.h"
#include "tls/ca.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { DAYS_MAX = 36500 };

/* 0: a number of days in *ret. */
static int days_parse(const char *text, int *ret)
{
	uint64_t days;

	if (text_parse_u64(text, &days) || !days || days > DAYS_MAX) {
		fprintf(stderr, "culvertctl: --days %s: must be 1 to %d\n", text, DAYS_MAX);
		return -EINVAL;
	}
	*ret = (int)days;
	return 0;
}

static int init_run(int argc, char **argv)
{
	static const struct option options[] = { { "days", required_argument, NULL, 'd' }, { NULL, 0, NULL, 0 } };
	char error[CA_ERROR_BYTES];
	int days = 0, opt;

	optind = 0; /* begins anew: the library's way */
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt != 'd') {
			fputs(HINT, stderr);
			return EXIT_USAGE;
		}
		if (days_parse(optarg, &days))
			return EXIT_USAGE;
	}
	if (argc - optind != 1) {
		fputs("culvertctl: ca init needs one folder\n" HINT, stderr);
		return EXIT_USAGE;
	}
	if (ca_init(argv[optind], NULL, days, error)) {
		fprintf(stderr, "culvertctl: %s\n", error);
		return EXIT_WRONG;
	}
	printf("%s/ca.crt and %s/ca.key: a new authority; whoever has the key can be any node\n", argv[optind], argv[optind]);
	return EXIT_GOOD;
}

static int issue_one(const struct name_template *t, const char *dir, const char *node, const char *out, bool is_out_whole, int days)
{
	char error[CA_ERROR_BYTES], path[PATH_MAX];
	struct tls_name name;
	struct ca_leaf leaf;
	int r = name_of_node(t, node, &name);

	if (r) {
		fprintf(stderr, "culvertctl: node %s: its certificate's name would be too long\n", node);
		return EXIT_WRONG;
	}
	r = is_out_whole ? snprintf(path, sizeof(path), "%s", out) : snprintf(path, sizeof(path), "%s/%s", out, node);
	if (r < 0 || (size_t)r >= sizeof(path)) {
		fprintf(stderr, "culvertctl: %.100s...: the path is too long\n", out);
		return EXIT_WRONG;
	}
	leaf = ca_leaf_default(node, &name, days);
	if (ca_issue(dir, path, &leaf, error)) {
		fprintf(stderr, "culvertctl: %s\n", error);
		return EXIT_WRONG;
	}
	printf("%s/tls.crt, tls.key, ca.crt: node %s, %s%s\n", path, node, name.type == TLS_NAME_URI ? "URI:" : "DNS:", name.text);
	return EXIT_GOOD;
}

/* A node's name becomes a path and a part of a name: only what Kubernetes allows for one (DNS-1123 subdomain). */
static bool node_is_good(const char *node)
{
	size_t len = strlen(node);

	if (!len || len >= VIEW_NODE_NAME_BYTES)
		return false;
	for (size_t i = 0; i < len; i++) {
		bool is_edge = i == 0 || i == len - 1 || node[i - 1] == '.' || node[i + 1] == '.';

		if ((node[i] >= 'a' && node[i] <= 'z') || (node[i] >= '0' && node[i] <= '9'))
			continue;
		if ((node[i] != '-' && node[i] != '.') || is_edge)
			return false;
	}
	return true;
}

static int issue_run(int argc, char **argv)
{
	static const struct option options[] = {
		{ "name", required_argument, NULL, 'n' },
		{ "out", required_argument, NULL, 'o' },
		{ "days", required_argument, NULL, 'd' },
		{ NULL, 0, NULL, 0 },
	};
	const char *name_text = AUTHORITY_NAME_DEFAULT, *out = NULL;
	struct name_template name;
	char error[NAME_ERROR_BYTES];
	int days = 0, opt;

	optind = 0;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'n':
			name_text = optarg;
			break;
		case 'o':
			out = optarg;
			break;
		case 'd':
			if (days_parse(optarg, &days))
				return EXIT_USAGE;
			break;
		default:
			fputs(HINT, stderr);
			return EXIT_USAGE;
		}
	}
	if (argc - optind < 2) {
		fputs("culvertctl: ca issue needs the authority's folder and a node\n" HINT, stderr);
		return EXIT_USAGE;
	}
	if (name_template_parse(name_text, &name, error)) {
		fprintf(stderr, "culvertctl: --name: %s\n", error);
		return EXIT_USAGE;
	}
	if (name.is_shared) {
		fprintf(stderr,
		        "culvertctl: --name shared: a certificate needs a name; give the one that all nodes shall have, such as DNS:{node}, to one node\n");
		return EXIT_USAGE;
	}
	for (int i = optind + 1; i < argc; i++) {
		if (!node_is_good(argv[i])) {
			char quoted[TEXT_QUOTE_BYTES];

			fprintf(stderr, "culvertctl: %s is no node's name: lower-case letters, digits, '-' and '.', at most %d\n",
			        text_quote(argv[i], quoted), VIEW_NODE_NAME_BYTES - 1);
			return EXIT_USAGE;
		}
	}
	for (int i = optind + 1; i < argc; i++) {
		int r = issue_one(&name, argv[optind], argv[i], out ? out : argv[optind], out && argc - optind == 2, days);

		if (r)
			return r;
	}
	return EXIT_GOOD;
}

int authority_run(int argc, char **argv)
{
	int r;

	if (argc < 1 || (strcmp(argv[0], "init") != 0 && strcmp(argv[0], "issue") != 0)) {
		fputs("culvertctl: ca needs init or issue\n" HINT, stderr);
		return EXIT_USAGE;
	}
	r = tls_init();
	if (r) {
		fprintf(stderr, "culvertctl: the TLS library does not start: %s\n", strerror(-r));
		return EXIT_WRONG;
	}
	return strcmp(argv[0], "init") == 0 ? init_run(argc, argv) : issue_run(argc, argv);
}
