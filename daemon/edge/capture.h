/* SPDX-License-Identifier: GPL-3.0-or-later */
/* capture.h - interception: loads, pins, attaches, fills and upgrades the BPF programs, and follows the node's devices.
 * Pins live in a folder under the bpffs; maps and links outlive the daemon, so that while nobody is there the programs refuse.
 * Thread: main, in the node's network namespace, except where a function says otherwise. */
#ifndef CULVERT_EDGE_CAPTURE_H
#define CULVERT_EDGE_CAPTURE_H

#include "base/addr.h"
#include "cluster/pair.h"
#include "cluster/view.h"
#include "edge/netns.h"
#include "edge/pairs.h"
#include "edge/passing.h"
#include "net/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct capture;

enum { CAPTURE_API_SERVERS_MAX = 64 };

enum capture_mode { CAPTURE_PERMISSIVE, CAPTURE_STRICT, CAPTURE_LOCKDOWN };

struct capture_exclude {
	bool is_port;
	struct prefix prefix;
	uint16_t port; /* TCP */
};

struct capture_settings {
	enum capture_mode mode;
	bool is_older_reset;        /* older_flows: reset */
	bool is_faithful;           /* connect: faithful: SYNs go to the rings of capture_set_hold */
	bool has_records;           /* nodes are enrolled one by one, and each pair joins (edge/pairs.h); never changed by capture_apply */
	const char *const *devices; /* NULL: auto */
	size_t devices_count;
	const struct capture_exclude *exclude;
	size_t exclude_count;
	uint16_t tunnel_port;
	uint32_t workers;
	const char *pin_directory; /* below a bpffs; made if missing */
	/* clsact also where the kernel has tcx; so too with CULVERT_CLSACT in the environment. For tests of the way of older kernels. */
	bool is_clsact_forced;
};

enum capture_event { CAPTURE_WANT_TUNNEL /* permissive: a SYN waits for this node's tunnel */ };

/* Loads; the first capture_set_view attaches: only a view tells an edge from a device that faces pods. What an earlier daemon attached
 * stays in force until then. s is copied; n is borrowed for the life of the capture, its pair grows with the uplinks' MTU. on_want_tunnel
 * is called from the loop with a node id. 0 or -errno with a sentence in error; on failure what was pinned before still refuses. */
int capture_create(const struct capture_settings *s, struct edge_netns *n, struct loop *loop,
                   void (*on_want_tunnel)(void *ctx, uint32_t node_id), void *ctx, struct capture **ret, char error[EDGE_ERROR_BYTES]);
/* Closes our handles; pinned programs stay and refuse. */
void capture_destroy(struct capture *c);
/* culvertd --remove: takes out every program, link, filter, pin and map of pin_directory. 0, or -errno with a sentence in error. */
int capture_remove(const char *pin_directory, char error[EDGE_ERROR_BYTES]);

/* The listener of a worker for AF_INET or AF_INET6 goes into the SOCKMAP. */
int capture_set_listener(struct capture *c, uint32_t worker, int family, int fd);
/* The ring of a worker for SYNs that are held; once for each. All rings before the first listener: a worker without one gets its SYNs at once. */
int capture_set_hold(struct capture *c, uint32_t worker, int ring_fd);
/* The maps of flows, for a hold; the capture's own. */
struct passing capture_passing(const struct capture *c);
/* Writes what changed between the view in force and this one, and judges the devices anew where it touches them; takes its own reference.
 * Additions first, removals last; all of it is in the kernel when this returns. 0 or -errno, logged with the reason: the view before stays. A
 * device that can not be attached to is no error here: capture_is_healthy says it. */
int capture_set_view(struct capture *c, struct view *v);
/* Why the last view did not come into force, one sentence; "": it did. */
const char *capture_view_fault(const struct capture *c);
/* How a worker reaches a node: whether a tunnel to it is up (permissive, pairs that join, and the node's own traffic, decide by it), and whether
 * none of all workers' is answered: then its pods' connections get no answer from us either. Any thread. 0 or -errno. */
int capture_set_reach(struct capture *c, const char *node, uint32_t worker, struct pair_reach reach);
/* A worker is full, or no longer; which worker takes one more tunnel to a node (edge/pairs.h). Any thread. */
int capture_set_full(struct capture *c, uint32_t worker, bool is_full);
bool capture_next_lane(struct capture *c, const char *node, const struct pairs_lanes *lanes, uint32_t *ret_worker);
/* A pod of the node does not answer on this connection to a pod here (local), or does again, or the connection is over. Meanwhile what local
 * sends on it is dropped, but for resets. Any thread. 0 or -errno, nothing changed: -E2BIG: too many are silenced. */
int capture_silence_flow(struct capture *c, const char *node, const struct endpoint *local, const struct endpoint *remote, bool is_silent);
bool capture_is_peer_up(const struct capture *c, const char *node);
/* The node has said what it knows of the pair; PAIR_NOT_ENROLLED only asks. Returns what holds now for what leaves here. Any thread. */
enum pair_state capture_hear_peer(struct capture *c, const char *node, enum pair_state said);
/* Where the cluster's API server listens: lockdown leaves pods the way there. At most CAPTURE_API_SERVERS_MAX. 0 or -errno, logged. */
int capture_set_api_servers(struct capture *c, const struct endpoint *endpoints, size_t count);
/* New settings at a reload (mode, older_flows, exclude). Another mode, also than the one that an earlier daemon left, comes into force in one
 * direction at once and in the other a minute later (edge/mode.h). 0 or -errno; the old ones stay on an error. */
int capture_apply(struct capture *c, const struct capture_settings *s, char error[EDGE_ERROR_BYTES]);

/* One counter of the kernel: packets and bytes of a class and a direction. */
struct capture_counter {
	const char *name; /* "tunnel", "refused", "older", "host", "to_node", ...: those of enum edge_class in bpf/shared.h */
	bool is_ingress;
	bool is_clear; /* payload that left or arrived unencrypted */
	bool is_refused;
	uint64_t packets, bytes;
};
/* Sums the per-CPU counters. Returns the number written, at most max. */
size_t capture_counters(const struct capture *c, struct capture_counter *ret, size_t max);

struct capture_device {
	char name[16];
	uint32_t ifindex;
	bool is_attached; /* an edge: our programs run on it */
	bool is_first;    /* and before everybody else's */
	const char *how;  /* "tcx", "clsact", "" */
	char detail[96];  /* why it is no edge; or who is before us */
};
size_t capture_devices(const struct capture *c, struct capture_device *ret, size_t max);
/* True where every edge has our programs first; else a sentence in error. */
bool capture_is_healthy(const struct capture *c, char error[EDGE_ERROR_BYTES]);

#endif
