/* SPDX-License-Identifier: GPL-3.0-or-later */
/* reflection.h - a reflector over a client that the test plays, and a clock that it moves. For one test program. Include it behind cmocka.h. */
#ifndef CULVERT_TESTS_UNIT_KUBE_REFLECTION_H
#define CULVERT_TESTS_UNIT_KUBE_REFLECTION_H

#include "encode.h"
#include "kube/reflector.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
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

static inline void assert_told(const char *text)
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

static inline void advance(uint64_t ms)
{
	clock_fake_advance(&fake_clock, ms * NS_PER_MS);
	assert_int_equal(loop_run_once(loop, 0), 0);
}

/* The time until the next call is made. */
static inline unsigned wait_for_call(void)
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

static inline void opens(void)
{
	assert_true(call.is_running);
	if (call.handler.on_open)
		call.handler.on_open(call.ctx);
}

static inline bool brings(struct bytes *b)
{
	bool goes_on = true;

	/* In pieces, as it happens. */
	for (size_t at = 0; goes_on && at < b->len; at += 7)
		goes_on = call.handler.on_data(call.ctx, b->data + at, b->len - at < 7 ? b->len - at : 7);
	bytes_done(b);
	return goes_on;
}

static inline void ends_with(const struct kube_answer *answer)
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

static inline void ends_well(void)
{
	ends_with(&(struct kube_answer){ .status = 200 });
}

static inline void breaks(void)
{
	ends_with(&(struct kube_answer){ .error = -ECONNRESET, .text = "the connection broke" });
}

static inline void put_list(struct bytes *b, const char *version, const char *token, const char *const *pods, size_t count)
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

static inline void lists(const char *version, const char *const *pods, size_t count)
{
	struct bytes b = { 0 };

	opens();
	put_list(&b, version, NULL, pods, count);
	assert_true(brings(&b));
	ends_well();
}

static const char *const two_pods[] = { "a", "b" };

/* To the point at which a watch runs from version. */
static inline void to_watch(const char *version)
{
	(void)wait_for_call();
	lists(version, two_pods, 2);
	assert_true(call.is_running);
	opens();
	told[0] = '\0';
}

static inline bool event(const char *type, const char *name, const char *version)
{
	struct bytes b = { 0 }, pod = { 0 };

	put_pod(&pod, name, version, "node1", "10.0.0.1");
	put_event(&b, type, "Pod", &pod);
	return brings(&b);
}

static inline bool bookmark(const char *version)
{
	struct bytes b = { 0 }, object = { 0 }, meta = { 0 };

	put_text(&meta, 6, version);
	put_message(&object, 1, &meta);
	put_event(&b, "BOOKMARK", "Pod", &object);
	return brings(&b);
}

static inline bool error_event(unsigned code, const char *reason)
{
	struct bytes b = { 0 }, object = { 0 };

	put_status(&object, code, reason, "said the server");
	put_event(&b, "ERROR", "Status", &object);
	return brings(&b);
}

static inline struct reflector_state state_now(void)
{
	struct reflector_state s;

	reflector_state(reflector, &s);
	return s;
}

static inline void assert_path(const char *begin)
{
	assert_true(call.is_running);
	if (strncmp(call.path, begin, strlen(begin)) != 0)
		fail_msg("%s does not begin with %s", call.path, begin);
}

static inline void assert_watch_from(const char *version)
{
	char begin[256];

	(void)snprintf(begin, sizeof(begin), "/api/v1/pods?watch=1&allowWatchBookmarks=true&resourceVersion=%s&timeoutSeconds=", version);
	assert_path(begin);
}

static inline void answer_too_large(void)
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

#endif
