/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/client.h"

#include "base/text.h"
#include "kube/credentials.h"
#include "kube/message.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

_Static_assert((int)KUBE_ERROR_BYTES == (int)CREDENTIALS_ERROR_BYTES, "one buffer serves both");

enum {
	CONNECT_TIMEOUT_MS = 10000,
	CREDENTIALS_LOOK_MS = 10000, /* how often the files are looked at where no call does it */
	/* A connection whose other end is gone is found after a minute: probes after 30 s of silence, and nothing may stay unacknowledged for
	 * longer than that. */
	KEEPALIVE_IDLE_S = 30,
	KEEPALIVE_INTERVAL_S = 10,
	USER_TIMEOUT_MS = 30000,
	RECEIVE_BYTES = 64 << 10,
	RETRY_AFTER_MAX_S = 3600,
	BODY_FIRST_BYTES = 4 << 10,
};

static const char protobuf[] = "application/vnd.kubernetes.protobuf";

struct kube_client {
	struct loop *loop;
	CURLM *multi;
	struct credentials *credentials;
	struct message *message; /* reads the Status of failures */
	char *user_agent;
	struct loop_timer curl_timer, credentials_timer;
	struct list calls;     /* all of them */
	struct list sockets;   /* all that libcurl has open */
	struct list listeners; /* struct kube_listener */
	/* libcurl is being run: its handles must not be added or removed until it has returned. */
	bool is_inside;
	bool has_news; /* the credentials are others, and the listeners have not been told */
};

/* A connection's descriptor; the loop's source exists where libcurl waits for it. */
struct connection {
	struct list link;
	int fd;
};

struct watched_socket {
	struct loop_source source;
	struct loop_garbage garbage;
	struct kube_client *client;
};

struct body {
	char *bytes; /* with a NUL that is not counted */
	size_t len, cap;
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
	CURL *easy;
	struct curl_slist *headers, *connect_to;
	struct body body;
	struct loop_timer silence;
	struct instant heard_at;
	char curl_error[CURL_ERROR_SIZE];
};

static void settle(struct kube_client *c);

/* ---- libcurl's descriptors and timer on our loop ---- */

/* Runs libcurl for a descriptor that is ready, or for its timer. */
static void run_curl(struct kube_client *c, curl_socket_t fd, int ready)
{
	int running;

	c->is_inside = true;
	(void)curl_multi_socket_action(c->multi, fd, ready, &running);
	c->is_inside = false;
	settle(c);
}

static void socket_ready(struct loop_source *src, uint32_t events)
{
	struct watched_socket *w = container_of(src, struct watched_socket, source);
	int ready = 0;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		ready |= CURL_CSELECT_IN;
	if (events & (EPOLLOUT | EPOLLERR))
		ready |= CURL_CSELECT_OUT;
	run_curl(w->client, src->fd, ready);
}

static void free_watched(struct loop_garbage *g)
{
	free(container_of(g, struct watched_socket, garbage));
}

static int socket_wanted(CURL *easy, curl_socket_t fd, int what, void *ctx, void *assigned)
{
	struct watched_socket *w = assigned;
	struct kube_client *c = ctx;
	uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (!w)
			return 0;
		(void)curl_multi_assign(c->multi, fd, NULL);
		loop_remove(c->loop, &w->source);
		w->garbage.free_fn = free_watched;
		loop_free_later(c->loop, &w->garbage);
		return 0;
	}
	if (w)
		return loop_modify(c->loop, &w->source, events);
	w = calloc(1, sizeof(*w));
	if (!w)
		return -1;
	*w = (struct watched_socket){ .source = { .fd = fd, .on_event = socket_ready }, .client = c };
	if (loop_add(c->loop, &w->source, events) < 0) {
		free(w);
		return -1;
	}
	(void)curl_multi_assign(c->multi, fd, w);
	return 0;
}

static int timer_wanted(CURLM *multi, long timeout_ms, void *ctx)
{
	struct kube_client *c = ctx;

	(void)multi;
	if (timeout_ms < 0)
		loop_timer_clear(c->loop, &c->curl_timer);
	else if (loop_timer_set(c->loop, &c->curl_timer, instant_add_ms(loop_now(c->loop), (uint64_t)timeout_ms)) < 0)
		return -1;
	return 0;
}

static void curl_timer_expired(struct loop_timer *t)
{
	struct kube_client *c = container_of(t, struct kube_client, curl_timer);
	long left_ms = -1;

	run_curl(c, CURL_SOCKET_TIMEOUT, 0);
	/* Our clock is that of the batch's begin, so the timer may come a little early, and libcurl does not ask for the same time twice. */
	if (t->heap_index == 0 && curl_multi_timeout(c->multi, &left_ms) == CURLM_OK && left_ms >= 0)
		(void)timer_wanted(c->multi, left_ms > 0 ? left_ms : 1, c);
}

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
	const int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S;
	const unsigned user_timeout = USER_TIMEOUT_MS;
	struct kube_client *c = ctx;
	struct connection *n = malloc(sizeof(*n));

	if (!n || purpose != CURLSOCKTYPE_IPCXN) {
		free(n);
		return CURL_SOCKET_BAD;
	}
	n->fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
	if (n->fd < 0) {
		free(n);
		return CURL_SOCKET_BAD;
	}
	/* Where the kernel does not have one of them, the limit of silence remains. */
	(void)setsockopt(n->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(n->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(n->fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	(void)setsockopt(n->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof(user_timeout));
	list_append(&c->sockets, &n->link);
	return n->fd;
}

static int close_socket(void *ctx, curl_socket_t fd)
{
	struct kube_client *c = ctx;

	list_for_each_safe(link, &c->sockets) {
		struct connection *n = container_of(link, struct connection, link);

		if (n->fd == fd) {
			list_remove(link);
			free(n);
		}
	}
	return close(fd);
}

/* A call that heard nothing ends, but its HTTP/2 connection would stay, and new calls would join it. Connections that brought nothing for as
 * long are shut, so that all their calls fail at once and begin anew. */
static void shut_silent_sockets(struct kube_client *c, uint32_t silence_ms)
{
	list_for_each(link, &c->sockets) {
		struct connection *n = container_of(link, struct connection, link);
		struct tcp_info info = { 0 };
		socklen_t len = sizeof(info);

		if (getsockopt(n->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_last_data_recv >= silence_ms)
			(void)shutdown(n->fd, SHUT_RDWR);
	}
}

/* ---- One call ---- */

static void body_done(struct body *b)
{
	/* It may have been a Secret. */
	if (b->bytes)
		explicit_bzero(b->bytes, b->len);
	free(b->bytes);
	*b = (struct body){ 0 };
}

static int body_append(struct body *b, const void *bytes, size_t len_bytes)
{
	if (b->len + len_bytes + 1 > b->cap) {
		size_t cap = b->cap ? b->cap : BODY_FIRST_BYTES;
		char *bigger;

		while (cap < b->len + len_bytes + 1)
			cap *= 2;
		bigger = malloc(cap);
		if (!bigger)
			return -ENOMEM;
		if (b->bytes) {
			memcpy(bigger, b->bytes, b->len);
			explicit_bzero(b->bytes, b->len);
			free(b->bytes);
		}
		b->bytes = bigger;
		b->cap = cap;
	}
	memcpy(b->bytes + b->len, bytes, len_bytes);
	b->len += len_bytes;
	b->bytes[b->len] = '\0';
	return 0;
}

static unsigned call_status(const struct kube_call *call)
{
	long status = 0;

	(void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	return status > 0 ? (unsigned)status : 0;
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
	if (len > 2 || bytes[0] != '\r' || call->is_opened || call->is_cancelled || !is_good(call_status(call)))
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
	if (!is_good(call_status(call))) {
		if (take > KUBE_ERROR_BODY_BYTES - call->body.len)
			take = KUBE_ERROR_BODY_BYTES - call->body.len;
		return body_append(&call->body, bytes, take) == 0 ? len : 0;
	}
	if (call->handler.on_data) {
		has_come = call->handler.on_data(call->ctx, bytes, len);
		call->is_stopped = !has_come;
		return has_come ? len : 0;
	}
	call->is_too_long = len > call->answer_max - call->body.len;
	return !call->is_too_long && body_append(&call->body, bytes, len) == 0 ? len : 0;
}

static void set_blob(CURL *easy, CURLoption option, const struct secret *s)
{
	struct curl_blob blob = { .data = s->bytes, .len = s->len_bytes, .flags = CURL_BLOB_COPY };

	(void)curl_easy_setopt(easy, option, &blob);
}

static bool add_header(struct kube_call *call, const char *name, const char *value)
{
	struct curl_slist *longer;
	char *line;

	if (asprintf(&line, "%s: %s", name, value) < 0)
		return false;
	longer = curl_slist_append(call->headers, line);
	explicit_bzero(line, strlen(line));
	free(line);
	if (longer)
		call->headers = longer;
	return longer != NULL;
}

/* The URL, and where to connect where the certificate has another name than the server's address. */
static int set_address(struct kube_call *call, const struct kubeconfig *k)
{
	const char *host = strstr(k->server, "://") + 3, *rest = host + strcspn(host, "/"), *port;
	char *url = NULL, *to = NULL;
	int rc = -ENOMEM;

	if (!k->tls_name) {
		if (asprintf(&url, "%s%s", k->server, call->path) < 0)
			return -ENOMEM;
	} else {
		const char *bracket = memchr(host, ']', (size_t)(rest - host));

		port = memchr(bracket ? bracket : host, ':', (size_t)(rest - (bracket ? bracket : host)));
		if (!port)
			port = rest;
		if (asprintf(&url, "https://%s%.*s%s%s", k->tls_name, (int)(rest - port), port, rest, call->path) < 0)
			return -ENOMEM;
		if (asprintf(&to, "::%.*s%s", (int)(rest - host), host, port == rest ? ":443" : "") < 0) {
			free(url);
			return -ENOMEM;
		}
		call->connect_to = curl_slist_append(NULL, to);
	}
	if ((!to || call->connect_to) && curl_easy_setopt(call->easy, CURLOPT_URL, url) == CURLE_OK)
		rc = 0;
	if (rc == 0 && to)
		(void)curl_easy_setopt(call->easy, CURLOPT_CONNECT_TO, call->connect_to);
	free(url);
	free(to);
	return rc;
}

static void set_credentials(struct kube_call *call, const struct kubeconfig *k)
{
	if (k->authority.bytes) {
		set_blob(call->easy, CURLOPT_CAINFO_BLOB, &k->authority);
		/* Else the system's authorities would be good too. */
		(void)curl_easy_setopt(call->easy, CURLOPT_CAPATH, NULL);
	}
	if (k->certificate.bytes) {
		(void)curl_easy_setopt(call->easy, CURLOPT_SSLCERTTYPE, "PEM");
		(void)curl_easy_setopt(call->easy, CURLOPT_SSLKEYTYPE, "PEM");
		set_blob(call->easy, CURLOPT_SSLCERT_BLOB, &k->certificate);
		set_blob(call->easy, CURLOPT_SSLKEY_BLOB, &k->key);
	}
}

static int set_headers(struct kube_call *call, const struct kubeconfig *k)
{
	char *bearer;
	bool is_set;

	if (!add_header(call, "Accept", call->accept))
		return -ENOMEM;
	if (call->content_type && !add_header(call, "Content-Type", call->content_type))
		return -ENOMEM;
	/* No asking for leave before a body is sent. */
	if (call->sent && !add_header(call, "Expect", ""))
		return -ENOMEM;
	if (!k->token.bytes)
		return 0;
	if (asprintf(&bearer, "Bearer %s", k->token.bytes) < 0)
		return -ENOMEM;
	is_set = add_header(call, "Authorization", bearer);
	explicit_bzero(bearer, strlen(bearer));
	free(bearer);
	return is_set ? 0 : -ENOMEM;
}

static void wipe_headers(struct kube_call *call)
{
	for (struct curl_slist *h = call->headers; h; h = h->next)
		explicit_bzero(h->data, strlen(h->data));
	curl_slist_free_all(call->headers);
	curl_slist_free_all(call->connect_to);
	call->headers = call->connect_to = NULL;
}

static int prepare(struct kube_call *call)
{
	const struct kubeconfig *k = credentials_get(call->client->credentials);
	CURL *e;
	int rc;

	call->easy = e = curl_easy_init();
	if (!e)
		return -ENOMEM;
	rc = set_address(call, k);
	if (rc == 0)
		rc = set_headers(call, k);
	if (rc < 0)
		return rc;
	set_credentials(call, k);
	call->curl_error[0] = '\0';
	(void)curl_easy_setopt(e, CURLOPT_PRIVATE, call);
	(void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, call->curl_error);
	(void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(e, CURLOPT_NOPROGRESS, 1L);
	(void)curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "https,http");
	/* The API server is reached directly, whatever the environment says for others. */
	(void)curl_easy_setopt(e, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(e, CURLOPT_USERAGENT, call->client->user_agent);
	(void)curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	(void)curl_easy_setopt(e, CURLOPT_PIPEWAIT, 1L);
	(void)curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	(void)curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
	(void)curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
	(void)curl_easy_setopt(e, CURLOPT_BUFFERSIZE, (long)RECEIVE_BYTES);
	/* A name that is still being looked up must not hold who gives up waiting for it. */
	(void)curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
	(void)curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	(void)curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, call->client);
	(void)curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	(void)curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, call->client);
	(void)curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, header_came);
	(void)curl_easy_setopt(e, CURLOPT_HEADERDATA, call);
	(void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, data_came);
	(void)curl_easy_setopt(e, CURLOPT_WRITEDATA, call);
	if (call->sent) {
		(void)curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->sent_bytes);
		(void)curl_easy_setopt(e, CURLOPT_POSTFIELDS, call->sent);
	}
	(void)curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, call->method);
	(void)curl_easy_setopt(e, CURLOPT_HTTPHEADER, call->headers);
	return 0;
}

/* What libcurl holds of a call goes; it may begin again. */
static void detach(struct kube_call *call)
{
	loop_timer_clear(call->client->loop, &call->silence);
	if (call->easy) {
		if (call->state == CALL_RUNNING)
			(void)curl_multi_remove_handle(call->client->multi, call->easy);
		curl_easy_cleanup(call->easy);
	}
	call->easy = NULL;
	wipe_headers(call);
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
	struct kube_client *c = call->client;
	int rc = prepare(call);

	if (rc < 0)
		return rc;
	if (curl_multi_add_handle(c->multi, call->easy) != CURLM_OK)
		return -ENOMEM;
	call->state = CALL_RUNNING;
	call->heard_at = loop_now(c->loop);
	if (call->silence_ms > 0)
		return loop_timer_set(c->loop, &call->silence, instant_add_ms(call->heard_at, call->silence_ms));
	return 0;
}

/* ---- How a call ends ---- */

/* The server's certificate was not good: by libcurl's word, or by OpenSSL's where that tripped over it in another way. */
static bool is_not_verified(const struct kube_call *call, CURLcode result)
{
	long verdict = 0;

	if (result == CURLE_PEER_FAILED_VERIFICATION)
		return true;
	return result == CURLE_SSL_CONNECT_ERROR && curl_easy_getinfo(call->easy, CURLINFO_SSL_VERIFYRESULT, &verdict) == CURLE_OK &&
	       verdict != 0;
}

static int error_of(const struct kube_call *call, CURLcode result)
{
	long os = 0;

	if (call->is_stopped)
		return -ECANCELED;
	if (call->is_too_long)
		return -EMSGSIZE;
	if (is_not_verified(call, result))
		return -EKEYREJECTED;
	switch (result) {
	case CURLE_OK:
		return 0;
	case CURLE_COULDNT_RESOLVE_HOST:
		return -EHOSTUNREACH;
	case CURLE_COULDNT_CONNECT:
		(void)curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &os);
		return os > 0 && os < 4096 ? -(int)os : -ECONNREFUSED;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
		return -EKEYREJECTED;
	case CURLE_OUT_OF_MEMORY:
	case CURLE_WRITE_ERROR: /* what else it may mean stands above */
		return -ENOMEM;
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
	case CURLE_SSL_CONNECT_ERROR:
		return -ECONNRESET;
	default:
		return -EIO;
	}
}

/* The API's own sentence, or what an answer that has none says in its first line. */
static void say_status(struct kube_call *call, unsigned status, char *text, size_t size, uint32_t *ret_retry_after_ms)
{
	char line[160], quoted[TEXT_QUOTE_BYTES];
	struct message_status s;

	if (message_answer_status(call->client->message, call->body.bytes ? call->body.bytes : "", call->body.len, &s) == 0) {
		(void)snprintf(text, size, "%u: %s", status, s.text[0] ? s.text : s.reason);
		*ret_retry_after_ms = s.retry_after_ms;
		return;
	}
	(void)snprintf(line, sizeof(line), "%.*s", call->body.bytes ? (int)strcspn(call->body.bytes, "\r\n") : 0,
	               call->body.bytes ? call->body.bytes : "");
	(void)snprintf(text, size, "%u%s%s", status, line[0] ? ": " : "", line[0] ? text_quote(line, quoted) : "");
}

static void say_error(const struct kube_call *call, CURLcode result, char *text, size_t size)
{
	const char *server = credentials_get(call->client->credentials)->server;
	const char *why = call->curl_error[0] ? call->curl_error : curl_easy_strerror(result);

	if (call->is_too_long)
		(void)snprintf(text, size, "the answer has more than %zu bytes", call->answer_max);
	else if (call->is_stopped)
		(void)snprintf(text, size, "the answer was not taken");
	else if (is_not_verified(call, result))
		(void)snprintf(text, size, "%s: its certificate is not good for us; is the certificate authority the right one? (%s)",
		               server, why);
	else if (error_of(call, result) == -ECONNRESET)
		(void)snprintf(text, size, "%s: the connection broke off (%s)", server, why);
	else
		(void)snprintf(text, size, "%s: %s", server, why);
}

/* Tells the owner, and the call is gone. */
static void end(struct kube_call *call, struct kube_answer *answer, const char *text)
{
	char sentence[KUBE_ERROR_BYTES];

	(void)snprintf(sentence, sizeof(sentence), "%s %.*s: %s", call->method, (int)strcspn(call->path, "?"), call->path, text);
	answer->text = sentence;
	answer->body = call->body.bytes ? call->body.bytes : "";
	answer->body_bytes = call->body.len;
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
	struct kube_answer answer = { .error = error_of(call, result) };
	char text[KUBE_ERROR_BYTES] = "";
	curl_off_t retry_after_s = 0;
	int rc;

	if (answer.error == -ETIMEDOUT && call->timeout_ms > 0)
		shut_silent_sockets(c, call->timeout_ms);
	if (answer.error == 0)
		answer.status = call_status(call);
	if (answer.status == 401 && !call->has_retried) {
		call->has_retried = true;
		detach(call);
		call->state = CALL_QUEUED;
		body_done(&call->body);
		look_at_credentials(c, true);
		rc = start(call);
		if (rc < 0)
			end(call, &(struct kube_answer){ .error = rc }, strerror(-rc));
		return;
	}
	if (answer.error < 0) {
		say_error(call, result, text, sizeof(text));
	} else if (is_good(answer.status)) {
		(void)snprintf(text, sizeof(text), "%u", answer.status);
	} else {
		say_status(call, answer.status, text, sizeof(text), &answer.retry_after_ms);
		if (curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &retry_after_s) == CURLE_OK && retry_after_s > 0)
			answer.retry_after_ms = (uint32_t)(retry_after_s < RETRY_AFTER_MAX_S ? retry_after_s : RETRY_AFTER_MAX_S) * 1000;
	}
	end(call, &answer, text);
}

/* What the callbacks inside libcurl left to be done: ends, cancellations, calls to begin. Callbacks of ends may bring more. */
static void settle(struct kube_client *c)
{
	struct kube_call *call;
	bool is_changed = true;
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(c->multi, &left))) {
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
	shut_silent_sockets(c, call->silence_ms);
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
	list_init(&c->sockets);
	list_init(&c->listeners);
	c->curl_timer.on_expire = curl_timer_expired;
	c->credentials_timer.on_expire = credentials_timer_expired;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		free(c);
		return -ENOMEM;
	}
	c->multi = curl_multi_init();
	c->user_agent = strdup(s->user_agent ? s->user_agent : "culvert");
	if (!c->multi || !c->user_agent || message_create(&c->message) < 0)
		goto undo;
	rc = credentials_create(s->kubeconfig, s->service_account_directory, loop_now(loop), &c->credentials, error);
	if (rc < 0)
		goto undo;
	(void)curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, socket_wanted);
	(void)curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	(void)curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, timer_wanted);
	(void)curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	(void)curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
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
	assert(!c->is_inside);
	while (!list_is_empty(&c->calls))
		call_destroy(container_of(c->calls.next, struct kube_call, link));
	while (!list_is_empty(&c->listeners))
		(void)list_pop(&c->listeners);
	if (c->multi)
		(void)curl_multi_cleanup(c->multi);
	loop_timer_clear(c->loop, &c->curl_timer);
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
	if (!c->is_inside) {
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

void kube_cancel(struct kube_call *call)
{
	if (!call || call->state == CALL_OVER)
		return;
	call->is_cancelled = true;
	/* Inside libcurl it goes as soon as libcurl has returned. */
	if (!call->client->is_inside)
		call_destroy(call);
}
