/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* shared.h - what the BPF programs and the daemon agree on: keys, values, settings, counters. No logic.
 * Every struct has fixed-width fields and explicit padding, and its size is asserted on both sides. A change of any of them, or of a
 * map's meaning, is a new CULVERT_SHARED_VERSION: a daemon that finds pinned maps of another version builds new ones aside. */
#ifndef CULVERT_SHARED_H
#define CULVERT_SHARED_H

#ifndef __bpf__
#include <linux/types.h>
#endif

#ifndef CULVERT_SHARED_VERSION /* a build for tests of an upgrade says another */
#define CULVERT_SHARED_VERSION 6
#endif

/* Limits of the maps; the reasons stand in maps.bpf.h. */
enum {
	EDGE_NETS_MAX = 262144,
	EDGE_FLOWS_MAX = 131072,
	EDGE_PASSED_MAX = 65536,
	EDGE_WAITING_MAX = 16384,
	EDGE_SILENCED_MAX = 16384,
	EDGE_DEVICES_MAX = 16384,
	EDGE_PEERS_MAX = 8192,
	EDGE_WORKERS_MAX = 64,
	EDGE_TAKERS_MAX = 8, /* a power of two */
	EDGE_EXCLUDE_NETS_MAX = 4096,
	EDGE_EXCLUDE_PORTS_MAX = 4096,
	EDGE_API_SERVERS_MAX = 64,
	EDGE_EVENTS_BYTES = 65536,
	EDGE_HELD_BYTES = 262144,
	EDGE_GIVERS_MAX = 1024,
	EDGE_GIVER_SYNS_MAX = 64,
};

/* A SYN to a node without a tunnel waits for so long in permissive mode. Where it is not the daemon that holds it (connect: optimistic) it is
 * dropped, and the client's first retransmission (1 s) comes later; a record that is older than the second figure belongs to an earlier
 * connection from the same port. */
#define EDGE_HOLD_NS        200000000ULL
#define EDGE_HOLD_FORGET_NS 60000000000ULL
/* While a worker's ring of held SYNs is more than half full, each device may give EDGE_GIVER_SYNS_MAX within this time: who floods fills one half,
 * and leaves the other to all others. */
#define EDGE_GIVER_NS 10000000ULL
/* So long after its first SYN a worker may still hold a connection that was not made: Linux's clients send it again for 127 s by default. */
#define EDGE_HELD_NS 300000000000ULL
/* So long after the very first load, flows that began before us are recorded from any of their packets. TCP's keepalives and most
 * heartbeats come within it. */
#define EDGE_LEARN_NS 120000000000ULL
/* A pair of nodes joins from the moment at which this one knows both to be enrolled: so long new connections between them may still pass in
 * the clear, unless both have said earlier that they know it. What leaves is refused earlier than what arrives, because the other side's
 * time began some seconds later or earlier. */
#define EDGE_JOIN_EGRESS_NS  55000000000ULL
#define EDGE_JOIN_INGRESS_NS 60000000000ULL
/* After the other side has said that it lets nothing go any more: for what is under way, and the first repetitions of a SYN that was lost. */
#define EDGE_JOIN_GRACE_NS 5000000000ULL
/* The daemon is asked for a tunnel to a peer so often at most. */
#define EDGE_WANT_INTERVAL_NS 100000000ULL

enum edge_mode { EDGE_PERMISSIVE, EDGE_STRICT, EDGE_LOCKDOWN };

/* settings, one element. */
struct edge_config {
	__u32 version;        /* 0: not written yet, every packet is left alone */
	__u32 mode;           /* enum edge_mode; of what leaves */
	__u32 veth_ifindex;   /* host end of the pair; a dead index drops what is redirected */
	__s32 netns_id;       /* of the private namespace as the node's sees it; negative: none */
	__u64 learn_until_ns; /* bpf_ktime_get_ns; 0: nothing is learned */
	__u16 tunnel_port_be;
	__u16 workers;
	__u8 has_excludes;
	__u8 is_older_reset; /* strict: flows that began in the clear are refused too */
	__u8 is_enrolled;    /* this node is: else it refuses nothing of the pod space whose owner it does not know */
	__u8 is_holding;     /* a SYN goes to the daemon, and into the private namespace only when the far side has connected */
	__u8 host_mac[6];
	__u8 private_mac[6];
	__u8 ingress_mode; /* of what arrives, and 1; 0: the same mode */
	__u8 pad2[3];
};
_Static_assert(sizeof(struct edge_config) == 48, "layout of edge_config");

/* nets, excludes: longest prefix first. An IPv4 address is in its mapped form, so a /24 has 120 bits. */
struct net_key {
	__u32 prefix_bits; /* host order */
	__u8 addr[16];
};
_Static_assert(sizeof(struct net_key) == 20, "layout of net_key");

/* api_servers: where the cluster's API server listens, behind its Service. */
struct api_server_key {
	__u8 addr[16];
	__u16 port_be;
	__u8 pad[2];
};
_Static_assert(sizeof(struct api_server_key) == 20, "layout of api_server_key");

enum net_kind {
	NET_OUTSIDE,   /* never stored: what a miss means */
	NET_POD,       /* a pod of another node */
	NET_OWN_POD,   /* a pod of this node */
	NET_NODE,      /* an address of another node itself */
	NET_SELF,      /* an address of this node itself */
	NET_POD_SPACE, /* some pod's, nobody knows whose */
};

enum {
	NET_ENDING = 1,       /* NET_POD: its pod has ended, and nobody is known to have its address now: judged like the pod space */
	NET_UNNAMED = 2,      /* NET_SELF: set on a device, but the view does not name it, so no peer takes it as ours */
	NET_IN_POD_RANGE = 4, /* NET_SELF: the view names it only as a pod's, so peers take what comes from it for a pod's */
	NET_OPTED_OUT = 8,    /* NET_POD, NET_OWN_POD: left alone like what the setting exclude names, but for lockdown */
};

struct net_value {
	__u8 kind;    /* enum net_kind */
	__u8 flags;   /* NET_ENDING, NET_UNNAMED, NET_IN_POD_RANGE, NET_OPTED_OUT */
	__u16 worker; /* home of the node's first tunnel, and of its streams while it has none */
	__u32 peer;   /* NET_POD, NET_NODE: its node's place in peers; else 0 */
};
_Static_assert(sizeof(struct net_value) == 8, "layout of net_value");

/* peers, by place: what holds between this node and another. A place belongs to a node's name (peer_names) for as long as that is in the view,
 * also over restarts of the daemon. Place 0 is nobody's: all zero. */
struct peer_value {
	__u64 egress_strict_ns; /* bpf_ktime_get_ns; from then on no new connection to its pods leaves in the clear. 0: the pair is not enrolled */
	__u64 ingress_strict_ns; /* and from then on none from them is taken */
	__u64 wanted_ns;         /* when the daemon was asked for a tunnel last; written by the programs */
	__u32 turn;            /* counts new flows, so that they go to the takers in turn; written by the programs, which may lose counts */
	__u8 is_silent;        /* its tunnels get no answer: its pods' connections get none either */
	__u8 has_silent_flows; /* some of its pods' connections are in silenced */
	__u8 takers_count;     /* 0: no tunnel to it takes streams */
	__u8 pad;
	__u8 takers[EDGE_TAKERS_MAX]; /* workers with a tunnel that does; where some are full and some are not, those that are not */
};
_Static_assert(sizeof(struct peer_value) == 40, "layout of peer_value");

/* peer_names, by place. For the daemon alone: the programs do not look at it. */
struct peer_name {
	char text[256];
};
_Static_assert(sizeof(struct peer_name) == 256, "layout of peer_name");

/* flows, passed, waiting, silenced: "local" is the side that lies towards this node's pods, in both directions. */
struct flow_key {
	__u8 local[16];
	__u8 remote[16];
	__u16 local_port_be;
	__u16 remote_port_be;
};
_Static_assert(sizeof(struct flow_key) == 36, "layout of flow_key");

enum { FLOW_LOCAL_ENDED = 1, FLOW_REMOTE_ENDED = 2 };

struct flow_value {
	__u64 since_ns;
	union {
		__u16 edge_class; /* passed, waiting: enum edge_class that its packets are counted as */
		__u16 worker;     /* flows: who holds its SYN, and whose listener takes it */
	};
	__u8 ended;       /* passed, between nodes that have not joined: FLOW_LOCAL_ENDED, FLOW_REMOTE_ENDED by its FINs */
	__u8 has_begun;   /* flows: more than its SYN has come, so that no worker holds that any more */
	__u32 syn_seq_be; /* sequence number of its SYN, by which that is known when it is sent again; 0: not seen */
};
_Static_assert(sizeof(struct flow_value) == 16, "layout of flow_value");

/* devices, by ifindex. What is not in the map counts as facing a pod: a new pod may send before the daemon has heard of its device. */
enum device_role { DEVICE_POD, DEVICE_EDGE, DEVICE_OURS };

enum { DEVICE_MAY_FACE_PODS = 1 /* an edge only because it could not be proven that it faces pods */ };

struct device_value {
	__u8 role;  /* enum device_role */
	__u8 flags; /* DEVICE_MAY_FACE_PODS */
	__u8 pad[2];
};
_Static_assert(sizeof(struct device_value) == 4, "layout of device_value");

/* listeners (SOCKMAP): key worker * 2 + is_v6. */

/* events (ring buffer). */
enum edge_event_type { EDGE_EVENT_WANT_TUNNEL = 1 };

struct edge_event {
	__u32 type; /* enum edge_event_type */
	__u32 peer; /* its place in peers */
};
_Static_assert(sizeof(struct edge_event) == 8, "layout of edge_event");

/* held (array of ring buffers, one a worker): a SYN that was taken out, from its IP header to the end of TCP's options. What was data in it is
 * left out, and comes again: no listener of ours takes data with a SYN. */
enum {
	EDGE_SYN_BYTES = 192,     /* IPv4 and TCP take at most 120; IPv6 with more extension headers than this is not held */
	EDGE_SYN_LINK_BYTES = 22, /* Ethernet and two tags */
};

struct edge_syn {
	__u8 source[16]; /* IPv4 in its mapped form */
	__u8 dest[16];
	__u16 source_port_be;
	__u16 dest_port_be;
	__u32 seq_be;
	__u16 len_bytes;       /* of packet */
	__u16 tcp_offset;      /* in packet */
	__u32 ingress_ifindex; /* by which it came: a pod's, or a bridge of several; 0: the node's own */
	__u32 egress_ifindex;  /* by which it was about to leave, ... */
	__u16 vlan_proto_be;   /* ... with a tag beside the frame; 0: none */
	__u16 vlan_tci;
	__u8 link_bytes; /* of link; 0: the device has no link layer */
	__u8 may_pass;   /* permissive: where no tunnel is up in time it goes on in the clear */
	__u8 link[EDGE_SYN_LINK_BYTES];
	__u8 packet[EDGE_SYN_BYTES];
};
_Static_assert(sizeof(struct edge_syn) == 80 + EDGE_SYN_BYTES, "layout of edge_syn");

/* givers, by ifindex: what came from a device of late. */
struct edge_giver {
	__u64 since_ns;
	__u32 count;
	__u32 pad;
};
_Static_assert(sizeof(struct edge_giver) == 16, "layout of edge_giver");

/* counters, per CPU: index edge_counter_index(class, direction, verdict). A packet is counted as tcpdump on the same device sees it: a
 * segmentation train is one packet, bytes are those of the frame. At two edges one behind the other (a VLAN and the device under it) it is
 * counted twice. */
enum edge_class {
	CLASS_TUNNEL,       /* diverted into the private namespace; also ICMP errors that answer our sockets */
	CLASS_CARRIER,      /* the tunnels' own packets, node to node */
	CLASS_REFUSED,      /* pod to pod, may not pass in the clear */
	CLASS_HELD,         /* permissive: a SYN that waits for a tunnel, in the daemon, or until the client tries it again */
	CLASS_OLDER,        /* a flow that began before us */
	CLASS_PERMISSIVE,   /* permissive: no tunnel was there in time */
	CLASS_HOST,         /* from a node itself to an enrolled pod, and the answers */
	CLASS_TO_NODE,      /* from a pod to another node's own address, and the answers */
	CLASS_OUTSIDE,      /* to or from outside the cluster */
	CLASS_UNKNOWN,      /* the pod space, but the owner is not known */
	CLASS_NOT_ENROLLED, /* this node or the other is not enrolled */
	CLASS_EXCLUDED,     /* by the setting exclude */
	CLASS_UDP,          /* between pods of enrolled nodes */
	CLASS_ICMP,
	CLASS_OTHER,
	CLASS_BYPASS,         /* pod to pod inside VXLAN, Geneve, IP-in-IP or GRE, past our programs on the inner device */
	CLASS_LOOP,           /* out of our own veth and about to leave by an edge: a stale route */
	CLASS_UNCLASSIFIABLE, /* pod to pod, but a fragment of TCP, or headers that can not be walked */
	CLASS_JOINING,        /* both nodes are enrolled, but have not told each other yet */
	CLASS_SILENT,         /* of a diverted flow whose other node or pod does not answer: as lost as it would be on the wire */
	CLASS_UNHELD,         /* diverted without being held: the daemon is behind with the SYNs that it was given */
	CLASS_COUNT
};

enum edge_direction { EDGE_EGRESS, EDGE_INGRESS, EDGE_DIRECTION_COUNT };
enum edge_verdict { EDGE_PASS /* or diverted */, EDGE_DROP, EDGE_VERDICT_COUNT };

enum { EDGE_COUNTERS = CLASS_COUNT * EDGE_DIRECTION_COUNT * EDGE_VERDICT_COUNT };

#define edge_counter_index(edge_class, direction, verdict) \
	(((edge_class)*EDGE_DIRECTION_COUNT + (direction)) * EDGE_VERDICT_COUNT + (verdict))

struct edge_count {
	__u64 packets;
	__u64 bytes;
};
_Static_assert(sizeof(struct edge_count) == 16, "layout of edge_count");

#endif
