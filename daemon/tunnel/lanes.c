/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/lanes.h"

#include "tunnel/pool.h"

static bool is_alone(const struct pool *p)
{
	return p->settings->workers <= 1;
}

void lanes_init(struct pool *p)
{
	uint64_t waited_ns = loop_waited_ns(p->loop);

	p->lanes = (struct lanes){ .began = pool_now(p), .waited_before_ns = waited_ns, .since = pool_now(p), .waited_ns = waited_ns };
}

uint64_t lanes_busy_ns(const struct pool *p)
{
	uint64_t passed_ns = instant_elapsed_ns(p->lanes.began, pool_now(p)),
		 waited_ns = loop_waited_ns(p->loop) - p->lanes.waited_before_ns;

	return passed_ns > waited_ns ? passed_ns - waited_ns : 0;
}

uint32_t lanes_own(const struct pool *p, const char *node)
{
	return is_alone(p) ? 0 : p->ops->lane_of(p->ctx, node);
}

bool lanes_is_here(const struct pool *p, const char *node, uint32_t lane)
{
	return is_alone(p) || lane % p->settings->workers == lanes_own(p, node);
}

/* Since the last tick. A link that has gone took its count along: then it is 0 for a second. */
static uint64_t take_wire_bytes(struct peer *p)
{
	uint64_t before = p->wire_bytes;

	p->wire_bytes = 0;
	list_for_each(at, &p->tunnels) {
		const struct tunnel *t = container_of(at, struct tunnel, entry);

		for (int kind = FRAME_LINK_LIGHT; kind <= FRAME_LINK_BULK; kind++) {
			if (t->link[kind])
				p->wire_bytes += t->link[kind]->rx_bytes + t->link[kind]->tx_bytes;
		}
	}
	return p->wire_bytes > before ? p->wire_bytes - before : 0;
}

static void set_full(struct pool *p, uint64_t waited_ns, uint64_t passed_ns)
{
	uint64_t percent = waited_ns * 100 / passed_ns;
	bool is_full = percent < (p->lanes.is_full ? LANES_FREE_PERCENT : LANES_FULL_PERCENT);

	if (is_full == p->lanes.is_full)
		return;
	p->lanes.is_full = is_full;
	p->ops->set_full(p->ctx, is_full);
}

void lanes_tick(struct pool *p)
{
	uint64_t waited_ns = loop_waited_ns(p->loop), passed_ns = instant_elapsed_ns(p->lanes.since, pool_now(p));
	uint64_t total = 0, most = 0;
	const struct peer *largest = NULL;

	if (is_alone(p) || !passed_ns)
		return;
	list_for_each(at, &p->peers) {
		struct peer *peer = container_of(at, struct peer, entry);
		uint64_t bytes = take_wire_bytes(peer);

		total += bytes;
		if (bytes > most) {
			most = bytes;
			largest = peer;
		}
	}
	/* What runs to a node that is taken out may still fill a worker: nothing new is made for it. */
	if (largest && !pool_is_pair_enrolled(p, view_node_by_id(p->view, largest->node_id)))
		largest = NULL;
	set_full(p, waited_ns - p->lanes.waited_ns, passed_ns);
	p->lanes.since = pool_now(p);
	p->lanes.waited_ns = waited_ns;
	if (p->lanes.is_full && p->settings->tunnels_per_peer > 1 && !p->is_draining && largest && most >= total / LANES_SHARE)
		p->ops->want_lane(p->ctx, largest->node_id);
}
