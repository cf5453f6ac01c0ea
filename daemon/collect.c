/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collect.h"

#include "tunnel/pool.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fill_tunnel(struct snapshot_peer *ret, const struct tunnel *t, struct instant now)
{
	struct tls_info info = tls_session_info(t->link[FRAME_LINK_LIGHT]->tls);

	ret->state_ms = instant_elapsed_ns(t->state_since, now) / NS_PER_MS;
	ret->rtt_us = t->rtt_us;
	ret->certificate_not_after_s = t->expires_s;
	snprintf(ret->tls_version, sizeof(ret->tls_version), "%s", info.version);
	snprintf(ret->tls_group, sizeof(ret->tls_group), "%s", info.group);
	snprintf(ret->tls_cipher, sizeof(ret->tls_cipher), "%s", info.cipher);
	snprintf(ret->certificate_name, sizeof(ret->certificate_name), "%s", t->certificate_name);
	snprintf(ret->certificate_serial, sizeof(ret->certificate_serial), "%s", t->serial);
}

/* How much the state of a tunnel says about its peer; the best one is shown. */
static int rank_of(enum tunnel_state state)
{
	static const int ranks[TUNNEL_STATE_COUNT] = {
		[TUNNEL_UP] = 4, [TUNNEL_SUSPECT] = 3, [TUNNEL_DRAINING] = 2, [TUNNEL_CONNECTING] = 1, [TUNNEL_CLOSED] = 0,
	};

	return ranks[state];
}

/* What its HELLO said, or PAIR since. */
static void fill_pair(struct snapshot_peer *ret, const struct peer *p)
{
	static const uint8_t not_said[FRAME_HASH_BYTES];
	const struct frame_pair *heard = &p->heard;

	ret->pair_there = pair_state_text(heard->state);
	ret->enrolled_there = heard->enrolled_count;
	ret->is_enrolled_different = memcmp(heard->enrolled_hash, not_said, sizeof(not_said)) != 0 &&
	                             memcmp(heard->enrolled_hash, p->pool->enrolled_hash, sizeof(not_said)) != 0;
}

static void fill_peer(struct snapshot_peer *ret, const struct peer *p)
{
	struct instant now = pool_now(p->pool);
	const struct tunnel *best = NULL;

	memset(ret, 0, sizeof(*ret));
	ret->node_id = p->node_id;
	ret->state = "none";
	ret->incarnation = p->incarnation;
	ret->has_other_settings = p->settings_hash && p->settings_hash != p->pool->settings_hash;
	ret->settings_said_ns = p->settings_hash ? p->settings_said.ns : 0;
	ret->streams_waiting = p->waiting_count;
	ret->streams_total = p->streams_total;
	ret->sent_bytes = p->tx_bytes;
	ret->received_bytes = p->rx_bytes;
	ret->last_error_s = p->last_error_s;
	snprintf(ret->last_error, sizeof(ret->last_error), "%s", p->last_error ? p->last_error : "");
	if (p->retry.heap_index) {
		ret->state = "connecting"; /* between two tries */
		ret->retry_in_ms = instant_elapsed_ns(now, p->retry.deadline) / NS_PER_MS;
	}
	list_for_each(at, &p->tunnels) {
		const struct tunnel *t = container_of(at, struct tunnel, entry);

		ret->tunnels++;
		ret->streams_open += t->streams_count;
		for (uint32_t i = 0; i < t->buckets_count; i++) {
			for (const struct stream *s = t->buckets[i]; s; s = s->hash_next) {
				ret->sent_bytes += s->tx.sent;
				ret->received_bytes += s->rx.received;
			}
		}
		if (!best || rank_of(t->state) > rank_of(best->state))
			best = t;
	}
	if (!best)
		return;
	ret->state = tunnel_state_text(best->state);
	if (best->state == TUNNEL_CONNECTING) {
		ret->state_ms = instant_elapsed_ns(best->state_since, now) / NS_PER_MS;
		return;
	}
	fill_tunnel(ret, best, now);
	fill_pair(ret, p);
}

static void fill_stream(struct snapshot_stream *ret, const struct stream *s)
{
	*ret = (struct snapshot_stream){
		.id = s->id,
		.client = s->client,
		.server = s->server,
		.is_client_side = s->role == STREAM_CLIENT_SIDE,
		.state = stream_state_text(s->state),
		.age_ms = instant_elapsed_ns(s->created, pool_now(s->pool)) / NS_PER_MS,
		.sent_bytes = s->tx.sent,
		.received_bytes = s->rx.received,
		.is_sent_bulk = s->tx_link == FRAME_LINK_BULK,
		.is_received_bulk = s->rx_link == FRAME_LINK_BULK,
		.window_bytes = window_receiver_granted(&s->rx),
		.buffered_bytes = s->queue.len_bytes + (s->stash ? s->stash->len_bytes : 0),
		.send_room_bytes = window_sender_room(&s->tx),
		.reason = s->reason ? reason_text(s->reason) : "",
	};
	if (s->peer)
		memcpy(ret->peer, s->peer->name, sizeof(ret->peer));
}

static bool fits(const struct status_query *q, const char *peer)
{
	return !q->peer[0] || !strcmp(q->peer, peer);
}

static void collect_streams(const struct pool *pool, struct collect_part *part, const struct status_query *q)
{
	if (q->what == STATUS_STREAMS) {
		part->streams = calloc(pool->streams_count < q->limit ? pool->streams_count + 1 : q->limit, sizeof(*part->streams));
		part->is_out_of_memory |= !part->streams;
	}
	list_for_each(at, &pool->streams) {
		const struct stream *s = container_of(at, struct stream, all);

		part->stream_states[s->state]++;
		part->streams_open += s->state != STREAM_CLOSED;
		part->buffered_bytes += s->queue.len_bytes + (s->stash ? s->stash->len_bytes : 0);
		if (!part->streams || s->state == STREAM_CLOSED || !fits(q, s->peer ? s->peer->name : ""))
			continue;
		part->streams_matching++;
		if (part->streams_count < q->limit)
			fill_stream(&part->streams[part->streams_count++], s);
	}
}

static void fill_ended(struct snapshot_ended *ret, const struct ended *e, struct instant now)
{
	*ret = (struct snapshot_ended){
		.id = e->id,
		.client = e->client,
		.server = e->server,
		.is_client_side = e->is_client_side,
		.state = stream_state_text((enum stream_state)e->state),
		.reason = reason_text(e->reason),
		.by = ended_by_text((enum ended_by)e->by),
		.ended_ms = instant_elapsed_ns(e->ended, now) / NS_PER_MS,
		.lived_ms = instant_elapsed_ns(e->created, e->ended) / NS_PER_MS,
		.sent_bytes = e->sent_bytes,
		.received_bytes = e->received_bytes,
	};
	memcpy(ret->peer, e->peer, sizeof(ret->peer));
	static_assert(sizeof(ret->cause) == ENDED_CAUSE_BYTES, "it is printed into it");
	(void)ended_cause_print(&e->cause, ret->cause);
}

static void collect_ended(const struct pool *pool, struct collect_part *part, const struct status_query *q)
{
	const struct ended *e;

	part->ended = calloc((size_t)REASON_COUNT * ENDED_KEPT, sizeof(*part->ended));
	part->is_out_of_memory |= !part->ended;
	if (!part->ended)
		return;
	for (int reason = 0; reason < REASON_COUNT; reason++) {
		for (size_t i = 0; (e = ended_at(&pool->ended, (enum close_reason)reason, i)); i++) {
			if (fits(q, e->peer))
				fill_ended(&part->ended[part->ended_count++], e, pool_now(pool));
		}
	}
	part->streams_matching = part->ended_count;
}

static void collect_peers(const struct pool *pool, struct collect_part *part, const struct status_query *q)
{
	size_t count = 0;

	list_for_each(at, &pool->peers)
		count++;
	part->peers = calloc(count + 1, sizeof(*part->peers));
	part->is_out_of_memory |= !part->peers;
	if (!part->peers)
		return;
	list_for_each(at, &pool->peers) {
		const struct peer *p = container_of(at, struct peer, entry);

		list_for_each(tunnel, &p->tunnels)
			part->tunnels[container_of(tunnel, struct tunnel, entry)->state]++;
		if (fits(q, p->name))
			fill_peer(&part->peers[part->peers_count++], p);
	}
}

void collect_in_worker(struct pool *pool, struct collect_part *part, const struct status_query *q)
{
	part->counters = pool->counters;
	part->busy_us = lanes_busy_ns(pool) / 1000;
	part->is_full = pool->lanes.is_full;
	if (q->what == STATUS_STATUS || q->what == STATUS_PEERS || q->what == STATUS_CHECK)
		collect_peers(pool, part, q);
	if (q->what == STATUS_STATUS || q->what == STATUS_STREAMS)
		collect_streams(pool, part, q);
	if (q->what == STATUS_ENDED)
		collect_ended(pool, part, q);
}

void collect_part_done(struct collect_part *part)
{
	free(part->peers);
	free(part->streams);
	free(part->ended);
}
