/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a new view costs a worker that carries many streams: the turn of its loop in which nothing else moves. */
#include "unit/tunnel/pair.h"
#include "measure.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { STREAMS = 10000, PODS = 30000, ROUNDS = 2000, SERVERS = 200 };

static struct pair pair;

static struct prefix pod(uint32_t index)
{
	return (struct prefix){ .addr = addr_from_v4_be(htonl(0x0a800000 + index)), .len_bits = 128 };
}

static struct view *set(struct view *v, const struct prefix *p, const struct view_entry *entry)
{
	struct view_edit *e;
	struct view *next;

	must(view_edit_begin(v, "node1", &e));
	must(view_edit_set(e, p, entry));
	must(view_edit_finish(e, &next));
	view_unref(v);
	return next;
}

/* Streams as they are after OPEN was judged: on a tunnel, with both addresses known. */
static void add_streams(struct pool *pool, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		char client[64], server[64];

		(void)snprintf(client, sizeof(client), "10.1.%u.%u:%u", i / 250 % 250, 1 + i % 250, 1024 + i);
		(void)snprintf(server, sizeof(server), "10.2.0.%u:80", 1 + i % SERVERS);
		must(pair_open(&pair, 0, client, server));
		if (i % 64 == 0)
			pair_run(&pair, 4);
	}
	pair_run(&pair, 200);
	printf("%u streams to %d pods\n", pool->streams_count, SERVERS);
}

static int compare_doubles(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void report(const char *what, double *took_us, size_t count)
{
	qsort(took_us, count, sizeof(*took_us), compare_doubles);
	printf("%s: median %.2f us, 99%% within %.2f us\n", what, took_us[count / 2], took_us[count * 99 / 100]);
}

int main(void)
{
	static double took_us[ROUNDS];
	struct rlimit limit;
	struct pool *pool;
	struct view *v;
	struct view_edit *e;
	struct prefix p;
	uint32_t node2, count = STREAMS;

	(void)getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	/* Each has four sockets here: both pods and both nodes are this process. */
	if (limit.rlim_cur / 4 - 64 < count)
		count = (uint32_t)(limit.rlim_cur / 4 - 64);
	pair_init(&pair, UINT64_C(4) << 30);
	pool = pair.side[0].pool;
	add_streams(pool, count);

	v = view_ref(pool->view);
	node2 = view_node_by_name(v, "node2")->id;
	must(view_edit_begin(v, "node1", &e));
	for (uint32_t i = 0; i < PODS; i++) {
		p = pod(i);
		must(view_edit_set(e, &p, &(struct view_entry){ .kind = VIEW_POD, .node_id = node2 }));
	}
	view_unref(v);
	must(view_edit_finish(e, &v));
	pool_set_view(pool, v);

	for (uint32_t i = 0; i < ROUNDS; i++) {
		double began;

		p = pod(i * 13 % PODS);
		v = set(v, &p, i % 2 ? &(struct view_entry){ .kind = VIEW_POD, .node_id = node2 } : NULL);
		began = wall_us();
		pool_set_view(pool, v);
		took_us[i] = wall_us() - began;
	}
	report("one pod that no stream goes to", took_us, ROUNDS);

	for (uint32_t i = 0; i < ROUNDS / 10; i++) {
		double began;

		p = (struct prefix){ .addr = addr_from_v4_be(htonl(0x0a020001 + i % SERVERS)), .len_bits = 128 };
		v = set(v, &p, &(struct view_entry){ .kind = VIEW_POD, .node_id = node2 });
		began = wall_us();
		pool_set_view(pool, v);
		took_us[i] = wall_us() - began;
	}
	report("one pod with its share of the streams", took_us, ROUNDS / 10);

	for (uint32_t i = 0; i < ROUNDS / 10; i++) {
		double began;

		must(prefix_parse("10.77.0.0/16", &p));
		v = set(v, &p, i % 2 ? NULL : &(struct view_entry){ .kind = VIEW_POD, .node_id = node2 });
		began = wall_us();
		pool_set_view(pool, v);
		took_us[i] = wall_us() - began;
	}
	report("a range, for which all streams are looked at", took_us, ROUNDS / 10);
	printf("%u streams are left\n", pool->streams_count);
	view_unref(v);
	pair_done(&pair);
	return EXIT_SUCCESS;
}
