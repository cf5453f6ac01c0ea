/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/pool.h"

#include "net/sock.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum {
	ACCEPTS_PER_EVENT = 64,
	ACCEPT_PAUSE_MS = 100, /* no descriptors left: running streams give some back meanwhile */
	TICK_MS = 1000,
	STRANGERS_MAX = 256,       /* handshakes under way at once */
	LIGHT_RECENT_NS = 2000000, /* light traffic within this: bulk goes in small units, and others get the core between two turns */
};

/* --- turns --- */

void pool_link_woken(struct pool *p, struct link *l)
{
	if (link_has_input(l) && !list_is_linked(&l->rx_entry))
		list_append(&p->rx[l->kind], &l->rx_entry);
}

static void receive_all(struct pool *p, enum frame_link kind, size_t unit, uint32_t max_links)
{
	struct list batch, *at;

	/* A link that has more comes behind those that wait already, and after the sending. */
	list_init(&batch);
	list_splice(&batch, &p->rx[kind]);
	while (max_links-- && (at = list_pop(&batch))) {
		struct link *l = container_of(at, struct link, rx_entry);

		if (tunnel_receive(l->owner, l, unit))
			pool_link_woken(p, l);
	}
	list_splice(&batch, &p->rx[kind]);
	list_splice(&p->rx[kind], &batch);
}

static void send_all(struct pool *p, enum frame_link kind, size_t unit, uint32_t max_links)
{
	struct list batch, *at;

	list_init(&batch);
	list_splice(&batch, &p->tx[kind]);
	while (max_links-- && (at = list_pop(&batch))) {
		struct link *l = container_of(at, struct link, tx_entry);

		if (tunnel_send(l->owner, l, unit) && !list_is_linked(&l->tx_entry))
			list_append(&p->tx[kind], &l->tx_entry);
	}
	list_splice(&batch, &p->tx[kind]);
	list_splice(&p->tx[kind], &batch);
}

static bool pool_turn(void *ctx)
{
	struct pool *p = ctx;
	bool is_light_recent = instant_elapsed_ns(p->light_active, pool_now(p)) < LIGHT_RECENT_NS;
	size_t unit = is_light_recent ? LINK_UNIT_SMALL_BYTES : LINK_UNIT_BYTES;
	bool has_rx, has_tx, is_more;

	receive_all(p, FRAME_LINK_LIGHT, LINK_UNIT_BYTES, UINT32_MAX);
	send_all(p, FRAME_LINK_LIGHT, LINK_UNIT_BYTES, UINT32_MAX);
	/* One bulk operation, then the light links again: an answer waits for one unit and never for two. */
	has_rx = !list_is_empty(&p->rx[FRAME_LINK_BULK]);
	has_tx = !list_is_empty(&p->tx[FRAME_LINK_BULK]);
	if (has_tx && (p->is_bulk_tx_next || !has_rx)) {
		send_all(p, FRAME_LINK_BULK, unit, 1);
		p->is_bulk_tx_next = false;
	} else if (has_rx) {
		receive_all(p, FRAME_LINK_BULK, unit, 1);
		p->is_bulk_tx_next = true;
	}
	is_more = !list_is_empty(&p->rx[0]) || !list_is_empty(&p->rx[1]) || !list_is_empty(&p->tx[0]) || !list_is_empty(&p->tx[1]);
	/* Pods on the same core answer now instead of after the whole batch; without it the two nodes work in step, each idle half the time. */
	if (is_more && is_light_recent)
		sched_yield();
	return is_more;
}

/* --- deliveries --- */

bool pool_flush_delivery(struct pool *p)
{
	struct pool_delivery *d = &p->delivery;
	struct stream *s = d->stream;

	if (!s)
		return false;
	d->stream = NULL;
	stream_deliver(s, d->part, d->parts, d->len_bytes);
	return true;
}

void pool_deliver(struct pool *p, struct stream *s, const uint8_t *bytes, size_t len_bytes)
{
	struct pool_delivery *d = &p->delivery;

	if (d->stream && (d->stream != s || d->parts == LINK_RECORDS_MAX))
		(void)pool_flush_delivery(p);
	if (s->state == STREAM_CLOSED) { /* the flush found its pod gone */
		if (s->tunnel)
			tunnel_consumed(s->tunnel, len_bytes);
		return;
	}
	if (!d->stream) {
		d->stream = s;
		d->parts = 0;
		d->len_bytes = 0;
	}
	d->part[d->parts++] = (struct iovec){ (void *)bytes, len_bytes };
	d->len_bytes += len_bytes;
}

void pool_forget_delivery(struct pool *p, const struct stream *s)
{
	if (p->delivery.stream != s)
		return;
	p->delivery.stream = NULL;
	if (s->tunnel)
		tunnel_consumed(s->tunnel, p->delivery.len_bytes);
}

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

void pool_stream_closed(struct pool *p, struct stream *s)
{
	enum log_level level = s->reason == REASON_FINISHED || s->reason == REASON_POD_RESET ? LOG_DEBUG : LOG_INFO;
	uint32_t kept_back = 0;

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
	                                      L_TEXT("reason", reason_text(s->reason)),
	                                      L_U64("kept_back", kept_back),
	                                      { .kind = LOG_END } });
}

void pool_stream_gone(struct pool *p)
{
	p->streams_count--;
	pool_check_drained(p);
}

/* --- accepting pods' connections --- */

static void listeners_pause(struct pool *p, int error)
{
	uint32_t kept_back;

	p->counters.accept_pauses++;
	for (int i = 0; i < p->listeners_count; i++)
		loop_remove(p->loop, &p->listeners[i].source);
	(void)loop_timer_set(p->loop, &p->accept_pause, instant_add_ms(pool_now(p), ACCEPT_PAUSE_MS));
	if (log_limit_allow(&p->accept_log, pool_now(p).ns, &kept_back))
		log_warn("no more connections for now: raise the limit of open files", L_ERRNO(error), L_U64("streams", p->streams_count),
		         L_U64("kept_back", kept_back));
}

static void on_accept_pause_over(struct loop_timer *t)
{
	struct pool *p = container_of(t, struct pool, accept_pause);

	for (int i = 0; i < p->listeners_count; i++) {
		if (loop_add(p->loop, &p->listeners[i].source, EPOLLIN)) {
			listeners_pause(p, ENOMEM);
			return;
		}
	}
}

static void listener_on_event(struct loop_source *src, uint32_t events)
{
	struct pool_listener *listener = container_of(src, struct pool_listener, source);
	struct pool *p = listener->pool;

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
		struct endpoint client, server;
		int fd = sock_accept(src->fd, &client, &server);

		if (fd == -EAGAIN)
			return;
		if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM) {
			listeners_pause(p, -fd);
			return;
		}
		if (fd < 0)
			continue; /* that connection is gone already */
		p->counters.accepted++;
		stream_accepted(p, fd, &client, &server);
	}
}

int pool_add_listener(struct pool *p, int fd)
{
	struct pool_listener *listener;

	if (p->listeners_count == 2) {
		close(fd);
		return -ENOSPC;
	}
	listener = &p->listeners[p->listeners_count++];
	*listener = (struct pool_listener){ .source = { .fd = fd, .on_event = listener_on_event }, .pool = p };
	return loop_add(p->loop, &listener->source, EPOLLIN);
}

static void listeners_close(struct pool *p)
{
	loop_timer_clear(p->loop, &p->accept_pause);
	for (int i = 0; i < p->listeners_count; i++) {
		loop_remove(p->loop, &p->listeners[i].source);
		close(p->listeners[i].source.fd);
	}
	p->listeners_count = 0;
}

/* --- links that other nodes make --- */

static void stranger_gone(struct link *l)
{
	struct pool *p = l->owner;

	list_remove(&l->tx_entry);
	p->strangers_count--;
}

/* Says why and closes. */
static void stranger_refuse(struct link *l, enum close_reason reason, const char *text)
{
	struct pool *p = l->owner;
	struct frame_goaway m = { .reason = (uint16_t)reason };
	uint32_t kept_back;
	uint8_t *dst = link_reserve(l);

	p->counters.handshakes_refused++;
	if (dst) {
		snprintf(m.text, sizeof(m.text), "%s", text);
		link_commit(l, frame_put_goaway(dst, &m));
		(void)link_flush(l);
	}
	if (log_limit_allow(&p->accept_log, pool_now(p).ns, &kept_back))
		log_warn("refused a node's connection", L_TEXT("reason", reason_text(reason)), L_TEXT("detail", text),
		         L_U64("kept_back", kept_back));
	stranger_gone(l);
	link_destroy(l, true);
}

static void stranger_failed(struct link *l, enum close_reason reason, const char *text)
{
	struct pool *p = l->owner;
	uint32_t kept_back;

	p->counters.handshakes_refused++;
	if (log_limit_allow(&p->accept_log, pool_now(p).ns, &kept_back))
		log_warn("a node's connection failed", L_TEXT("reason", reason_text(reason)), L_TEXT("detail", text),
		         L_U64("kept_back", kept_back));
	stranger_gone(l);
	link_destroy(l, false);
}

/* The light link makes a tunnel, the bulk link belongs to one that is there. */
static bool stranger_joins(struct peer *found, struct link *l, const struct frame_hello *m)
{
	if (m->link == FRAME_LINK_LIGHT)
		return peer_takes_tunnels(found, m->incarnation) && tunnel_accept(found, l, m) == 0;
	list_for_each(at, &found->tunnels) {
		struct tunnel *t = container_of(at, struct tunnel, entry);

		if (!memcmp(t->id, m->tunnel_id, sizeof(t->id)) && t->incarnation == m->incarnation)
			return tunnel_take_bulk(t, l);
	}
	return false;
}

static void stranger_hello(struct link *l, const struct frame_hello *m)
{
	struct pool *p = l->owner;
	const struct tls_peer *peer = link_peer(l);
	const struct view_node *node;
	struct peer *found;
	char text[NAME_ERROR_BYTES] = "";

	if (p->settings->name.is_shared) {
		node = view_node_by_name(p->view, m->node);
	} else {
		node = name_find_node(&p->settings->name, peer, p->view, text);
		if (node && strcmp(node->name, m->node) != 0) {
			stranger_refuse(l, REASON_CERTIFICATE, "HELLO names another node than the certificate");
			return;
		}
	}
	if (!node || node->is_self) {
		stranger_refuse(l, REASON_CERTIFICATE, text[0] ? text : "HELLO names a node that is not a peer of this one");
		return;
	}
	found = peer_get(p, node);
	if (!found) {
		stranger_refuse(l, REASON_NO_RESOURCES, "no memory for a peer");
		return;
	}
	loop_timer_clear(l->loop, &l->deadline);
	l->kind = m->link;
	l->has_hello = true;
	stranger_gone(l);
	if (!stranger_joins(found, l, m)) {
		link_destroy(l, true);
		return;
	}
	/* Nothing was put on the link before: frames are made in the turn. */
	tunnel_put_hello(p, l, m->tunnel_id, true);
	pool_link_woken(p, l);
}

static void stranger_wake(struct link *l)
{
	enum link_result r;
	struct frame_hello m;
	struct frame f;

	while ((r = link_next_frame(l, &f)) == LINK_EMPTY) {
		if (link_receive(l, TLS_RECORD_MAX) != LINK_FRAME)
			return;
	}
	if (r == LINK_INVALID) {
		stranger_refuse(l, REASON_PROTOCOL, l->invalid);
	} else if (r == LINK_FRAME && f.type == FRAME_GOAWAY) {
		link_fail(l, REASON_CERTIFICATE, "the node that connected took itself back");
	} else if (r == LINK_FRAME && f.type != FRAME_HELLO) {
		stranger_refuse(l, REASON_PROTOCOL, "a frame before HELLO");
	} else if (r == LINK_FRAME) {
		enum frame_result decoded = frame_get_hello(&f, &m);

		if (decoded == FRAME_OK)
			stranger_hello(l, &m);
		else
			stranger_refuse(l, REASON_PROTOCOL, frame_result_text(decoded));
	}
}

static void stranger_up(struct link *l)
{
	/* The handshake's deadline goes on for HELLO: who proves a name and then says nothing does not stay. */
	(void)loop_timer_set(l->loop, &l->deadline, instant_add_ms(loop_now(l->loop), LINK_HANDSHAKE_MS));
	stranger_wake(l);
}

static const struct link_ops stranger_ops = { .up = stranger_up, .wake = stranger_wake, .failed = stranger_failed };

/* Who connected tries again. */
static void strangers_close(struct pool *p)
{
	while (!list_is_empty(&p->strangers)) {
		struct link *l = container_of(p->strangers.next, struct link, tx_entry);

		stranger_gone(l);
		link_destroy(l, false);
	}
}

void pool_accept_link(struct pool *p, int fd)
{
	struct link *l;

	if (p->is_draining) {
		close(fd);
		return;
	}
	/* The oldest gives way: a node needs milliseconds, and somebody who only holds connections open must not keep nodes out. */
	if (p->strangers_count >= STRANGERS_MAX)
		stranger_failed(container_of(p->strangers.next, struct link, tx_entry), REASON_NO_RESOURCES, "too many handshakes at once");
	if (link_create(p->loop, &p->stock, p->tls, fd, false, TLS_SERVER, &stranger_ops, p, &l))
		return;
	p->strangers_count++;
	list_append(&p->strangers, &l->tx_entry); /* it has nothing to send before HELLO: the entry is free for this */
}

/* --- view, certificates --- */

void pool_set_view(struct pool *p, struct view *v)
{
	struct view *old = p->view;
	struct list again, *at;

	p->view = view_ref(v);
	list_for_each_safe(entry, &p->peers) {
		struct peer *peer = container_of(entry, struct peer, entry);
		const struct view_node *node = view_node_by_name(v, peer->name);

		if (!node || node->id != peer->node_id)
			peer_destroy(peer, REASON_PEER_REMOVED);
	}
	list_init(&again);
	list_for_each_safe(entry, &p->streams) {
		struct stream *s = container_of(entry, struct stream, all);
		const struct addr *remote = s->role == STREAM_CLIENT_SIDE ? &s->server.addr : &s->client.addr;
		struct view_answer answer;

		if (!s->tunnel || s->state == STREAM_JUDGING || s->state == STREAM_CLOSED)
			continue;
		answer = view_lookup(v, remote);
		/* An address that nobody has now may come back; one that another node has is never delivered to the new owner. */
		if ((answer.kind == VIEW_POD || answer.kind == VIEW_NODE) && answer.owner->id != s->peer->node_id)
			stream_fail(s, REASON_MOVED);
	}
	/* All that wait are judged again, those with a peer too: their server may be elsewhere now. */
	list_splice(&again, &p->unknown);
	list_for_each(entry, &p->peers) {
		struct peer *peer = container_of(entry, struct peer, entry);

		list_splice(&again, &peer->waiting);
		peer->waiting_count = 0;
		list_for_each(t, &peer->tunnels)
			list_splice(&again, &container_of(t, struct tunnel, entry)->judging);
		list_for_each(t, &peer->tunnels)
			container_of(t, struct tunnel, entry)->judging_count = 0;
	}
	while ((at = list_pop(&again))) {
		struct stream *s = container_of(at, struct stream, place);

		if (s->role == STREAM_CLIENT_SIDE)
			s->peer = NULL;
		stream_judge(s);
	}
	list_for_each(entry, &p->peers) {
		struct peer *peer = container_of(entry, struct peer, entry);

		if (peer->is_wanted)
			peer_connect(peer);
	}
	view_unref(old);
}

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

/* --- life --- */

static void pool_on_tick(struct loop_timer *timer)
{
	struct pool *p = container_of(timer, struct pool, tick);
	int64_t unix_now_s = time(NULL);

	list_for_each_safe(entry, &p->peers) {
		struct peer *peer = container_of(entry, struct peer, entry);

		list_for_each_safe(at, &peer->tunnels)
			tunnel_tick(container_of(at, struct tunnel, entry), pool_now(p), unix_now_s);
	}
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
	list_for_each(entry, &p->peers) {
		struct peer *peer = container_of(entry, struct peer, entry);

		list_for_each_safe(at, &peer->tunnels)
			tunnel_drain(container_of(at, struct tunnel, entry), REASON_DRAINING);
		while (!list_is_empty(&peer->waiting))
			stream_fail(container_of(peer->waiting.next, struct stream, place), REASON_DRAINING);
	}
	while (!list_is_empty(&p->unknown))
		stream_fail(container_of(p->unknown.next, struct stream, place), REASON_DRAINING);
	strangers_close(p);
	pool_check_drained(p);
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
	p->tick.on_expire = pool_on_tick;
	p->accept_pause.on_expire = on_accept_pause_over;
	p->drain_deadline.on_expire = pool_on_drain_deadline;
	p->accept_log = (struct log_limit){ .interval_ns = 10 * NS_PER_S, .burst = 5 };
	p->end_log = (struct log_limit){ .interval_ns = NS_PER_S, .burst = 20 };
	link_stock_init(&p->stock);
	list_init(&p->streams);
	list_init(&p->unknown);
	list_init(&p->peers);
	list_init(&p->strangers);
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
	p->tls = tls_ctx_ref(tls);
	loop_set_turn_hook(loop, pool_turn, p);
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
