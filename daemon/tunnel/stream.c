/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/stream.h"

#include "base/log.h"
#include "net/sock.h"
#include "tunnel/admission.h"
#include "tunnel/pool.h"
#include "tunnel/rx_half.h"
#include "tunnel/silence.h"
#include "tunnel/streams.h"
#include "tunnel/turn.h"
#include "tunnel/tx_half.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
	DIAL_AGAIN_MS = 5,     /* a port that the last connection between the same two pods still holds is tried again so soon */
	DRAIN_CHECK_MS = 1000, /* the kernel wakes us when the pod has acknowledged; this is for the case that it does not */
};

static_assert(sizeof(struct stream) <= 768, "thousands of idle streams: see the budget in ARCHITECTURE.md");

static const char *const state_names[STREAM_STATE_COUNT] = {
	[STREAM_WAITING] = "waiting", [STREAM_OPENING] = "opening", [STREAM_ACCEPTING] = "accepting", [STREAM_JUDGING] = "judging",
	[STREAM_DIALING] = "dialing", [STREAM_OPEN] = "open",       [STREAM_CLOSING] = "closing",     [STREAM_CLOSED] = "closed",
};
static const char *const event_names[STREAM_EVENT_COUNT] = {
	[STREAM_EV_ATTACHED] = "attached", [STREAM_EV_DETACHED] = "detached",   [STREAM_EV_UNKNOWN] = "unknown",
	[STREAM_EV_DIALED] = "dialed",     [STREAM_EV_CONNECTED] = "connected", [STREAM_EV_OPENED] = "opened",
	[STREAM_EV_LET_IN] = "let_in",     [STREAM_EV_ACCEPTED] = "accepted",   [STREAM_EV_ENDED] = "ended",
	[STREAM_EV_DRAINED] = "drained",   [STREAM_EV_FAILED] = "failed",
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

struct stream *stream_create(struct pool *pool, enum stream_role role, int fd, const struct endpoint *client, const struct endpoint *server)
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
	list_init(&s->look);
	list_init(&s->owed);
	list_init(&s->ending);
	schedule_entry_init(&s->turn);
	queue_init(&s->queue);
	window_receiver_init(&s->rx, WINDOW_INITIAL_BYTES, s->created);
	list_append(&pool->streams, &s->all);
	review_add(pool, s);
	pool->streams_count++;
	return s;
}

/* Last of all: nothing but the batch in hand may still point at it. */
void stream_destroy(struct stream *s)
{
	assert(s->state == STREAM_CLOSED && s->source.fd < 0);
	if (s->tunnel)
		streams_detach(s->tunnel, s);
	list_remove(&s->all);
	list_remove(&s->by_remote);
	list_remove(&s->place);
	list_remove(&s->control);
	list_remove(&s->last);
	loop_free_later(s->pool->loop, &s->garbage);
	pool_stream_gone(s->pool);
}

bool stream_reserve(struct stream *s)
{
	if (!budget_reserve(s->pool->settings->budget, WINDOW_INITIAL_BYTES))
		return false;
	s->budgeted_bytes = WINDOW_INITIAL_BYTES;
	if (s->tunnel)
		streams_granted(s->tunnel, WINDOW_INITIAL_BYTES);
	return true;
}

void stream_set_budgeted(struct stream *s, uint32_t bytes)
{
	if (s->tunnel)
		s->tunnel->budgeted_bytes += (uint64_t)bytes - s->budgeted_bytes;
	if (bytes < s->budgeted_bytes)
		budget_release(s->pool->settings->budget, s->budgeted_bytes - bytes);
	s->budgeted_bytes = bytes;
}

/* --- the state machine --- */

#define TO(state) ((state) + 1)

/* Where an event leads to; 0: the state does not know it. A stream that is closed knows none, and needs none. */
static const uint8_t next_states[STREAM_STATE_COUNT][STREAM_EVENT_COUNT] = {
	[STREAM_WAITING] = { [STREAM_EV_UNKNOWN] = TO(STREAM_WAITING),
	                     [STREAM_EV_ATTACHED] = TO(STREAM_OPENING),
	                     [STREAM_EV_FAILED] = TO(STREAM_CLOSED) },
	[STREAM_OPENING] = { [STREAM_EV_OPENED] = TO(STREAM_OPEN),
	                     [STREAM_EV_LET_IN] = TO(STREAM_ACCEPTING),
	                     [STREAM_EV_DETACHED] = TO(STREAM_WAITING),
	                     [STREAM_EV_FAILED] = TO(STREAM_CLOSED) },
	[STREAM_ACCEPTING] = { [STREAM_EV_ACCEPTED] = TO(STREAM_OPEN), [STREAM_EV_FAILED] = TO(STREAM_CLOSED) },
	[STREAM_JUDGING] = { [STREAM_EV_UNKNOWN] = TO(STREAM_JUDGING),
	                     [STREAM_EV_DIALED] = TO(STREAM_DIALING),
	                     [STREAM_EV_FAILED] = TO(STREAM_CLOSED) },
	[STREAM_DIALING] = { [STREAM_EV_DIALED] = TO(STREAM_DIALING),
	                     [STREAM_EV_CONNECTED] = TO(STREAM_OPEN),
	                     [STREAM_EV_FAILED] = TO(STREAM_CLOSED) },
	[STREAM_OPEN] = { [STREAM_EV_ENDED] = TO(STREAM_CLOSING), [STREAM_EV_FAILED] = TO(STREAM_CLOSED) },
	[STREAM_CLOSING] = { [STREAM_EV_DRAINED] = TO(STREAM_CLOSED), [STREAM_EV_FAILED] = TO(STREAM_CLOSED) },
};

void stream_step(struct stream *s, enum stream_event event)
{
	uint8_t next = next_states[s->state][event];

	if (s->state == STREAM_CLOSED)
		return;
	if (next) {
		stream_set_state(s, (enum stream_state)(next - 1), event);
		return;
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

static void stream_close_socket(struct stream *s, bool is_orderly)
{
	if (s->source.fd < 0)
		return;
	if (is_orderly)
		sock_set_reset_on_close(s->source.fd, false);
	loop_close(s->pool->loop, &s->source);
}

static void stream_discard(struct stream *s)
{
	size_t held = s->queue.len_bytes + stream_stashed(s);

	queue_done(&s->queue);
	if (s->stash)
		queue_done(s->stash);
	free(s->stash);
	s->stash = NULL;
	if (s->tunnel)
		streams_consumed(s->tunnel, held);
}

static void stream_enter_open(struct stream *s)
{
	bool is_held = s->role == STREAM_CLIENT_SIDE && !s->is_optimistic;

	loop_timer_clear(s->pool->loop, &s->deadline);
	if (is_held && s->tunnel->features & FRAME_FEATURE_TAKEN)
		stream_wants_frames(s, STREAM_SEND_TAKEN);
	silence_begin(s);
	/* A client that waited for this has data by now; any other pod's comes with an event. */
	if (is_held)
		stream_read_unannounced(s);
	else
		stream_update_turn(s);
}

static void stream_enter_closed(struct stream *s, enum stream_state old, bool is_orderly)
{
	struct tunnel *t = s->tunnel;
	bool is_reset_owed = t && s->is_announced && !is_orderly;

	loop_timer_clear(s->pool->loop, &s->deadline);
	silence_end(s);
	if (s->held)
		held_end(s->pool, s->held, s->reason, s->cause.type ? &s->cause : NULL);
	s->held = NULL;
	turn_forget_delivery(s->pool, s);
	/* The client was there: its server sees the connection, and then its end. */
	if (list_is_linked(&s->owed))
		sock_send_ack(s->source.fd);
	stream_close_socket(s, is_orderly);
	stream_discard(s);
	schedule_remove(&s->turn);
	list_remove(&s->control);
	list_remove(&s->owed);
	list_remove(&s->ending);
	if (list_is_linked(&s->place)) {
		if (s->role == STREAM_CLIENT_SIDE && s->peer && !t)
			s->peer->waiting_count--;
		if (s->role == STREAM_SERVER_SIDE && t)
			t->judging_count--;
		list_remove(&s->place);
	}
	stream_set_budgeted(s, 0);
	s->pending = is_reset_owed ? s->pending & STREAM_SEND_TAKEN : 0; /* it goes before the RESET */
	pool_stream_closed(s->pool, s, old);
	if (is_reset_owed) {
		s->is_reset_owed = true;
		t->resets_count++;
		stream_wants_frames(s, STREAM_SEND_RESET);
	} else {
		stream_destroy(s);
	}
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

/* Until its addresses are known a stream waits STREAM_JUDGE_MS; for a tunnel as long as TCP would for an answer. One that may pass waits for
 * neither so long. */
static uint32_t stream_patience_ms(const struct stream *s)
{
	if (s->held && s->held->syn.may_pass)
		return STREAM_PASS_MS;
	return s->peer ? s->pool->settings->peer_timeout_ms : STREAM_JUDGE_MS;
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
		stream_set_deadline(s, s->created, stream_patience_ms(s));
		return;
	case STREAM_JUDGING:
		stream_set_deadline(s, s->created, STREAM_JUDGE_MS);
		return;
	case STREAM_OPENING:
		loop_timer_clear(s->pool->loop, &s->deadline);
		stream_wants_frames(s, STREAM_SEND_OPEN);
		stream_update_turn(s);
		return;
	case STREAM_ACCEPTING:
		held_release(s->pool, s->held);
		stream_set_deadline(s, pool_now(s->pool), HELD_HANDSHAKE_MS);
		return;
	case STREAM_DIALING:
		if (s->source.fd < 0)
			stream_set_deadline(s, pool_now(s->pool), DIAL_AGAIN_MS);
		else
			loop_timer_clear(s->pool->loop, &s->deadline);
		return;
	case STREAM_OPEN:
		stream_enter_open(s);
		return;
	case STREAM_CLOSING:
		silence_end(s);
		if (s->tunnel)
			streams_detach(s->tunnel, s);
		stream_set_budgeted(s, 0);
		stream_check_drained(s);
		return;
	case STREAM_CLOSED:
		stream_enter_closed(s, old, event == STREAM_EV_DRAINED);
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

/* What ends the stream by force goes behind an end that came before. true: nothing is left for it, since that ended the stream both ways, or failed. */
static bool pass_end_before(struct stream *s)
{
	if (!list_is_linked(&s->ending))
		return false;
	stream_pass_end(s);
	return s->state == STREAM_CLOSING || s->state == STREAM_CLOSED;
}

void stream_tunnel_lost(struct stream *s, enum close_reason reason)
{
	/* Who may not speak any more is not listened to either. */
	bool is_cut = reason == REASON_PEER_REMOVED || reason == REASON_CERTIFICATE || reason == REASON_PROTOCOL;

	if (s->state == STREAM_OPENING && s->held && !s->tx.sent && !is_cut && reason != REASON_DRAINING) {
		stream_not_taken(s, reason); /* its client has heard nothing yet */
		return;
	}
	s->is_announced = false; /* nobody is there to be told */
	if (pass_end_before(s))
		return;
	if (s->state == STREAM_CLOSED) {
		stream_destroy(s);
	} else if (!is_cut && s->state == STREAM_OPEN && s->tx_half == HALF_SHUT && s->rx_half != HALF_OPEN && !s->is_write_failed) {
		silence_end(s);
		streams_detach(s->tunnel, s); /* all that the peer sent is here: its pod gets it */
	} else {
		stream_fail(s, reason);
	}
}

void stream_not_taken(struct stream *s, enum close_reason reason)
{
	/* What was already read from the pod is gone with the tunnel. */
	if (s->state != STREAM_OPENING || s->tx.sent) {
		stream_tunnel_lost(s, reason);
		return;
	}
	s->is_announced = s->is_peers_word = false;
	streams_detach(s->tunnel, s);
	/* An end is read once more, and told on the other tunnel. */
	s->tx_half = HALF_OPEN;
	stream_read_unannounced(s);
	s->cause.type = 0; /* the RESET that it belonged to did not come */
	stream_step(s, STREAM_EV_DETACHED);
	peer_assign(s->peer, s);
}

void stream_on_opened(struct stream *s, const struct frame_opened *m)
{
	memcpy(s->peer_nonce, m->nonce, sizeof(s->peer_nonce));
	s->has_nonce = true;
	stream_step(s, s->held ? STREAM_EV_LET_IN : STREAM_EV_OPENED);
}

void stream_on_reset(struct stream *s, enum close_reason reason)
{
	s->is_announced = false;
	if (s->state == STREAM_CLOSED) { /* ours crossed it: then neither is answered */
		stream_destroy(s);
		return;
	}
	if (pass_end_before(s))
		return;
	s->is_peers_word = true;
	stream_fail(s, reason);
}

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
	case STREAM_ACCEPTING:
		if (held_is_late(s->pool))
			stream_set_deadline(s, pool_now(s->pool), HELD_HANDSHAKE_MS);
		else
			stream_fail(s, REASON_CLIENT_GONE);
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

/* --- the pod's socket --- */

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
	if (events & EPOLLPRI)
		s->is_read_urgent = true;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
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
