/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* flows.bpf.h - what is remembered of a flow: that it was diverted, or let pass and in which class, or that it began before us. */
#ifndef CULVERT_FLOWS_BPF_H
#define CULVERT_FLOWS_BPF_H

#include "judge.bpf.h"

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

static __always_inline __u32 syn_seq_of(const struct packet *p)
{
	return is_syn_of(p) ? p->tcp_seq_be : 0;
}

/* A new connection from a port of which only the SYN was seen stays with the worker that may hold that: two would connect to the server under
 * one address. One that was refused long ago, maybe by way of an earlier daemon, says nothing: that worker may have no tunnel. */
static __always_inline __u16 worker_for(const struct edge *e, const struct flow_key *key)
{
	const struct flow_value *record = bpf_map_lookup_elem(&flows, key);
	bool may_be_held = record && !record->has_begun && bpf_ktime_get_ns() - record->since_ns < EDGE_HELD_NS;

	return may_be_held ? record->worker : next_worker(&e->dest);
}

/* A flow that begins. Returns the worker that takes it. */
static __always_inline __u16 record_diverted(const struct edge *e, const struct flow_key *key)
{
	struct flow_value value = {
		.since_ns = bpf_ktime_get_ns(),
		.worker = worker_for(e, key),
		.syn_seq_be = syn_seq_of(e->packet),
	};

	bpf_map_update_elem(&flows, key, &value, BPF_ANY);
	bpf_map_delete_elem(&passed, key);
	return value.worker;
}

/* One that the private namespace has a socket of: no listener takes it any more. */
static __always_inline void record_running(const struct edge *e, const struct flow_key *key)
{
	struct flow_value value = { .since_ns = bpf_ktime_get_ns(), .worker = e->dest.worker, .has_begun = 1 };

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
	if (!record || record->edge_class >= CLASS_COUNT || mode_of(e) == EDGE_LOCKDOWN ||
	    (e->config->is_older_reset && mode_of(e) == EDGE_STRICT))
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

#endif
