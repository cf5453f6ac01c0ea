/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* hold.bpf.h - a SYN that is to be diverted: it waits in the daemon until the far side has connected, or goes in at once. */
#ifndef CULVERT_HOLD_BPF_H
#define CULVERT_HOLD_BPF_H

#include "flows.bpf.h"

enum {
	SYN_BYTES_MIN = 40, /* IPv4 and TCP without options */
	TAG_BYTES = 4,
};
_Static_assert(ETH_BYTES + VLAN_TAGS_MAX * TAG_BYTES == EDGE_SYN_LINK_BYTES, "what stands before the IP header fits");

/* Counts the SYN as its device's. How many that has given of late. */
static __always_inline __u32 count_giver(__u32 ifindex)
{
	struct edge_giver fresh = { .since_ns = bpf_ktime_get_ns(), .count = 1 }, *giver = bpf_map_lookup_elem(&givers, &ifindex);

	if (!giver) {
		bpf_map_update_elem(&givers, &ifindex, &fresh, BPF_ANY);
		return 1;
	}
	if (fresh.since_ns - giver->since_ns > EDGE_GIVER_NS) {
		*giver = fresh;
		return 1;
	}
	return ++giver->count;
}

/* What stands before the IP header, so that the SYN can be sent on as it would have left. False: it can not. */
static __always_inline int give_link(const struct edge *e, struct edge_syn *syn)
{
	__u32 len = e->packet->l3_offset;

	syn->egress_ifindex = e->skb->ifindex;
	syn->vlan_proto_be = 0;
	syn->vlan_tci = 0;
	if (e->skb->vlan_present) {
		syn->vlan_proto_be = (__u16)e->skb->vlan_proto;
		syn->vlan_tci = (__u16)e->skb->vlan_tci;
	}
	syn->link_bytes = (__u8)len;
	/* Lengths that the verifier can read: of a range of two bounds it may keep one. */
	switch (len) {
	case 0:
		return true;
	case ETH_BYTES:
		return !bpf_skb_load_bytes(e->skb, 0, syn->link, ETH_BYTES);
	case ETH_BYTES + TAG_BYTES:
		return !bpf_skb_load_bytes(e->skb, 0, syn->link, ETH_BYTES + TAG_BYTES);
	case ETH_BYTES + 2 * TAG_BYTES:
		return !bpf_skb_load_bytes(e->skb, 0, syn->link, ETH_BYTES + 2 * TAG_BYTES);
	default:
		return false;
	}
}

static __always_inline bool may_pass(const struct edge *e)
{
	return e->origin == ORIGIN_POD && mode_of(e) == EDGE_PERMISSIVE;
}

/* Puts the headers of the SYN into the ring of the worker that the flow is recorded with; an earlier daemon may have had more of them. False: it
 * can not be held. */
static __noinline int give_syn(const struct edge *e, __u32 worker)
{
	const struct packet *p = e->packet;
	__u32 home = e->dest.worker;
	__u64 len;
	struct edge_syn *syn;
	__u8 tcp_words;
	void *ring;

	if (bpf_skb_load_bytes(e->skb, p->l4_offset + 12, &tcp_words, 1))
		return false;
	len = p->l4_offset - p->l3_offset + (tcp_words >> 4) * 4;
	if (len < SYN_BYTES_MIN || len > EDGE_SYN_BYTES)
		return false;
	ring = bpf_map_lookup_elem(&held, &worker);
	if (!ring)
		ring = bpf_map_lookup_elem(&held, &home);
	if (!ring)
		return false;
	if (count_giver(e->skb->ingress_ifindex) > EDGE_GIVER_SYNS_MAX && bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) > EDGE_HELD_BYTES / 2)
		return false;
	syn = bpf_ringbuf_reserve(ring, sizeof(*syn), 0);
	if (!syn)
		return false;
	__builtin_memcpy(syn->source, p->source, 16);
	__builtin_memcpy(syn->dest, p->dest, 16);
	syn->source_port_be = p->source_port_be;
	syn->dest_port_be = p->dest_port_be;
	syn->seq_be = p->tcp_seq_be;
	syn->len_bytes = (__u16)len;
	syn->tcp_offset = (__u16)(p->l4_offset - p->l3_offset);
	syn->ingress_ifindex = e->skb->ingress_ifindex;
	syn->may_pass = may_pass(e);
	/* The verifier wants both bounds on the very register that is used; older ones take no lower bound from a comparison with 0. */
	asm volatile("" : "+r"(len));
	if (len < SYN_BYTES_MIN || len > EDGE_SYN_BYTES || bpf_skb_load_bytes(e->skb, p->l3_offset, syn->packet, (__u32)len) ||
	    !give_link(e, syn)) {
		bpf_ringbuf_discard(syn, 0);
		return false;
	}
	bpf_ringbuf_submit(syn, 0);
	return true;
}

/* A SYN of a flow that is recorded as diverted. What the private namespace has a socket for is answered there. */
static __always_inline int divert_syn(const struct edge *e, const struct flow_key *key, __u16 worker)
{
	bool is_given;

	if (!e->config->is_holding || has_socket(e, key, e->packet->is_v6))
		return divert();
	is_given = give_syn(e, worker);
	/* In the private namespace it would be accepted, and wait for a tunnel longer than it may. */
	if (may_pass(e) && !is_peer_up(e->dest.peer))
		return drop(CLASS_HELD);
	return is_given ? CLASS_TUNNEL << ACTION_BITS | ACTION_HOLD : CLASS_UNHELD << ACTION_BITS | ACTION_DIVERT;
}

/* A new flow begins. */
static __always_inline int divert_new(const struct edge *e, const struct flow_key *key)
{
	return divert_syn(e, key, record_diverted(e, key));
}

#endif
