/* SPDX-License-Identifier: GPL-3.0-or-later */
/* main.c - flags, usage, --check and exit codes. */
#include "daemon.h"
#include "reload.h"

#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	EXIT_USAGE = 2, /* bad usage, configuration, nodes file or certificates */
	/* Larger is mapped by itself, and gone when it is freed: buffers of links. Left alone, the C library raises this once one was freed, and a
	 * worker's heap keeps them at its end, where malloc_trim does not look. */
	HEAP_PIECE_MAX = 128 << 10,
	HEAP_END_MAX = 512 << 10, /* free at a heap's end: below it nothing is given back, which streams' queues would only ask for again */
};

static void usage(FILE *out)
{
	fprintf(out, "usage: culvertd --config FILE [--node NAME] [--check | --remove]\n"
	             "       culvertd --settings | --version | --help\n"
	             "\n"
	             "  --config FILE  the configuration (YAML); runs in the foreground and logs to standard error\n"
	             "  --node NAME    this node's name, in place of the one in the file: so all nodes of a cluster can share one file\n"
	             "  --check        only checks configuration, nodes file and certificates\n"
	             "  --remove       takes every program, device, rule and pin of a daemon that has ended out of the node\n"
	             "  --settings     prints all settings with their defaults, as a table in Markdown\n"
	             "TERM ends it in order (again: at once), HUP reloads. Exit status 2: bad usage or configuration.\n");
}

int main(int argc, char **argv)
{
	enum { OPT_CONFIG = 'c', OPT_NODE, OPT_CHECK, OPT_REMOVE, OPT_SETTINGS, OPT_VERSION, OPT_HELP };
	static const struct option options[] = {
		{ "config", required_argument, NULL, OPT_CONFIG }, { "node", required_argument, NULL, OPT_NODE },
		{ "check", no_argument, NULL, OPT_CHECK },         { "remove", no_argument, NULL, OPT_REMOVE },
		{ "settings", no_argument, NULL, OPT_SETTINGS },   { "version", no_argument, NULL, OPT_VERSION },
		{ "help", no_argument, NULL, OPT_HELP },           { NULL, 0, NULL, 0 },
	};
	struct daemon d = { .lock_fd = -1, .signals.fd = -1, .tunnel_listener.fd = -1, .started_s = time(NULL) };
	bool is_check = false, is_remove = false;
	int opt, r;

	(void)mallopt(M_MMAP_THRESHOLD, HEAP_PIECE_MAX);
	(void)mallopt(M_TRIM_THRESHOLD, HEAP_END_MAX);
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case OPT_CONFIG:
			d.config_path = optarg;
			break;
		case OPT_NODE:
			d.node_flag = optarg;
			break;
		case OPT_CHECK:
			is_check = true;
			break;
		case OPT_REMOVE:
			is_remove = true;
			break;
		case OPT_SETTINGS:
			config_describe(stdout);
			return EXIT_SUCCESS;
		case OPT_VERSION:
			printf("culvertd %s\n", CULVERT_VERSION);
			return EXIT_SUCCESS;
		case OPT_HELP:
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "culvertd: unexpected argument \"%s\"\n", argv[optind]);
		usage(stderr);
		return EXIT_USAGE;
	}
	if (!d.config_path || (is_check && is_remove)) {
		fprintf(stderr, "culvertd: %s\n", d.config_path ? "--check and --remove exclude each other" : "--config FILE is needed");
		usage(stderr);
		return EXIT_USAGE;
	}
	clock_init(&d.clock);
	if (is_remove) {
		r = reload_first_settings(&d) ? EXIT_USAGE : daemon_remove(&d) ? EXIT_FAILURE : EXIT_SUCCESS;
		reload_done(&d);
		return r;
	}
	r = tls_init();
	if (r) {
		fprintf(stderr, "culvertd: the TLS library does not start: %s\n", strerror(-r));
		return EXIT_FAILURE;
	}
	if (reload_first(&d)) {
		r = EXIT_USAGE;
	} else if (is_check) {
		r = EXIT_SUCCESS;
		if (d.config.nodes.is_kubernetes)
			printf("%s: good: node %s, nodes from the Kubernetes API (not asked), ", d.config_path, d.config.node);
		else
			printf("%s: good: node %s, %zu nodes, ", d.config_path, d.config.node, view_nodes_count(d.view));
		if (d.tls)
			printf("certificate %s\n", d.cred.self.names_count ? d.cred.self.names[0].text : "-");
		else
			printf("no certificate yet: %s\n", d.cred_state.error);
	} else {
		r = daemon_run(&d) ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	reload_done(&d);
	return r;
}
