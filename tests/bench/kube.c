/* SPDX-License-Identifier: GPL-3.0-or-later */
/* kube.c - what following a cluster costs a daemon: the API server's own bytes, replayed from memory through splitter, decoder and registry.
 *   bench_kube [--nodes 500] [--pods 30000] [--events 20000] [--piece 16384]
 * Pods have 6 KB each, with managedFields, as in clusters of today. They are made while the bench runs, a few at a time, so that the memory
 * that is measured is the daemon's; what making them costs is not counted. Prints a line "name value unit" for each figure. */
#include "cluster/registry.h"
#include "kube/message.h"
#include "kube/split.h"
#include "unit/kube/encode.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { AT_ONCE = 50 /* pods that are made before they are fed */, LONGEST_SAMPLES = 1 << 20 };

static unsigned nodes = 500, pods = 30000, events = 20000, piece = 16384;

/* ---- Objects as large as real ones ---- */

static const char fields_of_kubelet[] =
	"{\"f:status\":{\"f:conditions\":{\"k:{\\\"type\\\":\\\"ContainersReady\\\"}\":{\".\":{},\"f:lastProbeTime\":{},\"f:lastTransitionTime\":{},"
	"\"f:status\":{},\"f:type\":{}},\"k:{\\\"type\\\":\\\"Initialized\\\"}\":{\".\":{},\"f:lastProbeTime\":{},\"f:lastTransitionTime\":{},"
	"\"f:status\":{},\"f:type\":{}},\"k:{\\\"type\\\":\\\"Ready\\\"}\":{\".\":{},\"f:lastProbeTime\":{},\"f:lastTransitionTime\":{},"
	"\"f:status\":{},\"f:type\":{}}},\"f:containerStatuses\":{},\"f:hostIP\":{},\"f:phase\":{},\"f:podIP\":{},\"f:podIPs\":{\".\":{},"
	"\"k:{\\\"ip\\\":\\\"10.244.1.17\\\"}\":{\".\":{},\"f:ip\":{}}},\"f:startTime\":{}}}";
static const char fields_of_controller[] =
	"{\"f:metadata\":{\"f:annotations\":{\".\":{},\"f:checksum/config\":{},\"f:prometheus.io/port\":{},\"f:prometheus.io/scrape\":{}},"
	"\"f:generateName\":{},\"f:labels\":{\".\":{},\"f:app\":{},\"f:chart\":{},\"f:heritage\":{},\"f:pod-template-hash\":{},\"f:release\":{}},"
	"\"f:ownerReferences\":{\".\":{},\"k:{\\\"uid\\\":\\\"d7a1ef6c-21b7-4d4a-8a2b-0c53d0f2b54a\\\"}\":{\".\":{},\"f:apiVersion\":{},"
	"\"f:blockOwnerDeletion\":{},\"f:controller\":{},\"f:kind\":{},\"f:name\":{},\"f:uid\":{}}}},\"f:spec\":{\"f:affinity\":{\".\":{},"
	"\"f:podAntiAffinity\":{\".\":{},\"f:preferredDuringSchedulingIgnoredDuringExecution\":{}}},\"f:containers\":{\"k:{\\\"name\\\":"
	"\\\"server\\\"}\":{\".\":{},\"f:args\":{},\"f:env\":{\".\":{},\"k:{\\\"name\\\":\\\"POD_NAME\\\"}\":{\".\":{},\"f:name\":{},"
	"\"f:valueFrom\":{\".\":{},\"f:fieldRef\":{\".\":{},\"f:apiVersion\":{},\"f:fieldPath\":{}}}}},\"f:image\":{},\"f:imagePullPolicy\":{},"
	"\"f:livenessProbe\":{\".\":{},\"f:failureThreshold\":{},\"f:httpGet\":{\".\":{},\"f:path\":{},\"f:port\":{},\"f:scheme\":{}},"
	"\"f:periodSeconds\":{},\"f:successThreshold\":{},\"f:timeoutSeconds\":{}},\"f:name\":{},\"f:ports\":{\".\":{},\"k:{\\\"containerPort\\\":"
	"8080,\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:containerPort\":{},\"f:name\":{},\"f:protocol\":{}}},\"f:resources\":{\".\":{},"
	"\"f:limits\":{\".\":{},\"f:cpu\":{},\"f:memory\":{}},\"f:requests\":{\".\":{},\"f:cpu\":{},\"f:memory\":{}}},\"f:securityContext\":{},"
	"\"f:terminationMessagePath\":{},\"f:terminationMessagePolicy\":{},\"f:volumeMounts\":{}}},\"f:dnsPolicy\":{},\"f:enableServiceLinks\":{},"
	"\"f:restartPolicy\":{},\"f:schedulerName\":{},\"f:serviceAccount\":{},\"f:terminationGracePeriodSeconds\":{},\"f:volumes\":{}}}";

static void put_managed(struct bytes *meta, const char *manager, const char *fields)
{
	struct bytes entry = { 0 }, text = { 0 };

	put_text(&entry, 1, manager);
	put_text(&entry, 2, "Update");
	put_text(&entry, 3, "v1");
	put_text(&entry, 6, "FieldsV1");
	put_text(&text, 1, fields);
	put_message(&entry, 7, &text);
	put_message(meta, 17, &entry);
}

static void put_time(struct bytes *b, unsigned field)
{
	struct bytes t = { 0 };

	put_number(&t, 1, 1700000000);
	put_number(&t, 2, 0);
	put_message(b, field, &t);
}

static void put_pod_meta(struct bytes *pod, unsigned number, unsigned version)
{
	struct bytes meta = { 0 }, owner = { 0 };
	char text[64];

	(void)snprintf(text, sizeof(text), "backend-%u-6d5f7c9b48-%05x", number % 900, number);
	put_text(&meta, 1, text);
	put_text(&meta, 2, "backend-6d5f7c9b48-");
	(void)snprintf(text, sizeof(text), "team-%u", number % 60);
	put_text(&meta, 3, text);
	put_text(&meta, 4, "");
	(void)snprintf(text, sizeof(text), "%08x-21b7-4d4a-8a2b-0c53d0f2b54a", number);
	put_text(&meta, 5, text);
	(void)snprintf(text, sizeof(text), "%u", version);
	put_text(&meta, 6, text);
	put_number(&meta, 7, 0);
	put_time(&meta, 8);
	put_entry(&meta, 11, "app", "backend");
	put_entry(&meta, 11, "chart", "backend-1.17.3");
	put_entry(&meta, 11, "heritage", "Helm");
	put_entry(&meta, 11, "pod-template-hash", "6d5f7c9b48");
	put_entry(&meta, 11, "release", "production");
	put_entry(&meta, 12, "checksum/config", "9e107d9d372bb6826bd81d3542a419d69e107d9d372bb6826bd81d3542a419d6");
	put_entry(&meta, 12, "prometheus.io/port", "8080");
	put_entry(&meta, 12, "prometheus.io/scrape", "true");
	put_text(&owner, 1, "ReplicaSet");
	put_text(&owner, 3, "backend-6d5f7c9b48");
	put_text(&owner, 4, "d7a1ef6c-21b7-4d4a-8a2b-0c53d0f2b54a");
	put_text(&owner, 5, "apps/v1");
	put_number(&owner, 6, 1);
	put_number(&owner, 7, 1);
	put_message(&meta, 13, &owner);
	put_text(&meta, 15, "");
	put_managed(&meta, "kube-controller-manager", fields_of_controller);
	put_managed(&meta, "kubelet", fields_of_kubelet);
	put_message(pod, 1, &meta);
}

static void put_pod_spec(struct bytes *pod, unsigned number)
{
	struct bytes spec = { 0 }, part = { 0 }, inner = { 0 };
	char text[128];

	for (unsigned i = 0; i < 3; i++) {
		(void)snprintf(text, sizeof(text), "volume-%u-of-the-pod", i);
		put_text(&part, 1, text);
		put_text(&inner, 1, "a description of where it comes from, with items, modes and defaults: sources/configuration");
		put_message(&part, 2, &inner);
		put_message(&spec, 1, &part);
	}
	for (unsigned i = 0; i < 2; i++) {
		put_text(&part, 1, i ? "sidecar" : "server");
		put_text(&part, 2,
		         "registry.example.com/production/backend/server:1.17.3-build.4711@sha256:9e107d9d372bb6826bd81d3542a419d6");
		for (unsigned k = 0; k < 8; k++) {
			(void)snprintf(text, sizeof(text), "SETTING_NUMBER_%u", k);
			put_text(&inner, 1, text);
			put_text(&inner, 2, "https://some-service.some-namespace.svc.cluster.local:8443/path");
			put_message(&part, 7, &inner);
		}
		put_text(&part, 9, "/var/run/secrets/kubernetes.io/serviceaccount and its volume's name");
		put_text(&part, 10, "an HTTP probe with its headers, path, port, thresholds and periods");
		put_text(&part, 13, "/dev/termination-log");
		put_text(&part, 14, "IfNotPresent");
		put_message(&spec, 2, &part);
	}
	put_text(&spec, 3, "Always");
	put_number(&spec, 4, 30);
	put_text(&spec, 6, "ClusterFirst");
	put_text(&spec, 8, "backend");
	put_text(&spec, 9, "backend");
	(void)snprintf(text, sizeof(text), "node-%u", number % nodes);
	put_text(&spec, 10, text);
	put_number(&spec, 11, 0);
	put_number(&spec, 12, 0);
	put_number(&spec, 13, 0);
	put_text(&spec, 14, "");
	put_text(&spec, 16, "");
	put_text(&spec, 17, "");
	put_text(&spec, 19, "default-scheduler");
	for (unsigned i = 0; i < 2; i++) {
		put_text(&part, 1, "node.kubernetes.io/unreachable");
		put_text(&part, 2, "Exists");
		put_text(&part, 4, "NoExecute");
		put_number(&part, 5, 300);
		put_message(&spec, 22, &part);
	}
	put_number(&spec, 25, 0);
	put_number(&spec, 30, 1);
	put_text(&spec, 31, "PreemptLowerPriority");
	put_message(pod, 2, &spec);
}

static void put_pod_status(struct bytes *pod, unsigned number, const char *phase)
{
	static const char *const conditions[] = { "Initialized", "Ready", "ContainersReady", "PodScheduled" };
	struct bytes status = { 0 }, part = { 0 }, inner = { 0 };
	char address[32];

	(void)snprintf(address, sizeof(address), "10.%u.%u.%u", 128 + number / 62500, number / 250 % 250, number % 250 + 1);
	put_text(&status, 1, phase);
	for (unsigned i = 0; i < 4; i++) {
		put_text(&part, 1, conditions[i]);
		put_text(&part, 2, "True");
		put_text(&part, 3, "");
		put_time(&part, 4);
		put_text(&part, 5, "");
		put_text(&part, 6, "");
		put_message(&status, 2, &part);
	}
	put_text(&status, 3, "");
	put_text(&status, 4, "");
	put_text(&status, 5, "172.30.0.1");
	put_text(&status, 6, address);
	put_time(&status, 7);
	for (unsigned i = 0; i < 2; i++) {
		put_text(&part, 1, i ? "sidecar" : "server");
		put_text(&inner, 1, "running since 1700000000");
		put_message(&part, 2, &inner);
		put_number(&part, 4, 1);
		put_text(&part, 6, "registry.example.com/production/backend/server:1.17.3-build.4711");
		put_text(
			&part, 7,
			"registry.example.com/production/backend/server@sha256:9e107d9d372bb6826bd81d3542a419d69e107d9d372bb6826bd81d3542a419d6");
		put_text(&part, 8, "containerd://9e107d9d372bb6826bd81d3542a419d69e107d9d372bb6826bd81d3542a419d6");
		put_message(&status, 8, &part);
	}
	put_text(&status, 9, "Burstable");
	put_text(&status, 11, "");
	put_text(&inner, 1, address);
	put_message(&status, 12, &inner);
	put_message(pod, 3, &status);
}

static void put_real_pod(struct bytes *pod, unsigned number, unsigned version, const char *phase)
{
	put_pod_meta(pod, number, version);
	put_pod_spec(pod, number);
	put_pod_status(pod, number, phase);
}

static void put_node(struct bytes *b, unsigned number)
{
	struct bytes spec = { 0 }, status = { 0 }, part = { 0 };
	char name[32], address[32];

	(void)snprintf(name, sizeof(name), "node-%u", number);
	put_meta(b, "", name, name, "1");
	put_message(b, 2, &spec);
	(void)snprintf(address, sizeof(address), "172.30.%u.%u", number / 250, number % 250 + 1);
	put_text(&part, 1, "InternalIP");
	put_text(&part, 2, address);
	put_message(&status, 5, &part);
	/* The images that a node holds are the most of it. */
	for (unsigned i = 0; i < 50; i++) {
		put_text(
			&part, 1,
			"registry.example.com/production/backend/server@sha256:9e107d9d372bb6826bd81d3542a419d69e107d9d372bb6826bd81d3542a419d6");
		put_number(&part, 2, 123456789);
		put_message(&status, 8, &part);
	}
	put_message(b, 3, &status);
}

/* The record of a node, in the place of its Node object's kind. */
static void put_record(struct bytes *b, unsigned number)
{
	struct bytes meta = { 0 }, owner = { 0 };
	char name[32];

	(void)snprintf(name, sizeof(name), "node-%u", number);
	put_text(&meta, 1, name);
	put_text(&meta, 3, "culvert-nodes");
	put_text(&meta, 5, name);
	put_text(&meta, 6, "1");
	put_entry(&meta, 12, MESSAGE_KEY_PORT, "7117");
	put_text(&owner, 1, "Node");
	put_text(&owner, 3, name);
	put_text(&owner, 4, name);
	put_text(&owner, 5, "v1");
	put_message(&meta, 13, &owner);
	put_message(b, 1, &meta);
}

/* ---- The daemon's side ---- */

struct daemon {
	struct message *message;
	struct registry *registry; /* NULL: decoding alone */
	struct view *view;
	enum object_kind kind;
	unsigned objects;
	struct instant now;
};

static uint64_t spent_ns; /* CPU time of what is measured */

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void must(bool is_so, const char *what)
{
	if (is_so)
		return;
	fprintf(stderr, "bench_kube: %s\n", what);
	exit(1);
}

static bool take_meta(void *ctx, struct split_span span)
{
	struct message_list_meta meta;
	struct daemon *d = ctx;

	return message_list_meta(d->message, span.bytes, span.len_bytes, &meta) == 0;
}

static void put_object(struct daemon *d, struct split_span span)
{
	struct object o;

	must(message_object(d->message, d->kind, span.bytes, span.len_bytes, &o) == 0, message_error(d->message));
	must(o.faults_count == 0, "an object has faults");
	if (d->registry)
		must(registry_put(d->registry, &o) == 0, "out of memory");
	d->objects++;
}

static bool take_item(void *ctx, struct split_span span)
{
	put_object(ctx, span);
	return true;
}

static void publish(struct daemon *d)
{
	struct view *view = NULL;

	if (!d->registry)
		return;
	must(registry_publish(d->registry, d->now, &view) == 0, "out of memory");
	view_unref(d->view);
	d->view = view;
}

static bool take_event(void *ctx, enum watch_event type, const struct split_envelope *e)
{
	must(type == WATCH_MODIFIED, "an event of another type");
	put_object(ctx, e->object);
	return true;
}

static void refused(void *ctx, const char *text)
{
	(void)ctx;
	must(false, text);
}

static const struct list_split_ops list_ops = { take_meta, take_item, refused };
static const struct watch_split_ops watch_ops = { take_event, refused };

static void feed_list(struct list_split *s, const struct bytes *b)
{
	uint64_t began = cpu_ns();

	for (size_t at = 0; at < b->len; at += piece)
		must(list_split_feed(s, b->data + at, b->len - at < piece ? b->len - at : piece) == 0, s->error);
	spent_ns += cpu_ns() - began;
}

/* Replays a list of count objects. Returns its bytes. */
static uint64_t replay(struct daemon *d, enum object_kind kind, unsigned count)
{
	struct bytes b = { 0 }, head = { 0 }, object = { 0 };
	uint64_t inside = 0, total = 0, began;
	struct list_split s;

	d->kind = kind;
	d->objects = 0;
	list_split_init(&s, message_list_name(kind), &list_ops, d);
	if (d->registry)
		registry_list_began(d->registry, kind);
	/* How long the list's message is stands before it, so it is made twice. */
	for (int is_fed = 0; is_fed < 2; is_fed++) {
		if (is_fed) {
			put_raw(&head, "k8s", 4);
			put_text(&object, 2, message_list_name(kind));
			put_message(&head, 1, &object);
			put_varint(&head, 2 << 3 | 2);
			put_varint(&head, inside);
			feed_list(&s, &head);
			total = head.len + inside;
		}
		for (unsigned i = 0; i <= count; i++) {
			if (i == 0) {
				put_text(&object, 2, "1000");
				put_message(&b, 1, &object);
			}
			if (i < count) {
				if (kind == OBJECT_POD)
					put_real_pod(&object, i, i + 1, "Running");
				else if (kind == OBJECT_NODE)
					put_node(&object, i);
				else
					put_record(&object, i);
				put_message(&b, 2, &object);
			}
			if (i < count && i % AT_ONCE != AT_ONCE - 1)
				continue;
			if (is_fed)
				feed_list(&s, &b);
			else
				inside += b.len;
			bytes_clear(&b);
		}
	}
	must(list_split_end(&s) == 0, s.error);
	list_split_done(&s);
	began = cpu_ns();
	if (d->registry)
		registry_list_ended(d->registry, kind);
	spent_ns += cpu_ns() - began;
	must(d->objects == count, "objects are missing");
	bytes_done(&b);
	bytes_done(&head);
	return total;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* One pod after the other changes; each change is decoded and published alone. */
static void change(struct daemon *d, const char *name)
{
	struct bytes b = { 0 }, object = { 0 };
	uint64_t *samples = calloc(events, sizeof(*samples));
	uint64_t sum = 0;
	struct watch_split s;

	must(samples != NULL, "out of memory");
	d->kind = OBJECT_POD;
	watch_split_init(&s, &watch_ops, d);
	for (unsigned i = 0; i < events; i++) {
		/* A pod's readiness changes far more often than its phase or address. */
		put_real_pod(&object, i * 7919U % pods, pods + i, i % 10 == 0 ? "Pending" : "Running");
		put_event(&b, "MODIFIED", "Pod", &object);
		d->now = instant_add_ms(d->now, 5);
		uint64_t began = cpu_ns();
		must(watch_split_feed(&s, b.data, b.len) == 0, s.error);
		publish(d);
		samples[i] = cpu_ns() - began;
		sum += samples[i];
		bytes_clear(&b);
	}
	watch_split_done(&s);
	qsort(samples, events, sizeof(*samples), by_size);
	printf("%s-mean %.2f us\n", name, (double)sum / events / 1000);
	printf("%s-p50 %.2f us\n", name, (double)samples[events / 2] / 1000);
	printf("%s-p99 %.2f us\n", name, (double)samples[events - events / 100 - 1] / 1000);
	free(samples);
	bytes_done(&b);
}

static unsigned long memory_kib(const char *key)
{
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long value = 0;
	char line[256];

	must(f != NULL, "/proc/self/status can not be read");
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, strlen(key)) == 0)
			value = strtoul(line + strlen(key) + 1, NULL, 10);
	}
	(void)fclose(f);
	return value;
}

static unsigned number_of(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	must(*end == '\0' && value > 0 && value <= LONGEST_SAMPLES, "a number from 1 to 1048576 would be right");
	return (unsigned)value;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "nodes", 1, NULL, 'n' },
		                                 { "pods", 1, NULL, 'p' },
		                                 { "events", 1, NULL, 'e' },
		                                 { "piece", 1, NULL, 'b' },
		                                 { NULL, 0, NULL, 0 } };
	struct registry_settings settings = { .self = "node-0" };
	struct daemon d = { .now = { NS_PER_S } };
	uint64_t list_bytes;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'n':
			nodes = number_of(optarg);
			break;
		case 'p':
			pods = number_of(optarg);
			break;
		case 'e':
			events = number_of(optarg);
			break;
		case 'b':
			piece = number_of(optarg);
			break;
		default:
			return 2;
		}
	}
	must(message_create(&d.message) == 0, "out of memory");
	printf("nodes %u\npods %u\n", nodes, pods);
	printf("resident-at-start %.1f MB\n", (double)memory_kib("VmRSS:") / 1024);

	list_bytes = replay(&d, OBJECT_POD, pods);
	printf("list %.1f MB\n", (double)list_bytes / 1e6);
	printf("pod %.0f bytes\n", (double)list_bytes / pods);
	printf("decode %.3f s\n", (double)spent_ns / 1e9);
	printf("decode-per-pod %.2f us\n", (double)spent_ns / 1000 / pods);
	printf("resident-after-decode %.1f MB\n", (double)memory_kib("VmRSS:") / 1024);
	change(&d, "decode-event");

	spent_ns = 0;
	must(registry_create(&settings, NULL, NULL, &d.registry) == 0, "out of memory");
	(void)replay(&d, OBJECT_NODE, nodes);
	(void)replay(&d, OBJECT_RECORD, nodes);
	(void)replay(&d, OBJECT_POD, pods);
	uint64_t began = cpu_ns();
	publish(&d);
	spent_ns += cpu_ns() - began;
	printf("initial-state %.3f s\n", (double)spent_ns / 1e9);
	printf("resident-with-state %.1f MB\n", (double)memory_kib("VmRSS:") / 1024);
	change(&d, "change");
	printf("resident-after-changes %.1f MB\n", (double)memory_kib("VmRSS:") / 1024);
	printf("resident-peak %.1f MB\n", (double)memory_kib("VmHWM:") / 1024);
	view_unref(d.view);
	registry_destroy(d.registry);
	message_destroy(d.message);
	return 0;
}
