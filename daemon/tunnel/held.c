/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/held.h"

#include "base/hash.h"
#include "tunnel/admission.h"
#include "tunnel/pool.h"

#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>

enum {
	GAP_FIRST_MS = 1000, /* RFC 6298's first retransmission timeout */
};

void held_init(struct pool *p)
{
	struct held_table *t = &p->held;

	for (uint32_t i = 0; i < HELD_BUCKETS; i++) {
		list_init(&t->buckets[i]);
		list_init(&t->sources[i]);
	}
	list_init(&t->all);
	pool_random(p, (uint8_t *)&t->salt, sizeof(t->salt));
}

/* --- finding --- */

static uint64_t hash_of(const struct held_table *t, const struct endpoint *client, const struct endpoint *server, uint32_t seq)
{
	struct {
		uint64_t salt;
		struct addr client, server;
		uint16_t client_port, server_port;
		uint32_t seq;
	} key = { t->salt, client->addr, server->addr, client->port, server->port, seq };

	return hash_bytes(&key, sizeof(key));
}

static struct list *bucket_of(struct held_table *t, const struct endpoint *client, const struct endpoint *server)
{
	return &t->buckets[hash_of(t, client, server, 0) & (HELD_BUCKETS - 1)];
}

static struct held *held_find(struct held_table *t, const struct endpoint *client, const struct endpoint *server)
{
	list_for_each(at, bucket_of(t, client, server)) {
		struct held *h = container_of(at, struct held, entry);

		if (endpoint_equal(&h->syn.client, client) && endpoint_equal(&h->syn.server, server))
			return h;
	}
	return NULL;
}

static struct list *source_bucket_of(struct held_table *t, uint32_t device, const struct addr *a)
{
	struct {
		uint64_t salt;
		struct addr addr;
		uint32_t device, pad;
	} key = { t->salt, *a, device, 0 };

	return &t->sources[hash_bytes(&key, sizeof(key)) & (HELD_BUCKETS - 1)];
}

/* NULL: no memory. */
static struct held_source *source_get(struct held_table *t, uint32_t device, const struct addr *a)
{
	struct list *bucket = source_bucket_of(t, device, a);
	struct held_source *s;

	list_for_each(at, bucket) {
		s = container_of(at, struct held_source, entry);
		if (s->device == device && addr_equal(&s->addr, a))
			return s;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->device = device;
	s->addr = *a;
	list_append(bucket, &s->entry);
	return s;
}

static void source_put(struct held_source *s)
{
	if (s->count)
		return;
	list_remove(&s->entry);
	free(s);
}

/* --- life --- */

static void held_free(struct loop_garbage *g)
{
	free(container_of(g, struct held, garbage));
}

static void held_forget(struct pool *p, struct held *h)
{
	list_remove(&h->entry);
	list_remove(&h->all);
	p->held.count--;
	h->source->count--;
	h->device->count--;
	source_put(h->source);
	source_put(h->device);
	h->garbage.free_fn = held_free;
	loop_free_later(p->loop, &h->garbage);
}

static void let_in(struct pool *p, const struct syn *s)
{
	p->ops->release_syn(p->ctx, s);
}

static bool has_room(const struct held_table *t, const struct held_source *source, const struct held_source *device)
{
	return source->count < HELD_SOURCE_MAX && device->count < HELD_MAX - t->count;
}

/* NULL: it is not held, since there are too many already. */
static struct held *held_create(struct pool *p, const struct syn *s)
{
	struct held_source *source = source_get(&p->held, s->device, &s->client.addr),
			   *device = source_get(&p->held, s->device, &(struct addr){ 0 });
	struct instant now = pool_now(p);
	struct held *h = NULL;

	if (source && device && has_room(&p->held, source, device))
		h = calloc(1, sizeof(*h));
	if (!h) {
		if (source)
			source_put(source);
		if (device)
			source_put(device);
		return NULL;
	}
	h->syn = *s;
	h->source = source;
	h->device = device;
	h->seen = now;
	h->gap_ms = GAP_FIRST_MS;
	source->count++;
	device->count++;
	p->held.count++;
	list_append(bucket_of(&p->held, &s->client, &s->server), &h->entry);
	list_append(&p->held.all, &h->all);
	return h;
}

/* Once more the SYN of one that is there. */
static void held_again(struct pool *p, struct held *h, const struct syn *s)
{
	bool is_passing;

	h->gap_ms = (uint32_t)(instant_elapsed_ns(h->seen, pool_now(p)) / NS_PER_MS);
	h->seen = pool_now(p);
	is_passing = s->may_pass && !h->syn.may_pass;
	h->syn = *s; /* its timestamp is a new one */
	if (h->is_released)
		let_in(p, s);
	else if (is_passing && h->stream->state == STREAM_WAITING)
		stream_step(h->stream, STREAM_EV_UNKNOWN); /* the mode is another since: so is the time that it may wait */
}

/* A tunnel would take a stream of it at once. */
static bool has_tunnel(const struct pool *p, const struct syn *s)
{
	struct view_answer server = view_lookup(p->view, &s->server.addr);
	uint32_t id = server.kind == VIEW_POD ? server.owner->id : UINT32_MAX;

	return id < p->peers_by_id_count && p->peers_by_id[id] && peer_tunnel(p->peers_by_id[id]);
}

/* It can not be held. */
static void not_held(struct pool *p, const struct syn *s)
{
	p->counters.syns_unheld++;
	if (s->may_pass && !has_tunnel(p, s))
		p->ops->answer_syn(p->ctx, s, &(struct syn_answer){ .kind = SYN_PASS });
	else
		let_in(p, s);
}

static void note_taken(struct held_table *t, const struct syn *s)
{
	uint64_t hash = hash_of(t, &s->client, &s->server, s->seq);

	t->taken[hash % HELD_TAKEN_MAX] = hash;
}

/* It was sent again, and came into the ring just before its connection was accepted: that has its answer already. */
static bool is_taken(const struct held_table *t, const struct syn *s)
{
	uint64_t hash = hash_of(t, &s->client, &s->server, s->seq);

	return t->taken[hash % HELD_TAKEN_MAX] == hash;
}

void pool_take_syn(struct pool *p, const struct syn *s)
{
	struct held *h;

	if (p->is_draining || is_taken(&p->held, s))
		return;
	h = held_find(&p->held, &s->client, &s->server);
	if (h && h->stream && h->syn.seq == s->seq) {
		held_again(p, h, s);
		return;
	}
	/* The client has begun another connection from the same port; or what it was told of the first has not come to it. */
	if (h && h->stream)
		stream_fail(h->stream, REASON_CLIENT_GONE); /* and with it h is forgotten */
	else if (h)
		held_forget(p, h);
	h = held_create(p, s);
	if (!h) {
		not_held(p, s);
		return;
	}
	p->counters.syns_held++;
	stream_held(p, h);
}

void held_release(struct pool *p, struct held *h)
{
	h->is_released = true;
	h->released = pool_now(p);
	let_in(p, &h->syn);
}

void held_begin_anew(struct pool *p, struct held *h, enum close_reason reason)
{
	struct stream *s = h->stream;

	s->held = NULL; /* its end is not the client's */
	stream_fail(s, reason);
	stream_held(p, h);
}

static struct syn_answer unreachable(const struct syn *s, uint8_t code_v4, uint8_t code_v6)
{
	return (struct syn_answer){ SYN_UNREACHABLE, addr_is_v4(&s->client.addr) ? code_v4 : code_v6, s->server.addr };
}

/* Does it end an attempt? The rest of that type would make the client's node lower its MTU towards the server. */
static bool is_end(const struct syn *s, const struct frame_cause *cause)
{
	if (addr_is_v4(&s->client.addr))
		return cause->type == ICMP_DEST_UNREACH && cause->code != ICMP_FRAG_NEEDED;
	return cause->type == ICMP6_DST_UNREACH;
}

/* What the client hears. What is not the far side's own word is silence: its kernel tries again, as it would with packets that were lost. Or the
 * connection passes, where it may and no tunnel has carried it. */
static struct syn_answer answer_of(const struct syn *s, enum close_reason reason, bool is_peers_word, const struct frame_cause *cause)
{
	if (cause && is_end(s, cause))
		return (struct syn_answer){ SYN_UNREACHABLE, cause->code, cause->from };
	switch (reason) {
	case REASON_REFUSED:
	case REASON_POD_RESET:
		return (struct syn_answer){ .kind = SYN_RESET };
	case REASON_HOST_UNREACHABLE:
	case REASON_PEER_REMOVED: /* the cluster says that the node is gone */
		return unreachable(s, ICMP_HOST_UNREACH, ICMP6_DST_UNREACH_ADDR);
	case REASON_NET_UNREACHABLE:
		return unreachable(s, ICMP_NET_UNREACH, ICMP6_DST_UNREACH_NOROUTE);
	case REASON_PROHIBITED:
		return unreachable(s, ICMP_PKT_FILTERED, ICMP6_DST_UNREACH_ADMIN);
	case REASON_NO_TUNNEL:
	case REASON_UNKNOWN_ADDRESS:
	case REASON_NO_RESOURCES:
	case REASON_OVER_BUDGET:
		/* What a tunnel has taken does not pass in the clear, whatever becomes of it there. */
		return (struct syn_answer){ .kind = s->may_pass && !is_peers_word ? SYN_PASS : SYN_SILENCE };
	default:
		return (struct syn_answer){ .kind = SYN_SILENCE };
	}
}

void held_end(struct pool *p, struct held *h, enum close_reason reason, const struct frame_cause *cause)
{
	struct syn_answer answer = answer_of(&h->syn, reason, h->stream && h->stream->is_peers_word, cause);

	h->stream = NULL;
	if (h->is_released && reason != REASON_CLIENT_GONE)
		return; /* its connection may be accepted at any moment, and is reset then */
	if (!h->is_released)
		p->ops->answer_syn(p->ctx, &h->syn, &answer);
	held_forget(p, h);
}

enum held_found held_accept(struct pool *p, const struct endpoint *client, const struct endpoint *server, struct stream **ret)
{
	struct held *h = held_find(&p->held, client, server);

	if (!h)
		return HELD_NONE;
	*ret = h->stream;
	note_taken(&p->held, &h->syn);
	held_forget(p, h);
	return *ret ? HELD_STREAM : HELD_OVER;
}

bool held_is_late(const struct pool *p)
{
	/* Accepting pauses, or more wait than one batch takes. */
	return p->accept_pause.heap_index || p->accept_behind.ns == pool_now(p).ns;
}

/* Of a SYN that was let in its stream's deadline says so. */
static bool is_over(const struct pool *p, const struct held *h)
{
	struct instant now = pool_now(p);

	if (h->is_released)
		return !h->stream && !held_is_late(p) && instant_elapsed_ns(h->released, now) > HELD_OVER_MS * NS_PER_MS;
	return instant_elapsed_ns(h->seen, now) > (h->gap_ms * UINT64_C(2) + HELD_SILENCE_MS) * NS_PER_MS;
}

void held_tick(struct pool *p)
{
	list_for_each_safe(at, &p->held.all) {
		struct held *h = container_of(at, struct held, all);

		if (!is_over(p, h))
			continue;
		if (h->stream)
			stream_fail(h->stream, REASON_CLIENT_GONE);
		else
			held_forget(p, h);
	}
}

void held_drain(struct pool *p)
{
	list_for_each_safe(at, &p->held.all) {
		struct held *h = container_of(at, struct held, all);

		if (h->stream && !h->is_released)
			stream_fail(h->stream, REASON_DRAINING);
	}
}

void held_done(struct pool *p)
{
	list_for_each_safe(at, &p->held.all)
		held_forget(p, container_of(at, struct held, all));
}
