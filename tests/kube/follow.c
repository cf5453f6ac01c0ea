/* SPDX-License-Identifier: GPL-3.0-or-later */
/* follow.c - what the reflectors say of a cluster, a line an event, for the tests over a real API server:
 *   kube_follow (--kubeconfig FILE | --service-account FOLDER) [--page ITEMS] [--crowd DAEMONS] KIND[=PATH] ...
 * KIND: nodes, pods, namespaces, records, endpoints, requests. Ends at TERM. */
#include "kube/client.h"
#include "kube/message.h"
#include "kube/reflector.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/epoll.h>
#include <unistd.h>

static const struct {
	const char *name, *path;
} kinds[OBJECT_KINDS] = {
	[OBJECT_NODE] = { "nodes", "/api/v1/nodes" },
	[OBJECT_POD] = { "pods", "/api/v1/pods" },
	[OBJECT_NAMESPACE] = { "namespaces", "/api/v1/namespaces" },
	[OBJECT_RECORD] = { "records", "/apis/coordination.k8s.io/v1/leases" },
	[OBJECT_ENDPOINTS] = { "endpoints", "/api/v1/endpoints" },
	[OBJECT_REQUEST] = { "requests", "/apis/certificates.k8s.io/v1/certificatesigningrequests" },
};

static struct reflector *reflectors[OBJECT_KINDS];
static struct loop *loop;

static void say_addresses(const struct addr *addresses, size_t count)
{
	char text[ADDR_TEXT_BYTES];

	for (size_t i = 0; i < count; i++)
		printf("%s%s", i ? "," : " addresses=", addr_print(&addresses[i], text));
}

static void list_began(void *ctx, enum object_kind kind)
{
	(void)ctx;
	printf("list_began %s\n", kinds[kind].name);
}

static void put(void *ctx, const struct object *o)
{
	(void)ctx;
	printf("put %s %s/%s uid=%s version=%s", kinds[o->kind].name, o->meta.name_space, o->meta.name, o->meta.uid, o->meta.version);
	if (o->kind == OBJECT_POD) {
		printf(" node=%s phase=%d", o->pod.node, o->pod.phase);
		say_addresses(o->pod.addresses, o->pod.addresses_count);
	} else if (o->kind == OBJECT_NODE) {
		say_addresses(o->node.addresses, o->node.addresses_count);
	} else if (o->kind == OBJECT_REQUEST) {
		printf(" signer=%s username=%s pem=%zu approved=%d denied=%d certificate=%zu", o->request.signer, o->request.username,
		       o->request.pem_bytes, o->request.is_approved, o->request.is_denied, o->request.certificate_bytes);
	} else if (o->kind == OBJECT_ENDPOINTS) {
		char text[ENDPOINT_TEXT_BYTES];

		for (size_t i = 0; i < o->endpoints.endpoints_count; i++)
			printf("%s%s", i ? "," : " endpoints=", endpoint_print(&o->endpoints.endpoints[i], text));
	} else if (o->kind == OBJECT_RECORD) {
		printf(" node_uid=%s port=%u settings=%s", o->record.node_uid, o->record.tunnel_port, o->record.settings_hash);
	} else if (o->kind == OBJECT_NAMESPACE) {
		printf(" opted_out=%d", o->name_space.is_opted_out);
	}
	printf("%s\n", o->meta.is_deleting ? " deleting" : "");
	for (size_t i = 0; i < o->faults_count; i++)
		printf("fault %s %s/%s %s\n", kinds[o->kind].name, o->meta.name_space, o->meta.name, o->faults[i].text);
}

static void gone(void *ctx, enum object_kind kind, const struct object_meta *m)
{
	(void)ctx;
	printf("gone %s %s/%s uid=%s version=%s\n", kinds[kind].name, m->name_space, m->name, m->uid, m->version);
}

static void list_ended(void *ctx, enum object_kind kind)
{
	(void)ctx;
	printf("list_ended %s\n", kinds[kind].name);
}

static void state_changed(void *ctx, enum object_kind kind)
{
	struct reflector_state s;

	(void)ctx;
	reflector_state(reflectors[kind], &s);
	printf("state %s synced=%d current=%d forbidden=%d lists=%" PRIu64 " watches=%" PRIu64 " objects=%" PRIu64 " events=%" PRIu64
	       " bytes=%" PRIu64 " error=%s\n",
	       kinds[kind].name, s.is_synced, s.is_current, s.is_forbidden, s.lists, s.watches, s.objects, s.events, s.bytes, s.error);
}

static void refused(void *ctx, enum object_kind kind, const struct object_meta *m, const char *text)
{
	(void)ctx;
	printf("refused %s %s%s%s\n", kinds[kind].name, m ? m->name : "", m ? ": " : "", text);
}

static const struct reflector_ops ops = { list_began, put, gone, list_ended, state_changed, refused };

static void signalled(struct loop_source *src, uint32_t events)
{
	(void)src;
	(void)events;
	loop_stop(loop);
}

static int usage(const char *why)
{
	fprintf(stderr, "kube_follow: %s\n", why);
	return 2;
}

static int follow(struct kube_client *client, const char *word, struct reflector_settings *s, uint32_t crowd)
{
	const char *path = strchr(word, '=');
	size_t len = path ? (size_t)(path - word) : strlen(word);

	for (int i = 0; i < OBJECT_KINDS; i++) {
		if (strlen(kinds[i].name) != len || strncmp(kinds[i].name, word, len) != 0)
			continue;
		s->kind = (enum object_kind)i;
		s->path = path ? path + 1 : kinds[i].path;
		s->seed = (uint64_t)getpid() << 8 | (unsigned)i;
		if (reflector_create(loop, client, s, &ops, NULL, &reflectors[i]) < 0)
			return -ENOMEM;
		reflector_set_crowd(reflectors[i], crowd);
		return 0;
	}
	return -EINVAL;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "kubeconfig", 1, NULL, 'k' },
		                                 { "service-account", 1, NULL, 's' },
		                                 { "page", 1, NULL, 'p' },
		                                 { "crowd", 1, NULL, 'c' },
		                                 { NULL, 0, NULL, 0 } };
	struct kube_client_settings settings = { .user_agent = "kube_follow" };
	struct reflector_settings r = { 0 };
	struct kube_client *client = NULL;
	char error[KUBE_ERROR_BYTES];
	struct loop_source signals = { .on_event = signalled };
	struct clock clock;
	uint32_t crowd = 1;
	sigset_t set;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'k')
			settings.kubeconfig = optarg;
		else if (option == 's')
			settings.service_account_directory = optarg;
		else if (option == 'p')
			r.page_items = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == 'c')
			crowd = (uint32_t)strtoul(optarg, NULL, 10);
		else
			return usage("see the head of follow.c");
	}
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	clock_init(&clock);
	if (signals.fd < 0 || loop_create(&clock, &loop) < 0 || loop_add(loop, &signals, EPOLLIN) < 0)
		return usage("no loop");
	if (kube_client_create(loop, &settings, &client, error) < 0) {
		printf("refused %s\n", error);
		return 1;
	}
	for (int i = optind; i < argc; i++) {
		if (follow(client, argv[i], &r, crowd) < 0)
			return usage("the kinds are nodes, pods, namespaces, records and requests");
	}
	(void)loop_run(loop);
	for (int i = 0; i < OBJECT_KINDS; i++) {
		if (reflectors[i])
			state_changed(NULL, (enum object_kind)i);
		reflector_destroy(reflectors[i]);
	}
	kube_client_destroy(client);
	loop_destroy(loop);
	(void)close(signals.fd);
	return 0;
}
