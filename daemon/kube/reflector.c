/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/reflector.h"

#include "base/text.h"
#include "kube/backoff.h"
#include "kube/message.h"
#include "kube/split.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	VERSION_BYTES = 128,
	TOKEN_BYTES = 1024, /* a token is a version and the last object's name in base64 */
	QUERY_BYTES = 3 * TOKEN_BYTES + 256,
	PATH_BYTES = QUERY_BYTES + 1024,
	PATH_TEXT_BYTES = 256,
};

/* How long a watch that goes on from an older version must run before it counts: that the version is too old comes as its first event. */
enum { PROOF_MS = 500 };

/* A server that knows less than our version, as after its store was brought back from a copy, takes a watch from it and is silent: what it has
 * to say is older. One silent watch may be the connection's fault; after so many a list asks what the version is worth. */
enum { SILENT_WATCHES = 2 };

/* | state     | entered when                          | waits for                     | leaves to                                     |
 * | WAITING   | at the start, and after every failure | its timer, or new credentials | LISTING, WATCHING                             |
 * | LISTING   | nothing is known, or it is too old    | all pages                     | WATCHING, WAITING                             |
 * | WATCHING  | a version is known from which to go on | events                        | WATCHING (an orderly end), WAITING            | */
enum state { STATE_WAITING, STATE_LISTING, STATE_WATCHING };

/* A watch tells by its place whether it is the one that counts, or the one that is to follow it. */
struct place {
	struct reflector *reflector;
};

struct reflector {
	struct loop *loop;
	struct kube_client *client;
	struct reflector_ops ops;
	void *ctx;
	enum object_kind kind;
	char *path, *selector;
	uint32_t page_items, crowd;

	enum state state;
	struct kube_call *call;
	struct kube_listener listener;
	struct loop_timer timer; /* of STATE_WAITING, and of PROOF_MS */
	struct backoff backoff;
	struct message *message;

	char version[VERSION_BYTES]; /* the newest that is known; "": none */
	bool needs_list;             /* else the watch goes on at version */
	bool needs_store;            /* the cache can not give what is asked for: list from the store, in pages */
	bool is_pages_refused;       /* pages expired while they were read: the next list comes from the cache */
	bool is_after_failure;       /* what is waited for is a new try */
	struct list_split list;
	char list_version[VERSION_BYTES]; /* of the first page */
	char *continue_token;             /* of the next page; NULL: there is none */
	bool is_list_begun;               /* list_began was said, and nothing since the last page failed */
	bool has_nameless;                /* and an object of it could not be told from others: it says of none that it is gone */
	uint64_t list_bytes, last_list_bytes;

	struct watch_split watch;
	bool is_watch_open, is_version_fresh; /* version is of the list that came just now */
	bool is_expired;                      /* the server said so, by a status or an event */
	bool is_server_fault;                 /* it ended the watch by an event, and what is known is still good */
	uint32_t retry_after_ms;              /* said with it */
	struct instant watch_began_at;
	uint32_t watch_s; /* the server was asked to end it after */
	struct place places[2];
	unsigned at;            /* the place of the watch that counts */
	struct kube_call *next; /* seamless: it is to take the place of this one */
	char next_version[VERSION_BYTES];
	bool is_seamless;
	struct loop_timer seam;  /* the next one is to be begun */
	unsigned silent_watches; /* in a row that ended for silence, without so much as a bookmark */

	char fault[KUBE_ERROR_BYTES];  /* why on_data refused */
	struct reflector_state counts; /* what reflector_state gives */
};

static void start_list(struct reflector *r);
static void start_watch(struct reflector *r);

/* ---- State for the status ---- */

static void set_current(struct reflector *r, bool is_current)
{
	if (r->counts.is_current == is_current)
		return;
	r->counts.is_current = is_current;
	r->counts.since_s = (int64_t)time(NULL);
}

static void state_changed(struct reflector *r)
{
	if (r->ops.state_changed)
		r->ops.state_changed(r->ctx, r->kind);
}

static void refused(struct reflector *r, const struct object_meta *m, const char *text)
{
	r->counts.refused++;
	if (r->ops.refused)
		r->ops.refused(r->ctx, r->kind, m, text);
}

/* The watch runs and brings what there is to know. */
static void set_watching(struct reflector *r)
{
	if (r->counts.is_current && r->counts.error[0] == '\0')
		return;
	r->counts.error[0] = '\0';
	r->counts.is_forbidden = false;
	set_current(r, true);
	state_changed(r);
}

/* ---- Waiting ---- */

static void wait_for(struct reflector *r, uint32_t ms)
{
	r->state = STATE_WAITING;
	/* The loop keeps the room of a timer that was set once. */
	(void)loop_timer_set(r->loop, &r->timer, instant_add_ms(loop_now(r->loop), ms));
}

static void go_on(struct reflector *r)
{
	r->is_after_failure = false;
	if (r->needs_list)
		start_list(r);
	else
		start_watch(r);
}

static void timer_expired(struct loop_timer *t)
{
	struct reflector *r = container_of(t, struct reflector, timer);

	if (r->state == STATE_WATCHING)
		set_watching(r);
	else
		go_on(r);
}

static void credentials_changed(struct kube_listener *l)
{
	struct reflector *r = container_of(l, struct reflector, listener);

	if (r->state == STATE_WAITING && r->is_after_failure)
		wait_for(r, backoff_between(&r->backoff, 0, REFLECTOR_START_SPREAD_MS));
}

/* How long to wait before a list that everybody else may be about to make too. */
static uint32_t relist_delay(struct reflector *r)
{
	uint64_t spread = r->last_list_bytes * r->crowd / REFLECTOR_RELIST_BYTES_MS;

	if (spread < REFLECTOR_RELIST_MIN_MS)
		spread = REFLECTOR_RELIST_MIN_MS;
	if (spread > REFLECTOR_RELIST_MAX_MS)
		spread = REFLECTOR_RELIST_MAX_MS;
	return backoff_between(&r->backoff, 0, (uint32_t)spread);
}

static void try_again_after(struct reflector *r, uint32_t ms, bool is_forbidden, const char *text)
{
	(void)snprintf(r->counts.error, sizeof(r->counts.error), "%s", text);
	r->counts.is_forbidden = is_forbidden;
	r->is_after_failure = true;
	set_current(r, false);
	wait_for(r, ms);
	state_changed(r);
}

static void failed(struct reflector *r, const char *text, uint32_t at_least_ms)
{
	try_again_after(r, at_least_ms + backoff_failed(&r->backoff), false, text);
}

/* An answer that is neither a list nor a watch. */
static void failed_status(struct reflector *r, const struct kube_answer *answer)
{
	if (answer->status == 403)
		try_again_after(r, backoff_between(&r->backoff, REFLECTOR_FORBIDDEN_MIN_MS, REFLECTOR_FORBIDDEN_MAX_MS), true,
		                answer->text);
	else
		try_again_after(r, answer->retry_after_ms + backoff_failed(&r->backoff), answer->status == 401, answer->text);
}

/* ---- Requests ---- */

static int ask(struct reflector *r, const char *query, uint32_t silence_ms, const struct kube_handler *handler, void *ctx,
               struct kube_call **ret)
{
	struct kube_request request = { .method = "GET", .silence_ms = silence_ms };
	char path[PATH_BYTES];

	(void)snprintf(path, sizeof(path), "%s?%s%s%s", r->path, r->selector ? r->selector : "", r->selector ? "&" : "", query);
	request.path = path;
	return kube_send(r->client, &request, handler, ctx, ret);
}

static void send_request(struct reflector *r, const char *query, uint32_t silence_ms, const struct kube_handler *handler, void *ctx)
{
	int rc;

	r->fault[0] = '\0';
	rc = ask(r, query, silence_ms, handler, ctx, &r->call);
	if (rc < 0) {
		r->call = NULL;
		failed(r, strerror(-rc), 0);
	}
}

static bool set_version(struct reflector *r, char dst[VERSION_BYTES], const char *version)
{
	if (version[0] == '\0' || strlen(version) >= VERSION_BYTES) {
		(void)snprintf(r->fault, sizeof(r->fault), "a resourceVersion of %zu bytes", strlen(version));
		return false;
	}
	memcpy(dst, version, strlen(version) + 1);
	return true;
}

/* ---- Lists ---- */

static bool list_meta(void *ctx, struct split_span meta)
{
	struct reflector *r = ctx;
	struct message_list_meta m;

	if (message_list_meta(r->message, meta.bytes, meta.len_bytes, &m) < 0) {
		(void)snprintf(r->fault, sizeof(r->fault), "%s", message_error(r->message));
		return false;
	}
	if (!r->continue_token && !set_version(r, r->list_version, m.version))
		return false;
	free(r->continue_token);
	r->continue_token = NULL;
	if (strlen(m.continue_token) >= TOKEN_BYTES) {
		(void)snprintf(r->fault, sizeof(r->fault), "a token of %zu bytes for the next page", strlen(m.continue_token));
		r->is_pages_refused = true;
		return false;
	}
	r->continue_token = m.continue_token[0] ? strdup(m.continue_token) : NULL;
	if (m.continue_token[0] && !r->continue_token) {
		(void)snprintf(r->fault, sizeof(r->fault), "out of memory");
		return false;
	}
	return true;
}

static void list_refused(void *ctx, const char *text)
{
	struct reflector *r = ctx;
	char whole[KUBE_ERROR_BYTES];

	r->has_nameless = true;
	(void)snprintf(whole, sizeof(whole), "%s; its name is not known, so nothing that this list does not have is taken for gone", text);
	refused(r, NULL, whole);
}

static bool list_item(void *ctx, struct split_span bytes)
{
	struct reflector *r = ctx;
	struct object o;

	if (message_object(r->message, r->kind, bytes.bytes, bytes.len_bytes, &o) < 0) {
		struct object_meta meta;
		int rc = message_name(r->message, r->kind, bytes.bytes, bytes.len_bytes, &meta);

		if (rc == -EBADMSG)
			list_refused(r, message_error(r->message));
		else
			refused(r, rc == 0 ? &meta : NULL, message_error(r->message));
		return true;
	}
	r->counts.objects++;
	r->ops.put(r->ctx, &o);
	return true;
}

static const struct list_split_ops list_ops = { list_meta, list_item, list_refused };

static void list_opened(void *ctx)
{
	struct reflector *r = ctx;

	if (r->is_list_begun)
		return;
	r->is_list_begun = true;
	r->has_nameless = false;
	r->counts.objects = 0;
	r->ops.list_began(r->ctx, r->kind);
}

static bool list_data(void *ctx, const void *data, size_t len_bytes)
{
	struct reflector *r = ctx;
	int rc;

	r->counts.bytes += len_bytes;
	r->list_bytes += len_bytes;
	rc = list_split_feed(&r->list, data, len_bytes);
	if (rc == -EBADMSG)
		(void)snprintf(r->fault, sizeof(r->fault), "%s", r->list.error);
	else if (rc == -ENOMEM)
		(void)snprintf(r->fault, sizeof(r->fault), "out of memory");
	return rc == 0;
}

/* The next list begins at its first page. */
static void forget_list(struct reflector *r)
{
	r->is_list_begun = false;
	free(r->continue_token);
	r->continue_token = NULL;
}

static void list_complete(struct reflector *r)
{
	memcpy(r->version, r->list_version, sizeof(r->version));
	r->last_list_bytes = r->list_bytes;
	r->needs_list = r->needs_store = r->is_pages_refused = false;
	r->counts.lists++;
	r->counts.is_synced = true;
	r->counts.is_forbidden = false;
	forget_list(r);
	r->is_version_fresh = true;
	if (!r->has_nameless)
		r->ops.list_ended(r->ctx, r->kind);
	start_watch(r);
}

/* The version that was asked for is of no use: it is too old for the pages (410), or newer than anything that this server knows (504), as
 * after the store was brought back from a copy. */
static bool is_version_refused(struct reflector *r, const struct kube_answer *answer)
{
	struct message_status s;

	if (answer->status == 410)
		return true;
	return answer->status == 504 && message_answer_status(r->message, answer->body, answer->body_bytes, &s) == 0 &&
	       strcmp(s.cause, "ResourceVersionTooLarge") == 0;
}

static void list_done(void *ctx, const struct kube_answer *answer)
{
	struct reflector *r = ctx;
	char text[KUBE_ERROR_BYTES + PATH_TEXT_BYTES];

	r->call = NULL;
	if (answer->error == 0 && answer->status == 200 && list_split_end(&r->list) == 0) {
		list_split_done(&r->list);
		if (r->continue_token)
			start_list(r);
		else
			list_complete(r);
		return;
	}
	if (answer->error == 0 && answer->status == 200)
		(void)snprintf(r->fault, sizeof(r->fault), "%s", r->list.error);
	list_split_done(&r->list);
	if (is_version_refused(r, answer)) {
		r->is_pages_refused = r->continue_token != NULL;
		r->needs_store = !r->is_pages_refused;
		if (r->is_pages_refused)
			memcpy(r->version, r->list_version, sizeof(r->version));
		else
			r->version[0] = '\0';
	}
	forget_list(r);
	if (r->fault[0]) {
		(void)snprintf(text, sizeof(text), "GET %.*s: %s", PATH_TEXT_BYTES - 32, r->path, r->fault);
		failed(r, text, 0);
	} else if (answer->error < 0) {
		failed(r, answer->text, 0);
	} else {
		failed_status(r, answer);
	}
}

static void start_list(struct reflector *r)
{
	static const struct kube_handler handler = { list_opened, list_data, list_done };
	bool is_paged = r->continue_token || r->needs_store || (r->page_items > 0 && !r->is_pages_refused);
	char query[QUERY_BYTES], escaped[3 * TOKEN_BYTES + 1];
	uint32_t items = r->page_items ? r->page_items : REFLECTOR_PAGE_ITEMS;

	r->state = STATE_LISTING;
	if (!r->continue_token)
		r->list_bytes = 0;
	/* With a version and no limit the cache answers, with something that is not older: never back in time. */
	/* Versions and tokens are opaque, so they are escaped like any text. */
	text_percent(is_paged ? (r->continue_token ? r->continue_token : "") : (r->version[0] ? r->version : "0"), escaped,
	             sizeof(escaped));
	if (is_paged)
		(void)snprintf(query, sizeof(query), "limit=%u%s%s", items, r->continue_token ? "&continue=" : "", escaped);
	else
		(void)snprintf(query, sizeof(query), "resourceVersion=%s", escaped);
	list_split_init(&r->list, message_list_name(r->kind), &list_ops, r);
	send_request(r, query, REFLECTOR_LIST_SILENCE_MS, &handler, r);
}

/* ---- Watches ---- */

static bool watch_error(struct reflector *r, const struct split_envelope *object)
{
	struct message_status s;

	if (message_status(r->message, object->object.bytes, object->object.len_bytes, &s) < 0) {
		(void)snprintf(r->fault, sizeof(r->fault), "%s", message_error(r->message));
		return false;
	}
	(void)snprintf(r->fault, sizeof(r->fault), "%d: %s", s.code, s.text[0] ? s.text : s.reason);
	r->is_expired = s.code == 410;
	r->is_server_fault = s.code == 429 || s.code >= 500;
	r->retry_after_ms = s.retry_after_ms;
	return false;
}

/* An object that can not be taken. The watch goes on behind it, if it says where that is. */
static bool watch_untaken(struct reflector *r, enum watch_event type, struct split_span bytes)
{
	struct object_meta meta = { .version = "" };
	int rc = message_name(r->message, r->kind, bytes.bytes, bytes.len_bytes, &meta);

	refused(r, rc == 0 ? &meta : NULL, message_error(r->message));
	if (rc == 0 && type == WATCH_DELETED)
		r->ops.gone(r->ctx, r->kind, &meta);
	return meta.version[0] == '\0' || set_version(r, r->version, meta.version);
}

static bool watch_event(void *ctx, enum watch_event type, const struct split_envelope *e)
{
	struct reflector *r = ctx;
	const char *version;
	struct object o;

	r->counts.events++;
	r->silent_watches = 0;
	if (type == WATCH_ERROR)
		return watch_error(r, e);
	set_watching(r);
	if (!split_span_is(e->kind, message_kind_name(r->kind))) {
		(void)snprintf(r->fault, sizeof(r->fault), "an event of another kind than %s", message_kind_name(r->kind));
		return false;
	}
	if (type == WATCH_BOOKMARK) {
		if (message_version(r->message, e->object.bytes, e->object.len_bytes, &version) == 0)
			return set_version(r, r->version, version);
		(void)snprintf(r->fault, sizeof(r->fault), "a bookmark: %s", message_error(r->message));
		return false;
	}
	if (message_object(r->message, r->kind, e->object.bytes, e->object.len_bytes, &o) < 0)
		return watch_untaken(r, type, e->object);
	if (!set_version(r, r->version, o.meta.version))
		return false;
	if (type == WATCH_DELETED)
		r->ops.gone(r->ctx, r->kind, &o.meta);
	else
		r->ops.put(r->ctx, &o);
	return true;
}

static void watch_refused(void *ctx, const char *text)
{
	refused(ctx, NULL, text);
}

static const struct watch_split_ops watch_ops = { watch_event, watch_refused };

static void seam_later(struct reflector *r, uint64_t ms)
{
	if (r->is_seamless)
		(void)loop_timer_set(r->loop, &r->seam, instant_add_ms(loop_now(r->loop), ms));
}

static void drop_next(struct reflector *r)
{
	kube_cancel(r->next);
	r->next = NULL;
	loop_timer_clear(r->loop, &r->seam);
}

static void watch_began(struct reflector *r)
{
	r->is_watch_open = true;
	r->watch_began_at = loop_now(r->loop);
	seam_later(r, (uint64_t)r->watch_s * 1000 - REFLECTOR_SEAM_MS);
	r->counts.watches++;
	if (r->is_version_fresh)
		set_watching(r);
	else
		(void)loop_timer_set(r->loop, &r->timer, instant_add_ms(loop_now(r->loop), PROOF_MS));
}

/* The next watch is open: it takes over where both are at the same version, so that nothing comes twice, or not at all. */
static void next_opened(struct reflector *r)
{
	if (strcmp(r->next_version, r->version) != 0 || !watch_split_is_between(&r->watch)) {
		drop_next(r);
		seam_later(r, REFLECTOR_SEAM_AGAIN_MS);
		return;
	}
	kube_cancel(r->call);
	r->call = r->next;
	r->next = NULL;
	r->at = !r->at;
	watch_split_done(&r->watch);
	watch_split_init(&r->watch, &watch_ops, r);
	if (instant_elapsed_ns(r->watch_began_at, loop_now(r->loop)) >= REFLECTOR_WATCH_GOOD_MS * NS_PER_MS)
		backoff_good(&r->backoff);
	r->is_version_fresh = false;
	watch_began(r);
}

static bool is_current(const struct place *p)
{
	return p == &p->reflector->places[p->reflector->at];
}

static void watch_opened(void *ctx)
{
	const struct place *p = ctx;

	if (is_current(p))
		watch_began(p->reflector);
	else
		next_opened(p->reflector);
}

static bool watch_data(void *ctx, const void *data, size_t len_bytes)
{
	const struct place *p = ctx;
	struct reflector *r = p->reflector;
	int rc;

	if (!is_current(p))
		return false;
	r->counts.bytes += len_bytes;
	rc = watch_split_feed(&r->watch, data, len_bytes);
	if (rc == -EBADMSG)
		(void)snprintf(r->fault, sizeof(r->fault), "%s", r->watch.error);
	else if (rc == -ENOMEM)
		(void)snprintf(r->fault, sizeof(r->fault), "out of memory");
	return rc == 0;
}

/* The version is too old to go on from. What was known stays until a new list has come whole. */
static void expired(struct reflector *r)
{
	r->needs_list = true;
	failed(r, "the watch fell behind what the API server still knows; listing again", relist_delay(r));
}

static void watch_ended(struct reflector *r, const struct kube_answer *answer)
{
	uint64_t ran_ms = r->is_watch_open ? instant_elapsed_ns(r->watch_began_at, loop_now(r->loop)) / NS_PER_MS : 0;
	bool is_whole = watch_split_is_between(&r->watch);
	char text[KUBE_ERROR_BYTES + PATH_TEXT_BYTES];

	r->call = NULL;
	drop_next(r);
	r->is_version_fresh = false;
	loop_timer_clear(r->loop, &r->timer);
	watch_split_done(&r->watch);
	if (ran_ms >= REFLECTOR_WATCH_GOOD_MS)
		backoff_good(&r->backoff);
	if (r->is_expired || answer->status == 410) {
		expired(r);
	} else if (r->fault[0]) {
		(void)snprintf(text, sizeof(text), "watching %.*s: %s", PATH_TEXT_BYTES - 32, r->path, r->fault);
		/* What can not be understood is missing in what is known. */
		r->needs_list = !r->is_server_fault;
		failed(r, text, r->retry_after_ms);
	} else if (answer->error < 0) {
		if (r->is_watch_open && answer->error == -ETIMEDOUT && ++r->silent_watches >= SILENT_WATCHES) {
			r->silent_watches = 0;
			r->needs_list = true;
		}
		failed(r, answer->text, 0);
	} else if (answer->status != 200) {
		failed_status(r, answer);
	} else if (ran_ms < REFLECTOR_WATCH_SHORT_MS || !is_whole) {
		(void)snprintf(text, sizeof(text), "watching %s: it ended after %llu ms%s", r->path, (unsigned long long)ran_ms,
		               is_whole ? "" : " in the middle of an event");
		failed(r, text, 0);
	} else {
		backoff_good(&r->backoff);
		start_watch(r);
	}
}

static void watch_done(void *ctx, const struct kube_answer *answer)
{
	const struct place *p = ctx;

	if (is_current(p)) {
		watch_ended(p->reflector, answer);
		return;
	}
	/* Refused, or it broke: this one goes on, and says at its end what is so then. */
	p->reflector->next = NULL;
	seam_later(p->reflector, REFLECTOR_SEAM_AGAIN_MS);
}

static const struct kube_handler watch_handler = { watch_opened, watch_data, watch_done };

/* The query of a watch that goes on at version. */
static void query_watch(struct reflector *r, char query[QUERY_BYTES])
{
	char version[3 * VERSION_BYTES + 1];

	text_percent(r->version, version, sizeof(version));
	r->watch_s = backoff_between(&r->backoff, REFLECTOR_WATCH_MIN_S, REFLECTOR_WATCH_MAX_S);
	(void)snprintf(query, QUERY_BYTES, "watch=1&allowWatchBookmarks=true&resourceVersion=%s&timeoutSeconds=%u", version, r->watch_s);
}

static void seam_expired(struct loop_timer *t)
{
	struct reflector *r = container_of(t, struct reflector, seam);
	char query[QUERY_BYTES];

	query_watch(r, query);
	memcpy(r->next_version, r->version, sizeof(r->next_version));
	if (ask(r, query, REFLECTOR_WATCH_SILENCE_MS, &watch_handler, &r->places[!r->at], &r->next) < 0) {
		r->next = NULL;
		seam_later(r, REFLECTOR_SEAM_AGAIN_MS);
	}
}

static void start_watch(struct reflector *r)
{
	char query[QUERY_BYTES];

	r->state = STATE_WATCHING;
	r->is_watch_open = r->is_expired = r->is_server_fault = false;
	r->retry_after_ms = 0;
	query_watch(r, query);
	watch_split_init(&r->watch, &watch_ops, r);
	send_request(r, query, REFLECTOR_WATCH_SILENCE_MS, &watch_handler, &r->places[r->at]);
}

/* ---- What others call ---- */

int reflector_create(struct loop *loop, struct kube_client *client, const struct reflector_settings *s, const struct reflector_ops *ops,
                     void *ctx, struct reflector **ret)
{
	struct reflector *r = calloc(1, sizeof(*r));
	int rc = -ENOMEM;

	if (!r)
		return -ENOMEM;
	r->loop = loop;
	r->client = client;
	r->ops = *ops;
	r->ctx = ctx;
	r->kind = s->kind;
	r->page_items = s->page_items;
	r->crowd = 1;
	r->backoff.random = s->seed;
	r->needs_list = true;
	r->timer.on_expire = timer_expired;
	r->seam.on_expire = seam_expired;
	r->is_seamless = s->is_seamless;
	r->places[0].reflector = r->places[1].reflector = r;
	r->listener.credentials_changed = credentials_changed;
	list_init(&r->listener.link);
	r->counts.since_s = (int64_t)time(NULL);
	r->path = strdup(s->path);
	r->selector = s->selector ? strdup(s->selector) : NULL;
	if (!r->path || (s->selector && !r->selector) || message_create(&r->message) < 0)
		goto undo;
	rc = loop_timer_set(loop, &r->timer, instant_add_ms(loop_now(loop), backoff_between(&r->backoff, 0, REFLECTOR_START_SPREAD_MS)));
	if (rc < 0)
		goto undo;
	kube_client_listen(client, &r->listener);
	*ret = r;
	return 0;
undo:
	reflector_destroy(r);
	return rc;
}

void reflector_destroy(struct reflector *r)
{
	if (!r)
		return;
	kube_cancel(r->call);
	drop_next(r);
	if (list_is_linked(&r->listener.link))
		kube_client_unlisten(&r->listener);
	loop_timer_clear(r->loop, &r->timer);
	list_split_done(&r->list);
	watch_split_done(&r->watch);
	free(r->continue_token);
	message_destroy(r->message);
	free(r->path);
	free(r->selector);
	free(r);
}

void reflector_set_crowd(struct reflector *r, uint32_t daemons)
{
	r->crowd = daemons > 0 ? daemons : 1;
}

void reflector_state(const struct reflector *r, struct reflector_state *ret)
{
	*ret = r->counts;
}
