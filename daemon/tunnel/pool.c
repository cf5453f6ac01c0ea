/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/pool.h"

#include "tunnel/admission.h"
#include "tunnel/rx_half.h"
#include "tunnel/stranger.h"
#include "tunnel/turn.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum {
	TICK_MS = 1000,
	REST_TICKS = 3, /* without work: it is at rest */
	/* After less than that there is little to give back, and looking for it takes the heap's locks from other workers. */
	REST_BYTES_MIN = 16 << 20,
	REST_STREAMS_MIN = 1000,
};

/* --- streams --- */

void pool_check_drained(struct pool *p)
{
	if (!p->is_draining || p->is_drained || p->streams_count)
		return;
	/* A tunnel stays until its node has said GOAWAY too: an OPEN may be on its way. */
	list_for_each(at, &p->peers) {
		if (!list_is_empty(&container_of(at, struct peer, entry)->tunnels))
			return;
	}
	p->is_drained = true;
	loop_timer_clear(p->loop, &p->drain_deadline);
	p->ops->drained(p->ctx);
}

void pool_stream_closed(struct pool *p, struct stream *s, enum stream_state old)
{
	bool is_pods_doing = s->reason == REASON_FINISHED || s->reason == REASON_POD_RESET || s->reason == REASON_CLIENT_GONE;
	enum log_level level = is_pods_doing ? LOG_DEBUG : LOG_INFO;
	const struct ended *e = ended_note(&p->ended, s, (uint8_t)old, pool_now(p));
	uint32_t kept_back = 0;
	char cause[ENDED_CAUSE_BYTES];

	p->counters.closed[s->reason]++;
	if (s->reason == REASON_FOREIGN_ADDRESS) {
		p->counters.foreign_claims++;
		level = LOG_WARN;
	}
	if (!log_enabled(level) || (level != LOG_DEBUG && !log_limit_allow(&p->end_log, pool_now(p).ns, &kept_back)))
		return;
	log_write(level, level == LOG_WARN ? "a node spoke for another node's pod" : "stream ended",
	          (const struct log_field[]){ L_TEXT("peer", s->peer ? s->peer->name : NULL),
	                                      L_U64("id", s->id),
	                                      L_TEXT("side", s->role == STREAM_CLIENT_SIDE ? "client" : "server"),
	                                      L_ENDPOINT("client", &s->client),
	                                      L_ENDPOINT("server", &s->server),
	                                      L_U64("to_peer_bytes", s->tx.sent),
	                                      L_U64("from_peer_bytes", s->rx.delivered),
	                                      L_U64("ms", instant_elapsed_ns(s->created, pool_now(p)) / NS_PER_MS),
	                                      L_TEXT("state", stream_state_text(old)),
	                                      L_TEXT("reason", reason_text(s->reason)),
	                                      L_TEXT("by", ended_by_text((enum ended_by)e->by)),
	                                      L_TEXT("cause", e->cause.type ? ended_cause_print(&e->cause, cause) : NULL),
	                                      L_U64("kept_back", kept_back),
	                                      { .kind = LOG_END } });
}

void pool_stream_gone(struct pool *p)
{
	p->streams_count--;
	pool_check_drained(p);
}

/* --- certificates, peers --- */

void pool_set_tls(struct pool *p, struct tls_ctx *tls, int64_t certificate_end_s)
{
	struct tls_ctx *old = p->tls;

	p->tls = tls_ctx_ref(tls);
	tls_ctx_unref(old);
	p->generation++;
	p->certificate_end_s = certificate_end_s;
	strangers_close(p); /* they were judged by the old one */
	list_for_each(entry, &p->peers) {
		struct peer *peer = container_of(entry, struct peer, entry);

		list_for_each_safe(at, &peer->tunnels) {
			struct tunnel *t = container_of(at, struct tunnel, entry);

			if (t->generation != p->generation && tunnel_is_trusted(t, tls))
				tunnel_drain(t, REASON_FINISHED);
		}
	}
}

void pool_want_peer(struct pool *p, uint32_t node_id)
{
	const struct view_node *node = view_node_by_id(p->view, node_id);
	struct peer *peer = node && !node->is_self ? peer_get(p, node) : NULL;

	if (!peer)
		return;
	peer->is_wanted = true;
	peer_connect(peer);
}

void pool_peer_restarted(struct pool *p, uint32_t node_id, uint64_t incarnation)
{
	if (node_id < p->peers_by_id_count && p->peers_by_id[node_id])
		peer_end_incarnation(p->peers_by_id[node_id], incarnation);
}

void pool_set_settings_hash(struct pool *p, uint64_t settings_hash)
{
	if (settings_hash == p->settings_hash)
		return;
	p->settings_hash = settings_hash;
	p->news++;
	list_for_each(at, &p->peers)
		peer_review_pair(container_of(at, struct peer, entry));
}

/* --- life --- */

/* Memory that load needed goes back: buffers when nobody took them for a tick, the heap's free pages once the worker rests. */
static void pool_give_back(struct pool *p)
{
	struct pool_rest *rest = &p->rest;
	uint64_t bytes = p->counters.rx_bytes + p->counters.tx_bytes, streams = p->counters.accepted + p->counters.requested;

	link_stock_trim(&p->stock);
	if (bytes != rest->bytes || streams != rest->streams) {
		rest->bytes = bytes;
		rest->streams = streams;
		rest->ticks = 0;
		return;
	}
	if (rest->ticks >= REST_TICKS || ++rest->ticks < REST_TICKS)
		return;
	if (bytes - rest->trimmed_bytes < REST_BYTES_MIN && streams - rest->trimmed_streams < REST_STREAMS_MIN)
		return;
	rest->trimmed_bytes = bytes;
	rest->trimmed_streams = streams;
	(void)malloc_trim(0);
}

static void pool_on_tick(struct loop_timer *timer)
{
	struct pool *p = container_of(timer, struct pool, tick);
	int64_t unix_now_s = time(NULL);

	list_for_each_safe(entry, &p->peers) {
		struct peer *peer = container_of(entry, struct peer, entry);

		list_for_each_safe(at, &peer->tunnels)
			tunnel_tick(container_of(at, struct tunnel, entry), pool_now(p), unix_now_s);
		if (peer->told == PAIR_JOINING && !list_is_empty(&peer->tunnels))
			peer_review_pair(peer); /* its time may be over */
	}
	held_tick(p);
	lanes_tick(p);
	pool_give_back(p);
	if (budget_is_tight(p->settings->budget)) {
		list_for_each(at, &p->streams)
			stream_reclaim(container_of(at, struct stream, all));
	}
	(void)loop_timer_set(p->loop, &p->tick, instant_add_ms(pool_now(p), TICK_MS));
}

static void pool_on_drain_deadline(struct loop_timer *timer)
{
	struct pool *p = container_of(timer, struct pool, drain_deadline);

	log_warn("drain_timeout is over: the streams that are left are reset", L_U64("streams", p->streams_count));
	p->is_drained = true; /* before the streams: with the last one it would be told twice */
	list_for_each_safe(at, &p->streams)
		stream_fail(container_of(at, struct stream, all), REASON_DRAINING);
	/* Their RESETs go out with the turn that follows; what a dead link keeps does not hold the end up. */
	p->ops->drained(p->ctx);
}

void pool_drain(struct pool *p)
{
	if (p->is_draining)
		return;
	p->is_draining = true;
	(void)loop_timer_set(p->loop, &p->drain_deadline, instant_add_ms(pool_now(p), p->settings->drain_timeout_ms));
	/* Without a listener the kernel program drops SYNs silently: they are retried, and taken by the next daemon. */
	listeners_close(p);
	held_drain(p);
	list_for_each(entry, &p->peers) {
		struct peer *peer = container_of(entry, struct peer, entry);

		list_for_each_safe(at, &peer->tunnels)
			tunnel_drain(container_of(at, struct tunnel, entry), REASON_DRAINING);
		/* Those that wait were accepted: they have the time of the drain, and a tunnel of their own, as all others have. */
		peer_connect(peer);
	}
	strangers_close(p);
	pool_check_drained(p);
}

bool pool_is_pair_enrolled(const struct pool *p, const struct view_node *node)
{
	const struct view_node *self = view_self(p->view);

	return self && self->is_enrolled && node && node->is_enrolled;
}

int pool_reserve_peer_id(struct pool *p, uint32_t node_id)
{
	uint32_t count = p->peers_by_id_count ? p->peers_by_id_count : 16;
	struct peer **wider;

	if (node_id < p->peers_by_id_count)
		return 0;
	while (count <= node_id)
		count *= 2;
	wider = realloc(p->peers_by_id, count * sizeof(struct peer *));
	if (!wider)
		return -ENOMEM;
	memset(wider + p->peers_by_id_count, 0, (count - p->peers_by_id_count) * sizeof(struct peer *));
	p->peers_by_id = wider;
	p->peers_by_id_count = count;
	return 0;
}

void pool_random(struct pool *p, uint8_t *dst, size_t len_bytes)
{
	if (p->random_left < len_bytes) {
		/* At most 256 bytes at a time are promised to come whole; more may be cut by a signal. */
		for (size_t at = 0; at < sizeof(p->random); at += 256) {
			while (getrandom(p->random + at, 256, 0) != 256)
				;
		}
		p->random_left = sizeof(p->random);
	}
	p->random_left -= len_bytes;
	memcpy(dst, p->random + p->random_left, len_bytes);
}

int pool_create(struct loop *loop, const struct pool_settings *settings, const struct pool_ops *ops, void *ctx, struct view *view,
                struct tls_ctx *tls, int64_t certificate_end_s, struct pool **ret)
{
	struct pool *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->loop = loop;
	p->settings = settings;
	p->ops = ops;
	p->ctx = ctx;
	p->certificate_end_s = certificate_end_s;
	p->settings_hash = settings->settings_hash;
	p->tick.on_expire = pool_on_tick;
	p->drain_deadline.on_expire = pool_on_drain_deadline;
	p->accept_log = (struct log_limit){ .interval_ns = 10 * NS_PER_S, .burst = 5 };
	p->end_log = (struct log_limit){ .interval_ns = NS_PER_S, .burst = 20 };
	link_stock_init(&p->stock);
	list_init(&p->streams);
	list_init(&p->unknown);
	list_init(&p->peers);
	list_init(&p->strangers);
	list_init(&p->acks);
	list_init(&p->openeds);
	list_init(&p->ends);
	list_init(&p->ends_due);
	for (int i = 0; i < 2; i++) {
		list_init(&p->rx[i]);
		list_init(&p->tx[i]);
	}
	r = loop_timer_set(loop, &p->tick, instant_add_ms(loop_now(loop), TICK_MS));
	if (r) {
		free(p);
		return r;
	}
	p->view = view_ref(view);
	review_init(p);
	held_init(p);
	silence_init(p);
	lanes_init(p);
	review_enrolled(p);
	p->tls = tls_ctx_ref(tls);
	listeners_init(p);
	loop_set_turn_hook(loop, turn_run, p);
	*ret = p;
	return 0;
}

void pool_destroy(struct pool *p)
{
	if (!p)
		return;
	p->is_draining = p->is_drained = true; /* nothing is told to the owner any more */
	listeners_close(p);
	while (!list_is_empty(&p->peers))
		peer_destroy(container_of(p->peers.next, struct peer, entry), REASON_DRAINING);
	list_for_each_safe(at, &p->streams)
		stream_fail(container_of(at, struct stream, all), REASON_DRAINING);
	held_done(p);
	silence_done(p);
	strangers_close(p);
	loop_set_turn_hook(p->loop, NULL, NULL);
	loop_timer_clear(p->loop, &p->tick);
	loop_timer_clear(p->loop, &p->drain_deadline);
	link_stock_done(&p->stock);
	free(p->peers_by_id);
	view_unref(p->view);
	tls_ctx_unref(p->tls);
	free(p);
}
