/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/spin.h"

enum { CHANCES = 320 };

/* How often of so many chances it spins, where each try ends like that. */
static int tries(struct spin *s, int events, bool has_hit)
{
	int count = 0;

	for (int i = 0; i < CHANCES; i++) {
		spin_saw(s, events);
		if (!spin_is_worth_it(s))
			continue;
		count++;
		spin_ended(s, has_hit);
	}
	return count;
}

static void one_hit_leads_to_more(void **state)
{
	struct spin s = { 0 };

	(void)state;
	assert_true(tries(&s, 1, true) > CHANCES * 9 / 10);
}

static void where_nothing_comes_it_is_tried_now_and_then(void **state)
{
	struct spin s = { 0 };

	(void)state;
	assert_int_equal(tries(&s, 1, false), CHANCES / 32);
	/* Nor does a long time in which it paid keep it alive. */
	(void)tries(&s, 1, true);
	assert_in_range(tries(&s, 1, false), CHANCES / 32, CHANCES / 32 + 10);
}

static void many_events_at_a_time_end_it_at_once(void **state)
{
	struct spin s = { 0 };

	(void)state;
	(void)tries(&s, 1, true);
	assert_in_range(tries(&s, 64, true), 0, 1);
	(void)tries(&s, 1, true);
	assert_true(tries(&s, 2, true) > CHANCES * 9 / 10);
}

static void a_processor_that_another_never_leaves_is_tried_seldom(void **state)
{
	struct spin s = { 0 };
	int count = 0;

	(void)state;
	(void)tries(&s, 1, true);
	spin_was_away(&s);
	for (int i = 0; i < 2048 * 3; i++) {
		spin_saw(&s, 1);
		if (!spin_is_worth_it(&s))
			continue;
		count++;
		spin_was_away(&s);
	}
	assert_int_equal(count, 3);
	/* Once it has the processor for itself again, one hit is enough as before. */
	spin_ended(&s, true);
	assert_true(tries(&s, 1, true) > CHANCES * 9 / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_hit_leads_to_more),
		cmocka_unit_test(where_nothing_comes_it_is_tried_now_and_then),
		cmocka_unit_test(many_events_at_a_time_end_it_at_once),
		cmocka_unit_test(a_processor_that_another_never_leaves_is_tried_seldom),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
