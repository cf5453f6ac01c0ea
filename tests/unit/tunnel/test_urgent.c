/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Urgent data: its mark keeps its place between the bytes, whatever waits or overtakes. */
#include "bulk.h"
#include "carry.h"

#include "tunnel/rx_half.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

/* Side i has got so many bytes of its only stream. */
struct received {
	int side;
	uint64_t bytes;
};

static bool has_received(void *ctx)
{
	const struct received *wanted = ctx;

	return pair.side[wanted->side].pool->streams_count == 1 && talk_stream(&pair.side[wanted->side])->rx.received == wanted->bytes;
}

static bool polls(int fd, short event)
{
	struct pollfd p = { .fd = fd, .events = event };

	return poll(&p, 1, 0) == 1 && p.revents & event;
}

/* ctx: the descriptor. */
static bool has_urgent(void *ctx)
{
	return polls(*(int *)ctx, POLLPRI);
}

static bool has_end(void *ctx)
{
	return polls(*(int *)ctx, POLLRDHUP);
}

static bool takes_more(void *ctx)
{
	return polls(*(int *)ctx, POLLOUT);
}

static void send_urgent(int fd, char byte)
{
	assert_int_equal(send(fd, &byte, 1, MSG_OOB | MSG_NOSIGNAL), 1);
}

/* Reads so many bytes, then stands at the mark of this urgent byte. Reading takes nothing beyond it, and skips it. */
static void expect_urgent(int fd, size_t before, char byte)
{
	char got = 0;
	int is_at_mark = 0;

	carry_expect(&pair, fd, before);
	assert_true(pair_pump(&pair, has_urgent, &fd));
	assert_int_equal(ioctl(fd, SIOCATMARK, &is_at_mark), 0);
	assert_true(is_at_mark);
	assert_int_equal(recv(fd, &got, 1, MSG_OOB), 1);
	assert_int_equal(got, byte);
}

static void an_urgent_byte_keeps_its_mark(void **state)
{
	int end[2];

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &end[0], &end[1]);
	carry_bytes(&pair, end[0], end[1], 100);
	for (int from = 0; from < 2; from++) {
		carry_send(end[from], 50);
		send_urgent(end[from], '!');
		carry_send(end[from], 70);
		expect_urgent(end[!from], 50, '!');
		carry_expect(&pair, end[!from], 70);
		carry_bytes(&pair, end[from], end[!from], 100);
		assert_false(talk_stream(&pair.side[from])->is_read_urgent);
		assert_int_equal(talk_stream(&pair.side[!from])->urgent_end, 0);
	}
	close(end[0]);
	close(end[1]);
}

static void an_urgent_byte_may_be_the_first_and_the_last(void **state)
{
	int client, server;
	char byte;

	(void)state;
	/* The server is not connected yet. */
	pair.side[1].connect_pod_error = -EADDRNOTAVAIL;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	send_urgent(client, '1');
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 1 }));
	pair.side[1].connect_pod_error = 0;
	clock_fake_advance(&pair.side[1].clock, 10 * NS_PER_MS);
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	server = side_take_pod(&pair.side[1]);
	expect_urgent(server, 0, '1');
	send_urgent(client, '2');
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	expect_urgent(server, 0, '2');
	assert_true(pair_pump(&pair, has_end, &server));
	assert_int_equal(recv(server, &byte, 1, 0), 0);
	talk_end(&pair, client, server);
}

static void an_urgent_byte_waits_for_a_pod_that_does_not_read(void **state)
{
	char block[65536] = { 0 };
	size_t before = 0;
	int client, server, idle = 0;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	while (idle < 200) {
		ssize_t n = send(client, block, sizeof(block), MSG_NOSIGNAL);

		before += n > 0 ? (size_t)n : 0;
		idle = n > 0 ? 0 : idle + 1;
		pair_run(&pair, 1);
	}
	assert_true(talk_stream(&pair.side[1])->is_write_blocked);
	carry_expect(&pair, server, before / 2);
	assert_true(pair_pump(&pair, takes_more, &client));
	send_urgent(client, '!');
	carry_send(client, 1000);
	expect_urgent(server, before - before / 2, '!');
	carry_expect(&pair, server, 1000);
	close(client);
	close(server);
}

static void an_urgent_byte_lies_in_the_queue_of_a_blocked_pod(void **state)
{
	struct stream *to;
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	carry_bytes(&pair, client, server, 100);
	to = talk_stream(&pair.side[1]);
	to->is_write_blocked = true; /* as by a pod that takes nothing */
	carry_send(client, 300);
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 400 }));
	send_urgent(client, 'a');
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 401 }));
	carry_send(client, 5000);
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 5401 }));
	assert_int_equal(to->urgent_end, 401);
	assert_int_equal(to->queue.len_bytes, 5301);
	to->is_write_blocked = false;
	stream_flush_queue(to);
	assert_int_equal(to->urgent_end, 0);
	expect_urgent(server, 300, 'a');
	carry_expect(&pair, server, 5000);
	/* A later one takes the place of one that still waits: its byte is one among the others then. */
	to->is_write_blocked = true;
	send_urgent(client, 'b');
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 5402 }));
	carry_send(client, 10);
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 5412 }));
	send_urgent(client, 'c');
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 5413 }));
	to->is_write_blocked = false;
	stream_flush_queue(to);
	expect_urgent(server, 11, 'c');
	carry_bytes(&pair, client, server, 100);
	close(client);
	close(server);
}

static void an_urgent_byte_on_the_new_link_overtakes_data_on_the_old_one(void **state)
{
	struct stream *from, *to;
	int client, server;

	(void)state;
	bulk_deafen_light(&pair, &client, &server);
	from = talk_stream(&pair.side[0]);
	to = talk_stream(&pair.side[1]);
	carry_send(client, STREAM_LARGE_READ_BYTES);
	assert_true(pair_pump(&pair, bulk_has_stream, from));
	carry_send(client, 1000);
	send_urgent(client, '!');
	carry_send(client, 500);
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 100 + 1501 }));
	assert_int_equal(to->stash_urgent, 1001);
	assert_int_equal(to->urgent_end, 0);
	bulk_hear_light(&pair);
	expect_urgent(server, STREAM_LARGE_READ_BYTES + 1000, '!');
	carry_expect(&pair, server, 500);
	carry_bytes(&pair, client, server, 100);
	talk_end(&pair, client, server);
}

static void an_urgent_byte_on_the_old_link_is_overtaken_by_data_on_the_new_one(void **state)
{
	struct stream *from, *to;
	int client, server;

	(void)state;
	bulk_deafen_light(&pair, &client, &server);
	from = talk_stream(&pair.side[0]);
	to = talk_stream(&pair.side[1]);
	carry_send(client, 100);
	send_urgent(client, '!');
	assert_true(pair_pump(&pair, carry_has_sent, &(struct carry_sent){ from, 100 + 101 }));
	bulk_is_next(from);
	carry_send(client, STREAM_LARGE_READ_BYTES);
	assert_true(pair_pump(&pair, bulk_has_stream, from));
	carry_send(client, 1000);
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 100 + 1000 }));
	assert_int_equal(to->stash_urgent, 0);
	bulk_hear_light(&pair);
	expect_urgent(server, 100, '!');
	carry_expect(&pair, server, STREAM_LARGE_READ_BYTES + 1000);
	talk_end(&pair, client, server);
}

static void an_urgent_byte_for_a_pod_that_takes_nothing_any_more_is_dropped(void **state)
{
	int client, server;

	(void)state;
	talk_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80", &client, &server);
	carry_bytes(&pair, client, server, 100);
	talk_stream(&pair.side[1])->is_write_blocked = true;
	carry_send(client, 100);
	send_urgent(client, '!');
	assert_true(pair_pump(&pair, has_received, &(struct received){ 1, 201 }));
	talk_reset(server);
	assert_int_equal(talk_wait(&pair, client), -ECONNRESET);
	close(client);
	assert_true(pair_pump(&pair, talk_is_over, &pair));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_urgent_byte_keeps_its_mark),
		T(an_urgent_byte_may_be_the_first_and_the_last),
		T(an_urgent_byte_waits_for_a_pod_that_does_not_read),
		T(an_urgent_byte_lies_in_the_queue_of_a_blocked_pod),
		T(an_urgent_byte_on_the_new_link_overtakes_data_on_the_old_one),
		T(an_urgent_byte_on_the_old_link_is_overtaken_by_data_on_the_new_one),
		T(an_urgent_byte_for_a_pod_that_takes_nothing_any_more_is_dropped),
	};

	return PAIR_RUN(tests);
}
