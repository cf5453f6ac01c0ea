/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* judge.bpf.h - what every decision about a packet is made of: who is behind its addresses, where it came from, what holds between the two
 * nodes, whether the daemon lives and has a tunnel, what is left alone, and how a decision is written. */
#ifndef CULVERT_JUDGE_BPF_H
#define CULVERT_JUDGE_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "shared.h"

enum origin {
	ORIGIN_HOST, /* a socket of the node itself */
	ORIGIN_POD,  /* a pod of this node, or a device that nobody has told of yet */
	ORIGIN_EDGE, /* came in by an edge and goes on: forwarded traffic, a NodePort's second leg */
	ORIGIN_OURS, /* out of the private namespace */
};

/* What holds between this node and the one behind an address. */
enum pair {
	PAIR_NONE,    /* not both are enrolled: all passes */
	PAIR_JOINING, /* both are, but may not have told each other: a new connection takes a tunnel that is up, else it passes */
	PAIR_JOINED,  /* no new connection in the clear */
};

struct edge {
	struct __sk_buff *skb;
	const struct edge_config *config;
	struct packet *packet;
	struct net_value source, dest;
	enum origin origin;
	enum edge_direction direction;
	bool has_ct; /* bpf_skb_ct_lookup is there */
};

/* What is done with a packet, and the class that it is counted in. */
enum action {
	ACTION_LEAVE, /* not ours: untouched and not counted */
	ACTION_PASS,
	ACTION_DROP,
	ACTION_DIVERT, /* into the private namespace */
	ACTION_HOLD,   /* the daemon has it */
	ACTION_RESET,  /* refused in the middle of a flow: the private namespace answers it with a reset */
};

#define ACTION_BITS 8

/* While it changes the two directions are apart, so that what another node still sends is taken. */
static __always_inline __u32 mode_of(const struct edge *e)
{
	if (e->direction == EDGE_INGRESS && e->config->ingress_mode)
		return e->config->ingress_mode - 1;
	return e->config->mode;
}

static __always_inline int leave(void)
{
	return ACTION_LEAVE;
}

static __always_inline int pass(enum edge_class class)
{
	return class << ACTION_BITS | ACTION_PASS;
}

static __always_inline int drop(enum edge_class class)
{
	return class << ACTION_BITS | ACTION_DROP;
}

static __always_inline int divert(void)
{
	return CLASS_TUNNEL << ACTION_BITS | ACTION_DIVERT;
}

static __always_inline int reset(void)
{
	return CLASS_REFUSED << ACTION_BITS | ACTION_RESET;
}

static __always_inline struct net_value net_of(const __u8 *addr)
{
	struct net_value outside = { .kind = NET_OUTSIDE };
	struct net_key key = { .prefix_bits = 128 };
	struct net_value *found;

	__builtin_memcpy(key.addr, addr, 16);
	found = bpf_map_lookup_elem(&nets, &key);
	return found ? *found : outside;
}

static __always_inline bool net_is_pod(const struct net_value *n)
{
	return n->kind == NET_POD || n->kind == NET_OWN_POD || n->kind == NET_POD_SPACE;
}

/* The pod space: some pod's address, but whose is not known, or not any more. */
static __always_inline bool net_is_space(const struct net_value *n)
{
	return n->kind == NET_POD_SPACE || (n->kind == NET_POD && n->flags & NET_ENDING);
}

/* In the pod space the owner may be any node, so this node's own enrolment decides. */
static __always_inline enum pair pair_of(const struct edge *e, const struct net_value *n)
{
	__u32 place = n->peer;
	const struct peer_value *peer;
	__u64 strict_ns;

	if (n->kind == NET_POD_SPACE)
		return e->config->is_enrolled ? PAIR_JOINED : PAIR_NONE;
	peer = bpf_map_lookup_elem(&peers, &place);
	if (!peer)
		return PAIR_NONE;
	strict_ns = e->direction == EDGE_EGRESS ? peer->egress_strict_ns : peer->ingress_strict_ns;
	if (!strict_ns)
		return PAIR_NONE;
	return bpf_ktime_get_ns() < strict_ns ? PAIR_JOINING : PAIR_JOINED;
}

static __always_inline enum origin origin_of(const struct __sk_buff *skb, const struct net_value *source)
{
	__u32 ifindex = skb->ingress_ifindex;
	const struct device_value *device;

	/* By its address too: pieces of a fragmented packet have lost their way on some kernels, and a pod behind a device that is taken
	 * for an edge is still a pod. Whether it is ours is asked first, so that the private namespace is never taken for a pod. */
	device = ifindex ? bpf_map_lookup_elem(&devices, &ifindex) : NULL;
	if (device && device->role == DEVICE_OURS)
		return ORIGIN_OURS;
	if (source->kind == NET_OWN_POD)
		return ORIGIN_POD;
	if (!ifindex)
		return ORIGIN_HOST;
	return device && device->role == DEVICE_EDGE ? ORIGIN_EDGE : ORIGIN_POD;
}

static __always_inline bool has_listener(__u32 index)
{
	struct bpf_sock *sk = bpf_map_lookup_elem(&listeners, &index);

	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

/* Would the steer program find anybody? A dead daemon's sockets have left the map by themselves. */
__noinline int is_daemon_alive(__u32 home, __u32 workers, __u32 is_v6)
{
	__u32 worker;

	if (has_listener(home * 2 + is_v6))
		return 1;
	for (worker = 0; worker < EDGE_WORKERS_MAX; worker++) {
		if (worker >= workers)
			break;
		if (has_listener(worker * 2 + is_v6))
			return 1;
	}
	return 0;
}

static __always_inline bool is_peer_up(__u32 place)
{
	const struct peer_value *peer = bpf_map_lookup_elem(&peers, &place);

	return peer && peer->takers_count;
}

/* The worker that takes the next new flow to a node: those with a tunnel in turn; without one the node's home, which makes one. */
static __always_inline __u16 next_worker(const struct net_value *dest)
{
	__u32 place = dest->peer;
	struct peer_value *peer = bpf_map_lookup_elem(&peers, &place);
	__u32 count = peer ? peer->takers_count : 0;

	if (!count)
		return dest->worker;
	return peer->takers[peer->turn++ % count & (EDGE_TAKERS_MAX - 1)];
}

/* Asks the daemon for a tunnel. */
static __always_inline void want_tunnel(__u32 place)
{
	struct peer_value *peer = bpf_map_lookup_elem(&peers, &place);
	__u64 now_ns = bpf_ktime_get_ns();
	struct edge_event *event;

	if (!peer || (peer->wanted_ns && now_ns - peer->wanted_ns < EDGE_WANT_INTERVAL_NS))
		return;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return;
	peer->wanted_ns = now_ns;
	event->type = EDGE_EVENT_WANT_TUNNEL;
	event->peer = place;
	bpf_ringbuf_submit(event, 0);
}

static __always_inline bool has_excluded_net(const __u8 *addr)
{
	struct net_key key = { .prefix_bits = 128 };

	__builtin_memcpy(key.addr, addr, 16);
	return bpf_map_lookup_elem(&exclude_nets, &key) != NULL;
}

/* A port is the server's: a SYN's destination. Later packets may be of either side. */
static __always_inline bool is_excluded(const struct edge *e, const struct packet *p, const struct net_value *source,
                                        const struct net_value *dest, bool is_syn)
{
	__u16 port;

	if ((source->flags | dest->flags) & NET_OPTED_OUT && mode_of(e) != EDGE_LOCKDOWN)
		return true;
	if (!e->config->has_excludes)
		return false;
	if (has_excluded_net(p->source) || has_excluded_net(p->dest))
		return true;
	if (p->is_fragment || p->l4_proto != L4_TCP)
		return false;
	port = p->dest_port_be;
	if (bpf_map_lookup_elem(&exclude_ports, &port))
		return true;
	port = p->source_port_be;
	return !is_syn && bpf_map_lookup_elem(&exclude_ports, &port);
}

static __always_inline bool is_api_server(const __u8 *addr, __u16 port_be)
{
	struct api_server_key key = { .port_be = port_be };

	__builtin_memcpy(key.addr, addr, 16);
	return bpf_map_lookup_elem(&api_servers, &key) != NULL;
}

static __always_inline bool is_syn_of(const struct packet *p)
{
	return (p->tcp_flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) == TCP_FLAG_SYN;
}

/* What holds between the nodes of two pods. PAIR_NONE also where it is not between pods. */
static __always_inline enum pair pair_of_pods(const struct edge *e)
{
	if (e->direction == EDGE_EGRESS)
		return (e->origin == ORIGIN_POD || e->origin == ORIGIN_OURS) && (e->dest.kind == NET_POD || e->dest.kind == NET_POD_SPACE)
		               ? pair_of(e, &e->dest)
		               : PAIR_NONE;
	return (e->source.kind == NET_POD || e->source.kind == NET_POD_SPACE) && e->dest.kind == NET_OWN_POD ? pair_of(e, &e->source)
	                                                                                                     : PAIR_NONE;
}

#endif
