/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sample.h"

#include <stdlib.h>

static struct addr addr(const char *text)
{
	struct addr a;

	if (addr_parse(text, &a))
		abort();
	return a;
}

static struct endpoint endpoint(const char *text)
{
	struct endpoint e;

	if (endpoint_parse(text, &e))
		abort();
	return e;
}

void sample_init(struct sample *s)
{
	*s = (struct sample){
		.events = { { "foreign_claims", 0 }, { "tunnels_opened", 3 } },
		.tunnels = { { "connecting", 1 }, { "up", 2 } },
		.stream_states = { { "waiting", 1 }, { "open", 2 } },
		.reloads = { { "settings", 1, 0, SAMPLE_NOW_S - 60, SAMPLE_NOW_S - 60, "" },
		             { "nodes", 2, 3, SAMPLE_NOW_S - 30, SAMPLE_NOW_S - 30, NULL },
		             { "certificates", 1, 0, SAMPLE_NOW_S - 60, SAMPLE_NOW_S - 60, "" } },
		.devices = { { "eth0", 2, true, true, "tcx", "" }, { "veth1", 5, false, false, "", "faces a pod" } },
		.counters = { { "tunnel", false, false, false, 10, 1000 },
		              { "refused", true, false, true, 2, 120 },
		              { "permissive", false, true, false, 0, 0 },
		              { "outside", false, true, false, 70, 7000 } },
		.peers = { { .name = "node2",
		             .node_id = 2,
		             .addresses_count = 2,
		             .addresses = { addr("172.30.0.2"), addr("fd30::2") },
		             .is_enrolled = true,
		             .pair = "joined",
		             .state = "up",
		             .state_ms = 61000,
		             .tls_version = "TLSv1.3",
		             .tls_group = "X25519MLKEM768",
		             .tls_cipher = "TLS_AES_128_GCM_SHA256",
		             .certificate_name = "URI:spiffe://cluster.local/ns/culvert/node/node2",
		             .certificate_serial = "0a0b",
		             .certificate_not_after_s = SAMPLE_NOW_S + 89 * (int64_t)SAMPLE_DAY_S,
		             .tunnels = 1,
		             .streams_open = 2,
		             .streams_total = 5,
		             .sent_bytes = 1 << 20,
		             .received_bytes = UINT64_C(5) << 30,
		             .rtt_us = 312,
		             .incarnation = UINT64_C(0xfedcba9876543210),
		             .pair_there = "joining",
		             .enrolled_there = 7,
		             .is_enrolled_different = true,
		             .has_other_settings = true },
		           { .name = "node3",
		             .node_id = 3,
		             .addresses_count = 1,
		             .addresses = { addr("172.30.0.3") },
		             .pair = "not enrolled",
		             .state = "connecting",
		             .retry_in_ms = 1500,
		             .streams_waiting = 1,
		             .last_error = "no route to host",
		             .last_error_s = SAMPLE_NOW_S - 5 } },
		.streams = { { .id = 1,
		               .client = endpoint("10.1.0.5:41000"),
		               .server = endpoint("10.2.0.7:80"),
		               .peer = "node2",
		               .is_client_side = true,
		               .state = "open",
		               .age_ms = 1234,
		               .sent_bytes = 77,
		               .received_bytes = 100000,
		               .is_received_bulk = true,
		               .window_bytes = 65536,
		               .buffered_bytes = 12,
		               .send_room_bytes = 32768,
		               .reason = "" },
		             { .id = 2,
		               .worker = 1,
		               .client = endpoint("[fd02::7]:5000"),
		               .server = endpoint("[fd01::5]:443"),
		               .peer = "node2",
		               .state = "closed",
		               .reason = "pod_reset" },
		             { .client = endpoint("10.1.0.5:41002"),
		               .server = endpoint("10.3.0.9:80"),
		               .peer = "node3",
		               .is_client_side = true,
		               .state = "waiting" } },
	};
	s->snapshot = (struct snapshot){
		.now_s = SAMPLE_NOW_S,
		.node = "node1",
		.version = "0.1.0",
		.incarnation = UINT64_C(0x0123456789abcdef),
		.uptime_s = 60,
		.mode = "strict",
		.connect = "optimistic",
		.metrics_listen = "127.0.0.1:9117",
		.is_ready = true,
		.workers = 2,
		.nodes = 3,
		.nodes_enrolled = 2,
		.pods = 1200,
		.peers_up = 1,
		.peers_wanted = 2,
		.streams_open = 3,
		.streams_total = 9,
		.sent_bytes = 1000,
		.received_bytes = 2000,
		.budget_bytes = 1 << 30,
		.granted_bytes = 98304,
		.buffered_bytes = 12,
		.ended = { [REASON_FINISHED] = 5, [REASON_POD_RESET] = 1 },
		.tunnels_failed = { [REASON_REFUSED] = 7 },
		.handshakes_refused = { [REASON_CERTIFICATE] = 8 },
		.tunnels_count = 2,
		.tunnels = s->tunnels,
		.stream_states_count = 2,
		.stream_states = s->stream_states,
		.process = { .cpu_us = 12000034, .resident_bytes = 20 << 20, .open_fds = 40, .max_fds = 1048576 },
		.events_count = 2,
		.events = s->events,
		.reloads_count = 3,
		.reloads = s->reloads,
		.devices_count = 2,
		.devices = s->devices,
		.counters_count = 4,
		.counters = s->counters,
		.certificates = { .names_count = 1,
		                  .names = { "URI:spiffe://cluster.local/ns/culvert/node/node1" },
		                  .serial = "0102",
		                  .not_before_s = SAMPLE_NOW_S - SAMPLE_DAY_S,
		                  .not_after_s = SAMPLE_NOW_S + 89 * (int64_t)SAMPLE_DAY_S,
		                  .authorities_count = 1,
		                  .authorities = { { "CN=Culvert CA", SAMPLE_NOW_S + 3650 * (int64_t)SAMPLE_DAY_S } },
		                  .directory = "/etc/culvert/identity",
		                  .reload = { "certificates", 1, 0, SAMPLE_NOW_S - 60, SAMPLE_NOW_S - 60, "" } },
		.peers_count = 2,
		.peers = s->peers,
		.streams_count = 3,
		.streams = s->streams,
		.streams_matching = 3,
	};
}
