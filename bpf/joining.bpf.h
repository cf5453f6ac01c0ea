/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* joining.bpf.h - TCP between the pods of two nodes of which not both are known to refuse plaintext, in both directions. */
#ifndef CULVERT_JOINING_BPF_H
#define CULVERT_JOINING_BPF_H

#include "flows.bpf.h"

/* Pod to pod, at a time when not both nodes are enrolled, or may not have told each other. */
static __always_inline int tcp_not_joined(const struct edge *e, const struct flow_key *key, const struct net_value *other, enum pair pair)
{
	enum edge_class class = pair == PAIR_JOINING ? CLASS_JOINING : other->kind == NET_POD_SPACE ? CLASS_UNKNOWN : CLASS_NOT_ENROLLED;

	if (mode_of(e) == EDGE_LOCKDOWN)
		return drop(CLASS_REFUSED);
	if (is_syn_of(e->packet))
		return pass_flow(e, key, class);
	/* Of those that began while the pair joins the SYN was seen. */
	return pass_on(e, key, pair == PAIR_JOINING ? CLASS_OLDER : class);
}

#endif
