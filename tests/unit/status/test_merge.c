/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What several workers know of one peer. */
#include "status/merge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* As the view says it, before any worker was asked. */
static struct snapshot_peer blank(void)
{
	return (struct snapshot_peer){ .name = "node2", .state = "none", .pair = "joined", .is_enrolled = true, .addresses_count = 1 };
}

static void counts_are_summed(void **state)
{
	const struct snapshot_peer from = { .state = "up",
		                            .tunnels = 2,
		                            .streams_open = 3,
		                            .streams_waiting = 4,
		                            .streams_total = 5,
		                            .sent_bytes = 6,
		                            .received_bytes = 7 },
				   idle = { .state = "none", .streams_total = 10 };
	struct snapshot_peer sum = blank();

	(void)state;
	merge_peer(&sum, &from, 1);
	merge_peer(&sum, &idle, 2);
	merge_peer(&sum, &from, 5);
	assert_int_equal(sum.tunnels, 4);
	assert_true(sum.tunnel_workers == (1 << 1 | 1 << 5));
	assert_int_equal(sum.streams_open, 6);
	assert_int_equal(sum.streams_waiting, 8);
	assert_int_equal(sum.streams_total, 20);
	assert_int_equal(sum.sent_bytes, 12);
	assert_int_equal(sum.received_bytes, 14);
	assert_string_equal(sum.name, "node2");
	assert_string_equal(sum.pair, "joined");
	assert_true(sum.is_enrolled);
	assert_int_equal(sum.addresses_count, 1);
}

static void the_best_tunnel_is_shown(void **state)
{
	static const char *const states[] = { "none", "connecting", "draining", "suspect", "up" };

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		for (size_t k = 0; k < 5; k++) {
			const struct snapshot_peer a = { .state = states[i], .rtt_us = i }, b = { .state = states[k], .rtt_us = k };
			struct snapshot_peer sum = blank();
			size_t best = i > k ? i : k;

			merge_peer(&sum, &a, 0);
			merge_peer(&sum, &b, 1);
			assert_string_equal(sum.state, states[best]);
			assert_int_equal(sum.rtt_us, best);
		}
	}
}

static void an_error_is_not_hidden_by_a_worker_that_has_none(void **state)
{
	const struct snapshot_peer failed = { .state = "none", .last_error = "refused", .last_error_s = 100 }, idle = { .state = "none" };
	struct snapshot_peer sum = blank();

	(void)state;
	merge_peer(&sum, &failed, 0);
	merge_peer(&sum, &idle, 1);
	assert_string_equal(sum.last_error, "refused");
}

/* A worker that has had no tunnel since was not told. */
static void of_settings_the_last_word_counts(void **state)
{
	const struct snapshot_peer old = { .state = "none", .settings_said_ns = 5, .has_other_settings = true },
				   new = { .state = "up", .settings_said_ns = 9 }, never = { .state = "up" };
	struct snapshot_peer sum = blank();

	(void)state;
	merge_peer(&sum, &new, 0);
	merge_peer(&sum, &old, 1);
	assert_false(sum.has_other_settings);
	sum = blank();
	merge_peer(&sum, &old, 0);
	assert_true(sum.has_other_settings);
	merge_peer(&sum, &never, 1);
	assert_true(sum.has_other_settings);
	merge_peer(&sum, &new, 2);
	assert_false(sum.has_other_settings);
	assert_int_equal(sum.settings_said_ns, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_are_summed),
		cmocka_unit_test(the_best_tunnel_is_shown),
		cmocka_unit_test(an_error_is_not_hidden_by_a_worker_that_has_none),
		cmocka_unit_test(of_settings_the_last_word_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
