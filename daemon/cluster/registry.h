/* SPDX-License-Identifier: GPL-3.0-or-later */
/* registry.h - what a cluster's API says, object by object, becomes views: who is where, whose an address is, who is enrolled.
 * Knows the rules and no API: where objects come from is its owner's, and so is time. An object that contradicts another, or itself, is
 * refused in that part, and the rest goes on. The same objects give the same view on every node, whatever their order in the first list.
 * Thread: main. */
#ifndef CULVERT_CLUSTER_REGISTRY_H
#define CULVERT_CLUSTER_REGISTRY_H

#include "base/clock.h"
#include "cluster/object.h"
#include "cluster/refusals.h"
#include "cluster/view.h"

struct registry;

enum {
	/* An address whose enrolled pod is gone is told apart from "outside" for so long: other nodes may still send to it, or from it. */
	REGISTRY_KEEP_MS = 600000,
	/* Beyond it each daemon should not follow all pods by itself: what the API server sends grows with the square of the nodes. */
	REGISTRY_TIER_NODES = 500,
};

struct registry_settings {
	const char *self;              /* the name of this node */
	bool is_ranges_own;            /* podCIDRs are ownership; else they mark the pod space */
	bool is_space_opt_out_allowed; /* namespaces by their label */
	bool is_pod_opt_out_allowed;   /* pods by their annotation */
	/* Where Culvert's own pods run: what claims to be one elsewhere is none. "": not known, so none is. */
	const char *culvert_namespace;
	const struct prefix *pod_space; /* known to be pods' even where nobody owns the address */
	size_t pod_space_count;
	const struct prefix *reserved; /* no pod's, whoever says so: Services, the API server */
	size_t reserved_count;
};

/* refused: something that is refused newly, for the log; object and text live as long as the call. s and all of it is copied. 0 or -ENOMEM.
 */
int registry_create(const struct registry_settings *s, void (*refused)(void *ctx, const char *object, const char *text), void *ctx,
                    struct registry **ret);
void registry_destroy(struct registry *r); /* NULL is welcome */
/* New settings, of the same self. 0, or -ENOMEM with the old ones in force. */
int registry_apply(struct registry *r, const struct registry_settings *s);

/* What an earlier daemon knew of an address: the name of the node that had it, itself or by a pod; lives until the next call. NULL: nothing. */
typedef const char *(*registry_recall_fn)(void *ctx, const struct addr *a, bool *ret_is_own);
/* It is asked for addresses that several claim, until the first view is made. */
void registry_set_recall(struct registry *r, registry_recall_fn recall, void *ctx);

/* Where it becomes known only later. Before the first pods are put. 0 or -ENOMEM. */
int registry_set_namespace(struct registry *r, const char *culvert_namespace);

/* Between began and ended all objects of the kind are put; what is not put is gone. Without an end nothing is. */
void registry_list_began(struct registry *r, enum object_kind kind);
void registry_list_ended(struct registry *r, enum object_kind kind);
/* It is there, new or changed; o is copied from. 0, or -ENOMEM with what was known before of it. */
int registry_put(struct registry *r, const struct object *o);
/* It is there, but nothing of it can be taken: what was known of it stays, and why is refused under its name until it is put or gone. */
void registry_keep(struct registry *r, enum object_kind kind, const struct object_meta *m, const char *why);
void registry_gone(struct registry *r, enum object_kind kind, const struct object_meta *m);

/* Is there something that registry_publish would settle? */
bool registry_is_changed(const struct registry *r);
/* When something changes by itself: registry_publish then. False: never. */
bool registry_deadline(const struct registry *r, struct instant *ret);
/* The view of all that was put, with a reference for the caller; the last one again where nothing changed. 0, or -ENOMEM: the next call
 * settles all of it. */
int registry_publish(struct registry *r, struct instant now, struct view **ret);

struct registry_node {
	bool is_known, is_enrolled;
	bool is_unenrolled;  /* by its annotation */
	bool has_record;     /* of its present Node object */
	bool has_old_record; /* of another Node object of the same name: the garbage collector's to take */
	uint16_t record_port;
	const char *uid;         /* of the Node object; lives until the next change */
	const char *record_hash; /* of its settings */
};
/* What is known of the node of that name; all false where nothing is. */
struct registry_node registry_node(const struct registry *r, const char *name);

struct registry_counts {
	size_t nodes, enrolled, pods, namespaces, ended; /* pods: with an address of their own; ended: addresses that are kept */
};
struct registry_counts registry_counts(const struct registry *r);
/* What is refused now. Lives until the next change. */
const struct refusals *registry_refusals(const struct registry *r);

#endif
