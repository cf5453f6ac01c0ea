/* SPDX-License-Identifier: GPL-3.0-or-later */
/* settle.h - the rules of ownership: of all that is said of an address, what it is. Inside of the registry.
 *
 * An address is a node's own before it is a pod's, but for one that a pod of another node has (cluster/elect). Among pods: running before
 * terminating, then who has it already (an address is never taken over while its owner claims it), then as cluster/elect says. Whose last
 * pod is gone is kept for REGISTRY_KEEP_MS where its node is enrolled.
 * The first two addresses of a node's range are its own where no pod has them: bridge and overlay devices use them.
 * Thread: main. */
#ifndef CULVERT_CLUSTER_SETTLE_H
#define CULVERT_CLUSTER_SETTLE_H

#include "cluster/members.h"
#include "cluster/registry.h"

/* What a prefix is because a range or a setting says so. */
struct ranged {
	struct prefix prefix;
	enum view_kind kind;
	struct node *node; /* NULL: VIEW_POD_SPACE that is no node's range */
};

struct settlement {
	struct members members;
	struct refusals refusals;
	char *self, *culvert_namespace;
	bool is_ranges_own, is_space_opt_out_allowed, is_pod_opt_out_allowed;
	struct prefix *pod_space, *reserved;
	size_t pod_space_count, reserved_count;
	void (*refused)(void *ctx, const char *object, const char *text);
	void *ctx;

	registry_recall_fn recall; /* NULL: nothing is remembered */
	void *recall_ctx;
	uint32_t told;         /* counts nodes that were put since the first view; 0 before it: then all is found together */
	struct view *view;     /* the last one; NULL: none yet */
	struct ranged *ranged; /* what of it is in view, in order of prefixes */
	size_t ranged_count;
	bool is_ranged_dirty;
};

bool node_is_enrolled(const struct node *n);
/* Adds to what is refused under key, and tells the owner where it is new. */
__attribute__((format(printf, 4, 5))) void settle_refuse(struct settlement *s, uint64_t key, const char *object, const char *format, ...);
/* Settles all that is dirty, and what is due. 0 and s->view is new, or -ENOMEM and all is still dirty. */
int settle(struct settlement *s, struct instant now);

#endif
