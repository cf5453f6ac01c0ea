/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/admission.h"

#include "net/sock.h"
#include "tunnel/pool.h"
#include "tunnel/rx_half.h"
#include "tunnel/streams.h"
#include "tunnel/tx_half.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
	DIAL_PATIENCE_MS =
		5000, /* so long for a port that the pods' last connection still holds: the client has sent its SYN twice again by then */
	POD_EVENTS = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | (int)EPOLLET,
};

/* The client of a stream that was begun by its SYN. */
static void stream_take_connection(struct stream *s, int fd)
{
	s->held = NULL;
	s->source.fd = fd;
	if (loop_add(s->pool->loop, &s->source, POD_EVENTS)) {
		stream_fail(s, REASON_NO_RESOURCES);
		return;
	}
	/* Where it came in by another way than ours, the far side is still to say that it is connected. */
	if (s->state != STREAM_ACCEPTING)
		return;
	stream_step(s, STREAM_EV_ACCEPTED);
	stream_flush_queue(s);
}

void stream_accepted(struct pool *pool, int fd, const struct endpoint *client, const struct endpoint *server)
{
	struct stream *s;

	switch (held_accept(pool, client, server, &s)) {
	case HELD_STREAM:
		stream_take_connection(s, fd);
		return;
	case HELD_OVER:
		close(fd); /* a reset, which the far side's was */
		return;
	case HELD_NONE:
		break;
	}
	s = stream_create(pool, STREAM_CLIENT_SIDE, fd, client, server);
	if (!s) {
		close(fd); /* a reset: SO_LINGER came from the listener */
		pool->counters.closed[REASON_NO_RESOURCES]++;
		return;
	}
	if (loop_add(pool->loop, &s->source, POD_EVENTS)) {
		stream_fail(s, REASON_NO_RESOURCES);
		return;
	}
	if (!stream_reserve(s)) {
		stream_fail(s, REASON_OVER_BUDGET);
		return;
	}
	s->is_optimistic = true;
	/* Who connects mostly asks something at once: it goes with the OPEN. */
	stream_read_unannounced(s);
	stream_judge(s);
}

void stream_held(struct pool *pool, struct held *h)
{
	struct stream *s = stream_create(pool, STREAM_CLIENT_SIDE, -1, &h->syn.client, &h->syn.server);

	if (!s) {
		pool->counters.closed[REASON_NO_RESOURCES]++;
		held_end(pool, h, REASON_NO_RESOURCES, NULL);
		return;
	}
	s->held = h;
	h->stream = s;
	stream_judge(s);
}

int stream_requested(struct tunnel *t, uint32_t id, const struct frame_open *open)
{
	struct stream *s = stream_create(t->pool, STREAM_SERVER_SIDE, -1, &open->client, &open->server);

	if (!s)
		return -ENOMEM;
	s->peer = t->peer;
	s->id = id;
	s->is_announced = true;
	s->is_optimistic = open->is_optimistic;
	s->is_ack_late = open->is_optimistic || t->features & FRAME_FEATURE_TAKEN;
	memcpy(s->peer_nonce, open->nonce, sizeof(s->peer_nonce));
	window_sender_init(&s->tx, t->peer_initial_credit);
	streams_insert(t, s);
	if (!stream_reserve(s) || t->peer_streams_count > TUNNEL_STREAMS_MAX)
		stream_fail(s, REASON_OVER_BUDGET);
	else
		stream_judge(s);
	return 0;
}

/* A client may use its port again as soon as its own kernel is done with the last connection. Here that one's end may still be on its way,
 * since an OPEN goes before what waits behind data, or the server pod has not acknowledged it. */
static bool stream_waits_for_port(const struct stream *s, int error)
{
	return (error == -EADDRNOTAVAIL || error == -EADDRINUSE) &&
	       instant_elapsed_ns(s->created, pool_now(s->pool)) < DIAL_PATIENCE_MS * NS_PER_MS;
}

static void stream_dial_failed(struct stream *s, int error)
{
	struct frame_cause *cause = &s->cause;

	if (!sock_take_icmp(s->source.fd, &cause->type, &cause->code, &cause->from))
		cause->type = 0;
	stream_fail(s, reason_from_errno(error));
}

static void stream_dialed(struct stream *s)
{
	sock_connected_transparent(s->source.fd, &s->server);
	if (s->is_optimistic)
		list_append(&s->pool->openeds, &s->owed);
	else
		stream_wants_frames(s, STREAM_SEND_OPENED);
	stream_step(s, STREAM_EV_CONNECTED);
	stream_flush_queue(s);
}

void stream_dial_done(struct stream *s)
{
	int error = sock_error(s->source.fd);

	if (error)
		stream_dial_failed(s, error);
	else
		stream_dialed(s);
}

void stream_dial(struct stream *s)
{
	struct pool *pool = s->pool;
	bool is_pending;
	int fd = pool->ops->connect_pod(pool->ctx, &s->client, &s->server, s->is_ack_late, &is_pending), error;

	if (list_is_linked(&s->place)) {
		list_remove(&s->place);
		s->tunnel->judging_count--;
	}
	s->reason = REASON_FINISHED;
	if (fd < 0) {
		if (stream_waits_for_port(s, fd))
			stream_step(s, STREAM_EV_DIALED);
		else
			stream_fail(s, reason_from_errno(-fd));
		return;
	}
	s->source.fd = fd;
	if (loop_add(pool->loop, &s->source, POD_EVENTS)) {
		stream_fail(s, REASON_NO_RESOURCES);
		return;
	}
	stream_step(s, STREAM_EV_DIALED);
	if (!is_pending) {
		stream_dialed(s);
		return;
	}
	/* A refusal that came while connect() still ran is kept aside as a soft error, and would count only a second later. */
	error = sock_error(fd);
	if (error)
		stream_dial_failed(s, error);
}

static void stream_judge_client_side(struct stream *s)
{
	struct pool *pool = s->pool;
	enum view_verdict source = view_judge(pool->view, &s->client.addr, view_self(pool->view), true);
	struct view_answer server = view_lookup(pool->view, &s->server.addr);

	if (source == VIEW_YES && server.kind == VIEW_POD && !(server.flags & VIEW_ENTRY_ENDING) && !server.owner->is_self) {
		struct peer *p = peer_get(pool, server.owner);

		list_remove(&s->place);
		if (!p) {
			stream_fail(s, REASON_NO_RESOURCES);
			return;
		}
		s->peer = p;
		peer_assign(p, s);
		return;
	}
	if (!list_is_linked(&s->place))
		list_append(&pool->unknown, &s->place);
	stream_step(s, STREAM_EV_UNKNOWN);
}

static void stream_judge_server_side(struct stream *s)
{
	struct pool *pool = s->pool;
	const struct view_node *node = view_node_by_name(pool->view, s->peer->name);
	enum view_verdict source = node ? view_judge(pool->view, &s->client.addr, node, true) : VIEW_UNKNOWN;
	enum view_verdict server = view_judge(pool->view, &s->server.addr, view_self(pool->view), false);

	if (source == VIEW_YES && server == VIEW_YES) {
		stream_dial(s);
		return;
	}
	s->reason = source == VIEW_OTHERS ? REASON_FOREIGN_ADDRESS : source == VIEW_UNKNOWN ? REASON_UNKNOWN_ADDRESS : REASON_NOT_HERE;
	if (list_is_linked(&s->place))
		return;
	if (s->tunnel->judging_count >= TUNNEL_JUDGING_MAX) {
		stream_fail(s, REASON_OVER_BUDGET);
		return;
	}
	s->tunnel->judging_count++;
	list_append(&s->tunnel->judging, &s->place);
	stream_step(s, STREAM_EV_UNKNOWN);
}

void stream_judge(struct stream *s)
{
	if (s->state == STREAM_WAITING)
		stream_judge_client_side(s);
	else if (s->state == STREAM_JUDGING)
		stream_judge_server_side(s);
}
