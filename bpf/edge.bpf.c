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
 * - A pod is told by the way its packet came (ingress_ifindex) or goes (the node's routes), not by its address alone: a new pod may send, and
 *   be sent to, before anybody named it. */
#include "vmlinux.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "egress.bpf.h"
#include "ingress.bpf.h"
#include "other.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define TC_ACT_UNSPEC (-1)
#define TC_ACT_SHOT   2

/* Sends the packet into the private namespace. Segmentation trains and partial checksums stay as they are. */
static __always_inline int redirect(struct __sk_buff *skb, bool is_l3)
{
	__u32 zero = 0;
	const struct edge_config *config = bpf_map_lookup_elem(&settings, &zero);
	const struct packet *p = packet_at(PACKET_OUTER);

	if (!config || !p)
		return TC_ACT_SHOT;
	if (is_l3) {
		__u8 head[ETH_BYTES];
		__u16 type_be = p->is_v6 ? bpf_htons(ETH_TYPE_IPV6) : bpf_htons(ETH_TYPE_IPV4);

		__builtin_memcpy(head, config->private_mac, 6);
		__builtin_memcpy(head + 6, config->host_mac, 6);
		__builtin_memcpy(head + 12, &type_be, 2);
		if (bpf_skb_change_head(skb, ETH_BYTES, 0) || bpf_skb_store_bytes(skb, 0, head, sizeof(head), 0))
			return TC_ACT_SHOT;
	} else {
		__u8 mac[6];
		__u32 i, tags = p->vlan_tags + (skb->vlan_present ? 1 : 0);

		/* The private namespace has no VLAN devices. */
		for (i = 0; i <= VLAN_TAGS_MAX; i++) {
			if (i >= tags)
				break;
			if (bpf_skb_vlan_pop(skb))
				return TC_ACT_SHOT;
		}
		__builtin_memcpy(mac, config->private_mac, 6);
		/* Else the far end takes the frame for another host's. */
		if (bpf_skb_store_bytes(skb, 0, mac, sizeof(mac), 0))
			return TC_ACT_SHOT;
	}
	return bpf_redirect(config->veth_ifindex, 0);
}

/* The one place that counts and acts. Global, so that the verifier walks it once and not for each decision. */
__noinline int carry_out(struct __sk_buff *skb, __u32 decision, __u32 direction, __u32 is_l3)
{
	__u32 action = decision & ((1 << ACTION_BITS) - 1);
	enum edge_verdict verdict = action == ACTION_DROP || action == ACTION_RESET ? EDGE_DROP : EDGE_PASS;
	__u32 index = edge_counter_index(decision >> ACTION_BITS, direction, verdict);
	struct edge_count *c;

	if (action == ACTION_LEAVE)
		return TC_ACT_UNSPEC;
	c = bpf_map_lookup_elem(&counters, &index);
	if (c) {
		c->packets++;
		c->bytes += skb->len;
	}
	if (action == ACTION_PASS)
		return TC_ACT_UNSPEC;
	if (action == ACTION_DROP || action == ACTION_HOLD)
		return TC_ACT_SHOT;
	return redirect(skb, is_l3);
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
		return mode_of(e) == EDGE_PERMISSIVE ? pass(CLASS_BYPASS) : drop(CLASS_BYPASS);
	return count_other(e);
}

static __always_inline int egress(struct __sk_buff *skb, bool is_l3, bool has_ct)
{
	__u32 zero = 0;
	const struct edge_config *config = bpf_map_lookup_elem(&settings, &zero);
	struct packet *packet = packet_at(PACKET_OUTER);
	struct edge e = { .skb = skb, .config = config, .packet = packet, .direction = EDGE_EGRESS, .has_ct = has_ct };
	int result;

	if (!config || !packet || config->version != CULVERT_SHARED_VERSION)
		return TC_ACT_UNSPEC;
	result = is_l3 ? parse_network(skb, 0, PACKET_OUTER, 0) : parse_ethernet(skb, 0, PACKET_OUTER);
	if (result == PARSE_NOT_IP)
		return TC_ACT_UNSPEC;
	return carry_out(skb, (__u32)judge_egress(&e, result), EDGE_EGRESS, is_l3);
}

static __always_inline int judge_ingress(struct edge *e, int result)
{
	const struct packet *p = e->packet;

	e->source = net_of(p->source);
	e->dest = net_of(p->dest);
	if (p->l4_proto == L4_TCP && !p->is_fragment && e->source.kind == NET_NODE && e->dest.kind == NET_SELF &&
	    (p->dest_port_be == e->config->tunnel_port_be || p->source_port_be == e->config->tunnel_port_be))
		return pass(CLASS_CARRIER);
	if (is_new_pod(e))
		e->dest = (struct net_value){ .kind = NET_OWN_POD };
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
	struct packet *packet = packet_at(PACKET_OUTER);
	struct edge e = { .skb = skb, .config = config, .packet = packet, .direction = EDGE_INGRESS };
	int result;

	if (!config || !packet || config->version != CULVERT_SHARED_VERSION)
		return TC_ACT_UNSPEC;
	result = is_l3 ? parse_network(skb, 0, PACKET_OUTER, 0) : parse_ethernet(skb, 0, PACKET_OUTER);
	if (result == PARSE_NOT_IP)
		return TC_ACT_UNSPEC;
	return carry_out(skb, (__u32)judge_ingress(&e, result), EDGE_INGRESS, is_l3);
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
