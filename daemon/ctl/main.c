/* SPDX-License-Identifier: GPL-3.0-or-later */
/* culvertctl: asks the daemon, and keeps a trial authority. */
#include "base/text.h"
#include "ctl/authority.h"
#include "ctl/client.h"
#include "ctl/exit.h"
#include "ctl/json.h"
#include "ctl/show.h"
#include "ctl/top.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SOCKET_DEFAULT "/run/culvert/status.sock"

struct invocation {
	const char *socket_path;
	bool is_json, is_ended;
	const char *peer; /* "": all */
	uint64_t limit, rounds;
};

static void usage(FILE *out)
{
	fprintf(out,
	        "usage: culvertctl [--socket PATH] [-o table|json] COMMAND\n"
	        "\n"
	        "  status                      the daemon, its memory, devices, and what the kernel counted\n"
	        "  peers [NODE]                other nodes: tunnels, keys, certificates, traffic\n"
	        "  streams [--ended] [--limit N] [NODE]\n"
	        "                              connections between pods (1,000, or N up to 65,536). --ended: the last ones that ended, why, and who said so\n"
	        "  certs                       our own certificate and the authorities\n"
	        "  counters                    what the kernel counted\n"
	        "  check                       is everything as it should be? Exit status 1 where not\n"
	        "  top [--rounds N]            peers and streams, again each second; q ends\n"
	        "  ca init [--days N] DIR      makes an authority for trials\n"
	        "  ca issue [--name TEMPLATE] [--out DIR] [--days N] DIR NODE...\n"
	        "                              makes certificates of nodes by the authority in DIR; they go to DIR/NODE, or to --out (with several nodes: a folder\n"
	        "                              each in it). TEMPLATE: " AUTHORITY_NAME_DEFAULT "\n"
	        "  --socket PATH               the daemon's status socket; default " SOCKET_DEFAULT "\n"
	        "  -o json                     for programs: the names and units of proto/status.proto\n"
	        "Exit status: 0 good, 1 something is wrong, 2 usage, 3 the daemon can not be reached.\n");
}

/* --- questions --- */

/* A question's answer is good: prints it. Returns an exit status. */
static int show(const struct invocation *v, const Culvert__Status__Response *a)
{
	int64_t now_s = time(NULL);

	switch (a->what_case) {
	case CULVERT__STATUS__RESPONSE__WHAT_STATUS:
		if (v->is_json)
			json_print(stdout, &a->status->base);
		else
			show_status(stdout, a->status, now_s);
		return EXIT_GOOD;
	case CULVERT__STATUS__RESPONSE__WHAT_PEERS:
		if (v->is_json)
			json_print(stdout, &a->peers->base);
		else
			show_peers(stdout, a->peers, now_s);
		if (v->peer[0] && !a->peers->n_peers) {
			fprintf(stderr, "culvertctl: no node is named %s\n", v->peer);
			return EXIT_WRONG;
		}
		return EXIT_GOOD;
	case CULVERT__STATUS__RESPONSE__WHAT_STREAMS:
		if (v->is_json)
			json_print(stdout, &a->streams->base);
		else
			show_streams(stdout, a->streams);
		return EXIT_GOOD;
	case CULVERT__STATUS__RESPONSE__WHAT_ENDED:
		if (v->is_json)
			json_print(stdout, &a->ended->base);
		else
			show_ended_streams(stdout, a->ended);
		return EXIT_GOOD;
	case CULVERT__STATUS__RESPONSE__WHAT_CERTIFICATES:
		if (v->is_json)
			json_print(stdout, &a->certificates->base);
		else
			show_certificates(stdout, a->certificates, now_s);
		return EXIT_GOOD;
	case CULVERT__STATUS__RESPONSE__WHAT_CHECK:
		if (v->is_json)
			json_print(stdout, &a->check->base);
		else
			show_check(stdout, a->check);
		return a->check->is_good ? EXIT_GOOD : EXIT_WRONG;
	case CULVERT__STATUS__RESPONSE__WHAT_COUNTERS:
		if (v->is_json)
			json_print(stdout, &a->counters->base);
		else
			show_counters(stdout, a->counters->counters, a->counters->n_counters);
		return EXIT_GOOD;
	case CULVERT__STATUS__RESPONSE__WHAT_ERROR:
		fprintf(stderr, "culvertctl: the daemon refuses: %s (%s)\n", a->error->text, a->error->code);
		return EXIT_WRONG;
	default:
		fprintf(stderr, "culvertctl: the daemon's answer is of a kind that this version does not know\n");
		return EXIT_WRONG;
	}
}

static int ask_and_show(const struct invocation *v, const Culvert__Status__Request *request)
{
	char error[CLIENT_ERROR_BYTES];
	Culvert__Status__Response *answer;
	int r;

	if (client_ask(v->socket_path, request, &answer, error)) {
		fprintf(stderr, "culvertctl: %s\n", error);
		return EXIT_UNREACHABLE;
	}
	r = show(v, answer);
	culvert__status__response__free_unpacked(answer, NULL);
	if (fflush(stdout) || ferror(stdout)) {
		perror("culvertctl: standard output");
		return EXIT_WRONG;
	}
	return r;
}

static int ask_status(const struct invocation *v)
{
	Culvert__Status__Request request = CULVERT__STATUS__REQUEST__INIT;
	Culvert__Status__StatusRequest what = CULVERT__STATUS__STATUS_REQUEST__INIT;

	request.what_case = CULVERT__STATUS__REQUEST__WHAT_STATUS;
	request.status = &what;
	return ask_and_show(v, &request);
}

static int ask_peers(const struct invocation *v)
{
	Culvert__Status__Request request = CULVERT__STATUS__REQUEST__INIT;
	Culvert__Status__PeersRequest what = CULVERT__STATUS__PEERS_REQUEST__INIT;

	what.peer = (char *)(uintptr_t)v->peer; /* the library only reads what it packs */
	request.what_case = CULVERT__STATUS__REQUEST__WHAT_PEERS;
	request.peers = &what;
	return ask_and_show(v, &request);
}

static int ask_ended(const struct invocation *v)
{
	Culvert__Status__Request request = CULVERT__STATUS__REQUEST__INIT;
	Culvert__Status__EndedRequest what = CULVERT__STATUS__ENDED_REQUEST__INIT;

	what.peer = (char *)(uintptr_t)v->peer;
	what.limit = (uint32_t)v->limit;
	request.what_case = CULVERT__STATUS__REQUEST__WHAT_ENDED;
	request.ended = &what;
	return ask_and_show(v, &request);
}

static int ask_streams(const struct invocation *v)
{
	Culvert__Status__Request request = CULVERT__STATUS__REQUEST__INIT;
	Culvert__Status__StreamsRequest what = CULVERT__STATUS__STREAMS_REQUEST__INIT;

	if (v->is_ended)
		return ask_ended(v);
	what.peer = (char *)(uintptr_t)v->peer;
	what.limit = (uint32_t)v->limit;
	request.what_case = CULVERT__STATUS__REQUEST__WHAT_STREAMS;
	request.streams = &what;
	return ask_and_show(v, &request);
}

static int ask_certificates(const struct invocation *v)
{
	Culvert__Status__Request request = CULVERT__STATUS__REQUEST__INIT;
	Culvert__Status__CertificatesRequest what = CULVERT__STATUS__CERTIFICATES_REQUEST__INIT;

	request.what_case = CULVERT__STATUS__REQUEST__WHAT_CERTIFICATES;
	request.certificates = &what;
	return ask_and_show(v, &request);
}

static int ask_check(const struct invocation *v)
{
	Culvert__Status__Request request = CULVERT__STATUS__REQUEST__INIT;
	Culvert__Status__CheckRequest what = CULVERT__STATUS__CHECK_REQUEST__INIT;

	request.what_case = CULVERT__STATUS__REQUEST__WHAT_CHECK;
	request.check = &what;
	return ask_and_show(v, &request);
}

static int ask_counters(const struct invocation *v)
{
	Culvert__Status__Request request = CULVERT__STATUS__REQUEST__INIT;
	Culvert__Status__CountersRequest what = CULVERT__STATUS__COUNTERS_REQUEST__INIT;

	request.what_case = CULVERT__STATUS__REQUEST__WHAT_COUNTERS;
	request.counters = &what;
	return ask_and_show(v, &request);
}

static int run_top(const struct invocation *v)
{
	return top_run(v->socket_path, v->rounds);
}

/* --- the command line --- */

static const struct command {
	const char *name;
	int (*run)(const struct invocation *v);
	bool has_peer, has_limit, has_ended, has_rounds, has_json;
} commands[] = {
	{ "status", ask_status, .has_json = true },
	{ "peers", ask_peers, .has_peer = true, .has_json = true },
	{ "streams", ask_streams, .has_peer = true, .has_limit = true, .has_ended = true, .has_json = true },
	{ "certs", ask_certificates, .has_json = true },
	{ "counters", ask_counters, .has_json = true },
	{ "check", ask_check, .has_json = true },
	{ "top", run_top, .has_rounds = true },
};

static int complain(const char *what, const char *value)
{
	char quoted[TEXT_QUOTE_BYTES];

	fprintf(stderr, "culvertctl: %s %s\n" HINT, what, text_quote(value, quoted));
	return EXIT_USAGE;
}

static int number_parse(const char *option, const char *text, uint64_t max, uint64_t *ret)
{
	uint64_t value;

	if (text_parse_u64(text, &value) || !value || value > max) {
		fprintf(stderr, "culvertctl: %s %s: must be 1 to %llu\n", option, text, (unsigned long long)max);
		return -1;
	}
	*ret = value;
	return 0;
}

static int command_run(const struct command *c, struct invocation *v, int argc, char **argv)
{
	static const struct option options[] = {
		{ "limit", required_argument, NULL, 'l' },
		{ "ended", no_argument, NULL, 'e' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "output", required_argument, NULL, 'o' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	optind = 0; /* begins anew: the library's way */
	while ((opt = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		if (opt == 'l' && c->has_limit) {
			if (number_parse("--limit", optarg, 65536, &v->limit))
				return EXIT_USAGE;
		} else if (opt == 'e' && c->has_ended) {
			v->is_ended = true;
		} else if (opt == 'r' && c->has_rounds) {
			if (number_parse("--rounds", optarg, UINT32_MAX, &v->rounds))
				return EXIT_USAGE;
		} else if (opt == 'o' && (strcmp(optarg, "json") == 0 || strcmp(optarg, "table") == 0)) {
			v->is_json = strcmp(optarg, "json") == 0;
		} else if (opt == 'o') {
			return complain("-o is table or json, not", optarg);
		} else {
			if (opt != '?') /* the library has told of an unknown one */
				fprintf(stderr, "culvertctl: %s has no option --%s\n", c->name,
				        opt == 'l'   ? "limit"
				        : opt == 'e' ? "ended"
				                     : "rounds");
			fputs(HINT, stderr);
			return EXIT_USAGE;
		}
	}
	if (v->is_json && !c->has_json)
		return complain("there is no -o json for", c->name);
	if (c->has_peer && optind < argc)
		v->peer = argv[optind++];
	if (optind < argc)
		return complain("unexpected argument", argv[optind]);
	return c->run(v);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "output", required_argument, NULL, 'o' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct invocation v = { .socket_path = SOCKET_DEFAULT, .peer = "" };
	const char *name, *near, *names[sizeof(commands) / sizeof(commands[0]) + 1];
	size_t count = 0;
	int opt, first;

	while ((opt = getopt_long(argc, argv, "+o:h", options, NULL)) != -1) {
		switch (opt) {
		case 's':
			v.socket_path = optarg;
			break;
		case 'o':
			if (strcmp(optarg, "json") != 0 && strcmp(optarg, "table") != 0)
				return complain("-o is table or json, not", optarg);
			v.is_json = strcmp(optarg, "json") == 0;
			break;
		case 'V':
			printf("culvertctl %s\n", CULVERT_VERSION);
			return EXIT_GOOD;
		case 'h':
			usage(stdout);
			return EXIT_GOOD;
		default:
			fputs(HINT, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind == argc) {
		usage(stderr);
		return EXIT_USAGE;
	}
	first = optind;
	name = argv[first];
	if (strcmp(name, "ca") == 0) {
		if (v.is_json)
			return complain("there is no -o json for", name);
		return authority_run(argc - first - 1, argv + first + 1);
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(name, commands[i].name) == 0)
			return command_run(&commands[i], &v, argc - first, argv + first);
		names[count++] = commands[i].name;
	}
	names[count++] = "ca";
	near = text_nearest(name, names, count);
	if (near)
		fprintf(stderr, "culvertctl: did you mean %s?\n", near);
	return complain("there is no command", name);
}
