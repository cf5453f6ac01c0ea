/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SYNs that the edge programs give to the daemon instead of the private namespace (connect: faithful). */
#include "fixture.h"

#include "edge/passing.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define POD    "10.1.0.5"
#define SERVER "10.2.0.7"

enum {
	ROOM = EDGE_HELD_BYTES / (sizeof(struct edge_syn) + 8), /* of its ring: a record has a head of 8 bytes */
	OTHER = 2,                                              /* a worker that is not HOME */
};

static struct fixture f;
static struct ring_buffer *ring, *other_ring;
static struct edge_syn last;
static int came, came_to_other;

static int keep_syn(void *ctx, void *data, size_t len_bytes)
{
	(void)ctx;
	assert_int_equal(len_bytes, sizeof(last));
	memcpy(&last, data, sizeof(last));
	came++;
	return 0;
}

static int keep_other(void *ctx, void *data, size_t len_bytes)
{
	(void)ctx;
	(void)data;
	assert_int_equal(len_bytes, sizeof(last));
	came_to_other++;
	return 0;
}

static int reset(void **state)
{
	(void)state;
	fixture_reset(&f);
	f.config.is_holding = 1;
	fixture_write_config(&f);
	(void)ring_buffer__consume(ring);
	(void)ring_buffer__consume(other_ring);
	came = came_to_other = 0;
	return 0;
}

static void expect_syns(int count)
{
	(void)ring_buffer__consume(ring);
	assert_int_equal(came, count);
}

static void expect_other(int count)
{
	(void)ring_buffer__consume(other_ring);
	assert_int_equal(came_to_other, count);
}

static void a_syn_is_given_to_the_daemon(void **state)
{
	struct packet_buf p = packet_with_sequence(packet_tcp_frame(POD, 40000, SERVER, 80, TCP_SYN), 77);
	struct flow_key key = fixture_flow(POD, 40000, SERVER, 80);
	struct flow_value value;
	uint8_t address[16];

	(void)state;
	assert_int_equal(fixture_egress(&f, &p, FROM_POD), SHOT);
	assert_true(fixture_counted(&f, CLASS_TUNNEL, EDGE_EGRESS, EDGE_PASS, p.len_bytes));
	expect_syns(1);
	packet_address(POD, address);
	assert_memory_equal(last.source, address, 16);
	packet_address(SERVER, address);
	assert_memory_equal(last.dest, address, 16);
	assert_int_equal(ntohs(last.source_port_be), 40000);
	assert_int_equal(ntohs(last.dest_port_be), 80);
	assert_int_equal(ntohl(last.seq_be), 77);
	assert_int_equal(last.tcp_offset, 20);
	assert_int_equal(last.len_bytes, 40);
	assert_int_equal(last.ingress_ifindex, FROM_POD);
	assert_memory_equal(last.packet, p.bytes + 14, 40);
	/* What follows is diverted. */
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(f.edge->maps.flows), &key, &value), 0);
	p = packet_tcp_frame(POD, 40000, SERVER, 80, TCP_ACK);
	assert_int_equal(fixture_egress(&f, &p, FROM_POD), REDIRECT);
	/* Sent again, or another's: each comes. */
	p = packet_with_sequence(packet_tcp_frame(POD, 40000, SERVER, 80, TCP_SYN), 77);
	assert_int_equal(fixture_egress(&f, &p, FROM_POD), SHOT);
	expect_syns(2);
}

static void tags_and_extension_headers_are_left_out_and_kept(void **state)
{
	struct packet_buf p = { 0 };

	(void)state;
	packet_ethernet(&p, 0x86dd, 2);
	packet_ipv6(&p, "fd01::5", "fd02::7", 60);
	packet_extension(&p, 6, 16);
	packet_tcp(&p, 40000, 80, TCP_SYN);
	assert_int_equal(fixture_egress(&f, &p, FROM_POD), SHOT);
	expect_syns(1);
	assert_int_equal(last.tcp_offset, 56);
	assert_int_equal(last.len_bytes, 76);
	assert_memory_equal(last.packet, p.bytes + 14 + 8, 76);
	assert_int_equal(last.link_bytes, 14 + 8);
	assert_memory_equal(last.link, p.bytes, 14 + 8);
}

static void data_behind_a_syn_is_left_out(void **state)
{
	struct packet_buf p = packet_tcp_frame(POD, 40000, SERVER, 80, TCP_SYN);

	(void)state;
	packet_put(&p, "early data", 10);
	assert_int_equal(fixture_egress(&f, &p, FROM_POD), SHOT);
	expect_syns(1);
	assert_int_equal(last.len_bytes, 40);
}

static void a_device_without_ethernet(void **state)
{
	struct packet_buf frame = packet_tcp_frame(POD, 40000, SERVER, 80, TCP_SYN), p = { 0 };
	const struct bpf_program *program = bpf_program__fd(f.edge->progs.edge_egress_l3) >= 0 ? f.edge->progs.edge_egress_l3
	                                                                                       : f.edge->progs.edge_egr_l3_noct;

	(void)state;
	packet_put(&p, frame.bytes + 14, frame.len_bytes - 14);
	assert_int_equal(fixture_run(program, &p, FROM_POD, NULL), SHOT);
	expect_syns(1);
	assert_int_equal(last.len_bytes, 40);
	assert_int_equal(last.link_bytes, 0);
	assert_memory_equal(last.packet, frame.bytes + 14, 40);
}

static void headers_that_are_too_long_go_in_at_once(void **state)
{
	struct packet_buf p = { 0 };

	(void)state;
	packet_ethernet(&p, 0x86dd, 0);
	packet_ipv6(&p, "fd01::5", "fd02::7", 60);
	packet_extension(&p, 6, 160);
	packet_tcp(&p, 40000, 80, TCP_SYN);
	assert_int_equal(fixture_egress(&f, &p, FROM_POD), REDIRECT);
	assert_true(fixture_counted(&f, CLASS_UNHELD, EDGE_EGRESS, EDGE_PASS, p.len_bytes));
	expect_syns(0);
}

/* So many SYNs of one device; how many of them are held. The rest goes in at once. is_fast: all within a moment, however slow the machine. */
static int flood(uint32_t device, int count, bool is_fast)
{
	struct edge_giver giver = { .count = EDGE_GIVER_SYNS_MAX };
	int held = 0, at_once = 0;
	struct timespec now;

	for (int i = 0; i < count; i++) {
		struct packet_buf p = packet_tcp_frame(POD, 20000 + (unsigned)i, SERVER, 80, TCP_SYN);
		int verdict;

		clock_gettime(CLOCK_MONOTONIC, &now);
		giver.since_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
		if (is_fast)
			assert_int_equal(bpf_map_update_elem(bpf_map__fd(f.edge->maps.givers), &device, &giver, BPF_ANY), 0);
		verdict = fixture_egress(&f, &p, device);
		held += verdict == SHOT;
		at_once += verdict == REDIRECT;
	}
	assert_int_equal(held + at_once, count);
	return held;
}

static void what_the_daemon_has_no_room_for_goes_in_at_once(void **state)
{
	int held = 0;

	(void)state;
	for (uint32_t device = 1000; device < 1000 + 2000 / EDGE_GIVER_SYNS_MAX; device++)
		held += flood(device, EDGE_GIVER_SYNS_MAX, false);
	assert_in_range(held, ROOM - 1, ROOM);
	expect_syns(held);
}

static void who_floods_leaves_half_of_the_room_to_others(void **state)
{
	int held;

	(void)state;
	held = flood(FROM_POD, 2000, true);
	assert_in_range(held, ROOM / 2, ROOM / 2 + 16);
	assert_int_equal(flood(FROM_POD + 1000, 16, false), 16);
	expect_syns(held + 16);
}

static void optimistic_holds_none(void **state)
{
	struct packet_buf p = packet_tcp_frame(POD, 40000, SERVER, 80, TCP_SYN);

	(void)state;
	f.config.is_holding = 0;
	fixture_write_config(&f);
	assert_int_equal(fixture_egress(&f, &p, FROM_POD), REDIRECT);
	assert_true(fixture_counted(&f, CLASS_TUNNEL, EDGE_EGRESS, EDGE_PASS, p.len_bytes));
	expect_syns(0);
}

static void a_syn_that_waits_passes_when_its_node_is_taken_out(void **state)
{
	struct packet_buf p = packet_tcp_frame(POD, 40000, SERVER, 80, TCP_SYN);
	struct flow_key key = fixture_flow(POD, 40000, SERVER, 80);
	struct flow_value value;

	(void)state;
	assert_int_equal(fixture_egress(&f, &p, FROM_POD), SHOT);
	fixture_set_pair(&f, PEER, 0, 0);
	fixture_forget_counts(&f);
	assert_int_equal(fixture_egress(&f, &p, FROM_POD), LEAVE);
	assert_true(fixture_counted(&f, CLASS_NOT_ENROLLED, EDGE_EGRESS, EDGE_PASS, p.len_bytes));
	assert_int_not_equal(bpf_map_lookup_elem(bpf_map__fd(f.edge->maps.flows), &key, &value), 0);
	expect_syns(1);
}

static void a_dead_daemon_holds_none(void **state)
{
	struct packet_buf p = packet_tcp_frame(POD, 40000, SERVER, 80, TCP_SYN);

	(void)state;
	fixture_kill(&f);
	assert_int_equal(fixture_egress(&f, &p, FROM_POD), SHOT);
	assert_true(fixture_counted(&f, CLASS_REFUSED, EDGE_EGRESS, EDGE_DROP, p.len_bytes));
	expect_syns(0);
}

static void the_nodes_own_connections_are_held_too(void **state)
{
	struct packet_buf p = packet_tcp_frame("192.168.0.1", 40000, SERVER, 80, TCP_SYN);

	(void)state;
	fixture_set_peer(&f, PEER, true);
	assert_int_equal(fixture_egress(&f, &p, FROM_HOST), SHOT);
	expect_syns(1);
	assert_int_equal(last.ingress_ifindex, 0);
}

static uint16_t worker_of(unsigned port)
{
	struct flow_key key = fixture_flow(POD, port, SERVER, 80);
	struct flow_value value;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(f.edge->maps.flows), &key, &value), 0);
	return value.worker;
}

static void send_syn(unsigned port, uint32_t seq)
{
	struct packet_buf p = packet_with_sequence(packet_tcp_frame(POD, port, SERVER, 80, TCP_SYN), seq);

	assert_int_equal(fixture_egress(&f, &p, FROM_POD), SHOT);
}

/* Each SYN comes to the ring of the worker that it is recorded with. */
static void new_flows_go_to_the_takers_in_turn(void **state)
{
	static const uint8_t takers[] = { HOME, OTHER };

	(void)state;
	fixture_set_takers(&f, PEER, 2, takers);
	for (unsigned i = 0; i < 6; i++) {
		send_syn(40000 + i, 7);
		assert_int_equal(worker_of(40000 + i), takers[i % 2]);
		expect_syns((int)i / 2 + 1);
		expect_other((int)(i + 1) / 2);
	}
	fixture_set_takers(&f, PEER, 1, takers + 1);
	send_syn(40010, 7);
	assert_int_equal(worker_of(40010), OTHER);
	/* None is up: the home makes one. */
	fixture_set_takers(&f, PEER, 0, takers);
	send_syn(40011, 7);
	assert_int_equal(worker_of(40011), HOME);
}

static void a_syn_that_is_sent_again_keeps_its_worker(void **state)
{
	static const uint8_t takers[] = { OTHER, HOME };
	struct packet_buf ack = packet_tcp_frame(POD, 40000, SERVER, 80, TCP_ACK);

	(void)state;
	fixture_set_takers(&f, PEER, 2, takers);
	send_syn(40000, 7);
	send_syn(40000, 7);
	expect_other(2);
	/* Its client began anew from the same port: who holds the first must know. */
	send_syn(40000, 8);
	expect_other(3);
	expect_syns(0);
	/* Once the connection was made nobody holds anything of it. */
	assert_int_equal(fixture_egress(&f, &ack, FROM_POD), REDIRECT);
	send_syn(40000, 9);
	expect_other(3);
	expect_syns(1);
	assert_int_equal(worker_of(40000), HOME);
}

/* Of one that was refused no more comes from its client than the SYN. */
static void after_a_long_time_a_syn_is_held_by_none(void **state)
{
	static const uint8_t takers[] = { OTHER, HOME };
	struct flow_key key = fixture_flow(POD, 40000, SERVER, 80);
	struct flow_value value;

	(void)state;
	fixture_set_takers(&f, PEER, 1, takers);
	send_syn(40000, 7);
	expect_other(1);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(f.edge->maps.flows), &key, &value), 0);
	value.since_ns -= EDGE_HELD_NS;
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(f.edge->maps.flows), &key, &value, BPF_ANY), 0);
	fixture_set_takers(&f, PEER, 1, takers + 1);
	/* Its client sends it once more, however late. */
	send_syn(40000, 7);
	expect_other(2);
	/* Another one. */
	send_syn(40000, 8);
	expect_other(2);
	expect_syns(1);
	assert_int_equal(worker_of(40000), HOME);
}

/* An earlier daemon had more workers. */
static void the_home_gets_what_a_worker_without_a_ring_had(void **state)
{
	static const uint8_t takers[] = { 7 };

	(void)state;
	fixture_set_takers(&f, PEER, 1, takers);
	send_syn(40000, 7);
	assert_int_equal(worker_of(40000), 7);
	expect_syns(1);
}

static struct passing maps(void)
{
	return (struct passing){ .flows_fd = bpf_map__fd(f.edge->maps.flows),
		                 .passed_fd = bpf_map__fd(f.edge->maps.passed),
		                 .settings_fd = bpf_map__fd(f.edge->maps.settings) };
}

/* What the daemon makes of a record. */
static struct syn syn_of_last(void)
{
	struct syn s = { .seq = ntohl(last.seq_be),
		         .client.port = ntohs(last.source_port_be),
		         .server.port = ntohs(last.dest_port_be),
		         .may_pass = last.may_pass };

	memcpy(s.client.addr.bytes, last.source, 16);
	memcpy(s.server.addr.bytes, last.dest, 16);
	return s;
}

static bool is_diverted(const struct flow_key *key)
{
	struct flow_value value;

	return !bpf_map_lookup_elem(bpf_map__fd(f.edge->maps.flows), key, &value);
}

/* Permissive: where no tunnel is up the daemon has the SYN, and sends it on by the device when none comes. The whole connection passes then. */
static void permissive_lets_pass_what_the_daemon_gives_back(void **state)
{
	static const struct {
		const char *client, *server;
	} cases[] = { { POD, SERVER }, { "fd01::5", "fd02::7" }, { "192.168.0.1" /* masqueraded */, SERVER } };

	(void)state;
	fixture_set_mode(&f, EDGE_PERMISSIVE);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *client = cases[i].client, *server = cases[i].server;
		struct packet_buf syn = packet_with_sequence(packet_tcp_frame(client, 40000, server, 80, TCP_SYN), 77);
		struct packet_buf ack = packet_tcp_frame(client, 40000, server, 80, TCP_ACK);
		struct packet_buf answer = packet_tcp_frame(server, 80, client, 40000, TCP_SYN_ACK);
		struct flow_key key = fixture_flow(client, 40000, server, 80);
		struct passing passing = maps();
		struct syn s;

		fixture_forget_counts(&f);
		came = 0;
		assert_int_equal(fixture_egress(&f, &syn, FROM_POD), SHOT);
		assert_true(fixture_counted(&f, CLASS_HELD, EDGE_EGRESS, EDGE_DROP, syn.len_bytes));
		/* And once more, while it waits. */
		assert_int_equal(fixture_egress(&f, &syn, FROM_POD), SHOT);
		assert_true(fixture_counted(&f, CLASS_HELD, EDGE_EGRESS, EDGE_DROP, syn.len_bytes));
		expect_syns(2);
		assert_true(last.may_pass);
		assert_int_equal(last.egress_ifindex, 1);
		assert_int_equal(last.link_bytes, 14);
		assert_memory_equal(last.link, syn.bytes, 14);
		assert_int_equal(last.vlan_proto_be, 0);
		assert_true(is_diverted(&key));

		s = syn_of_last();
		assert_false(passing_has(&passing, &s));
		assert_int_equal(passing_put(&passing, &s), 0);
		assert_true(passing_has(&passing, &s));
		assert_false(is_diverted(&key));
		/* Out of the daemon's socket. */
		assert_int_equal(fixture_egress(&f, &syn, FROM_HOST), LEAVE);
		assert_true(fixture_counted(&f, CLASS_PERMISSIVE, EDGE_EGRESS, EDGE_PASS, syn.len_bytes));
		/* A tunnel that comes now is too late for this one. */
		fixture_set_peer(&f, PEER, true);
		assert_int_equal(fixture_egress(&f, &syn, FROM_POD), LEAVE);
		assert_true(fixture_counted(&f, CLASS_PERMISSIVE, EDGE_EGRESS, EDGE_PASS, syn.len_bytes));
		assert_int_equal(fixture_ingress(&f, &answer), LEAVE);
		assert_true(fixture_counted(&f, CLASS_PERMISSIVE, EDGE_INGRESS, EDGE_PASS, answer.len_bytes));
		assert_int_equal(fixture_egress(&f, &ack, FROM_POD), LEAVE);
		assert_true(fixture_counted(&f, CLASS_PERMISSIVE, EDGE_EGRESS, EDGE_PASS, ack.len_bytes));
		expect_syns(2);
		/* And not for the next from the same port. */
		syn = packet_with_sequence(syn, 78);
		assert_int_equal(fixture_egress(&f, &syn, FROM_POD), SHOT);
		assert_true(fixture_counted(&f, CLASS_TUNNEL, EDGE_EGRESS, EDGE_PASS, syn.len_bytes));
		expect_syns(3);
		s = syn_of_last();
		assert_false(passing_has(&passing, &s));
		assert_true(last.may_pass);
		assert_true(is_diverted(&key));
		fixture_set_peer(&f, PEER, false);
	}
}

static void only_permissive_lets_pass(void **state)
{
	struct packet_buf p = packet_tcp_frame(POD, 40000, SERVER, 80, TCP_SYN);
	struct passing passing = maps();
	struct syn s;

	(void)state;
	fixture_set_mode(&f, EDGE_STRICT);
	assert_int_equal(fixture_egress(&f, &p, FROM_POD), SHOT);
	expect_syns(1);
	assert_false(last.may_pass);
	/* What it was given before the mode changed may pass now. */
	fixture_set_mode(&f, EDGE_PERMISSIVE);
	assert_int_equal(fixture_egress(&f, &p, FROM_POD), SHOT);
	expect_syns(2);
	assert_true(last.may_pass);
	/* Nor does it pass what has waited until the mode is another. */
	s = syn_of_last();
	fixture_set_mode(&f, EDGE_STRICT);
	assert_int_equal(passing_put(&passing, &s), -EPERM);
	assert_false(passing_has(&passing, &s));
	fixture_set_mode(&f, EDGE_PERMISSIVE);
	/* The node's own are no pod's. */
	fixture_set_peer(&f, PEER, true);
	p = packet_tcp_frame("192.168.0.1", 40001, SERVER, 80, TCP_SYN);
	assert_int_equal(fixture_egress(&f, &p, FROM_HOST), SHOT);
	expect_syns(3);
	assert_false(last.may_pass);
}

/* The daemon is behind: a new one is dropped once, as where it does not hold; one that it has had is dropped until it has room. */
static void permissive_where_the_daemon_has_no_room(void **state)
{
	struct packet_buf first = packet_with_sequence(packet_tcp_frame(POD, 40000, SERVER, 80, TCP_SYN), 5);
	struct packet_buf second = packet_with_sequence(packet_tcp_frame(POD, 40001, SERVER, 80, TCP_SYN), 6);
	struct flow_key key = fixture_flow(POD, 40001, SERVER, 80);
	struct flow_value value;

	(void)state;
	fixture_set_mode(&f, EDGE_PERMISSIVE);
	assert_int_equal(fixture_egress(&f, &first, FROM_POD), SHOT);
	fixture_set_mode(&f, EDGE_STRICT);
	for (uint32_t device = 1000; device < 1000 + 2000 / EDGE_GIVER_SYNS_MAX; device++)
		(void)flood(device, EDGE_GIVER_SYNS_MAX, false);
	fixture_set_mode(&f, EDGE_PERMISSIVE);
	fixture_forget_counts(&f);
	assert_int_equal(fixture_egress(&f, &first, FROM_POD), SHOT);
	assert_true(fixture_counted(&f, CLASS_HELD, EDGE_EGRESS, EDGE_DROP, first.len_bytes));
	assert_int_equal(fixture_egress(&f, &second, FROM_POD), SHOT);
	assert_true(fixture_counted(&f, CLASS_HELD, EDGE_EGRESS, EDGE_DROP, second.len_bytes));
	assert_false(is_diverted(&key));
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(f.edge->maps.waiting), &key, &value), 0);
	value.since_ns -= EDGE_HOLD_NS;
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(f.edge->maps.waiting), &key, &value, BPF_EXIST), 0);
	assert_int_equal(fixture_egress(&f, &second, FROM_POD), LEAVE);
	assert_true(fixture_counted(&f, CLASS_PERMISSIVE, EDGE_EGRESS, EDGE_PASS, second.len_bytes));
	(void)ring_buffer__consume(ring);
}

/* It could not be known again when it is let pass, and would be held without an end. */
static void a_syn_that_is_numbered_0_is_not_held_in_permissive_mode(void **state)
{
	struct packet_buf p = packet_with_sequence(packet_tcp_frame(POD, 40000, SERVER, 80, TCP_SYN), 0);
	struct passing passing = maps();
	struct syn s;

	(void)state;
	fixture_set_mode(&f, EDGE_PERMISSIVE);
	assert_int_equal(fixture_egress(&f, &p, FROM_POD), SHOT);
	assert_true(fixture_counted(&f, CLASS_HELD, EDGE_EGRESS, EDGE_DROP, p.len_bytes));
	expect_syns(0);
	s = syn_of_last();
	s.seq = 0;
	assert_int_equal(passing_put(&passing, &s), 0);
	assert_false(passing_has(&passing, &s));
}

static struct ring_buffer *make_ring(uint32_t worker, ring_buffer_sample_fn on_syn)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "held", 0, 0, EDGE_HELD_BYTES, NULL);

	if (fd < 0 || bpf_map_update_elem(bpf_map__fd(f.edge->maps.held), &worker, &fd, BPF_ANY))
		return NULL;
	return ring_buffer__new(fd, on_syn, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_syn_is_given_to_the_daemon, reset),
		cmocka_unit_test_setup(tags_and_extension_headers_are_left_out_and_kept, reset),
		cmocka_unit_test_setup(data_behind_a_syn_is_left_out, reset),
		cmocka_unit_test_setup(a_device_without_ethernet, reset),
		cmocka_unit_test_setup(headers_that_are_too_long_go_in_at_once, reset),
		cmocka_unit_test_setup(what_the_daemon_has_no_room_for_goes_in_at_once, reset),
		cmocka_unit_test_setup(who_floods_leaves_half_of_the_room_to_others, reset),
		cmocka_unit_test_setup(optimistic_holds_none, reset),
		cmocka_unit_test_setup(a_syn_that_waits_passes_when_its_node_is_taken_out, reset),
		cmocka_unit_test_setup(permissive_lets_pass_what_the_daemon_gives_back, reset),
		cmocka_unit_test_setup(only_permissive_lets_pass, reset),
		cmocka_unit_test_setup(permissive_where_the_daemon_has_no_room, reset),
		cmocka_unit_test_setup(a_syn_that_is_numbered_0_is_not_held_in_permissive_mode, reset),
		cmocka_unit_test_setup(a_dead_daemon_holds_none, reset),
		cmocka_unit_test_setup(the_nodes_own_connections_are_held_too, reset),
		cmocka_unit_test_setup(new_flows_go_to_the_takers_in_turn, reset),
		cmocka_unit_test_setup(a_syn_that_is_sent_again_keeps_its_worker, reset),
		cmocka_unit_test_setup(after_a_long_time_a_syn_is_held_by_none, reset),
		cmocka_unit_test_setup(the_home_gets_what_a_worker_without_a_ring_had, reset),
	};
	int result = fixture_load(&f);

	if (result)
		return result;
	ring = make_ring(HOME, keep_syn);
	other_ring = make_ring(OTHER, keep_other);
	if (!ring || !other_ring)
		return 1;
	result = cmocka_run_group_tests(tests, NULL, NULL);
	ring_buffer__free(ring);
	ring_buffer__free(other_ring);
	fixture_done(&f);
	return result;
}
