/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Watches of a reflector: where one goes on, and when it is current. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "reflection.h"

#include <stdlib.h>

static void test_a_list_from_the_cache_and_then_a_watch(void **state)
{
	struct reflector_state s;
	unsigned seconds;

	(void)state;
	create(0, 1);
	assert_true(wait_for_call() <= REFLECTOR_START_SPREAD_MS + STEP_MS);
	assert_string_equal(call.path, "/api/v1/pods?resourceVersion=0");
	assert_int_equal(call.silence_ms, REFLECTOR_LIST_SILENCE_MS);
	assert_told("");
	lists("100", two_pods, 2);
	assert_told("began a@1 b@1 ended ");
	assert_watch_from("100");
	seconds = (unsigned)atoi(strstr(call.path, "timeoutSeconds=") + strlen("timeoutSeconds="));
	assert_in_range(seconds, REFLECTOR_WATCH_MIN_S, REFLECTOR_WATCH_MAX_S);
	assert_int_equal(call.silence_ms, REFLECTOR_WATCH_SILENCE_MS);
	s = state_now();
	assert_true(s.is_synced);
	assert_false(s.is_current);
	opens();
	s = state_now();
	assert_true(s.is_current);
	assert_int_equal(s.objects, 2);
	assert_int_equal(s.lists, 1);
	assert_int_equal(s.watches, 1);
	assert_string_equal(s.error, "");
	assert_true(event("ADDED", "c", "101"));
	assert_true(event("MODIFIED", "a", "102"));
	assert_true(event("DELETED", "b", "103"));
	assert_told("c@101 a@102 gone:b ");
	assert_int_equal(state_now().events, 3);
}

static void test_a_broken_watch_goes_on_where_it_was(void **state)
{
	(void)state;
	create(0, 1);
	to_watch("100");
	assert_true(event("MODIFIED", "a", "102"));
	assert_true(bookmark("150"));
	breaks();
	assert_false(state_now().is_current);
	assert_string_equal(state_now().error, "the connection broke");
	assert_true(wait_for_call() <= FIRST_BACKOFF_MS);
	assert_watch_from("150");
	/* A bookmark that came by half counts for nothing. */
	opens();
	assert_false(state_now().is_current);
	assert_true(event("MODIFIED", "a", "151"));
	assert_true(state_now().is_current);
	breaks();
	(void)wait_for_call();
	assert_watch_from("151");
	assert_told("a@102 a@151 ");
}

static void test_a_watch_that_goes_on_is_current_once_it_has_proved_its_version(void **state)
{
	(void)state;
	create(0, 1);
	to_watch("100");
	assert_true(state_now().is_current);
	breaks();
	(void)wait_for_call();
	opens();
	/* The server says that a version is too old by the first event of a watch that it began. */
	assert_false(state_now().is_current);
	assert_string_equal(state_now().error, "the connection broke");
	assert_false(error_event(410, "Expired"));
	assert_false(state_now().is_current);
	ends_with(&(struct kube_answer){ .error = -ECANCELED });
	(void)wait_for_call();
	lists("200", two_pods, 2);
	opens();
	assert_true(state_now().is_current);
	breaks();
	(void)wait_for_call();
	opens();
	/* Nothing happened since. */
	advance(1000);
	assert_true(state_now().is_current);
	assert_string_equal(state_now().error, "");
}

static void test_a_watch_that_ends_in_order_goes_on_at_once(void **state)
{
	unsigned before;

	(void)state;
	create(0, 1);
	to_watch("100");
	assert_true(event("MODIFIED", "a", "102"));
	advance(REFLECTOR_WATCH_MIN_S * 1000);
	before = states;
	ends_well();
	assert_watch_from("102");
	/* Nobody needs to hear of it. */
	assert_true(state_now().is_current);
	opens();
	assert_true(state_now().is_current);
	advance(1000);
	assert_true(state_now().is_current);
	assert_int_equal(states, before);
}

static void test_watches_that_end_soon_are_not_begun_in_a_circle(void **state)
{
	unsigned waited = 0;

	(void)state;
	create(0, 3);
	to_watch("100");
	for (int i = 0; i < 20; i++) {
		ends_well();
		assert_false(call.is_running);
		assert_false(state_now().is_current);
		waited += wait_for_call();
		opens();
	}
	/* 20 tries with an average that goes up to 15 s. */
	assert_true(waited > 60000);
	assert_non_null(strstr((ends_well(), state_now().error), "it ended after 0 ms"));
}

static void test_an_expired_version_lists_again_without_a_gap(void **state)
{
	static const char *const later[] = { "b", "c" };

	(void)state;
	create(0, 1);
	to_watch("100");
	assert_true(event("MODIFIED", "a", "102"));
	told[0] = '\0';
	/* As a status of HTTP, and as an event. */
	for (int i = 0; i < 2; i++) {
		unsigned waited;

		if (i == 0) {
			ends_with(&(struct kube_answer){ .status = 410, .text = "410: too old" });
		} else {
			assert_false(error_event(410, "Expired"));
			ends_with(&(struct kube_answer){ .error = -ECANCELED });
		}
		assert_false(state_now().is_current);
		assert_true(state_now().is_synced);
		waited = wait_for_call();
		assert_true(waited <= REFLECTOR_RELIST_MIN_MS + 2 * FIRST_BACKOFF_MS);
		/* Not older than what is known, whichever server answers. */
		assert_string_equal(call.path, i == 0 ? "/api/v1/pods?resourceVersion=102" : "/api/v1/pods?resourceVersion=200");
		assert_told("");
		lists("200", later, 2);
		assert_told("began b@1 c@1 ended ");
		assert_watch_from("200");
		opens();
	}
}

static void test_versions_are_opaque(void **state)
{
	(void)state;
	create(0, 1);
	to_watch("a/b c%");
	assert_watch_from("a%2Fb%20c%25");
	assert_true(event("MODIFIED", "a", "ZZZ"));
	breaks();
	(void)wait_for_call();
	assert_watch_from("ZZZ");
	opens();
	/* Smaller by any order, and still the newest. */
	assert_true(bookmark("1"));
	breaks();
	(void)wait_for_call();
	assert_watch_from("1");
}

static void test_an_event_that_is_cut_by_the_end_comes_again(void **state)
{
	struct bytes b = { 0 }, pod = { 0 };

	(void)state;
	create(0, 1);
	to_watch("100");
	advance(60000);
	put_pod(&pod, "a", "101", "n", "10.0.0.1");
	put_event(&b, "MODIFIED", "Pod", &pod);
	b.len -= 3;
	assert_true(brings(&b));
	ends_well();
	assert_told("");
	assert_non_null(strstr(state_now().error, "in the middle of an event"));
	(void)wait_for_call();
	assert_watch_from("100");
}

static void falls_silent(void)
{
	opens();
	advance(REFLECTOR_WATCH_SILENCE_MS);
	ends_with(&(struct kube_answer){ .error = -ETIMEDOUT, .text = "nothing came" });
	(void)wait_for_call();
}

static void test_a_server_that_stays_silent_is_asked_what_the_version_is_worth(void **state)
{
	(void)state;
	create(0, 1);
	(void)wait_for_call();
	lists("100", two_pods, 2);
	falls_silent();
	assert_watch_from("100");
	/* With a bookmark now and then there is somebody. */
	opens();
	assert_true(bookmark("101"));
	breaks();
	(void)wait_for_call();
	falls_silent();
	assert_watch_from("101");
	falls_silent();
	assert_string_equal(call.path, "/api/v1/pods?resourceVersion=101");
	answer_too_large();
	(void)wait_for_call();
	assert_string_equal(call.path, "/api/v1/pods?limit=500");
	lists("7", two_pods, 2);
	assert_watch_from("7");
}

static void test_a_machine_that_slept_goes_on(void **state)
{
	(void)state;
	create(0, 1);
	to_watch("100");
	/* A day passes at once. The client ends the call for its silence. */
	advance(86400000);
	assert_true(call.is_running);
	ends_with(&(struct kube_answer){ .error = -ETIMEDOUT, .text = "nothing came" });
	assert_true(wait_for_call() <= FIRST_BACKOFF_MS);
	assert_watch_from("100");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		T(test_a_list_from_the_cache_and_then_a_watch),
		T(test_a_broken_watch_goes_on_where_it_was),
		T(test_a_watch_that_goes_on_is_current_once_it_has_proved_its_version),
		T(test_a_watch_that_ends_in_order_goes_on_at_once),
		T(test_watches_that_end_soon_are_not_begun_in_a_circle),
		T(test_an_expired_version_lists_again_without_a_gap),
		T(test_versions_are_opaque),
		T(test_an_event_that_is_cut_by_the_end_comes_again),
		T(test_a_server_that_stays_silent_is_asked_what_the_version_is_worth),
		T(test_a_machine_that_slept_goes_on),
	};

	return cmocka_run_group_tests_name("reflector_watch", tests, NULL, NULL);
}
