/* SPDX-License-Identifier: GPL-3.0-or-later */
/* identity.c - a node's certificate from the cluster, without the rest of the daemon, for the tests over a real API server:
 *   kube_identity --kubeconfig FILE --node NAME --namespace NAME --signer NAME --name URI:... --directory FOLDER
 * Prints a line for each new state. Ends at TERM. */
#include "kube/identity.h"
#include "tls/tls.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { LOOK_MS = 50 };

static struct loop *loop;
static struct identity *identity;
static char last[2 * IDENTITY_ERROR_BYTES];

static void say(void)
{
	struct identity_state s;
	char text[sizeof(last)];

	identity_state(identity, &s);
	snprintf(text, sizeof(text), "%s has=%d issued=%" PRIu64 " request=%s error=%s", identity_phase_name(s.phase), s.has_certificate,
	         s.issued, s.request, s.error);
	if (strcmp(text, last) == 0)
		return;
	memcpy(last, text, sizeof(last));
	puts(text);
	fflush(stdout);
}

static void on_look(struct loop_timer *t)
{
	say();
	(void)loop_timer_set(loop, t, instant_add_ms(loop_now(loop), LOOK_MS));
}

static void on_changed(void *ctx)
{
	(void)ctx;
	puts("changed");
	say();
}

static void on_signal(struct loop_source *src, uint32_t events)
{
	(void)src;
	(void)events;
	loop_stop(loop);
}

static int fail(const char *text)
{
	fprintf(stderr, "kube_identity: %s\n", text);
	return 1;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "kubeconfig", required_argument, NULL, 'k' },
		{ "node", required_argument, NULL, 'n' },
		{ "namespace", required_argument, NULL, 's' },
		{ "signer", required_argument, NULL, 'i' },
		{ "name", required_argument, NULL, 'a' },
		{ "directory", required_argument, NULL, 'd' },
		{ NULL, 0, NULL, 0 },
	};
	static const struct identity_ops ops = { .changed = on_changed };
	struct kube_client_settings client_settings = { .user_agent = "kube_identity" };
	struct identity_settings s = { .seed = (uint64_t)getpid() };
	struct loop_timer look = { .on_expire = on_look };
	struct loop_source signals = { .on_event = on_signal };
	struct kube_client *client;
	char error[KUBE_ERROR_BYTES];
	struct clock clock;
	sigset_t set;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'k':
			client_settings.kubeconfig = optarg;
			break;
		case 'n':
			s.node = optarg;
			break;
		case 's':
			s.name_space = optarg;
			break;
		case 'i':
			s.signer = optarg;
			break;
		case 'a':
			s.name.type = strncmp(optarg, "URI:", 4) == 0 ? TLS_NAME_URI : TLS_NAME_DNS;
			snprintf(s.name.text, sizeof(s.name.text), "%s", optarg + 4);
			break;
		case 'd':
			s.directory = optarg;
			break;
		default:
			return 2;
		}
	}
	if (!s.node || !s.name_space || !s.signer || !s.directory || !s.name.text[0])
		return 2;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	signals.fd = signalfd(-1, &set, SFD_CLOEXEC);
	clock_init(&clock);
	if (tls_init() || loop_create(&clock, &loop) || loop_add(loop, &signals, EPOLLIN))
		return fail("does not start");
	if (kube_client_create(loop, &client_settings, &client, error))
		return fail(error);
	if (identity_create(loop, client, &s, &ops, NULL, &identity))
		return fail("no identity");
	on_look(&look);
	loop_run(loop);
	loop_timer_clear(loop, &look);
	identity_destroy(identity);
	kube_client_destroy(client);
	loop_destroy(loop);
	return 0;
}
