/* SPDX-License-Identifier: GPL-3.0-or-later */
/* watch.h - tells that devices, addresses or routes of the node's namespace changed, by netlink's notifications.
 * Routes alone come in bursts: of these it tells once in a while. Knows nothing of what they mean. Thread: main. */
#ifndef CULVERT_EDGE_WATCH_H
#define CULVERT_EDGE_WATCH_H

#include "net/loop.h"

struct watch;

/* on_change is called from the loop, and from watch_poll. 0 or -errno. */
int watch_create(struct loop *loop, void (*on_change)(void *ctx), void *ctx, struct watch **ret);
void watch_destroy(struct watch *w); /* NULL is welcome */
/* Looks at once at what has come, without waiting for the loop's turn. */
void watch_poll(struct watch *w);

#endif
