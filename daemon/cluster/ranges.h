/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ranges.h - what podCIDRs and settings say of addresses that no pod has. Inside of the registry.
 * A node's range marks the pod space, or is its own. Its first two addresses are the node's, since bridge and overlay devices have them. Ranges
 * that are owned do not overlap: the younger node's is refused. Thread: main. */
#ifndef CULVERT_CLUSTER_RANGES_H
#define CULVERT_CLUSTER_RANGES_H

#include "cluster/settle.h"

/* All of it, in the order of prefixes, each once; for free. 0 or -ENOMEM. */
int ranges_collect(struct settlement *s, struct ranged **ret, size_t *ret_count);
/* In which order two stand; 0: they are of one prefix. */
int ranged_compare(const struct ranged *a, const struct ranged *b);
/* What is said of exactly this address in s->ranged; NULL: nothing. */
const struct ranged *ranged_find(const struct settlement *s, const struct addr *a);

#endif
