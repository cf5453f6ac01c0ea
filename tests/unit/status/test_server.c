/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/delimited.h"
#include "net/loop.h"
#include "sample.h"
#include "status.pb-c.h"
#include "status/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { HELD_MAX = 64 };

/* A server over a real socket, with a loop that the test turns and a clock that stands still. */
struct fixture {
	struct clock clock;
	struct loop *loop;
	struct status_server *server;
	char dir[64], path[96];
	bool is_held; /* requests are kept in held, else answered at once */
	struct status_reply *held[HELD_MAX];
	struct status_query query; /* the last one */
	int held_count, asked;
	struct sample sample;
};

static struct fixture fx;

static void on_collect(void *ctx, const struct status_query *q, struct status_reply *r)
{
	struct fixture *f = ctx;

	f->asked++;
	f->query = *q;
	if (f->is_held)
		f->held[f->held_count++] = r;
	else
		status_reply_done(r, &f->sample.snapshot);
}

static const struct status_ops ops = { .collect = on_collect };

static int setup(void **state)
{
	char error[STATUS_ERROR_BYTES];

	(void)state;
	fx = (struct fixture){ 0 };
	sample_init(&fx.sample);
	clock_init_fake(&fx.clock, NS_PER_S);
	snprintf(fx.dir, sizeof(fx.dir), "/tmp/culvert-status-XXXXXX");
	assert_non_null(mkdtemp(fx.dir));
	snprintf(fx.path, sizeof(fx.path), "%s/status.sock", fx.dir);
	assert_int_equal(loop_create(&fx.clock, &fx.loop), 0);
	assert_int_equal(status_server_create(fx.loop, fx.path, &ops, &fx, &fx.server, error), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	status_server_destroy(fx.server);
	for (int i = 0; i < fx.held_count; i++)
		status_reply_done(fx.held[i], &fx.sample.snapshot);
	loop_destroy(fx.loop);
	assert_int_equal(access(fx.path, F_OK), -1);
	assert_int_equal(rmdir(fx.dir), 0);
	return 0;
}

/* Until nothing more happens: an accept, a read, a collecting, a write. */
static void turn(void)
{
	for (int i = 0; i < 8; i++)
		assert_int_equal(loop_run_once(fx.loop, 0), 0);
}

static void pass_ms(uint64_t ms)
{
	clock_fake_advance(&fx.clock, ms * NS_PER_MS);
	turn();
}

static int client_connect(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(sa.sun_path, fx.path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void client_send(int fd, const void *bytes, size_t len)
{
	assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

static size_t make_request(uint8_t *dst, const Culvert__Status__Request *pb)
{
	size_t len = culvert__status__request__get_packed_size(pb), head = delimited_put(dst, (uint32_t)len);

	return head + culvert__status__request__pack(pb, dst + head);
}

static size_t make_status_request(uint8_t dst[32])
{
	Culvert__Status__Request pb = CULVERT__STATUS__REQUEST__INIT;
	Culvert__Status__StatusRequest status = CULVERT__STATUS__STATUS_REQUEST__INIT;

	pb.what_case = CULVERT__STATUS__REQUEST__WHAT_STATUS;
	pb.status = &status;
	return make_request(dst, &pb);
}

static void client_ask(int fd)
{
	uint8_t request[32];

	client_send(fd, request, make_status_request(request));
}

/* Takes one whole answer off the socket; the loop is turned meanwhile. */
static Culvert__Status__Response *client_receive(int fd)
{
	static uint8_t bytes[1 << 20];
	Culvert__Status__Response *pb;
	uint32_t body;
	int head = 0;

	for (size_t have = 0, want = 1; have < want;) {
		ssize_t n = recv(fd, bytes + have, want - have, 0);

		if (n < 0 && errno == EAGAIN) {
			turn();
			n = recv(fd, bytes + have, want - have, 0);
		}
		if (n <= 0)
			fail_msg("no whole answer: %zd, %s, after %zu bytes", n, strerror(errno), have);
		have += (size_t)n;
		if (!head) {
			head = delimited_get(bytes, have, &body);
			assert_true(head >= 0);
			want = head ? (size_t)head + body : have + 1;
			assert_true(want <= sizeof(bytes));
		}
	}
	pb = culvert__status__response__unpack(NULL, body, bytes + head);
	assert_non_null(pb);
	return pb;
}

static void expect_closed(int fd)
{
	char byte;
	ssize_t n;

	turn();
	n = recv(fd, &byte, 1, 0);
	/* A reset where the server closed on bytes that it did not read. */
	if (n != 0 && !(n < 0 && errno == ECONNRESET))
		fail_msg("the connection is not closed: %zd, %s", n, strerror(errno));
	close(fd);
}

static void expect_error(int fd, const char *code)
{
	Culvert__Status__Response *pb = client_receive(fd);

	assert_int_equal(pb->what_case, CULVERT__STATUS__RESPONSE__WHAT_ERROR);
	assert_string_equal(pb->error->code, code);
	assert_true(pb->error->text[0]);
	culvert__status__response__free_unpacked(pb, NULL);
	expect_closed(fd);
}

static void expect_status(int fd)
{
	Culvert__Status__Response *pb = client_receive(fd);

	assert_int_equal(pb->what_case, CULVERT__STATUS__RESPONSE__WHAT_STATUS);
	assert_string_equal(pb->status->node, "node1");
	culvert__status__response__free_unpacked(pb, NULL);
}

static void a_request_is_answered_and_another(void **state)
{
	int fd = client_connect();

	(void)state;
	client_ask(fd);
	expect_status(fd);
	client_ask(fd);
	expect_status(fd);
	assert_int_equal(fx.asked, 2);
	close(fd);
	turn();
}

static void requests_in_a_row_are_answered_in_order(void **state)
{
	uint8_t request[32], many[3 * 32];
	size_t len = make_status_request(request);
	int fd = client_connect();

	(void)state;
	for (int i = 0; i < 3; i++)
		memcpy(many + (size_t)i * len, request, len);
	client_send(fd, many, 3 * len);
	expect_status(fd);
	expect_status(fd);
	expect_status(fd);
	close(fd);
	turn();
}

static void a_request_byte_by_byte(void **state)
{
	uint8_t request[32];
	size_t len = make_status_request(request);
	int fd = client_connect();

	(void)state;
	for (size_t i = 0; i < len; i++) {
		client_send(fd, request + i, 1);
		turn();
		assert_int_equal(fx.asked, i == len - 1);
	}
	expect_status(fd);
	close(fd);
	turn();
}

static void a_client_that_ends_its_sending_gets_its_answer(void **state)
{
	int fd = client_connect();

	(void)state;
	fx.is_held = true;
	client_ask(fd);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	turn();
	assert_int_equal(fx.held_count, 1);
	status_reply_done(fx.held[--fx.held_count], &fx.sample.snapshot);
	expect_status(fd);
	expect_closed(fd);
}

static void a_long_answer_goes_out_in_parts(void **state)
{
	enum { COUNT = 4000 };
	Culvert__Status__Request pb = CULVERT__STATUS__REQUEST__INIT;
	Culvert__Status__StreamsRequest ask = CULVERT__STATUS__STREAMS_REQUEST__INIT;
	struct snapshot_stream *streams = calloc(COUNT, sizeof(*streams));
	Culvert__Status__Response *answer;
	uint8_t request[32];
	int fd = client_connect(), small = 4096;

	(void)state;
	assert_non_null(streams);
	for (uint32_t i = 0; i < COUNT; i++) {
		streams[i] = fx.sample.streams[0];
		streams[i].id = i + 1;
	}
	fx.sample.snapshot.streams = streams;
	fx.sample.snapshot.streams_count = COUNT;
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	ask.limit = COUNT;
	pb.what_case = CULVERT__STATUS__REQUEST__WHAT_STREAMS;
	pb.streams = &ask;
	client_send(fd, request, make_request(request, &pb));
	answer = client_receive(fd);
	assert_int_equal(fx.query.limit, COUNT);
	assert_int_equal(answer->streams->n_streams, COUNT);
	for (uint32_t i = 0; i < COUNT; i++)
		assert_int_equal(answer->streams->streams[i]->id, i + 1);
	culvert__status__response__free_unpacked(answer, NULL);
	free(streams);
	close(fd);
	turn();
}

static void what_is_malformed_gets_an_error(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
		{ "\xff\xff\xff\xff\xff\xff", 6 }, /* no varint */
		{ "\x81\x80\x04", 3 },             /* 65,537 bytes */
		{ "\x00", 1 },                     /* asks nothing */
		{ "\x03\x0a\x05\x01", 4 },         /* does not parse */
		{ "GET / HTTP/1.1\r\n\r\n", 18 },  /* 'G' is a length: what follows is too short, and it waits */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int fd = client_connect();

		client_send(fd, cases[i].bytes, cases[i].len);
		assert_int_equal(shutdown(fd, SHUT_WR), 0);
		expect_error(fd, "bad_request");
	}
	assert_int_equal(fx.asked, 0);
}

static void the_largest_request_is_read_whole(void **state)
{
	uint8_t head[DELIMITED_HEAD_MAX], *body = calloc(1, STATUS_REQUEST_MAX);
	int fd = client_connect();
	size_t head_len = delimited_put(head, STATUS_REQUEST_MAX), sent = 0;

	(void)state;
	assert_non_null(body);
	/* An unknown field fills it: it is ignored, and the question behind it counts. */
	body[0] = 0xfa;
	body[1] = 0x01;
	body[2] = ((STATUS_REQUEST_MAX - 5 - 2) & 0x7f) | 0x80;
	body[3] = ((STATUS_REQUEST_MAX - 5 - 2) >> 7 & 0x7f) | 0x80;
	body[4] = (STATUS_REQUEST_MAX - 5 - 2) >> 14;
	body[STATUS_REQUEST_MAX - 2] = 0x0a;
	body[STATUS_REQUEST_MAX - 1] = 0x00;
	client_send(fd, head, head_len);
	while (sent < STATUS_REQUEST_MAX) {
		ssize_t n = send(fd, body + sent, STATUS_REQUEST_MAX - sent, MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t)n;
		turn();
	}
	expect_status(fd);
	free(body);
	close(fd);
	turn();
}

static void a_client_that_goes_away_is_harmless(void **state)
{
	int fd = client_connect();

	(void)state;
	fx.is_held = true;
	client_ask(fd);
	turn();
	assert_int_equal(fx.held_count, 1);
	close(fd);
	turn();
	status_reply_done(fx.held[--fx.held_count], &fx.sample.snapshot);
	turn();
	/* And one that goes before its answer is out. */
	fd = client_connect();
	client_ask(fd);
	turn();
	status_reply_done(fx.held[--fx.held_count], &fx.sample.snapshot);
	close(fd);
	turn();
	fx.is_held = false;
	fd = client_connect();
	client_ask(fd);
	expect_status(fd);
	close(fd);
	turn();
}

static void the_owner_can_say_no(void **state)
{
	int fd = client_connect();

	(void)state;
	fx.is_held = true;
	client_ask(fd);
	turn();
	status_reply_fail(fx.held[--fx.held_count], "ending", "the daemon ends");
	expect_error(fd, "ending");
}

static void workers_that_do_not_answer_end_in_an_error(void **state)
{
	int fd = client_connect();
	char byte;

	(void)state;
	fx.is_held = true;
	client_ask(fd);
	turn();
	pass_ms(STATUS_DEADLINE_MS - 1);
	assert_int_equal(recv(fd, &byte, 1, 0), -1);
	pass_ms(1);
	expect_error(fd, "timeout");
	/* The answer comes late. */
	status_reply_done(fx.held[--fx.held_count], &fx.sample.snapshot);
	turn();
}

static void a_silent_client_is_closed(void **state)
{
	uint8_t request[32];
	size_t len = make_status_request(request);
	int silent = client_connect(), slow = client_connect();

	(void)state;
	client_send(slow, request, 1);
	turn();
	pass_ms(STATUS_DEADLINE_MS - 1);
	client_send(slow, request + 1, len - 2); /* a trickle buys no time */
	turn();
	pass_ms(1);
	expect_closed(silent);
	expect_closed(slow);
}

static void a_client_that_does_not_read_is_closed(void **state)
{
	enum { COUNT = 20000 };
	struct snapshot_peer *peers = calloc(COUNT, sizeof(*peers));
	Culvert__Status__Request pb = CULVERT__STATUS__REQUEST__INIT;
	Culvert__Status__PeersRequest ask = CULVERT__STATUS__PEERS_REQUEST__INIT;
	uint8_t request[32];
	char drain[65536];
	int fd = client_connect();
	ssize_t n;

	(void)state;
	assert_non_null(peers);
	for (int i = 0; i < COUNT; i++)
		peers[i] = fx.sample.peers[0];
	fx.sample.snapshot.peers = peers;
	fx.sample.snapshot.peers_count = COUNT;
	pb.what_case = CULVERT__STATUS__REQUEST__WHAT_PEERS;
	pb.peers = &ask;
	client_send(fd, request, make_request(request, &pb));
	turn();
	pass_ms(STATUS_DEADLINE_MS);
	while ((n = recv(fd, drain, sizeof(drain), 0)) > 0)
		continue;
	assert_int_equal(n, 0);
	close(fd);
	free(peers);
}

static void one_client_too_many_is_told(void **state)
{
	int fds[STATUS_CLIENTS_MAX];
	int fd;

	(void)state;
	for (int i = 0; i < STATUS_CLIENTS_MAX; i++) {
		fds[i] = client_connect();
		turn();
	}
	fd = client_connect();
	expect_error(fd, "busy");
	close(fds[0]);
	turn();
	fd = client_connect();
	client_ask(fd);
	expect_status(fd);
	close(fd);
	for (int i = 1; i < STATUS_CLIENTS_MAX; i++)
		close(fds[i]);
	turn();
}

static void the_end_of_the_server_leaves_replies_harmless(void **state)
{
	int fd = client_connect();

	(void)state;
	fx.is_held = true;
	client_ask(fd);
	turn();
	assert_int_equal(fx.held_count, 1);
	status_server_destroy(fx.server);
	fx.server = NULL;
	expect_closed(fd);
	/* teardown completes the reply */
}

static void the_socket_has_its_mode(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(lstat(fx.path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0660);
}

static void a_stale_socket_is_replaced_and_a_live_one_is_not(void **state)
{
	struct status_server *second = NULL;
	char error[STATUS_ERROR_BYTES], other[128];
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	(void)state;
	turn();
	assert_int_equal(status_server_create(fx.loop, fx.path, &ops, &fx, &second, error), -EADDRINUSE);
	assert_null(second);
	assert_non_null(strstr(error, fx.path));
	turn();

	snprintf(other, sizeof(other), "%s/stale.sock", fx.dir);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	strcpy(sa.sun_path, other);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
	assert_int_equal(status_server_create(fx.loop, other, &ops, &fx, &second, error), 0);
	status_server_destroy(second);
	assert_int_equal(access(other, F_OK), -1);
}

static void what_is_no_socket_stays(void **state)
{
	struct status_server *second = NULL;
	char error[STATUS_ERROR_BYTES], other[128], too_long[200];
	int fd;

	(void)state;
	snprintf(other, sizeof(other), "%s/file", fx.dir);
	fd = open(other, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(status_server_create(fx.loop, other, &ops, &fx, &second, error), -EEXIST);
	assert_int_equal(access(other, F_OK), 0);
	assert_int_equal(unlink(other), 0);

	snprintf(other, sizeof(other), "%s/nowhere/status.sock", fx.dir);
	assert_int_equal(status_server_create(fx.loop, other, &ops, &fx, &second, error), -ENOENT);
	memset(too_long, 'a', sizeof(too_long) - 1);
	too_long[sizeof(too_long) - 1] = '\0';
	assert_int_equal(status_server_create(fx.loop, too_long, &ops, &fx, &second, error), -ENAMETOOLONG);
	assert_null(second);
}

static void a_successors_socket_is_not_removed(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(unlink(fx.path), 0);
	strcpy(sa.sun_path, fx.path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	status_server_destroy(fx.server);
	fx.server = NULL;
	assert_int_equal(access(fx.path, F_OK), 0);
	assert_int_equal(unlink(fx.path), 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_request_is_answered_and_another, setup, teardown),
		cmocka_unit_test_setup_teardown(requests_in_a_row_are_answered_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(a_request_byte_by_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(a_client_that_ends_its_sending_gets_its_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(a_long_answer_goes_out_in_parts, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_malformed_gets_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(the_largest_request_is_read_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(a_client_that_goes_away_is_harmless, setup, teardown),
		cmocka_unit_test_setup_teardown(the_owner_can_say_no, setup, teardown),
		cmocka_unit_test_setup_teardown(workers_that_do_not_answer_end_in_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(a_silent_client_is_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_client_that_does_not_read_is_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(one_client_too_many_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_of_the_server_leaves_replies_harmless, setup, teardown),
		cmocka_unit_test_setup_teardown(the_socket_has_its_mode, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stale_socket_is_replaced_and_a_live_one_is_not, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_socket_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(a_successors_socket_is_not_removed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
