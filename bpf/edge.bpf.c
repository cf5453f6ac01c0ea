/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* edge.bpf.c - tc programs at the node's edge: what is diverted into the private namespace, what is refused, what passes, each with its
 * counter.
 *
 * Rules that hold everywhere:
 * - What is not ours is returned with TC_ACT_UNSPEC, so that the programs after us run as if we were not there.
 * - A flow is judged by policy at its SYN alone. Later packets follow the flow, and so does the SYN when it is sent again: a diverted one
 *   stays diverted even where its address has left the map since, else the rest of it would go out in the clear; one that was let pass
 *   goes on, since the other end may have answered already.
 * - A flow that passes between two nodes of which not both are enrolled is remembered from the first of its packets that is seen, so that
 *   it lives on when they are.
 * - In doubt between two enrolled nodes' pods: permissive mode passes and counts, strict and lockdown refuse and count.
 * - A pod is told by the way its packet came (ingress_ifindex), not by its address: a new pod may send before anybody named it. */
#include "vmlinux.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "shared.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define TC_ACT_UNSPEC (-1)
#define TC_ACT_SHOT   2

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
	bool is_l3;  /* the device has no Ethernet header */
	bool has_ct; /* bpf_skb_ct_lookup is there */
};

/* The kernel's struct bpf_ct_opts, under a name of our own: a vmlinux.h made where conntrack is a module lacks it. */
struct ct_opts {
	__s32 netns_id;
	__s32 error;
	__u8 l4_proto;
	__u8 dir;
	__u8 reserved[2];
};
extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 tuple_bytes, struct ct_opts *opts,
                                         __u32 opts_bytes) __weak __ksym;
extern void bpf_ct_release(struct nf_conn *ct) __weak __ksym;

/* What is done with a packet, and the class that it is counted in. */
enum action {
	ACTION_LEAVE, /* not ours: untouched and not counted */
	ACTION_PASS,
	ACTION_DROP,
	ACTION_DIVERT, /* into the private namespace */
	ACTION_RESET,  /* refused in the middle of a flow: the private namespace answers it with a reset */
};

#define ACTION_BITS 8

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
static __noinline int is_daemon_alive(__u32 home, __u32 workers, __u32 is_v6)
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

	return peer && peer->is_up;
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

	if ((source->flags | dest->flags) & NET_OPTED_OUT && e->config->mode != EDGE_LOCKDOWN)
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

static __always_inline bool is_learning(const struct edge_config *config)
{
	return config->learn_until_ns && bpf_ktime_get_ns() < config->learn_until_ns;
}

static __always_inline void flow_of(const struct packet *p, enum edge_direction direction, struct flow_key *ret)
{
	bool is_egress = direction == EDGE_EGRESS;

	__builtin_memcpy(ret->local, is_egress ? p->source : p->dest, 16);
	__builtin_memcpy(ret->remote, is_egress ? p->dest : p->source, 16);
	ret->local_port_be = is_egress ? p->source_port_be : p->dest_port_be;
	ret->remote_port_be = is_egress ? p->dest_port_be : p->source_port_be;
}

static __always_inline void tuple_of(const __u8 *source, const __u8 *dest, __u16 source_port_be, __u16 dest_port_be, bool is_v6,
                                     struct bpf_sock_tuple *ret)
{
	__builtin_memset(ret, 0, sizeof(*ret));
	if (is_v6) {
		__builtin_memcpy(ret->ipv6.saddr, source, 16);
		__builtin_memcpy(ret->ipv6.daddr, dest, 16);
		ret->ipv6.sport = source_port_be;
		ret->ipv6.dport = dest_port_be;
	} else {
		__builtin_memcpy(&ret->ipv4.saddr, source + 12, 4);
		__builtin_memcpy(&ret->ipv4.daddr, dest + 12, 4);
		ret->ipv4.sport = source_port_be;
		ret->ipv4.dport = dest_port_be;
	}
}

/* Has the private namespace a socket of this flow, one being made and one in TIME_WAIT included? A miss finds the daemon's listener, by
 * its own sk_lookup program. */
static __always_inline bool has_socket(const struct edge *e, const struct flow_key *key, bool is_v6)
{
	struct bpf_sock_tuple tuple;
	struct bpf_sock *sk;
	bool is_found;

	if (e->config->netns_id < 0)
		return false;
	tuple_of(key->local, key->remote, key->local_port_be, key->remote_port_be, is_v6, &tuple);
	sk = bpf_skc_lookup_tcp(e->skb, &tuple, is_v6 ? sizeof(tuple.ipv6) : sizeof(tuple.ipv4), e->config->netns_id, 0);
	if (!sk)
		return false;
	is_found = sk->state != BPF_TCP_LISTEN;
	bpf_sk_release(sk);
	return is_found;
}

static __always_inline bool is_syn_of(const struct packet *p)
{
	return (p->tcp_flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) == TCP_FLAG_SYN;
}

static __always_inline __u32 syn_seq_of(const struct packet *p)
{
	return is_syn_of(p) ? p->tcp_seq_be : 0;
}

static __always_inline void record_diverted(const struct flow_key *key, const struct packet *p)
{
	struct flow_value value = { .since_ns = bpf_ktime_get_ns(), .syn_seq_be = syn_seq_of(p) };

	bpf_map_update_elem(&flows, key, &value, BPF_ANY);
	bpf_map_delete_elem(&passed, key);
}

static __always_inline void record_passed(const struct flow_key *key, const struct packet *p, enum edge_class class)
{
	struct flow_value value = { .since_ns = bpf_ktime_get_ns(), .edge_class = class, .syn_seq_be = syn_seq_of(p) };

	bpf_map_update_elem(&passed, key, &value, BPF_ANY);
}

/* A new flow in the clear: an earlier one from the same port may have been diverted. */
static __always_inline int pass_flow(const struct edge *e, const struct flow_key *key, enum edge_class class)
{
	bpf_map_delete_elem(&flows, key);
	record_passed(key, e->packet, class);
	return pass(class);
}

/* A packet in the middle of a flow that may be in the clear: remembered, for the time when it may not. A flow that has ended is forgotten, so
 * that a node with many short ones does not lose those that live and stand still. */
static __always_inline int pass_on(const struct edge *e, const struct flow_key *key, enum edge_class class)
{
	struct flow_value *record = bpf_map_lookup_elem(&passed, key);
	__u8 flags = e->packet->tcp_flags;

	if (!record) {
		if (!(flags & TCP_FLAG_RST) && !bpf_map_lookup_elem(&flows, key))
			record_passed(key, e->packet, class);
		return pass(class);
	}
	if (record->edge_class < CLASS_COUNT && !(class == CLASS_OLDER && record->edge_class == CLASS_NOT_ENROLLED))
		class = record->edge_class;
	if (flags & TCP_FLAG_FIN)
		record->ended |= e->direction == EDGE_EGRESS ? FLOW_LOCAL_ENDED : FLOW_REMOTE_ENDED;
	else if (flags & TCP_FLAG_RST || record->ended == (FLOW_LOCAL_ENDED | FLOW_REMOTE_ENDED))
		bpf_map_delete_elem(&passed, key);
	return pass(class);
}

/* Is the packet the SYN of that flow once more? A new connection from the same port begins with another number. */
static __always_inline bool is_syn_again(const struct packet *p, const struct flow_value *record)
{
	return record && record->syn_seq_be && record->syn_seq_be == syn_seq_of(p);
}

/* The class in which a flow that was let pass goes on where no new one would be, or -1: it does not. */
static __always_inline int class_of_older(const struct edge *e, const struct flow_value *record)
{
	if (!record || record->edge_class >= CLASS_COUNT || e->config->mode == EDGE_LOCKDOWN ||
	    (e->config->is_older_reset && e->config->mode == EDGE_STRICT))
		return -1;
	switch (record->edge_class) {
	case CLASS_NOT_ENROLLED:
	case CLASS_JOINING:
		return CLASS_OLDER;
	default:
		return record->edge_class;
	}
}

/* While flows from before us are learned, one that begins now towards an address that nobody knows must not be taken for such a one when the
 * address proves to be an enrolled node's pod. */
static __always_inline void note_outside(const struct edge *e, const struct flow_key *key)
{
	struct flow_value value = { .since_ns = bpf_ktime_get_ns(), .edge_class = CLASS_OUTSIDE };

	if (is_learning(e->config))
		bpf_map_update_elem(&waiting, key, &value, BPF_ANY);
}

/* Is it a flow from before us? */
static __always_inline bool is_to_learn(const struct edge_config *config, const struct flow_key *key)
{
	const struct flow_value *noted;

	if (!is_learning(config))
		return false;
	noted = bpf_map_lookup_elem(&waiting, key);
	return !noted || noted->edge_class != CLASS_OUTSIDE;
}

/* The class of a flow that was let pass, or fallback. */
static __always_inline enum edge_class passed_class(const struct flow_key *key, enum edge_class fallback)
{
	const struct flow_value *v = bpf_map_lookup_elem(&passed, key);

	return v && v->edge_class < CLASS_COUNT ? v->edge_class : fallback;
}

static __always_inline int divert_flow(const struct edge *e, const struct flow_key *key)
{
	record_diverted(key, e->packet);
	return divert();
}

/* Does netfilter know a flow whose packets, as they leave here, are these? Asked by its answers' addresses: the flow's own were
 * rewritten. */
static __always_inline bool is_known_to_netfilter(const struct edge *e, const struct flow_key *key)
{
	struct ct_opts opts = { .netns_id = -1 /* the device's */, .l4_proto = L4_TCP };
	bool is_v6 = e->packet->is_v6;
	struct bpf_sock_tuple tuple;
	struct nf_conn *ct;

	tuple_of(key->remote, key->local, key->remote_port_be, key->local_port_be, is_v6, &tuple);
	ct = bpf_skb_ct_lookup(e->skb, &tuple, is_v6 ? sizeof(tuple.ipv6) : sizeof(tuple.ipv4), &opts, sizeof(opts));
	if (!ct)
		return false;
	bpf_ct_release(ct);
	return true;
}

/* Out of the private namespace and about to leave by an edge. Right are only the answers to a NodePort's or load balancer's client, which
 * have the node's or the balancer's address as their source; all else follows a stale route, and would loop between nodes or carry a
 * tunnel's payload in the clear. */
static __always_inline int egress_tcp_ours(const struct edge *e, bool is_syn)
{
	if (e->dest.kind == NET_OWN_POD) {
		__u32 ifindex = e->skb->ifindex;
		const struct device_value *device = bpf_map_lookup_elem(&devices, &ifindex);

		if (device && (device->flags & DEVICE_MAY_FACE_PODS))
			return leave();
		return drop(CLASS_LOOP);
	}
	if (is_syn || e->packet->is_fragment || net_is_pod(&e->source))
		return drop(CLASS_LOOP);
	if (net_is_pod(&e->dest))
		return pass(CLASS_TO_NODE);
	if (e->dest.kind == NET_OUTSIDE)
		return pass(CLASS_OUTSIDE);
	return leave();
}

/* From the node itself, or under its address (a NodePort's second leg), to a pod of another node. Between an API server and the webhook
 * that admits our own pod refusing would be a circle, so only lockdown does. */
static __always_inline int egress_tcp_host(const struct edge *e, const struct flow_key *key, bool is_syn)
{
	bool is_lockdown = e->config->mode == EDGE_LOCKDOWN;
	enum pair pair = pair_of(e, &e->dest);
	enum edge_class class = e->dest.kind == NET_POD && pair == PAIR_NONE ? CLASS_NOT_ENROLLED : CLASS_HOST;
	/* The far side takes a stream only from an address that it knows as ours: one that the view does not name (of a tunnel device,
	 * say) has no tunnel. */
	bool is_possible = !net_is_space(&e->dest) && pair != PAIR_NONE && (e->source.kind == NET_SELF || e->source.kind == NET_OWN_POD) &&
	                   !(e->source.flags & NET_UNNAMED);
	bool is_as_pod;

	if (!is_syn) {
		if (is_lockdown)
			return reset();
		return pass(passed_class(key, class));
	}
	/* Where netfilter does not know the connection, the answer that comes out of our veth would find no translation back to the
	 * client, and the node would reset it. */
	if (e->origin == ORIGIN_EDGE && !(e->has_ct && is_known_to_netfilter(e, key)))
		is_possible = false;
	/* In the clear the far side would refuse it as a pod's. */
	is_as_pod = e->config->mode == EDGE_STRICT && pair == PAIR_JOINED && (e->source.flags & NET_IN_POD_RANGE);
	if (!is_lockdown && !is_as_pod && is_syn_again(e->packet, bpf_map_lookup_elem(&passed, key)))
		return pass(class);
	if (is_possible && (is_lockdown || is_as_pod || is_peer_up(e->dest.peer)) &&
	    is_daemon_alive(e->dest.worker, e->config->workers, e->packet->is_v6))
		return divert_flow(e, key);
	return is_lockdown ? drop(CLASS_REFUSED) : pass_flow(e, key, class);
}

/* Permissive: the SYN is dropped once while the daemon makes a tunnel; the client's kernel sends it again. */
static __always_inline int egress_syn_permissive(const struct edge *e, const struct flow_key *key)
{
	struct flow_value now = { .since_ns = bpf_ktime_get_ns() };
	const struct flow_value *first;

	if (!is_daemon_alive(e->dest.worker, e->config->workers, e->packet->is_v6))
		return pass_flow(e, key, CLASS_PERMISSIVE);
	if (is_peer_up(e->dest.peer)) {
		bpf_map_delete_elem(&waiting, key);
		return divert_flow(e, key);
	}
	first = bpf_map_lookup_elem(&waiting, key);
	if (first && first->edge_class != CLASS_OUTSIDE) {
		__u64 age_ns = now.since_ns - first->since_ns;

		if (age_ns < EDGE_HOLD_NS)
			return drop(CLASS_HELD);
		if (age_ns < EDGE_HOLD_FORGET_NS)
			return pass_flow(e, key, CLASS_PERMISSIVE);
	}
	bpf_map_update_elem(&waiting, key, &now, BPF_ANY);
	want_tunnel(e->dest.peer);
	return drop(CLASS_HELD);
}

/* Pod to pod, at a time when not both nodes are enrolled, or may not have told each other. */
static __always_inline int tcp_not_joined(const struct edge *e, const struct flow_key *key, const struct net_value *other, enum pair pair)
{
	enum edge_class class = pair == PAIR_JOINING ? CLASS_JOINING : other->kind == NET_POD_SPACE ? CLASS_UNKNOWN : CLASS_NOT_ENROLLED;

	if (e->config->mode == EDGE_LOCKDOWN)
		return drop(CLASS_REFUSED);
	if (is_syn_of(e->packet))
		return pass_flow(e, key, class);
	/* Of those that began while the pair joins the SYN was seen. */
	return pass_on(e, key, pair == PAIR_JOINING ? CLASS_OLDER : class);
}

/* From a pod of this node to a pod of another, or to the pod space. */
static __always_inline int egress_tcp_pod(const struct edge *e, const struct flow_key *key, bool is_syn)
{
	const struct edge_config *config = e->config;
	enum pair pair = pair_of(e, &e->dest);
	bool is_space = net_is_space(&e->dest);
	const struct flow_value *record;
	int class;

	if (pair == PAIR_JOINING && is_syn && !is_space && !is_syn_again(e->packet, bpf_map_lookup_elem(&passed, key))) {
		/* It would pass in any case, so a tunnel is only taken, and never waited for. */
		if (is_peer_up(e->dest.peer) && is_daemon_alive(e->dest.worker, config->workers, e->packet->is_v6))
			return divert_flow(e, key);
		want_tunnel(e->dest.peer);
	}
	if (pair != PAIR_JOINED)
		return tcp_not_joined(e, key, &e->dest, pair);
	record = bpf_map_lookup_elem(&passed, key);
	class = class_of_older(e, record);
	if (is_syn) {
		if (class >= 0 && is_syn_again(e->packet, record))
			return pass(class);
		/* Dropped in silence, so that the client's kernel tries again until the view knows better. */
		if (is_space)
			return config->mode == EDGE_PERMISSIVE ? pass_flow(e, key, CLASS_UNKNOWN) : drop(CLASS_UNKNOWN);
		if (config->mode == EDGE_PERMISSIVE)
			return egress_syn_permissive(e, key);
		if (!is_daemon_alive(e->dest.worker, config->workers, e->packet->is_v6))
			return drop(CLASS_REFUSED);
		return divert_flow(e, key);
	}

	if (class >= 0)
		return pass(class);
	if (config->mode != EDGE_LOCKDOWN && is_to_learn(config, key)) {
		record_passed(key, e->packet, CLASS_OLDER);
		return pass(CLASS_OLDER);
	}
	if (config->mode == EDGE_PERMISSIVE)
		return pass(is_space ? CLASS_UNKNOWN : CLASS_OLDER);
	return is_space ? drop(CLASS_UNKNOWN) : reset();
}

/* From a pod of this node to another node's own address. */
static __always_inline int egress_tcp_to_node(const struct edge *e, const struct flow_key *key, bool is_syn)
{
	enum edge_class class = pair_of(e, &e->dest) == PAIR_NONE ? CLASS_NOT_ENROLLED : CLASS_TO_NODE;

	if (e->config->mode == EDGE_LOCKDOWN)
		return is_syn ? drop(CLASS_REFUSED) : reset();
	if (is_syn)
		return pass_flow(e, key, class);
	/* Without a record it is most likely an answer to that node's own connection. */
	return pass(passed_class(key, class == CLASS_TO_NODE ? CLASS_HOST : class));
}

static __always_inline int egress_tcp(const struct edge *e)
{
	const struct packet *p = e->packet;
	bool is_syn = is_syn_of(p);
	bool is_cluster = e->dest.kind == NET_POD || e->dest.kind == NET_POD_SPACE || e->dest.kind == NET_NODE;
	struct flow_key key = {};

	if (e->origin == ORIGIN_OURS)
		return egress_tcp_ours(e, is_syn);
	flow_of(p, EDGE_EGRESS, &key);
	if (!is_syn) {
		if (bpf_map_lookup_elem(&flows, &key))
			return divert();
		if (is_cluster && has_socket(e, &key, p->is_v6))
			return divert_flow(e, &key);
	} else if (is_syn_again(p, bpf_map_lookup_elem(&flows, &key)) && is_daemon_alive(e->dest.worker, e->config->workers, p->is_v6)) {
		return divert();
	}
	if (is_cluster && is_excluded(e, p, &e->source, &e->dest, is_syn)) {
		if (is_syn)
			bpf_map_delete_elem(&flows, &key);
		return pass(CLASS_EXCLUDED);
	}

	switch (e->dest.kind) {
	case NET_POD:
	case NET_POD_SPACE:
		if (e->origin == ORIGIN_POD)
			return egress_tcp_pod(e, &key, is_syn);
		if (e->origin == ORIGIN_HOST || e->source.kind == NET_SELF)
			return egress_tcp_host(e, &key, is_syn);
		/* Forwarded for others: what they are to each other is the business of their own nodes. */
		return pass(e->source.kind == NET_OUTSIDE ? CLASS_OUTSIDE : CLASS_TO_NODE);
	case NET_NODE:
		return e->origin == ORIGIN_POD ? egress_tcp_to_node(e, &key, is_syn) : leave();
	case NET_OUTSIDE:
		if (e->origin != ORIGIN_POD)
			return leave();
		if (is_syn) {
			bpf_map_delete_elem(&flows, &key);
			note_outside(e, &key);
		}
		return pass(CLASS_OUTSIDE);
	default:
		return leave();
	}
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

static __always_inline int judge_unclassifiable(const struct edge *e)
{
	enum pair pair = pair_of_pods(e);

	if (pair == PAIR_NONE)
		return leave();
	if (is_excluded(e, e->packet, &e->source, &e->dest, false))
		return pass(CLASS_EXCLUDED);
	/* It may belong to a flow that passes. */
	if (e->config->mode == EDGE_PERMISSIVE || (e->config->mode == EDGE_STRICT && pair == PAIR_JOINING))
		return pass(CLASS_UNCLASSIFIABLE);
	return drop(CLASS_UNCLASSIFIABLE);
}

/* Not TCP: passes, and is counted where both ends are pods of enrolled nodes. */
static __always_inline int count_other(const struct edge *e)
{
	if (pair_of_pods(e) == PAIR_NONE)
		return leave();
	switch (e->packet->l4_proto) {
	case L4_UDP:
		return pass(CLASS_UDP);
	case L4_ICMP:
	case L4_ICMPV6:
		return pass(CLASS_ICMP);
	default:
		return pass(CLASS_OTHER);
	}
}

/* Looks one level into what is encapsulated. True where TCP between pods is inside that our program on the inner device would not have
 * let pass: the CNI sends around it, or a pod tunnels by itself. */
static __always_inline bool is_bypass(const struct edge *e)
{
	struct packet inner = {};
	struct flow_key key = {};
	struct net_value source, dest;
	bool is_syn;
	int result;

	result = parse_inner(e->skb, e->packet, &inner);
	if (result == PARSE_NOT_IP || (result == PARSE_OK && inner.l4_proto != L4_TCP))
		return false;
	source = net_of(inner.source);
	dest = net_of(inner.dest);
	if (source.kind != NET_OWN_POD || dest.kind != NET_POD || pair_of(e, &dest) != PAIR_JOINED)
		return false;
	is_syn = is_syn_of(&inner);
	if (is_excluded(e, &inner, &source, &dest, is_syn))
		return false;
	if (result != PARSE_OK || inner.is_fragment)
		return true;
	flow_of(&inner, EDGE_EGRESS, &key);
	if (bpf_map_lookup_elem(&passed, &key))
		return e->config->mode == EDGE_LOCKDOWN;
	if (!is_syn && is_to_learn(e->config, &key) && !bpf_map_lookup_elem(&flows, &key)) {
		record_passed(&key, &inner, CLASS_OLDER);
		return false;
	}
	return true;
}

/* Sends the packet into the private namespace. Segmentation trains and partial checksums stay as they are. */
static __always_inline int redirect(const struct edge *e)
{
	struct __sk_buff *skb = e->skb;

	if (e->is_l3) {
		__u8 head[ETH_BYTES];
		__u16 type_be = e->packet->is_v6 ? bpf_htons(ETH_TYPE_IPV6) : bpf_htons(ETH_TYPE_IPV4);

		__builtin_memcpy(head, e->config->private_mac, 6);
		__builtin_memcpy(head + 6, e->config->host_mac, 6);
		__builtin_memcpy(head + 12, &type_be, 2);
		if (bpf_skb_change_head(skb, ETH_BYTES, 0) || bpf_skb_store_bytes(skb, 0, head, sizeof(head), 0))
			return TC_ACT_SHOT;
	} else {
		__u8 mac[6];
		__u32 i, tags = e->packet->vlan_tags + (skb->vlan_present ? 1 : 0);

		/* The private namespace has no VLAN devices. */
		for (i = 0; i <= VLAN_TAGS_MAX; i++) {
			if (i >= tags)
				break;
			if (bpf_skb_vlan_pop(skb))
				return TC_ACT_SHOT;
		}
		__builtin_memcpy(mac, e->config->private_mac, 6);
		/* Else the far end takes the frame for another host's. */
		if (bpf_skb_store_bytes(skb, 0, mac, sizeof(mac), 0))
			return TC_ACT_SHOT;
	}
	return bpf_redirect(e->config->veth_ifindex, 0);
}

/* The one place that counts and acts. */
static __always_inline int carry_out(const struct edge *e, int decision)
{
	int action = decision & ((1 << ACTION_BITS) - 1);
	enum edge_verdict verdict = action == ACTION_DROP || action == ACTION_RESET ? EDGE_DROP : EDGE_PASS;
	__u32 index = edge_counter_index(decision >> ACTION_BITS, e->direction, verdict);
	struct edge_count *c;

	if (action == ACTION_LEAVE)
		return TC_ACT_UNSPEC;
	c = bpf_map_lookup_elem(&counters, &index);
	if (c) {
		c->packets++;
		c->bytes += e->skb->len;
	}
	if (action == ACTION_PASS)
		return TC_ACT_UNSPEC;
	if (action == ACTION_DROP)
		return TC_ACT_SHOT;
	return redirect(e);
}

/* The decision about a packet that parsed. */
static __always_inline int judge_egress(struct edge *e, int result)
{
	const struct packet *p = e->packet;
	const struct edge_config *config = e->config;
	struct flow_key quoted = {};

	e->dest = net_of(p->dest);
	/* The bulk of what leaves: told first. */
	if (p->l4_proto == L4_TCP && !p->is_fragment && e->dest.kind == NET_NODE && !e->skb->ingress_ifindex &&
	    (p->dest_port_be == config->tunnel_port_be || p->source_port_be == config->tunnel_port_be))
		return pass(CLASS_CARRIER);

	e->source = net_of(p->source);
	e->origin = origin_of(e->skb, &e->source);
	if (result == PARSE_UNCLASSIFIABLE)
		return judge_unclassifiable(e);
	if (p->l4_proto == L4_TCP) {
		if ((p->is_fragment || p->is_first_fragment) && pair_of_pods(e) != PAIR_NONE)
			return judge_unclassifiable(e);
		return p->is_fragment ? leave() : egress_tcp(e);
	}
	if ((p->l4_proto == L4_ICMP || p->l4_proto == L4_ICMPV6) && e->origin != ORIGIN_OURS && parse_icmp_error(e->skb, p, &quoted) &&
	    (bpf_map_lookup_elem(&flows, &quoted) || has_socket(e, &quoted, p->is_v6)))
		return divert();
	if (is_bypass(e))
		return config->mode == EDGE_PERMISSIVE ? pass(CLASS_BYPASS) : drop(CLASS_BYPASS);
	return count_other(e);
}

static __always_inline int egress(struct __sk_buff *skb, bool is_l3, bool has_ct)
{
	__u32 zero = 0;
	const struct edge_config *config = bpf_map_lookup_elem(&settings, &zero);
	struct packet packet = {};
	struct edge e = { .skb = skb, .config = config, .packet = &packet, .direction = EDGE_EGRESS, .is_l3 = is_l3, .has_ct = has_ct };
	int result;

	if (!config || config->version != CULVERT_SHARED_VERSION)
		return TC_ACT_UNSPEC;
	result = is_l3 ? parse_network(skb, 0, &packet) : parse_ethernet(skb, 0, &packet);
	if (result == PARSE_NOT_IP)
		return TC_ACT_UNSPEC;
	return carry_out(&e, judge_egress(&e, result));
}

/* Plaintext from a pod of another node, or from the pod space, to a pod of this node. */
static __always_inline int ingress_tcp_pod(const struct edge *e, const struct flow_key *key, bool is_syn)
{
	const struct edge_config *config = e->config;
	enum pair pair = pair_of(e, &e->source);
	bool is_space = net_is_space(&e->source);
	const struct flow_value *record;
	int class;

	if (pair != PAIR_JOINED)
		return tcp_not_joined(e, key, &e->source, pair);
	record = bpf_map_lookup_elem(&passed, key);
	class = class_of_older(e, record);
	if (class >= 0 && (!is_syn || is_syn_again(e->packet, record)))
		return pass(class);
	if (config->mode == EDGE_PERMISSIVE && is_syn)
		return pass_flow(e, key, is_space ? CLASS_UNKNOWN : CLASS_PERMISSIVE);
	if (config->mode != EDGE_LOCKDOWN && !is_syn) {
		if (is_to_learn(config, key) && !bpf_map_lookup_elem(&flows, key)) {
			record_passed(key, e->packet, CLASS_OLDER);
			return pass(CLASS_OLDER);
		}
		if (config->mode == EDGE_PERMISSIVE)
			return pass(is_space ? CLASS_UNKNOWN : CLASS_OLDER);
	}
	return drop(is_space ? CLASS_UNKNOWN : CLASS_REFUSED);
}

/* Between a node itself and a pod: class names the side that began it. */
static __always_inline int ingress_tcp_node(const struct edge *e, const struct flow_key *key, bool is_syn, enum edge_class class,
                                            enum edge_class answers)
{
	if (e->config->mode == EDGE_LOCKDOWN)
		return drop(CLASS_REFUSED);
	if (is_syn)
		return pass_flow(e, key, class);
	return pass(passed_class(key, answers));
}

static __always_inline int ingress_tcp(const struct edge *e)
{
	const struct packet *p = e->packet;
	bool is_syn = is_syn_of(p);
	struct flow_key key = {};

	if (e->dest.kind != NET_OWN_POD && e->dest.kind != NET_SELF)
		return leave();
	if (e->source.kind != NET_OUTSIDE && is_excluded(e, p, &e->source, &e->dest, is_syn))
		return e->dest.kind == NET_OWN_POD ? pass(CLASS_EXCLUDED) : leave();
	flow_of(p, EDGE_INGRESS, &key);

	if (e->dest.kind == NET_SELF) {
		if (e->source.kind != NET_POD || pair_of(e, &e->source) == PAIR_NONE)
			return leave();
		return ingress_tcp_node(e, &key, is_syn, CLASS_TO_NODE, CLASS_HOST);
	}
	switch (e->source.kind) {
	case NET_POD:
	case NET_POD_SPACE:
		return ingress_tcp_pod(e, &key, is_syn);
	case NET_NODE:
		if (pair_of(e, &e->source) == PAIR_NONE)
			return e->config->mode == EDGE_LOCKDOWN ? drop(CLASS_REFUSED) : pass(CLASS_NOT_ENROLLED);
		return ingress_tcp_node(e, &key, is_syn, CLASS_HOST, CLASS_TO_NODE);
	case NET_OUTSIDE:
		if (is_syn)
			note_outside(e, &key);
		return pass(CLASS_OUTSIDE);
	default:
		return leave();
	}
}

static __always_inline int judge_ingress(struct edge *e, int result)
{
	const struct packet *p = e->packet;

	e->source = net_of(p->source);
	e->dest = net_of(p->dest);
	if (p->l4_proto == L4_TCP && !p->is_fragment && e->source.kind == NET_NODE && e->dest.kind == NET_SELF &&
	    (p->dest_port_be == e->config->tunnel_port_be || p->source_port_be == e->config->tunnel_port_be))
		return pass(CLASS_CARRIER);
	if (result == PARSE_UNCLASSIFIABLE)
		return judge_unclassifiable(e);
	if (p->l4_proto == L4_TCP) {
		if ((p->is_fragment || p->is_first_fragment) && pair_of_pods(e) != PAIR_NONE)
			return judge_unclassifiable(e);
		return p->is_fragment ? leave() : ingress_tcp(e);
	}
	return count_other(e);
}

static __always_inline int ingress(struct __sk_buff *skb, bool is_l3)
{
	__u32 zero = 0;
	const struct edge_config *config = bpf_map_lookup_elem(&settings, &zero);
	struct packet packet = {};
	struct edge e = { .skb = skb, .config = config, .packet = &packet, .direction = EDGE_INGRESS, .is_l3 = is_l3 };
	int result;

	if (!config || config->version != CULVERT_SHARED_VERSION)
		return TC_ACT_UNSPEC;
	result = is_l3 ? parse_network(skb, 0, &packet) : parse_ethernet(skb, 0, &packet);
	if (result == PARSE_NOT_IP)
		return TC_ACT_UNSPEC;
	return carry_out(&e, judge_ingress(&e, result));
}

/* Two sets of egress programs: kernels before 5.18, or with conntrack out of reach, can not load a call of its lookup. */
SEC("tc")
int edge_egress(struct __sk_buff *skb)
{
	return egress(skb, false, true);
}

SEC("tc")
int edge_egress_l3(struct __sk_buff *skb)
{
	return egress(skb, true, true);
}

SEC("tc")
int edge_egress_noct(struct __sk_buff *skb)
{
	return egress(skb, false, false);
}

SEC("tc")
int edge_egr_l3_noct(struct __sk_buff *skb)
{
	return egress(skb, true, false);
}

SEC("tc")
int edge_ingress(struct __sk_buff *skb)
{
	return ingress(skb, false);
}

SEC("tc")
int edge_ingress_l3(struct __sk_buff *skb)
{
	return ingress(skb, true);
}
