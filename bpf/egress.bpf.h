/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* egress.bpf.h - TCP that is about to leave the node by an edge: diverted, refused, or let pass, by who sends it and to whom. */
#ifndef CULVERT_EGRESS_BPF_H
#define CULVERT_EGRESS_BPF_H

#include "hold.bpf.h"
#include "joining.bpf.h"

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
	bool is_lockdown = mode_of(e) == EDGE_LOCKDOWN;
	const struct packet *p = e->packet;
	enum pair pair = pair_of(e, &e->dest);
	enum edge_class class = e->dest.kind == NET_POD && pair == PAIR_NONE ? CLASS_NOT_ENROLLED : CLASS_HOST;
	/* The far side takes a stream only from an address that it knows as ours: one that the view does not name (of a tunnel device,
	 * say) has no tunnel. */
	bool is_possible = !net_is_space(&e->dest) && pair != PAIR_NONE && (e->source.kind == NET_SELF || e->source.kind == NET_OWN_POD) &&
	                   !(e->source.flags & NET_UNNAMED);
	bool is_as_pod;

	if (!is_syn) {
		if (is_lockdown)
			return is_api_server(p->source, p->source_port_be) ? pass(CLASS_TO_NODE) : reset();
		return pass(passed_class(key, class));
	}
	/* Where netfilter does not know the connection, the answer that comes out of our veth would find no translation back to the
	 * client, and the node would reset it. */
	if (e->origin == ORIGIN_EDGE && !(e->has_ct && is_known_to_netfilter(e, key)))
		is_possible = false;
	/* In the clear the far side would refuse it as a pod's. */
	is_as_pod = mode_of(e) == EDGE_STRICT && pair == PAIR_JOINED && (e->source.flags & NET_IN_POD_RANGE);
	/* Also a pod's that the daemon has held: it lets go what it sends itself. */
	if (!is_lockdown && !is_as_pod && is_syn_again(e->packet, bpf_map_lookup_elem(&passed, key)))
		return pass(passed_class(key, class));
	if (is_possible && (is_lockdown || is_as_pod || is_peer_up(e->dest.peer)) &&
	    is_daemon_alive(e->dest.worker, e->config->workers, e->packet->is_v6))
		return divert_new(e, key);
	return is_lockdown ? drop(CLASS_REFUSED) : pass_flow(e, key, class);
}

/* Permissive: the daemon holds the SYN, and lets it pass when no tunnel is up in time. Where it does not hold, the SYN is dropped once while it
 * makes a tunnel; the client's kernel sends it again. */
static __always_inline int egress_syn_permissive(const struct edge *e, const struct flow_key *key)
{
	struct flow_value now = { .since_ns = bpf_ktime_get_ns() };
	const struct flow_value *first;

	if (!is_daemon_alive(e->dest.worker, e->config->workers, e->packet->is_v6))
		return pass_flow(e, key, CLASS_PERMISSIVE);
	if (is_peer_up(e->dest.peer)) {
		bpf_map_delete_elem(&waiting, key);
		return divert_new(e, key);
	}
	/* One that is numbered 0 would not be known again when it is let pass. */
	if (e->config->is_holding && e->packet->tcp_seq_be) {
		if (give_syn(e, record_diverted(e, key)))
			return drop(CLASS_HELD);
		bpf_map_delete_elem(&flows, key);
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
			return divert_new(e, key);
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
			return mode_of(e) == EDGE_PERMISSIVE ? pass_flow(e, key, CLASS_UNKNOWN) : drop(CLASS_UNKNOWN);
		if (mode_of(e) == EDGE_PERMISSIVE)
			return egress_syn_permissive(e, key);
		if (!is_daemon_alive(e->dest.worker, config->workers, e->packet->is_v6))
			return drop(CLASS_REFUSED);
		return divert_new(e, key);
	}

	if (class >= 0)
		return pass(class);
	if (mode_of(e) != EDGE_LOCKDOWN && is_to_learn(config, key)) {
		record_passed(key, e->packet, CLASS_OLDER);
		return pass(CLASS_OLDER);
	}
	if (mode_of(e) == EDGE_PERMISSIVE)
		return pass(is_space ? CLASS_UNKNOWN : CLASS_OLDER);
	return is_space ? drop(CLASS_UNKNOWN) : reset();
}

/* From a pod of this node to another node's own address. */
static __always_inline int egress_tcp_to_node(const struct edge *e, const struct flow_key *key, bool is_syn)
{
	enum edge_class class = pair_of(e, &e->dest) == PAIR_NONE ? CLASS_NOT_ENROLLED : CLASS_TO_NODE;

	/* Lockdown leaves pods the API server alone, which has TLS of its own: without it there is no DNS and no controller. */
	if (mode_of(e) == EDGE_LOCKDOWN && !is_api_server(e->packet->dest, e->packet->dest_port_be))
		return is_syn ? drop(CLASS_REFUSED) : reset();
	if (mode_of(e) == EDGE_LOCKDOWN && !is_syn)
		return pass(class);
	if (is_syn)
		return pass_flow(e, key, class);
	/* Without a record it is most likely an answer to that node's own connection. */
	return pass(passed_class(key, class == CLASS_TO_NODE ? CLASS_HOST : class));
}

/* In the middle of a diverted flow. Our own socket would acknowledge what its peer can not get: then no keepalive and no timeout of the pod's
 * kernel ever finds out. A reset is its last word, and is passed. */
static __always_inline int divert_on(const struct edge *e, const struct flow_key *key)
{
	__u32 place = e->dest.peer;
	const struct peer_value *peer = bpf_map_lookup_elem(&peers, &place);

	if (!peer || e->packet->tcp_flags & TCP_FLAG_RST)
		return divert();
	if (peer->is_silent || (peer->has_silent_flows && bpf_map_lookup_elem(&silenced, key)))
		return drop(CLASS_SILENT);
	return divert();
}

/* The SYN was held, nobody has answered it, and now one of the two nodes is not enrolled any more: it is judged anew, else it would wait until
 * its client gives up. */
static __always_inline bool is_free_again(const struct edge *e, const struct flow_key *key)
{
	return e->config->is_holding && e->dest.kind == NET_POD && pair_of(e, &e->dest) == PAIR_NONE &&
	       !has_socket(e, key, e->packet->is_v6);
}

static __always_inline int egress_tcp(const struct edge *e)
{
	const struct packet *p = e->packet;
	bool is_syn = is_syn_of(p);
	bool is_cluster = e->dest.kind == NET_POD || e->dest.kind == NET_POD_SPACE || e->dest.kind == NET_NODE;
	struct flow_value *record;
	struct flow_key key = {};

	if (e->origin == ORIGIN_OURS)
		return egress_tcp_ours(e, is_syn);
	flow_of(p, EDGE_EGRESS, &key);
	record = bpf_map_lookup_elem(&flows, &key);
	if (!is_syn) {
		if (record) {
			if (!record->has_begun)
				record->has_begun = 1;
			return divert_on(e, &key);
		}
		if (is_cluster && has_socket(e, &key, p->is_v6)) {
			record_running(e, &key);
			return divert_on(e, &key);
		}
	} else if (is_syn_again(p, record) && !is_free_again(e, &key) && is_daemon_alive(e->dest.worker, e->config->workers, p->is_v6)) {
		return divert_syn(e, &key, record->worker);
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

#endif
