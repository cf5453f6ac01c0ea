/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is taken from the ring of SYNs in one event. The kernel's part is in tests/bpf/test_hold.c. */
#include "edge/hold.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static int came;

static void count_syn(void *ctx, const struct syn *s)
{
	(void)ctx;
	assert_int_equal(s->client.port, 40000);
	assert_int_equal(s->device, 9);
	came++;
}

static struct edge_syn syn_of(uint8_t last_byte)
{
	struct edge_syn e = {
		.source_port_be = htons(40000), .dest_port_be = htons(80), .len_bytes = 40, .tcp_offset = 20, .ingress_ifindex = 9
	};

	e.source[10] = e.source[11] = e.dest[10] = e.dest[11] = 0xff;
	e.source[15] = last_byte;
	e.packet[0] = 0x45;
	e.packet[20 + 12] = 0x50;
	return e;
}

/* A pod that fills the ring as fast as it is read must not keep the worker from all else. */
static void a_flood_leaves_the_worker_time_for_others(void **state)
{
	struct hold h = { .on_syn = count_syn };
	struct edge_syn e = syn_of(1);
	int i;

	(void)state;
	for (i = 1; on_record(&h, &e, sizeof(e)) == 0; i++)
		assert_true(i < 1000);
	assert_int_equal(i, SYNS_PER_EVENT);
	assert_int_equal(came, SYNS_PER_EVENT); /* the last one too */
}

/* Neither do those that are no SYN. */
static void what_is_left_out_counts_too(void **state)
{
	struct hold h = { .on_syn = count_syn };
	struct edge_syn e = syn_of(1);
	int i;

	(void)state;
	came = 0;
	e.len_bytes = EDGE_SYN_BYTES + 1;
	for (i = 1; on_record(&h, &e, sizeof(e)) == 0; i++)
		assert_true(i < 1000);
	assert_int_equal(i, SYNS_PER_EVENT);
	assert_int_equal(came, 0);
}

static void the_tag_that_was_beside_the_frame_is_in_it_again(void **state)
{
	static const uint8_t plain[14] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00 };
	static const uint8_t tagged[18] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0x00, 0x20, 0x05, 0x08, 0x00 };
	struct edge_syn e = syn_of(1);
	struct syn_way way;

	(void)state;
	e.egress_ifindex = 4;
	e.link_bytes = sizeof(plain);
	memcpy(e.link, plain, sizeof(plain));
	take_way(&way, &e);
	assert_int_equal(way.device, 4);
	assert_int_equal(way.link_bytes, sizeof(plain));
	assert_memory_equal(way.link, plain, sizeof(plain));
	e.vlan_proto_be = htons(0x8100);
	e.vlan_tci = 0x2005;
	take_way(&way, &e);
	assert_int_equal(way.link_bytes, sizeof(tagged));
	assert_memory_equal(way.link, tagged, sizeof(tagged));
	e.link_bytes = 0;
	take_way(&way, &e);
	assert_int_equal(way.link_bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flood_leaves_the_worker_time_for_others),
		cmocka_unit_test(what_is_left_out_counts_too),
		cmocka_unit_test(the_tag_that_was_beside_the_frame_is_in_it_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
