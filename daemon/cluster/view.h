/* SPDX-License-Identifier: GPL-3.0-or-later */
/* view.h - who is where: nodes, their addresses, the prefixes of their pods, and the answer to "who is behind this address?".
 * A view is immutable and counted; a change is a new view that shares with the one before what did not change, and a node keeps its id from
 * one to the next. Readers never lock. Made of a trie (base/trie) and a roster (cluster/roster); changed by edit.c, built whole by whole.c.
 * Thread: any, each with a reference of its own. */
#ifndef CULVERT_CLUSTER_VIEW_H
#define CULVERT_CLUSTER_VIEW_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct view;

/* Ids are below VIEW_IDS_MAX, which the kernel's map of nodes has room for: more than there are nodes, since the id of one that left rests
 * until nobody knows it any more. */
enum { VIEW_NODE_NAME_BYTES = 254, VIEW_NODES_MAX = 5000, VIEW_IDS_MAX = 8192, VIEW_ERROR_BYTES = 512 };

/* A pod of Culvert itself, as the cluster tells of it: nodes may be named after theirs. */
struct view_daemon {
	const char *name_space, *pod, *pod_uid;
};

struct view_node {
	uint32_t id; /* 1..; small, kept over changes, what BPF maps call this node */
	char name[VIEW_NODE_NAME_BYTES];
	bool is_self;
	bool is_enrolled; /* the nodes file: always. Kubernetes: it has its record */
	size_t addresses_count, pods_count, daemons_count;
	const struct addr *addresses;      /* where its tunnels are reached, and what it may use as its own source; none: not reached */
	const struct view_daemon *daemons; /* in Kubernetes; while one takes the place of another there are two */
	const struct prefix *pods;         /* what view_create was given; by edits none: who a pod belongs to is asked of the entries */
};

enum view_kind {
	VIEW_OUTSIDE,   /* nobody of ours */
	VIEW_POD,       /* owner is set */
	VIEW_NODE,      /* an address of owner itself */
	VIEW_POD_SPACE, /* in cluster_pods, but no node has it */
	VIEW_KINDS,
};

struct view_answer {
	enum view_kind kind;
	uint8_t flags;                 /* VIEW_ENTRY_* */
	const struct view_node *owner; /* lives as long as the view; NULL: outside, and the pod space */
};

enum view_verdict { VIEW_YES, VIEW_OTHERS, VIEW_UNKNOWN };

/* --- changes, by a source that says one thing after the other (cluster/registry) ---
 * A view is made of another by an edit: what did not change is shared, so that one pod's change costs less than a kilobyte and no more than
 * some microseconds, however large the view is. Contradictions are the caller's to settle: the last word counts. Many changes in one edit
 * cost less than each in one of its own; a node's costs some 100 KB and is best made together with what else is known at that moment. */

enum {
	VIEW_ENTRY_ENDING = 1,    /* its pod ended or is gone: it is still told apart from "outside", but judged as unknown */
	VIEW_ENTRY_OPTED_OUT = 2, /* its pod wants no tunnel: passes, counted as excluded */
	/* Its pod is terminating: it still serves, so its node speaks for it as before, but who else does may be its next owner: unknown. */
	VIEW_ENTRY_LEAVING = 4,
	VIEW_ENTRY_FLAGS_MAX = 31,
};

struct view_entry {
	enum view_kind kind; /* VIEW_POD, VIEW_NODE, VIEW_POD_SPACE */
	uint8_t flags;
	uint32_t node_id; /* VIEW_POD_SPACE: the node whose range it is said to be, without being its owner by that; 0: nobody's */
};

struct view_edit;
/* before may be NULL: begins with nothing, and with ids of its own. Takes a reference. self_name is the same all along a chain of views. 0
 * or -ENOMEM.
 * What fails with -ENOMEM makes the edit fail as a whole, so that only view_edit_finish need be asked. After any other error the edit is as
 * it was before that call. */
int view_edit_begin(struct view *before, const char *self_name, struct view_edit **ret);
/* Adds or replaces a node (by name; n->id and n->is_self are not read) and gives its id, kept as long as the name is known in some view of
 * the chain that somebody holds. Its addresses, of which there may be none, become entries of kind VIEW_NODE, and what it had before that is
 * not there now goes. n->pods is not read. 0; -EINVAL: its name is none (DNS-1123 subdomain); -EADDRNOTAVAIL: view_forbidden says which of
 * its addresses nobody can have; -ENOSPC: VIEW_NODES_MAX are there, or no id is free; -ENOMEM. */
int view_edit_put_node(struct view_edit *e, const struct view_node *n, uint32_t *ret_id);
/* And all entries that name its id go as well: a walk over all entries. 0, also where there is no such node, or -ENOMEM. */
int view_edit_remove_node(struct view_edit *e, const char *name);
/* Sets what p is, or takes it out (entry NULL). 0; -EINVAL: bits behind p's length, no kind, no such node; -EADDRNOTAVAIL: view_forbidden;
 * -ENOMEM. */
int view_edit_set(struct view_edit *e, const struct prefix *p, const struct view_entry *entry);
/* The new view, or before again (with a reference) where nothing is different in the end. Frees e in every case. 0 or -ENOMEM. */
int view_edit_finish(struct view_edit *e, struct view **ret);
void view_edit_abort(struct view_edit *e); /* NULL is welcome */

/* What p is or holds that no packet of a pod or of a tunnel can have as its address, such as "multicast addresses"; NULL: nothing. */
const char *view_forbidden(const struct prefix *p);

/* Calls changed for each prefix whose entry differs between the two, in no order; NULL: not there. Costs as much as what differs. before
 * may be NULL; else both are of one chain, in which an id means one node. Stops at the first negative return and gives it back. A node that
 * changed is no change of its entries: view_diff_nodes. */
int view_diff(const struct view *before, const struct view *after,
              int (*changed)(void *ctx, const struct prefix *p, const struct view_entry *before, const struct view_entry *after),
              void *ctx);
/* Likewise for the nodes, in the order of names; nothing where no node changed. */
int view_diff_nodes(const struct view *before, const struct view *after,
                    int (*changed)(void *ctx, const struct view_node *before, const struct view_node *after), void *ctx);

/* --- the whole at once, by the nodes file --- */

/* Builds a view from copies of what is given. before: the view whose ids are kept and of which is shared what did not change, or NULL. All
 * nodes are enrolled. Checks everything: names (DNS-1123 subdomain),
 * no node without address, no prefix or address twice or inside another node's, self_name is there. 0, -ENOMEM, or -EINVAL with a sentence
 * in error. */
int view_create(const struct view_node *nodes, size_t nodes_count, const struct prefix *cluster_pods, size_t cluster_pods_count,
                const char *self_name, const struct view *before, struct view **ret, char error[VIEW_ERROR_BYTES]);

/* Where in what view_create was given its fault lies, for whoever knows more of the place, such as the line of a file. */
enum view_part { VIEW_PART_NONE, VIEW_PART_NAME, VIEW_PART_ADDRESSES, VIEW_PART_PODS, VIEW_PART_ADDRESS, VIEW_PART_POD };
struct view_fault {
	enum view_part part;
	size_t node, item; /* index of the node, and in its addresses or pods (VIEW_PART_ADDRESS, VIEW_PART_POD) */
};
/* As view_create; where it returns -EINVAL, *ret_fault is set. */
int view_create_located(const struct view_node *nodes, size_t nodes_count, const struct prefix *cluster_pods, size_t cluster_pods_count,
                        const char *self_name, const struct view *before, struct view **ret, char error[VIEW_ERROR_BYTES],
                        struct view_fault *ret_fault);

struct view *view_ref(struct view *v);
void view_unref(struct view *v); /* NULL is welcome */

const struct view_node *view_self(const struct view *v); /* NULL: by edits, while no node of that name is there */
size_t view_nodes_count(const struct view *v);
const struct view_node *view_node_at(const struct view *v, size_t index);                 /* by name order */
const struct view_node *view_node_by_name(const struct view *v, const char *name);        /* NULL: none */
const struct view_node *view_node_by_id(const struct view *v, uint32_t id);               /* NULL: none */
const struct view_node *view_node_by_address(const struct view *v, const struct addr *a); /* its own address; NULL: none */

size_t view_entries_count(const struct view *v, enum view_kind kind);
/* What exactly p is; false: not there. */
bool view_get(const struct view *v, const struct prefix *p, struct view_entry *ret);
/* The longest prefix of at most max_len_bits (128: any) that contains a; false: none. */
bool view_find(const struct view *v, const struct addr *a, unsigned max_len_bits, struct prefix *ret_prefix, struct view_entry *ret);
/* Calls each for all entries inside of within (NULL: everywhere), in the order of addresses, the shorter first. Stops at the first negative
 * return and gives it back. */
int view_walk(const struct view *v, const struct prefix *within,
              int (*each)(void *ctx, const struct prefix *p, const struct view_entry *entry), void *ctx);

struct view_answer view_lookup(const struct view *v, const struct addr *a);
/* May node speak for a: is it a pod's of node, or (where own is allowed) one of node's own addresses? VIEW_OTHERS: another node has it;
 * VIEW_UNKNOWN: nobody has it, its owner's pod is ending (or is leaving, and node is another), or it is node's own and that is not allowed. node may be of an older view: it is
 * known by its name. */
enum view_verdict view_judge(const struct view *v, const struct addr *a, const struct view_node *node, bool is_own_allowed);

/* The worker, 0..workers-1, that is home to all streams of a peer: by a hash of its name, the same everywhere in the daemon. */
uint32_t view_home_worker(const char *node_name, uint32_t workers);

#endif
