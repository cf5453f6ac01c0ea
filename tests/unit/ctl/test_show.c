/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ctl/show.c"
#include "ctl/table.c"
#include "ctl/text.c"
#include "printed.h"

enum { NOW_S = 1800000000 };

#define T(text) ((char *)(uintptr_t)(text))

static void expect(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("not there: \"%s\" in\n%s", part, text);
}

static void status_of_a_healthy_node(void **state)
{
	Culvert__Status__Status s = CULVERT__STATUS__STATUS__INIT;
	Culvert__Status__Memory memory = CULVERT__STATUS__MEMORY__INIT;
	Culvert__Status__Counter counters[3] = { CULVERT__STATUS__COUNTER__INIT, CULVERT__STATUS__COUNTER__INIT,
		                                 CULVERT__STATUS__COUNTER__INIT };
	Culvert__Status__Counter *list[3] = { &counters[0], &counters[1], &counters[2] };
	Culvert__Status__Device device = CULVERT__STATUS__DEVICE__INIT, *devices[1] = { &device };
	uint32_t full[] = { 1, 3 };
	char *text;

	(void)state;
	s.node = T("node1");
	s.version = T("0.1.0");
	s.uptime_s = 192;
	s.mode = T("strict");
	s.connect = T("optimistic");
	s.is_ready = true;
	s.workers = 4;
	s.full_workers = full;
	s.n_full_workers = 2;
	s.nodes = 3;
	s.nodes_enrolled = 2;
	s.pods = 1200;
	s.peers_up = 1;
	s.peers_wanted = 2;
	s.streams_total = 1234;
	s.memory = &memory;
	memory.budget_bytes = 512 << 20;
	s.certificate_not_after_s = NOW_S + INT64_C(89) * 86400;
	s.metrics_listen = T("127.0.0.1:9117");
	s.sealed_by = T("ipsec-mb with AVX2");
	counters[0].name = T("tunnel");
	counters[1].name = T("outside");
	counters[2].name = T("older");
	counters[2].is_clear = true;
	counters[2].packets = 4321;
	counters[2].bytes = 2048;
	s.counters = list;
	s.n_counters = 3;
	device.name = T("eth0");
	device.is_attached = true;
	device.how = T("tcx");
	s.devices = devices;
	s.n_devices = 1;
	PRINTED(text, out, show_status(out, &s, NOW_S));
	expect(text, "node          node1, culvert 0.1.0, up for 3m 12s\n");
	expect(text, "state         ready\n");
	expect(text, "mode          strict, connect optimistic, 4 workers (2 full)\n");
	expect(text, "peers         1 up of 2 wanted\n");
	expect(text, "nodes         3, 2 enrolled; 1,200 pods' addresses and prefixes\n");
	expect(text, "streams       0 open, 1,234 since the start; sent 0 B, received 0 B\n");
	expect(text, "memory        0 B granted of 512.0 MiB; 0 B buffered\n");
	expect(text, "certificate   ends in 89 days (2027-04-14 08:00 UTC)\n");
	expect(text, "records       sealed by ipsec-mb with AVX2\n");
	expect(text, "metrics       http://127.0.0.1:9117/metrics\n");
	expect(text, "\nDEVICE  EDGE  HOW  FIRST\neth0    yes   tcx  NO\n");
	expect(text, "\nKERNEL COUNTED  WAY  AS            PACKETS    BYTES\n"
	             "tunnel          out  passed              0      0 B\n"
	             "older           out  in the clear    4,321  2.0 KiB\n");
	assert_null(strstr(text, "outside")); /* never occurred */
	assert_null(strstr(text, "ended"));
	free(text);
}

static void status_of_a_node_in_trouble(void **state)
{
	Culvert__Status__Status s = CULVERT__STATUS__STATUS__INIT;
	Culvert__Status__Reload reload = CULVERT__STATUS__RELOAD__INIT, *reloads[1] = { &reload };
	Culvert__Status__Ended ended = CULVERT__STATUS__ENDED__INIT, *ends[1] = { &ended };
	Culvert__Status__Event events[2] = { CULVERT__STATUS__EVENT__INIT, CULVERT__STATUS__EVENT__INIT },
			       *happened[2] = { &events[0], &events[1] };
	char *text;

	(void)state;
	s.node = T("node1");
	s.mode = T("strict");
	s.connect = T("optimistic");
	s.reason = T("on eth0 another program\nis first");
	s.is_draining = true;
	s.is_shared_identity = true;
	s.certificate_not_after_s = NOW_S - 60;
	reload.what = T("nodes");
	reload.tried_s = NOW_S - 5;
	reload.error = T("nodes.yaml: line 3: what is this");
	s.reloads = reloads;
	s.n_reloads = 1;
	ended.reason = T("pod_reset");
	ended.streams = 7;
	s.ended = ends;
	s.n_ended = 1;
	events[0].name = T("foreign_claims");
	events[1].name = T("accept_pauses");
	events[1].count = 2;
	s.events = happened;
	s.n_events = 2;
	PRINTED(text, out, show_status(out, &s, NOW_S));
	expect(text, "metrics       off\n");
	assert_null(strstr(text, "sealed by")); /* an older daemon does not say */
	expect(text, "state         NOT READY, draining: on eth0 another program?is first\n");
	expect(text, "ONE IDENTITY FOR ALL NODES");
	expect(text, "certificate   ENDED 1m 0s ago");
	expect(text, "nodes         NOT TAKEN 5 s ago, the old ones stay: nodes.yaml: line 3: what is this\n");
	expect(text, "ended         pod_reset 7\n");
	expect(text, "events        accept_pauses 2\n");
	free(text);
}

static void peers_with_their_keys_and_troubles(void **state)
{
	Culvert__Status__Peer a = CULVERT__STATUS__PEER__INIT, b = CULVERT__STATUS__PEER__INIT, *list[2] = { &a, &b };
	Culvert__Status__Peers p = CULVERT__STATUS__PEERS__INIT;
	char *addresses[2] = { T("172.30.0.2"), T("fd30::2") };
	uint32_t workers[2] = { 0, 3 };
	char *text;

	(void)state;
	PRINTED(text, out, show_peers(out, &p, NOW_S));
	assert_string_equal(text, "no peers\n");
	free(text);
	a.name = T("node2");
	a.state = T("up");
	a.state_ms = 61000;
	a.addresses = addresses;
	a.n_addresses = 2;
	a.tunnel_workers = workers;
	a.n_tunnel_workers = 2;
	a.tls_version = T("TLSv1.3");
	a.tls_group = T("X25519MLKEM768");
	a.tls_cipher = T("TLS_AES_128_GCM_SHA256");
	a.certificate_name = T("URI:spiffe://x/node2");
	a.certificate_not_after_s = NOW_S + INT64_C(89) * 86400;
	a.rtt_us = 312;
	a.enrolled_there = 7;
	a.is_enrolled_different = true;
	a.has_other_settings = true;
	a.streams_open = 2;
	a.pair = T("joined");
	b.name = T("node3");
	b.state = T("connecting");
	b.last_error = T("no route to host");
	b.last_error_s = NOW_S - 5;
	b.retry_in_ms = 1500;
	b.pair = T("joining");
	p.peers = list;
	p.n_peers = 2;
	PRINTED(text, out, show_peers(out, &p, NOW_S));
	expect(text, "node2  up          1m 1s  -        172.30.0.2,fd30::2  0,3      312 us        2        0");
	expect(text, "node3  connecting  -      joining  -");
	expect(text, "\nnode2  TLSv1.3  X25519MLKEM768  TLS_AES_128_GCM_SHA256  URI:spiffe://x/node2  in 89 days\n");
	expect(text, "\nnode2: it holds other nodes enrolled than this one does, 7 in all\n");
	expect(text, "\nnode2: its capture.mode is another than this node's; all nodes should have the same\n");
	expect(text, "\nnode3, 5 s ago: no route to host; next try in 1.5 s\n");
	assert_null(strstr(text, "\nnode3  -")); /* it has no keys */
	free(text);
}

static void streams_and_how_many_more(void **state)
{
	Culvert__Status__Stream a = CULVERT__STATUS__STREAM__INIT, *list[1] = { &a };
	Culvert__Status__Streams s = CULVERT__STATUS__STREAMS__INIT;
	char *text;

	(void)state;
	PRINTED(text, out, show_streams(out, &s));
	assert_string_equal(text, "no streams\n");
	free(text);
	a.client = T("10.1.0.5:41000");
	a.server = T("[fd01::5]:443");
	a.peer = T("node2");
	a.role = T("client");
	a.state = T("open");
	a.sent_link = T("light");
	a.received_link = T("bulk");
	a.worker = 3;
	a.received_bytes = 1 << 20;
	s.streams = list;
	s.n_streams = 1;
	s.total = 5000;
	PRINTED(text, out, show_streams(out, &s));
	expect(text, "10.1.0.5:41000  [fd01::5]:443  node2  client  open   0 ms   0 B   1.0 MiB  light/bulk       3");
	expect(text, "1 of 5,000 streams; more with --limit\n");
	assert_null(strstr(text, "REASON")); /* no stream has one */
	free(text);
}

static void why_streams_ended(void **state)
{
	Culvert__Status__EndedStream a = CULVERT__STATUS__ENDED_STREAM__INIT, *list[1] = { &a };
	Culvert__Status__EndedStreams s = CULVERT__STATUS__ENDED_STREAMS__INIT;
	char *text;

	(void)state;
	PRINTED(text, out, show_ended_streams(out, &s));
	assert_string_equal(text, "no stream has ended\n");
	free(text);
	a.client = T("10.1.0.5:41000");
	a.server = T("[fd01::5]:443");
	a.peer = T("node2");
	a.role = T("client");
	a.state = T("open");
	a.reason = T("pod_reset");
	a.by = T("server");
	a.ended_ms = 5000;
	a.lived_ms = 1500;
	a.sent_bytes = 3;
	a.received_bytes = 1 << 20;
	s.streams = list;
	s.n_streams = 1;
	s.total = 40;
	PRINTED(text, out, show_ended_streams(out, &s));
	expect(text, "5.0 s  pod_reset  server  10.1.0.5:41000  [fd01::5]:443  node2  client  open   1.5 s   3 B   1.0 MiB");
	expect(text, "1 of 40 streams; more with --limit\n");
	assert_null(strstr(text, "CAUSE")); /* no stream has one */
	free(text);
	a.cause = T("ICMP 3/1 from 10.2.0.1");
	PRINTED(text, out, show_ended_streams(out, &s));
	expect(text, "pod_reset  server  ICMP 3/1 from 10.2.0.1  10.1.0.5:41000");
	free(text);
}

static void certificates_and_findings(void **state)
{
	Culvert__Status__Certificates c = CULVERT__STATUS__CERTIFICATES__INIT;
	Culvert__Status__Authority authority = CULVERT__STATUS__AUTHORITY__INIT, *authorities[1] = { &authority };
	Culvert__Status__Issuance issuance = CULVERT__STATUS__ISSUANCE__INIT;
	Culvert__Status__Check check = CULVERT__STATUS__CHECK__INIT;
	Culvert__Status__Finding findings[2] = { CULVERT__STATUS__FINDING__INIT, CULVERT__STATUS__FINDING__INIT },
				 *list[2] = { &findings[0], &findings[1] };
	uint8_t digest[32] = { 0xab, [31] = 0x01 };
	char *names[1] = { T("URI:spiffe://x/node1") };
	char *text;

	(void)state;
	c.names = names;
	c.n_names = 1;
	c.sha256 = (ProtobufCBinaryData){ .len = 32, .data = digest };
	c.not_after_s = NOW_S - 86400;
	authority.subject = T("CN=Culvert CA");
	authority.not_after_s = NOW_S + INT64_C(3650) * 86400;
	c.authorities = authorities;
	c.n_authorities = 1;
	c.tried_s = NOW_S - 30;
	c.error = T("tls.key does not match tls.crt");
	PRINTED(text, out, show_certificates(out, &c, NOW_S));
	expect(text, "name          URI:spiffe://x/node1\n");
	expect(text, "sha256        ab00000000000000000000000000000000000000000000000000000000000001\n");
	expect(text, "ENDED         24h 0m ago (2027-01-14 08:00 UTC)\n");
	expect(text, "authorities   CN=Culvert CA, ends in 3650 days\n");
	expect(text, "NOT TAKEN     30 s ago, the old ones stay: tls.key does not match tls.crt\n");
	expect(text, "source        files that are mounted\n");
	free(text);

	issuance.signer = T("culvert.dev/node");
	issuance.since_s = NOW_S - 3600;
	issuance.renewal_s = NOW_S + 3600;
	issuance.authorities_s = NOW_S - 30;
	issuance.request = T("culvert-node1-1");
	issuance.error = T("no answer yet");
	issuance.failed_s = NOW_S - 10;
	c.issuance = &issuance;
	PRINTED(text, out, show_certificates(out, &c, NOW_S));
	expect(text, "source        signer culvert.dev/node\n");
	expect(text, "issued        1h 0m ago, renewed in 1h 0m\n");
	expect(text, "trust read    30 s ago\n");
	expect(text, "request       culvert-node1-1\n");
	expect(text, "FAILED        10 s ago: no answer yet\n");
	free(text);

	findings[0].name = T("ready");
	findings[0].is_good = true;
	findings[0].text = T("it is");
	findings[1].name = T("devices");
	findings[1].text = T("on eth0 we are not first");
	check.findings = list;
	check.n_findings = 2;
	PRINTED(text, out, show_check(out, &check));
	assert_string_equal(text, "good  ready         it is\nBAD   devices       on eth0 we are not first\n");
	free(text);
}

static void status_of_a_cluster(void **state)
{
	Culvert__Status__Status s = CULVERT__STATUS__STATUS__INIT;
	Culvert__Status__Cluster c = CULVERT__STATUS__CLUSTER__INIT;
	Culvert__Status__Refusal refusal = CULVERT__STATUS__REFUSAL__INIT, *refusals[1] = { &refusal };
	Culvert__Status__OtherSettings said = CULVERT__STATUS__OTHER_SETTINGS__INIT, recorded = CULVERT__STATUS__OTHER_SETTINGS__INIT;
	Culvert__Status__OtherSettings *differing[2] = { &said, &recorded };
	char *others[1] = { T("n9") };
	char *text;

	(void)state;
	s.cluster = &c;
	c.is_synced = c.is_current = true;
	c.since_s = NOW_S - 300;
	c.nodes = 12;
	c.enrolled = 10;
	c.pods = 345;
	c.ended_addresses = 3;
	c.enrolment = T("enrolled");
	PRINTED(text, out, show_status(out, &s, NOW_S));
	expect(text, "source        Kubernetes, followed for 5m 0s\n");
	expect(text, "cluster       12 nodes, 10 enrolled; 345 pods; 3 addresses kept of pods that are gone\n");
	expect(text, "enrolment     enrolled\n");
	assert_null(strstr(text, "REFUSED"));
	free(text);

	c.is_current = false;
	c.missing = T("nodes: connection refused");
	c.enrolment = T("waiting");
	c.enrolment_detail = T("no tunnel to an enrolled node could be made yet; tried are n2");
	refusal.object = T("pod shop/cart");
	refusal.text = T("10.1.0.5 on node n2 is an address of node n1");
	refusal.since_s = NOW_S - 60;
	c.refusals = refusals;
	c.n_refusals = 1;
	c.is_too_large = true;
	c.nodes_at_most = 500;
	c.other_port = others;
	c.n_other_port = 1;
	said.node = T("n7");
	recorded.node = T("n8");
	recorded.is_by_record = true;
	c.other_settings = differing;
	c.n_other_settings = 2;
	PRINTED(text, out, show_status(out, &s, NOW_S));
	expect(text, "source        Kubernetes, AWAY for 5m 0s, what is known stays in force: nodes: connection refused\n");
	expect(text, "enrolment     NOT ENROLLED: no tunnel to an enrolled node could be made yet; tried are n2\n");
	expect(text, "size          MORE THAN 500 NODES: ");
	expect(text, "other port    n9\n");
	expect(text, "other mode    n7\n");
	expect(text, "              n8, when it was enrolled; it has had no tunnel with this node since\n");
	expect(text, "pod shop/cart");
	expect(text, "10.1.0.5 on node n2 is an address of node n1");
	free(text);

	c.is_synced = false;
	c.missing = T("pods: 403");
	PRINTED(text, out, show_status(out, &s, NOW_S));
	expect(text, "source        Kubernetes, NOT READ YET: pods: 403\n");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_of_a_healthy_node),
		cmocka_unit_test(status_of_a_node_in_trouble),
		cmocka_unit_test(peers_with_their_keys_and_troubles),
		cmocka_unit_test(streams_and_how_many_more),
		cmocka_unit_test(why_streams_ended),
		cmocka_unit_test(certificates_and_findings),
		cmocka_unit_test(status_of_a_cluster),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
