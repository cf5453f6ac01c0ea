/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ctl/text.c"

enum { NOW_S = 1800000000 };

#define EXPECT(call, text) \
	do { \
		char ret[FIGURE_BYTES]; \
		assert_string_equal(call, text); \
	} while (0)

static void bytes(void **state)
{
	(void)state;
	EXPECT(figure_bytes(0, ret), "0 B");
	EXPECT(figure_bytes(1023, ret), "1023 B");
	EXPECT(figure_bytes(1024, ret), "1.0 KiB");
	EXPECT(figure_bytes(1536, ret), "1.5 KiB");
	EXPECT(figure_bytes((1 << 20) - 1, ret), "1.0 MiB"); /* never "1024.0 KiB" */
	EXPECT(figure_bytes(UINT64_C(5) << 30, ret), "5.0 GiB");
	EXPECT(figure_bytes(UINT64_MAX, ret), "16.0 EiB");
}

static void counts(void **state)
{
	(void)state;
	EXPECT(figure_count(0, ret), "0");
	EXPECT(figure_count(999, ret), "999");
	EXPECT(figure_count(1000, ret), "1,000");
	EXPECT(figure_count(1234567, ret), "1,234,567");
	EXPECT(figure_count(UINT64_MAX, ret), "18,446,744,073,709,551,615");
}

static void times(void **state)
{
	(void)state;
	EXPECT(figure_micros(312, ret), "312 us");
	EXPECT(figure_micros(1500, ret), "1.5 ms");
	EXPECT(figure_micros(999999, ret), "1.0 s");
	EXPECT(figure_span(0, ret), "0 ms");
	EXPECT(figure_span(999, ret), "999 ms");
	EXPECT(figure_span(1500, ret), "1.5 s");
	EXPECT(figure_span(9999, ret), "9 s");
	EXPECT(figure_span(59999, ret), "59 s");
	EXPECT(figure_span(192000, ret), "3m 12s");
	EXPECT(figure_span(7500000, ret), "2h 5m");
	EXPECT(figure_span(UINT64_C(89) * 86400000, ret), "89 days");
	EXPECT(figure_span(UINT64_MAX, ret), "213503982334 days");
}

static void times_of_day(void **state)
{
	(void)state;
	EXPECT(figure_when(0, NOW_S, ret), "never");
	EXPECT(figure_when(NOW_S + INT64_C(89) * 86400, NOW_S, ret), "in 89 days");
	EXPECT(figure_when(NOW_S - 192, NOW_S, ret), "3m 12s ago");
	EXPECT(figure_when(NOW_S - 5, NOW_S, ret), "5 s ago");
	EXPECT(figure_when(NOW_S, NOW_S, ret), "0 s ago");
	EXPECT(figure_when(INT64_MAX, -1, ret), "in 213503982334 days");
	EXPECT(figure_when(INT64_MIN, 1, ret), "213503982334 days ago"); /* the most that is told */
	EXPECT(figure_date(NOW_S, ret), "2027-01-15 08:00 UTC");
	EXPECT(figure_date(0, ret), "-");
	EXPECT(figure_date(INT64_MAX, ret), "-"); /* a year that no calendar has */
}

static void utf8(void **state)
{
	static const struct {
		const char *text;
		size_t length, width;
	} cases[] = {
		{ "a", 1, 1 },        { "\xc3\xbc", 2, 1 }, { "\xe2\x82\xac", 3, 1 }, { "\xf0\x9f\x98\x80", 4, 1 }, { "\xff", 0, 1 },
		{ "\xc0\xaf", 0, 2 }, { "\xe2\x82", 0, 2 }, { "\xed\xa0\x80", 0, 3 }, { "\xf4\x90\x80\x80", 0, 4 }, { "", 1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(utf8_length((const uint8_t *)cases[i].text), cases[i].length);
		assert_int_equal(utf8_width(cases[i].text), cases[i].width);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes),        cmocka_unit_test(counts), cmocka_unit_test(times),
		cmocka_unit_test(times_of_day), cmocka_unit_test(utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
