/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* steer.bpf.c - sk_lookup in the private namespace: which worker's listener gets a diverted connection.
 * The connection goes to the worker that is home to the PEER, the node behind the destination address, so that a pair of nodes needs one
 * tunnel. With that worker's listener gone any other will do; with none at all the SYN is dropped in silence and the client's kernel
 * tries again: never a refusal that the server did not speak. */
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

SEC("sk_lookup")
int steer(struct bpf_sk_lookup *ctx)
{
	__u32 zero = 0, is_v6 = ctx->family == FAMILY_INET6, worker;
	const struct edge_config *config = bpf_map_lookup_elem(&settings, &zero);
	struct net_key key = { .prefix_bits = 128 };
	const struct net_value *dest;

	if (ctx->protocol != L4_TCP)
		return SK_PASS;
	if (!config)
		return SK_DROP;
	if (is_v6) {
		__u32 words[4] = { ctx->local_ip6[0], ctx->local_ip6[1], ctx->local_ip6[2], ctx->local_ip6[3] };

		__builtin_memcpy(key.addr, words, 16);
	} else {
		__u32 word = ctx->local_ip4;

		addr_map_v4(key.addr, (const __u8 *)&word);
	}
	dest = bpf_map_lookup_elem(&nets, &key);
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
