/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What it costs to know a cluster of the promised size from its objects: 150,000 pods on 5,000 nodes. Prints one figure a line. */
#include "cluster/registry.h"
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>

enum { NODES = VIEW_NODES_MAX, PODS_EACH = 30, PODS = NODES * PODS_EACH, CHANGES = 20000 };

static struct registry *registry;

static void put_node(unsigned n)
{
	struct addr a = addr_from_v4_be(__builtin_bswap32(0xac100000U + n));
	struct object node = { .kind = OBJECT_NODE }, record = { .kind = OBJECT_RECORD };
	char name[16];

	(void)snprintf(name, sizeof(name), "n%u", n);
	node.node = (struct object_node){ .meta = { .name_space = "", .name = name, .uid = name, .version = "", .created_s = 1 },
		                          .addresses = &a,
		                          .addresses_count = 1 };
	record.record = (struct object_record){ .meta = node.meta, .node_uid = name, .settings_hash = "" };
	must(registry_put(registry, &node));
	must(registry_put(registry, &record));
}

static void put_pod(unsigned n, unsigned k, bool is_deleting)
{
	struct addr a = addr_from_v4_be(__builtin_bswap32(0x0a000000U + n * 256 + k + 2));
	struct object o = { .kind = OBJECT_POD };
	char name[64], node[16], uid[40];

	(void)snprintf(name, sizeof(name), "deployment-66b6c48dd5-%05u%02u", n, k);
	(void)snprintf(node, sizeof(node), "n%u", n);
	(void)snprintf(uid, sizeof(uid), "0b4c1d2e-0000-4000-8000-%08u%04u", n, k);
	o.pod = (struct object_pod){
		.meta = { .name_space = "shop", .name = name, .uid = uid, .version = "", .created_s = 1, .is_deleting = is_deleting },
		.node = node,
		.addresses = &a,
		.addresses_count = 1,
		.phase = OBJECT_RUNNING,
	};
	must(registry_put(registry, &o));
}

static void publish(void)
{
	struct view *v;

	must(registry_publish(registry, (struct instant){ 1 }, &v));
	view_unref(v);
}

int main(void)
{
	const struct registry_settings s = { .self = "n1" };
	size_t heap = heap_bytes(), before;
	double begun;

	must(registry_create(&s, NULL, NULL, &registry));
	for (unsigned n = 1; n <= NODES; n++)
		put_node(n);
	begun = cpu_us();
	publish();
	printf("%d nodes become a view: %.0f ms\n", NODES, (cpu_us() - begun) / 1e3);
	before = heap_bytes();
	begun = cpu_us();
	for (unsigned n = 1; n <= NODES; n++) {
		for (unsigned k = 0; k < PODS_EACH; k++)
			put_pod(n, k, false);
	}
	printf("%d pods are put: %.2f us each, %zu bytes each besides the view\n", PODS, (cpu_us() - begun) / PODS,
	       (heap_bytes() - before) / PODS);
	begun = cpu_us();
	publish();
	printf("they become a view: %.0f ms\n", (cpu_us() - begun) / 1e3);
	printf("all of it: %.1f MB\n", (double)(heap_bytes() - heap) / 1e6);
	begun = cpu_us();
	for (unsigned i = 0; i < CHANGES; i++) {
		put_pod(1 + i % NODES, i % PODS_EACH, i / NODES % 2 == 0);
		publish();
	}
	printf("a pod changes, and there is a view of it: %.1f us\n", (cpu_us() - begun) / CHANGES);
	begun = cpu_us();
	for (unsigned i = 0; i < PODS; i++)
		put_pod(1 + i % NODES, i % PODS_EACH, false);
	publish();
	printf("a pod is told of again as it was: %.2f us\n", (cpu_us() - begun) / PODS);
	registry_destroy(registry);
	return EXIT_SUCCESS;
}
