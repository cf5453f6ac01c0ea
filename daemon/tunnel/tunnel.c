/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/tunnel.h"

#include "base/log.h"
#include "net/sock.h"
#include "tunnel/hello.h"
#include "tunnel/inbound.h"
#include "tunnel/peer.h"
#include "tunnel/pool.h"
#include "tunnel/turn.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	BULK_RETRY_MS = 10000,
	DRAIN_LINGER_MS = 2000,     /* of a daemon that ends, after the last stream, for a peer that does not answer GOAWAY; ... */
	DRAIN_ACK_MS = 10000,       /* ... for one that did, but does not acknowledge */
	PING_AFTER_BYTES = 1 << 20, /* of data in a tick: less is no load that windows need to follow */
	LAST_READS_MAX = 1024,      /* of a link whose tunnel ended; more than a socket holds */
};

static const char *const state_names[TUNNEL_STATE_COUNT] = {
	[TUNNEL_CONNECTING] = "connecting", [TUNNEL_UP] = "up",         [TUNNEL_SUSPECT] = "suspect",
	[TUNNEL_DRAINING] = "draining",     [TUNNEL_CLOSED] = "closed",
};

const char *tunnel_state_text(enum tunnel_state state)
{
	return state < TUNNEL_STATE_COUNT ? state_names[state] : "?";
}

static void tunnel_set_state(struct tunnel *t, enum tunnel_state state)
{
	log_debug("tunnel", L_TEXT("peer", t->peer->name), L_TEXT("from", state_names[t->state]), L_TEXT("to", state_names[state]));
	t->state = state;
	t->state_since = pool_now(t->pool);
}

/* --- making and ending --- */

static void tunnel_free(struct loop_garbage *g)
{
	struct tunnel *t = container_of(g, struct tunnel, garbage);

	free(t->buckets);
	free(t);
}

static struct tunnel *tunnel_create(struct peer *p, bool is_initiator)
{
	struct tunnel *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->buckets_count = TUNNEL_BUCKETS;
	t->buckets = calloc(t->buckets_count, sizeof(*t->buckets));
	if (!t->buckets) {
		free(t);
		return NULL;
	}
	t->garbage.free_fn = tunnel_free;
	t->pool = p->pool;
	t->peer = p;
	t->is_initiator = is_initiator;
	t->next_id = is_initiator ? 1 : 2;
	t->generation = p->pool->generation;
	t->state_since = t->idle_since = pool_now(p->pool);
	t->rx_limit = TUNNEL_CREDIT_MIN_BYTES;
	schedule_init(&t->turns[0]);
	schedule_init(&t->turns[1]);
	list_init(&t->control);
	list_init(&t->last[0]);
	list_init(&t->last[1]);
	list_init(&t->judging);
	list_append(&p->tunnels, &t->entry);
	return t;
}

void tunnel_close(struct tunnel *t, enum close_reason reason, const char *text)
{
	struct pool *pool = t->pool;
	struct link *light = t->link[FRAME_LINK_LIGHT];
	bool was_up = t->state == TUNNEL_UP || t->state == TUNNEL_SUSPECT || t->state == TUNNEL_DRAINING;
	bool is_orderly = reason == REASON_IDLE || reason == REASON_DRAINING || reason == REASON_FINISHED;
	char detail[PEER_ERROR_BYTES]; /* text may be the session's own, which goes before the peer is told */

	if (t->state == TUNNEL_CLOSED)
		return;
	snprintf(detail, sizeof(detail), "%s", text ? text : "");
	tunnel_set_state(t, TUNNEL_CLOSED);
	for (uint32_t i = 0; i < t->buckets_count; i++) {
		while (t->buckets[i])
			stream_tunnel_lost(t->buckets[i], reason);
	}
	/* A peer that broke a rule is told which; after the streams, so that none of their frames follows. */
	if (light && !is_orderly && link_can_send(light)) {
		struct frame_goaway m = { .last_stream = t->peer_highest_id, .reason = (uint16_t)reason };
		uint8_t *dst = link_reserve(light);

		if (dst) {
			snprintf(m.text, sizeof(m.text), "%.*s", FRAME_TEXT_MAX, detail);
			link_commit(light, frame_put_goaway(dst, &m));
			(void)link_flush(light);
		}
	}
	link_destroy(t->link[FRAME_LINK_BULK], is_orderly);
	link_destroy(light, is_orderly);
	t->link[0] = t->link[1] = NULL;
	list_remove(&t->entry);
	peer_tunnel_closed(t->peer, reason, detail, was_up);
	loop_free_later(pool->loop, &t->garbage);
}

static int tunnel_make_link(struct tunnel *t, enum frame_link kind, int fd, bool is_pending)
{
	struct link *l;
	int r = link_create(t->pool->loop, &t->pool->stock, t->pool->tls, fd, is_pending, TLS_CLIENT, &tunnel_link_ops, t, &l);

	if (r)
		return r;
	l->kind = kind;
	t->link[kind] = l;
	return 0;
}

int tunnel_connect(struct peer *p, int fd, bool is_pending)
{
	struct tunnel *t = tunnel_create(p, true);
	int r;

	if (!t) {
		close(fd);
		return -ENOMEM;
	}
	pool_random(p->pool, t->id, sizeof(t->id));
	r = tunnel_make_link(t, FRAME_LINK_LIGHT, fd, is_pending);
	if (r) {
		list_remove(&t->entry);
		loop_free_later(p->pool->loop, &t->garbage);
	}
	return r;
}

static void tunnel_take_identity(struct tunnel *t, const struct tls_peer *peer)
{
	int64_t own_end = t->pool->certificate_end_s;

	t->expires_s = peer->not_after_s < own_end ? peer->not_after_s : own_end;
	memcpy(t->serial, peer->serial, sizeof(t->serial));
	if (peer->names_count)
		snprintf(t->certificate_name, sizeof(t->certificate_name), "%s:%s", peer->names[0].type == TLS_NAME_URI ? "URI" : "DNS",
		         peer->names[0].text);
}

void tunnel_up(struct tunnel *t, const struct frame_hello *hello)
{
	struct tls_info info = tls_session_info(t->link[FRAME_LINK_LIGHT]->tls);

	t->incarnation = hello->incarnation;
	t->features = hello->features;
	t->peer_initial_credit = hello->initial_credit_bytes;
	t->peer_streams_max = hello->streams_max;
	t->tx_limit = hello->tunnel_credit_bytes;
	t->idle_since = pool_now(t->pool);
	tunnel_take_identity(t, link_peer(t->link[FRAME_LINK_LIGHT]));
	tunnel_set_state(t, TUNNEL_UP);
	t->pending |= TUNNEL_SEND_PING; /* measures the round trip time */
	tunnel_want_send(t, FRAME_LINK_LIGHT);
	log_info("tunnel up", L_TEXT("peer", t->peer->name), L_TEXT("made_by", t->is_initiator ? "us" : "peer"),
	         L_TEXT("tls", info.version), L_TEXT("group", info.group), L_TEXT("cipher", info.cipher),
	         L_TEXT("certificate", t->certificate_name));
	peer_tunnel_up(t->peer, t);
	t->peer->settings_hash = hello->pair.settings_hash;
	peer_hear(t->peer, &hello->pair);
	/* What waited has it by now: their OPENs go before the GOAWAY. */
	if (t->is_drain_due || t->pool->is_draining)
		tunnel_drain(t, t->is_drain_due ? t->drain_reason : REASON_DRAINING);
}

int tunnel_accept(struct peer *p, struct link *l, const struct frame_hello *hello)
{
	struct tunnel *t = tunnel_create(p, false);

	if (!t)
		return -ENOMEM;
	memcpy(t->id, hello->tunnel_id, sizeof(t->id));
	l->owner = t;
	l->ops = &tunnel_link_ops;
	l->kind = FRAME_LINK_LIGHT;
	t->link[FRAME_LINK_LIGHT] = l;
	tunnel_up(t, hello);
	return 0;
}

/* PING goes by the light link alone. */
static void tunnel_keep_bulk(const struct tunnel *t)
{
	sock_keep_alive(t->link[FRAME_LINK_BULK]->source.fd, t->pool->settings->peer_timeout_ms);
}

bool tunnel_take_bulk(struct tunnel *t, struct link *l)
{
	if (t->is_initiator || t->link[FRAME_LINK_BULK])
		return false;
	l->owner = t;
	l->ops = &tunnel_link_ops;
	l->kind = FRAME_LINK_BULK;
	t->link[FRAME_LINK_BULK] = l;
	tunnel_keep_bulk(t);
	return true;
}

/* --- links --- */

static void describe_mismatch(const struct tunnel *t, const struct tls_peer *peer, char text[PEER_ERROR_BYTES])
{
	struct tls_name wanted = { .text = "the name of its Culvert pod, which the cluster has not told of" };
	const struct view_node *node = view_node_by_name(t->pool->view, t->peer->name);

	if (node)
		(void)name_of_daemon(&t->pool->settings->name, node, 0, &wanted);
	snprintf(text, PEER_ERROR_BYTES, "the peer's certificate names %.100s (%zu names); node %.40s must have %.100s",
	         peer->names_count ? peer->names[0].text : "nobody", peer->names_count, t->peer->name, wanted.text);
}

static void tunnel_link_up(struct link *l)
{
	struct tunnel *t = l->owner;
	const struct tls_peer *peer = link_peer(l);
	const struct view_node *node = view_node_by_name(t->pool->view, t->peer->name);

	if (!node || !name_is_node(&t->pool->settings->name, peer, node)) {
		char text[PEER_ERROR_BYTES];

		describe_mismatch(t, peer, text);
		link_fail(l, REASON_CERTIFICATE, text);
		return;
	}
	/* HELLO has its own deadline: a peer that took the handshake but says nothing must not hold the tunnel. */
	(void)loop_timer_set(l->loop, &l->deadline, instant_add_ms(pool_now(t->pool), LINK_HANDSHAKE_MS));
	hello_send(t->pool, l, t->id, t->peer);
	if (l->state == LINK_OPEN)
		turn_link_woken(t->pool, l);
}

static void tunnel_link_wake(struct link *l)
{
	struct tunnel *t = l->owner;

	turn_link_woken(t->pool, l);
	tunnel_want_send(t, l->kind);
}

/* The peer ends a tunnel when it has no stream left; what ended ours, its GOAWAY even, may lie in the other connection. */
static void read_rest_of(struct tunnel *t, struct link *l)
{
	if (!l || !l->has_hello)
		return;
	l->is_rx_ready = true;
	for (int i = 0; i < LAST_READS_MAX && inbound_turn(t, l, LINK_UNIT_BYTES); i++)
		;
}

static void tunnel_link_failed(struct link *l, enum close_reason reason, const char *text)
{
	struct tunnel *t = l->owner;

	if (t->state == TUNNEL_CLOSED)
		return;
	if (l->kind == FRAME_LINK_BULK && !l->has_hello && !t->has_taken_switch) {
		/* No stream is on it yet, either way: the tunnel goes on without. */
		log_debug("bulk link failed", L_TEXT("peer", t->peer->name), L_TEXT("reason", text));
		t->link[FRAME_LINK_BULK] = NULL;
		t->bulk_retry = instant_add_ms(pool_now(t->pool), BULK_RETRY_MS);
		link_destroy(l, false);
		return;
	}
	if (t->streams_count) {
		read_rest_of(t, t->link[l->kind == FRAME_LINK_LIGHT ? FRAME_LINK_BULK : FRAME_LINK_LIGHT]);
		if (t->state == TUNNEL_CLOSED)
			return;
	}
	turn_pass_ends(t->pool, t);
	if (t->state == TUNNEL_DRAINING && !t->streams_count)
		reason = t->drain_reason; /* an expected end */
	tunnel_close(t, reason, text);
}

const struct link_ops tunnel_link_ops = { .up = tunnel_link_up, .wake = tunnel_link_wake, .failed = tunnel_link_failed };

bool tunnel_has_bulk(const struct tunnel *t)
{
	const struct link *l = t->link[FRAME_LINK_BULK];

	return l && l->state == LINK_OPEN && l->has_hello && l->has_sent_hello;
}

void tunnel_want_bulk(struct tunnel *t)
{
	struct view_node const *node;
	bool is_pending;
	int fd;

	if (!t->is_initiator || t->link[FRAME_LINK_BULK] || t->state != TUNNEL_UP || !(t->features & FRAME_FEATURE_BULK_LINK) ||
	    instant_before(pool_now(t->pool), t->bulk_retry))
		return;
	t->bulk_retry = instant_add_ms(pool_now(t->pool), BULK_RETRY_MS);
	node = view_node_by_name(t->pool->view, t->peer->name);
	if (!node || !node->addresses_count)
		return;
	fd = t->pool->ops->connect_node(t->pool->ctx,
	                                &(struct endpoint){ node->addresses[t->peer->next_address % node->addresses_count],
	                                                    t->pool->settings->tunnel_port },
	                                &is_pending);
	if (fd >= 0 && !tunnel_make_link(t, FRAME_LINK_BULK, fd, is_pending))
		tunnel_keep_bulk(t);
}

/* --- state --- */

bool tunnel_takes_streams(const struct tunnel *t)
{
	return t->state == TUNNEL_UP && t->streams_count - t->peer_streams_count < t->peer_streams_max;
}

void tunnel_want_send(struct tunnel *t, enum frame_link kind)
{
	struct link *l = t->link[kind];

	if (l && l->has_hello && link_can_send(l) && !list_is_linked(&l->tx_entry))
		list_append(&t->pool->tx[kind], &l->tx_entry);
}

void tunnel_drain(struct tunnel *t, enum close_reason reason)
{
	if (t->state == TUNNEL_CONNECTING) {
		/* Once our HELLO is out the peer may use it, and have streams on it that an end would reset. Ours may wait for it, too. */
		if (t->link[FRAME_LINK_LIGHT]->has_sent_hello || (t->pool->is_draining && !list_is_empty(&t->peer->waiting))) {
			t->is_drain_due = true;
			t->drain_reason = reason;
		} else {
			tunnel_close(t, reason, "ended before it was up");
		}
		return;
	}
	if (t->state != TUNNEL_UP && t->state != TUNNEL_SUSPECT)
		return;
	t->drain_reason = reason;
	tunnel_set_state(t, TUNNEL_DRAINING);
	t->pending |= TUNNEL_SEND_GOAWAY;
	t->idle_since = pool_now(t->pool);
	tunnel_want_send(t, FRAME_LINK_LIGHT);
	log_info("tunnel drains", L_TEXT("peer", t->peer->name), L_TEXT("reason", reason_text(reason)), L_U64("streams", t->streams_count));
	peer_tunnel_changed(t->peer);
}

bool tunnel_is_trusted(struct tunnel *t, const struct tls_ctx *ctx)
{
	char text[TLS_ERROR_BYTES];

	for (int kind = FRAME_LINK_LIGHT; kind <= FRAME_LINK_BULK; kind++) {
		const struct link *l = t->link[kind];

		if (!l || l->state != LINK_OPEN || tls_session_is_taken_by(l->tls, ctx, text))
			continue;
		tunnel_close(t, REASON_CERTIFICATE, text);
		return false;
	}
	return true;
}

static bool is_all_acknowledged(const struct link *l)
{
	return !l || (!l->tx && sock_unacked_bytes(l->source.fd) <= 0);
}

/* Nothing can come any more and the peer has all that was sent: it may be closed. Not before, since unread bytes make a reset of the close, and
 * that drops what is not acknowledged. */
bool tunnel_is_over(const struct tunnel *t)
{
	return t->state == TUNNEL_DRAINING && !t->streams_count && t->has_goaway && !t->pending &&
	       is_all_acknowledged(t->link[FRAME_LINK_LIGHT]) && is_all_acknowledged(t->link[FRAME_LINK_BULK]);
}

/* Does the kernel wait for the peer as long as we do? Only for a silent one it is asked. */
static void tunnel_tune_links(struct tunnel *t, bool is_silent)
{
	uint32_t peer_timeout_ms = t->pool->settings->peer_timeout_ms;

	if (!is_silent && !t->is_patient)
		return;
	for (int kind = FRAME_LINK_LIGHT; kind <= FRAME_LINK_BULK; kind++) {
		const struct link *l = t->link[kind];

		if (!l || l->source.fd < 0)
			continue;
		if (!is_silent)
			sock_tune_tunnel(l->source.fd, peer_timeout_ms);
		else if (sock_tune_silent_tunnel(l->source.fd, peer_timeout_ms))
			t->is_patient = true;
	}
	if (is_silent)
		return;
	t->is_patient = false;
	if (t->link[FRAME_LINK_BULK])
		tunnel_keep_bulk(t);
}

void tunnel_answers_again(struct tunnel *t)
{
	if (t->state == TUNNEL_SUSPECT) {
		tunnel_set_state(t, TUNNEL_UP);
		log_info("peer answers again", L_TEXT("peer", t->peer->name), L_U64("streams", t->streams_count));
	}
	t->is_ping_out = t->is_silent = false;
	peer_tunnel_changed(t->peer);
}

/* How long a tunnel stays after its last stream. Until the peer has said GOAWAY it may have opened streams on it: only a daemon that ends does not
 * wait for them as long as for anything else. */
static uint64_t drain_patience_ms(const struct tunnel *t)
{
	if (t->has_goaway)
		return DRAIN_ACK_MS;
	return t->pool->is_draining ? DRAIN_LINGER_MS : t->pool->settings->peer_timeout_ms;
}

/* Streams' pods must find out as they would without us. */
static void tunnel_set_silent(struct tunnel *t, bool is_silent)
{
	if (is_silent == t->is_silent)
		return;
	t->is_silent = is_silent;
	peer_tunnel_changed(t->peer);
}

void tunnel_tick(struct tunnel *t, struct instant now, int64_t unix_now_s)
{
	struct link *light = t->link[FRAME_LINK_LIGHT], *bulk = t->link[FRAME_LINK_BULK];
	struct instant heard;
	bool is_overdue;
	uint64_t silent_ms, ask_after_ms = t->streams_count ? TUNNEL_PING_MS : TUNNEL_PING_IDLE_MS;

	if (t->state == TUNNEL_CONNECTING || t->state == TUNNEL_CLOSED)
		return;
	if (unix_now_s > t->expires_s) {
		tunnel_close(t, REASON_CERTIFICATE, "a certificate of this tunnel has expired");
		return;
	}
	heard = bulk && bulk->last_rx.ns > light->last_rx.ns ? bulk->last_rx : light->last_rx;
	silent_ms = instant_elapsed_ns(heard, now) / NS_PER_MS;
	if (t->is_ping_out && silent_ms >= t->pool->settings->peer_timeout_ms) {
		tunnel_close(t, REASON_PEER_TIMEOUT, "the peer was silent for peer_timeout");
		return;
	}
	if (!t->is_ping_out && silent_ms >= ask_after_ms) {
		t->pending |= TUNNEL_SEND_PING;
		tunnel_want_send(t, FRAME_LINK_LIGHT);
		t->is_ping_out = true; /* counts from now also where the link is full and it can not go out */
		t->ping_sent = now;
	}
	t->window_largest[1] = t->window_largest[0];
	t->window_largest[0] = 0;
	/* Streams' windows follow the round trip, which is longer while others' data waits on the way: a stream that begins then would never get
	 * its share by the one of an idle wire. */
	if (!t->is_ping_out && t->rx_received - t->rx_at_ping >= PING_AFTER_BYTES) {
		t->pending |= TUNNEL_SEND_PING;
		tunnel_want_send(t, FRAME_LINK_LIGHT);
	}
	tunnel_tune_links(t, t->is_ping_out && silent_ms >= ask_after_ms);
	/* A tunnel that had nothing to carry was silent long before it is asked. */
	is_overdue = t->is_ping_out && silent_ms >= TUNNEL_SUSPECT_MS &&
	             instant_elapsed_ns(t->ping_sent, now) >= TUNNEL_SUSPECT_MS * NS_PER_MS;
	tunnel_set_silent(t, is_overdue || (t->is_ping_out && silent_ms >= ask_after_ms && sock_is_unanswered(light->source.fd)));
	if (t->state == TUNNEL_UP && is_overdue) {
		tunnel_set_state(t, TUNNEL_SUSPECT);
		log_warn("peer does not answer", L_TEXT("peer", t->peer->name), L_U64("silent_ms", silent_ms),
		         L_U64("streams", t->streams_count));
		peer_tunnel_changed(t->peer);
	}
	if (t->state == TUNNEL_UP && !t->streams_count &&
	    instant_elapsed_ns(t->idle_since, now) >= t->pool->settings->idle_timeout_ms * NS_PER_MS) {
		peer_tunnel_idle(t->peer, t);
		tunnel_drain(t, REASON_IDLE);
	}
	if (t->state == TUNNEL_DRAINING && !t->streams_count &&
	    (tunnel_is_over(t) || instant_elapsed_ns(t->idle_since, now) >= drain_patience_ms(t) * NS_PER_MS))
		tunnel_close(t, t->drain_reason, "drained");
}
