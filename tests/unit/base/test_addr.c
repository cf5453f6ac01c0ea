/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/parsed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

static void addresses_print_as_they_parse(void **state)
{
	static const char *const texts[] = {
		"0.0.0.0", "10.245.1.7", "255.255.255.255", "::", "::1", "fd45:1::a", "2001:db8::ff00:42:8329"
	};
	char text[ADDR_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct addr a = addr(texts[i]);

		assert_string_equal(addr_print(&a, text), texts[i]);
		assert_int_equal(addr_is_v4(&a), strchr(texts[i], '.') != NULL);
	}
}

static void what_is_no_address_is_refused(void **state)
{
	static const char *const texts[] = { "",
		                             " ",
		                             "10.0.0",
		                             "10.0.0.256",
		                             "10.0.0.01",
		                             "10.0.0.1 ",
		                             "10.0.0.1:80",
		                             "0x0a000001",
		                             "fd00::1%eth0",
		                             "[fd00::1]",
		                             "::ffff:10.0.0.1",
		                             "::ffff:a00:1",
		                             "fd00:::1",
		                             "node1" };
	struct addr a = addr("192.0.2.1"), before = a;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(addr_parse(texts[i], &a), -EINVAL);
		assert_true(addr_equal(&a, &before));
	}
}

static void v4_goes_through_its_number(void **state)
{
	struct addr a = addr("10.1.2.3"), b = addr_from_v4_be(htonl(0x0a010203));

	(void)state;
	assert_true(addr_equal(&a, &b));
	assert_int_equal(addr_to_v4_be(&a), htonl(0x0a010203));
	b = addr("10.1.2.4");
	assert_true(addr_compare(&a, &b) < 0);
	assert_true(addr_compare(&b, &a) > 0);
	assert_false(addr_equal(&a, &b));
}

static void endpoints_print_as_they_parse(void **state)
{
	static const char *const texts[] = { "10.0.0.1:80", "0.0.0.0:0", "[fd00::1]:65535", "[::]:7117" };
	char text[ENDPOINT_TEXT_BYTES];
	struct endpoint e;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(endpoint_parse(texts[i], &e), 0);
		assert_string_equal(endpoint_print(&e, text), texts[i]);
	}
}

static void what_is_no_endpoint_is_refused(void **state)
{
	static const char *const texts[] = { "",
		                             "10.0.0.1",
		                             "10.0.0.1:",
		                             "10.0.0.1:65536",
		                             "10.0.0.1:+1",
		                             "10.0.0.1:080",
		                             "10.0.0.1: 80",
		                             ":80",
		                             "[10.0.0.1]:80",
		                             "fd00::1:80",
		                             "[fd00::1]",
		                             "[fd00::1]80",
		                             "[fd00::1:80",
		                             "localhost:80",
		                             "10.0.0.1:80x",
		                             "10.0.0.1:99999999999",
		                             "[fd00:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001]:1" };
	struct endpoint e = { .port = 7 };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(endpoint_parse(texts[i], &e), -EINVAL);
		assert_int_equal(e.port, 7);
	}
}

static void endpoints_go_through_socket_addresses(void **state)
{
	static const char *const texts[] = { "10.0.0.1:80", "[fd00::1]:443" };
	struct sockaddr_storage sa;
	struct endpoint e, back;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		socklen_t len;

		assert_int_equal(endpoint_parse(texts[i], &e), 0);
		len = endpoint_to_sockaddr(&e, &sa);
		assert_int_equal(sa.ss_family, addr_is_v4(&e.addr) ? AF_INET : AF_INET6);
		assert_int_equal(endpoint_from_sockaddr((struct sockaddr *)&sa, len, &back), 0);
		assert_true(endpoint_equal(&e, &back));
		assert_int_equal(endpoint_from_sockaddr((struct sockaddr *)&sa, len - 1, &back), -EAFNOSUPPORT);
	}
	back.port ^= 1;
	assert_false(endpoint_equal(&e, &back));
	sa.ss_family = AF_UNIX;
	assert_int_equal(endpoint_from_sockaddr((struct sockaddr *)&sa, sizeof(sa), &back), -EAFNOSUPPORT);
}

static void a_mapped_socket_address_is_v4(void **state)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_port = htons(80) };
	char text[ENDPOINT_TEXT_BYTES];
	struct endpoint e;

	(void)state;
	assert_int_equal(inet_pton(AF_INET6, "::ffff:10.0.0.1", &sa.sin6_addr), 1);
	assert_int_equal(endpoint_from_sockaddr((struct sockaddr *)&sa, sizeof(sa), &e), 0);
	assert_string_equal(endpoint_print(&e, text), "10.0.0.1:80");
}

static void prefixes_print_in_full(void **state)
{
	static const char *const pairs[][2] = { { "10.0.0.0/8", "10.0.0.0/8" }, { "10.1.2.3", "10.1.2.3/32" },
		                                { "0.0.0.0/0", "0.0.0.0/0" },   { "fd00::/16", "fd00::/16" },
		                                { "fd00::1", "fd00::1/128" },   { "10.128.0.0/9", "10.128.0.0/9" },
		                                { "8000::/1", "8000::/1" } };
	char text[PREFIX_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		struct prefix p = prefix(pairs[i][0]);

		assert_string_equal(prefix_print(&p, text), pairs[i][1]);
	}
}

static void faulty_prefixes_are_told_apart(void **state)
{
	static const struct {
		const char *text;
		int rc;
		const char *fault;
	} cases[] = {
		{ "10.1.2.3/16", -ERANGE, "has bits set behind its length; 10.1.0.0/16 would be right" },
		{ "fd00::1/64", -ERANGE, "has bits set behind its length; fd00::/64 would be right" },
		{ "10.0.0.1/0", -ERANGE, "has bits set behind its length; 0.0.0.0/0 would be right" },
		{ "::/0", -EDOM, "is too wide for an IPv6 prefix; 2000::/3 or fc00::/7 would be right" },
		{ "::/80", -EDOM, NULL },
		{ "::/96", 0, NULL },
		{ "10.0.0.0/33", -EINVAL, "is no prefix; 10.245.1.0/24, fd45:1::/64 or one address would be right" },
		{ "fd00::/129", -EINVAL, NULL },
		{ "10.0.0.0/", -EINVAL, NULL },
		{ "10.0.0.0/08", -EINVAL, NULL },
		{ "10.0.0.0/-1", -EINVAL, NULL },
		{ "10.0.0.0/8/8", -EINVAL, NULL },
		{ "/8", -EINVAL, NULL },
		{ "", -EINVAL, NULL },
		{ "::ffff:10.0.0.0/104", -EINVAL, NULL },
		{ "0000000000000000000000000000000000000000000000000000000/8", -EINVAL, NULL },
	};
	char fault[PREFIX_FAULT_BYTES];
	struct prefix p;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(prefix_parse(cases[i].text, &p), cases[i].rc);
		if (cases[i].fault)
			assert_string_equal(prefix_fault(cases[i].rc, &p, fault), cases[i].fault);
	}
}

static void prefixes_contain_and_overlap(void **state)
{
	struct prefix ten = prefix("10.0.0.0/8"), half = prefix("10.128.0.0/9"), other = prefix("11.0.0.0/8"), all = prefix("0.0.0.0/0"),
		      six = prefix("fd00::/8");
	struct addr inside = addr("10.200.0.1"), low = addr("10.1.0.1"), v6 = addr("fd12::1");

	(void)state;
	assert_true(prefix_contains(&ten, &inside));
	assert_true(prefix_contains(&half, &inside));
	assert_false(prefix_contains(&half, &low));
	assert_false(prefix_contains(&other, &inside));
	assert_true(prefix_contains(&all, &inside));
	assert_false(prefix_contains(&all, &v6));
	assert_true(prefix_contains(&six, &v6));
	assert_false(prefix_contains(&six, &inside));
	assert_true(prefix_overlaps(&ten, &half));
	assert_true(prefix_overlaps(&half, &ten));
	assert_true(prefix_overlaps(&ten, &ten));
	assert_false(prefix_overlaps(&ten, &other));
	assert_false(prefix_overlaps(&all, &six));
}

static void host_bits_are_cleared(void **state)
{
	struct prefix p = { .addr = addr("10.255.255.255"), .len_bits = 96 + 13 };
	char text[PREFIX_TEXT_BYTES];

	(void)state;
	prefix_clear_host(&p);
	assert_string_equal(prefix_print(&p, text), "10.248.0.0/13");
	p = (struct prefix){ .addr = addr("fd00::1"), .len_bits = 0 };
	prefix_clear_host(&p);
	assert_string_equal(prefix_print(&p, text), "::/0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_print_as_they_parse),  cmocka_unit_test(what_is_no_address_is_refused),
		cmocka_unit_test(v4_goes_through_its_number),     cmocka_unit_test(endpoints_print_as_they_parse),
		cmocka_unit_test(what_is_no_endpoint_is_refused), cmocka_unit_test(endpoints_go_through_socket_addresses),
		cmocka_unit_test(a_mapped_socket_address_is_v4),  cmocka_unit_test(prefixes_print_in_full),
		cmocka_unit_test(faulty_prefixes_are_told_apart), cmocka_unit_test(prefixes_contain_and_overlap),
		cmocka_unit_test(host_bits_are_cleared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
