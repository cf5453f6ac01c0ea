/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* steer.bpf.c - sk_lookup in the private namespace: which worker's listener gets a diverted connection.
 * The egress programs have recorded it: of the workers with a tunnel to the PEER, the node behind the destination address, or the one that is
 * home to it. Where the record was pushed out it is the peer's home. With that worker's listener gone any other will do; with none at all the
 * SYN is dropped in silence and the client's kernel tries again: never a refusal that the server did not speak. */
#include "vmlinux.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "ip.bpf.h"
#include "maps.bpf.h"
#include "shared.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define FAMILY_INET6 10

/* True where the listener at index took the connection. */
static __always_inline bool steer_to(struct bpf_sk_lookup *ctx, __u32 index)
{
	struct bpf_sock *sk = bpf_map_lookup_elem(&listeners, &index);
	long error;

	if (!sk)
		return false;
	error = bpf_sk_assign(ctx, sk, 0);
	bpf_sk_release(sk);
	return !error;
}

/* As the egress programs see it: what is remote here is a client pod, local to this node. */
static __always_inline void flow_of(const struct bpf_sk_lookup *ctx, bool is_v6, struct flow_key *ret)
{
	if (is_v6) {
		__u32 client[4] = { ctx->remote_ip6[0], ctx->remote_ip6[1], ctx->remote_ip6[2], ctx->remote_ip6[3] };
		__u32 server[4] = { ctx->local_ip6[0], ctx->local_ip6[1], ctx->local_ip6[2], ctx->local_ip6[3] };

		__builtin_memcpy(ret->local, client, 16);
		__builtin_memcpy(ret->remote, server, 16);
	} else {
		__u32 client = ctx->remote_ip4, server = ctx->local_ip4;

		addr_map_v4(ret->local, (const __u8 *)&client);
		addr_map_v4(ret->remote, (const __u8 *)&server);
	}
	ret->local_port_be = (__u16)ctx->remote_port;
	ret->remote_port_be = bpf_htons((__u16)ctx->local_port);
}

SEC("sk_lookup")
int steer(struct bpf_sk_lookup *ctx)
{
	__u32 zero = 0, is_v6 = ctx->family == FAMILY_INET6, worker;
	const struct edge_config *config = bpf_map_lookup_elem(&settings, &zero);
	struct net_key server = { .prefix_bits = 128 };
	const struct flow_value *record;
	const struct net_value *dest;
	struct flow_key flow = {};

	if (ctx->protocol != L4_TCP)
		return SK_PASS;
	if (!config)
		return SK_DROP;
	flow_of(ctx, is_v6, &flow);
	record = bpf_map_lookup_elem(&flows, &flow);
	if (record && steer_to(ctx, (__u32)record->worker * 2 + is_v6))
		return SK_PASS;
	__builtin_memcpy(server.addr, flow.remote, 16);
	dest = bpf_map_lookup_elem(&nets, &server);
	if (dest && steer_to(ctx, (__u32)dest->worker * 2 + is_v6))
		return SK_PASS;
	for (worker = 0; worker < EDGE_WORKERS_MAX; worker++) {
		if (worker >= config->workers)
			break;
		if (steer_to(ctx, worker * 2 + is_v6))
			return SK_PASS;
	}
	return SK_DROP;
}
