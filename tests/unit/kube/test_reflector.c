/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The reflector over a client that the test plays, and a clock that it moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "encode.h"
#include "kube/reflector.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONG_MS = 400000, STEP_MS = 5, FIRST_BACKOFF_MS = 1000 + STEP_MS };

/* ---- The client ---- */

struct kube_client {
	int nothing;
};

/* The one call that is under way. */
struct kube_call {
	struct kube_handler handler;
	void *ctx;
	char path[4096];
	uint32_t silence_ms;
	bool is_running;
};

static struct kube_call call;
static unsigned calls, cancelled;
static int send_error; /* of the next kube_send; 0: it works */
static struct kube_listener *listener;

int kube_send(struct kube_client *c, const struct kube_request *r, const struct kube_handler *h, void *ctx, struct kube_call **ret)
{
	int rc = send_error;

	(void)c;
	send_error = 0;
	if (rc < 0)
		return rc;
	assert_false(call.is_running);
	assert_string_equal(r->method, "GET");
	assert_null(r->accept);
	call = (struct kube_call){ .handler = *h, .ctx = ctx, .silence_ms = r->silence_ms, .is_running = true };
	assert_true(snprintf(call.path, sizeof(call.path), "%s", r->path) < (int)sizeof(call.path));
	calls++;
	*ret = &call;
	return 0;
}

void kube_cancel(struct kube_call *c)
{
	if (!c)
		return;
	assert_ptr_equal(c, &call);
	assert_true(call.is_running);
	call.is_running = false;
	cancelled++;
}

void kube_client_listen(struct kube_client *c, struct kube_listener *l)
{
	(void)c;
	assert_null(listener);
	listener = l;
	list_init(&l->link);
	/* Linked to something, as the client does. */
	static struct list head;
	list_init(&head);
	list_append(&head, &l->link);
}

void kube_client_unlisten(struct kube_listener *l)
{
	assert_ptr_equal(l, listener);
	list_remove(&l->link);
	listener = NULL;
}

/* ---- What the owner was told ---- */

static struct clock fake_clock;
static struct loop *loop;
static struct kube_client client;
static struct reflector *reflector;
static char told[4096];
static unsigned states;

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void tell(const char *format, ...)
{
	size_t len = strlen(told);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(told + len, sizeof(told) - len, format, args);
	va_end(args);
}

static void list_began(void *ctx, enum object_kind kind)
{
	assert_ptr_equal(ctx, told);
	assert_int_equal(kind, OBJECT_POD);
	tell("began ");
}

static void put(void *ctx, const struct object *o)
{
	assert_ptr_equal(ctx, told);
	tell("%s@%s ", o->meta.name, o->meta.version);
}

static void gone(void *ctx, enum object_kind kind, const struct object_meta *meta)
{
	(void)ctx;
	assert_int_equal(kind, OBJECT_POD);
	tell("gone:%s ", meta->name);
}

static void list_ended(void *ctx, enum object_kind kind)
{
	(void)ctx;
	assert_int_equal(kind, OBJECT_POD);
	tell("ended ");
}

static void state_changed(void *ctx, enum object_kind kind)
{
	(void)ctx;
	(void)kind;
	states++;
}

static void refused(void *ctx, enum object_kind kind, const struct object_meta *m, const char *text)
{
	(void)ctx;
	(void)kind;
	tell("refused(%s%s%s) ", m ? m->name : "", m ? ": " : "", text);
}

static const struct reflector_ops ops = { list_began, put, gone, list_ended, state_changed, refused };

static void assert_told(const char *text)
{
	assert_string_equal(told, text);
	told[0] = '\0';
}

/* ---- Moving ---- */

static void create(uint32_t page_items, uint64_t seed)
{
	struct reflector_settings s = { .kind = OBJECT_POD, .path = "/api/v1/pods", .page_items = page_items, .seed = seed };

	assert_int_equal(reflector_create(loop, &client, &s, &ops, told, &reflector), 0);
}

static int set_up(void **state)
{
	(void)state;
	clock_init_fake(&fake_clock, NS_PER_S);
	call = (struct kube_call){ 0 };
	calls = cancelled = states = 0;
	send_error = 0;
	told[0] = '\0';
	reflector = NULL;
	return loop_create(&fake_clock, &loop);
}

static int tear_down(void **state)
{
	(void)state;
	reflector_destroy(reflector);
	loop_destroy(loop);
	assert_null(listener);
	return 0;
}

static void advance(uint64_t ms)
{
	clock_fake_advance(&fake_clock, ms * NS_PER_MS);
	assert_int_equal(loop_run_once(loop, 0), 0);
}

/* The time until the next call is made. */
static unsigned wait_for_call(void)
{
	unsigned before = calls, ms = 0;

	/* A call that another's end began is there already. */
	while (!call.is_running || calls == before) {
		if (call.is_running)
			return ms;
		assert_true(ms <= LONG_MS);
		advance(STEP_MS);
		ms += STEP_MS;
	}
	return ms;
}

static void opens(void)
{
	assert_true(call.is_running);
	if (call.handler.on_open)
		call.handler.on_open(call.ctx);
}

static bool brings(struct bytes *b)
{
	bool goes_on = true;

	/* In pieces, as it happens. */
	for (size_t at = 0; goes_on && at < b->len; at += 7)
		goes_on = call.handler.on_data(call.ctx, b->data + at, b->len - at < 7 ? b->len - at : 7);
	bytes_done(b);
	return goes_on;
}

static void ends_with(const struct kube_answer *answer)
{
	struct kube_call ended = call;
	struct kube_answer a = *answer;

	assert_true(call.is_running);
	call.is_running = false;
	if (!a.text)
		a.text = "";
	if (!a.body)
		a.body = "";
	ended.handler.on_done(ended.ctx, &a);
}

static void ends_well(void)
{
	ends_with(&(struct kube_answer){ .status = 200 });
}

static void breaks(void)
{
	ends_with(&(struct kube_answer){ .error = -ECONNRESET, .text = "the connection broke" });
}

static void put_list(struct bytes *b, const char *version, const char *token, const char *const *pods, size_t count)
{
	struct bytes list = { 0 }, meta = { 0 }, pod = { 0 };

	put_text(&meta, 2, version);
	if (token)
		put_text(&meta, 3, token);
	put_message(&list, 1, &meta);
	for (size_t i = 0; i < count; i++) {
		put_pod(&pod, pods[i], "1", "node1", "10.0.0.1");
		put_message(&list, 2, &pod);
	}
	put_envelope(b, "v1", "PodList", &list);
}

static void lists(const char *version, const char *const *pods, size_t count)
{
	struct bytes b = { 0 };

	opens();
	put_list(&b, version, NULL, pods, count);
	assert_true(brings(&b));
	ends_well();
}

static const char *const two_pods[] = { "a", "b" };

/* To the point at which a watch runs from version. */
static void to_watch(const char *version)
{
	(void)wait_for_call();
	lists(version, two_pods, 2);
	assert_true(call.is_running);
	opens();
	told[0] = '\0';
}

static bool event(const char *type, const char *name, const char *version)
{
	struct bytes b = { 0 }, pod = { 0 };

	put_pod(&pod, name, version, "node1", "10.0.0.1");
	put_event(&b, type, "Pod", &pod);
	return brings(&b);
}

static bool bookmark(const char *version)
{
	struct bytes b = { 0 }, object = { 0 }, meta = { 0 };

	put_text(&meta, 6, version);
	put_message(&object, 1, &meta);
	put_event(&b, "BOOKMARK", "Pod", &object);
	return brings(&b);
}

static bool error_event(unsigned code, const char *reason)
{
	struct bytes b = { 0 }, object = { 0 };

	put_status(&object, code, reason, "said the server");
	put_event(&b, "ERROR", "Status", &object);
	return brings(&b);
}

static struct reflector_state state_now(void)
{
	struct reflector_state s;

	reflector_state(reflector, &s);
	return s;
}

static void assert_path(const char *begin)
{
	assert_true(call.is_running);
	if (strncmp(call.path, begin, strlen(begin)) != 0)
		fail_msg("%s does not begin with %s", call.path, begin);
}

static void assert_watch_from(const char *version)
{
	char begin[256];

	(void)snprintf(begin, sizeof(begin), "/api/v1/pods?watch=1&allowWatchBookmarks=true&resourceVersion=%s&timeoutSeconds=", version);
	assert_path(begin);
}

/* ---- Tests ---- */

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

static void answer_too_large(void)
{
	struct bytes b = { 0 }, object = { 0 }, details = { 0 }, cause = { 0 };

	put_status(&object, 504, "Timeout", "Too large resource version: 100, current: 7");
	put_text(&cause, 1, "ResourceVersionTooLarge");
	put_message(&details, 4, &cause);
	put_message(&object, 5, &details);
	put_envelope(&b, "v1", "Status", &object);
	ends_with(&(struct kube_answer){ .status = 504, .body = b.data, .body_bytes = b.len, .text = "504: too large" });
	bytes_done(&b);
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
		T(test_many_that_list_again_are_spread),
		T(test_pages),
		T(test_pages_that_expire_begin_again),
		T(test_a_token_that_is_too_long_ends_the_pages),
		T(test_a_version_that_no_server_knows_is_forgotten),
		T(test_a_list_that_breaks_off_begins_again),
		T(test_failures_wait_longer_and_a_good_watch_ends_that),
		T(test_retry_after_is_kept),
		T(test_what_is_forbidden_is_tried_slowly_and_at_once_with_new_credentials),
		T(test_an_object_that_can_not_be_taken_is_named_and_the_rest_goes_on),
		T(test_a_list_with_an_object_of_which_nothing_can_be_told_says_of_none_that_it_is_gone),
		T(test_what_can_not_be_understood_lists_again),
		T(test_versions_are_opaque),
		T(test_an_event_that_is_cut_by_the_end_comes_again),
		T(test_a_selector_stands_first),
		T(test_a_call_that_can_not_be_made_is_tried_again),
		T(test_who_is_destroyed_hears_nothing_more),
		T(test_a_server_that_stays_silent_is_asked_what_the_version_is_worth),
		T(test_a_machine_that_slept_goes_on),
	};

	return cmocka_run_group_tests_name("reflector", tests, NULL, NULL);
}
