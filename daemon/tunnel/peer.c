/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/peer.h"

#include "base/log.h"
#include "tunnel/pool.h"
#include "tunnel/streams.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void peer_on_retry(struct loop_timer *t)
{
	struct peer *p = container_of(t, struct peer, retry);

	if (p->is_wanted)
		peer_connect(p);
}

struct peer *peer_get(struct pool *pool, const struct view_node *node)
{
	struct peer *p = node->id < pool->peers_by_id_count ? pool->peers_by_id[node->id] : NULL;

	if (p)
		return p;
	if (pool_reserve_peer_id(pool, node->id))
		return NULL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	pool->peers_by_id[node->id] = p;
	p->pool = pool;
	p->node_id = node->id;
	p->retry.on_expire = peer_on_retry;
	p->log = (struct log_limit){ .interval_ns = 60 * NS_PER_S, .burst = 5 };
	memcpy(p->name, node->name, sizeof(p->name));
	list_init(&p->tunnels);
	list_init(&p->waiting);
	list_append(&pool->peers, &p->entry);
	return p;
}

static void peer_free(struct loop_garbage *g)
{
	struct peer *p = container_of(g, struct peer, garbage);

	free(p->last_error);
	free(p);
}

void peer_destroy(struct peer *p, enum close_reason reason)
{
	p->is_wanted = false;
	loop_timer_clear(p->pool->loop, &p->retry);
	while (!list_is_empty(&p->waiting))
		stream_fail(container_of(p->waiting.next, struct stream, place), reason);
	while (!list_is_empty(&p->tunnels))
		tunnel_close(container_of(p->tunnels.next, struct tunnel, entry), reason, "the node is no longer a peer");
	/* What only waits for its pod outlives the peer. */
	list_for_each(at, &p->pool->streams) {
		struct stream *s = container_of(at, struct stream, all);

		if (s->peer == p)
			s->peer = NULL;
	}
	list_remove(&p->entry);
	p->pool->peers_by_id[p->node_id] = NULL;
	p->garbage.free_fn = peer_free;
	loop_free_later(p->pool->loop, &p->garbage);
}

struct tunnel *peer_tunnel(const struct peer *p)
{
	list_for_each(at, &p->tunnels) {
		struct tunnel *t = container_of(at, struct tunnel, entry);

		if (tunnel_takes_streams(t))
			return t;
	}
	return NULL;
}

bool peer_is_up(const struct peer *p)
{
	list_for_each(at, &p->tunnels) {
		if (container_of(at, struct tunnel, entry)->state == TUNNEL_UP)
			return true;
	}
	return false;
}

bool peer_takes_tunnels(const struct peer *p, uint64_t incarnation)
{
	uint32_t count = 0;

	list_for_each(at, &p->tunnels) {
		const struct tunnel *t = container_of(at, struct tunnel, entry);

		count += !t->is_initiator && t->incarnation == incarnation;
	}
	return count < PEER_TUNNELS_MAX;
}

static bool peer_is_connecting(const struct peer *p)
{
	list_for_each(at, &p->tunnels) {
		if (container_of(at, struct tunnel, entry)->state == TUNNEL_CONNECTING)
			return true;
	}
	return false;
}

static void peer_set_error(struct peer *p, const char *text)
{
	free(p->last_error);
	p->last_error = strdup(text); /* without memory it is not told */
	p->last_error_s = time(NULL);
}

/* Doubles up to the maximum; a quarter of jitter keeps a thousand nodes from calling one that comes back in the same instant. A lane beyond the first
 * that nobody waits for is given up by then: a worker that is full asks for it again. */
static void peer_retry_later(struct peer *p)
{
	uint64_t ms = (uint64_t)PEER_RETRY_MIN_MS << (p->failures < 7 ? p->failures : 7);
	uint16_t jitter;

	if (ms > PEER_RETRY_MAX_MS) {
		ms = PEER_RETRY_MAX_MS;
		p->is_wanted = !list_is_empty(&p->waiting) || lanes_own(p->pool, p->name) == 0;
	}
	pool_random(p->pool, (uint8_t *)&jitter, sizeof(jitter));
	ms += ms * jitter / UINT16_MAX / 4;
	p->failures++;
	(void)loop_timer_set(p->pool->loop, &p->retry, instant_add_ms(pool_now(p->pool), ms));
}

/* A node that ends makes a tunnel only for those that wait for one already. */
static bool peer_may_connect(const struct peer *p)
{
	return !p->pool->is_draining || !list_is_empty(&p->waiting);
}

void peer_connect(struct peer *p)
{
	struct pool *pool = p->pool;
	const struct view_node *node = view_node_by_name(pool->view, p->name);
	struct endpoint dst;
	bool is_pending;
	int fd;

	if (!node || !peer_may_connect(p) || peer_tunnel(p) || peer_is_connecting(p) || p->retry.heap_index)
		return;
	if (!node->addresses_count) {
		peer_set_error(p, "the node has no address"); /* the view that gives it one brings the next attempt */
		return;
	}
	dst = (struct endpoint){ node->addresses[p->next_address % node->addresses_count], pool->settings->tunnel_port };
	fd = pool->ops->connect_node(pool->ctx, &dst, &is_pending);
	if (fd < 0 || tunnel_connect(p, fd, is_pending)) {
		pool->counters.tunnels_failed[fd < 0 ? reason_from_errno(-fd) : REASON_NO_RESOURCES]++;
		p->next_address++;
		peer_set_error(p, fd < 0 ? strerror(-fd) : "no memory for a tunnel");
		peer_retry_later(p);
	}
}

/* A SYN that is held has no credit before: any number of them, of whatever addresses, takes no memory from those that have connected. */
static void peer_attach(struct tunnel *t, struct stream *s)
{
	if (!s->budgeted_bytes && !stream_reserve(s)) {
		stream_fail(s, REASON_OVER_BUDGET);
		return;
	}
	streams_attach(t, s);
	stream_step(s, STREAM_EV_ATTACHED);
}

void peer_assign(struct peer *p, struct stream *s)
{
	struct tunnel *t = peer_tunnel(p);

	if (t) {
		peer_attach(t, s);
		return;
	}
	if (!pool_is_pair_enrolled(p->pool, view_node_by_name(p->pool->view, p->name))) {
		/* The next connection passes in the clear: the sooner it is tried, the better. */
		stream_fail(s, REASON_NO_TUNNEL);
		return;
	}
	p->is_wanted = true;
	list_append(&p->waiting, &s->place);
	p->waiting_count++;
	stream_step(s, STREAM_EV_UNKNOWN); /* arms the deadline */
	peer_connect(p);
}

static struct pair_reach peer_reach(const struct peer *p)
{
	struct pair_reach reach = { .is_up = peer_is_up(p) };

	list_for_each(at, &p->tunnels) {
		const struct tunnel *t = container_of(at, struct tunnel, entry);

		if (t->state == TUNNEL_CONNECTING)
			continue;
		reach.is_answering = reach.is_answering || !t->is_silent;
		reach.is_silent = reach.is_silent || t->is_silent;
	}
	reach.is_silent = reach.is_silent && !reach.is_answering;
	return reach;
}

static void peer_tell(struct peer *p)
{
	struct pair_reach reach = peer_reach(p);

	if (pair_reach_equal(reach, p->told_reach))
		return;
	p->told_reach = reach;
	p->pool->ops->peer_reach(p->pool->ctx, p->name, reach);
}

static void peer_hand_over_waiting(struct peer *p, struct tunnel *t)
{
	struct list *at;

	while (tunnel_takes_streams(t) && (at = list_pop(&p->waiting))) {
		struct stream *s = container_of(at, struct stream, place);

		p->waiting_count--;
		peer_attach(t, s);
	}
}

/* An attempt whose OPEN a tunnel does not answer, where another one is up: its client has heard nothing yet, and the RESET that goes after its OPEN
 * ends it there. */
static void peer_begin_held_anew(struct peer *p)
{
	list_for_each(at, &p->tunnels) {
		struct tunnel *t = container_of(at, struct tunnel, entry);

		if (t->state != TUNNEL_SUSPECT)
			continue;
		for (uint32_t i = 0; i < t->buckets_count; i++) {
			for (struct stream *s = t->buckets[i], *next; s; s = next) {
				next = s->hash_next;
				if (s->state == STREAM_OPENING && s->held)
					held_begin_anew(p->pool, s->held, REASON_PEER_TIMEOUT);
			}
		}
	}
}

void peer_review_pair(struct peer *p)
{
	struct pool *pool = p->pool;
	enum pair_state state = pool->ops->hear_peer(pool->ctx, p->name, p->heard.state);

	if (state == p->told && pool->news == p->told_news)
		return;
	if (state != p->told)
		log_debug("pair", L_TEXT("peer", p->name), L_TEXT("from", pair_state_text(p->told)), L_TEXT("to", pair_state_text(state)));
	p->told = state;
	p->told_news = pool->news;
	list_for_each(at, &p->tunnels) {
		struct tunnel *t = container_of(at, struct tunnel, entry);

		/* Where HELLO has still to go it says so itself. */
		if (!t->link[FRAME_LINK_LIGHT] || !t->link[FRAME_LINK_LIGHT]->has_sent_hello)
			continue;
		t->pending |= TUNNEL_SEND_PAIR;
		tunnel_want_send(t, FRAME_LINK_LIGHT);
	}
}

void peer_hear(struct peer *p, const struct frame_pair *said)
{
	p->heard = *said;
	if (said->settings_hash) {
		p->settings_hash = said->settings_hash;
		p->settings_said = pool_now(p->pool);
	}
	peer_review_pair(p);
}

void peer_end_incarnation(struct peer *p, uint64_t incarnation)
{
	list_for_each_safe(at, &p->tunnels) {
		struct tunnel *t = container_of(at, struct tunnel, entry);

		if (t->incarnation == incarnation)
			tunnel_close(t, REASON_PEER_RESTARTED, "the peer has restarted");
	}
	if (p->incarnation == incarnation)
		p->incarnation = 0; /* what the next tunnel shows is no news */
}

static void peer_has_restarted(struct peer *p, uint64_t incarnation)
{
	struct pool *pool = p->pool;

	log_info("peer restarted", L_TEXT("peer", p->name));
	peer_end_incarnation(p, incarnation);
	if (pool->settings->workers > 1)
		pool->ops->peer_restarted(pool->ctx, p->node_id, incarnation);
}

void peer_tunnel_up(struct peer *p, struct tunnel *t)
{
	p->pool->counters.tunnels_opened++;
	loop_timer_clear(p->pool->loop, &p->retry);
	p->failures = 0;
	free(p->last_error);
	p->last_error = NULL;
	/* Another one of a node that is taken out is its own business. */
	if (pool_is_pair_enrolled(p->pool, view_node_by_name(p->pool->view, p->name)))
		p->is_wanted = true;
	if (p->incarnation && p->incarnation != t->incarnation)
		peer_has_restarted(p, p->incarnation);
	p->incarnation = t->incarnation;
	peer_hand_over_waiting(p, t);
	peer_begin_held_anew(p);
	peer_tell(p);
}

void peer_tunnel_idle(struct peer *p, const struct tunnel *idle)
{
	list_for_each(at, &p->tunnels) {
		const struct tunnel *t = container_of(at, struct tunnel, entry);

		if (t != idle && t->state == TUNNEL_UP)
			return;
	}
	p->is_wanted = false;
}

void peer_tunnel_changed(struct peer *p)
{
	struct tunnel *t = peer_tunnel(p);

	/* One that is better again takes what waited meanwhile. */
	if (t) {
		peer_hand_over_waiting(p, t);
		peer_begin_held_anew(p);
	}
	peer_tell(p);
	if (!t && p->is_wanted)
		peer_connect(p);
}

void peer_tunnel_closed(struct peer *p, enum close_reason reason, const char *text, bool was_up)
{
	bool is_orderly = reason == REASON_IDLE || reason == REASON_DRAINING || reason == REASON_FINISHED;

	if (!is_orderly)
		peer_set_error(p, text);
	if (was_up) {
		log_info("tunnel closed", L_TEXT("peer", p->name), L_TEXT("reason", reason_text(reason)), L_TEXT("detail", text));
	} else if (!is_orderly) {
		uint32_t kept_back;

		p->pool->counters.tunnels_failed[reason]++;
		p->next_address++;
		if (log_limit_allow(&p->log, pool_now(p->pool).ns, &kept_back))
			log_warn("no tunnel", L_TEXT("peer", p->name), L_TEXT("reason", reason_text(reason)), L_TEXT("detail", text),
			         L_U64("kept_back", kept_back));
	}
	if (list_is_empty(&p->tunnels))
		p->heard = (struct frame_pair){ 0 };
	peer_tell(p);
	if (p->is_wanted && peer_may_connect(p) && !peer_tunnel(p) && !peer_is_connecting(p) && !p->retry.heap_index)
		peer_retry_later(p);
	pool_check_drained(p->pool);
}
