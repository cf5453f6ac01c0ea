/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/loop.h"
#include "status/http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HELD_MAX = 2 * HTTP_CONNECTIONS_MAX, ANSWER_BYTES = 65536, TURNS_MAX = 500 };

#define ASK(page) "GET " page " HTTP/1.1\r\nHost: node1\r\n\r\n"

/* A server over real sockets, with a loop that the test turns and a clock that stands still. */
struct fixture {
	struct clock clock;
	struct loop *loop;
	struct http_server *server;
	struct endpoint at;
	struct http_reply *held[HELD_MAX];
	int held_count;
};

static struct fixture fx;

static void done(struct http_reply *r, const char *text)
{
	http_reply_done(r, 200, "text/x", text ? strdup(text) : NULL, text ? strlen(text) : 0);
}

static void on_now(void *ctx, struct http_reply *r)
{
	assert_ptr_equal(ctx, &fx);
	done(r, "at once");
}

static void on_later(void *ctx, struct http_reply *r)
{
	(void)ctx;
	assert_true(fx.held_count < HELD_MAX);
	fx.held[fx.held_count++] = r;
}

static void on_nothing(void *ctx, struct http_reply *r)
{
	(void)ctx;
	done(r, NULL);
}

static const struct http_page pages[] = { { "/now", on_now }, { "/later", on_later }, { "/nothing", on_nothing }, { NULL, NULL } };

static int setup(void **state)
{
	struct endpoint any;

	(void)state;
	fx = (struct fixture){ 0 };
	clock_init_fake(&fx.clock, NS_PER_S);
	assert_int_equal(loop_create(&fx.clock, &fx.loop), 0);
	assert_int_equal(endpoint_parse("127.0.0.1:0", &any), 0);
	assert_int_equal(http_server_create(fx.loop, &any, pages, &fx, &fx.server), 0);
	fx.at = http_server_endpoint(fx.server);
	assert_int_not_equal(fx.at.port, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	http_server_destroy(fx.server);
	for (int i = 0; i < fx.held_count; i++)
		done(fx.held[i], "too late");
	loop_destroy(fx.loop);
	return 0;
}

/* Until nothing more happens: an accept, a read, an answer, a write, a close. The last ones wait a moment: on a busy machine the kernel hands
 * over later than at once. */
static void turn(void)
{
	for (int i = 0; i < 12; i++)
		assert_int_equal(loop_run_once(fx.loop, i < 8 ? 0 : 1), 0);
}

static void pass_ms(uint64_t ms)
{
	clock_fake_advance(&fx.clock, ms * NS_PER_MS);
	turn();
}

static int client_connect(void)
{
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(&fx.at, &sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
	return fd;
}

static void client_send(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	turn();
}

/* What has come after so many turns, or until the server has closed, as a text. *ret_is_over: it has. */
static const char *client_receive(int fd, int turns, bool *ret_is_over)
{
	static char answer[ANSWER_BYTES];
	size_t len = 0;
	ssize_t n;

	do {
		turn();
		while ((n = recv(fd, answer + len, sizeof(answer) - 1 - len, MSG_DONTWAIT)) > 0)
			len += (size_t)n;
		*ret_is_over = n == 0 || (n < 0 && errno == ECONNRESET);
	} while (!*ret_is_over && --turns > 0);
	answer[len] = '\0';
	return answer;
}

/* Has answered with that status and text, and closed. */
static void assert_answer(int fd, const char *status, const char *text)
{
	bool is_over;
	const char *answer = client_receive(fd, TURNS_MAX, &is_over), *body = strstr(answer, "\r\n\r\n");

	if (strncmp(answer, "HTTP/1.1 ", 9) != 0 || strncmp(answer + 9, status, strlen(status)) != 0 || !body ||
	    strcmp(body + 4, text) != 0)
		fail_msg("instead of %s and \"%s\" came \"%s\"", status, text, answer);
	assert_true(is_over);
	close(fd);
}

static void assert_silent(int fd)
{
	bool is_over;

	assert_string_equal(client_receive(fd, 1, &is_over), "");
	assert_false(is_over);
}

static void assert_cut(int fd)
{
	bool is_over;

	(void)client_receive(fd, TURNS_MAX, &is_over);
	assert_true(is_over);
	close(fd);
}

static int ask(const char *request)
{
	int fd = client_connect();

	client_send(fd, request);
	return fd;
}

static void an_answer_comes_at_once_or_later(void **state)
{
	int now, later;

	(void)state;
	later = ask(ASK("/later"));
	now = ask(ASK("/now"));
	assert_answer(now, "200 ", "at once");
	assert_silent(later);
	assert_int_equal(fx.held_count, 1);
	done(fx.held[--fx.held_count], "later on");
	assert_answer(later, "200 ", "later on");
	assert_answer(ask("HEAD /now HTTP/1.1\r\nHost: node1\r\n\r\n"), "200 ", "");
	assert_answer(ask(ASK("/now?x=1")), "200 ", "at once");
}

static void what_is_no_good_request_is_refused_with_a_sentence(void **state)
{
	(void)state;
	assert_answer(ask(ASK("/other")), "404 ", "there is no such page here; there are /now /later /nothing\n");
	assert_answer(ask("POST /now HTTP/1.1\r\nHost: node1\r\nContent-Length: 0\r\n\r\n"), "405 ", "GET and HEAD would be right\n");
	assert_answer(ask("GET /now HTTP/1.1\r\nHost: node1\r\nContent-Length: 3\r\n\r\nabc"), "400 ",
	              "a request without a body would be right\n");
	assert_answer(ask("GET /later HTTP/1.1\r\nHost: node1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400 ",
	              "a request without a body would be right\n");
	assert_int_equal(fx.held_count, 0);
}

static void without_memory_the_connection_ends(void **state)
{
	(void)state;
	assert_cut(ask(ASK("/nothing")));
	assert_answer(ask(ASK("/now")), "200 ", "at once");
}

static void a_slow_client_is_cut_after_its_time_however_it_trickles(void **state)
{
	int silent = client_connect(), slow;

	(void)state;
	slow = ask("GET /now");
	for (int ms = 0; ms < HTTP_CONNECTION_MS - 1000; ms += 1000) {
		pass_ms(1000);
		client_send(slow, "x");
	}
	assert_silent(slow);
	assert_silent(silent);
	pass_ms(1000);
	assert_cut(slow);
	assert_cut(silent);
}

static void an_owner_that_does_not_answer_is_waited_for_so_long(void **state)
{
	int fd = ask(ASK("/later"));

	(void)state;
	pass_ms(HTTP_ANSWER_MS - 1);
	assert_silent(fd);
	pass_ms(1);
	assert_answer(fd, "503 ", "no answer from the workers within 5000 ms\n");
	done(fx.held[--fx.held_count], "too late");
}

static void a_client_that_goes_meanwhile_is_harmless(void **state)
{
	int fd = ask(ASK("/later"));

	(void)state;
	close(fd);
	turn();
	done(fx.held[--fx.held_count], "for nobody");
	turn();
	fd = ask(ASK("/later"));
	close(fd);
	pass_ms(HTTP_CONNECTION_MS);
	done(fx.held[--fx.held_count], "for nobody");
	assert_answer(ask(ASK("/now")), "200 ", "at once");
}

static void who_asks_pushes_out_who_is_silent(void **state)
{
	int silent[HTTP_CONNECTIONS_MAX], later;

	(void)state;
	for (int i = 0; i < HTTP_CONNECTIONS_MAX; i++)
		silent[i] = client_connect();
	turn();
	later = ask(ASK("/later"));
	assert_cut(silent[0]);
	assert_silent(silent[1]);
	assert_answer(ask(ASK("/now")), "200 ", "at once");
	assert_cut(silent[1]);
	done(fx.held[--fx.held_count], "later on");
	assert_answer(later, "200 ", "later on");
	for (int i = 2; i < HTTP_CONNECTIONS_MAX; i++)
		close(silent[i]);
	turn();
}

static void who_waits_for_the_owner_is_not_pushed_out(void **state)
{
	int waiting[HTTP_CONNECTIONS_MAX];

	(void)state;
	for (int i = 0; i < HTTP_CONNECTIONS_MAX; i++)
		waiting[i] = ask(ASK("/later"));
	assert_int_equal(fx.held_count, HTTP_CONNECTIONS_MAX);
	assert_cut(client_connect());
	while (fx.held_count > 0)
		done(fx.held[--fx.held_count], "later on");
	for (int i = 0; i < HTTP_CONNECTIONS_MAX; i++)
		assert_answer(waiting[i], "200 ", "later on");
}

static void a_request_that_is_too_large_is_refused(void **state)
{
	char *text = malloc(4 * HTTP_REQUEST_BYTES);
	int fd = client_connect();
	bool is_over;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', 4 * HTTP_REQUEST_BYTES);
	memcpy(text, "GET /now HTTP/1.1\r\nX: ", 22);
	(void)send(fd, text, 4 * HTTP_REQUEST_BYTES, MSG_NOSIGNAL | MSG_DONTWAIT);
	/* Read piece by piece, as the buffer grows. */
	for (int i = 0; i < 32; i++)
		turn();
	assert_memory_equal(client_receive(fd, TURNS_MAX, &is_over), "HTTP/1.1 431 ", 13);
	assert_true(is_over);
	close(fd);
	free(text);
}

static void the_server_ends_while_all_kinds_of_clients_are_there(void **state)
{
	int silent = client_connect(), half, waiting;

	(void)state;
	half = ask("GET /no");
	waiting = ask(ASK("/later"));
	http_server_destroy(fx.server);
	fx.server = NULL;
	assert_cut(silent);
	assert_cut(half);
	assert_cut(waiting);
}

static void an_address_in_use_is_refused(void **state)
{
	struct http_server *second = NULL;

	(void)state;
	assert_int_equal(http_server_create(fx.loop, &fx.at, pages, &fx, &second), -EADDRINUSE);
	assert_null(second);
	assert_answer(ask(ASK("/now")), "200 ", "at once");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_answer_comes_at_once_or_later),
		TEST(what_is_no_good_request_is_refused_with_a_sentence),
		TEST(without_memory_the_connection_ends),
		TEST(a_slow_client_is_cut_after_its_time_however_it_trickles),
		TEST(an_owner_that_does_not_answer_is_waited_for_so_long),
		TEST(a_client_that_goes_meanwhile_is_harmless),
		TEST(who_asks_pushes_out_who_is_silent),
		TEST(who_waits_for_the_owner_is_not_pushed_out),
		TEST(a_request_that_is_too_large_is_refused),
		TEST(the_server_ends_while_all_kinds_of_clients_are_there),
		TEST(an_address_in_use_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
