/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Frames made from a SYN, byte for byte where it counts; checksums by a second way of counting. */
#include "edge/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct packet_macs macs = { { 2, 0, 0, 0, 0, 1 }, { 2, 0, 0, 0, 0, 2 } };

/* As a pod's stack leaves it to its device: TCP's checksum is only that of the pseudo-header, and data follows the options. */
static const uint8_t syn_v4[] = {
	0x45, 0x10, 0x05, 0xdc, 0x12, 0x34, 0x40, 0x00, 0x3f, 0x06, 0x11, 0x11, 10,   88,   1,    11,   10,   88,   2,    11, /* IPv4 */
	0x9c, 0x40, 0x1f, 0x90, 0x00, 0x00, 0x03, 0xe8, 0x00, 0x00, 0x00, 0x00, 0x70, 0x02, 0xfa, 0xf0, 0xab, 0xcd, 0x00, 0x00,
	0x02, 0x04, 0x05, 0xb4, 0x01, 0x03, 0x03, 0x07,
};

static struct syn syn_of_v4(void)
{
	struct syn s = { .seq = 1000, .len_bytes = sizeof(syn_v4), .tcp_offset = 20 };

	assert_int_equal(endpoint_parse("10.88.1.11:40000", &s.client), 0);
	assert_int_equal(endpoint_parse("10.88.2.11:8080", &s.server), 0);
	memcpy(s.bytes, syn_v4, sizeof(syn_v4));
	return s;
}

/* With eight bytes of destination options before TCP. */
static struct syn syn_of_v6(void)
{
	struct syn s = { .seq = 1000, .len_bytes = 40 + 8 + 24, .tcp_offset = 48 };

	assert_int_equal(endpoint_parse("[fd88:1::11]:40000", &s.client), 0);
	assert_int_equal(endpoint_parse("[fd88:2::11]:8080", &s.server), 0);
	s.bytes[0] = 0x60;
	s.bytes[6] = 60;
	s.bytes[7] = 63;
	memcpy(s.bytes + 8, s.client.addr.bytes, 16);
	memcpy(s.bytes + 24, s.server.addr.bytes, 16);
	s.bytes[40] = 6;
	memcpy(s.bytes + 48, syn_v4 + 20, 24);
	s.bytes[48 + 12] = 0x60;
	return s;
}

/* The Internet checksum over words in little order, with the carry added at once: right where the whole comes to 0xffff. */
static uint32_t add(uint32_t sum, const uint8_t *bytes, size_t len_bytes)
{
	for (size_t i = 0; i < len_bytes; i++) {
		sum += i % 2 ? (uint32_t)bytes[i] << 8 : bytes[i];
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

static bool is_upper_right(const uint8_t *source, const uint8_t *dest, size_t addr_bytes, uint8_t protocol, const uint8_t *bytes,
                           size_t len_bytes)
{
	const uint8_t rest[4] = { 0, protocol, (uint8_t)(len_bytes >> 8), (uint8_t)len_bytes };

	return add(add(add(add(0, source, addr_bytes), dest, addr_bytes), rest, 4), bytes, len_bytes) == 0xffff;
}

static void expect_ethernet(const uint8_t *frame, uint16_t type)
{
	assert_memory_equal(frame, macs.dest, 6);
	assert_memory_equal(frame + 6, macs.source, 6);
	assert_int_equal(frame[12] << 8 | frame[13], type);
}

static void the_syn_goes_on_as_it_was_without_its_data(void **state)
{
	struct syn s = syn_of_v4();
	uint8_t frame[PACKET_BYTES_MAX];
	uint8_t *ip = frame + 14;

	(void)state;
	assert_true(packet_is_syn(&s));
	assert_int_equal(packet_put_syn(frame, &macs, &s), 14 + sizeof(syn_v4));
	expect_ethernet(frame, 0x0800);
	assert_int_equal(ip[2] << 8 | ip[3], sizeof(syn_v4));
	assert_int_equal(add(0, ip, 20), 0xffff);
	assert_true(is_upper_right(ip + 12, ip + 16, 4, 6, ip + 20, sizeof(syn_v4) - 20));
	/* All but length and checksums, the options too. */
	assert_memory_equal(ip + 4, syn_v4 + 4, 6);
	assert_memory_equal(ip + 12, syn_v4 + 12, 24);
	assert_memory_equal(ip + 38, syn_v4 + 38, sizeof(syn_v4) - 38);
}

static void the_syn_goes_on_with_ipv6_and_its_extension_headers(void **state)
{
	struct syn s = syn_of_v6();
	uint8_t frame[PACKET_BYTES_MAX];
	uint8_t *ip = frame + 14;

	(void)state;
	assert_true(packet_is_syn(&s));
	assert_int_equal(packet_put_syn(frame, &macs, &s), 14 + 72);
	expect_ethernet(frame, 0x86dd);
	assert_int_equal(ip[4] << 8 | ip[5], 32);
	assert_memory_equal(ip + 40, s.bytes + 40, 8);
	assert_true(is_upper_right(ip + 8, ip + 24, 16, 6, ip + 48, 24));
}

static void the_syn_leaves_by_the_way_that_it_was_about_to(void **state)
{
	struct syn s = syn_of_v4();
	uint8_t frame[PACKET_BYTES_MAX], inside[PACKET_BYTES_MAX];

	(void)state;
	(void)packet_put_syn(inside, &macs, &s);
	for (int i = 0; i <= 14; i++)
		s.way.link[i] = (uint8_t)(0xa0 + i);
	s.way.link_bytes = 14;
	assert_int_equal(packet_put_syn_out(frame, &s), 14 + s.len_bytes);
	assert_memory_equal(frame, s.way.link, 14);
	assert_memory_equal(frame + 14, inside + 14, s.len_bytes);
	/* A layer-3 device's. */
	s.way.link_bytes = 0;
	assert_int_equal(packet_put_syn_out(frame, &s), s.len_bytes);
	assert_memory_equal(frame, inside + 14, s.len_bytes);
	s.way.link_bytes = SYN_LINK_BYTES_MAX + 1;
	assert_false(packet_is_syn(&s));
}

static void a_reset_answers_the_syn(void **state)
{
	struct syn s = syn_of_v4(), s6 = syn_of_v6();
	uint8_t frame[PACKET_BYTES_MAX];
	uint8_t *ip = frame + 14;
	/* RFC 9293, 3.10.7.1: no ACK in the SYN, so sequence number 0, and its own plus one acknowledged. */
	static const uint8_t tcp[] = { 0x1f, 0x90, 0x9c, 0x40, 0, 0, 0, 0, 0, 0, 0x03, 0xe9, 0x50, 0x14, 0, 0 };

	(void)state;
	assert_int_equal(packet_put_reset(frame, &macs, &s), 14 + 40);
	assert_memory_equal(ip + 12, syn_v4 + 16, 4);
	assert_memory_equal(ip + 16, syn_v4 + 12, 4);
	assert_memory_equal(ip + 20, tcp, sizeof(tcp));
	assert_int_equal(add(0, ip, 20), 0xffff);
	assert_true(is_upper_right(ip + 12, ip + 16, 4, 6, ip + 20, 20));
	assert_int_equal(packet_put_reset(frame, &macs, &s6), 14 + 60);
	assert_memory_equal(ip + 8, s6.server.addr.bytes, 16);
	assert_memory_equal(ip + 24, s6.client.addr.bytes, 16);
	assert_memory_equal(ip + 40, tcp, sizeof(tcp));
	assert_true(is_upper_right(ip + 8, ip + 24, 16, 6, ip + 40, 20));
}

static void icmp_quotes_the_syn(void **state)
{
	struct syn s = syn_of_v4(), s6 = syn_of_v6();
	uint8_t frame[PACKET_BYTES_MAX];
	uint8_t *ip = frame + 14;
	struct addr from;
	size_t len;

	(void)state;
	assert_int_equal(addr_parse("10.99.0.2", &from), 0);
	len = packet_put_unreachable(frame, &macs, &s, 13, &from);
	assert_int_equal(len, 14 + 20 + 8 + sizeof(syn_v4));
	assert_int_equal(ip[9], 1);
	assert_memory_equal(ip + 12, from.bytes + 12, 4);
	assert_memory_equal(ip + 16, syn_v4 + 12, 4);
	assert_int_equal(ip[20], 3);
	assert_int_equal(ip[21], 13);
	assert_int_equal(add(0, ip, 20), 0xffff);
	assert_int_equal(add(0, ip + 20, len - 34), 0xffff);
	assert_memory_equal(ip + 28 + 12, syn_v4 + 12, 24);

	assert_int_equal(addr_parse("fd99::2", &from), 0);
	len = packet_put_unreachable(frame, &macs, &s6, 4, &from);
	assert_int_equal(len, 14 + 40 + 8 + 72);
	assert_int_equal(ip[6], 58);
	assert_memory_equal(ip + 8, from.bytes, 16);
	assert_int_equal(ip[40], 1);
	assert_int_equal(ip[41], 4);
	assert_true(is_upper_right(ip + 8, ip + 24, 16, 58, ip + 40, len - 54));
}

static void what_does_not_hold_together_is_no_syn(void **state)
{
	struct syn s;

	(void)state;
	s = syn_of_v4();
	s.bytes[0] = 0x55; /* no such IP */
	assert_false(packet_is_syn(&s));
	s = syn_of_v6();
	s.client.addr = (struct addr){ 0 }; /* nobody's */
	assert_false(packet_is_syn(&s));
	s = syn_of_v4();
	s.bytes[0] = 0x46; /* the IP header reaches into TCP's */
	assert_false(packet_is_syn(&s));
	s = syn_of_v4();
	s.bytes[32] = 0x80; /* TCP's is longer than the packet */
	assert_false(packet_is_syn(&s));
	s = syn_of_v4();
	s.bytes[32] = 0x40;
	s.len_bytes -= 12; /* shorter than TCP's smallest */
	assert_false(packet_is_syn(&s));
	s = syn_of_v4();
	s.tcp_offset = 200;
	assert_false(packet_is_syn(&s));
	s = syn_of_v4();
	s.len_bytes = SYN_BYTES_MAX + 1;
	assert_false(packet_is_syn(&s));
	s = syn_of_v6();
	s.tcp_offset = 20;
	assert_false(packet_is_syn(&s));
	s = syn_of_v6(); /* an IPv4 address in an IPv6 header */
	assert_int_equal(endpoint_parse("10.88.1.11:40000", &s.client), 0);
	assert_false(packet_is_syn(&s));
	s = syn_of_v4();
	assert_int_equal(endpoint_parse("[fd88:2::11]:8080", &s.server), 0);
	assert_false(packet_is_syn(&s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_syn_goes_on_as_it_was_without_its_data),
		cmocka_unit_test(the_syn_goes_on_with_ipv6_and_its_extension_headers),
		cmocka_unit_test(the_syn_leaves_by_the_way_that_it_was_about_to),
		cmocka_unit_test(a_reset_answers_the_syn),
		cmocka_unit_test(icmp_quotes_the_syn),
		cmocka_unit_test(what_does_not_hold_together_is_no_syn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
