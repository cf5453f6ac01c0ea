/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/tx_half.h"

#include "net/sock.h"
#include "tunnel/pool.h"
#include "tunnel/streams.h"
#include "tunnel/turn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

enum {
	WANT_BULK_WINDOW = 256 * 1024, /* a window that grew to this is used by bulk */
};

/* OPENED that waits a turn goes with whatever goes sooner: nothing of a stream may go before it. */
static bool stream_holds_opened(const struct stream *s)
{
	return s->is_optimistic && s->is_ack_late && list_is_linked(&s->owed);
}

void stream_wants_frames(struct stream *s, uint16_t pending)
{
	struct tunnel *t = s->tunnel;

	if (stream_holds_opened(s)) {
		list_remove(&s->owed);
		turn_owe_ack(s->pool, s);
		pending |= STREAM_SEND_OPENED;
	}
	s->pending |= pending;
	if (!t)
		return;
	if (pending & STREAM_SEND_LAST) {
		if (!list_is_linked(&s->last))
			list_append(&t->last[s->tx_link], &s->last);
		tunnel_want_send(t, s->tx_link);
	}
	if (pending & ~STREAM_SEND_LAST) {
		if (!list_is_linked(&s->control))
			list_append(&t->control, &s->control);
		tunnel_want_send(t, FRAME_LINK_LIGHT);
	}
}

/* --- from the pod to the tunnel --- */

void stream_update_turn(struct stream *s)
{
	struct tunnel *t = s->tunnel;
	bool wants = t && s->is_read_ready && s->tx_half == HALF_OPEN &&
	             (s->state == STREAM_OPEN || (s->state == STREAM_OPENING && s->is_optimistic)) && window_sender_room(&s->tx) > 0;

	if (!wants) {
		schedule_remove(&s->turn);
		return;
	}
	if (stream_holds_opened(s))
		stream_wants_frames(s, STREAM_SEND_OPENED);
	schedule_add(&t->turns[s->tx_link], &s->turn);
	tunnel_want_send(t, s->tx_link);
}

void stream_read_unannounced(struct stream *s)
{
	s->is_read_ready = s->is_read_urgent = true;
	stream_update_turn(s);
}

/* Reads are counted, not bytes: a fast ping-pong moves as many bytes as a copy, but never much at once. */
static void stream_note_read(struct stream *s, struct link *l, size_t len_bytes)
{
	struct instant now = pool_now(s->pool);
	bool is_known_open;

	s->pool->counters.tx_bytes += len_bytes;
	if (l->kind == FRAME_LINK_BULK)
		return;
	if (len_bytes < STREAM_LARGE_READ_BYTES) {
		s->pool->light_active = now;
		return;
	}
	if (instant_elapsed_ns(s->large_since, now) > STREAM_BULK_MS * NS_PER_MS) {
		s->large_since = now;
		s->large_bytes = 0;
	}
	s->large_bytes += (uint32_t)len_bytes;
	if (s->large_bytes < STREAM_BULK_BYTES)
		return;
	s->large_bytes = 0;
	/* Only where the other side is known to have the stream open, by OPENED or by a WINDOW: they go on another connection than the data would. */
	is_known_open = s->role == STREAM_CLIENT_SIDE ? s->state == STREAM_OPEN : s->tx.delivered > 0;
	if (tunnel_has_bulk(s->tunnel) && is_known_open)
		stream_wants_frames(s, STREAM_SEND_SWITCH);
	else
		tunnel_want_bulk(s->tunnel);
}

/* Takes the error that the pod's socket announced. SO_ERROR must not be asked while something is to be read: it would turn the reset into an end. */
void stream_pod_failed(struct stream *s)
{
	int error = sock_error(s->source.fd);

	stream_fail(s, error ? reason_from_errno(error) : REASON_POD_RESET);
}

static void stream_pod_ended(struct stream *s)
{
	s->is_read_ready = false;
	schedule_remove(&s->turn);
	if (s->is_write_failed) {
		/* It ended one way and answers the other with a reset: what it would not take was lost, and the far side must know. */
		stream_fail(s, REASON_POD_RESET);
		return;
	}
	/* A SWITCH that was due stays pending, and is dropped when its turn comes: END goes where the data went. */
	s->tx_half = HALF_DRAINING;
	s->is_pod_first = s->rx_half == HALF_OPEN;
	stream_wants_frames(s, STREAM_SEND_END);
}

size_t stream_send_data(struct stream *s, struct link *l, size_t max_bytes)
{
	size_t wanted = 0, room = window_sender_room(&s->tx);
	uint8_t flags = 0;
	ssize_t n;

	if (room > max_bytes)
		room = max_bytes;
	if (s->is_read_small && room > STREAM_READ_TINY_BYTES)
		room = STREAM_READ_TINY_BYTES;
	/* The kernel ends a read before an urgent byte, which it announces. */
	if (s->is_read_urgent && sock_is_at_mark(s->source.fd)) {
		room = 1;
		flags = FRAME_DATA_URGENT;
	}
	n = link_read_data(l, s->source.fd, s->id, flags, room, &wanted);
	if (n > 0) {
		s->is_read_small = n < STREAM_READ_TINY_BYTES;
		window_sender_sent(&s->tx, (uint64_t)n);
		stream_note_read(s, l, (size_t)n);
		if (flags)
			s->is_read_urgent = false;
		/* Less than wanted is all there is, or all before an urgent byte. */
		if ((size_t)n < wanted && !s->is_read_ending) {
			if (s->is_read_urgent)
				s->is_read_urgent = sock_is_at_mark(s->source.fd);
			s->is_read_ready = s->is_read_urgent;
		}
		stream_update_turn(s);
		if (s->is_pod_failed && window_sender_room(&s->tx) == 0)
			stream_pod_failed(s); /* the peer may never make room, and must know */
		return (size_t)n;
	}
	if (n == 0) {
		stream_pod_ended(s);
	} else if (n == -EAGAIN || n == -EINTR) {
		s->is_read_ready = n == -EINTR;
		if (n == -EAGAIN)
			s->is_read_urgent = false; /* the byte is still on its way: it is announced again */
		stream_update_turn(s);
	} else if (n != -ENOBUFS) {
		stream_fail(s, reason_from_errno((int)-n));
	}
	return 0;
}

/* --- frames --- */

static uint32_t window_wanted(const struct stream *s, struct instant now)
{
	const uint32_t *largest = s->tunnel->window_largest;
	uint32_t size = window_receiver_wanted(&s->rx, (uint64_t)s->tunnel->rtt_us * 1000, now);

	/* Where bytes lie here it is our pod that is slow. */
	if (size > s->rx.size || s->queue.len_bytes)
		return size;
	return window_receiver_followed(&s->rx, largest[0] > largest[1] ? largest[0] : largest[1], now);
}

static void stream_put_window(struct stream *s, struct link *l, uint8_t *dst)
{
	struct instant now = pool_now(s->pool);
	uint32_t size = window_wanted(s, now);
	uint64_t granted;

	if (size > s->rx.size && size > s->budgeted_bytes) {
		if (budget_reserve_growth(s->pool->settings->budget, size - s->budgeted_bytes)) {
			streams_granted(s->tunnel, size - s->budgeted_bytes);
			s->budgeted_bytes = size;
		} else {
			size = s->rx.size; /* idle streams are asked in the next tick */
		}
	}
	window_receiver_update(&s->rx, size, now);
	if (size > s->tunnel->window_largest[0])
		s->tunnel->window_largest[0] = size;
	/* After an ACCEPT more may have stood than the window; by now it was delivered. */
	granted = window_receiver_granted(&s->rx);
	if (s->budgeted_bytes > size && s->budgeted_bytes > granted)
		stream_set_budgeted(s, granted > size ? (uint32_t)granted : size);
	if (size >= WANT_BULK_WINDOW)
		tunnel_want_bulk(s->tunnel);
	link_commit(l, frame_put_window(dst, s->id, 0, &(struct frame_window){ s->rx.delivered, s->rx.limit }));
}

static void stream_put_open(struct stream *s, struct link *l, uint8_t *dst)
{
	struct frame_open open = { .client = s->client, .server = s->server, .is_optimistic = s->is_optimistic };

	pool_random(s->pool, s->nonce, sizeof(s->nonce));
	memcpy(open.nonce, s->nonce, sizeof(open.nonce));
	s->is_announced = true;
	link_commit(l, frame_put_open(dst, s->id, &open));
}

static void stream_put_opened(struct stream *s, struct link *l, uint8_t *dst)
{
	struct frame_opened opened = { 0 };
	int mss = 0;
	socklen_t len = sizeof(mss);

	/* What the held client's SYN-ACK will say. */
	if (!s->is_optimistic && !getsockopt(s->source.fd, IPPROTO_TCP, TCP_MAXSEG, &mss, &len) && mss > 0)
		opened.mss_bytes = (uint32_t)mss;
	pool_random(s->pool, s->nonce, sizeof(s->nonce));
	memcpy(opened.nonce, s->nonce, sizeof(opened.nonce));
	s->has_nonce = true;
	link_commit(l, frame_put_opened(dst, s->id, &opened));
}

/* The lowest pending frame of mask; the stream may be gone after RESET. */
static void stream_put_frame(struct stream *s, struct link *l, uint8_t *dst, uint16_t which)
{
	size_t len_bytes;

	s->pending &= (uint16_t)~which;
	switch (which) {
	case STREAM_SEND_OPEN:
		stream_put_open(s, l, dst);
		return;
	case STREAM_SEND_OPENED:
		stream_put_opened(s, l, dst);
		return;
	case STREAM_SEND_SWITCH:
		if (s->tx_link == FRAME_LINK_BULK || s->tx_half != HALF_OPEN)
			return;
		link_commit(l, frame_put_switch(dst, s->id, &(struct frame_switch){ s->tx.sent, FRAME_LINK_BULK }));
		schedule_remove(&s->turn);
		s->tx_link = FRAME_LINK_BULK;
		stream_update_turn(s);
		return;
	case STREAM_SEND_WINDOW:
		if (s->rx_half == HALF_OPEN && window_receiver_is_due(&s->rx))
			stream_put_window(s, l, dst);
		return;
	case STREAM_SEND_ASK:
		link_commit(l, frame_put_window(dst, s->id, FRAME_WINDOW_ASK,
		                                &(struct frame_window){ s->rx.delivered, window_receiver_asked(&s->rx) }));
		return;
	case STREAM_SEND_ACCEPT:
		link_commit(l, frame_put_window(dst, s->id, FRAME_WINDOW_ACCEPT, &(struct frame_window){ s->tx.sent, s->tx.limit }));
		return;
	case STREAM_SEND_SILENT:
		link_commit(l, frame_put_silent(dst, s->id, s->is_pod_silent));
		return;
	case STREAM_SEND_TAKEN:
		link_commit(l, frame_put_taken(dst, s->id));
		return;
	case STREAM_SEND_END:
		link_commit(l, frame_put_end(dst, s->id, s->tx.sent));
		s->tx_half = HALF_SHUT;
		if (s->rx_half == HALF_SHUT)
			turn_owe_end(s->pool, s);
		return;
	case STREAM_SEND_RESET:
		len_bytes = s->role == STREAM_SERVER_SIDE && s->cause.type ? frame_put_cause(dst, s->id, &s->cause) : 0;
		if (s->pending & STREAM_SEND_TAKEN)
			len_bytes += frame_put_taken(dst + len_bytes, s->id);
		len_bytes += frame_put_reset(dst + len_bytes, s->id, &(struct frame_reset){ s->tx.sent, s->reason });
		link_commit(l, len_bytes);
		stream_destroy(s);
		return;
	}
}

bool stream_send_frames(struct stream *s, struct link *l, bool is_last)
{
	uint16_t mask = is_last ? STREAM_SEND_LAST : (uint16_t)~STREAM_SEND_LAST;
	uint16_t left;

	while ((left = s->pending & mask)) {
		uint16_t which = (uint16_t)(left & -left);
		uint8_t *dst = link_reserve(l);

		if (!dst)
			return false;
		/* Off the list before its last frame is made: making it may put the stream back, or end it. */
		if (left == which)
			list_remove(is_last ? &s->last : &s->control);
		stream_put_frame(s, l, dst, which);
	}
	return true;
}
