/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A reflector whose calls fail: how long it waits, and what ends that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "reflection.h"

static void test_many_that_list_again_are_spread(void **state)
{
	unsigned longest = 0, sum = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 50; seed++) {
		unsigned waited;

		create(0, seed * 7919);
		reflector_set_crowd(reflector, 200000000);
		to_watch("100");
		ends_with(&(struct kube_answer){ .status = 410 });
		waited = wait_for_call();
		sum += waited;
		longest = waited > longest ? waited : longest;
		reflector_destroy(reflector);
		reflector = NULL;
	}
	assert_true(sum / 50 > 10000);
	assert_true(longest <= REFLECTOR_RELIST_MAX_MS + FIRST_BACKOFF_MS);
}

static void test_failures_wait_longer_and_a_good_watch_ends_that(void **state)
{
	unsigned early = 0, late = 0, waited;

	(void)state;
	create(0, 5);
	(void)wait_for_call();
	for (int i = 0; i < 60; i++) {
		ends_with(&(struct kube_answer){ .error = -ECONNREFUSED, .text = "refused" });
		waited = wait_for_call();
		assert_true(waited <= 30000 + STEP_MS);
		if (i < 3)
			early += waited;
		if (i >= 10)
			late += waited;
	}
	assert_true(early <= 1000 + 2000 + 4000);
	assert_true(late / 50 > 10000 && late / 50 < 20000);
	lists("100", two_pods, 2);
	/* That a list came is not yet good: what follows it may fail each time. */
	ends_with(&(struct kube_answer){ .status = 500, .text = "500" });
	for (waited = 0; waited < 3000; waited = wait_for_call())
		if (call.is_running)
			ends_with(&(struct kube_answer){ .status = 500, .text = "500" });
	opens();
	advance(REFLECTOR_WATCH_GOOD_MS);
	breaks();
	assert_true(wait_for_call() <= FIRST_BACKOFF_MS);
}

static void test_retry_after_is_kept(void **state)
{
	(void)state;
	create(0, 1);
	(void)wait_for_call();
	ends_with(&(struct kube_answer){ .status = 429, .retry_after_ms = 7000, .text = "429" });
	assert_in_range(wait_for_call(), 7000, 7000 + 1000 + STEP_MS);
	assert_string_equal(call.path, "/api/v1/pods?resourceVersion=0");
	lists("100", two_pods, 2);
	ends_with(&(struct kube_answer){ .status = 503, .retry_after_ms = 20000, .text = "503" });
	assert_in_range(wait_for_call(), 20000, 20000 + 2000 + STEP_MS);
	/* The watch goes on; nothing is listed for that. */
	assert_watch_from("100");
	opens();
	assert_false(error_event(429, "TooManyRequests"));
	ends_with(&(struct kube_answer){ .error = -ECANCELED });
	(void)wait_for_call();
	assert_watch_from("100");
	opens();
	assert_false(error_event(500, "InternalError"));
	ends_with(&(struct kube_answer){ .error = -ECANCELED });
	assert_non_null(strstr(state_now().error, "500: said the server"));
	(void)wait_for_call();
	assert_watch_from("100");
}

static void test_what_is_forbidden_is_tried_slowly_and_at_once_with_new_credentials(void **state)
{
	(void)state;
	create(0, 1);
	(void)wait_for_call();
	ends_with(&(struct kube_answer){ .status = 403, .text = "GET /api/v1/pods: 403: pods is forbidden" });
	assert_true(state_now().is_forbidden);
	assert_string_equal(state_now().error, "GET /api/v1/pods: 403: pods is forbidden");
	assert_in_range(wait_for_call(), REFLECTOR_FORBIDDEN_MIN_MS, REFLECTOR_FORBIDDEN_MAX_MS + STEP_MS);
	ends_with(&(struct kube_answer){ .status = 403, .text = "403" });
	advance(1000);
	listener->credentials_changed(listener);
	assert_true(wait_for_call() <= REFLECTOR_START_SPREAD_MS + STEP_MS);
	/* In the middle of a call they change nothing. */
	listener->credentials_changed(listener);
	assert_true(call.is_running);
	lists("100", two_pods, 2);
	opens();
	assert_false(state_now().is_forbidden);
	assert_string_equal(state_now().error, "");
	listener->credentials_changed(listener);
	assert_true(call.is_running);
	assert_int_equal(calls, 4);
}

static void test_a_call_that_can_not_be_made_is_tried_again(void **state)
{
	(void)state;
	create(0, 1);
	send_error = -ENOMEM;
	for (int i = 0; i < 1000 && !call.is_running; i++)
		advance(STEP_MS);
	assert_true(call.is_running);
	send_error = -ENOMEM;
	lists("100", two_pods, 2);
	assert_false(call.is_running);
	assert_false(state_now().is_current);
	(void)wait_for_call();
	assert_watch_from("100");
}

static void test_who_is_destroyed_hears_nothing_more(void **state)
{
	(void)state;
	create(0, 1);
	to_watch("100");
	reflector_destroy(reflector);
	reflector = NULL;
	assert_int_equal(cancelled, 1);
	assert_null(listener);
	create(0, 1);
	reflector_destroy(reflector);
	reflector = NULL;
	advance(10000);
	assert_int_equal(calls, 2);
	assert_told("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		T(test_many_that_list_again_are_spread),
		T(test_failures_wait_longer_and_a_good_watch_ends_that),
		T(test_retry_after_is_kept),
		T(test_what_is_forbidden_is_tried_slowly_and_at_once_with_new_credentials),
		T(test_a_call_that_can_not_be_made_is_tried_again),
		T(test_who_is_destroyed_hears_nothing_more),
	};

	return cmocka_run_group_tests_name("reflector_retry", tests, NULL, NULL);
}
