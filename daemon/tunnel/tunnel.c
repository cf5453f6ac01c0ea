/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/tunnel.h"

#include "base/log.h"
#include "net/sock.h"
#include "tunnel/peer.h"
#include "tunnel/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	BULK_RETRY_MS = 10000,
	DRAIN_LINGER_MS = 2000, /* after the last stream, for a peer that does not answer GOAWAY ... */
	DRAIN_ACK_MS = 10000,   /* ... and for one that did, but does not acknowledge */
	LAST_READS_MAX = 1024,  /* of a link whose tunnel ended; more than a socket holds */
	DELIVERIES_MAX = 16,    /* in one turn of a link: more make whole batches march in step between the two nodes (measured) */
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

/* --- table of streams --- */

static uint32_t bucket_of(const struct tunnel *t, uint32_t id)
{
	/* Ids of one side go up by two, so neighbours fall into neighbouring buckets; both sides' share the table. */
	return ((id >> 1) ^ (id << 7)) & (t->buckets_count - 1);
}

struct stream *tunnel_find(const struct tunnel *t, uint32_t id)
{
	struct stream *s = t->buckets[bucket_of(t, id)];

	while (s && s->id != id)
		s = s->hash_next;
	return s;
}

static int table_grow(struct tunnel *t)
{
	uint32_t old_count = t->buckets_count;
	struct stream **old = t->buckets;
	struct stream **wider = calloc((size_t)old_count * 2, sizeof(*wider));

	if (!wider)
		return -ENOMEM;
	t->buckets = wider;
	t->buckets_count = old_count * 2;
	for (uint32_t i = 0; i < old_count; i++) {
		for (struct stream *s = old[i], *next; s; s = next) {
			uint32_t b = bucket_of(t, s->id);

			next = s->hash_next;
			s->hash_next = wider[b];
			wider[b] = s;
		}
	}
	free(old);
	return 0;
}

static bool is_own_id(const struct tunnel *t, uint32_t id)
{
	return (id & 1) == (t->is_initiator ? 1 : 0);
}

int tunnel_insert(struct tunnel *t, struct stream *s)
{
	uint32_t b;

	if (t->streams_count >= t->buckets_count * 2)
		(void)table_grow(t); /* longer chains are slow, not wrong */
	b = bucket_of(t, s->id);
	s->hash_next = t->buckets[b];
	t->buckets[b] = s;
	s->tunnel = t;
	t->streams_count++;
	if (!is_own_id(t, s->id))
		t->peer_streams_count++;
	t->streams_total++;
	t->peer->streams_total++;
	return 0;
}

int tunnel_attach(struct tunnel *t, struct stream *s)
{
	s->id = t->next_id;
	t->next_id += 2;
	window_sender_init(&s->tx, t->peer_initial_credit);
	(void)tunnel_insert(t, s);
	tunnel_granted(t, s->budgeted_bytes);
	if (t->next_id > TUNNEL_LAST_ID)
		tunnel_drain(t, REASON_IDS_USED_UP);
	return 0;
}

void tunnel_detach(struct tunnel *t, struct stream *s)
{
	struct stream **at = &t->buckets[bucket_of(t, s->id)];

	while (*at != s)
		at = &(*at)->hash_next;
	*at = s->hash_next;
	s->hash_next = NULL;
	s->tunnel = NULL;
	s->pending = 0;
	schedule_remove(&s->turn);
	list_remove(&s->control);
	list_remove(&s->last);
	t->budgeted_bytes -= s->budgeted_bytes;
	t->streams_count--;
	if (!is_own_id(t, s->id))
		t->peer_streams_count--;
	t->peer->rx_bytes += s->rx.received;
	t->peer->tx_bytes += s->tx.sent;
	if (!t->streams_count) {
		t->idle_since = pool_now(t->pool);
		if (t->state == TUNNEL_DRAINING)
			tunnel_want_send(t, FRAME_LINK_LIGHT); /* its turn finds that it is over */
	}
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

static void tunnel_up(struct tunnel *t, const struct frame_hello *hello)
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
	if (t->is_drain_due)
		tunnel_drain(t, t->drain_reason);
	peer_tunnel_up(t->peer, t);
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

bool tunnel_take_bulk(struct tunnel *t, struct link *l)
{
	if (t->is_initiator || t->link[FRAME_LINK_BULK])
		return false;
	l->owner = t;
	l->ops = &tunnel_link_ops;
	l->kind = FRAME_LINK_BULK;
	t->link[FRAME_LINK_BULK] = l;
	return true;
}

/* --- links --- */

void tunnel_put_hello(struct pool *pool, struct link *l, const uint8_t id[16], bool is_peer_enrolled)
{
	struct frame_hello m = {
		.incarnation = pool->settings->incarnation,
		.features = FRAME_FEATURE_BULK_LINK,
		.initial_credit_bytes = WINDOW_INITIAL_BYTES,
		.streams_max = TUNNEL_STREAMS_MAX,
		.tunnel_credit_bytes = TUNNEL_CREDIT_MIN_BYTES,
		.link = l->kind,
		.settings_hash = pool->settings->settings_hash,
		.enrolled_count = (uint32_t)view_nodes_count(pool->view),
		.is_peer_enrolled = is_peer_enrolled,
	};
	uint8_t *dst = link_reserve(l);

	if (!dst)
		return; /* no memory: the other side's deadline ends it */
	memcpy(m.tunnel_id, id, sizeof(m.tunnel_id));
	memcpy(m.node, pool->settings->node, sizeof(m.node));
	link_commit(l, frame_put_hello(dst, &m));
	l->has_sent_hello = true;
	(void)link_flush(l);
}

static void describe_mismatch(const struct tunnel *t, const struct tls_peer *peer, char text[PEER_ERROR_BYTES])
{
	struct tls_name wanted = { 0 };

	(void)name_of_node(&t->pool->settings->name, t->peer->name, &wanted);
	snprintf(text, PEER_ERROR_BYTES, "the peer's certificate names %.100s (%zu names); node %.40s must have %.100s",
	         peer->names_count ? peer->names[0].text : "nobody", peer->names_count, t->peer->name, wanted.text);
}

static void tunnel_link_up(struct link *l)
{
	struct tunnel *t = l->owner;
	const struct tls_peer *peer = link_peer(l);

	if (!name_is_node(&t->pool->settings->name, peer, t->peer->name)) {
		char text[PEER_ERROR_BYTES];

		describe_mismatch(t, peer, text);
		link_fail(l, REASON_CERTIFICATE, text);
		return;
	}
	/* HELLO has its own deadline: a peer that took the handshake but says nothing must not hold the tunnel. */
	(void)loop_timer_set(l->loop, &l->deadline, instant_add_ms(pool_now(t->pool), LINK_HANDSHAKE_MS));
	tunnel_put_hello(t->pool, l, t->id, true);
	if (l->state == LINK_OPEN)
		pool_link_woken(t->pool, l);
}

static void tunnel_link_wake(struct link *l)
{
	struct tunnel *t = l->owner;

	pool_link_woken(t->pool, l);
	tunnel_want_send(t, l->kind);
}

/* The peer ends a tunnel when it has no stream left; what ended ours, its GOAWAY even, may lie in the other connection. */
static void read_rest_of(struct tunnel *t, struct link *l)
{
	if (!l || !l->has_hello)
		return;
	l->is_rx_ready = true;
	for (int i = 0; i < LAST_READS_MAX && tunnel_receive(t, l, LINK_UNIT_BYTES); i++)
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
	if (!node)
		return;
	fd = t->pool->ops->connect_node(t->pool->ctx,
	                                &(struct endpoint){ node->addresses[t->peer->next_address % node->addresses_count],
	                                                    t->pool->settings->tunnel_port },
	                                &is_pending);
	if (fd >= 0)
		(void)tunnel_make_link(t, FRAME_LINK_BULK, fd, is_pending);
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

static uint64_t tunnel_credit(const struct tunnel *t)
{
	return t->budgeted_bytes * 2 > TUNNEL_CREDIT_MIN_BYTES ? t->budgeted_bytes * 2 : TUNNEL_CREDIT_MIN_BYTES;
}

static bool tunnel_owes_credit(const struct tunnel *t)
{
	uint64_t credit = tunnel_credit(t);

	return t->rx_consumed + credit > t->rx_limit && t->rx_consumed + credit - t->rx_limit >= credit / 4;
}

static void tunnel_check_credit(struct tunnel *t)
{
	if (!tunnel_owes_credit(t))
		return;
	t->pending |= TUNNEL_SEND_CREDIT;
	tunnel_want_send(t, FRAME_LINK_LIGHT);
}

void tunnel_granted(struct tunnel *t, uint64_t bytes)
{
	t->budgeted_bytes += bytes;
	tunnel_check_credit(t);
}

void tunnel_consumed(struct tunnel *t, uint64_t len_bytes)
{
	t->rx_consumed += len_bytes;
	tunnel_check_credit(t);
}

void tunnel_drain(struct tunnel *t, enum close_reason reason)
{
	if (t->state == TUNNEL_CONNECTING) {
		/* Once our HELLO is out the peer may use it, and have streams on it that an end would reset. */
		if (t->link[FRAME_LINK_LIGHT]->has_sent_hello) {
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
static bool tunnel_is_over(const struct tunnel *t)
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
	if (!is_silent)
		t->is_patient = false;
}

void tunnel_tick(struct tunnel *t, struct instant now, int64_t unix_now_s)
{
	struct link *light = t->link[FRAME_LINK_LIGHT], *bulk = t->link[FRAME_LINK_BULK];
	struct instant heard;
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
	tunnel_tune_links(t, t->is_ping_out && silent_ms >= ask_after_ms);
	if (t->state == TUNNEL_UP && t->is_ping_out && silent_ms >= TUNNEL_SUSPECT_MS &&
	    instant_elapsed_ns(t->ping_sent, now) >= TUNNEL_SUSPECT_MS * NS_PER_MS) {
		tunnel_set_state(t, TUNNEL_SUSPECT);
		log_warn("peer does not answer", L_TEXT("peer", t->peer->name), L_U64("silent_ms", silent_ms),
		         L_U64("streams", t->streams_count));
		peer_tunnel_changed(t->peer);
	}
	if (t->state == TUNNEL_UP && !t->streams_count &&
	    instant_elapsed_ns(t->idle_since, now) >= t->pool->settings->idle_timeout_ms * NS_PER_MS) {
		t->peer->is_wanted = false;
		tunnel_drain(t, REASON_IDLE);
	}
	if (t->state == TUNNEL_DRAINING && !t->streams_count &&
	    (tunnel_is_over(t) || instant_elapsed_ns(t->idle_since, now) >= (t->has_goaway ? DRAIN_ACK_MS : DRAIN_LINGER_MS) * NS_PER_MS))
		tunnel_close(t, t->drain_reason, "drained");
}

/* --- receiving --- */

static void tunnel_broken(struct tunnel *t, const char *text)
{
	tunnel_close(t, REASON_PROTOCOL, text);
}

/* Has that id been used? Then what comes for it and finds no stream is late, else it is wrong. */
static bool is_id_used(const struct tunnel *t, uint32_t id)
{
	return is_own_id(t, id) ? id < t->next_id : id <= t->peer_highest_id;
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

static void on_open(struct tunnel *t, const struct frame *f)
{
	struct frame_open m;
	enum frame_result r = frame_get_open(f, &m);

	if (r != FRAME_OK) {
		tunnel_broken(t, frame_result_text(r));
		return;
	}
	if (is_own_id(t, f->stream) || f->stream <= t->peer_highest_id) {
		tunnel_broken(t, "OPEN with a stream id that was used or is ours");
		return;
	}
	/* Twice what was said is no misunderstanding about which streams have ended. */
	if (t->peer_streams_count >= 2 * TUNNEL_STREAMS_MAX) {
		tunnel_broken(t, "more streams than HELLO allowed");
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

/* How much of what was received lies aside, because it came before its SWITCH. */
static uint64_t stashed(const struct stream *s)
{
	return s->stash ? s->stash->len_bytes : 0;
}

static void on_data(struct tunnel *t, struct link *l, struct stream *s, const struct frame *f)
{
	if (f->len_bytes > t->rx_limit - t->rx_received) {
		tunnel_broken(t, "DATA beyond the tunnel's credit");
		return;
	}
	t->rx_received += f->len_bytes;
	if (!s || s->state == STREAM_CLOSED) {
		tunnel_consumed(t, f->len_bytes);
		return;
	}
	/* An END that is put aside came on the new link: what comes on the old one, up to the SWITCH, was sent before it. */
	if (s->rx_half != HALF_OPEN || (s->is_stash_ended && l->kind != s->rx_link)) {
		tunnel_broken(t, "DATA after END");
		return;
	}
	if (s->role == STREAM_CLIENT_SIDE && s->state != STREAM_OPEN) {
		tunnel_broken(t, "DATA before OPENED");
		return;
	}
	if (!window_receiver_data(&s->rx, f->len_bytes)) {
		tunnel_broken(t, "DATA beyond the stream's window");
		return;
	}
	if (l->kind == s->rx_link) {
		pool_deliver(t->pool, s, f->payload, f->len_bytes);
	} else if (s->rx_link == FRAME_LINK_BULK) {
		tunnel_broken(t, "DATA on the link that the stream has left");
	} else if (!stream_stash(s, f->payload, f->len_bytes)) {
		tunnel_consumed(t, s->rx.received - s->rx.delivered - s->queue.len_bytes - stashed(s));
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
	if (s->rx_half != HALF_OPEN || s->is_stash_ended || (s->role == STREAM_CLIENT_SIDE && s->state != STREAM_OPEN)) {
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
	if (m.link != FRAME_LINK_BULK || m.link == s->rx_link || s->rx_half != HALF_OPEN || m.offset != s->rx.received - stashed(s) ||
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

	if (r != FRAME_OK)
		tunnel_broken(t, frame_result_text(r));
	else if (s)
		stream_on_reset(s, m.reason < REASON_COUNT && m.reason ? (enum close_reason)m.reason : REASON_POD_RESET);
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
	tunnel_drain(t, reason);
	for (uint32_t i = 0; i < t->buckets_count; i++) {
		for (struct stream *s = t->buckets[i], *next; s; s = next) {
			next = s->hash_next;
			if (is_own_id(t, s->id) && s->id > m.last_stream)
				stream_not_taken(s, reason);
		}
	}
	tunnel_want_send(t, FRAME_LINK_LIGHT);
}

static void on_frame(struct tunnel *t, struct link *l, const struct frame *f)
{
	struct stream *s = NULL;

	if (!l->has_hello && f->type != FRAME_HELLO && f->type != FRAME_GOAWAY) {
		tunnel_broken(t, "a frame before HELLO");
		return;
	}
	if (l->kind == FRAME_LINK_BULK && f->type != FRAME_HELLO && f->type != FRAME_DATA && f->type != FRAME_END &&
	    f->type != FRAME_RESET && !(f->type == FRAME_GOAWAY && !l->has_hello)) { /* instead of HELLO it refuses this link only */
		tunnel_broken(t, "a control frame on the bulk link");
		return;
	}
	if (f->stream && f->type != FRAME_OPEN) {
		s = tunnel_find(t, f->stream);
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
		on_open(t, f);
		return;
	case FRAME_OPENED:
		if (s)
			on_opened(t, s, f);
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
	default:
		return; /* frame_next lets no other through */
	}
}

bool tunnel_receive(struct tunnel *t, struct link *l, size_t max_bytes)
{
	struct pool *pool = t->pool;
	bool has_received = false;
	uint32_t deliveries = 0;
	struct frame f;

	for (;;) {
		enum link_result r = link_next_frame(l, &f);

		if (r == LINK_EMPTY) {
			/* The parts in hand lie in the buffer that is filled next. */
			(void)pool_flush_delivery(pool);
			if (t->state == TUNNEL_CLOSED)
				return false;
			if (has_received)
				break;
			has_received = true;
			r = link_receive(l, max_bytes);
			if (r == LINK_FRAME)
				continue;
			if (r == LINK_EMPTY)
				break;
		}
		if (r == LINK_INVALID) {
			(void)pool_flush_delivery(pool);
			tunnel_broken(t, l->invalid);
		}
		if (r != LINK_FRAME)
			return false;
		if (t->state == TUNNEL_SUSPECT) {
			tunnel_set_state(t, TUNNEL_UP);
			t->is_ping_out = false;
			log_info("peer answers again", L_TEXT("peer", t->peer->name), L_U64("streams", t->streams_count));
			peer_tunnel_changed(t->peer);
		}
		if (pool->delivery.stream &&
		    (f.type != FRAME_DATA || f.stream != pool->delivery.stream->id || pool->delivery.stream->tunnel != t)) {
			(void)pool_flush_delivery(pool);
			deliveries++;
			if (t->state == TUNNEL_CLOSED)
				return false;
		}
		on_frame(t, l, &f);
		if (t->state == TUNNEL_CLOSED || l->state != LINK_OPEN)
			return false;
		if (deliveries >= DELIVERIES_MAX) {
			(void)pool_flush_delivery(pool);
			break;
		}
	}
	return t->state != TUNNEL_CLOSED && link_has_input(l);
}

/* --- sending --- */

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
		t->is_ping_out = true;
		link_commit(l, frame_put_ping(dst, 0, t->ping_token));
		return true;
	case TUNNEL_SEND_PONG:
		link_commit(l, frame_put_ping(dst, FRAME_PING_ANSWER, t->pong_token));
		return true;
	case TUNNEL_SEND_CREDIT:
		/* Streams may have ended since it was owed: what was told once stands. */
		if (!tunnel_owes_credit(t))
			return true;
		t->rx_limit = t->rx_consumed + tunnel_credit(t);
		link_commit(l, frame_put_window(dst, 0, 0, &(struct frame_window){ t->rx_consumed, t->rx_limit }));
		return true;
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

bool tunnel_send(struct tunnel *t, struct link *l, size_t max_bytes)
{
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
	return (l->kind == FRAME_LINK_LIGHT && (t->pending || !list_is_empty(&t->control))) || !list_is_empty(&t->last[l->kind]) ||
	       (!schedule_is_empty(&t->turns[l->kind]) && tunnel_send_room(t));
}
