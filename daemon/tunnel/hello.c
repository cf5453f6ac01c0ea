/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/hello.h"

#include "tunnel/peer.h"
#include "tunnel/pool.h"

#include <string.h>

/* FNV-1a with 128 bits (docs/protocol.md, section 3): it finds differences between honest nodes, and nothing is decided by it. */
typedef unsigned __int128 hash128;
#define FNV_PRIME  (((hash128)1 << 88) + 0x13b)
#define FNV_OFFSET (((hash128)0x6c62272e07bb0142 << 64) + 0x62b821756295c58d)

void hello_hash_enrolled(const struct view *v, uint32_t *ret_count, uint8_t ret_hash[FRAME_HASH_BYTES])
{
	hash128 hash = FNV_OFFSET;
	uint32_t count = 0;

	for (size_t i = 0; i < view_nodes_count(v); i++) {
		const struct view_node *n = view_node_at(v, i);
		size_t len_bytes = strlen(n->name) + 1; /* with its end, so that two names never run into each other */

		if (!n->is_enrolled)
			continue;
		count++;
		for (size_t k = 0; k < len_bytes; k++)
			hash = (hash ^ (uint8_t)n->name[k]) * FNV_PRIME;
	}
	*ret_count = count;
	for (size_t k = FRAME_HASH_BYTES; k-- > 0; hash >>= 8)
		ret_hash[k] = (uint8_t)hash;
}

void hello_describe_pair(const struct pool *pool, const struct peer *to, struct frame_pair *ret)
{
	ret->state = to->told;
	ret->enrolled_count = pool->enrolled_count;
	ret->settings_hash = pool->settings_hash;
	memcpy(ret->enrolled_hash, pool->enrolled_hash, sizeof(ret->enrolled_hash));
}

void hello_send(struct pool *pool, struct link *l, const uint8_t tunnel_id[16], struct peer *to)
{
	struct frame_hello m = {
		.incarnation = pool->settings->incarnation,
		.features = FRAME_FEATURE_BULK_LINK | FRAME_FEATURE_TAKEN,
		.initial_credit_bytes = WINDOW_INITIAL_BYTES,
		.streams_max = TUNNEL_STREAMS_MAX,
		.tunnel_credit_bytes = TUNNEL_CREDIT_MIN_BYTES,
		.link = l->kind,
		.lane = l->role == TLS_CLIENT ? lanes_own(pool, to->name) : 0,
	};
	uint8_t *dst = link_reserve(l);

	if (!dst)
		return;
	peer_review_pair(to);
	hello_describe_pair(pool, to, &m.pair);
	memcpy(m.tunnel_id, tunnel_id, sizeof(m.tunnel_id));
	memcpy(m.node, pool->settings->node, sizeof(m.node));
	link_commit(l, frame_put_hello(dst, &m));
	l->has_sent_hello = true;
	(void)link_flush(l);
}
