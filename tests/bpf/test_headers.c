/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the parsers make of headers: VLAN tags, options, extension headers, fragments, cut packets, devices without an Ethernet head. */
#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct fixture f;

enum {
	TCP = 6,
	UDP = 17,
	ICMPV6 = 58,
	HOP_OPTIONS = 0,
	ROUTING = 43,
	FRAGMENT = 44,
	ESP = 50,
	AUTH = 51,
	NO_NEXT = 59,
	DEST_OPTIONS = 60,
	MOBILITY = 135,
	HIP = 139,
	SHIM6 = 140
};

static int reset(void **state)
{
	(void)state;
	fixture_reset(&f);
	return 0;
}

static const struct bpf_program *egress_program(bool is_l3)
{
	const struct bpf_program *ct = is_l3 ? f.edge->progs.edge_egress_l3 : f.edge->progs.edge_egress;

	if (bpf_program__fd(ct) >= 0)
		return ct;
	return is_l3 ? f.edge->progs.edge_egr_l3_noct : f.edge->progs.edge_egress_noct;
}

/* A SYN between pods: diverted at egress in strict mode, refused at ingress. */
static void expect_read(const struct packet_buf *p)
{
	assert_int_equal(fixture_egress(&f, p, FROM_POD), REDIRECT);
	assert_true(fixture_counted(&f, CLASS_TUNNEL, EDGE_EGRESS, EDGE_PASS, p->len_bytes));
}

static void expect_unclassifiable(const struct packet_buf *p)
{
	fixture_set_mode(&f, EDGE_STRICT);
	assert_int_equal(fixture_egress(&f, p, FROM_POD), SHOT);
	assert_true(fixture_counted(&f, CLASS_UNCLASSIFIABLE, EDGE_EGRESS, EDGE_DROP, p->len_bytes));
	fixture_set_mode(&f, EDGE_PERMISSIVE);
	assert_int_equal(fixture_egress(&f, p, FROM_POD), LEAVE);
	assert_true(fixture_counted(&f, CLASS_UNCLASSIFIABLE, EDGE_EGRESS, EDGE_PASS, p->len_bytes));
	fixture_set_mode(&f, EDGE_STRICT);
	/* Nor may it come out of the private namespace. */
	assert_int_equal(fixture_egress(&f, p, FROM_OURS), SHOT);
	fixture_forget_counts(&f);
}

static void expect_untouched(const struct packet_buf *p)
{
	assert_int_equal(fixture_egress(&f, p, FROM_POD), LEAVE);
	assert_int_equal(fixture_ingress(&f, p), LEAVE);
	assert_true(fixture_counted(&f, CLASS_COUNT, 0, 0, 0));
}

static void a_diverted_frame_has_its_tags_taken_off(void **state)
{
	(void)state;
	for (unsigned tags = 0; tags <= 2; tags++) {
		struct packet_buf p = { .len_bytes = 0 }, out;

		packet_ethernet(&p, 0x0800, tags);
		packet_ipv4(&p, "10.1.0.5", "10.2.0.5", TCP, 0, 0);
		packet_tcp(&p, 40000, 80, TCP_SYN);
		assert_int_equal(fixture_run(egress_program(false), &p, FROM_POD, &out), REDIRECT);
		assert_true(fixture_counted(&f, CLASS_TUNNEL, EDGE_EGRESS, EDGE_PASS, p.len_bytes));
		assert_int_equal(out.len_bytes, p.len_bytes - tags * 4);
		assert_memory_equal(out.bytes, fixture_private_mac, 6);
		assert_int_equal(out.bytes[12] << 8 | out.bytes[13], 0x0800);
		assert_memory_equal(out.bytes + 14, p.bytes + 14 + tags * 4, out.len_bytes - 14);
	}
}

static void tags_at_ingress(void **state)
{
	(void)state;
	for (unsigned tags = 0; tags <= 2; tags++) {
		struct packet_buf p = { .len_bytes = 0 };

		packet_ethernet(&p, 0x86dd, tags);
		packet_ipv6(&p, "fd02::5", "fd01::5", TCP);
		packet_tcp(&p, 40000, 80, TCP_SYN);
		assert_int_equal(fixture_ingress(&f, &p), SHOT);
		assert_true(fixture_counted(&f, CLASS_REFUSED, EDGE_INGRESS, EDGE_DROP, p.len_bytes));
	}
}

static void three_tags_and_other_types_are_no_ip(void **state)
{
	static const unsigned types[] = { 0x0806, 0x8847, 0x88cc, 0x05dc };
	struct packet_buf p = { .len_bytes = 0 };

	(void)state;
	packet_ethernet(&p, 0x0800, 3);
	packet_ipv4(&p, "10.1.0.5", "10.2.0.5", TCP, 0, 0);
	packet_tcp(&p, 40000, 80, TCP_SYN);
	expect_untouched(&p);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		p.len_bytes = 0;
		packet_ethernet(&p, types[i], 0);
		packet_ipv4(&p, "10.1.0.5", "10.2.0.5", TCP, 0, 0);
		packet_tcp(&p, 40000, 80, TCP_SYN);
		expect_untouched(&p);
	}
}

static void a_head_that_lies_about_itself_is_no_ip(void **state)
{
	struct packet_buf p = packet_tcp_frame("10.1.0.5", 40000, "10.2.0.5", 80, TCP_SYN);

	(void)state;
	p.bytes[14] = 0x44; /* shorter than the least */
	expect_untouched(&p);
	p.bytes[14] = 0x55; /* IP version 5 */
	expect_untouched(&p);
}

static void options_are_stepped_over(void **state)
{
	(void)state;
	for (size_t option_bytes = 0; option_bytes <= 40; option_bytes += 4) {
		struct packet_buf p = { .len_bytes = 0 };

		packet_ethernet(&p, 0x0800, 0);
		packet_ipv4(&p, "10.1.0.5", "10.2.0.5", TCP, option_bytes, 0);
		packet_tcp(&p, 40000, 80, TCP_SYN);
		expect_read(&p);
	}
}

static void extension_headers_are_walked(void **state)
{
	static const unsigned kinds[] = { HOP_OPTIONS, DEST_OPTIONS, ROUTING, MOBILITY, HIP, SHIM6 };
	struct packet_buf p;

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		for (size_t len_bytes = 8; len_bytes <= 64; len_bytes += 8) {
			p.len_bytes = 0;
			packet_ethernet(&p, 0x86dd, 0);
			packet_ipv6(&p, "fd01::5", "fd02::5", kinds[i]);
			packet_extension(&p, TCP, len_bytes);
			packet_tcp(&p, 40000, 80, TCP_SYN);
			expect_read(&p);
		}
	}
	/* All of them, in RFC 8200's order, with a fragment header of a whole packet. */
	p.len_bytes = 0;
	packet_ethernet(&p, 0x86dd, 0);
	packet_ipv6(&p, "fd01::5", "fd02::5", HOP_OPTIONS);
	packet_extension(&p, DEST_OPTIONS, 8);
	packet_extension(&p, ROUTING, 16);
	packet_extension(&p, FRAGMENT, 24);
	packet_ipv6_fragment(&p, AUTH, 0);
	packet_authentication(&p, DEST_OPTIONS, 12);
	packet_extension(&p, TCP, 24);
	packet_tcp(&p, 40000, 80, TCP_SYN);
	expect_read(&p);
}

static void chains_that_can_not_be_walked(void **state)
{
	struct packet_buf p = { .len_bytes = 0 };

	(void)state;
	/* One header more than we walk. */
	packet_ethernet(&p, 0x86dd, 0);
	packet_ipv6(&p, "fd01::5", "fd02::5", DEST_OPTIONS);
	for (int i = 0; i < 7; i++)
		packet_extension(&p, DEST_OPTIONS, 8);
	packet_extension(&p, TCP, 8);
	packet_tcp(&p, 40000, 80, TCP_SYN);
	expect_unclassifiable(&p);

	/* A route through other addresses. */
	p.len_bytes = 0;
	packet_ethernet(&p, 0x86dd, 0);
	packet_ipv6(&p, "fd01::5", "fd02::5", ROUTING);
	packet_extension(&p, TCP, 24);
	p.bytes[14 + 40 + 3] = 1;
	packet_tcp(&p, 40000, 80, TCP_SYN);
	expect_unclassifiable(&p);

	/* A header that claims to be longer than the packet. */
	p.len_bytes = 0;
	packet_ethernet(&p, 0x86dd, 0);
	packet_ipv6(&p, "fd01::5", "fd02::5", DEST_OPTIONS);
	packet_extension(&p, TCP, 8);
	p.bytes[14 + 40 + 1] = 255;
	packet_tcp(&p, 40000, 80, TCP_SYN);
	expect_unclassifiable(&p);
}

static void what_is_encrypted_or_empty_is_no_tcp(void **state)
{
	static const unsigned kinds[] = { ESP, NO_NEXT };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct packet_buf p = { .len_bytes = 0 };

		packet_ethernet(&p, 0x86dd, 0);
		packet_ipv6(&p, "fd01::5", "fd02::5", HOP_OPTIONS);
		packet_extension(&p, kinds[i], 8);
		packet_tcp(&p, 40000, 80, TCP_SYN);
		assert_int_equal(fixture_egress(&f, &p, FROM_POD), LEAVE);
		assert_true(fixture_counted(&f, CLASS_OTHER, EDGE_EGRESS, EDGE_PASS, p.len_bytes));
	}
}

static struct packet_buf fragment_frame(bool is_v6, bool is_out, unsigned proto, unsigned offset_units, bool has_more)
{
	const char *pod = is_v6 ? "fd01::5" : "10.1.0.5", *remote = is_v6 ? "fd02::5" : "10.2.0.5";
	struct packet_buf p = { .len_bytes = 0 };

	packet_ethernet(&p, is_v6 ? 0x86dd : 0x0800, 0);
	if (is_v6) {
		packet_ipv6(&p, is_out ? pod : remote, is_out ? remote : pod, FRAGMENT);
		packet_ipv6_fragment(&p, proto, offset_units << 3 | has_more);
	} else {
		packet_ipv4(&p, is_out ? pod : remote, is_out ? remote : pod, proto, 0, (has_more ? 0x2000 : 0) | offset_units);
	}
	packet_tcp(&p, 40000, 80, TCP_ACK);
	return p;
}

static void fragments_of_tcp_are_refused(void **state)
{
	static const struct {
		unsigned offset_units;
		bool has_more;
	} pieces[] = { { 0, true }, { 185, true }, { 370, false }, { 1, false } };

	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
			struct packet_buf out = fragment_frame(is_v6, true, TCP, pieces[i].offset_units, pieces[i].has_more);
			struct packet_buf in = fragment_frame(is_v6, false, TCP, pieces[i].offset_units, pieces[i].has_more);
			struct packet_buf udp = fragment_frame(is_v6, true, UDP, pieces[i].offset_units, pieces[i].has_more);

			expect_unclassifiable(&out);
			assert_int_equal(fixture_ingress(&f, &in), SHOT);
			assert_true(fixture_counted(&f, CLASS_UNCLASSIFIABLE, EDGE_INGRESS, EDGE_DROP, in.len_bytes));
			assert_int_equal(fixture_egress(&f, &udp, FROM_POD), LEAVE);
			assert_true(fixture_counted(&f, CLASS_UDP, EDGE_EGRESS, EDGE_PASS, udp.len_bytes));
		}
	}
	/* A later piece of something that began with an extension header. */
	struct packet_buf p = fragment_frame(true, true, DEST_OPTIONS, 185, false);

	expect_unclassifiable(&p);
}

static void fragments_of_others_pass(void **state)
{
	struct packet_buf p = { .len_bytes = 0 };

	(void)state;
	packet_ethernet(&p, 0x0800, 0);
	packet_ipv4(&p, "10.1.0.5", "8.8.8.8", TCP, 0, 185);
	packet_tcp(&p, 40000, 80, TCP_ACK);
	expect_untouched(&p);
	p.len_bytes = 0;
	packet_ethernet(&p, 0x0800, 0);
	packet_ipv4(&p, "10.1.0.5", "10.3.0.5", TCP, 0, 185);
	packet_tcp(&p, 40000, 80, TCP_ACK);
	expect_untouched(&p);
}

/* At every length: without its addresses it is nobody's; with them, but cut before the end of TCP's head, it can not be told what it is. */
static void cut_at_every_length(void **state)
{
	enum { PLAIN_V4, OPTIONS_V4, PLAIN_V6, EXTENDED_V6, KINDS };

	(void)state;
	for (int kind = 0; kind < KINDS; kind++) {
		for (unsigned tags = 0; tags <= 2; tags++) {
			struct packet_buf whole = { .len_bytes = 0 };
			size_t addresses_end, shortest;

			packet_ethernet(&whole, kind < PLAIN_V6 ? 0x0800 : 0x86dd, tags);
			addresses_end = whole.len_bytes + (kind < PLAIN_V6 ? 20 : 40);
			if (kind < PLAIN_V6)
				packet_ipv4(&whole, "10.1.0.5", "10.2.0.5", TCP, kind == OPTIONS_V4 ? 12 : 0, 0);
			else
				packet_ipv6(&whole, "fd01::5", "fd02::5", kind == EXTENDED_V6 ? DEST_OPTIONS : TCP);
			if (kind == EXTENDED_V6)
				packet_extension(&whole, TCP, 16);
			packet_tcp(&whole, 40000, 80, TCP_SYN);

			/* The kernel's test run takes no untagged IP packet that is cut inside its fixed head, and nothing without a byte
			 * behind the Ethernet head. */
			shortest = tags ? 15 : addresses_end;
			for (size_t len_bytes = shortest; len_bytes < whole.len_bytes; len_bytes++) {
				struct packet_buf p = whole;

				p.len_bytes = len_bytes;
				if (len_bytes < addresses_end)
					expect_untouched(&p);
				else
					expect_unclassifiable(&p);
			}
			expect_read(&whole);
		}
	}
}

static void cut_udp_and_icmp_pass(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		const char *pod = is_v6 ? "fd01::5" : "10.1.0.5", *remote = is_v6 ? "fd02::5" : "10.2.0.5";

		for (size_t cut = 0; cut <= 8; cut++) {
			struct packet_buf udp = packet_proto_frame(pod, remote, UDP),
					  icmp = packet_proto_frame(pod, remote, is_v6 ? ICMPV6 : 1);

			icmp.bytes[icmp.len_bytes - 8] = is_v6 ? 1 : 3;
			udp.len_bytes -= cut;
			icmp.len_bytes -= cut;
			assert_int_equal(fixture_egress(&f, &udp, FROM_POD), LEAVE);
			assert_true(fixture_counted(&f, CLASS_UDP, EDGE_EGRESS, EDGE_PASS, udp.len_bytes));
			assert_int_equal(fixture_egress(&f, &icmp, FROM_POD), LEAVE);
			assert_true(fixture_counted(&f, CLASS_ICMP, EDGE_EGRESS, EDGE_PASS, icmp.len_bytes));
		}
	}
}

static void devices_without_an_ethernet_head(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		const char *pod = is_v6 ? "fd01::5" : "10.1.0.5", *remote = is_v6 ? "fd02::5" : "10.2.0.5";
		struct packet_buf frame = packet_tcp_frame(pod, 40000, remote, 80, TCP_SYN), p = { .len_bytes = 0 }, out;
		struct packet_buf in_frame = packet_tcp_frame(remote, 40000, pod, 80, TCP_SYN), in = { .len_bytes = 0 };

		packet_put(&p, frame.bytes + 14, frame.len_bytes - 14);
		packet_put(&in, in_frame.bytes + 14, in_frame.len_bytes - 14);
		assert_int_equal(fixture_run(egress_program(true), &p, FROM_POD, &out), REDIRECT);
		assert_true(fixture_counted(&f, CLASS_TUNNEL, EDGE_EGRESS, EDGE_PASS, p.len_bytes));
		assert_int_equal(out.len_bytes, p.len_bytes + 14);
		assert_memory_equal(out.bytes, fixture_private_mac, 6);
		assert_memory_equal(out.bytes + 6, fixture_host_mac, 6);
		assert_int_equal(out.bytes[12] << 8 | out.bytes[13], is_v6 ? 0x86dd : 0x0800);
		assert_memory_equal(out.bytes + 14, p.bytes, p.len_bytes);
		assert_int_equal(fixture_run(f.edge->progs.edge_ingress_l3, &in, FROM_EDGE, NULL), SHOT);
		assert_true(fixture_counted(&f, CLASS_REFUSED, EDGE_INGRESS, EDGE_DROP, in.len_bytes));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_diverted_frame_has_its_tags_taken_off, reset),
		cmocka_unit_test_setup(tags_at_ingress, reset),
		cmocka_unit_test_setup(three_tags_and_other_types_are_no_ip, reset),
		cmocka_unit_test_setup(a_head_that_lies_about_itself_is_no_ip, reset),
		cmocka_unit_test_setup(options_are_stepped_over, reset),
		cmocka_unit_test_setup(extension_headers_are_walked, reset),
		cmocka_unit_test_setup(chains_that_can_not_be_walked, reset),
		cmocka_unit_test_setup(what_is_encrypted_or_empty_is_no_tcp, reset),
		cmocka_unit_test_setup(fragments_of_tcp_are_refused, reset),
		cmocka_unit_test_setup(fragments_of_others_pass, reset),
		cmocka_unit_test_setup(cut_at_every_length, reset),
		cmocka_unit_test_setup(cut_udp_and_icmp_pass, reset),
		cmocka_unit_test_setup(devices_without_an_ethernet_head, reset),
	};
	int result = fixture_load(&f);

	if (result)
		return result;
	result = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_done(&f);
	return result;
}
