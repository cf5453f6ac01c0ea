/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { QUANTUM = 1000 };

static void fresh_goes_before_rest(void **state)
{
	struct schedule s;
	struct schedule_entry busy, small;

	(void)state;
	schedule_init(&s);
	schedule_entry_init(&busy);
	schedule_entry_init(&small);
	schedule_add(&s, &busy);
	assert_ptr_equal(schedule_next(&s, QUANTUM), &busy);
	schedule_charge(&busy, QUANTUM + 500); /* overdrawn: behind all others now */
	schedule_add(&s, &small);
	assert_ptr_equal(schedule_next(&s, QUANTUM), &small);
	schedule_charge(&small, 100);
	schedule_remove(&small);
	assert_ptr_equal(schedule_next(&s, QUANTUM), &busy);
	assert_true(busy.deficit_bytes > 0);
}

static void busy_ones_get_equal_shares(void **state)
{
	struct schedule s;
	struct schedule_entry e[3];
	uint64_t sent[3] = { 0 };
	static const uint32_t unit[3] = { 100, 700, 1900 }; /* who sends more at once gets no more in all */

	(void)state;
	schedule_init(&s);
	for (int i = 0; i < 3; i++) {
		schedule_entry_init(&e[i]);
		schedule_add(&s, &e[i]);
	}
	for (int turn = 0; turn < 20000; turn++) {
		struct schedule_entry *next = schedule_next(&s, QUANTUM);
		long i = next - e;

		sent[i] += unit[i];
		schedule_charge(next, unit[i]);
	}
	for (int i = 1; i < 3; i++) {
		assert_true(sent[i] <= sent[0] + 2 * 1900 + QUANTUM);
		assert_true(sent[0] <= sent[i] + 2 * 1900 + QUANTUM);
	}
}

/* A stream that comes back with a little each time may not starve one that always has much. */
static void coming_back_does_not_starve_the_rest(void **state)
{
	struct schedule s;
	struct schedule_entry bulk, returning;
	uint64_t bulk_sent = 0, returning_sent = 0;

	(void)state;
	schedule_init(&s);
	schedule_entry_init(&bulk);
	schedule_entry_init(&returning);
	schedule_add(&s, &bulk);
	for (int turn = 0; turn < 10000; turn++) {
		struct schedule_entry *next;

		schedule_add(&s, &returning);
		next = schedule_next(&s, QUANTUM);
		schedule_charge(next, 400);
		if (next == &bulk) {
			bulk_sent += 400;
		} else {
			returning_sent += 400;
			schedule_remove(next);
		}
	}
	assert_true(bulk_sent * 3 > returning_sent);
	assert_true(returning_sent * 3 > bulk_sent);
}

static void removing_is_harmless_and_empties(void **state)
{
	struct schedule s;
	struct schedule_entry e;

	(void)state;
	schedule_init(&s);
	schedule_entry_init(&e);
	schedule_remove(&e);
	assert_true(schedule_is_empty(&s));
	assert_null(schedule_next(&s, QUANTUM));
	schedule_add(&s, &e);
	schedule_add(&s, &e);
	assert_true(schedule_has(&e));
	schedule_remove(&e);
	schedule_remove(&e);
	assert_true(schedule_is_empty(&s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fresh_goes_before_rest),
		cmocka_unit_test(busy_ones_get_equal_shares),
		cmocka_unit_test(coming_back_does_not_starve_the_rest),
		cmocka_unit_test(removing_is_harmless_and_empties),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
