/* SPDX-License-Identifier: GPL-3.0-or-later */
/* elect.h - of several that say they have an address, whose it is. Inside of the registry.
 *
 * Who has it keeps it while it claims it. Of claims that are found together, at a daemon's start: whose it was by what an earlier daemon left in
 * the kernel, else the older by the API's word, then by UID, so that all nodes come to the same. A pod has an address before another node
 * that calls it its own where it lies in the range of the pod's node and that was there first: a kubelet can say of its node what it likes,
 * and would have an address before the pod that gets it. Thread: main. */
#ifndef CULVERT_CLUSTER_ELECT_H
#define CULVERT_CLUSTER_ELECT_H

#include "cluster/settle.h"

bool node_is_older(const struct node *a, const struct node *b);
/* Settles which node's own a is, and refuses the others'. */
void elect_node(struct settlement *s, const struct addr *a);
/* A node does not say any more that a is its own: where none does, nobody's word on it is refused. */
void elect_forget(struct settlement *s, const struct addr *a);
/* Of two claims of one address. */
bool elect_is_better(const struct settlement *s, const struct claim *a, const struct claim *b);

#endif
