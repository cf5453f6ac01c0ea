/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The record: when it is made and when not, over a client that the test plays and a registry that it tells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api.h"
#include "kube/enrol.h"

enum { STEP_MS = 100 };

static struct clock fake_clock;
static struct loop *loop;
static struct registry *registry;
static struct enrol *enrol;
static struct view *view;
static char faulty[128], up[32], wanted[128];
static unsigned changes;

struct kube_client *source_client(const struct source *s)
{
	(void)s;
	return &api_client;
}

const struct registry *source_registry(const struct source *s)
{
	(void)s;
	return registry;
}

static bool is_working(void *ctx, char *text, size_t text_bytes)
{
	(void)ctx;
	(void)snprintf(text, text_bytes, "%s", faulty);
	return !faulty[0];
}

static bool is_peer_up(void *ctx, const char *node)
{
	(void)ctx;
	return strcmp(up, node) == 0;
}

static void want_peer(void *ctx, uint32_t node_id)
{
	const struct view_node *n = view_node_by_id(view, node_id);
	size_t len = strlen(wanted);

	(void)ctx;
	assert_non_null(n);
	(void)snprintf(wanted + len, sizeof(wanted) - len, "%.8s ", n->name);
}

static void changed(void *ctx)
{
	(void)ctx;
	changes++;
}

static const struct enrol_ops ops = { is_working, is_peer_up, want_peer, changed };

static int set_up(void **state)
{
	const struct registry_settings r = { .self = "n1" };
	const struct enrol_settings s = {
		.self = "n1", .records_namespace = "records", .tunnel_port = 7117, .settings_hash = 0x2a, .seed = 5
	};

	(void)state;
	clock_init_fake(&fake_clock, NS_PER_S);
	memset(api_calls, 0, sizeof(api_calls));
	faulty[0] = up[0] = wanted[0] = '\0';
	changes = 0;
	if (loop_create(&fake_clock, &loop) < 0 || registry_create(&r, NULL, NULL, &registry) < 0)
		return -1;
	return enrol_create(loop, NULL, &s, &ops, NULL, &enrol);
}

static int tear_down(void **state)
{
	(void)state;
	enrol_destroy(enrol);
	registry_destroy(registry);
	view_unref(view);
	view = NULL;
	loop_destroy(loop);
	return 0;
}

static void tell_view(void)
{
	struct view *v;

	assert_int_equal(registry_publish(registry, loop_now(loop), &v), 0);
	view_unref(view);
	view = v;
	enrol_set_view(enrol, view);
}

static void put_node_of(const char *name, const char *uid, bool is_unenrolled)
{
	struct addr a = addr_from_v4_be(0x0a000001 + ((uint32_t)(unsigned char)name[1] << 24));
	struct object o = { .kind = OBJECT_NODE };

	o.node = (struct object_node){ .meta = { .name_space = "", .name = name, .uid = uid, .version = "" },
		                       .addresses = &a,
		                       .addresses_count = 1,
		                       .is_unenrolled = is_unenrolled };
	assert_int_equal(registry_put(registry, &o), 0);
}

static void put_record(const char *name, const char *uid)
{
	struct object o = { .kind = OBJECT_RECORD };

	o.record = (struct object_record){ .meta = { .name_space = "", .name = name, .uid = "r", .version = "" },
		                           .node_uid = uid,
		                           .settings_hash = "" };
	assert_int_equal(registry_put(registry, &o), 0);
}

static void forget(enum object_kind kind, const char *name)
{
	const struct object_meta m = { .name_space = "", .name = name, .uid = "", .version = "" };

	registry_gone(registry, kind, &m);
}

static void pass(uint64_t ms)
{
	for (uint64_t at = 0; at < ms; at += STEP_MS) {
		clock_fake_advance(&fake_clock, STEP_MS * NS_PER_MS);
		assert_int_equal(loop_run_once(loop, 0), 0);
	}
}

static const char *text(enum enrol_state expected)
{
	const char *why;

	assert_int_equal(enrol_state(enrol, &why), expected);
	return why;
}

static struct kube_call *posted(void)
{
	return api_find("POST", "/apis/coordination.k8s.io/v1/namespaces/records/leases");
}

static void made(struct kube_call *call, unsigned status)
{
	struct bytes nothing = { 0 };

	api_answer(call, status, &nothing, "");
}

static void the_first_node_makes_its_record_at_once(void **state)
{
	(void)state;
	put_node_of("n1", "uid-1", false);
	tell_view();
	assert_non_null(posted());
	assert_string_equal(
		posted()->body,
		"{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"n1\",\"namespace\":\"records\","
		"\"annotations\":{\"culvert.dev/port\":\"7117\",\"culvert.dev/settings\":\"000000000000002a\"},"
		"\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"n1\",\"uid\":\"uid-1\"}]},"
		"\"spec\":{\"holderIdentity\":\"n1\"}}");
	assert_string_equal(text(ENROL_WAITING), "the node's record is being made");
	made(posted(), 201);
	pass(2000);
	/* That it is there is the watch's to say; until then nothing is asked again. */
	assert_null(posted());
	put_record("n1", "uid-1");
	tell_view();
	assert_string_equal(text(ENROL_DONE), "");
	assert_string_equal(wanted, "");
}

static void a_record_that_is_there_is_not_made_again(void **state)
{
	(void)state;
	put_node_of("n1", "uid-1", false);
	put_record("n1", "uid-1");
	tell_view();
	(void)text(ENROL_DONE);
	pass(60000);
	assert_null(posted());
}

static void nothing_is_made_before_all_works(void **state)
{
	(void)state;
	assert_string_equal(text(ENROL_WAITING), "this node is not among the cluster's nodes");
	(void)snprintf(faulty, sizeof(faulty), "no certificate: tls.crt is missing");
	put_node_of("n1", "uid-1", false);
	tell_view();
	assert_string_equal(text(ENROL_WAITING), "no certificate: tls.crt is missing");
	pass(5000);
	assert_null(posted());
	faulty[0] = '\0';
	pass(1000);
	assert_non_null(posted());
}

static void a_tunnel_to_somebody_enrolled_must_be_made_first(void **state)
{
	(void)state;
	put_node_of("n1", "uid-1", false);
	for (char c = '2'; c <= '7'; c++) {
		char name[] = { 'n', c, '\0' };

		put_node_of(name, name, false);
		/* Two of them are not enrolled, and say nothing. */
		if (c <= '5')
			put_record(name, name);
	}
	tell_view();
	assert_int_equal(strlen(wanted), 3 * ENROL_PEERS);
	assert_null(strstr(wanted, "n6"));
	assert_null(strstr(wanted, "n7"));
	assert_non_null(strstr(text(ENROL_WAITING), "no tunnel to an enrolled node could be made yet; tried are n"));
	(void)snprintf(up, sizeof(up), "n7");
	pass(5000);
	assert_null(posted());
	/* Others are tried after a while. */
	pass(ENROL_PEERS_MS);
	assert_int_equal(strlen(wanted), 2 * 3 * ENROL_PEERS);
	(void)snprintf(up, sizeof(up), "n4");
	pass(1000);
	assert_non_null(posted());
}

static void what_the_api_server_refuses_is_said_and_tried_again(void **state)
{
	(void)state;
	put_node_of("n1", "uid-1", false);
	tell_view();
	api_refuse(posted(), 403, "Forbidden", "leases is forbidden: cannot create");
	assert_string_equal(text(ENROL_WAITING), "the node's record can not be made: leases is forbidden: cannot create");
	pass(31000);
	assert_string_equal(text(ENROL_WAITING), "the node's record can not be made: leases is forbidden: cannot create");
	assert_non_null(posted());
	api_break(posted(), -ECONNREFUSED, "connection refused");
	assert_string_equal(text(ENROL_WAITING), "the node's record can not be made: connection refused");
	pass(61000);
	made(posted(), 201);
	put_record("n1", "uid-1");
	tell_view();
	(void)text(ENROL_DONE);
}

static void one_that_is_there_already_is_waited_for(void **state)
{
	(void)state;
	put_node_of("n1", "uid-1", false);
	tell_view();
	made(posted(), 409);
	pass(ENROL_AGAIN_MS - 1000);
	assert_null(posted());
	pass(2000);
	assert_non_null(posted());
}

static void a_record_that_is_deleted_was_deleted_on_purpose(void **state)
{
	(void)state;
	put_node_of("n1", "uid-1", false);
	put_record("n1", "uid-1");
	tell_view();
	forget(OBJECT_RECORD, "n1");
	tell_view();
	assert_non_null(strstr(text(ENROL_OUT), "was deleted while the daemon runs"));
	pass(60000);
	assert_null(posted());
	/* Another Node object is another matter. */
	put_node_of("n1", "uid-2", false);
	tell_view();
	assert_non_null(posted());
	assert_non_null(strstr(posted()->body, "\"uid\":\"uid-2\""));
}

static void an_old_record_is_the_garbage_collectors(void **state)
{
	(void)state;
	put_node_of("n1", "uid-2", false);
	put_record("n1", "uid-1");
	tell_view();
	assert_non_null(strstr(text(ENROL_WAITING), "the record of an earlier Node object"));
	pass(60000);
	assert_null(posted());
	forget(OBJECT_RECORD, "n1");
	tell_view();
	assert_non_null(posted());
}

static void who_is_to_stay_out_stays_out(void **state)
{
	(void)state;
	put_node_of("n1", "uid-1", true);
	tell_view();
	assert_non_null(strstr(text(ENROL_OUT), "culvert.dev/enrolled"));
	pass(60000);
	assert_null(posted());
	put_node_of("n1", "uid-1", false);
	tell_view();
	assert_non_null(posted());
	assert_true(changes > 0);
}

static void a_uid_that_would_break_the_json_is_not_written(void **state)
{
	(void)state;
	put_node_of("n1", "uid\",\"x\":\"", false);
	tell_view();
	assert_null(posted());
	assert_non_null(strstr(text(ENROL_WAITING), "can not be made"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(the_first_node_makes_its_record_at_once),
		TEST(a_record_that_is_there_is_not_made_again),
		TEST(nothing_is_made_before_all_works),
		TEST(a_tunnel_to_somebody_enrolled_must_be_made_first),
		TEST(what_the_api_server_refuses_is_said_and_tried_again),
		TEST(one_that_is_there_already_is_waited_for),
		TEST(a_record_that_is_deleted_was_deleted_on_purpose),
		TEST(an_old_record_is_the_garbage_collectors),
		TEST(who_is_to_stay_out_stays_out),
		TEST(a_uid_that_would_break_the_json_is_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
