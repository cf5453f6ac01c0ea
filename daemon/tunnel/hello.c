/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/hello.h"

#include "tunnel/pool.h"

#include <string.h>

void hello_send(struct pool *pool, struct link *l, const uint8_t id[16], bool is_peer_enrolled)
{
	struct frame_hello m = {
		.incarnation = pool->settings->incarnation,
		.features = FRAME_FEATURE_BULK_LINK,
		.initial_credit_bytes = WINDOW_INITIAL_BYTES,
		.streams_max = TUNNEL_STREAMS_MAX,
		.tunnel_credit_bytes = TUNNEL_CREDIT_MIN_BYTES,
		.link = l->kind,
		.settings_hash = pool->settings->settings_hash,
		.enrolled_count = (uint32_t)view_nodes_count(pool->view),
		.is_peer_enrolled = is_peer_enrolled,
	};
	uint8_t *dst = link_reserve(l);

	if (!dst)
		return; /* no memory: the other side's deadline ends it */
	memcpy(m.tunnel_id, id, sizeof(m.tunnel_id));
	memcpy(m.node, pool->settings->node, sizeof(m.node));
	link_commit(l, frame_put_hello(dst, &m));
	l->has_sent_hello = true;
	(void)link_flush(l);
}
