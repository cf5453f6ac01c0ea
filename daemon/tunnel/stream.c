/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/stream.h"

#include "base/log.h"
#include "net/sock.h"
#include "tunnel/pool.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	DIAL_AGAIN_MS = 5,       /* a port that the last connection between the same two pods still holds is tried again so soon, ... */
	DIAL_PATIENCE_MS = 5000, /* ... and so long: the client has sent its SYN twice again by then */
	DRAIN_CHECK_MS = 1000,   /* the kernel wakes us when the pod has acknowledged; this is for the case that it does not */
	WANT_BULK_WINDOW = 256 * 1024, /* a window that grew to this is used by bulk */
	QUEUE_PARTS = 16,
	POD_EVENTS = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | (int)EPOLLET,
};

static_assert(sizeof(struct stream) <= 768, "thousands of idle streams: see the budget in ARCHITECTURE.md");

static const char *const state_names[STREAM_STATE_COUNT] = {
	[STREAM_WAITING] = "waiting", [STREAM_OPENING] = "opening", [STREAM_JUDGING] = "judging", [STREAM_DIALING] = "dialing",
	[STREAM_OPEN] = "open",       [STREAM_CLOSING] = "closing", [STREAM_CLOSED] = "closed",
};
static const char *const event_names[STREAM_EVENT_COUNT] = {
	[STREAM_EV_ATTACHED] = "attached", [STREAM_EV_DETACHED] = "detached",   [STREAM_EV_UNKNOWN] = "unknown",
	[STREAM_EV_DIALED] = "dialed",     [STREAM_EV_CONNECTED] = "connected", [STREAM_EV_OPENED] = "opened",
	[STREAM_EV_ENDED] = "ended",       [STREAM_EV_DRAINED] = "drained",     [STREAM_EV_FAILED] = "failed",
};

const char *stream_state_text(enum stream_state state)
{
	return state < STREAM_STATE_COUNT ? state_names[state] : "?";
}

static void stream_set_state(struct stream *s, enum stream_state state, enum stream_event event);

/* --- making and freeing --- */

static void stream_free(struct loop_garbage *g)
{
	free(container_of(g, struct stream, garbage));
}

static void stream_on_deadline(struct loop_timer *t);
static void stream_on_event(struct loop_source *src, uint32_t events);

static struct stream *stream_create(struct pool *pool, enum stream_role role, int fd, const struct endpoint *client,
                                    const struct endpoint *server)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->source = (struct loop_source){ .fd = fd, .on_event = stream_on_event };
	s->deadline.on_expire = stream_on_deadline;
	s->garbage.free_fn = stream_free;
	s->pool = pool;
	s->role = role;
	s->state = role == STREAM_CLIENT_SIDE ? STREAM_WAITING : STREAM_JUDGING;
	s->client = *client;
	s->server = *server;
	s->created = pool_now(pool);
	list_init(&s->place);
	list_init(&s->control);
	list_init(&s->last);
	schedule_entry_init(&s->turn);
	queue_init(&s->queue);
	window_receiver_init(&s->rx, WINDOW_INITIAL_BYTES, s->created);
	list_append(&pool->streams, &s->all);
	pool->streams_count++;
	return s;
}

/* Last of all: nothing but the batch in hand may still point at it. */
static void stream_destroy(struct stream *s)
{
	assert(s->state == STREAM_CLOSED && s->source.fd < 0);
	if (s->tunnel)
		tunnel_detach(s->tunnel, s);
	list_remove(&s->all);
	list_remove(&s->place);
	list_remove(&s->control);
	list_remove(&s->last);
	loop_free_later(s->pool->loop, &s->garbage);
	pool_stream_gone(s->pool);
}

static bool stream_reserve(struct stream *s)
{
	if (!budget_reserve(s->pool->settings->budget, WINDOW_INITIAL_BYTES))
		return false;
	s->budgeted_bytes = WINDOW_INITIAL_BYTES;
	if (s->tunnel)
		tunnel_granted(s->tunnel, WINDOW_INITIAL_BYTES);
	return true;
}

static void stream_set_budgeted(struct stream *s, uint32_t bytes)
{
	if (s->tunnel)
		s->tunnel->budgeted_bytes += (uint64_t)bytes - s->budgeted_bytes;
	if (bytes < s->budgeted_bytes)
		budget_release(s->pool->settings->budget, s->budgeted_bytes - bytes);
	s->budgeted_bytes = bytes;
}

/* --- the state machine --- */

void stream_step(struct stream *s, enum stream_event event)
{
	switch ((enum stream_state)s->state) {
	case STREAM_WAITING:
		switch (event) {
		case STREAM_EV_ATTACHED:
			stream_set_state(s, STREAM_OPENING, event);
			return;
		case STREAM_EV_UNKNOWN:
			stream_set_state(s, STREAM_WAITING, event);
			return;
		case STREAM_EV_FAILED:
			stream_set_state(s, STREAM_CLOSED, event);
			return;
		default:
			break;
		}
		break;
	case STREAM_OPENING:
		switch (event) {
		case STREAM_EV_OPENED:
			stream_set_state(s, STREAM_OPEN, event);
			return;
		case STREAM_EV_DETACHED:
			stream_set_state(s, STREAM_WAITING, event);
			return;
		case STREAM_EV_FAILED:
			stream_set_state(s, STREAM_CLOSED, event);
			return;
		default:
			break;
		}
		break;
	case STREAM_JUDGING:
		switch (event) {
		case STREAM_EV_UNKNOWN:
			stream_set_state(s, STREAM_JUDGING, event);
			return;
		case STREAM_EV_DIALED:
			stream_set_state(s, STREAM_DIALING, event);
			return;
		case STREAM_EV_FAILED:
			stream_set_state(s, STREAM_CLOSED, event);
			return;
		default:
			break;
		}
		break;
	case STREAM_DIALING:
		switch (event) {
		case STREAM_EV_DIALED:
			stream_set_state(s, STREAM_DIALING, event);
			return;
		case STREAM_EV_CONNECTED:
			stream_set_state(s, STREAM_OPEN, event);
			return;
		case STREAM_EV_FAILED:
			stream_set_state(s, STREAM_CLOSED, event);
			return;
		default:
			break;
		}
		break;
	case STREAM_OPEN:
		switch (event) {
		case STREAM_EV_ENDED:
			stream_set_state(s, STREAM_CLOSING, event);
			return;
		case STREAM_EV_FAILED:
			stream_set_state(s, STREAM_CLOSED, event);
			return;
		default:
			break;
		}
		break;
	case STREAM_CLOSING:
		switch (event) {
		case STREAM_EV_DRAINED:
		case STREAM_EV_FAILED:
			stream_set_state(s, STREAM_CLOSED, event);
			return;
		default:
			break;
		}
		break;
	case STREAM_CLOSED:
		return;
	case STREAM_STATE_COUNT:
		break;
	}
	/* Our own mistake; the peer's are found before they become events. */
	assert(!"an event that this state does not know");
	s->reason = REASON_PROTOCOL;
	stream_set_state(s, STREAM_CLOSED, STREAM_EV_FAILED);
}

static void stream_set_deadline(struct stream *s, struct instant since, uint64_t ms)
{
	/* Without memory for a timer the stream lives without a deadline: the pod's own patience ends it. */
	(void)loop_timer_set(s->pool->loop, &s->deadline, instant_add_ms(since, ms));
}

static void stream_wants_frames(struct stream *s, uint8_t pending)
{
	struct tunnel *t = s->tunnel;

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

static void stream_close_socket(struct stream *s, bool is_orderly)
{
	if (s->source.fd < 0)
		return;
	loop_remove(s->pool->loop, &s->source);
	if (is_orderly)
		sock_set_reset_on_close(s->source.fd, false);
	close(s->source.fd);
	s->source.fd = -1;
}

static void stream_discard(struct stream *s)
{
	size_t held = s->queue.len_bytes + (s->stash ? s->stash->len_bytes : 0);

	queue_done(&s->queue);
	if (s->stash)
		queue_done(s->stash);
	free(s->stash);
	s->stash = NULL;
	if (s->tunnel)
		tunnel_consumed(s->tunnel, held);
}

static void stream_enter_closed(struct stream *s, bool is_orderly)
{
	struct tunnel *t = s->tunnel;
	bool is_reset_owed = t && s->is_announced && !is_orderly;

	loop_timer_clear(s->pool->loop, &s->deadline);
	pool_forget_delivery(s->pool, s);
	stream_close_socket(s, is_orderly);
	stream_discard(s);
	schedule_remove(&s->turn);
	list_remove(&s->control);
	if (list_is_linked(&s->place)) {
		if (s->role == STREAM_CLIENT_SIDE && s->peer && !t)
			s->peer->waiting_count--;
		if (s->role == STREAM_SERVER_SIDE && t)
			t->judging_count--;
		list_remove(&s->place);
	}
	stream_set_budgeted(s, 0);
	s->pending = 0;
	pool_stream_closed(s->pool, s);
	if (is_reset_owed)
		stream_wants_frames(s, STREAM_SEND_RESET);
	else
		stream_destroy(s);
}

/* All was handed over; now the pod must have acknowledged it, before a close that is no reset. */
static void stream_check_drained(struct stream *s)
{
	int unacked = sock_unacked_bytes(s->source.fd);

	if (unacked == 0)
		stream_step(s, STREAM_EV_DRAINED);
	else if (unacked < 0)
		stream_fail(s, REASON_POD_RESET);
	else
		stream_set_deadline(s, pool_now(s->pool), DRAIN_CHECK_MS);
}

static void stream_set_state(struct stream *s, enum stream_state state, enum stream_event event)
{
	enum stream_state old = s->state;

	s->state = state;
	if (log_enabled(LOG_DEBUG)) {
		log_debug("stream", L_U64("id", s->id), L_ENDPOINT("client", &s->client), L_ENDPOINT("server", &s->server),
		          L_TEXT("from", state_names[old]), L_TEXT("to", state_names[state]), L_TEXT("on", event_names[event]));
	}
	switch (state) {
	case STREAM_WAITING:
		/* Until its addresses are known a stream waits STREAM_JUDGE_MS; for a tunnel as long as TCP would for an answer. */
		stream_set_deadline(s, s->created, s->peer ? s->pool->settings->peer_timeout_ms : STREAM_JUDGE_MS);
		return;
	case STREAM_JUDGING:
		stream_set_deadline(s, s->created, STREAM_JUDGE_MS);
		return;
	case STREAM_OPENING:
		loop_timer_clear(s->pool->loop, &s->deadline);
		stream_wants_frames(s, STREAM_SEND_OPEN);
		stream_update_turn(s);
		return;
	case STREAM_DIALING:
		if (s->source.fd < 0)
			stream_set_deadline(s, pool_now(s->pool), DIAL_AGAIN_MS);
		else
			loop_timer_clear(s->pool->loop, &s->deadline);
		return;
	case STREAM_OPEN:
		s->is_read_ready = true;
		stream_update_turn(s);
		return;
	case STREAM_CLOSING:
		if (s->tunnel)
			tunnel_detach(s->tunnel, s);
		stream_set_budgeted(s, 0);
		stream_check_drained(s);
		return;
	case STREAM_CLOSED:
		stream_enter_closed(s, event == STREAM_EV_DRAINED);
		return;
	case STREAM_STATE_COUNT:
		return;
	}
}

void stream_fail(struct stream *s, enum close_reason reason)
{
	if (s->state == STREAM_CLOSED)
		return;
	s->reason = (uint8_t)reason;
	stream_step(s, STREAM_EV_FAILED);
}

void stream_tunnel_lost(struct stream *s, enum close_reason reason)
{
	/* Who may not speak any more is not listened to either. */
	bool is_cut = reason == REASON_PEER_REMOVED || reason == REASON_CERTIFICATE || reason == REASON_PROTOCOL;

	s->is_announced = false; /* nobody is there to be told */
	if (s->state == STREAM_CLOSED)
		stream_destroy(s);
	else if (!is_cut && s->state == STREAM_OPEN && s->tx_half == HALF_SHUT && s->rx_half != HALF_OPEN && !s->is_write_failed)
		tunnel_detach(s->tunnel, s); /* all that the peer sent is here: its pod gets it */
	else
		stream_fail(s, reason);
}

void stream_not_taken(struct stream *s, enum close_reason reason)
{
	/* What was already read from the pod is gone with the tunnel. */
	if (s->state != STREAM_OPENING || s->tx.sent) {
		stream_tunnel_lost(s, reason);
		return;
	}
	s->is_announced = false;
	tunnel_detach(s->tunnel, s);
	/* An end is read once more, and told on the other tunnel. */
	s->tx_half = HALF_OPEN;
	s->is_read_ready = true;
	stream_step(s, STREAM_EV_DETACHED);
	peer_assign(s->peer, s);
}

void stream_on_reset(struct stream *s, enum close_reason reason)
{
	s->is_announced = false;
	if (s->state == STREAM_CLOSED) /* ours crossed it: then neither is answered */
		stream_destroy(s);
	else
		stream_fail(s, reason);
}

static void stream_dial(struct stream *s);

static void stream_on_deadline(struct loop_timer *t)
{
	struct stream *s = container_of(t, struct stream, deadline);

	switch ((enum stream_state)s->state) {
	case STREAM_WAITING:
		stream_fail(s, s->peer ? REASON_NO_TUNNEL : REASON_UNKNOWN_ADDRESS);
		return;
	case STREAM_JUDGING:
		/* stream_judge left the reason that stands if nothing changes. */
		stream_fail(s, s->reason);
		return;
	case STREAM_DIALING:
		stream_dial(s);
		return;
	case STREAM_CLOSING:
		stream_check_drained(s);
		return;
	default:
		return;
	}
}

/* --- beginning --- */

void stream_accepted(struct pool *pool, int fd, const struct endpoint *client, const struct endpoint *server)
{
	struct stream *s = stream_create(pool, STREAM_CLIENT_SIDE, fd, client, server);

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
	memcpy(s->peer_nonce, open->nonce, sizeof(s->peer_nonce));
	window_sender_init(&s->tx, t->peer_initial_credit);
	if (tunnel_insert(t, s)) {
		s->is_announced = false;
		stream_fail(s, REASON_NO_RESOURCES);
		return -ENOMEM;
	}
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

static void stream_dial(struct stream *s)
{
	struct pool *pool = s->pool;
	bool is_pending;
	int fd = pool->ops->connect_pod(pool->ctx, &s->client, &s->server, &is_pending);
	int r;

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
	r = loop_add(pool->loop, &s->source, POD_EVENTS);
	if (r)
		stream_fail(s, REASON_NO_RESOURCES);
	else
		stream_step(s, STREAM_EV_DIALED); /* EPOLLOUT says that it is connected, also where it was at once */
}

static void stream_judge_client_side(struct stream *s)
{
	struct pool *pool = s->pool;
	enum view_verdict source = view_judge(pool->view, &s->client.addr, view_self(pool->view), true);
	struct view_answer server = view_lookup(pool->view, &s->server.addr);

	if (source == VIEW_YES && server.kind == VIEW_POD && !server.owner->is_self) {
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

/* --- from the pod to the tunnel --- */

void stream_update_turn(struct stream *s)
{
	struct tunnel *t = s->tunnel;
	bool wants = t && s->is_read_ready && s->tx_half == HALF_OPEN && (s->state == STREAM_OPEN || s->state == STREAM_OPENING) &&
	             window_sender_room(&s->tx) > 0;

	if (!wants) {
		schedule_remove(&s->turn);
		return;
	}
	schedule_add(&t->turns[s->tx_link], &s->turn);
	tunnel_want_send(t, s->tx_link);
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

static void stream_check_ended(struct stream *s)
{
	if (s->tx_half == HALF_SHUT && s->rx_half == HALF_SHUT && s->state == STREAM_OPEN)
		stream_step(s, STREAM_EV_ENDED);
}

/* Takes the error that the pod's socket announced. SO_ERROR must not be asked while something is to be read: it would turn the reset into an end. */
static void stream_pod_failed(struct stream *s)
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
	stream_wants_frames(s, STREAM_SEND_END);
}

size_t stream_send_data(struct stream *s, struct link *l, size_t max_bytes)
{
	size_t wanted = 0, room = window_sender_room(&s->tx);
	ssize_t n;

	n = link_read_data(l, s->source.fd, s->id, room < max_bytes ? room : max_bytes, &wanted);
	if (n > 0) {
		window_sender_sent(&s->tx, (uint64_t)n);
		stream_note_read(s, l, (size_t)n);
		if ((size_t)n < wanted && !s->is_read_ending)
			s->is_read_ready = false;
		stream_update_turn(s);
		if (s->is_pod_failed && window_sender_room(&s->tx) == 0)
			stream_pod_failed(s); /* the peer may never make room, and must know */
		return (size_t)n;
	}
	if (n == 0) {
		stream_pod_ended(s);
	} else if (n == -EAGAIN || n == -EINTR) {
		s->is_read_ready = n == -EINTR;
		stream_update_turn(s);
	} else if (n != -ENOBUFS) {
		stream_fail(s, reason_from_errno((int)-n));
	}
	return 0;
}

/* --- frames --- */

static void stream_put_window(struct stream *s, struct link *l, uint8_t *dst)
{
	struct instant now = pool_now(s->pool);
	uint32_t size = window_receiver_wanted(&s->rx, (uint64_t)s->tunnel->rtt_us * 1000, now);
	uint64_t granted;

	if (size > s->rx.size && size > s->budgeted_bytes) {
		if (budget_reserve_growth(s->pool->settings->budget, size - s->budgeted_bytes)) {
			tunnel_granted(s->tunnel, size - s->budgeted_bytes);
			s->budgeted_bytes = size;
		} else {
			size = s->rx.size; /* idle streams are asked in the next tick */
		}
	}
	window_receiver_update(&s->rx, size, now);
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
	struct frame_open open = { .client = s->client, .server = s->server, .is_optimistic = true };

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

	if (!getsockopt(s->source.fd, IPPROTO_TCP, TCP_MAXSEG, &mss, &len) && mss > 0)
		opened.mss_bytes = (uint32_t)mss;
	pool_random(s->pool, s->nonce, sizeof(s->nonce));
	memcpy(opened.nonce, s->nonce, sizeof(opened.nonce));
	link_commit(l, frame_put_opened(dst, s->id, &opened));
}

/* The lowest pending frame of mask; the stream may be gone after END or RESET. */
static void stream_put_frame(struct stream *s, struct link *l, uint8_t *dst, uint8_t which)
{
	s->pending &= (uint8_t)~which;
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
	case STREAM_SEND_END:
		link_commit(l, frame_put_end(dst, s->id, s->tx.sent));
		s->tx_half = HALF_SHUT;
		stream_check_ended(s);
		return;
	case STREAM_SEND_RESET:
		link_commit(l, frame_put_reset(dst, s->id, &(struct frame_reset){ s->tx.sent, s->reason }));
		stream_destroy(s);
		return;
	}
}

bool stream_send_frames(struct stream *s, struct link *l, bool is_last)
{
	uint8_t mask = is_last ? STREAM_SEND_LAST : (uint8_t)~STREAM_SEND_LAST;
	uint8_t left;

	while ((left = s->pending & mask)) {
		uint8_t which = (uint8_t)(left & -left);
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

/* --- from the tunnel to the pod --- */

static void stream_delivered(struct stream *s, size_t len_bytes)
{
	window_receiver_delivered(&s->rx, len_bytes, pool_now(s->pool));
	s->pool->counters.rx_bytes += len_bytes;
	if (s->tunnel)
		tunnel_consumed(s->tunnel, len_bytes);
	if (s->rx_half == HALF_OPEN && window_receiver_is_due(&s->rx))
		stream_wants_frames(s, STREAM_SEND_WINDOW);
}

/* The pod takes nothing any more. What it sent before may still wait to be read; the end of that decides. */
static void stream_write_failed(struct stream *s)
{
	s->is_write_failed = true;
	stream_delivered(s, s->queue.len_bytes);
	queue_done(&s->queue);
	if (s->tx_half != HALF_OPEN || window_sender_room(&s->tx) == 0 || !s->tunnel) {
		stream_fail(s, REASON_POD_RESET);
		return;
	}
	s->is_read_ready = s->is_read_ending = true;
	stream_update_turn(s);
}

/* All that came was handed over and no more will come. */
static void stream_pass_end(struct stream *s)
{
	uint64_t held = s->rx.received - s->rx.delivered;

	if (s->rx_half != HALF_DRAINING || s->state != STREAM_OPEN)
		return;
	/* No more comes, so what lies here is all that the peer can make us hold; its answer may take hours. */
	if (held < s->budgeted_bytes)
		stream_set_budgeted(s, (uint32_t)held);
	if (s->queue.len_bytes)
		return;
	s->rx_half = HALF_SHUT;
	if (shutdown(s->source.fd, SHUT_WR) < 0) {
		stream_fail(s, REASON_POD_RESET);
		return;
	}
	stream_check_ended(s);
}

static ssize_t pod_write(int fd, const struct iovec *part, int parts)
{
	struct msghdr msg = { .msg_iov = (struct iovec *)part, .msg_iovlen = (size_t)parts };
	ssize_t n;

	do {
		n = parts == 1 ? send(fd, part->iov_base, part->iov_len, MSG_NOSIGNAL) : sendmsg(fd, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n;
}

static void stream_flush_queue(struct stream *s)
{
	while (s->queue.len_bytes && !s->is_write_blocked) {
		struct iovec part[QUEUE_PARTS];
		int parts = queue_peek(&s->queue, part, QUEUE_PARTS);
		ssize_t n = pod_write(s->source.fd, part, parts);

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

void stream_deliver(struct stream *s, const struct iovec *part, int parts, size_t len_bytes)
{
	ssize_t n = 0;
	size_t skip;

	if (s->is_write_failed) {
		stream_delivered(s, len_bytes);
		return;
	}
	if (s->state == STREAM_OPEN && !s->queue.len_bytes && !s->is_write_blocked) {
		n = pod_write(s->source.fd, part, parts);
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
	}
	skip = (size_t)n;
	for (int i = 0; i < parts; i++) {
		if (skip >= part[i].iov_len) {
			skip -= part[i].iov_len;
			continue;
		}
		if (queue_append(&s->queue, (const uint8_t *)part[i].iov_base + skip, part[i].iov_len - skip)) {
			if (s->tunnel) /* what is not in the queue is given up here, the rest by the close */
				tunnel_consumed(s->tunnel, s->rx.received - s->rx.delivered - s->queue.len_bytes -
				                                   (s->stash ? s->stash->len_bytes : 0));
			stream_fail(s, REASON_NO_RESOURCES);
			return;
		}
		skip = 0;
	}
	if (s->queue.len_bytes && s->state == STREAM_OPEN && !s->is_write_blocked)
		stream_flush_queue(s);
}

bool stream_stash(struct stream *s, const void *bytes, size_t len_bytes)
{
	if (!s->stash) {
		s->stash = malloc(sizeof(*s->stash));
		if (!s->stash)
			return false;
		queue_init(s->stash);
	}
	return queue_append(s->stash, bytes, len_bytes) == 0;
}

void stream_on_switch(struct stream *s, enum frame_link link)
{
	s->rx_link = link;
	if (s->stash) {
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
	stream_pass_end(s);
}

void stream_on_opened(struct stream *s, const struct frame_opened *m)
{
	memcpy(s->peer_nonce, m->nonce, sizeof(s->peer_nonce));
	s->has_nonce = true;
	stream_step(s, STREAM_EV_OPENED);
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

/* --- the pod's socket --- */

static void stream_dial_done(struct stream *s)
{
	int error = sock_error(s->source.fd);

	if (error) {
		stream_fail(s, reason_from_errno(error));
		return;
	}
	stream_wants_frames(s, STREAM_SEND_OPENED);
	stream_step(s, STREAM_EV_CONNECTED);
	stream_flush_queue(s);
}

static void stream_on_event(struct loop_source *src, uint32_t events)
{
	struct stream *s = container_of(src, struct stream, source);

	if (s->state == STREAM_DIALING) {
		if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
			return;
		stream_dial_done(s);
		if (s->state != STREAM_OPEN)
			return;
	}
	if (s->state == STREAM_CLOSING) {
		if (events & EPOLLERR)
			stream_fail(s, REASON_POD_RESET);
		else
			stream_check_drained(s);
		return;
	}
	if (s->state == STREAM_CLOSED)
		return;
	if ((events & EPOLLOUT) && s->is_write_blocked) {
		s->is_write_blocked = false;
		stream_flush_queue(s);
		if (s->state == STREAM_CLOSED || s->state == STREAM_CLOSING)
			return;
	}
	if (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		s->is_read_ready = true;
	/* A read stops short before an urgent byte, with more behind it. */
	if (events & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		s->is_read_ending = true;
	/* A reset shows only when it is read. Where nothing can be read now (no tunnel, no credit, our half is over) it is acted upon at once. */
	if (events & EPOLLERR) {
		s->is_pod_failed = true;
		if (!s->tunnel || s->tx_half != HALF_OPEN || window_sender_room(&s->tx) == 0) {
			stream_pod_failed(s);
			return;
		}
	}
	stream_update_turn(s);
}
