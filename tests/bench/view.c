/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a view costs at the size that is promised: 150,000 pods on 5,000 nodes. Prints one figure a line. */
#include "cluster/view.h"
#include "measure.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

enum { NODES = VIEW_NODES_MAX, PODS = 150000, ROUNDS = 20000, KEPT = 1001 };

/* Pods of a node lie in a /24 of its own, as most CNIs give them out. */
static struct prefix pod(uint32_t index)
{
	uint32_t node = index % NODES, place = index / NODES;

	return (struct prefix){ .addr = addr_from_v4_be(htonl(0x0a000000 + (node << 8) + 2 + place)), .len_bits = 128 };
}

static void put_node(struct view_edit *e, uint32_t index, bool is_enrolled, uint32_t *ret_id)
{
	struct addr address = addr_from_v4_be(htonl(0xac100000 + index));
	struct view_node n = { .is_enrolled = is_enrolled, .addresses_count = 1, .addresses = &address };

	(void)snprintf(n.name, sizeof(n.name), "node-%u.example", index);
	must(view_edit_put_node(e, &n, ret_id));
}

static struct view *build(uint32_t *ids)
{
	struct view_edit *e;
	struct view *v;

	must(view_edit_begin(NULL, "node-7.example", &e));
	for (uint32_t i = 0; i < NODES; i++)
		put_node(e, i, true, &ids[i]);
	for (uint32_t i = 0; i < PODS; i++) {
		struct prefix p = pod(i);

		must(view_edit_set(e, &p, &(struct view_entry){ .kind = VIEW_POD, .node_id = ids[i % NODES] }));
	}
	must(view_edit_finish(e, &v));
	return v;
}

static int count_changes(void *ctx, const struct prefix *p, const struct view_entry *before, const struct view_entry *after)
{
	(void)p;
	(void)before;
	(void)after;
	return (int)++*(unsigned *)ctx;
}

static int count_entries(void *ctx, const struct prefix *p, const struct view_entry *entry)
{
	(void)p;
	(void)entry;
	return (int)++*(unsigned *)ctx;
}

static struct view *edit_pod(struct view *v, const uint32_t *ids, uint32_t which)
{
	struct prefix p = pod(which);
	struct view_entry entry = { .kind = VIEW_POD, .node_id = ids[which % NODES] }, have;
	struct view_edit *e;
	struct view *next;

	must(view_edit_begin(v, "node-7.example", &e));
	must(view_edit_set(e, &p, view_get(v, &p, &have) ? NULL : &entry));
	must(view_edit_finish(e, &next));
	return next;
}

static uint32_t spread(uint32_t i)
{
	return (uint32_t)(((uint64_t)i + 1) * 2654435761U % PODS);
}

static int compare_doubles(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* One pod comes or goes in each round, and the view before is dropped. */
static struct view *change(struct view *v, const uint32_t *ids)
{
	static double took_us[ROUNDS];
	static struct view *kept[KEPT];
	double edit_us = 0, diff_us = 0;
	unsigned changes = 0;
	size_t heap;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		double began = wall_us(), edited, compared;
		struct view *next = edit_pod(v, ids, spread(i));

		edited = wall_us();
		must(view_diff(v, next, count_changes, &changes));
		compared = wall_us();
		view_unref(v);
		v = next;
		took_us[i] = wall_us() - began;
		edit_us += edited - began;
		diff_us += compared - edited;
	}
	if (changes != ROUNDS)
		exit(EXIT_FAILURE);
	qsort(took_us, ROUNDS, sizeof(took_us[0]), compare_doubles);
	printf("one pod's change: edit %.2f us, diff %.2f us; with dropping the view before: median %.2f us, 99%% within %.2f us\n",
	       edit_us / ROUNDS, diff_us / ROUNDS, took_us[ROUNDS / 2], took_us[ROUNDS / 100 * 99]);

	/* In pairs, so that as many came as went. */
	kept[0] = view_ref(v);
	heap = heap_bytes();
	for (uint32_t i = 1; i < KEPT; i++)
		kept[i] = edit_pod(kept[i - 1], ids, spread(i / 2));
	printf("a view that is kept beside the next: %zu bytes\n", (heap_bytes() - heap) / (KEPT - 1));
	for (uint32_t i = 0; i < KEPT; i++)
		view_unref(kept[i]);
	return v;
}

static struct view *change_node(struct view *v)
{
	double began = cpu_us();

	for (uint32_t i = 0; i < 100; i++) {
		struct view_edit *e;
		struct view *next;
		uint32_t id;

		must(view_edit_begin(v, "node-7.example", &e));
		put_node(e, i * 37, i % 2, &id);
		must(view_edit_finish(e, &next));
		view_unref(v);
		v = next;
	}
	printf("one node's change: %.1f us\n", (cpu_us() - began) / 100);
	return v;
}

static struct view *remove_node(struct view *v)
{
	struct view_edit *e;
	struct view *next;
	double began = cpu_us();

	must(view_edit_begin(v, "node-7.example", &e));
	must(view_edit_remove_node(e, "node-99.example"));
	must(view_edit_finish(e, &next));
	view_unref(v);
	printf("a node that leaves with its pods: %.0f us\n", cpu_us() - began);
	return next;
}

static void look_up(const struct view *v)
{
	double began = cpu_us();
	unsigned found = 0;

	for (uint32_t i = 0; i < 1000000; i++) {
		struct prefix p = pod((uint32_t)((uint64_t)i * 2654435761U % PODS));

		found += view_lookup(v, &p.addr).kind == VIEW_POD;
	}
	printf("lookup, at random: %.3f us (%u of 1000000 found)\n", (cpu_us() - began) / 1e6, found);
}

int main(void)
{
	static uint32_t ids[NODES];
	size_t heap = heap_bytes();
	double began = cpu_us();
	struct view *v = build(ids), *other;
	unsigned count = 0;

	printf("build: %.1f ms\n", (cpu_us() - began) / 1e3);
	printf("memory: %.1f MB, %.1f bytes a pod with its share of the nodes\n", (double)(heap_bytes() - heap) / 1e6,
	       (double)(heap_bytes() - heap) / PODS);
	began = cpu_us();
	must(view_walk(v, NULL, count_entries, &count));
	printf("walk over %u entries: %.1f ms\n", count, (cpu_us() - began) / 1e3);
	look_up(v);
	v = change(v, ids);
	v = change_node(v);
	v = remove_node(v);
	other = build(ids);
	count = 0;
	began = cpu_us();
	must(view_diff(v, other, count_changes, &count));
	printf("diff of two that share nothing, %u changes: %.1f ms\n", count, (cpu_us() - began) / 1e3);
	view_unref(other);
	began = cpu_us();
	view_unref(v);
	printf("freeing a whole view, the worst that dropping can cost: %.1f ms\n", (cpu_us() - began) / 1e3);
	return EXIT_SUCCESS;
}
