/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/delimited.h"
#include "sample.h"
#include "status.pb-c.h"
#include "status/message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sample sample;

static int setup(void **state)
{
	(void)state;
	sample_init(&sample);
	return 0;
}

/* The answer as a client sees it. */
static Culvert__Status__Response *ask(const struct status_query *q)
{
	Culvert__Status__Response *pb;
	uint8_t *bytes;
	size_t len;
	uint32_t body;
	int head;

	assert_int_equal(status_message_put(q, &sample.snapshot, &bytes, &len), 0);
	head = delimited_get(bytes, len, &body);
	assert_true(head > 0);
	assert_int_equal(len, (size_t)head + body);
	pb = culvert__status__response__unpack(NULL, body, bytes + head);
	assert_non_null(pb);
	free(bytes);
	return pb;
}

static int get(const Culvert__Status__Request *pb, struct status_query *q, char error[STATUS_ERROR_BYTES])
{
	uint8_t bytes[1024];
	size_t len = culvert__status__request__get_packed_size(pb);

	assert_true(len <= sizeof(bytes));
	culvert__status__request__pack(pb, bytes);
	return status_message_get(bytes, len, q, error);
}

static void requests_are_understood(void **state)
{
	Culvert__Status__Request pb = CULVERT__STATUS__REQUEST__INIT;
	Culvert__Status__StreamsRequest streams = CULVERT__STATUS__STREAMS_REQUEST__INIT;
	Culvert__Status__EndedRequest ended = CULVERT__STATUS__ENDED_REQUEST__INIT;
	Culvert__Status__PeersRequest peers = CULVERT__STATUS__PEERS_REQUEST__INIT;
	Culvert__Status__CheckRequest check = CULVERT__STATUS__CHECK_REQUEST__INIT;
	char error[STATUS_ERROR_BYTES];
	struct status_query q;

	(void)state;
	pb.what_case = CULVERT__STATUS__REQUEST__WHAT_STREAMS;
	pb.streams = &streams;
	assert_int_equal(get(&pb, &q, error), 0);
	assert_int_equal(q.what, STATUS_STREAMS);
	assert_int_equal(q.limit, STATUS_STREAMS_DEFAULT);
	assert_string_equal(q.peer, "");

	streams.limit = STATUS_STREAMS_MAX;
	streams.peer = (char[]){ "node2" };
	assert_int_equal(get(&pb, &q, error), 0);
	assert_int_equal(q.limit, STATUS_STREAMS_MAX);
	assert_string_equal(q.peer, "node2");

	pb.what_case = CULVERT__STATUS__REQUEST__WHAT_ENDED;
	pb.ended = &ended;
	assert_int_equal(get(&pb, &q, error), 0);
	assert_int_equal(q.what, STATUS_ENDED);
	assert_int_equal(q.limit, STATUS_STREAMS_DEFAULT);
	ended.limit = 7;
	ended.peer = (char[]){ "node3" };
	assert_int_equal(get(&pb, &q, error), 0);
	assert_int_equal(q.limit, 7);
	assert_string_equal(q.peer, "node3");

	pb.what_case = CULVERT__STATUS__REQUEST__WHAT_PEERS;
	pb.peers = &peers;
	assert_int_equal(get(&pb, &q, error), 0);
	assert_int_equal(q.what, STATUS_PEERS);

	pb.what_case = CULVERT__STATUS__REQUEST__WHAT_CHECK;
	pb.check = &check;
	assert_int_equal(get(&pb, &q, error), 0);
	assert_int_equal(q.what, STATUS_CHECK);
}

static void bad_requests_are_told(void **state)
{
	static const uint8_t garbage[] = { 0x0a, 0x05, 0x01 }, unknown_question[] = { 0xfa, 0x01, 0x00 };
	Culvert__Status__Request pb = CULVERT__STATUS__REQUEST__INIT;
	Culvert__Status__StreamsRequest streams = CULVERT__STATUS__STREAMS_REQUEST__INIT;
	char long_name[SNAPSHOT_NODE_BYTES + 1], error[STATUS_ERROR_BYTES];
	struct status_query q = { .limit = 42 };

	(void)state;
	assert_int_equal(status_message_get(garbage, sizeof(garbage), &q, error), -EBADMSG);
	assert_non_null(strstr(error, "culvert.status.Request"));
	assert_int_equal(status_message_get(unknown_question, sizeof(unknown_question), &q, error), -EBADMSG);
	assert_non_null(strstr(error, "nothing that this version knows"));
	assert_int_equal(status_message_get(garbage, 0, &q, error), -EBADMSG);

	pb.what_case = CULVERT__STATUS__REQUEST__WHAT_STREAMS;
	pb.streams = &streams;
	streams.limit = STATUS_STREAMS_MAX + 1;
	assert_int_equal(get(&pb, &q, error), -EBADMSG);
	assert_non_null(strstr(error, "65537"));
	streams.limit = 0;
	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	streams.peer = long_name;
	assert_int_equal(get(&pb, &q, error), -EBADMSG);
	assert_non_null(strstr(error, "254 bytes"));
	long_name[sizeof(long_name) - 2] = '\0';
	assert_int_equal(get(&pb, &q, error), 0);
	assert_int_equal(strlen(q.peer), 253);
}

static void status_holds_the_node(void **state)
{
	Culvert__Status__Response *pb = ask(&(struct status_query){ .what = STATUS_STATUS });
	const Culvert__Status__Status *s;

	(void)state;
	assert_int_equal(pb->what_case, CULVERT__STATUS__RESPONSE__WHAT_STATUS);
	s = pb->status;
	assert_string_equal(s->node, "node1");
	assert_true(s->incarnation == UINT64_C(0x0123456789abcdef));
	assert_string_equal(s->mode, "strict");
	assert_true(s->is_ready);
	assert_int_equal(s->memory->granted_bytes, 98304);
	assert_int_equal(s->n_ended, 2);
	assert_string_equal(s->ended[1]->reason, "pod_reset");
	assert_int_equal(s->ended[1]->streams, 1);
	assert_int_equal(s->n_events, 2);
	assert_int_equal(s->n_reloads, 3);
	assert_string_equal(s->reloads[1]->error, "");
	assert_int_equal(s->nodes_enrolled, 2);
	assert_int_equal(s->pods, 1200);
	assert_int_equal(s->n_devices, 2);
	assert_string_equal(s->devices[0]->how, "tcx");
	assert_int_equal(s->n_counters, 4);
	assert_true(s->counters[1]->is_refused && s->counters[1]->is_ingress);
	assert_int_equal(s->certificate_not_after_s, sample.snapshot.certificates.not_after_s);
	assert_string_equal(s->metrics_listen, "127.0.0.1:9117");
	assert_string_equal(s->sealed_by, "wolfCrypt");
	assert_int_equal(s->n_full_workers, 1);
	assert_int_equal(s->full_workers[0], 1);
	assert_int_equal(s->workers_busy_ms, 3000);
	culvert__status__response__free_unpacked(pb, NULL);
}

static void peers_are_filtered(void **state)
{
	struct status_query q = { .what = STATUS_PEERS };
	Culvert__Status__Response *pb = ask(&q);

	(void)state;
	assert_int_equal(pb->peers->n_peers, 2);
	assert_int_equal(pb->peers->peers[0]->n_addresses, 2);
	assert_string_equal(pb->peers->peers[0]->addresses[1], "fd30::2");
	assert_string_equal(pb->peers->peers[0]->tls_group, "X25519MLKEM768");
	assert_int_equal(pb->peers->peers[0]->received_bytes, UINT64_C(5) << 30);
	assert_true(pb->peers->peers[0]->is_enrolled && !pb->peers->peers[1]->is_enrolled);
	assert_string_equal(pb->peers->peers[0]->pair, "joined");
	assert_int_equal(pb->peers->peers[0]->n_tunnel_workers, 2);
	assert_int_equal(pb->peers->peers[0]->tunnel_workers[1], 1);
	assert_int_equal(pb->peers->peers[1]->n_tunnel_workers, 0);
	assert_string_equal(pb->peers->peers[1]->pair, "not enrolled");
	assert_string_equal(pb->peers->peers[0]->pair_there, "joining");
	assert_int_equal(pb->peers->peers[0]->enrolled_there, 7);
	assert_true(pb->peers->peers[0]->is_enrolled_different);
	assert_true(pb->peers->peers[0]->has_other_settings);
	culvert__status__response__free_unpacked(pb, NULL);

	strcpy(q.peer, "node3");
	pb = ask(&q);
	assert_int_equal(pb->peers->n_peers, 1);
	assert_string_equal(pb->peers->peers[0]->name, "node3");
	assert_string_equal(pb->peers->peers[0]->last_error, "no route to host");
	culvert__status__response__free_unpacked(pb, NULL);

	strcpy(q.peer, "node");
	pb = ask(&q);
	assert_int_equal(pb->peers->n_peers, 0);
	culvert__status__response__free_unpacked(pb, NULL);
}

static void streams_are_limited(void **state)
{
	struct status_query q = { .what = STATUS_STREAMS, .limit = 2 };
	Culvert__Status__Response *pb = ask(&q);

	(void)state;
	assert_int_equal(pb->streams->n_streams, 2);
	assert_int_equal(pb->streams->total, 3);
	assert_string_equal(pb->streams->streams[0]->client, "10.1.0.5:41000");
	assert_string_equal(pb->streams->streams[0]->role, "client");
	assert_string_equal(pb->streams->streams[0]->sent_link, "light");
	assert_string_equal(pb->streams->streams[0]->received_link, "bulk");
	assert_string_equal(pb->streams->streams[1]->server, "[fd01::5]:443");
	assert_string_equal(pb->streams->streams[1]->reason, "pod_reset");
	culvert__status__response__free_unpacked(pb, NULL);

	/* The limit counts what fits, wherever it stands. */
	strcpy(q.peer, "node3");
	q.limit = 1;
	pb = ask(&q);
	assert_int_equal(pb->streams->n_streams, 1);
	assert_string_equal(pb->streams->streams[0]->peer, "node3");
	culvert__status__response__free_unpacked(pb, NULL);
}

static void streams_that_ended_say_why(void **state)
{
	struct status_query q = { .what = STATUS_ENDED, .limit = 2 };
	Culvert__Status__Response *pb = ask(&q);

	(void)state;
	assert_int_equal(pb->ended->n_streams, 2);
	assert_int_equal(pb->ended->total, 3);
	assert_string_equal(pb->ended->streams[0]->client, "10.1.0.5:41003");
	assert_string_equal(pb->ended->streams[0]->server, "10.2.0.7:81");
	assert_string_equal(pb->ended->streams[0]->role, "client");
	assert_string_equal(pb->ended->streams[0]->state, "opening");
	assert_string_equal(pb->ended->streams[0]->reason, "host_unreachable");
	assert_string_equal(pb->ended->streams[0]->by, "network");
	assert_string_equal(pb->ended->streams[0]->cause, "ICMP 3/1 from 10.2.0.1");
	assert_int_equal(pb->ended->streams[1]->lived_ms, 120000);
	assert_string_equal(pb->ended->streams[1]->cause, "");
	culvert__status__response__free_unpacked(pb, NULL);

	strcpy(q.peer, "node3");
	pb = ask(&q);
	assert_int_equal(pb->ended->n_streams, 1);
	assert_string_equal(pb->ended->streams[0]->reason, "no_tunnel");
	culvert__status__response__free_unpacked(pb, NULL);

	strcpy(q.peer, "");
	q.limit = 3;
	pb = ask(&q);
	assert_int_equal(pb->ended->streams[2]->id, 4);
	assert_int_equal(pb->ended->streams[2]->worker, 1);
	assert_string_equal(pb->ended->streams[2]->role, "server");
	assert_int_equal(pb->ended->streams[2]->ended_ms, 90000);
	assert_int_equal(pb->ended->streams[2]->sent_bytes, 5);
	assert_int_equal(pb->ended->streams[2]->received_bytes, 1 << 20);
	culvert__status__response__free_unpacked(pb, NULL);
}

static void certificates_and_check(void **state)
{
	Culvert__Status__Response *pb = ask(&(struct status_query){ .what = STATUS_CERTIFICATES });

	(void)state;
	assert_int_equal(pb->certificates->n_names, 1);
	assert_int_equal(pb->certificates->sha256.len, 32);
	assert_string_equal(pb->certificates->authorities[0]->subject, "CN=Culvert CA");
	assert_string_equal(pb->certificates->directory, "/etc/culvert/identity");
	assert_null(pb->certificates->issuance);
	culvert__status__response__free_unpacked(pb, NULL);

	sample.snapshot.certificates.issuance = (struct snapshot_issuance){
		.is_there = true,
		.signer = "culvert.dev/node",
		.phase = "waiting",
		.since_s = 1,
		.renewal_s = 2,
		.authorities_s = 3,
		.failed_s = 4,
		.issued = 5,
		.request = "culvert-node1-1",
		.error = "no\nanswer",
	};
	pb = ask(&(struct status_query){ .what = STATUS_CERTIFICATES });
	assert_string_equal(pb->certificates->issuance->signer, "culvert.dev/node");
	assert_string_equal(pb->certificates->issuance->phase, "waiting");
	assert_string_equal(pb->certificates->issuance->request, "culvert-node1-1");
	assert_null(strchr(pb->certificates->issuance->error, '\n'));
	assert_int_equal(pb->certificates->issuance->since_s, 1);
	assert_int_equal(pb->certificates->issuance->renewal_s, 2);
	assert_int_equal(pb->certificates->issuance->authorities_s, 3);
	assert_int_equal(pb->certificates->issuance->failed_s, 4);
	assert_int_equal(pb->certificates->issuance->issued, 5);
	culvert__status__response__free_unpacked(pb, NULL);
	sample.snapshot.certificates.issuance.error[0] = '\0';

	pb = ask(&(struct status_query){ .what = STATUS_CHECK });
	assert_true(pb->check->is_good);
	assert_int_equal(pb->check->n_findings, 7);
	culvert__status__response__free_unpacked(pb, NULL);
	sample.snapshot.is_ready = false;
	pb = ask(&(struct status_query){ .what = STATUS_CHECK });
	assert_false(pb->check->is_good);
	assert_string_equal(pb->check->findings[0]->name, "ready");
	assert_false(pb->check->findings[0]->is_good);
	culvert__status__response__free_unpacked(pb, NULL);

	pb = ask(&(struct status_query){ .what = STATUS_COUNTERS });
	assert_int_equal(pb->counters->n_counters, 4);
	culvert__status__response__free_unpacked(pb, NULL);
}

static void texts_become_clean_utf8(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "plain", "plain" },
		{ "M\xc3\xbcller \xe2\x82\xac \xf0\x9f\x98\x80", "M\xc3\xbcller \xe2\x82\xac \xf0\x9f\x98\x80" },
		{ "\x1b[2Jwiped\n", "?[2Jwiped?" },
		{ "cut \xe2\x82", "cut ??" },
		{ "latin \xfc 1", "latin ? 1" },
		{ "long \xc0\xaf slash", "long ?? slash" },
		{ "pair \xed\xa0\x80", "pair ???" },
		{ "beyond \xf4\x90\x80\x80", "beyond ????" },
		{ "c1 \xc2\x9b"
		  "31m",
		  "c1 ??31m" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		Culvert__Status__Response *pb;

		sample.snapshot.reason = cases[i].in;
		pb = ask(&(struct status_query){ .what = STATUS_STATUS });
		assert_string_equal(pb->status->reason, cases[i].out);
		culvert__status__response__free_unpacked(pb, NULL);
	}
}

static void an_empty_snapshot_is_answered(void **state)
{
	(void)state;
	sample.snapshot = (struct snapshot){ 0 };
	for (int what = 0; what < STATUS_WHAT_COUNT; what++) {
		Culvert__Status__Response *pb = ask(&(struct status_query){ .what = (enum status_what)what, .limit = 1 });

		assert_int_not_equal(pb->what_case, CULVERT__STATUS__RESPONSE__WHAT_ERROR);
		culvert__status__response__free_unpacked(pb, NULL);
	}
}

static void status_holds_the_cluster(void **state)
{
	static const struct snapshot_cluster cluster = {
		.is_synced = true,
		.since_s = 77,
		.missing = "nodes: away",
		.enrolment = "waiting",
		.enrolment_detail = "for a tunnel",
		.nodes = 12,
		.enrolled = 10,
		.pods = 300,
		.namespaces = 5,
		.ended_addresses = 2,
		.refused_total = 9,
		.nodes_at_most = 500,
		.followed_count = 2,
		.followed = { { .what = "nodes", .error = "", .is_synced = true, .objects = 12, .bytes = 3000 },
		              { .what = "pods", .error = "a right is missing", .is_forbidden = true } },
		.refusals_count = 1,
		.refusals = { { "pod shop/cart", "10.1.0.5 is taken \x01 already", 66 } },
		.other_port_count = 1,
		.other_port = { "n9" },
		.other_settings_count = 2,
		.other_settings = { { "n7", false }, { "n8", true } },
	};
	const Culvert__Status__Cluster *c;
	Culvert__Status__Response *pb;

	(void)state;
	pb = ask(&(struct status_query){ .what = STATUS_STATUS });
	assert_null(pb->status->cluster);
	culvert__status__response__free_unpacked(pb, NULL);
	sample.snapshot.cluster = &cluster;
	pb = ask(&(struct status_query){ .what = STATUS_STATUS });
	c = pb->status->cluster;
	assert_non_null(c);
	assert_true(c->is_synced);
	assert_false(c->is_current);
	assert_int_equal(c->since_s, 77);
	assert_string_equal(c->missing, "nodes: away");
	assert_string_equal(c->enrolment, "waiting");
	assert_string_equal(c->enrolment_detail, "for a tunnel");
	assert_int_equal(c->nodes, 12);
	assert_int_equal(c->enrolled, 10);
	assert_int_equal(c->pods, 300);
	assert_int_equal(c->ended_addresses, 2);
	assert_int_equal(c->refused_total, 9);
	assert_int_equal(c->n_followed, 2);
	assert_int_equal(c->followed[0]->objects, 12);
	assert_true(c->followed[1]->is_forbidden);
	assert_string_equal(c->followed[1]->error, "a right is missing");
	assert_int_equal(c->n_refusals, 1);
	assert_string_equal(c->refusals[0]->object, "pod shop/cart");
	assert_string_equal(c->refusals[0]->text, "10.1.0.5 is taken ? already");
	assert_int_equal(c->n_other_port, 1);
	assert_string_equal(c->other_port[0], "n9");
	assert_int_equal(c->n_other_settings, 2);
	assert_string_equal(c->other_settings[0]->node, "n7");
	assert_false(c->other_settings[0]->is_by_record);
	assert_string_equal(c->other_settings[1]->node, "n8");
	assert_true(c->other_settings[1]->is_by_record);
	culvert__status__response__free_unpacked(pb, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(requests_are_understood, setup),       cmocka_unit_test_setup(bad_requests_are_told, setup),
		cmocka_unit_test_setup(status_holds_the_node, setup),         cmocka_unit_test_setup(peers_are_filtered, setup),
		cmocka_unit_test_setup(streams_are_limited, setup),           cmocka_unit_test_setup(certificates_and_check, setup),
		cmocka_unit_test_setup(streams_that_ended_say_why, setup),    cmocka_unit_test_setup(texts_become_clean_utf8, setup),
		cmocka_unit_test_setup(an_empty_snapshot_is_answered, setup), cmocka_unit_test_setup(status_holds_the_cluster, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
