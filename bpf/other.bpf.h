/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* other.bpf.h - what is not an ordinary TCP packet: what can not be classified, other protocols, and TCP inside a tunnel of the CNI or a pod. */
#ifndef CULVERT_OTHER_BPF_H
#define CULVERT_OTHER_BPF_H

#include "flows.bpf.h"

static __always_inline int judge_unclassifiable(const struct edge *e)
{
	enum pair pair = pair_of_pods(e);

	if (pair == PAIR_NONE)
		return leave();
	if (is_excluded(e, e->packet, &e->source, &e->dest, false))
		return pass(CLASS_EXCLUDED);
	/* It may belong to a flow that passes. */
	if (mode_of(e) == EDGE_PERMISSIVE || (mode_of(e) == EDGE_STRICT && pair == PAIR_JOINING))
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
	const struct packet *inner = packet_at(PACKET_INNER);
	struct flow_key key = {};
	struct net_value source, dest;
	bool is_syn;
	int result;

	result = parse_inner(e->skb, e->packet);
	if (!inner || result == PARSE_NOT_IP || (result == PARSE_OK && inner->l4_proto != L4_TCP))
		return false;
	source = net_of(inner->source);
	dest = net_of(inner->dest);
	if (source.kind != NET_OWN_POD || dest.kind != NET_POD || pair_of(e, &dest) != PAIR_JOINED)
		return false;
	is_syn = is_syn_of(inner);
	if (is_excluded(e, inner, &source, &dest, is_syn))
		return false;
	if (result != PARSE_OK || inner->is_fragment)
		return true;
	flow_of(inner, EDGE_EGRESS, &key);
	if (bpf_map_lookup_elem(&passed, &key))
		return mode_of(e) == EDGE_LOCKDOWN;
	if (!is_syn && is_to_learn(e->config, &key) && !bpf_map_lookup_elem(&flows, &key)) {
		record_passed(&key, inner, CLASS_OLDER);
		return false;
	}
	return true;
}

#endif
