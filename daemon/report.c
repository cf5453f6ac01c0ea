/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "report.h"

#include "base/log.h"
#include "status/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COUNTERS_MAX = 256, DEVICES_MAX = 1024 };

/* One question of a client, until all workers have answered. */
struct report {
	struct daemon *daemon;
	const struct status_query *query;
	struct status_reply *reply;
};

/* What one worker found. */
struct report_part {
	struct snapshot_peer *peers;
	size_t peers_count;
	struct snapshot_stream *streams;
	size_t streams_count;
	uint64_t streams_matching, streams_open, buffered_bytes;
	struct pool_counters counters;
	bool is_out_of_memory;
};

/* --- in a worker's thread --- */

static void fill_tunnel(struct snapshot_peer *ret, const struct tunnel *t, struct instant now)
{
	struct tls_info info = tls_session_info(t->link[FRAME_LINK_LIGHT]->tls);

	ret->state_ms = instant_elapsed_ns(t->state_since, now) / NS_PER_MS;
	ret->rtt_us = t->rtt_us;
	ret->certificate_not_after_s = t->expires_s;
	snprintf(ret->tls_version, sizeof(ret->tls_version), "%s", info.version);
	snprintf(ret->tls_group, sizeof(ret->tls_group), "%s", info.group);
	snprintf(ret->tls_cipher, sizeof(ret->tls_cipher), "%s", info.cipher);
	snprintf(ret->certificate_name, sizeof(ret->certificate_name), "%s", t->certificate_name);
	snprintf(ret->certificate_serial, sizeof(ret->certificate_serial), "%s", t->serial);
}

/* How much the state of a tunnel says about its peer; the best one is shown. */
static int rank_of(enum tunnel_state state)
{
	static const int ranks[TUNNEL_STATE_COUNT] = {
		[TUNNEL_UP] = 4, [TUNNEL_SUSPECT] = 3, [TUNNEL_DRAINING] = 2, [TUNNEL_CONNECTING] = 1, [TUNNEL_CLOSED] = 0,
	};

	return ranks[state];
}

static void fill_peer(struct snapshot_peer *ret, const struct peer *p)
{
	struct instant now = pool_now(p->pool);
	const struct tunnel *best = NULL;

	memset(ret, 0, sizeof(*ret));
	ret->node_id = p->node_id;
	ret->state = "none";
	ret->incarnation = p->incarnation;
	ret->streams_waiting = p->waiting_count;
	ret->streams_total = p->streams_total;
	ret->sent_bytes = p->tx_bytes;
	ret->received_bytes = p->rx_bytes;
	ret->last_error_s = p->last_error_s;
	snprintf(ret->last_error, sizeof(ret->last_error), "%s", p->last_error);
	if (p->retry.heap_index)
		ret->retry_in_ms = instant_elapsed_ns(now, p->retry.deadline) / NS_PER_MS;
	list_for_each(at, &p->tunnels) {
		const struct tunnel *t = container_of(at, struct tunnel, entry);

		ret->tunnels++;
		ret->streams_open += t->streams_count;
		for (uint32_t i = 0; i < t->buckets_count; i++) {
			for (const struct stream *s = t->buckets[i]; s; s = s->hash_next) {
				ret->sent_bytes += s->tx.sent;
				ret->received_bytes += s->rx.received;
			}
		}
		if (!best || rank_of(t->state) > rank_of(best->state))
			best = t;
	}
	if (!best)
		return;
	ret->state = tunnel_state_text(best->state);
	if (best->state == TUNNEL_CONNECTING)
		ret->state_ms = instant_elapsed_ns(best->state_since, now) / NS_PER_MS;
	else
		fill_tunnel(ret, best, now);
}

static void fill_stream(struct snapshot_stream *ret, const struct stream *s)
{
	*ret = (struct snapshot_stream){
		.id = s->id,
		.client = s->client,
		.server = s->server,
		.is_client_side = s->role == STREAM_CLIENT_SIDE,
		.state = stream_state_text(s->state),
		.age_ms = instant_elapsed_ns(s->created, pool_now(s->pool)) / NS_PER_MS,
		.sent_bytes = s->tx.sent,
		.received_bytes = s->rx.received,
		.is_sent_bulk = s->tx_link == FRAME_LINK_BULK,
		.is_received_bulk = s->rx_link == FRAME_LINK_BULK,
		.window_bytes = window_receiver_granted(&s->rx),
		.buffered_bytes = s->queue.len_bytes + (s->stash ? s->stash->len_bytes : 0),
		.send_room_bytes = window_sender_room(&s->tx),
		.reason = s->reason ? reason_text(s->reason) : "",
	};
	if (s->peer)
		memcpy(ret->peer, s->peer->name, sizeof(ret->peer));
}

static bool fits(const struct status_query *q, const char *peer)
{
	return !q->peer[0] || !strcmp(q->peer, peer);
}

static void collect_streams(const struct pool *pool, struct report_part *part, const struct status_query *q)
{
	if (q->what == STATUS_STREAMS) {
		part->streams = calloc(pool->streams_count < q->limit ? pool->streams_count + 1 : q->limit, sizeof(*part->streams));
		part->is_out_of_memory |= !part->streams;
	}
	list_for_each(at, &pool->streams) {
		const struct stream *s = container_of(at, struct stream, all);

		part->streams_open += s->state != STREAM_CLOSED;
		part->buffered_bytes += s->queue.len_bytes + (s->stash ? s->stash->len_bytes : 0);
		if (!part->streams || s->state == STREAM_CLOSED || !fits(q, s->peer ? s->peer->name : ""))
			continue;
		part->streams_matching++;
		if (part->streams_count < q->limit)
			fill_stream(&part->streams[part->streams_count++], s);
	}
}

static void collect_peers(const struct pool *pool, struct report_part *part, const struct status_query *q)
{
	size_t count = 0;

	list_for_each(at, &pool->peers)
		count++;
	part->peers = calloc(count + 1, sizeof(*part->peers));
	part->is_out_of_memory |= !part->peers;
	if (!part->peers)
		return;
	list_for_each(at, &pool->peers) {
		const struct peer *p = container_of(at, struct peer, entry);

		if (fits(q, p->name))
			fill_peer(&part->peers[part->peers_count++], p);
	}
}

static void collect_in_worker(struct pool *pool, void *arg, void *ctx)
{
	const struct status_query *q = ((const struct report *)ctx)->query;
	struct report_part *part = arg;

	part->counters = pool->counters;
	if (q->what == STATUS_STATUS || q->what == STATUS_PEERS || q->what == STATUS_CHECK)
		collect_peers(pool, part, q);
	if (q->what == STATUS_STATUS || q->what == STATUS_STREAMS)
		collect_streams(pool, part, q);
}

/* --- in main's thread --- */

static void merge_counters(struct snapshot *s, struct pool_counters *sum, const struct report_part *part)
{
	const struct pool_counters *c = &part->counters;

	for (int i = 0; i < REASON_COUNT; i++)
		s->ended[i] += c->closed[i];
	sum->accepted += c->accepted;
	sum->requested += c->requested;
	sum->tunnels_opened += c->tunnels_opened;
	sum->tunnels_failed += c->tunnels_failed;
	sum->handshakes_refused += c->handshakes_refused;
	sum->accept_pauses += c->accept_pauses;
	sum->foreign_claims += c->foreign_claims;
	s->sent_bytes += c->tx_bytes;
	s->received_bytes += c->rx_bytes;
	s->streams_open += part->streams_open;
	s->buffered_bytes += part->buffered_bytes;
	s->streams_matching += part->streams_matching;
}

/* A peer may have tunnels on another worker than its home, where a view changed meanwhile: one line shows both. */
static void merge_peer(struct snapshot_peer *into, const struct snapshot_peer *from)
{
	struct snapshot_peer sum = *into;
	bool is_better = !strcmp(into->state, "none") || (strcmp(into->state, "up") != 0 && !strcmp(from->state, "up"));

	if (is_better) {
		sum = *from;
		memcpy(sum.name, into->name, sizeof(sum.name));
		sum.addresses_count = into->addresses_count;
		memcpy(sum.addresses, into->addresses, sizeof(sum.addresses));
	}
	sum.tunnels = into->tunnels + from->tunnels;
	sum.streams_open = into->streams_open + from->streams_open;
	sum.streams_waiting = into->streams_waiting + from->streams_waiting;
	sum.streams_total = into->streams_total + from->streams_total;
	sum.sent_bytes = into->sent_bytes + from->sent_bytes;
	sum.received_bytes = into->received_bytes + from->received_bytes;
	*into = sum;
}

/* Every node of the view but this one, with what the workers know. NULL: no memory. */
static struct snapshot_peer *peers_of(const struct view *v, void *const *parts, uint32_t parts_count, size_t *ret_count)
{
	size_t nodes = view_nodes_count(v), count = 0;
	struct snapshot_peer *peers = calloc(nodes + 1, sizeof(*peers));

	if (!peers)
		return NULL;
	for (size_t i = 0; i < nodes; i++) {
		const struct view_node *node = view_node_at(v, i);
		struct snapshot_peer *p = &peers[count];

		if (node->is_self)
			continue;
		count++;
		p->node_id = node->id;
		p->state = "none";
		memcpy(p->name, node->name, sizeof(p->name));
		for (size_t a = 0; a < node->addresses_count && a < SNAPSHOT_ADDRESSES_MAX; a++)
			p->addresses[p->addresses_count++] = node->addresses[a];
	}
	for (uint32_t w = 0; w < parts_count; w++) {
		const struct report_part *part = parts[w];

		for (size_t i = 0; i < part->peers_count; i++) {
			for (size_t k = 0; k < count; k++) {
				if (peers[k].node_id == part->peers[i].node_id) {
					merge_peer(&peers[k], &part->peers[i]);
					break;
				}
			}
		}
	}
	*ret_count = count;
	return peers;
}

static struct snapshot_stream *streams_of(void *const *parts, uint32_t parts_count, uint32_t limit, size_t *ret_count)
{
	struct snapshot_stream *streams;
	size_t total = 0, count = 0;

	for (uint32_t w = 0; w < parts_count; w++)
		total += ((const struct report_part *)parts[w])->streams_count;
	streams = calloc((total < limit ? total : limit) + 1, sizeof(*streams));
	if (!streams)
		return NULL;
	for (uint32_t w = 0; w < parts_count; w++) {
		const struct report_part *part = parts[w];

		for (size_t i = 0; i < part->streams_count && count < limit; i++) {
			streams[count] = part->streams[i];
			streams[count++].worker = w;
		}
	}
	*ret_count = count;
	return streams;
}

static struct snapshot_reload reload_of(const char *what, const struct reload_state *s)
{
	return (struct snapshot_reload){
		.what = what, .generation = s->generation, .loaded_s = s->loaded_s, .tried_s = s->tried_s, .error = s->error
	};
}

static void fill_certificates(struct snapshot_certificates *ret, const struct daemon *d)
{
	const struct cred_info *info = &d->cred;

	ret->names_count = info->self.names_count;
	for (size_t i = 0; i < info->self.names_count; i++)
		snprintf(ret->names[i], sizeof(ret->names[i]), "%s:%s", info->self.names[i].type == TLS_NAME_URI ? "URI" : "DNS",
		         info->self.names[i].text);
	snprintf(ret->serial, sizeof(ret->serial), "%s", info->self.serial);
	ret->not_before_s = info->not_before_s;
	ret->not_after_s = info->self.not_after_s;
	memcpy(ret->sha256, info->self.sha256, sizeof(ret->sha256));
	ret->authorities_count = info->authorities_count;
	for (uint32_t i = 0; i < info->authorities_count; i++) {
		snprintf(ret->authorities[i].subject, sizeof(ret->authorities[i].subject), "%s", info->authorities[i].subject);
		ret->authorities[i].not_after_s = info->authorities[i].not_after_s;
	}
	ret->has_crl = info->has_crl;
	ret->directory = d->config.identity.directory;
	ret->reload = reload_of("certificates", &d->cred_state);
}

static size_t fill_counters(struct snapshot_counter *ret, const struct daemon *d)
{
	static struct capture_counter found[COUNTERS_MAX]; /* main's thread only */
	size_t count = capture_counters(d->capture, found, COUNTERS_MAX);

	for (size_t i = 0; i < count; i++) {
		ret[i] = (struct snapshot_counter){ .name = found[i].name,
			                            .is_ingress = found[i].is_ingress,
			                            .is_clear = found[i].is_clear,
			                            .is_refused = found[i].is_refused,
			                            .packets = found[i].packets,
			                            .bytes = found[i].bytes };
	}
	return count;
}

static size_t fill_devices(struct snapshot_device *ret, const struct daemon *d)
{
	static struct capture_device found[DEVICES_MAX];
	size_t count = capture_devices(d->capture, found, DEVICES_MAX);

	for (size_t i = 0; i < count; i++) {
		memset(&ret[i], 0, sizeof(ret[i]));
		memcpy(ret[i].name, found[i].name, sizeof(ret[i].name));
		ret[i].ifindex = found[i].ifindex;
		ret[i].is_attached = found[i].is_attached;
		ret[i].is_first = found[i].is_first;
		snprintf(ret[i].how, sizeof(ret[i].how), "%s", found[i].how ? found[i].how : "");
		snprintf(ret[i].detail, sizeof(ret[i].detail), "%s", found[i].detail);
	}
	return count;
}

static const char *mode_text(enum config_mode mode)
{
	return mode == CONFIG_PERMISSIVE ? "permissive" : mode == CONFIG_STRICT ? "strict" : "lockdown";
}

static void answer(const struct report *r, void *const *parts, uint32_t parts_count)
{
	static struct snapshot_counter counters[COUNTERS_MAX];
	static struct snapshot_device devices[DEVICES_MAX];
	const struct daemon *d = r->daemon;
	const struct budget *budget = engine_budget(d->engine);
	struct pool_counters sum = { 0 };
	char reason[EDGE_ERROR_BYTES] = "";
	struct snapshot_peer *peers = NULL;
	struct snapshot_stream *streams = NULL;
	struct snapshot s = {
		.now_s = time(NULL),
		.node = d->config.node,
		.version = CULVERT_VERSION,
		.incarnation = d->incarnation,
		.uptime_s = (uint64_t)(time(NULL) - d->started_s),
		.mode = mode_text(d->config.capture.mode),
		.connect = "optimistic",
		.is_draining = d->is_draining,
		.is_shared_identity = d->name.is_shared,
		.reason = reason,
		.workers = engine_workers(d->engine),
		.nodes = (uint32_t)view_nodes_count(d->view),
		.budget_bytes = budget->limit_bytes,
		.granted_bytes = budget_granted(budget),
		.counters = counters,
		.devices = devices,
	};
	const struct snapshot_reload reloads[] = { reload_of("settings", &d->config_state), reload_of("nodes", &d->view_state),
		                                   reload_of("certificates", &d->cred_state) };

	s.is_ready = daemon_is_ready(d, reason);
	for (uint32_t w = 0; w < parts_count; w++)
		merge_counters(&s, &sum, parts[w]);
	s.streams_total = sum.accepted + sum.requested;
	peers = peers_of(d->view, parts, parts_count, &s.peers_count);
	streams = streams_of(parts, parts_count, r->query->limit, &s.streams_count);
	if (!peers || !streams) {
		status_reply_fail(r->reply, "no_memory", "out of memory");
	} else {
		const struct snapshot_event events[] = {
			{ "accepted", sum.accepted },
			{ "requested", sum.requested },
			{ "tunnels_opened", sum.tunnels_opened },
			{ "tunnels_failed", sum.tunnels_failed },
			{ "handshakes_refused", sum.handshakes_refused },
			{ "accept_pauses", sum.accept_pauses },
			{ "foreign_claims", sum.foreign_claims },
		};

		for (size_t i = 0; i < s.peers_count; i++) {
			s.peers_up += !strcmp(peers[i].state, "up");
			s.peers_wanted += strcmp(peers[i].state, "none") != 0 || peers[i].retry_in_ms;
		}
		s.peers = peers;
		s.streams = streams;
		s.events = events;
		s.events_count = sizeof(events) / sizeof(events[0]);
		s.reloads = reloads;
		s.reloads_count = sizeof(reloads) / sizeof(reloads[0]);
		s.counters_count = fill_counters(counters, d);
		s.devices_count = fill_devices(devices, d);
		fill_certificates(&s.certificates, d);
		status_reply_done(r->reply, &s);
	}
	free(peers);
	free(streams);
}

static void on_collected(void *ctx, void *const *parts, uint32_t parts_count)
{
	struct report *r = ctx;
	bool is_out_of_memory = false;

	for (uint32_t w = 0; w < parts_count; w++)
		is_out_of_memory |= ((const struct report_part *)parts[w])->is_out_of_memory;
	if (is_out_of_memory || !r->daemon->status)
		status_reply_fail(r->reply, is_out_of_memory ? "no_memory" : "ending",
		                  is_out_of_memory ? "out of memory" : "the daemon is ending");
	else
		answer(r, parts, parts_count);
	for (uint32_t w = 0; w < parts_count; w++) {
		struct report_part *part = parts[w];

		free(part->peers);
		free(part->streams);
	}
	free(r);
}

static void on_collect(void *ctx, const struct status_query *q, struct status_reply *reply)
{
	struct daemon *d = ctx;
	struct report *r = calloc(1, sizeof(*r));

	if (r) {
		*r = (struct report){ .daemon = d, .query = q, .reply = reply };
		if (!engine_ask(d->engine, sizeof(struct report_part), collect_in_worker, on_collected, r))
			return;
	}
	free(r);
	status_reply_fail(reply, "no_memory", "out of memory");
}

static const struct status_ops report_ops = { .collect = on_collect };

int report_start(struct daemon *d)
{
	char path[CONFIG_PATH_BYTES], error[STATUS_ERROR_BYTES];
	int r;

	snprintf(path, sizeof(path), "%s/status.sock", d->config.runtime_directory);
	r = status_server_create(d->loop, path, &report_ops, d, &d->status, error);
	if (r)
		log_error("the status socket can not be opened", L_TEXT("path", path), L_TEXT("detail", error));
	return r;
}

void report_stop(struct daemon *d)
{
	status_server_destroy(d->status);
	d->status = NULL;
}
