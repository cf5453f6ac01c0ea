/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/inbound.h"

#include "base/log.h"
#include "tunnel/admission.h"
#include "tunnel/peer.h"
#include "tunnel/pool.h"
#include "tunnel/rx_half.h"
#include "tunnel/silence.h"
#include "tunnel/streams.h"
#include "tunnel/turn.h"

#include <stdio.h>
#include <string.h>

enum {
	DELIVERIES_MAX = 16, /* in one turn of a link: more make whole batches march in step between the two nodes (measured) */
};

static void tunnel_broken(struct tunnel *t, const char *text)
{
	tunnel_close(t, REASON_PROTOCOL, text);
}

/* Has that id been used? Then what comes for it and finds no stream is late, else it is wrong. */
static bool is_id_used(const struct tunnel *t, uint32_t id)
{
	return streams_is_own_id(t, id) ? id < t->next_id : id <= t->peer_highest_id;
}

static void on_hello(struct tunnel *t, struct link *l, const struct frame *f)
{
	struct frame_hello m;
	enum frame_result r = frame_get_hello(f, &m);

	if (r != FRAME_OK) {
		tunnel_broken(t, frame_result_text(r));
		return;
	}
	if (l->has_hello) {
		tunnel_broken(t, "a second HELLO");
		return;
	}
	if (strcmp(m.node, t->peer->name) != 0) {
		tunnel_close(t, REASON_CERTIFICATE, "HELLO names another node than the one that was called");
		return;
	}
	if (memcmp(m.tunnel_id, t->id, sizeof(t->id)) != 0 || m.link != l->kind || (t->incarnation && m.incarnation != t->incarnation)) {
		tunnel_broken(t, "HELLO does not belong to this tunnel");
		return;
	}
	loop_timer_clear(l->loop, &l->deadline);
	l->has_hello = true;
	if (l->kind == FRAME_LINK_LIGHT)
		tunnel_up(t, &m);
}

static void on_open(struct tunnel *t, const struct link *l, const struct frame *f)
{
	struct frame_open m;
	enum frame_result r = frame_get_open(f, &m);

	if (r != FRAME_OK) {
		tunnel_broken(t, frame_result_text(r));
		return;
	}
	if (streams_is_own_id(t, f->stream) || f->stream <= t->peer_highest_id) {
		tunnel_broken(t, "OPEN with a stream id that was used or is ours");
		return;
	}
	/* Twice what was said is no misunderstanding about which streams have ended. */
	if (t->peer_streams_count >= 2 * TUNNEL_STREAMS_MAX) {
		tunnel_broken(t, "more streams than HELLO allowed");
		return;
	}
	/* A peer that reads takes them within a round trip; each costs us a stream's memory until then. */
	if (t->resets_count >= TUNNEL_RESETS_MAX && l->is_tx_blocked) {
		tunnel_close(t, REASON_OVER_BUDGET, "the peer opens streams, and does not read that they are refused");
		return;
	}
	t->peer_highest_id = f->stream;
	t->pool->counters.requested++;
	if (stream_requested(t, f->stream, &m))
		tunnel_close(t, REASON_NO_RESOURCES, "no memory for a stream");
}

static void on_opened(struct tunnel *t, struct stream *s, const struct frame *f)
{
	struct frame_opened m;
	enum frame_result r = frame_get_opened(f, &m);

	if (r != FRAME_OK)
		tunnel_broken(t, frame_result_text(r));
	else if (s->state == STREAM_OPENING)
		stream_on_opened(s, &m);
	else if (s->state != STREAM_CLOSED)
		tunnel_broken(t, "OPENED for a stream that was not asked for");
}

static void on_taken(struct tunnel *t, struct stream *s)
{
	if (!s || s->state == STREAM_CLOSED)
		return;
	if (s->is_optimistic || !s->is_ack_late || !s->has_nonce) {
		tunnel_broken(t, "TAKEN that nobody waits for");
		return;
	}
	if (s->state == STREAM_OPEN)
		turn_owe_ack(t->pool, s);
}

static void on_data(struct tunnel *t, struct link *l, struct stream *s, const struct frame *f)
{
	if (f->len_bytes > t->rx_limit - t->rx_received) {
		tunnel_broken(t, "DATA beyond the tunnel's credit");
		return;
	}
	t->rx_received += f->len_bytes;
	if (!s || s->state == STREAM_CLOSED) {
		streams_consumed(t, f->len_bytes);
		return;
	}
	/* An END that is put aside came on the new link: what comes on the old one, up to the SWITCH, was sent before it. */
	if (s->rx_half != HALF_OPEN || (s->is_stash_ended && l->kind != s->rx_link)) {
		tunnel_broken(t, "DATA after END");
		return;
	}
	if (s->role == STREAM_CLIENT_SIDE && !s->has_nonce) {
		tunnel_broken(t, "DATA before OPENED");
		return;
	}
	if (!window_receiver_data(&s->rx, f->len_bytes)) {
		tunnel_broken(t, "DATA beyond the stream's window");
		return;
	}
	if (l->kind == s->rx_link) {
		if (f->flags & FRAME_DATA_URGENT)
			stream_on_urgent(s);
		turn_deliver(t->pool, s, f->payload, f->len_bytes);
	} else if (s->rx_link == FRAME_LINK_BULK) {
		tunnel_broken(t, "DATA on the link that the stream has left");
	} else if (!stream_stash(s, f->payload, f->len_bytes, f->flags & FRAME_DATA_URGENT)) {
		streams_consumed(t, s->rx.received - s->rx.delivered - s->queue.len_bytes - stream_stashed(s));
		stream_fail(s, REASON_NO_RESOURCES);
	}
}

static void on_end(struct tunnel *t, struct link *l, struct stream *s, const struct frame *f)
{
	uint64_t offset;
	enum frame_result r = frame_get_end(f, &offset);

	if (r != FRAME_OK) {
		tunnel_broken(t, frame_result_text(r));
		return;
	}
	if (!s || s->state == STREAM_CLOSED)
		return;
	if (s->rx_half != HALF_OPEN || s->is_stash_ended || (s->role == STREAM_CLIENT_SIDE && !s->has_nonce)) {
		tunnel_broken(t, "END where none may be");
		return;
	}
	if (l->kind == s->rx_link) {
		if (offset != s->rx.received) {
			tunnel_broken(t, "END with another offset than was sent");
			return;
		}
		stream_on_end(s);
	} else if (s->rx_link == FRAME_LINK_BULK) {
		tunnel_broken(t, "END on the link that the stream has left");
	} else {
		/* Its offset is checked when the SWITCH says that nothing is missing. */
		s->is_stash_ended = true;
		s->end_offset = offset;
	}
}

static void on_switch(struct tunnel *t, struct stream *s, const struct frame *f)
{
	struct frame_switch m;
	enum frame_result r = frame_get_switch(f, &m);

	if (r != FRAME_OK) {
		tunnel_broken(t, frame_result_text(r));
		return;
	}
	if (!s || s->state == STREAM_CLOSED)
		return;
	if (m.link != FRAME_LINK_BULK || m.link == s->rx_link || s->rx_half != HALF_OPEN ||
	    m.offset != s->rx.received - stream_stashed(s) ||
	    !t->link[FRAME_LINK_BULK]) { /* its HELLO may still be on its way: another connection */
		tunnel_broken(t, "SWITCH that does not fit the stream");
		return;
	}
	if (s->is_stash_ended && s->end_offset != s->rx.received) {
		tunnel_broken(t, "END with another offset than was sent");
		return;
	}
	t->has_taken_switch = true;
	stream_on_switch(s, m.link);
}

static void on_reset(struct tunnel *t, struct stream *s, const struct frame *f)
{
	struct frame_reset m;
	enum frame_result r = frame_get_reset(f, &m);
	enum close_reason reason;

	if (r != FRAME_OK) {
		tunnel_broken(t, frame_result_text(r));
		return;
	}
	if (!s)
		return;
	reason = m.reason < REASON_COUNT && m.reason ? (enum close_reason)m.reason : REASON_POD_RESET;
	/* Whether its client has given up is ours to say: a connection that comes all the same would be begun a second time. */
	if (reason == REASON_CLIENT_GONE && s->role == STREAM_CLIENT_SIDE)
		reason = REASON_POD_RESET;
	stream_on_reset(s, reason);
}

/* Whose word it is, the peer's node's or one of its pods', is checked; else the server's, whose word the RESET is anyway. */
static void on_cause(struct tunnel *t, struct stream *s, const struct frame *f)
{
	const struct view_node *node = view_node_by_name(t->pool->view, t->peer->name);
	struct frame_cause m;
	enum frame_result r = frame_get_cause(f, &m);

	if (r != FRAME_OK) {
		tunnel_broken(t, frame_result_text(r));
		return;
	}
	if (!s || s->state != STREAM_OPENING || !s->held)
		return;
	if (!node || view_judge(t->pool->view, &m.from, node, true) != VIEW_YES || addr_is_v4(&m.from) != addr_is_v4(&s->server.addr))
		m.from = s->server.addr;
	s->cause = m;
}

static void on_silent(struct tunnel *t, struct stream *s, const struct frame *f)
{
	bool is_silent;
	enum frame_result r = frame_get_silent(f, &is_silent);

	if (r != FRAME_OK)
		tunnel_broken(t, frame_result_text(r));
	else if (s && (s->state == STREAM_OPENING || s->state == STREAM_JUDGING || s->state == STREAM_DIALING))
		tunnel_broken(t, "SILENT before OPENED");
	else if (s && s->state != STREAM_CLOSED)
		silence_hear(s, is_silent);
}

static void on_window(struct tunnel *t, struct stream *s, const struct frame *f)
{
	struct frame_window m;
	enum frame_result r = frame_get_window(f, &m);

	if (r != FRAME_OK) {
		tunnel_broken(t, frame_result_text(r));
		return;
	}
	if (f->stream) {
		if (s && s->state != STREAM_CLOSED)
			stream_on_window(s, f->flags, &m);
		return;
	}
	if (m.delivered > t->tx_sent || f->flags & (FRAME_WINDOW_ASK | FRAME_WINDOW_ACCEPT)) {
		tunnel_broken(t, "WINDOW of the tunnel that can not be");
		return;
	}
	if (m.limit > t->tx_limit)
		t->tx_limit = m.limit;
	tunnel_want_send(t, FRAME_LINK_LIGHT);
	tunnel_want_send(t, FRAME_LINK_BULK);
}

static void on_ping(struct tunnel *t, const struct frame *f)
{
	uint64_t token, rtt_us;
	enum frame_result r = frame_get_ping(f, &token);

	if (r != FRAME_OK) {
		tunnel_broken(t, frame_result_text(r));
		return;
	}
	if (!(f->flags & FRAME_PING_ANSWER)) {
		/* The latest is enough: a peer that asks faster than it reads gets one answer. */
		t->pong_token = token;
		t->pending |= TUNNEL_SEND_PONG;
		tunnel_want_send(t, FRAME_LINK_LIGHT);
		return;
	}
	if (!t->is_ping_out || token != t->ping_token)
		return;
	t->is_ping_out = false;
	rtt_us = instant_elapsed_ns(t->ping_sent, pool_now(t->pool)) / 1000;
	if (rtt_us > UINT32_MAX / 8)
		rtt_us = UINT32_MAX / 8;
	/* RFC 6298's gain for the mean. */
	t->rtt_us = t->rtt_us ? (uint32_t)((t->rtt_us * UINT64_C(7) + rtt_us) / 8) : (uint32_t)(rtt_us ? rtt_us : 1);
}

static void on_goaway(struct tunnel *t, struct link *l, const struct frame *f)
{
	struct frame_goaway m;
	enum frame_result r = frame_get_goaway(f, &m);
	enum close_reason reason;
	char text[PEER_ERROR_BYTES];

	if (r != FRAME_OK) {
		tunnel_broken(t, frame_result_text(r));
		return;
	}
	if (!l->has_hello) {
		snprintf(text, sizeof(text), "the peer refused: %.200s (%s)", m.text, reason_text(m.reason));
		link_fail(l, REASON_CERTIFICATE, text);
		return;
	}
	reason = m.reason < REASON_COUNT ? (enum close_reason)m.reason : REASON_DRAINING;
	/* First of all: a stream that goes elsewhere must not come back to this one. */
	t->has_goaway = true;
	if (reason == REASON_IDLE)
		peer_tunnel_idle(t->peer, t);
	tunnel_drain(t, reason);
	for (uint32_t i = 0; i < t->buckets_count; i++) {
		for (struct stream *s = t->buckets[i], *next; s; s = next) {
			next = s->hash_next;
			if (streams_is_own_id(t, s->id) && s->id > m.last_stream) {
				s->is_peers_word = true;
				stream_not_taken(s, reason);
			}
		}
	}
	tunnel_want_send(t, FRAME_LINK_LIGHT);
}

static void on_pair(struct tunnel *t, const struct frame *f)
{
	struct frame_pair m;
	enum frame_result r = frame_get_pair(f, &m);

	if (r != FRAME_OK)
		tunnel_broken(t, frame_result_text(r));
	else
		peer_hear(t->peer, &m);
}

static void on_frame(struct tunnel *t, struct link *l, const struct frame *f)
{
	struct stream *s = NULL;

	if (!l->has_hello && f->type != FRAME_HELLO && f->type != FRAME_GOAWAY) {
		tunnel_broken(t, "a frame before HELLO");
		return;
	}
	if (l->kind == FRAME_LINK_BULK && f->type != FRAME_HELLO && f->type != FRAME_DATA && f->type != FRAME_END &&
	    f->type != FRAME_RESET && f->type != FRAME_CAUSE &&
	    !(f->type == FRAME_GOAWAY && !l->has_hello)) { /* instead of HELLO it refuses this link only */
		tunnel_broken(t, "a control frame on the bulk link");
		return;
	}
	if (f->stream && f->type != FRAME_OPEN) {
		s = streams_find(t, f->stream);
		if (!s && !is_id_used(t, f->stream)) {
			tunnel_broken(t, "a frame for a stream that was never opened");
			return;
		}
	}
	switch (f->type) {
	case FRAME_HELLO:
		on_hello(t, l, f);
		return;
	case FRAME_OPEN:
		on_open(t, l, f);
		return;
	case FRAME_OPENED:
		if (s)
			on_opened(t, s, f);
		return;
	case FRAME_TAKEN:
		on_taken(t, s);
		return;
	case FRAME_DATA:
		on_data(t, l, s, f);
		return;
	case FRAME_END:
		on_end(t, l, s, f);
		return;
	case FRAME_RESET:
		on_reset(t, s, f);
		return;
	case FRAME_CAUSE:
		on_cause(t, s, f);
		return;
	case FRAME_SILENT:
		on_silent(t, s, f);
		return;
	case FRAME_SWITCH:
		on_switch(t, s, f);
		return;
	case FRAME_WINDOW:
		on_window(t, s, f);
		return;
	case FRAME_PING:
		on_ping(t, f);
		return;
	case FRAME_GOAWAY:
		on_goaway(t, l, f);
		return;
	case FRAME_PAIR:
		on_pair(t, f);
		return;
	default:
		return; /* frame_next lets no other through */
	}
}

/* Does f end the stream whose data is in hand? */
static bool is_end_of_delivery(const struct pool *pool, const struct tunnel *t, const struct frame *f)
{
	const struct stream *s = pool->delivery.stream;

	return f->type == FRAME_END && s->tunnel == t && s->id == f->stream;
}

/* An OPEN that was taken has cost a connect(), as much as a delivery; one that was refused costs nothing. */
static bool has_dialed(const struct tunnel *t, uint32_t id)
{
	const struct stream *s = streams_find(t, id);

	return s && s->state != STREAM_CLOSED;
}

bool inbound_turn(struct tunnel *t, struct link *l, size_t max_bytes)
{
	struct pool *pool = t->pool;
	bool has_received = false;
	uint32_t deliveries = 0;
	struct frame f;

	for (;;) {
		enum link_result r = link_next_frame(l, &f);

		if (r == LINK_EMPTY) {
			/* The parts in hand lie in the buffer that is filled next. */
			turn_flush_delivery(pool, false);
			if (t->state == TUNNEL_CLOSED)
				return false;
			if (has_received) {
				link_rest(l);
				break;
			}
			has_received = true;
			r = link_receive(l, max_bytes);
			if (r == LINK_FRAME)
				continue;
			if (r == LINK_EMPTY)
				break;
		}
		if (r == LINK_INVALID) {
			turn_flush_delivery(pool, false);
			tunnel_broken(t, l->invalid);
		}
		if (r != LINK_FRAME)
			return false;
		if (t->state == TUNNEL_SUSPECT || t->is_silent)
			tunnel_answers_again(t);
		if (pool->delivery.stream &&
		    (f.type != FRAME_DATA || f.stream != pool->delivery.stream->id || pool->delivery.stream->tunnel != t)) {
			turn_flush_delivery(pool, is_end_of_delivery(pool, t, &f));
			deliveries++;
			if (t->state == TUNNEL_CLOSED)
				return false;
		}
		on_frame(t, l, &f);
		if (t->state == TUNNEL_CLOSED || l->state != LINK_OPEN)
			return false;
		deliveries += f.type == FRAME_OPEN && has_dialed(t, f.stream);
		if (deliveries >= DELIVERIES_MAX) {
			turn_flush_delivery(pool, false);
			break;
		}
	}
	return t->state != TUNNEL_CLOSED && link_has_input(l);
}
