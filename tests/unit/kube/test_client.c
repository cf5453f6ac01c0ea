/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The client against a server that the test plays, on the same loop: HTTP over the loopback address, where no certificate is asked for. What
 * TLS and HTTP/2 add is tested over a real API server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "encode.h"
#include "kube/client.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONNECTIONS = 8, ANSWERS = 8, PATIENCE_MS = 20000 };

/* ---- The server ---- */

struct connection {
	struct loop_source source;
	char in[32 << 10];
	size_t in_len;
	bool is_open;
};

static struct clock real_clock;
static struct loop *loop;
static struct loop_source listener;
static struct connection connections[CONNECTIONS];
static unsigned accepted, requests;
static char last_request[32 << 10];
/* The n-th request is answered with the n-th of these; NULL: not at all. */
static struct bytes answers[ANSWERS];
static bool closes_after_answer;

static void hang_up(struct connection *c)
{
	loop_remove(loop, &c->source);
	(void)close(c->source.fd);
	c->is_open = false;
}

static void send_all(int fd, const void *bytes, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = send(fd, (const char *)bytes + at, len - at, MSG_NOSIGNAL);

		if (n < 0)
			return;
		at += (size_t)n;
	}
}

/* The length of the whole request at the begin of text; 0: it is not whole. */
static size_t request_len(const char *text)
{
	const char *end = strstr(text, "\r\n\r\n"), *length = strcasestr(text, "\r\nContent-Length: ");
	size_t len;

	if (!end)
		return 0;
	len = (size_t)(end - text) + 4;
	if (length && length < end)
		len += (size_t)atoi(length + strlen("\r\nContent-Length: "));
	return strlen(text) >= len ? len : 0;
}

static void readable(struct loop_source *src, uint32_t events)
{
	struct connection *c = container_of(src, struct connection, source);
	ssize_t n = recv(src->fd, c->in + c->in_len, sizeof(c->in) - 1 - c->in_len, 0);
	size_t len;

	(void)events;
	if (n <= 0) {
		hang_up(c);
		return;
	}
	c->in_len += (size_t)n;
	c->in[c->in_len] = '\0';
	while (c->is_open && (len = request_len(c->in)) > 0) {
		struct bytes *answer = &answers[requests++];

		assert_true(requests <= ANSWERS);
		memcpy(last_request, c->in, len);
		last_request[len] = '\0';
		memmove(c->in, c->in + len, c->in_len - len + 1);
		c->in_len -= len;
		send_all(src->fd, answer->data, answer->len);
		if (closes_after_answer && answer->len > 0)
			hang_up(c);
	}
}

static void connected(struct loop_source *src, uint32_t events)
{
	int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC);
	struct connection *c = &connections[accepted % CONNECTIONS];

	(void)events;
	assert_true(fd >= 0);
	assert_false(c->is_open);
	*c = (struct connection){ .source = { .fd = fd, .on_event = readable }, .is_open = true };
	accepted++;
	assert_int_equal(loop_add(loop, &c->source, EPOLLIN), 0);
}

static void answer_with(unsigned number, const char *head, const void *body, size_t body_len)
{
	char text[512];

	(void)snprintf(text, sizeof(text), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", head, body_len);
	put_raw(&answers[number], text, strlen(text));
	put_raw(&answers[number], body, body_len);
}

static void answer_text(unsigned number, const char *head, const char *body)
{
	answer_with(number, head, body, strlen(body));
}

/* ---- The client ---- */

static struct kube_client *client;
static char folder[] = "/tmp/culvert-client-XXXXXX";
static char token_path[64], config_path[64];

struct outcome {
	unsigned opens, datas, dones;
	struct bytes data;
	int error;
	unsigned status;
	uint32_t retry_after_ms;
	char body[256], text[KUBE_ERROR_BYTES];
	size_t body_bytes;
	/* What to do in on_data: */
	struct kube_call *cancels;
	bool stops;
	void (*then)(struct outcome *o);
	/* and in on_done: */
	void (*finally)(struct outcome *o);
	struct kube_call *call;
};

static void opened(void *ctx)
{
	struct outcome *o = ctx;

	assert_int_equal(o->datas, 0);
	o->opens++;
}

static bool data_came(void *ctx, const void *data, size_t len)
{
	struct outcome *o = ctx;

	assert_int_equal(o->opens, 1);
	o->datas++;
	put_raw(&o->data, data, len);
	if (o->cancels)
		kube_cancel(o->cancels);
	o->cancels = NULL;
	if (o->then)
		o->then(o);
	return !o->stops;
}

static void done(void *ctx, const struct kube_answer *a)
{
	struct outcome *o = ctx;

	o->dones++;
	o->error = a->error;
	o->status = a->status;
	o->retry_after_ms = a->retry_after_ms;
	o->body_bytes = a->body_bytes;
	assert_int_equal(((const char *)a->body)[a->body_bytes], '\0');
	(void)snprintf(o->body, sizeof(o->body), "%s", (const char *)a->body);
	(void)snprintf(o->text, sizeof(o->text), "%s", a->text);
	if (o->finally)
		o->finally(o);
}

static const struct kube_handler collecting = { .on_open = opened, .on_done = done };
static const struct kube_handler streaming = { opened, data_came, done };

static struct kube_call *get(const char *path, const struct kube_handler *h, struct outcome *o)
{
	struct kube_request r = { .method = "GET", .path = path };

	assert_int_equal(kube_send(client, &r, h, o, &o->call), 0);
	return o->call;
}

static void run_until(const bool *is_so, const unsigned *count, unsigned wanted)
{
	struct instant end = instant_add_ms(clock_now(&real_clock), PATIENCE_MS);

	while (is_so ? !*is_so : *count < wanted) {
		assert_true(instant_before(clock_now(&real_clock), end));
		assert_int_equal(loop_run_once(loop, 100), 0);
	}
}

static void wait_done(struct outcome *o)
{
	run_until(NULL, &o->dones, 1);
	assert_int_equal(o->dones, 1);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* As Kubernetes does it: another file under the same name. */
static void replace_token(const char *text)
{
	char other[80];

	(void)snprintf(other, sizeof(other), "%s.new", token_path);
	write_file(other, text);
	assert_int_equal(rename(other, token_path), 0);
}

static void write_config(unsigned port)
{
	char text[512];

	(void)snprintf(
		text, sizeof(text),
		"current-context: x\nclusters: [{name: c, cluster: {server: \"http://127.0.0.1:%u/\"}}]\n"
		"users: [{name: u, user: {tokenFile: token}}]\ncontexts: [{name: x, context: {cluster: c, user: u, namespace: here}}]\n",
		port);
	write_file(config_path, text);
}

static int set_up(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct kube_client_settings settings = { .kubeconfig = config_path, .user_agent = "culvert-test" };
	socklen_t len = sizeof(address);
	char error[KUBE_ERROR_BYTES];

	(void)state;
	accepted = requests = 0;
	last_request[0] = '\0';
	closes_after_answer = false;
	clock_init(&real_clock);
	assert_int_equal(loop_create(&real_clock, &loop), 0);
	listener = (struct loop_source){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .on_event = connected };
	assert_true(listener.fd >= 0);
	assert_int_equal(bind(listener.fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener.fd, 16), 0);
	assert_int_equal(getsockname(listener.fd, (struct sockaddr *)&address, &len), 0);
	assert_int_equal(loop_add(loop, &listener, EPOLLIN), 0);
	write_file(token_path, "first\n");
	write_config(ntohs(address.sin_port));
	assert_int_equal(kube_client_create(loop, &settings, &client, error), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	kube_client_destroy(client);
	client = NULL;
	for (int i = 0; i < CONNECTIONS; i++) {
		if (connections[i].is_open)
			hang_up(&connections[i]);
	}
	for (int i = 0; i < ANSWERS; i++)
		bytes_done(&answers[i]);
	loop_remove(loop, &listener);
	(void)close(listener.fd);
	loop_destroy(loop);
	return 0;
}

/* ---- Tests ---- */

static void test_an_answer_is_collected(void **state)
{
	struct outcome o = { 0 };

	(void)state;
	answer_text(0, "200 OK", "hello");
	get("/api/v1/pods?limit=5", &collecting, &o);
	assert_int_equal(o.dones, 0);
	wait_done(&o);
	assert_int_equal(o.error, 0);
	assert_int_equal(o.status, 200);
	assert_int_equal(o.opens, 1);
	assert_string_equal(o.body, "hello");
	assert_int_equal(o.body_bytes, 5);
	assert_string_equal(o.text, "GET /api/v1/pods: 200");
	assert_ptr_equal(strstr(last_request, "GET /api/v1/pods?limit=5 HTTP/1.1\r\n"), last_request);
	assert_non_null(strstr(last_request, "\r\nAccept: application/vnd.kubernetes.protobuf\r\n"));
	assert_non_null(strstr(last_request, "\r\nAuthorization: Bearer first\r\n"));
	assert_non_null(strstr(last_request, "\r\nUser-Agent: culvert-test\r\n"));
	assert_string_equal(kube_client_namespace(client), "here");
	assert_string_equal(kube_client_credentials_error(client), "");
}

static void test_a_body_is_sent(void **state)
{
	struct kube_request r = { .method = "PATCH",
		                  .path = "/x",
		                  .content_type = "application/merge-patch+json",
		                  .body = "{\"a\":1}",
		                  .body_bytes = 7,
		                  .accept = "application/json" };
	struct outcome o = { 0 };

	(void)state;
	answer_text(0, "201 Created", "");
	assert_int_equal(kube_send(client, &r, &collecting, &o, &o.call), 0);
	wait_done(&o);
	assert_int_equal(o.status, 201);
	assert_int_equal(o.body_bytes, 0);
	assert_ptr_equal(strstr(last_request, "PATCH /x HTTP/1.1\r\n"), last_request);
	assert_non_null(strstr(last_request, "\r\nContent-Type: application/merge-patch+json\r\n"));
	assert_non_null(strstr(last_request, "\r\nAccept: application/json\r\n"));
	assert_null(strstr(last_request, "Expect"));
	assert_string_equal(strstr(last_request, "\r\n\r\n") + 4, "{\"a\":1}");
}

static void test_a_stream_comes_as_it_comes(void **state)
{
	struct outcome o = { 0 };

	(void)state;
	put_raw(&answers[0], "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 47);
	get("/watch", &streaming, &o);
	/* A watch is open long before there is an event. */
	run_until(NULL, &o.opens, 1);
	assert_int_equal(o.datas, 0);
	send_all(connections[0].source.fd, "3\r\nabc\r\n", 8);
	run_until(NULL, &o.datas, 1);
	assert_int_equal(o.dones, 0);
	send_all(connections[0].source.fd, "2\r\nde\r\n0\r\n\r\n", 12);
	wait_done(&o);
	assert_int_equal(o.error, 0);
	assert_int_equal(o.data.len, 5);
	assert_memory_equal(o.data.data, "abcde", 5);
	bytes_done(&o.data);
}

static void test_failures_are_said_in_the_servers_words(void **state)
{
	struct bytes object = { 0 }, status = { 0 };
	struct outcome o[4] = { 0 };
	char *large = calloc(1, 3 * KUBE_ERROR_BODY_BYTES);

	(void)state;
	assert_non_null(large);
	memset(large, 'x', 3 * KUBE_ERROR_BODY_BYTES - 1);
	put_status(&object, 403, "Forbidden", "pods is forbidden: User \"u\" cannot list");
	put_envelope(&status, "v1", "Status", &object);
	answer_with(0, "403 Forbidden", status.data, status.len);
	answer_text(1, "429 Too Many Requests\r\nRetry-After: 7", "Too many requests, please try again later.\nmore");
	answer_text(2, "503 Service Unavailable", "");
	answer_text(3, "500 Internal Server Error", large);
	for (int i = 0; i < 4; i++) {
		get("/api/v1/pods?x=y", i == 0 ? &streaming : &collecting, &o[i]);
		wait_done(&o[i]);
		assert_int_equal(o[i].error, 0);
		assert_int_equal(o[i].opens + o[i].datas, 0);
	}
	assert_int_equal(o[0].status, 403);
	assert_string_equal(o[0].text, "GET /api/v1/pods: 403: pods is forbidden: User \"u\" cannot list");
	assert_int_equal(o[0].body_bytes, status.len);
	assert_string_equal(o[1].text, "GET /api/v1/pods: 429: \"Too many requests, please try again later.\"");
	assert_int_equal(o[1].retry_after_ms, 7000);
	assert_string_equal(o[2].text, "GET /api/v1/pods: 503");
	assert_int_equal(o[2].retry_after_ms, 0);
	assert_int_equal(o[3].body_bytes, KUBE_ERROR_BODY_BYTES);
	bytes_done(&status);
	free(large);
}

struct told {
	struct kube_listener listener;
	unsigned times;
};

static void credentials_changed(struct kube_listener *l)
{
	container_of(l, struct told, listener)->times++;
}

static void test_a_refused_token_is_read_again_and_the_call_made_again(void **state)
{
	struct told told = { .listener = { .credentials_changed = credentials_changed } };
	struct outcome o = { 0 }, p = { 0 };

	(void)state;
	kube_client_listen(client, &told.listener);
	answer_text(0, "401 Unauthorized", "old");
	answer_text(1, "200 OK", "good");
	/* The new token has the size and the time of the old one, so only the refusal makes it be read. */
	struct stat st;
	assert_int_equal(stat(token_path, &st), 0);
	write_file(token_path, "later\n");
	assert_int_equal(utimensat(AT_FDCWD, token_path, (struct timespec[]){ st.st_atim, st.st_mtim }, 0), 0);
	get("/x", &collecting, &o);
	wait_done(&o);
	assert_int_equal(o.status, 200);
	assert_string_equal(o.body, "good");
	assert_int_equal(requests, 2);
	assert_non_null(strstr(last_request, "Bearer later\r\n"));
	run_until(NULL, &told.times, 1);

	/* The same token is refused twice: that is the answer. */
	answer_text(2, "401 Unauthorized", "no");
	answer_text(3, "401 Unauthorized", "still no");
	get("/x", &collecting, &p);
	wait_done(&p);
	assert_int_equal(p.status, 401);
	assert_string_equal(p.body, "still no");
	assert_int_equal(requests, 4);
	assert_int_equal(told.times, 1);
	kube_client_unlisten(&told.listener);
}

static void test_a_token_that_changed_is_used_by_the_next_call(void **state)
{
	struct outcome o = { 0 }, p = { 0 };

	(void)state;
	answer_text(0, "200 OK", "");
	answer_text(1, "200 OK", "");
	replace_token("a-longer-token");
	get("/x", &collecting, &o);
	wait_done(&o);
	assert_non_null(strstr(last_request, "Bearer a-longer-token\r\n"));
	/* What is no token, as while a file is being written, leaves the old one. */
	replace_token("\n");
	get("/x", &collecting, &p);
	wait_done(&p);
	assert_non_null(strstr(last_request, "Bearer a-longer-token\r\n"));
	assert_non_null(strstr(kube_client_credentials_error(client), "the token is empty"));
}

static void test_answers_are_bounded(void **state)
{
	struct kube_request r = { .method = "GET", .path = "/x", .answer_max = 10 };
	struct outcome o = { 0 }, p = { 0 };

	(void)state;
	answer_text(0, "200 OK", "12345678901");
	answer_text(1, "200 OK", "1234567890");
	assert_int_equal(kube_send(client, &r, &collecting, &o, &o.call), 0);
	wait_done(&o);
	assert_int_equal(o.error, -EMSGSIZE);
	assert_string_equal(o.text, "GET /x: the answer has more than 10 bytes");
	assert_int_equal(kube_send(client, &r, &collecting, &p, &p.call), 0);
	wait_done(&p);
	assert_int_equal(p.error, 0);
	assert_int_equal(p.body_bytes, 10);
}

static void test_who_takes_no_more_ends_the_call(void **state)
{
	struct outcome o = { .stops = true };

	(void)state;
	answer_text(0, "200 OK", "some");
	get("/x", &streaming, &o);
	wait_done(&o);
	assert_int_equal(o.error, -ECANCELED);
	bytes_done(&o.data);
}

static void test_calls_are_cancelled_from_anywhere(void **state)
{
	struct outcome first = { 0 }, second = { 0 }, third = { 0 }, last = { 0 };

	(void)state;
	/* Before anything happened. */
	kube_cancel(get("/x", &collecting, &first));
	/* Itself, in the middle of its data. */
	put_raw(&answers[0], "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", 43);
	second.cancels = get("/y", &streaming, &second);
	run_until(NULL, &second.datas, 1);
	/* Another, from its data. */
	put_raw(&answers[1], "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", 43);
	answer_text(2, "200 OK", "the end");
	get("/z", &streaming, &third);
	run_until(NULL, &third.datas, 1);
	last.cancels = third.call;
	get("/last", &streaming, &last);
	wait_done(&last);
	assert_int_equal(first.dones + second.dones + third.dones, 0);
	assert_int_equal(first.datas, 0);
	assert_int_equal(second.datas, 1);
	assert_int_equal(third.datas, 1);
	assert_int_equal(last.error, 0);
	bytes_done(&second.data);
	bytes_done(&third.data);
	bytes_done(&last.data);
}

static struct outcome next;

static void send_next(struct outcome *o)
{
	o->then = o->finally = NULL;
	get("/next", &collecting, &next);
}

static void test_calls_begin_inside_of_callbacks(void **state)
{
	struct outcome o = { .then = send_next }, p = { .finally = send_next };

	(void)state;
	answer_text(0, "200 OK", "one");
	answer_text(1, "200 OK", "two");
	answer_text(2, "200 OK", "three");
	answer_text(3, "200 OK", "four");
	next = (struct outcome){ 0 };
	get("/x", &streaming, &o);
	wait_done(&next);
	wait_done(&o);
	assert_int_equal(next.error, 0);
	next = (struct outcome){ 0 };
	get("/x", &collecting, &p);
	wait_done(&next);
	wait_done(&p);
	assert_string_equal(next.body, "four");
	bytes_done(&o.data);
}

static void cancel_next(struct outcome *o)
{
	(void)o;
	kube_cancel(next.call);
}

static void test_who_ends_cancels_another_that_has_ended_too(void **state)
{
	struct outcome o = { .finally = cancel_next };

	(void)state;
	answer_text(0, "200 OK", "one");
	answer_text(1, "200 OK", "two");
	next = (struct outcome){ 0 };
	get("/x", &collecting, &o);
	get("/next", &collecting, &next);
	wait_done(&o);
	for (int i = 0; i < 5; i++)
		assert_int_equal(loop_run_once(loop, 10), 0);
	assert_true(next.dones <= 1);
}

static void test_silence_ends_a_call_and_its_connection(void **state)
{
	struct kube_request r = { .method = "GET", .path = "/x", .silence_ms = 150 };
	struct outcome o = { 0 }, p = { 0 };

	(void)state;
	/* An answer that stops in its middle, on a connection that stays. */
	put_raw(&answers[0], "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", 43);
	assert_int_equal(kube_send(client, &r, &streaming, &o, &o.call), 0);
	wait_done(&o);
	assert_int_equal(o.datas, 1);
	assert_int_equal(o.error, -ETIMEDOUT);
	assert_string_equal(o.text, "GET /x: nothing came for 150 ms");
	answer_text(1, "200 OK", "");
	assert_int_equal(kube_send(client, &r, &collecting, &p, &p.call), 0);
	wait_done(&p);
	assert_int_equal(p.error, 0);
	assert_int_equal(accepted, 2);
	bytes_done(&o.data);
}

static void test_a_call_has_a_time_limit(void **state)
{
	struct kube_request r = { .method = "GET", .path = "/x", .timeout_ms = 100 };
	struct outcome o = { 0 };

	(void)state;
	assert_int_equal(kube_send(client, &r, &collecting, &o, &o.call), 0);
	wait_done(&o);
	assert_int_equal(o.error, -ETIMEDOUT);
	assert_int_equal(o.status, 0);
}

static void test_a_time_limit_ends_no_quiet_call_on_another_connection(void **state)
{
	struct kube_request r = { .method = "GET", .path = "/x", .timeout_ms = 300 };
	struct outcome watch = { 0 }, o = { 0 };

	(void)state;
	put_raw(&answers[0], "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", 41);
	get("/watch", &streaming, &watch);
	run_until(NULL, &watch.datas, 1);
	assert_int_equal(kube_send(client, &r, &collecting, &o, &o.call), 0);
	wait_done(&o);
	assert_int_equal(o.error, -ETIMEDOUT);
	assert_int_equal(accepted, 2);
	/* It was quiet for as long, and nothing is wrong with it. */
	send_all(connections[0].source.fd, "def", 3);
	wait_done(&watch);
	assert_int_equal(watch.error, 0);
	assert_int_equal(watch.data.len, 6);
	bytes_done(&watch.data);
}

static void test_connections_that_break(void **state)
{
	struct outcome o = { 0 }, p = { 0 }, q = { 0 };
	char text[64];
	struct sockaddr_in address;
	socklen_t len = sizeof(address);

	(void)state;
	closes_after_answer = true;
	put_raw(&answers[0], "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", 43);
	get("/x", &streaming, &o);
	wait_done(&o);
	assert_int_equal(o.error, -ECONNRESET);
	assert_non_null(strstr(o.text, ": the connection broke off ("));
	assert_int_equal(o.data.len, 3);
	put_raw(&answers[1], "?", 1);
	get("/x", &streaming, &p);
	wait_done(&p);
	assert_true(p.error < 0);
	assert_int_equal(getsockname(listener.fd, (struct sockaddr *)&address, &len), 0);
	loop_remove(loop, &listener);
	(void)close(listener.fd);
	get("/x", &streaming, &q);
	wait_done(&q);
	assert_int_equal(q.error, -ECONNREFUSED);
	(void)snprintf(text, sizeof(text), "GET /x: http://127.0.0.1:%u: ", ntohs(address.sin_port));
	assert_ptr_equal(strstr(q.text, text), q.text);
	listener.fd = -1;
	bytes_done(&o.data);
}

static void test_a_redirection_is_not_followed(void **state)
{
	struct outcome o = { 0 };

	(void)state;
	answer_text(0, "301 Moved Permanently\r\nLocation: /elsewhere", "");
	get("/x", &collecting, &o);
	wait_done(&o);
	assert_int_equal(o.status, 301);
	assert_int_equal(requests, 1);
}

static void test_proxies_of_the_environment_are_not_used(void **state)
{
	struct outcome o = { 0 };

	(void)state;
	assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
	assert_int_equal(setenv("all_proxy", "http://127.0.0.1:1", 1), 0);
	answer_text(0, "200 OK", "direct");
	get("/x", &collecting, &o);
	wait_done(&o);
	assert_string_equal(o.body, "direct");
	assert_int_equal(unsetenv("http_proxy"), 0);
	assert_int_equal(unsetenv("all_proxy"), 0);
}

static void test_a_client_that_goes_calls_nobody(void **state)
{
	struct outcome o = { 0 }, p = { 0 };

	(void)state;
	put_raw(&answers[0], "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", 43);
	get("/x", &streaming, &o);
	run_until(NULL, &o.datas, 1);
	get("/y", &collecting, &p);
	kube_client_destroy(client);
	client = NULL;
	for (int i = 0; i < 5; i++)
		assert_int_equal(loop_run_once(loop, 10), 0);
	assert_int_equal(o.dones + p.dones, 0);
	bytes_done(&o.data);
}

static int make_folder(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	(void)snprintf(token_path, sizeof(token_path), "%s/token", folder);
	(void)snprintf(config_path, sizeof(config_path), "%s/config", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	(void)unlink(token_path);
	(void)unlink(config_path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		T(test_an_answer_is_collected),
		T(test_a_body_is_sent),
		T(test_a_stream_comes_as_it_comes),
		T(test_failures_are_said_in_the_servers_words),
		T(test_a_refused_token_is_read_again_and_the_call_made_again),
		T(test_a_token_that_changed_is_used_by_the_next_call),
		T(test_answers_are_bounded),
		T(test_who_takes_no_more_ends_the_call),
		T(test_calls_are_cancelled_from_anywhere),
		T(test_calls_begin_inside_of_callbacks),
		T(test_who_ends_cancels_another_that_has_ended_too),
		T(test_silence_ends_a_call_and_its_connection),
		T(test_a_time_limit_ends_no_quiet_call_on_another_connection),
		T(test_a_call_has_a_time_limit),
		T(test_connections_that_break),
		T(test_a_redirection_is_not_followed),
		T(test_proxies_of_the_environment_are_not_used),
		T(test_a_client_that_goes_calls_nobody),
	};

	return cmocka_run_group_tests_name("client", tests, make_folder, remove_folder);
}
