/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* ingress.bpf.h - plaintext TCP that arrives by an edge: refused between enrolled nodes' pods, else let pass and counted. And who is a pod of
 * this node: what the daemon has named, and what the node's own routes lead to. */
#ifndef CULVERT_INGRESS_BPF_H
#define CULVERT_INGRESS_BPF_H

#include "flows.bpf.h"
#include "joining.bpf.h"

enum { FAMILY_V4 = 2, FAMILY_V6 = 10 };

/* Would the node's routes lead the packet to one of its pods? By a device that faces pods, or that nobody has told of yet, as that of a new
 * pod. By one that may face them only what is known to be some pod's: else it may be any machine behind it. Global, so that the verifier
 * walks it once. */
__noinline int leads_to_pod(struct __sk_buff *skb, __u32 is_space)
{
	const struct packet *p = packet_at(PACKET_OUTER);
	const struct device_value *device;
	struct bpf_fib_lookup way = {};
	__u32 ifindex;
	long rc;

	if (!p)
		return false;
	way.family = p->is_v6 ? FAMILY_V6 : FAMILY_V4;
	way.l4_protocol = p->l4_proto;
	way.ifindex = skb->ifindex;
	if (p->is_v6) {
		__builtin_memcpy(way.ipv6_src, p->source, 16);
		__builtin_memcpy(way.ipv6_dst, p->dest, 16);
	} else {
		__builtin_memcpy(&way.ipv4_src, p->source + 12, 4);
		__builtin_memcpy(&way.ipv4_dst, p->dest + 12, 4);
	}
	rc = bpf_fib_lookup(skb, &way, sizeof(way), 0);
	if (rc != BPF_FIB_LKUP_RET_SUCCESS && rc != BPF_FIB_LKUP_RET_NO_NEIGH && rc != BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return false;
	ifindex = way.ifindex;
	device = bpf_map_lookup_elem(&devices, &ifindex);
	if (!device || device->role == DEVICE_POD)
		return true;
	return device->role == DEVICE_EDGE && device->flags & DEVICE_MAY_FACE_PODS && is_space;
}

/* A pod that nobody has named yet, and that others of the cluster talk to. What outsiders say to it is not asked for: a node that is a way
 * to elsewhere would pay for each packet. */
static __always_inline bool is_new_pod(const struct edge *e)
{
	if (e->dest.kind != NET_POD_SPACE && e->dest.kind != NET_OUTSIDE)
		return false;
	if (e->source.kind != NET_POD && e->source.kind != NET_POD_SPACE && e->source.kind != NET_NODE)
		return false;
	return leads_to_pod(e->skb, e->dest.kind == NET_POD_SPACE);
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
	if (mode_of(e) == EDGE_PERMISSIVE && is_syn)
		return pass_flow(e, key, is_space ? CLASS_UNKNOWN : CLASS_PERMISSIVE);
	if (mode_of(e) != EDGE_LOCKDOWN && !is_syn) {
		if (is_to_learn(config, key) && !bpf_map_lookup_elem(&flows, key)) {
			record_passed(key, e->packet, CLASS_OLDER);
			return pass(CLASS_OLDER);
		}
		if (mode_of(e) == EDGE_PERMISSIVE)
			return pass(is_space ? CLASS_UNKNOWN : CLASS_OLDER);
	}
	return drop(is_space ? CLASS_UNKNOWN : CLASS_REFUSED);
}

/* Between a pod and the API server on a node, whichever of both sends. */
static __always_inline bool is_with_api_server(const struct edge *e, bool is_syn)
{
	const struct packet *p = e->packet;

	if (e->dest.kind == NET_SELF)
		return is_api_server(p->dest, p->dest_port_be);
	return !is_syn && is_api_server(p->source, p->source_port_be);
}

/* Between a node itself and a pod: class names the side that began it. */
static __always_inline int ingress_tcp_node(const struct edge *e, const struct flow_key *key, bool is_syn, enum edge_class class,
                                            enum edge_class answers)
{
	if (mode_of(e) == EDGE_LOCKDOWN)
		return is_with_api_server(e, is_syn) ? pass(CLASS_TO_NODE) : drop(CLASS_REFUSED);
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
			return mode_of(e) == EDGE_LOCKDOWN && !is_with_api_server(e, is_syn) ? drop(CLASS_REFUSED)
			                                                                     : pass(CLASS_NOT_ENROLLED);
		return ingress_tcp_node(e, &key, is_syn, CLASS_HOST, CLASS_TO_NODE);
	case NET_OUTSIDE:
		if (is_syn)
			note_outside(e, &key);
		return pass(CLASS_OUTSIDE);
	default:
		return leave();
	}
}

#endif
