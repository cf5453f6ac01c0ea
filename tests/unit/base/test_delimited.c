/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/delimited.h"

#include <errno.h>

static void lengths_come_back(void **state)
{
	static const struct {
		uint32_t value;
		size_t len_bytes;
	} cases[] = { { 0, 1 },     { 1, 1 },     { 127, 1 },   { 128, 2 },     { 300, 2 },
		      { 16383, 2 }, { 16384, 3 }, { 65536, 3 }, { 1 << 28, 5 }, { UINT32_MAX, 5 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t bytes[DELIMITED_HEAD_MAX + 1];
		uint32_t value = 0xdead;

		assert_int_equal(delimited_put(bytes, cases[i].value), cases[i].len_bytes);
		bytes[cases[i].len_bytes] = 0xff; /* what follows is not looked at */
		for (size_t cut = 0; cut < cases[i].len_bytes; cut++) {
			assert_int_equal(delimited_get(bytes, cut, &value), 0);
			assert_int_equal(value, 0xdead);
		}
		assert_int_equal(delimited_get(bytes, cases[i].len_bytes + 1, &value), cases[i].len_bytes);
		assert_int_equal(value, cases[i].value);
	}
}

static void what_protobuf_writes_for_300(void **state)
{
	uint8_t bytes[DELIMITED_HEAD_MAX];

	(void)state;
	assert_int_equal(delimited_put(bytes, 300), 2);
	assert_int_equal(bytes[0], 0xac);
	assert_int_equal(bytes[1], 0x02);
}

static void more_than_32_bits_is_refused(void **state)
{
	static const uint8_t too_large[] = { 0x80, 0x80, 0x80, 0x80, 0x10 }, endless[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0x01 };
	uint32_t value = 7;

	(void)state;
	assert_int_equal(delimited_get(too_large, sizeof(too_large), &value), -EBADMSG);
	assert_int_equal(delimited_get(endless, sizeof(endless), &value), -EBADMSG);
	assert_int_equal(delimited_get(endless, 5, &value), -EBADMSG);
	assert_int_equal(delimited_get(endless, 4, &value), 0);
	assert_int_equal(value, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lengths_come_back),
		cmocka_unit_test(what_protobuf_writes_for_300),
		cmocka_unit_test(more_than_32_bits_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
