/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Lists of a reflector: pages, versions, and what can not be taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "reflection.h"

static void answer_page(const char *version, const char *token, const char *pod)
{
	struct bytes b = { 0 };

	opens();
	put_list(&b, version, token, &pod, 1);
	assert_true(brings(&b));
	ends_well();
}

static void test_pages(void **state)
{
	(void)state;
	create(2, 1);
	(void)wait_for_call();
	assert_string_equal(call.path, "/api/v1/pods?limit=2");
	answer_page("100", "a b/c+d=", "p1");
	/* Tokens are opaque, so all of them is escaped. */
	assert_string_equal(call.path, "/api/v1/pods?limit=2&continue=a%20b%2Fc%2Bd%3D");
	answer_page("100", "next", "p2");
	assert_string_equal(call.path, "/api/v1/pods?limit=2&continue=next");
	assert_false(state_now().is_synced);
	answer_page("120", NULL, "p3");
	assert_told("began p1@1 p2@1 p3@1 ended ");
	/* What happened between the pages is in the watch from the first one's version. */
	assert_watch_from("100");
	assert_int_equal(state_now().objects, 3);
	assert_int_equal(state_now().lists, 1);
}

static void test_pages_that_expire_begin_again(void **state)
{
	(void)state;
	create(2, 1);
	(void)wait_for_call();
	answer_page("100", "next", "p1");
	ends_with(&(struct kube_answer){ .status = 410, .text = "410: the provided continue parameter is too old" });
	assert_false(state_now().is_synced);
	(void)wait_for_call();
	/* Reading the pages took too long, so this time all at once, and not older. */
	assert_string_equal(call.path, "/api/v1/pods?resourceVersion=100");
	lists("140", two_pods, 2);
	assert_told("began p1@1 began a@1 b@1 ended ");
	assert_watch_from("140");
	opens();
	/* The next time in pages again. */
	ends_with(&(struct kube_answer){ .status = 410 });
	(void)wait_for_call();
	assert_string_equal(call.path, "/api/v1/pods?limit=2");
}

static void test_a_token_that_is_too_long_ends_the_pages(void **state)
{
	struct bytes b = { 0 };
	char token[2000];

	(void)state;
	memset(token, '%', sizeof(token));
	token[1023] = '\0';
	create(2, 1);
	(void)wait_for_call();
	answer_page("100", token, "p1");
	assert_true(strlen(call.path) > 3 * 1023);
	assert_string_equal(call.path + strlen(call.path) - 6, "%25%25");
	token[1023] = '%';
	token[1999] = '\0';
	opens();
	put_list(&b, "100", token, two_pods, 2);
	assert_false(brings(&b));
	ends_with(&(struct kube_answer){ .error = -ECANCELED });
	assert_non_null(strstr(state_now().error, "a token of 1999 bytes"));
	(void)wait_for_call();
	assert_string_equal(call.path, "/api/v1/pods?resourceVersion=0");
}

static void test_a_version_that_no_server_knows_is_forgotten(void **state)
{
	(void)state;
	create(0, 1);
	to_watch("100");
	ends_with(&(struct kube_answer){ .status = 410 });
	(void)wait_for_call();
	assert_string_equal(call.path, "/api/v1/pods?resourceVersion=100");
	answer_too_large();
	(void)wait_for_call();
	assert_string_equal(call.path, "/api/v1/pods?limit=500");
	lists("7", two_pods, 2);
	assert_watch_from("7");
	/* Any other 504 is a failure like others. */
	opens();
	ends_with(&(struct kube_answer){ .status = 410 });
	(void)wait_for_call();
	ends_with(&(struct kube_answer){ .status = 504, .text = "504" });
	(void)wait_for_call();
	assert_string_equal(call.path, "/api/v1/pods?resourceVersion=7");
	ends_with(&(struct kube_answer){ .status = 410 });
	(void)wait_for_call();
	assert_string_equal(call.path, "/api/v1/pods?limit=500");
}

static void test_a_list_that_breaks_off_begins_again(void **state)
{
	struct bytes b = { 0 };

	(void)state;
	create(0, 1);
	(void)wait_for_call();
	opens();
	put_list(&b, "100", NULL, two_pods, 2);
	b.len -= 30;
	assert_true(brings(&b));
	breaks();
	(void)wait_for_call();
	assert_string_equal(call.path, "/api/v1/pods?resourceVersion=0");
	/* Cut off, but the server says that it is whole. */
	opens();
	put_list(&b, "100", NULL, two_pods, 2);
	b.len -= 30;
	assert_true(brings(&b));
	ends_well();
	assert_false(state_now().is_synced);
	assert_non_null(strstr(state_now().error, "GET /api/v1/pods: the list was cut off after 1 objects"));
	(void)wait_for_call();
	lists("101", two_pods, 2);
	assert_told("began a@1 began a@1 began a@1 b@1 ended ");
}

/* A pod whose metadata is good and whose spec is none. */
static void put_broken_pod(struct bytes *b, const char *name, const char *version)
{
	put_meta(b, "default", name, "uid-of-it", version);
	put_text(b, 2, "\xff\xff no spec");
}

static void begin_list(struct bytes *list)
{
	struct bytes meta = { 0 };

	opens();
	put_text(&meta, 2, "100");
	put_message(list, 1, &meta);
}

static void test_an_object_that_can_not_be_taken_is_named_and_the_rest_goes_on(void **state)
{
	struct bytes b = { 0 }, list = { 0 }, pod = { 0 };

	(void)state;
	create(0, 1);
	(void)wait_for_call();
	begin_list(&list);
	put_pod(&pod, "a", "1", "n", "10.0.0.1");
	put_message(&list, 2, &pod);
	put_broken_pod(&pod, "x", "1");
	put_message(&list, 2, &pod);
	put_meta(&pod, "default", "BAD NAME", "uid", "1");
	put_message(&list, 2, &pod);
	put_pod(&pod, "b", "1", "n", "10.0.0.1");
	put_message(&list, 2, &pod);
	put_envelope(&b, "v1", "PodList", &list);
	assert_true(brings(&b));
	ends_well();
	assert_non_null(strstr(told, "began a@1 refused(x: "));
	assert_non_null(strstr(told, "that are no Pod) refused(a Pod with the metadata.name \"BAD NAME\""));
	assert_non_null(strstr(told, "b@1 ended "));
	assert_int_equal(state_now().refused, 2);
	assert_int_equal(state_now().objects, 2);
	opens();
	assert_true(event("ADDED", "BAD NAME", "105"));
	assert_non_null(strstr(told, "refused(a Pod with the metadata.name \"BAD NAME\""));
	breaks();
	(void)wait_for_call();
	/* Behind it, else it would come again and again. */
	assert_watch_from("105");
	opens();
	told[0] = '\0';
	put_broken_pod(&pod, "x", "106");
	put_event(&b, "MODIFIED", "Pod", &pod);
	assert_true(brings(&b));
	assert_non_null(strstr(told, "refused(x: "));
	assert_null(strstr(told, "gone:"));
	put_broken_pod(&pod, "x", "107");
	put_event(&b, "DELETED", "Pod", &pod);
	assert_true(brings(&b));
	assert_non_null(strstr(told, "gone:x "));
	breaks();
	(void)wait_for_call();
	assert_watch_from("107");
	bytes_done(&b);
}

static void test_a_list_with_an_object_of_which_nothing_can_be_told_says_of_none_that_it_is_gone(void **state)
{
	struct bytes b = { 0 }, list = { 0 }, pod = { 0 };

	(void)state;
	create(0, 1);
	(void)wait_for_call();
	begin_list(&list);
	put_text(&list, 2, "\xff\xff no pod");
	put_text(&list, 2, "");
	put_pod(&pod, "b", "1", "n", "10.0.0.1");
	put_message(&list, 2, &pod);
	put_envelope(&b, "v1", "PodList", &list);
	assert_true(brings(&b));
	ends_well();
	assert_non_null(strstr(told, "began refused(9 bytes that are no Pod; its name is not known, so nothing "));
	assert_non_null(strstr(told, "refused(a Pod without metadata.name; its name is not known"));
	assert_non_null(strstr(told, "b@1 "));
	assert_null(strstr(told, "ended"));
	/* It goes on all the same, and the next list that is whole says it. */
	opens();
	assert_true(state_now().is_synced);
	assert_true(state_now().is_current);
	bytes_done(&b);
}

static void test_what_can_not_be_understood_lists_again(void **state)
{
	struct bytes b = { 0 };

	(void)state;
	create(0, 1);
	to_watch("100");
	put_raw(&b, "\0\0\0\4garb", 8);
	assert_false(brings(&b));
	ends_with(&(struct kube_answer){ .error = -ECANCELED });
	assert_non_null(strstr(state_now().error, "watching /api/v1/pods: an event of 4 bytes can not be read"));
	(void)wait_for_call();
	assert_string_equal(call.path, "/api/v1/pods?resourceVersion=100");
	lists("110", two_pods, 2);
	opens();
	/* An object of another kind. */
	struct bytes node = { 0 };
	put_pod(&node, "n", "111", "n", "10.0.0.1");
	put_event(&b, "ADDED", "Node", &node);
	assert_false(brings(&b));
	ends_with(&(struct kube_answer){ .error = -ECANCELED });
	(void)wait_for_call();
	assert_string_equal(call.path, "/api/v1/pods?resourceVersion=110");
	/* A list without a version: there is nothing to go on from. */
	opens();
	put_list(&b, "", NULL, two_pods, 2);
	assert_false(brings(&b));
	ends_with(&(struct kube_answer){ .error = -ECANCELED });
	assert_non_null(strstr(state_now().error, "GET /api/v1/pods: a resourceVersion of 0 bytes"));
	(void)wait_for_call();
	assert_string_equal(call.path, "/api/v1/pods?resourceVersion=110");
}

static void test_a_selector_stands_first(void **state)
{
	struct reflector_settings s = { .kind = OBJECT_POD, .path = "/api/v1/pods", .selector = "fieldSelector=spec.nodeName%3Dn1" };

	(void)state;
	assert_int_equal(reflector_create(loop, &client, &s, &ops, told, &reflector), 0);
	(void)wait_for_call();
	assert_string_equal(call.path, "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1&resourceVersion=0");
	lists("5", two_pods, 2);
	assert_path("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1&watch=1&");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		T(test_pages),
		T(test_pages_that_expire_begin_again),
		T(test_a_token_that_is_too_long_ends_the_pages),
		T(test_a_version_that_no_server_knows_is_forgotten),
		T(test_a_list_that_breaks_off_begins_again),
		T(test_an_object_that_can_not_be_taken_is_named_and_the_rest_goes_on),
		T(test_a_list_with_an_object_of_which_nothing_can_be_told_says_of_none_that_it_is_gone),
		T(test_what_can_not_be_understood_lists_again),
		T(test_a_selector_stands_first),
	};

	return cmocka_run_group_tests_name("reflector_list", tests, NULL, NULL);
}
