/* SPDX-License-Identifier: GPL-3.0-or-later */
/* trail.h - the views that other threads may still read, newest last.
 * Whoever drops a view last frees what nothing else shares, which after a large step can take milliseconds. A worker must not be the one:
 * so main keeps each view until all workers have told that they read a later one. Thread: main. */
#ifndef CULVERT_CLUSTER_TRAIL_H
#define CULVERT_CLUSTER_TRAIL_H

#include "base/list.h"
#include "cluster/view.h"

#include <stdint.h>

struct trail {
	struct list steps;
	uint64_t number; /* of the newest */
};

void trail_init(struct trail *t);
/* Drops all. */
void trail_done(struct trail *t);

/* v is what is read from now on. Takes a reference. Its number, which is larger than all before; 0 and nothing is kept: out of memory. */
uint64_t trail_add(struct trail *t, struct view *v);
/* Nobody reads a view any more that is older than that number. */
void trail_let_go(struct trail *t, uint64_t number);

#endif
