/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/rx_half.h"

#include "tunnel/pool.h"
#include "tunnel/silence.h"
#include "tunnel/streams.h"
#include "tunnel/turn.h"
#include "tunnel/tx_half.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { QUEUE_PARTS = 16 };

static void stream_delivered(struct stream *s, size_t len_bytes)
{
	window_receiver_delivered(&s->rx, len_bytes, pool_now(s->pool));
	s->pool->counters.rx_bytes += len_bytes;
	if (s->tunnel)
		streams_consumed(s->tunnel, len_bytes);
	if (s->rx_half == HALF_OPEN && window_receiver_is_due(&s->rx))
		stream_wants_frames(s, STREAM_SEND_WINDOW);
}

/* The pod takes nothing any more. What it sent before may still wait to be read; the end of that decides. */
static void stream_write_failed(struct stream *s)
{
	s->is_write_failed = true;
	s->urgent_end = 0;
	stream_delivered(s, s->queue.len_bytes);
	queue_done(&s->queue);
	if (s->tx_half != HALF_OPEN || window_sender_room(&s->tx) == 0 || !s->tunnel) {
		stream_fail(s, REASON_POD_RESET);
		return;
	}
	s->is_read_ending = true;
	stream_read_unannounced(s);
}

/* All that came was handed over and no more will come. */
static void shut_pod(struct stream *s)
{
	uint64_t held = s->rx.received - s->rx.delivered;

	/* No more comes, so what lies here is all that the peer can make us hold; its answer may take hours. */
	if (held < s->budgeted_bytes)
		stream_set_budgeted(s, (uint32_t)held);
	if (s->queue.len_bytes)
		return;
	s->rx_half = HALF_SHUT;
	silence_speak(s);
	if (shutdown(s->source.fd, SHUT_WR) < 0)
		stream_fail(s, REASON_POD_RESET);
}

void stream_pass_end(struct stream *s)
{
	list_remove(&s->ending);
	if (s->rx_half == HALF_DRAINING && s->state == STREAM_OPEN)
		shut_pod(s);
	if (s->tx_half == HALF_SHUT && s->rx_half == HALF_SHUT && s->state == STREAM_OPEN)
		stream_step(s, STREAM_EV_ENDED);
}

static ssize_t pod_write(int fd, const struct iovec *part, int parts, int flags)
{
	struct msghdr msg = { .msg_iov = (struct iovec *)part, .msg_iovlen = (size_t)parts };
	ssize_t n;

	do {
		n = parts == 1 ? send(fd, part->iov_base, part->iov_len, flags | MSG_NOSIGNAL) : sendmsg(fd, &msg, flags | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n;
}

/* The first of these parts, with no more than so many bytes. Returns their number. */
static int cut_parts(struct iovec *part, int parts, uint64_t max_bytes)
{
	for (int i = 0; i < parts; i++) {
		if (part[i].iov_len >= max_bytes) {
			part[i].iov_len = (size_t)max_bytes;
			return i + 1;
		}
		max_bytes -= part[i].iov_len;
	}
	return parts;
}

/* One write of what lies at the head of the queue: up to an urgent byte, or that byte alone, since the kernel marks the last byte that a call
 * took, and may take less than all. */
static ssize_t write_queue(struct stream *s)
{
	struct iovec part[QUEUE_PARTS];
	int parts = queue_peek(&s->queue, part, QUEUE_PARTS);
	uint64_t before = s->urgent_end ? s->urgent_end - 1 - s->rx.delivered : UINT64_MAX;
	ssize_t n;

	if (before)
		return pod_write(s->source.fd, part, cut_parts(part, parts, before), 0);
	n = pod_write(s->source.fd, part, cut_parts(part, parts, 1), MSG_OOB);
	if (n > 0)
		s->urgent_end = 0;
	return n;
}

void stream_flush_queue(struct stream *s)
{
	silence_speak(s);
	while (s->queue.len_bytes && !s->is_write_blocked) {
		ssize_t n = write_queue(s);

		if (n < 0) {
			if (errno == EAGAIN)
				s->is_write_blocked = true;
			else
				stream_write_failed(s);
			return;
		}
		queue_drop(&s->queue, (size_t)n);
		stream_delivered(s, (size_t)n);
	}
	stream_pass_end(s);
}

void stream_deliver(struct stream *s, const struct iovec *part, int parts, size_t len_bytes, bool is_end_next)
{
	ssize_t n = 0;
	size_t skip;

	if (s->is_write_failed) {
		stream_delivered(s, len_bytes);
		return;
	}
	silence_speak(s);
	if (s->state == STREAM_OPEN && !s->queue.len_bytes && !s->is_write_blocked && !s->urgent_end) {
		n = pod_write(s->source.fd, part, parts, is_end_next ? MSG_MORE : 0); /* shutdown() sends both */
		if (n < 0 && errno != EAGAIN) {
			stream_delivered(s, len_bytes);
			stream_write_failed(s);
			return;
		}
		if (n < (ssize_t)len_bytes)
			s->is_write_blocked = n < 0; /* after a part the next try says EAGAIN, and only that promises an event */
		if (n < 0)
			n = 0;
		if (n)
			stream_delivered(s, (size_t)n);
		s->is_corked = is_end_next;
	}
	skip = (size_t)n;
	for (int i = 0; i < parts; i++) {
		if (skip >= part[i].iov_len) {
			skip -= part[i].iov_len;
			continue;
		}
		if (queue_append(&s->queue, (const uint8_t *)part[i].iov_base + skip, part[i].iov_len - skip)) {
			if (s->tunnel) /* what is not in the queue is given up here, the rest by the close */
				streams_consumed(s->tunnel, s->rx.received - s->rx.delivered - s->queue.len_bytes - stream_stashed(s));
			stream_fail(s, REASON_NO_RESOURCES);
			return;
		}
		skip = 0;
	}
	if (s->queue.len_bytes && s->state == STREAM_OPEN && !s->is_write_blocked)
		stream_flush_queue(s);
}

void stream_on_urgent(struct stream *s)
{
	/* What lies aside came on the other link, and follows later. */
	if (!s->is_write_failed)
		s->urgent_end = s->rx.received - stream_stashed(s);
}

bool stream_stash(struct stream *s, const void *bytes, size_t len_bytes, bool is_urgent)
{
	if (!s->stash) {
		s->stash = malloc(sizeof(*s->stash));
		if (!s->stash)
			return false;
		queue_init(s->stash);
	}
	if (queue_append(s->stash, bytes, len_bytes))
		return false;
	if (is_urgent)
		s->stash_urgent = s->stash->len_bytes;
	return true;
}

void stream_on_switch(struct stream *s, enum frame_link link)
{
	s->rx_link = link;
	if (s->stash) {
		if (s->stash_urgent && !s->is_write_failed)
			s->urgent_end = s->rx.received - s->stash->len_bytes + s->stash_urgent;
		queue_splice(&s->queue, s->stash);
		free(s->stash);
		s->stash = NULL;
	}
	if (s->is_stash_ended) {
		s->is_stash_ended = false;
		s->rx_half = HALF_DRAINING;
	}
	if (s->is_write_failed) {
		size_t held = s->queue.len_bytes;

		queue_done(&s->queue);
		stream_delivered(s, held);
	} else if (s->state == STREAM_OPEN && !s->is_write_blocked) {
		stream_flush_queue(s);
	}
}

void stream_on_end(struct stream *s)
{
	s->rx_half = HALF_DRAINING;
	if (s->is_corked)
		stream_pass_end(s);
	else
		turn_owe_end(s->pool, s);
}

void stream_on_window(struct stream *s, uint8_t flags, const struct frame_window *m)
{
	if (flags & FRAME_WINDOW_ACCEPT) {
		uint64_t granted;

		if (!window_receiver_accepted(&s->rx, m->limit)) {
			tunnel_close(s->tunnel, REASON_PROTOCOL, "WINDOW with ACCEPT that was not asked for");
			return;
		}
		if (s->rx_half != HALF_OPEN)
			return;
		granted = window_receiver_granted(&s->rx);
		stream_set_budgeted(s, granted > s->rx.size ? (uint32_t)granted : s->rx.size);
		if (window_receiver_is_due(&s->rx))
			stream_wants_frames(s, STREAM_SEND_WINDOW);
		return;
	}
	switch (window_sender_update(&s->tx, m->delivered, m->limit, flags & FRAME_WINDOW_ASK)) {
	case WINDOW_TAKEN:
		break;
	case WINDOW_ACCEPT:
		stream_wants_frames(s, STREAM_SEND_ACCEPT);
		break;
	case WINDOW_INVALID:
		tunnel_close(s->tunnel, REASON_PROTOCOL, "WINDOW acknowledges more than was sent");
		return;
	}
	stream_update_turn(s);
}

void stream_reclaim(struct stream *s)
{
	if (s->state == STREAM_OPEN && s->rx_half == HALF_OPEN && window_receiver_ask(&s->rx, WINDOW_FLOOR_BYTES, pool_now(s->pool)))
		stream_wants_frames(s, STREAM_SEND_ASK);
}
