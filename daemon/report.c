/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "report.h"

#include "base/log.h"
#include "collect.h"
#include "kubernetes.h"
#include "process.h"
#include "status/merge.h"
#include "status/snapshot.h"
#include "tls/tls.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COUNTERS_MAX = 256, DEVICES_MAX = 1024 };

static_assert((int)VIEW_NODES_MAX < (int)UINT16_MAX, "a place fits");

/* One question, until all workers have answered. */
struct report {
	struct daemon *daemon;
	const struct status_query *query;
	report_fn deliver;
	void *ctx;
};

/* What the workers counted, added up; what the snapshot borrows of it lives as long as this. */
struct sums {
	struct pool_counters counters;
	uint64_t tunnels_failed, handshakes_refused;
	struct snapshot_event tunnels[TUNNEL_STATE_COUNT], streams[STREAM_STATE_COUNT];
};

static void sums_init(struct sums *sums)
{
	*sums = (struct sums){ 0 };
	for (int i = 0; i < TUNNEL_STATE_COUNT; i++)
		sums->tunnels[i].name = tunnel_state_text((enum tunnel_state)i);
	for (int i = 0; i < STREAM_STATE_COUNT; i++)
		sums->streams[i].name = stream_state_text((enum stream_state)i);
}

static void merge_counters(struct snapshot *s, struct sums *sums, const struct collect_part *part, uint32_t worker)
{
	const struct pool_counters *c = &part->counters;
	struct pool_counters *sum = &sums->counters;

	for (int i = 0; i < REASON_COUNT; i++) {
		s->ended[i] += c->closed[i];
		s->tunnels_failed[i] += c->tunnels_failed[i];
		s->handshakes_refused[i] += c->handshakes_refused[i];
		sums->tunnels_failed += c->tunnels_failed[i];
		sums->handshakes_refused += c->handshakes_refused[i];
	}
	for (int i = 0; i < TUNNEL_STATE_COUNT; i++)
		sums->tunnels[i].count += part->tunnels[i];
	for (int i = 0; i < STREAM_STATE_COUNT; i++)
		sums->streams[i].count += part->stream_states[i];
	sum->accepted += c->accepted;
	sum->requested += c->requested;
	sum->tunnels_opened += c->tunnels_opened;
	sum->accept_pauses += c->accept_pauses;
	sum->syns_held += c->syns_held;
	sum->syns_unheld += c->syns_unheld;
	sum->pods_silent += c->pods_silent;
	sum->flows_unsilenced += c->flows_unsilenced;
	sum->foreign_claims += c->foreign_claims;
	s->full_workers |= (uint64_t)part->is_full << worker;
	s->workers_busy_us += part->busy_us;
	s->sent_bytes += c->tx_bytes;
	s->received_bytes += c->rx_bytes;
	s->streams_open += part->streams_open;
	s->buffered_bytes += part->buffered_bytes;
	s->streams_matching += part->streams_matching;
}

static uint32_t enrolled_of(const struct view *v)
{
	uint32_t count = 0;

	for (size_t i = 0; i < view_nodes_count(v); i++)
		count += view_node_at(v, i)->is_enrolled;
	return count;
}

/* Every node of the view but this one, with what the workers know. NULL: no memory. */
static struct snapshot_peer *peers_of(const struct daemon *d, void *const *parts, uint32_t parts_count, size_t *ret_count)
{
	static uint16_t place_of[VIEW_IDS_MAX]; /* in peers, from 1, by node id; main's thread only */
	const struct view *v = d->view;
	size_t nodes = v ? view_nodes_count(v) : 0, count = 0;
	struct snapshot_peer *peers = calloc(nodes + 1, sizeof(*peers));

	if (!peers)
		return NULL;
	memset(place_of, 0, sizeof(place_of));
	for (size_t i = 0; i < nodes; i++) {
		const struct view_node *node = view_node_at(v, i);
		struct snapshot_peer *p = &peers[count];

		if (node->is_self)
			continue;
		place_of[node->id] = (uint16_t)++count;
		p->node_id = node->id;
		p->state = "none";
		p->is_enrolled = node->is_enrolled;
		p->pair = d->capture ? pair_state_text(capture_hear_peer(d->capture, node->name, PAIR_NOT_ENROLLED)) : "";
		memcpy(p->name, node->name, sizeof(p->name));
		for (size_t a = 0; a < node->addresses_count && a < SNAPSHOT_ADDRESSES_MAX; a++)
			p->addresses[p->addresses_count++] = node->addresses[a];
	}
	for (uint32_t w = 0; w < parts_count; w++) {
		const struct collect_part *part = parts[w];

		for (size_t i = 0; i < part->peers_count; i++) {
			uint16_t place = place_of[part->peers[i].node_id];

			if (place)
				merge_peer(&peers[place - 1], &part->peers[i], w);
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
		total += ((const struct collect_part *)parts[w])->streams_count;
	streams = calloc((total < limit ? total : limit) + 1, sizeof(*streams));
	if (!streams)
		return NULL;
	for (uint32_t w = 0; w < parts_count; w++) {
		const struct collect_part *part = parts[w];

		for (size_t i = 0; i < part->streams_count && count < limit; i++) {
			streams[count] = part->streams[i];
			streams[count++].worker = w;
		}
	}
	*ret_count = count;
	return streams;
}

static int compare_ended(const void *a, const void *b)
{
	uint64_t x = ((const struct snapshot_ended *)a)->ended_ms, y = ((const struct snapshot_ended *)b)->ended_ms;

	return x < y ? -1 : x > y;
}

/* Of all workers, the newest first; at most limit. NULL: no memory. */
static struct snapshot_ended *ended_of(void *const *parts, uint32_t parts_count, uint32_t limit, size_t *ret_count)
{
	struct snapshot_ended *ended;
	size_t count = 0;

	for (uint32_t w = 0; w < parts_count; w++)
		count += ((const struct collect_part *)parts[w])->ended_count;
	ended = calloc(count + 1, sizeof(*ended));
	if (!ended)
		return NULL;
	count = 0;
	for (uint32_t w = 0; w < parts_count; w++) {
		const struct collect_part *part = parts[w];

		for (size_t i = 0; i < part->ended_count; i++) {
			ended[count] = part->ended[i];
			ended[count++].worker = w;
		}
	}
	qsort(ended, count, sizeof(*ended), compare_ended);
	*ret_count = count < limit ? count : limit;
	return ended;
}

static struct snapshot_reload reload_of(const char *what, const struct reload_state *s)
{
	return (struct snapshot_reload){ .what = what,
		                         .generation = s->generation,
		                         .loaded_s = s->loaded_s,
		                         .tried_s = s->tried_s,
		                         .failures = s->failures,
		                         .error = s->error };
}

static void fill_certificates(struct snapshot_certificates *ret, const struct daemon *d)
{
	const struct cred_info *info = &d->cred;
	struct identity_state identity;

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
	if (kubernetes_identity(d, &identity)) {
		ret->issuance = (struct snapshot_issuance){
			.is_there = true,
			.signer = d->config.identity.signer,
			.phase = identity_phase_name(identity.phase),
			.since_s = identity.since_s,
			.renewal_s = identity.renew_s,
			.authorities_s = identity.bundle_s,
			.failed_s = identity.error[0] ? identity.failed_s : 0,
			.issued = identity.issued,
		};
		snprintf(ret->issuance.request, sizeof(ret->issuance.request), "%s", identity.request);
		snprintf(ret->issuance.error, sizeof(ret->issuance.error), "%s", identity.error);
	}
	ret->reload = reload_of("certificates", &d->cred_state);
}

static size_t fill_counters(struct snapshot_counter *ret, const struct daemon *d)
{
	static struct capture_counter found[COUNTERS_MAX]; /* main's thread only */
	size_t count = d->capture ? capture_counters(d->capture, found, COUNTERS_MAX) : 0;

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
	size_t count = d->capture ? capture_devices(d->capture, found, DEVICES_MAX) : 0;

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
	static struct snapshot_cluster cluster;
	const struct daemon *d = r->daemon;
	const struct budget *budget = engine_budget(d->engine);
	struct sums sums;
	const struct pool_counters *sum = &sums.counters;
	char reason[EDGE_ERROR_BYTES] = "", listen[ENDPOINT_TEXT_BYTES];
	struct snapshot_peer *peers = NULL;
	struct snapshot_stream *streams = NULL;
	struct snapshot_ended *ended = NULL;
	struct snapshot s = {
		.now_s = time(NULL),
		.node = d->config.node,
		.version = CULVERT_VERSION,
		.incarnation = d->incarnation,
		.uptime_s = (uint64_t)(time(NULL) - d->started_s),
		.mode = mode_text(d->config.capture.mode),
		.connect = d->config.capture.connect == CONFIG_FAITHFUL ? "faithful" : "optimistic",
		.metrics_listen = d->config.metrics.listen.is_on ? endpoint_print(&d->config.metrics.listen.endpoint, listen) : "",
		.sealed_by = tls_engine_text(),
		.is_draining = d->is_draining,
		.is_shared_identity = d->name.is_shared,
		.reason = reason,
		.workers = engine_workers(d->engine),
		.nodes = d->view ? (uint32_t)view_nodes_count(d->view) : 0,
		.nodes_enrolled = d->view ? enrolled_of(d->view) : 0,
		.pods = d->view ? view_entries_count(d->view, VIEW_POD) : 0, /* prefixes of pods that are somebody's */
		.budget_bytes = budget->limit_bytes,
		.granted_bytes = budget_granted(budget),
		.counters = counters,
		.devices = devices,
	};
	const struct snapshot_reload reloads[] = { reload_of("settings", &d->config_state), reload_of("nodes", &d->view_state),
		                                   reload_of("certificates", &d->cred_state) };

	s.is_ready = daemon_is_ready(d, reason);
	sums_init(&sums);
	for (uint32_t w = 0; w < parts_count; w++)
		merge_counters(&s, &sums, parts[w], w);
	s.streams_total = sum->accepted + sum->requested;
	peers = peers_of(d, parts, parts_count, &s.peers_count);
	streams = streams_of(parts, parts_count, r->query->limit, &s.streams_count);
	ended = ended_of(parts, parts_count, r->query->limit, &s.ended_count);
	if (!peers || !streams || !ended) {
		r->deliver(r->ctx, NULL, "internal", "out of memory");
	} else {
		const struct snapshot_event events[] = {
			{ "accepted", sum->accepted },
			{ "requested", sum->requested },
			{ "tunnels_opened", sum->tunnels_opened },
			{ "tunnels_failed", sums.tunnels_failed },
			{ "handshakes_refused", sums.handshakes_refused },
			{ "accept_pauses", sum->accept_pauses },
			{ "syns_held", sum->syns_held },
			{ "syns_unheld", sum->syns_unheld },
			{ "pods_silent", sum->pods_silent },
			{ "flows_unsilenced", sum->flows_unsilenced },
			{ "foreign_claims", sum->foreign_claims },
		};

		for (size_t i = 0; i < s.peers_count; i++) {
			s.peers_up += !strcmp(peers[i].state, "up");
			s.peers_wanted += strcmp(peers[i].state, "none") != 0 || peers[i].retry_in_ms;
		}
		s.peers = peers;
		s.streams = streams;
		s.ended_streams = ended;
		s.events = events;
		s.events_count = sizeof(events) / sizeof(events[0]);
		/* A tunnel that is closed, and a stream, are gone a moment later: nobody counts them. */
		s.tunnels = sums.tunnels;
		s.tunnels_count = TUNNEL_CLOSED;
		s.stream_states = sums.streams;
		s.stream_states_count = STREAM_CLOSED;
		s.reloads = reloads;
		s.reloads_count = sizeof(reloads) / sizeof(reloads[0]);
		s.counters_count = fill_counters(counters, d);
		s.devices_count = fill_devices(devices, d);
		process_fill(&s.process);
		fill_certificates(&s.certificates, d);
		if (d->kubernetes) {
			kubernetes_snapshot(d, peers, s.peers_count, &cluster);
			s.cluster = &cluster;
		}
		r->deliver(r->ctx, &s, NULL, NULL);
	}
	free(peers);
	free(streams);
	free(ended);
}

static void on_collected(void *ctx, void *const *parts, uint32_t parts_count)
{
	struct report *r = ctx;
	bool is_out_of_memory = false;

	for (uint32_t w = 0; w < parts_count; w++)
		is_out_of_memory |= ((const struct collect_part *)parts[w])->is_out_of_memory;
	if (is_out_of_memory)
		r->deliver(r->ctx, NULL, "internal", "out of memory");
	else if (!r->daemon->status)
		r->deliver(r->ctx, NULL, "ending", "the daemon is ending");
	else
		answer(r, parts, parts_count);
	for (uint32_t w = 0; w < parts_count; w++)
		collect_part_done(parts[w]);
	free(r);
}

static void in_worker(struct pool *pool, void *part, void *ctx)
{
	collect_in_worker(pool, part, ((const struct report *)ctx)->query);
}

void report_collect(struct daemon *d, const struct status_query *q, report_fn deliver, void *ctx)
{
	struct report *r = calloc(1, sizeof(*r));

	if (r) {
		*r = (struct report){ .daemon = d, .query = q, .deliver = deliver, .ctx = ctx };
		if (!engine_ask(d->engine, sizeof(struct collect_part), in_worker, on_collected, r))
			return;
	}
	free(r);
	deliver(ctx, NULL, "internal", "out of memory");
}

/* --- the status socket --- */

static void deliver_status(void *ctx, const struct snapshot *s, const char *code, const char *text)
{
	if (s)
		status_reply_done(ctx, s);
	else
		status_reply_fail(ctx, code, text);
}

static void on_status(void *ctx, const struct status_query *q, struct status_reply *reply)
{
	report_collect(ctx, q, deliver_status, reply);
}

static const struct status_ops status_ops = { .collect = on_status };

int report_start(struct daemon *d)
{
	char path[CONFIG_PATH_BYTES], error[STATUS_ERROR_BYTES];
	int r;

	snprintf(path, sizeof(path), "%s/status.sock", d->config.runtime_directory);
	r = status_server_create(d->loop, path, &status_ops, d, &d->status, error);
	if (r)
		log_error("the status socket can not be opened", L_TEXT("path", path), L_TEXT("detail", error));
	return r;
}

void report_stop(struct daemon *d)
{
	status_server_destroy(d->status);
	d->status = NULL;
}
