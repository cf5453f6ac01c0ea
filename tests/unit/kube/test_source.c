/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The source over a client that the test plays: what is asked for, in which order, and what becomes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "encode.h"
#include "kube/source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS = 8, STEP_MS = 5, LONG_MS = 2000 };

/* ---- The client ---- */

struct kube_client {
	int nothing;
};

struct kube_call {
	struct kube_handler handler;
	void *ctx;
	char path[512];
	bool is_running;
};

static struct kube_client client;
static struct kube_call calls[CALLS];

int kube_client_create(struct loop *l, const struct kube_client_settings *s, struct kube_client **ret, char error[KUBE_ERROR_BYTES])
{
	(void)l;
	(void)s;
	(void)error;
	*ret = &client;
	return 0;
}

void kube_client_destroy(struct kube_client *c)
{
	(void)c;
	for (int i = 0; i < CALLS; i++)
		assert_false(calls[i].is_running);
}

const char *kube_client_namespace(const struct kube_client *c)
{
	(void)c;
	return "";
}

int kube_send(struct kube_client *c, const struct kube_request *r, const struct kube_handler *h, void *ctx, struct kube_call **ret)
{
	int i = 0;

	(void)c;
	while (calls[i].is_running)
		assert_true(++i < CALLS);
	calls[i] = (struct kube_call){ .handler = *h, .ctx = ctx, .is_running = true };
	assert_true(snprintf(calls[i].path, sizeof(calls[i].path), "%s", r->path) < (int)sizeof(calls[i].path));
	*ret = &calls[i];
	return 0;
}

void kube_cancel(struct kube_call *c)
{
	if (c)
		c->is_running = false;
}

void kube_client_listen(struct kube_client *c, struct kube_listener *l)
{
	(void)c;
	list_init(&l->link);
}

void kube_client_unlisten(struct kube_listener *l)
{
	(void)l;
}

/* ---- The owner ---- */

static struct clock fake_clock;
static struct loop *loop;
static struct source *source;
static struct view *view;

static void view_changed(void *ctx, struct view *v)
{
	(void)ctx;
	view_unref(view);
	view = view_ref(v);
}

static void refused(void *ctx, const char *object, const char *text)
{
	(void)ctx;
	fail_msg("%s: %s", object, text);
}

static void state_changed(void *ctx)
{
	(void)ctx;
}

static unsigned api_servers_changes;

static void api_servers_changed(void *ctx)
{
	(void)ctx;
	api_servers_changes++;
}

static const struct source_ops ops = {
	.view_changed = view_changed, .refused = refused, .api_servers_changed = api_servers_changed, .state_changed = state_changed
};

static int set_up(void **state)
{
	struct source_settings s = {
		.name_space = "culvert", .records_namespace = "culvert-nodes", .registry = { .self = "n1" }, .seed = 7
	};

	(void)state;
	clock_init_fake(&fake_clock, NS_PER_S);
	memset(calls, 0, sizeof(calls));
	api_servers_changes = 0;
	if (loop_create(&fake_clock, &loop) < 0)
		return -1;
	return source_create(loop, &s, &ops, NULL, &source);
}

static int tear_down(void **state)
{
	(void)state;
	source_destroy(source);
	view_unref(view);
	view = NULL;
	loop_destroy(loop);
	return 0;
}

/* ---- Moving ---- */

static struct kube_call *find_call(const char *begin)
{
	for (int i = 0; i < CALLS; i++) {
		if (calls[i].is_running && strncmp(calls[i].path, begin, strlen(begin)) == 0)
			return &calls[i];
	}
	return NULL;
}

static struct kube_call *wait_for_call(const char *begin)
{
	for (unsigned ms = 0; !find_call(begin); ms += STEP_MS) {
		if (ms > LONG_MS)
			fail_msg("nobody asks for %s", begin);
		clock_fake_advance(&fake_clock, STEP_MS * NS_PER_MS);
		assert_int_equal(loop_run_once(loop, 0), 0);
	}
	return find_call(begin);
}

static void run_a_little(void)
{
	for (int i = 0; i < 4; i++) {
		clock_fake_advance(&fake_clock, STEP_MS * NS_PER_MS);
		assert_int_equal(loop_run_once(loop, 0), 0);
	}
}

static void answers(struct kube_call *call, const char *api_version, const char *kind, struct bytes *items)
{
	struct bytes b = { 0 }, list = { 0 }, meta = { 0 };
	struct kube_call ended;

	put_text(&meta, 2, "100");
	put_message(&list, 1, &meta);
	put_raw(&list, items->data, items->len);
	bytes_done(items);
	put_envelope(&b, api_version, kind, &list);
	if (call->handler.on_open)
		call->handler.on_open(call->ctx);
	assert_true(call->handler.on_data(call->ctx, b.data, b.len));
	bytes_done(&b);
	ended = *call;
	call->is_running = false;
	ended.handler.on_done(ended.ctx, &(struct kube_answer){ .status = 200, .text = "", .body = "" });
}

static void opens(struct kube_call *call)
{
	if (call->handler.on_open)
		call->handler.on_open(call->ctx);
}

static void put_item(struct bytes *items, struct bytes *object)
{
	put_message(items, 2, object);
}

static void put_node(struct bytes *items, const char *name, const char *address)
{
	struct bytes node = { 0 }, status = { 0 }, a = { 0 };

	put_meta(&node, "", name, name, "1");
	put_text(&a, 1, "InternalIP");
	put_text(&a, 2, address);
	put_message(&status, 5, &a);
	put_message(&node, 3, &status);
	put_item(items, &node);
}

static void put_space(struct bytes *object, const char *name, bool is_deleting)
{
	struct bytes meta = { 0 }, time = { 0 };

	put_text(&meta, 1, name);
	put_text(&meta, 6, "101");
	if (is_deleting) {
		put_number(&time, 1, 1700000000);
		put_message(&meta, 9, &time);
	}
	put_message(object, 1, &meta);
}

static void put_record(struct bytes *items, const char *name)
{
	struct bytes lease = { 0 }, meta = { 0 }, owner = { 0 };

	put_text(&meta, 1, name);
	put_text(&meta, 3, "culvert-nodes");
	put_text(&meta, 6, "1");
	put_text(&owner, 1, "Node");
	put_text(&owner, 3, name);
	put_text(&owner, 4, name);
	put_text(&owner, 5, "v1");
	put_message(&meta, 13, &owner);
	put_message(&lease, 1, &meta);
	put_item(items, &lease);
}

#define NODES      "/api/v1/nodes"
#define NAMESPACES "/api/v1/namespaces"
#define PODS       "/api/v1/pods"
#define ENDPOINTS  "/api/v1/namespaces/default/endpoints?fieldSelector=metadata.name%3Dkubernetes&"
#define RECORDS    "/apis/coordination.k8s.io/v1/namespaces/culvert-nodes/leases"

/* The endpoints of that name, of one address and one port. */
static void put_endpoints(struct bytes *object, const char *name, const char *address)
{
	struct bytes subset = { 0 }, at = { 0 }, port = { 0 };

	put_meta(object, "default", name, "uid", "101");
	put_text(&at, 1, address);
	put_message(&subset, 1, &at);
	put_number(&port, 2, 6443);
	put_message(&subset, 3, &port);
	put_message(object, 2, &subset);
}

/* Two nodes, both namespaces, a record of n1, one API server; all watches run. */
static void to_watches(void)
{
	struct bytes items = { 0 }, object = { 0 };

	put_node(&items, "n1", "172.30.0.1");
	put_node(&items, "n2", "172.30.0.2");
	answers(wait_for_call(NODES "?resourceVersion=0"), "v1", "NodeList", &items);
	put_space(&object, "culvert", false);
	put_item(&items, &object);
	put_space(&object, "culvert-nodes", false);
	put_item(&items, &object);
	answers(wait_for_call(NAMESPACES "?resourceVersion=0"), "v1", "NamespaceList", &items);
	put_record(&items, "n1");
	assert_null(find_call(PODS));
	answers(wait_for_call(RECORDS), "coordination.k8s.io/v1", "LeaseList", &items);
	assert_null(find_call(PODS));
	put_endpoints(&object, "kubernetes", "172.30.0.2");
	put_item(&items, &object);
	answers(wait_for_call(ENDPOINTS "resourceVersion=0"), "v1", "EndpointsList", &items);
	opens(wait_for_call(ENDPOINTS "watch"));
	opens(wait_for_call(NODES "?watch"));
	opens(wait_for_call(NAMESPACES "?watch"));
	opens(wait_for_call(RECORDS "?watch"));
	answers(wait_for_call(PODS), "v1", "PodList", &items);
	run_a_little();
	assert_null(view);
	opens(wait_for_call(PODS "?fieldSelector"));
	run_a_little();
}

static void test_the_first_view_comes_when_all_is_read(void **state)
{
	(void)state;
	to_watches();
	assert_non_null(view);
	assert_non_null(view_self(view));
	assert_true(view_self(view)->is_enrolled);
	assert_false(view_node_by_name(view, "n2")->is_enrolled);
}

/* A cache may be behind for as long as its server is cut off from the store. A daemon that starts again and does not see the records that were
 * there before would let its pairs go in the clear until it does. */
static void test_records_are_read_from_the_store(void **state)
{
	const struct kube_call *call = wait_for_call(RECORDS);

	(void)state;
	assert_string_equal(call->path, RECORDS "?limit=500");
}

static void expect_api_server(const char *text)
{
	char found[ENDPOINT_TEXT_BYTES];
	const struct endpoint *e;
	size_t count;

	e = source_api_servers(source, &count);
	assert_int_equal(count, text ? 1 : 0);
	if (text)
		assert_string_equal(endpoint_print(e, found), text);
}

static void endpoints_event(const char *type, const char *name, const char *address)
{
	struct kube_call *call = find_call(ENDPOINTS "watch");
	struct bytes b = { 0 }, object = { 0 };

	assert_non_null(call);
	put_endpoints(&object, name, address);
	put_event(&b, type, "Endpoints", &object);
	assert_true(call->handler.on_data(call->ctx, b.data, b.len));
	bytes_done(&b);
}

static void test_the_api_servers_are_those_of_its_service(void **state)
{
	(void)state;
	to_watches();
	expect_api_server("172.30.0.2:6443");
	assert_int_equal(api_servers_changes, 1);
	endpoints_event("MODIFIED", "kubernetes", "172.30.0.2");
	endpoints_event("ADDED", "shop", "172.30.0.9");
	assert_int_equal(api_servers_changes, 1);
	endpoints_event("MODIFIED", "kubernetes", "172.30.0.1");
	expect_api_server("172.30.0.1:6443");
	assert_int_equal(api_servers_changes, 2);
	endpoints_event("DELETED", "kubernetes", "172.30.0.1");
	expect_api_server(NULL);
	assert_int_equal(api_servers_changes, 3);
}

static void space_event(const char *type, const char *name, bool is_deleting)
{
	struct kube_call *call = find_call(NAMESPACES "?watch");
	struct bytes b = { 0 }, object = { 0 };

	assert_non_null(call);
	put_space(&object, name, is_deleting);
	put_event(&b, type, "Namespace", &object);
	assert_true(call->handler.on_data(call->ctx, b.data, b.len));
	bytes_done(&b);
}

static void test_the_end_of_a_namespace_of_ours_is_an_end(void **state)
{
	(void)state;
	to_watches();
	assert_false(source_is_ending(source));
	space_event("MODIFIED", "shop", true);
	space_event("DELETED", "shop", true);
	assert_false(source_is_ending(source));
	space_event("MODIFIED", "culvert-nodes", true);
	assert_true(source_is_ending(source));
	space_event("DELETED", "culvert-nodes", true);
	assert_true(source_is_ending(source));
	/* It was made anew. */
	space_event("ADDED", "culvert-nodes", false);
	assert_false(source_is_ending(source));
	space_event("MODIFIED", "culvert", true);
	assert_true(source_is_ending(source));
}

/* The watch of namespaces that is to follow the one that runs: begun before that ends. */
static struct kube_call *wait_for_next_watch(const struct kube_call *runs)
{
	for (unsigned s = 0; s < 600; s++) {
		for (int i = 0; i < CALLS; i++) {
			if (&calls[i] != runs && calls[i].is_running &&
			    strncmp(calls[i].path, NAMESPACES "?watch", strlen(NAMESPACES "?watch")) == 0)
				return &calls[i];
		}
		clock_fake_advance(&fake_clock, NS_PER_S);
		assert_int_equal(loop_run_once(loop, 0), 0);
	}
	fail_msg("no next watch is begun");
	return NULL;
}

static void refuses(struct kube_call *call)
{
	struct kube_call ended = *call;

	call->is_running = false;
	ended.handler.on_done(ended.ctx, &(struct kube_answer){ .status = 403, .text = "no right any more", .body = "" });
}

static void bring_space(struct kube_call *call, const char *type, const char *name, bool is_deleting)
{
	struct bytes b = { 0 }, object = { 0 };

	put_space(&object, name, is_deleting);
	put_event(&b, type, "Namespace", &object);
	assert_true(call->handler.on_data(call->ctx, b.data, b.len));
	bytes_done(&b);
}

/* An uninstall takes the rights, then the namespaces: a watch that is begun anew in between would never hear of it. */
static void test_rights_that_go_while_a_watch_is_renewed_hide_no_end(void **state)
{
	struct kube_call *runs, *next;

	(void)state;
	to_watches();
	runs = find_call(NAMESPACES "?watch");
	for (int try = 0; try < 3; try++) {
		next = wait_for_next_watch(runs);
		refuses(next);
		assert_true(runs->is_running);
	}
	assert_false(source_is_ending(source));
	bring_space(runs, "MODIFIED", "culvert-nodes", true);
	assert_true(source_is_ending(source));
}

static void test_the_next_watch_takes_over_where_both_are_at_the_same_place(void **state)
{
	struct kube_call *runs, *next;

	(void)state;
	to_watches();
	runs = find_call(NAMESPACES "?watch");
	/* What came meanwhile would come twice. */
	next = wait_for_next_watch(runs);
	bring_space(runs, "MODIFIED", "shop", false);
	opens(next);
	assert_false(next->is_running);
	assert_true(runs->is_running);
	next = wait_for_next_watch(runs);
	assert_non_null(strstr(next->path, "resourceVersion=101"));
	opens(next);
	assert_false(runs->is_running);
	assert_true(next->is_running);
	bring_space(next, "MODIFIED", "culvert-nodes", true);
	assert_true(source_is_ending(source));
	/* And so on. */
	opens(wait_for_next_watch(next));
	assert_false(next->is_running);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_first_view_comes_when_all_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_records_are_read_from_the_store, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_api_servers_are_those_of_its_service, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_rights_that_go_while_a_watch_is_renewed_hide_no_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_next_watch_takes_over_where_both_are_at_the_same_place, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_end_of_a_namespace_of_ours_is_an_end, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
