/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pairs.h - what holds between this node and each other one, in the kernel's map `peers`: whether both are enrolled, since when nothing new
 * passes in the clear, and which workers have a tunnel that takes streams.
 *
 * Each other node has a place in the map, by its name and not by its id, which begins anew with each daemon: place, name and state are in
 * pinned maps, so that a restart, a crash or a lost tunnel never makes a pair join again. Thread: any, by a lock inside, except where a
 * function says otherwise; nothing here waits for anything. */
#ifndef CULVERT_EDGE_PAIRS_H
#define CULVERT_EDGE_PAIRS_H

#include "cluster/pair.h"
#include "cluster/view.h"

#include <stdbool.h>
#include <stdint.h>

struct pairs;

/* Takes over what the maps hold. The descriptors are borrowed. is_fresh: the maps are new and empty. has_records: nodes
 * are enrolled one by one, by records, and each pair joins; else all that a view names are joined at once. 0 or -errno. */
int pairs_create(int peers_fd, int names_fd, bool is_fresh, bool has_records, struct pairs **ret);
void pairs_destroy(struct pairs *p); /* NULL is welcome */

/* Before the nets of a view are written: each of its nodes gets a place, and its state. Afterwards, when no net names them any more, the
 * places of those that left are given up. before: the view in force, of which what did not change is left alone; NULL: none. Main's thread.
 * 0 or -errno. */
int pairs_begin_view(struct pairs *p, const struct view *before, const struct view *v);
void pairs_end_view(struct pairs *p);
/* The place of a node of the view that was begun; 0: it has none. Main's thread. */
uint32_t pairs_place(const struct pairs *p, const struct view_node *n);
/* And back: the node's id, 0: nobody's. Main's thread. */
uint32_t pairs_node_id(const struct pairs *p, uint32_t place);

/* What one worker says. A node is up where any worker's tunnel to it is, and silent only where some worker's tunnels are and no worker's is
 * answered: streams live on each of them. A node that is not known any more is no error. 0 or -errno. */
int pairs_set_reach(struct pairs *p, const char *node, uint32_t worker, struct pair_reach reach);
/* A worker is full, or no longer: new streams to nodes that others have tunnels to go to those. 0, or the first -errno. */
int pairs_set_full(struct pairs *p, uint32_t worker, bool is_full);

struct pairs_lanes {
	uint32_t home, workers; /* the worker of lane 0; how many there are */
	uint32_t lanes;         /* at most */
};
/* The worker of the node's first lane that has no tunnel to it and is not full. false: none is left. */
bool pairs_next_lane(struct pairs *p, const char *node, const struct pairs_lanes *lanes, uint32_t *ret_worker);
/* One connection more, or one less, of the node's pods is in the map `silenced`. 0, -ENOENT: the node is not known any more, or -errno. */
int pairs_count_silent_flow(struct pairs *p, const char *node, bool is_one_more);
bool pairs_is_up(struct pairs *p, const char *node);
/* The node has said what it knows of the pair (PAIR_NOT_ENROLLED: nothing): may join it. Returns what holds now, of what leaves here. */
enum pair_state pairs_hear(struct pairs *p, const char *node, enum pair_state said);

#endif
