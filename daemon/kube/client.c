/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/client.h"

#include "base/text.h"
#include "kube/credentials.h"
#include "kube/drive.h"
#include "kube/easy.h"
#include "kube/message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)KUBE_ERROR_BYTES == (int)CREDENTIALS_ERROR_BYTES, "one buffer serves both");

enum {
	CREDENTIALS_LOOK_MS = 10000, /* how often the files are looked at where no call does it */
};

static const char protobuf[] = "application/vnd.kubernetes.protobuf";

struct kube_client {
	struct loop *loop;
	struct drive drive;
	struct credentials *credentials;
	struct message *message; /* reads the Status of failures */
	char *user_agent;
	struct loop_timer credentials_timer;
	struct list calls;     /* all of them */
	struct list listeners; /* struct kube_listener */
	bool has_news;         /* the credentials are others, and the listeners have not been told */
};

struct kube_call {
	struct list link;
	struct kube_client *client;
	enum { CALL_QUEUED, CALL_RUNNING, CALL_OVER } state;
	bool is_cancelled, is_opened, is_stopped, is_too_long, has_retried;
	char *method, *path, *content_type, *accept;
	void *sent;
	size_t sent_bytes, answer_max;
	uint32_t timeout_ms, silence_ms;
	struct kube_handler handler;
	void *ctx;
	struct easy easy; /* while CALL_RUNNING */
	struct body body; /* what came of an answer that is collected */
	struct loop_timer silence;
	struct instant heard_at;
};

/* ---- One call ---- */

/* An answer may be a Secret, so it is kept in what is wiped. */
static bool collect(struct kube_call *call, const void *bytes, size_t len_bytes)
{
	body_append(&call->body, bytes, len_bytes);
	return !call->body.is_broken;
}

static bool is_good(unsigned status)
{
	return status >= 200 && status <= 299;
}

static size_t header_came(char *bytes, size_t size, size_t count, void *ctx)
{
	struct kube_call *call = ctx;
	size_t len = size * count;

	call->heard_at = loop_now(call->client->loop);
	/* The line without anything ends the headers; those behind a body have one too. */
	if (len > 2 || bytes[0] != '\r' || call->is_opened || call->is_cancelled || !is_good(easy_status(&call->easy)))
		return len;
	call->is_opened = true;
	if (call->handler.on_open)
		call->handler.on_open(call->ctx);
	return len;
}

static size_t data_came(char *bytes, size_t size, size_t count, void *ctx)
{
	struct kube_call *call = ctx;
	size_t len = size * count, take = len;
	bool has_come;

	call->heard_at = loop_now(call->client->loop);
	if (call->is_cancelled)
		return 0;
	if (!is_good(easy_status(&call->easy))) {
		if (take > KUBE_ERROR_BODY_BYTES - call->body.len_bytes)
			take = KUBE_ERROR_BODY_BYTES - call->body.len_bytes;
		return collect(call, bytes, take) ? len : 0;
	}
	if (call->handler.on_data) {
		has_come = call->handler.on_data(call->ctx, bytes, len);
		call->is_stopped = !has_come;
		return has_come ? len : 0;
	}
	call->is_too_long = len > call->answer_max - call->body.len_bytes;
	return !call->is_too_long && collect(call, bytes, len) ? len : 0;
}

/* What libcurl holds of a call goes; it may begin again. */
static void detach(struct kube_call *call)
{
	loop_timer_clear(call->client->loop, &call->silence);
	if (call->state != CALL_RUNNING)
		return;
	(void)curl_multi_remove_handle(call->client->drive.multi, call->easy.handle);
	easy_done(&call->easy);
	call->state = CALL_QUEUED;
}

static void call_destroy(struct kube_call *call)
{
	if (!call)
		return;
	detach(call);
	list_remove(&call->link);
	body_done(&call->body);
	if (call->sent)
		explicit_bzero(call->sent, call->sent_bytes);
	free(call->sent);
	free(call->method);
	free(call->path);
	free(call->content_type);
	free(call->accept);
	free(call);
}

/* Hands the call to libcurl. */
static int start(struct kube_call *call)
{
	const struct easy_request r = { .method = call->method,
		                        .path = call->path,
		                        .accept = call->accept,
		                        .user_agent = call->client->user_agent,
		                        .content_type = call->content_type,
		                        .body = call->sent,
		                        .body_bytes = call->sent_bytes,
		                        .timeout_ms = call->timeout_ms };
	struct kube_client *c = call->client;
	CURL *h;
	int rc = easy_init(&call->easy, &r, credentials_get(c->credentials));

	if (rc < 0)
		return rc;
	h = call->easy.handle;
	drive_own_sockets(&c->drive, h);
	(void)curl_easy_setopt(h, CURLOPT_PRIVATE, call);
	(void)curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, header_came);
	(void)curl_easy_setopt(h, CURLOPT_HEADERDATA, call);
	(void)curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, data_came);
	(void)curl_easy_setopt(h, CURLOPT_WRITEDATA, call);
	if (curl_multi_add_handle(c->drive.multi, h) != CURLM_OK) {
		easy_done(&call->easy);
		return -ENOMEM;
	}
	call->state = CALL_RUNNING;
	call->heard_at = loop_now(c->loop);
	if (call->silence_ms > 0)
		return loop_timer_set(c->loop, &call->silence, instant_add_ms(call->heard_at, call->silence_ms));
	return 0;
}

/* ---- How a call ends ---- */

/* The API's own sentence, or what an answer that has none says in its first line. */
static void say_status(struct kube_call *call, unsigned status, char *text, size_t size, uint32_t *ret_retry_after_ms)
{
	char line[160], quoted[TEXT_QUOTE_BYTES];
	struct message_status s;

	if (message_answer_status(call->client->message, call->body.text ? call->body.text : "", call->body.len_bytes, &s) == 0) {
		(void)snprintf(text, size, "%u: %s", status, s.text[0] ? s.text : s.reason);
		*ret_retry_after_ms = s.retry_after_ms;
		return;
	}
	(void)snprintf(line, sizeof(line), "%.*s", call->body.text ? (int)strcspn(call->body.text, "\r\n") : 0,
	               call->body.text ? call->body.text : "");
	(void)snprintf(text, size, "%u%s%s", status, line[0] ? ": " : "", line[0] ? text_quote(line, quoted) : "");
}

/* Tells the owner, and the call is gone. */
static void end(struct kube_call *call, struct kube_answer *answer, const char *text)
{
	char sentence[KUBE_ERROR_BYTES];

	(void)snprintf(sentence, sizeof(sentence), "%s %.*s: %s", call->method, (int)strcspn(call->path, "?"), call->path, text);
	answer->text = sentence;
	answer->body = call->body.text ? call->body.text : "";
	answer->body_bytes = call->body.len_bytes;
	detach(call);
	call->state = CALL_OVER;
	call->handler.on_done(call->ctx, answer);
	call_destroy(call);
}

static void tell_listeners(struct kube_client *c)
{
	if (!c->has_news)
		return;
	c->has_news = false;
	list_for_each_safe(link, &c->listeners) {
		struct kube_listener *l = container_of(link, struct kube_listener, link);

		l->credentials_changed(l);
	}
}

/* Who is told may send and cancel, so it happens from the timer and never in the middle of a call. */
static void look_at_credentials(struct kube_client *c, bool is_forced)
{
	if (!credentials_refresh(c->credentials, is_forced, loop_now(c->loop)))
		return;
	c->has_news = true;
	(void)loop_timer_set(c->loop, &c->credentials_timer, loop_now(c->loop));
}

static void finish(struct kube_call *call, CURLcode result)
{
	struct kube_client *c = call->client;
	struct kube_answer answer = { .error = easy_error(&call->easy, result) };
	char text[KUBE_ERROR_BYTES] = "";
	int rc;

	if (answer.error == -ETIMEDOUT && call->timeout_ms > 0)
		drive_shut_silent(&c->drive, call->easy.handle, call->timeout_ms);
	if (answer.error == 0)
		answer.status = easy_status(&call->easy);
	if (answer.status == 401 && !call->has_retried) {
		call->has_retried = true;
		detach(call);
		body_done(&call->body);
		look_at_credentials(c, true);
		rc = start(call);
		if (rc < 0)
			end(call, &(struct kube_answer){ .error = rc }, strerror(-rc));
		return;
	}
	if (call->is_stopped) {
		answer.error = -ECANCELED;
		(void)snprintf(text, sizeof(text), "the answer was not taken");
	} else if (call->is_too_long) {
		answer.error = -EMSGSIZE;
		(void)snprintf(text, sizeof(text), "the answer has more than %zu bytes", call->answer_max);
	} else if (answer.error < 0) {
		easy_say(&call->easy, result, credentials_get(c->credentials)->server, text, sizeof(text));
	} else if (is_good(answer.status)) {
		(void)snprintf(text, sizeof(text), "%u", answer.status);
	} else {
		say_status(call, answer.status, text, sizeof(text), &answer.retry_after_ms);
		if (easy_retry_after_ms(&call->easy) > 0)
			answer.retry_after_ms = easy_retry_after_ms(&call->easy);
	}
	end(call, &answer, text);
}

/* What the callbacks inside libcurl left to be done: ends, cancellations, calls to begin. Callbacks of ends may bring more. */
static void settle(struct drive *d)
{
	struct kube_client *c = container_of(d, struct kube_client, drive);
	struct kube_call *call;
	bool is_changed = true;
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(d->multi, &left))) {
		CURLcode result = m->data.result;

		if (m->msg != CURLMSG_DONE || curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&call) != CURLE_OK)
			continue;
		if (call->is_cancelled)
			call_destroy(call);
		else
			finish(call, result);
	}
	/* A callback may change the list anywhere, so it is read from its begin again after each. */
	while (is_changed) {
		is_changed = false;
		list_for_each(link, &c->calls) {
			int rc;

			call = container_of(link, struct kube_call, link);
			if (call->is_cancelled && call->state != CALL_OVER) {
				call_destroy(call);
				is_changed = true;
				break;
			}
			if (call->state != CALL_QUEUED)
				continue;
			rc = start(call);
			is_changed = true;
			if (rc < 0)
				end(call, &(struct kube_answer){ .error = rc }, strerror(-rc));
			break;
		}
	}
}

static void silence_expired(struct loop_timer *t)
{
	struct kube_call *call = container_of(t, struct kube_call, silence);
	struct kube_client *c = call->client;
	struct instant deadline = instant_add_ms(call->heard_at, call->silence_ms);
	char text[128];

	if (instant_before(loop_now(c->loop), deadline)) {
		if (loop_timer_set(c->loop, t, deadline) == 0)
			return;
	}
	drive_shut_silent(&c->drive, call->easy.handle, call->silence_ms);
	(void)snprintf(text, sizeof(text), "nothing came for %u ms", call->silence_ms);
	end(call, &(struct kube_answer){ .error = -ETIMEDOUT }, text);
}

/* ---- What others call ---- */

static void credentials_timer_expired(struct loop_timer *t)
{
	struct kube_client *c = container_of(t, struct kube_client, credentials_timer);

	(void)loop_timer_set(c->loop, t, instant_add_ms(loop_now(c->loop), CREDENTIALS_LOOK_MS));
	if (!c->has_news)
		look_at_credentials(c, false);
	tell_listeners(c);
}

int kube_client_create(struct loop *loop, const struct kube_client_settings *s, struct kube_client **ret, char error[KUBE_ERROR_BYTES])
{
	struct kube_client *c = calloc(1, sizeof(*c));
	int rc = -ENOMEM;

	(void)snprintf(error, KUBE_ERROR_BYTES, "out of memory");
	if (!c)
		return -ENOMEM;
	c->loop = loop;
	list_init(&c->calls);
	list_init(&c->listeners);
	c->credentials_timer.on_expire = credentials_timer_expired;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		free(c);
		return -ENOMEM;
	}
	c->user_agent = strdup(s->user_agent ? s->user_agent : "culvert");
	if (!c->user_agent || message_create(&c->message) < 0 || drive_init(&c->drive, loop, settle) < 0)
		goto undo;
	rc = credentials_create(s->kubeconfig, s->service_account_directory, loop_now(loop), &c->credentials, error);
	if (rc < 0)
		goto undo;
	rc = loop_timer_set(loop, &c->credentials_timer, instant_add_ms(loop_now(loop), CREDENTIALS_LOOK_MS));
	if (rc < 0)
		goto undo;
	error[0] = '\0';
	*ret = c;
	return 0;
undo:
	kube_client_destroy(c);
	return rc;
}

void kube_client_destroy(struct kube_client *c)
{
	if (!c)
		return;
	while (!list_is_empty(&c->calls))
		call_destroy(container_of(c->calls.next, struct kube_call, link));
	while (!list_is_empty(&c->listeners))
		(void)list_pop(&c->listeners);
	drive_done(&c->drive);
	loop_timer_clear(c->loop, &c->credentials_timer);
	credentials_destroy(c->credentials);
	message_destroy(c->message);
	free(c->user_agent);
	free(c);
	curl_global_cleanup();
}

const char *kube_client_namespace(const struct kube_client *c)
{
	const char *name_space = credentials_get(c->credentials)->name_space;

	return name_space ? name_space : "";
}

const char *kube_client_credentials_error(const struct kube_client *c)
{
	return credentials_error(c->credentials);
}

void kube_client_listen(struct kube_client *c, struct kube_listener *l)
{
	list_append(&c->listeners, &l->link);
}

void kube_client_unlisten(struct kube_listener *l)
{
	list_remove(&l->link);
}

static bool copy_text(char **ret, const char *text)
{
	if (!text)
		return true;
	*ret = strdup(text);
	return *ret != NULL;
}

int kube_send(struct kube_client *c, const struct kube_request *r, const struct kube_handler *h, void *ctx, struct kube_call **ret)
{
	struct kube_call *call = calloc(1, sizeof(*call));
	int rc = -ENOMEM;

	if (!call)
		return -ENOMEM;
	list_init(&call->link);
	call->client = c;
	call->handler = *h;
	call->ctx = ctx;
	call->timeout_ms = r->timeout_ms;
	call->silence_ms = r->silence_ms;
	call->answer_max = r->answer_max ? r->answer_max : KUBE_ANSWER_MAX_BYTES;
	call->silence.on_expire = silence_expired;
	if (!copy_text(&call->method, r->method) || !copy_text(&call->path, r->path) || !copy_text(&call->content_type, r->content_type) ||
	    !copy_text(&call->accept, r->accept ? r->accept : protobuf))
		goto undo;
	if (r->body) {
		call->sent = malloc(r->body_bytes + 1);
		if (!call->sent)
			goto undo;
		memcpy(call->sent, r->body, r->body_bytes);
		call->sent_bytes = r->body_bytes;
	}
	if (!c->drive.is_inside) {
		look_at_credentials(c, false);
		rc = start(call);
		if (rc < 0)
			goto undo;
	}
	list_append(&c->calls, &call->link);
	*ret = call;
	return 0;
undo:
	call_destroy(call);
	return rc;
}

int kube_send_body(struct kube_client *c, const struct kube_request *r, struct body *b, const struct kube_handler *h, void *ctx,
                   struct kube_call **ret)
{
	struct kube_request request = *r;
	int rc;

	request.body = b ? b->text : NULL;
	request.body_bytes = b ? b->len_bytes : 0;
	rc = b && b->is_broken ? -ENOMEM : kube_send(c, &request, h, ctx, ret);
	if (b)
		body_done(b);
	return rc;
}

void kube_cancel(struct kube_call *call)
{
	if (!call || call->state == CALL_OVER)
		return;
	call->is_cancelled = true;
	/* Inside libcurl it goes as soon as libcurl has returned. */
	if (!call->client->drive.is_inside)
		call_destroy(call);
}
