/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/outbound.h"

#include "tunnel/hello.h"
#include "tunnel/pool.h"
#include "tunnel/streams.h"
#include "tunnel/tx_half.h"

static bool put_tunnel_frame(struct tunnel *t, struct link *l, uint8_t which)
{
	struct instant now = pool_now(t->pool);
	uint8_t *dst = link_reserve(l);

	if (!dst)
		return false;
	t->pending &= (uint8_t)~which;
	switch (which) {
	case TUNNEL_SEND_GOAWAY: {
		/* All that is on its way to us is still taken: streams are not lost because two messages crossed. */
		struct frame_goaway m = { .last_stream = UINT32_MAX, .reason = (uint16_t)t->drain_reason };

		link_commit(l, frame_put_goaway(dst, &m));
		return true;
	}
	case TUNNEL_SEND_PING:
		t->ping_token++;
		t->ping_sent = now;
		t->rx_at_ping = t->rx_received;
		t->is_ping_out = true;
		link_commit(l, frame_put_ping(dst, 0, t->ping_token));
		return true;
	case TUNNEL_SEND_PONG:
		link_commit(l, frame_put_ping(dst, FRAME_PING_ANSWER, t->pong_token));
		return true;
	case TUNNEL_SEND_CREDIT:
		/* Streams may have ended since it was owed: what was told once stands. */
		if (!streams_owe_credit(t))
			return true;
		t->rx_limit = t->rx_consumed + streams_credit(t);
		link_commit(l, frame_put_window(dst, 0, 0, &(struct frame_window){ t->rx_consumed, t->rx_limit }));
		return true;
	case TUNNEL_SEND_PAIR: {
		struct frame_pair m;

		hello_describe_pair(t->pool, t->peer, &m);
		link_commit(l, frame_put_pair(dst, &m));
		return true;
	}
	}
	return true;
}

static bool put_control(struct tunnel *t, struct link *l)
{
	uint8_t first;

	while ((first = t->pending & (uint8_t)~TUNNEL_SEND_GOAWAY)) {
		if (!put_tunnel_frame(t, l, (uint8_t)(first & -first)))
			return false;
	}
	while (!list_is_empty(&t->control)) {
		if (!stream_send_frames(container_of(t->control.next, struct stream, control), l, false))
			return false;
		if (t->state == TUNNEL_CLOSED)
			return false;
	}
	/* Behind the OPENs that are owed: after it none comes. */
	return !(t->pending & TUNNEL_SEND_GOAWAY) || put_tunnel_frame(t, l, TUNNEL_SEND_GOAWAY);
}

static bool put_last(struct tunnel *t, struct link *l)
{
	while (!list_is_empty(&t->last[l->kind])) {
		if (!stream_send_frames(container_of(t->last[l->kind].next, struct stream, last), l, true))
			return false;
	}
	return true;
}

static void put_data(struct tunnel *t, struct link *l, size_t max_bytes)
{
	int32_t quantum = l->kind == FRAME_LINK_LIGHT ? STREAM_READ_SMALL_BYTES : (int32_t)max_bytes;
	struct schedule_entry *e;
	size_t left = max_bytes;

	while (left && (e = schedule_next(&t->turns[l->kind], quantum))) {
		struct stream *s = container_of(e, struct stream, turn);
		size_t room = link_room(l), n;

		if (room > left)
			room = left;
		/* It may overdraw, and waits for it later: crumbs of a quantum would make crumbs of frames. */
		if (room > (size_t)quantum)
			room = (size_t)quantum;
		if (room > tunnel_send_room(t))
			room = tunnel_send_room(t);
		if (!room)
			return;
		n = stream_send_data(s, l, room);
		schedule_charge(e, (uint32_t)n);
		t->tx_sent += n;
		left -= n;
		/* Nothing came and it still has its turn: the link has no room. */
		if (!n && schedule_has(e) && s->is_read_ready)
			return;
	}
}

bool outbound_turn(struct tunnel *t, struct link *l, size_t max_bytes)
{
	bool is_more;

	if (!link_can_send(l) || !l->has_hello)
		return false;
	if ((l->kind != FRAME_LINK_LIGHT || put_control(t, l)) && put_last(t, l)) {
		put_data(t, l, max_bytes);
		(void)put_last(t, l); /* ends that were just read go with their data */
	}
	if (t->state == TUNNEL_CLOSED || link_flush(l))
		return false;
	if (!link_can_send(l))
		return false; /* EPOLLOUT brings it back */
	if (tunnel_is_over(t)) {
		tunnel_close(t, t->drain_reason, "drained");
		return false;
	}
	is_more = (l->kind == FRAME_LINK_LIGHT && (t->pending || !list_is_empty(&t->control))) || !list_is_empty(&t->last[l->kind]) ||
	          (!schedule_is_empty(&t->turns[l->kind]) && tunnel_send_room(t));
	/* What was read here asked for a turn, and had part in this one. A tunnel that ends looks once more whether it may. */
	if (!is_more && t->state != TUNNEL_DRAINING)
		list_remove(&l->tx_entry);
	return is_more;
}
