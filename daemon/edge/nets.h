/* SPDX-License-Identifier: GPL-3.0-or-later */
/* nets.h - who is behind an address, in the kernel's map `nets`: what the view says, and the addresses that this node's devices have.
 * A change costs what differs and no more: one system call for one pod. The map is written only here, so that it is read but once, at the
 * start: what an earlier daemon left stays in force until the first view.
 * Thread: main. */
#ifndef CULVERT_EDGE_NETS_H
#define CULVERT_EDGE_NETS_H

#include "cluster/view.h"
#include "edge/netns.h"
#include "edge/pairs.h"

#include "shared.h"

struct nets;

struct net_key nets_key(const struct prefix *p);

/* fd and pairs are borrowed. workers: how many there are. 0 or -errno. */
int nets_create(int fd, uint32_t workers, const struct pairs *pairs, struct nets **ret);
void nets_destroy(struct nets *n); /* NULL is welcome; the map stays as it is */

/* Brings the map from the view in force to v: additions first, removals last. Each of v's nodes but this one has its place in pairs already,
 * and those of the view in force have it still. 0, or -errno with a sentence in error, and the map is as it was (-E2BIG: it does not take
 * so many). */
int nets_set_view(struct nets *n, struct view *v, char error[EDGE_ERROR_BYTES]);
/* The addresses of this node's devices, in any order. With a view in force the map follows at once. 0, or as nets_set_view. */
int nets_set_addresses(struct nets *n, const struct addr *addresses, size_t count, char error[EDGE_ERROR_BYTES]);

#endif
