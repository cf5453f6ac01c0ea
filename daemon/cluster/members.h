/* SPDX-License-Identifier: GPL-3.0-or-later */
/* members.h - what a cluster's API said of nodes, namespaces and pods, in little memory and found by name and by address.
 * Knows no rule: what an address is worth is cluster/settle's, what an object may say is cluster/judged's. Pods that have no address of
 * their own are not kept, but those of Culvert itself, which node names may be made of. Thread: main. */
#ifndef CULVERT_CLUSTER_MEMBERS_H
#define CULVERT_CLUSTER_MEMBERS_H

#include "base/addr.h"
#include "base/chain.h"
#include "base/clock.h"
#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	MEMBER_UID_BYTES = 64,    /* a UUID has 36 */
	MEMBER_HASH_BYTES = 32,   /* of settings, as a record says it */
	MEMBER_ADDRESSES_MAX = 4, /* of a pod: one a family, and room for what comes */
};

/* An address that a node says is its own. */
struct node_address {
	struct chain chain;
	struct addr addr;
	struct node *node;
	uint32_t since; /* settlement.told when it said so first */
	bool is_owner;  /* settled: no other node has it */
};

struct node {
	struct chain chain;
	char *name;
	struct pod *pods; /* those that say they run here, whether it is known or not */
	struct node *dirty_next;
	bool is_dirty;
	bool is_known;  /* the API lists it */
	bool was_known; /* and did so once: a pod of a node that never was listed may be early, one of a node that is gone is not */
	bool is_in_view, was_in_view; /* as it is settled; and as the last finished view has it */
	bool is_unenrolled;
	bool has_record;
	uint16_t node_mark, record_mark; /* the list that it stood in last */
	char uid[MEMBER_UID_BYTES];
	uint32_t created_s;
	struct node_address *addresses;
	size_t addresses_count;
	struct prefix *ranges;
	size_t ranges_count;
	uint32_t ranges_since;             /* settlement.told when it had them first */
	char record_uid[MEMBER_UID_BYTES]; /* of the Node that its record is owned by */
	char record_hash[MEMBER_HASH_BYTES];
	uint16_t record_port;
	uint32_t view_id; /* where is_in_view */
};

/* A namespace. */
struct space {
	struct chain chain;
	char *name;
	uint32_t pods_count;
	bool is_known, is_opted_out;
	uint16_t mark;
};

/* A pod's claim of an address. */
struct claim {
	struct chain chain;
	struct addr addr;
	uint8_t index; /* in its pod's claims */
	bool is_owner; /* settled: the address is its pod's */
};

struct pod {
	struct chain chain;
	struct pod *node_next, *dirty_next;
	struct node *node;
	struct space *space;
	uint64_t uid_hash;
	uint32_t created_s;
	uint16_t mark;
	uint8_t claims_count;
	bool is_leaving : 1; /* terminating */
	bool is_opted_out : 1;
	bool is_culvert : 1; /* then its UID stands behind its name */
	bool is_dirty : 1;
	bool is_removed : 1;   /* in no table any more; its addresses are not settled yet */
	struct claim claims[]; /* and behind them the name */
};

/* An address whose last pod is gone: told apart from "outside" until deadline, or until somebody has it. */
struct ghost {
	struct chain chain;
	struct list entry; /* in members.ghosts, the oldest first */
	struct addr addr;
	struct node *node;
	struct instant deadline;
};

struct members {
	struct chains nodes, node_addresses, spaces, pods, claims, ghosts_by_address;
	struct list ghosts;
	struct node *dirty_nodes;
	struct pod *dirty_pods; /* those that were removed too */
	size_t nodes_known;
};

int members_init(struct members *m); /* 0 or -ENOMEM */
void members_done(struct members *m);

struct node *members_node(const struct members *m, const char *name); /* NULL: nobody spoke of it */
/* The same, made where it is not there. NULL: no memory. */
struct node *members_need_node(struct members *m, const char *name);
/* Frees it where nothing is known of it any more. */
void members_drop_node(struct members *m, struct node *n);
/* Takes copies; told: of what is new in them. 0, or -ENOMEM with all as it was. */
int members_set_node(struct members *m, struct node *n, const struct addr *addresses, size_t addresses_count, const struct prefix *ranges,
                     size_t ranges_count, uint32_t told);
void members_clear_node(struct members *m, struct node *n); /* no addresses, no ranges */

struct space *members_space(const struct members *m, const char *name);
struct space *members_need_space(struct members *m, const char *name); /* NULL: no memory */
void members_drop_space(struct members *m, struct space *s);           /* where no pod and no word of the API is left of it */

struct pod *members_pod(const struct members *m, const char *name_space, const char *name);
/* A pod with its claims, in all tables; dirty. uid is only kept of Culvert's own pods. NULL: no memory. */
struct pod *members_add_pod(struct members *m, const char *name_space, const char *name, const char *uid, const char *node, bool is_culvert,
                            const struct addr *addresses, size_t addresses_count);
/* Out of all tables; freed by members_settled. */
void members_remove_pod(struct members *m, struct pod *p);
const char *pod_name(const struct pod *p);
const char *pod_uid(const struct pod *p); /* "" but of Culvert's own pods */

void members_mark_node(struct members *m, struct node *n);
void members_mark_pod(struct members *m, struct pod *p);
void members_mark_address(struct members *m, const struct addr *a); /* all pods that claim it */
bool members_is_dirty(const struct members *m);
/* All that is dirty was settled: clears it, and frees what was removed. */
void members_settled(struct members *m);

/* The first claim of a, then the next of the same address; NULL: no more. */
struct claim *members_claim(const struct members *m, const struct addr *a);
struct claim *claim_next(const struct claim *c);
struct pod *claim_pod(const struct claim *c);

/* The first node that says a is its own, and the next. */
struct node_address *members_node_address(const struct members *m, const struct addr *a);
struct node_address *node_address_next(const struct node_address *a);

struct ghost *members_ghost(const struct members *m, const struct addr *a);
/* Deadlines never go back. NULL: no memory. */
struct ghost *members_add_ghost(struct members *m, const struct addr *a, struct node *n, struct instant deadline);
void members_drop_ghost(struct members *m, struct ghost *g);

#endif
