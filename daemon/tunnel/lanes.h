/* SPDX-License-Identifier: GPL-3.0-or-later */
/* lanes.h - several tunnels to one peer, each on another worker: which lane of a peer this worker is, whether it is full, and of whose
 * traffic. Lane 0 of a peer is its home worker, lane 1 the one behind that, and so on, counted round.
 * Where there is one worker all of it says: lane 0, here, never full. Thread: the pool's worker. */
#ifndef CULVERT_TUNNEL_LANES_H
#define CULVERT_TUNNEL_LANES_H

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

struct pool;

enum {
	/* A second in which a worker waited less than this share of it was full; one in which it waited more than the other ends that. Between them
	 * nothing changes, so that a load near one of them does not move new streams to and fro. */
	LANES_FULL_PERCENT = 10,
	LANES_FREE_PERCENT = 30,
	LANES_SHARE = 8, /* a peer with less than one part in so many of what a worker carries does not get another */
};

struct lanes {
	struct instant began;      /* when the pool was made ... */
	uint64_t waited_before_ns; /* ... and loop_waited_ns at that time */
	struct instant since;      /* of the last tick */
	uint64_t waited_ns;        /* loop_waited_ns at that time */
	bool is_full;
};

void lanes_init(struct pool *p);
/* Once a second: is the worker full, and if so, of whose traffic? */
void lanes_tick(struct pool *p);
/* How long the worker has not waited since the pool was made. */
uint64_t lanes_busy_ns(const struct pool *p);
/* Which lane of that node this worker is. */
uint32_t lanes_own(const struct pool *p, const char *node);
/* Is that lane of that node this worker? */
bool lanes_is_here(const struct pool *p, const char *node, uint32_t lane);

#endif
