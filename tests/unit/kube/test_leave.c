/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Why the daemon is told to end, by what the API server answers; the client is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api.h"
#include "kube/leave.h"

enum { STEP_MS = 100 };

static struct clock fake_clock;
static struct loop *loop;
static struct leave *leave;
static unsigned done;
static bool is_leaving, is_ending, has_client;
static char why[LEAVE_TEXT_BYTES];

struct kube_client *source_client(const struct source *s)
{
	(void)s;
	return has_client ? &api_client : NULL;
}

const char *source_namespace(const struct source *s)
{
	(void)s;
	return "sys";
}

bool source_is_ending(const struct source *s)
{
	(void)s;
	return is_ending;
}

static void on_done(void *ctx, bool leaving, const char *text)
{
	(void)ctx;
	done++;
	is_leaving = leaving;
	(void)snprintf(why, sizeof(why), "%s", text);
}

static int set_up(void **state)
{
	const struct leave_settings s = { .self = "n1", .daemonset = "culvert" };

	(void)state;
	clock_init_fake(&fake_clock, NS_PER_S);
	memset(api_calls, 0, sizeof(api_calls));
	done = 0;
	is_leaving = is_ending = false;
	has_client = true;
	if (loop_create(&fake_clock, &loop) < 0)
		return -1;
	return leave_ask(loop, NULL, &s, on_done, NULL, &leave);
}

static int tear_down(void **state)
{
	(void)state;
	leave_destroy(leave);
	for (int i = 0; i < API_CALLS; i++)
		assert_false(api_calls[i].is_running);
	loop_destroy(loop);
	return 0;
}

static void pass(uint64_t ms)
{
	for (uint64_t at = 0; at < ms; at += STEP_MS) {
		clock_fake_advance(&fake_clock, STEP_MS * NS_PER_MS);
		assert_int_equal(loop_run_once(loop, 0), 0);
	}
}

static struct kube_call *about_daemonset(void)
{
	struct kube_call *c = api_find("GET", "/apis/apps/v1/namespaces/sys/daemonsets/culvert");

	assert_non_null(c);
	return c;
}

static struct kube_call *about_node(void)
{
	struct kube_call *c = api_find("GET", "/api/v1/nodes/n1");

	assert_non_null(c);
	return c;
}

/* An object as the API server gives it: deleted where it is being deleted, annotated where the Node is to stay out. */
static void gives(struct kube_call *call, const char *api_version, const char *kind, bool is_deleted, bool is_annotated)
{
	struct bytes b = { 0 }, object = { 0 }, meta = { 0 }, time = { 0 };

	put_text(&meta, 1, "n1");
	put_text(&meta, 5, "uid");
	put_text(&meta, 6, "7");
	if (is_deleted) {
		put_number(&time, 1, 1800000000);
		put_message(&meta, 9, &time);
	}
	if (is_annotated)
		put_entry(&meta, 12, "culvert.dev/enrolled", "false");
	put_message(&object, 1, &meta);
	put_envelope(&b, api_version, kind, &object);
	api_answer(call, 200, &b, "");
}

static void daemonset_is_there(void)
{
	gives(about_daemonset(), "apps/v1", "DaemonSet", false, false);
}

static void expect(bool leaving, const char *text)
{
	assert_int_equal(done, 1);
	assert_int_equal(is_leaving, leaving);
	assert_non_null(strstr(why, text));
	/* And nothing more is asked. */
	pass(2 * LEAVE_BOUND_MS);
	assert_int_equal(done, 1);
}

static void both_there_is_a_restart(void **state)
{
	(void)state;
	pass(STEP_MS);
	daemonset_is_there();
	assert_int_equal(done, 0);
	gives(about_node(), "v1", "Node", false, false);
	expect(false, "are there");
}

static void a_daemonset_that_goes(void **state)
{
	(void)state;
	pass(STEP_MS);
	gives(about_daemonset(), "apps/v1", "DaemonSet", true, false);
	expect(true, "the DaemonSet is being deleted");
}

static void a_daemonset_that_is_gone(void **state)
{
	(void)state;
	pass(STEP_MS);
	api_refuse(about_daemonset(), 404, "NotFound", "daemonsets.apps \"culvert\" not found");
	expect(true, "the DaemonSet is gone");
}

static void a_node_that_is_annotated(void **state)
{
	(void)state;
	pass(STEP_MS);
	daemonset_is_there();
	gives(about_node(), "v1", "Node", false, true);
	expect(true, "culvert.dev/enrolled");
}

static void a_node_that_is_gone(void **state)
{
	(void)state;
	pass(STEP_MS);
	api_refuse(about_node(), 404, "NotFound", "nodes \"n1\" not found");
	expect(true, "this Node is gone");
}

static void a_node_that_is_being_deleted_is_enrolled_until_it_is_gone(void **state)
{
	(void)state;
	pass(STEP_MS);
	daemonset_is_there();
	gives(about_node(), "v1", "Node", true, false);
	assert_int_equal(done, 0);
	pass(LEAVE_AGAIN_MS + STEP_MS);
	api_refuse(about_node(), 404, "NotFound", "nodes \"n1\" not found");
	expect(true, "this Node is gone");
}

static void a_node_that_finalizers_keep_is_a_restart(void **state)
{
	(void)state;
	pass(STEP_MS);
	daemonset_is_there();
	for (uint64_t ms = STEP_MS; ms < LEAVE_BOUND_MS; ms += LEAVE_AGAIN_MS) {
		gives(about_node(), "v1", "Node", true, false);
		assert_int_equal(done, 0);
		pass(LEAVE_AGAIN_MS);
	}
	pass(LEAVE_AGAIN_MS);
	expect(false, "no answer about the Node: it is being deleted and is still there");
}

static void a_node_that_is_being_deleted_and_annotated(void **state)
{
	(void)state;
	pass(STEP_MS);
	daemonset_is_there();
	gives(about_node(), "v1", "Node", true, true);
	expect(true, "culvert.dev/enrolled");
}

static void a_404_that_is_not_the_apis_word_is_no_answer(void **state)
{
	struct bytes page = { 0 };

	(void)state;
	pass(STEP_MS);
	put_raw(&page, "404 page not found", 18);
	api_answer(about_daemonset(), 404, &page, "404");
	assert_int_equal(done, 0);
	pass(LEAVE_AGAIN_MS + STEP_MS);
	daemonset_is_there();
	gives(about_node(), "v1", "Node", false, false);
	expect(false, "are there");
}

static void without_an_answer_it_is_a_restart(void **state)
{
	(void)state;
	pass(STEP_MS);
	daemonset_is_there();
	for (uint64_t ms = STEP_MS; ms < LEAVE_BOUND_MS; ms += LEAVE_AGAIN_MS) {
		struct kube_call *c = api_find("GET", "/api/v1/nodes/n1");

		if (c)
			api_break(c, -ECONNREFUSED, "connection refused");
		assert_int_equal(done, 0);
		pass(LEAVE_AGAIN_MS);
	}
	pass(LEAVE_AGAIN_MS);
	expect(false, "no answer about the Node: connection refused");
}

static void a_right_that_went_before_the_namespace_did(void **state)
{
	(void)state;
	pass(STEP_MS);
	api_refuse(about_daemonset(), 403, "Forbidden", "no");
	api_refuse(about_node(), 401, "Unauthorized", "no");
	assert_int_equal(done, 0);
	is_ending = true;
	pass(LEAVE_AGAIN_MS + STEP_MS);
	expect(true, "a namespace of Culvert is being deleted");
}

static void nobody_to_ask(void **state)
{
	(void)state;
	has_client = false;
	pass(LEAVE_BOUND_MS + LEAVE_AGAIN_MS);
	expect(false, "it is not known whom or where to ask");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(both_there_is_a_restart),
		TEST(a_daemonset_that_goes),
		TEST(a_daemonset_that_is_gone),
		TEST(a_node_that_is_annotated),
		TEST(a_node_that_is_gone),
		TEST(a_node_that_is_being_deleted_is_enrolled_until_it_is_gone),
		TEST(a_node_that_finalizers_keep_is_a_restart),
		TEST(a_node_that_is_being_deleted_and_annotated),
		TEST(a_404_that_is_not_the_apis_word_is_no_answer),
		TEST(without_an_answer_it_is_a_restart),
		TEST(a_right_that_went_before_the_namespace_did),
		TEST(nobody_to_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
