/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What views cost in the kernel's map of addresses, at 150,000 pods on 5,000 nodes. Needs root. */
#include "edge/nets.h"
#include "measure.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <stdio.h>
#include <stdlib.h>

enum { NODES = VIEW_NODES_MAX, PODS = 150000, ROUNDS = 5000 };

static struct prefix pod(uint32_t index)
{
	return (struct prefix){ .addr = addr_from_v4_be(htonl(0x0a000000 + ((index % NODES) << 8) + 2 + index / NODES)), .len_bits = 128 };
}

static int compare_doubles(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

int main(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, no_prealloc, .map_flags = BPF_F_NO_PREALLOC);
	static uint32_t ids[NODES];
	static double took_us[ROUNDS];
	char error[EDGE_ERROR_BYTES];
	struct pairs *pairs;
	struct nets *nets;
	struct view_edit *e;
	struct view *v, *next;
	double began;
	int nets_fd = bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "nets", sizeof(struct net_key), sizeof(struct net_value), EDGE_NETS_MAX,
	                             &no_prealloc);
	int peers_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "peers", 4, sizeof(struct peer_value), EDGE_PEERS_MAX, NULL);
	int names_fd = bpf_map_create(BPF_MAP_TYPE_HASH, "names", 4, sizeof(struct peer_name), EDGE_PEERS_MAX, &no_prealloc);

	must(nets_fd);
	must(peers_fd);
	must(names_fd);
	must(pairs_create(peers_fd, names_fd, true, false, &pairs));
	must(nets_create(nets_fd, 4, pairs, &nets));
	must(view_edit_begin(NULL, "node-7.example", &e));
	for (uint32_t i = 0; i < NODES; i++) {
		struct addr address = addr_from_v4_be(htonl(0xac100000 + i));
		struct view_node n = { .is_enrolled = true, .addresses_count = 1, .addresses = &address };

		(void)snprintf(n.name, sizeof(n.name), "node-%u.example", i);
		must(view_edit_put_node(e, &n, &ids[i]));
	}
	for (uint32_t i = 0; i < PODS; i++) {
		struct prefix p = pod(i);

		must(view_edit_set(e, &p, &(struct view_entry){ .kind = VIEW_POD, .node_id = ids[i % NODES] }));
	}
	must(view_edit_finish(e, &v));

	began = wall_us();
	must(pairs_begin_view(pairs, NULL, v));
	printf("places for %d nodes: %.1f ms\n", NODES, (wall_us() - began) / 1e3);
	began = wall_us();
	must(nets_set_view(nets, v, error));
	pairs_end_view(pairs);
	printf("the first view, %d entries: %.1f ms\n", NODES + PODS, (wall_us() - began) / 1e3);

	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct prefix p = pod((uint32_t)(((uint64_t)i + 1) * 2654435761U % PODS));
		struct view_entry entry;
		bool is_there = view_get(v, &p, &entry);

		must(view_edit_begin(v, "node-7.example", &e));
		must(view_edit_set(e, &p, is_there ? NULL : &(struct view_entry){ .kind = VIEW_POD, .node_id = ids[i % NODES] }));
		must(view_edit_finish(e, &next));
		began = wall_us();
		must(pairs_begin_view(pairs, v, next));
		must(nets_set_view(nets, next, error));
		pairs_end_view(pairs);
		took_us[i] = wall_us() - began;
		view_unref(v);
		v = next;
	}
	qsort(took_us, ROUNDS, sizeof(took_us[0]), compare_doubles);
	printf("one pod's change: median %.2f us, 99%% within %.2f us\n", took_us[ROUNDS / 2], took_us[ROUNDS / 100 * 99]);
	nets_destroy(nets);
	pairs_destroy(pairs);

	began = wall_us();
	must(pairs_create(peers_fd, names_fd, false, false, &pairs));
	must(nets_create(nets_fd, 4, pairs, &nets));
	printf("reading what an earlier daemon left: %.1f ms\n", (wall_us() - began) / 1e3);
	began = wall_us();
	must(pairs_begin_view(pairs, NULL, v));
	must(nets_set_view(nets, v, error));
	pairs_end_view(pairs);
	printf("the first view over it: %.1f ms\n", (wall_us() - began) / 1e3);
	nets_destroy(nets);
	pairs_destroy(pairs);
	view_unref(v);
	return EXIT_SUCCESS;
}
