/* SPDX-License-Identifier: GPL-3.0-or-later */
/* listener.h - a worker's listeners, where pods' diverted connections are accepted; pauses while there are no descriptors.
 * pool_add_listener is here. Thread: the pool's worker. */
#ifndef CULVERT_TUNNEL_LISTENER_H
#define CULVERT_TUNNEL_LISTENER_H

#include "net/loop.h"

struct pool;

struct pool_listener {
	struct loop_source source;
	struct pool *pool;
};

void listeners_init(struct pool *p);
void listeners_close(struct pool *p);

#endif
