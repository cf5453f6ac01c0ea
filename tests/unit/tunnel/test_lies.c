/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A peer with a good certificate that breaks the protocol: its tunnel is closed with a named reason, and nothing else is disturbed. */
#include "talk.h"

#include "unit/pki.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct pair pair; /* side 1 is lied to; side 0's pool has an honest tunnel to it */
static int honest_client, honest_server;

/* The liar: a bare link of node1's identity. */
static struct {
	struct link_stock stock;
	struct link *link;
	bool is_up, is_gone;
	struct frame_hello hello;   /* what the victim said */
	struct frame_goaway goaway; /* and how it ended */
	bool has_goaway;
	uint32_t answers; /* other frames that came */
	struct frame_reset last_reset;
	uint32_t resets;
} liar;

static void liar_up(struct link *l)
{
	(void)l;
	liar.is_up = true;
}

static void liar_wake(struct link *l)
{
	struct frame f;
	enum link_result r;

	for (;;) {
		r = link_next_frame(l, &f);
		if (r == LINK_EMPTY) {
			if (link_receive(l, TLS_RECORD_MAX) != LINK_FRAME)
				return;
			continue;
		}
		if (r != LINK_FRAME)
			return;
		if (f.type == FRAME_HELLO) {
			assert_int_equal(frame_get_hello(&f, &liar.hello), FRAME_OK);
			l->has_hello = true;
		} else if (f.type == FRAME_GOAWAY) {
			assert_int_equal(frame_get_goaway(&f, &liar.goaway), FRAME_OK);
			liar.has_goaway = true;
		} else if (f.type == FRAME_RESET) {
			assert_int_equal(frame_get_reset(&f, &liar.last_reset), FRAME_OK);
			liar.resets++;
		} else {
			liar.answers++;
		}
	}
}

static void liar_failed(struct link *l, enum close_reason reason, const char *text)
{
	(void)reason;
	(void)text;
	link_destroy(l, false);
	liar.link = NULL;
	liar.is_gone = true;
}

static const struct link_ops liar_ops = { .up = liar_up, .wake = liar_wake, .failed = liar_failed };

static bool liar_is_up(void *ctx)
{
	(void)ctx;
	return liar.is_up || liar.is_gone;
}

static bool liar_has_hello(void *ctx)
{
	(void)ctx;
	return liar.is_gone || liar.link->has_hello;
}

static bool liar_is_gone(void *ctx)
{
	(void)ctx;
	return liar.is_gone;
}

static void put(size_t (*make)(uint8_t *dst))
{
	uint8_t *dst = link_reserve(liar.link);

	assert_non_null(dst);
	link_commit(liar.link, make(dst));
}

static size_t make_hello(uint8_t *dst)
{
	struct frame_hello m = { .node = "node1",
		                 .incarnation = 1000 + 1,
		                 .features = FRAME_FEATURE_BULK_LINK | FRAME_FEATURE_TAKEN,
		                 .initial_credit_bytes = 65536,
		                 .streams_max = 100,
		                 .tunnel_credit_bytes = 1 << 20,
		                 .tunnel_id = "liar",
		                 .pair.state = PAIR_JOINED };

	return frame_put_hello(dst, &m);
}

static void liar_start(bool say_hello)
{
	bool is_pending;
	int fd;

	memset(&liar, 0, sizeof(liar));
	link_stock_init(&liar.stock);
	fd = pair_connect_node(&pair.side[0], &is_pending);
	assert_true(fd >= 0);
	assert_int_equal(link_create(pair.side[0].loop, &liar.stock, pki_get()->nodes[0].ctx, fd, is_pending, TLS_CLIENT, &liar_ops, NULL,
	                             &liar.link),
	                 0);
	assert_true(pair_pump(&pair, liar_is_up, NULL));
	assert_true(liar.is_up);
	if (!say_hello)
		return;
	put(make_hello);
	assert_int_equal(link_flush(liar.link), 0);
	assert_true(pair_pump(&pair, liar_has_hello, NULL));
	assert_string_equal(liar.hello.node, "node2");
}

static int set_up(void **state)
{
	(void)state;
	pair_init(&pair, 256 << 20);
	honest_client = pair_open(&pair, 0, "10.1.0.5:30000", "10.2.0.7:80");
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	honest_server = side_take_pod(&pair.side[1]);
	return 0;
}

/* The honest stream still carries, whatever the liar did. */
static int tear_down(void **state)
{
	char byte = 'h';
	ssize_t n = -1;

	(void)state;
	assert_int_equal(send(honest_client, &byte, 1, MSG_NOSIGNAL), 1);
	for (int i = 0; i < 10000 && n <= 0; i++) {
		pair_run(&pair, 1);
		n = recv(honest_server, &byte, 1, 0);
	}
	assert_int_equal(n, 1);
	close(honest_client);
	close(honest_server);
	link_destroy(liar.link, false);
	pair_run(&pair, 10);
	link_stock_done(&liar.stock);
	pair_done(&pair);
	return 0;
}

static void expect_goaway(const char *text)
{
	if (liar.link)
		(void)link_flush(liar.link);
	assert_true(pair_pump(&pair, liar_is_gone, NULL));
	assert_true(liar.has_goaway);
	assert_int_equal(liar.goaway.reason, REASON_PROTOCOL);
	assert_string_equal(liar.goaway.text, text);
}

static size_t make_open(uint8_t *dst, uint32_t id)
{
	struct frame_open m = { .is_optimistic = true };

	assert_int_equal(endpoint_parse("10.1.0.9:1234", &m.client), 0);
	assert_int_equal(endpoint_parse("10.2.0.9:80", &m.server), 0);
	return frame_put_open(dst, id, &m);
}

static size_t open_1(uint8_t *dst)
{
	return make_open(dst, 1);
}

static size_t open_2(uint8_t *dst)
{
	return make_open(dst, 2);
}

static size_t window_too_much(uint8_t *dst)
{
	return frame_put_window(dst, 1, 0, &(struct frame_window){ 5, 1 << 20 });
}

static size_t window_accept(uint8_t *dst)
{
	return frame_put_window(dst, 1, FRAME_WINDOW_ACCEPT, &(struct frame_window){ 0, 100 });
}

static size_t taken_1(uint8_t *dst)
{
	return frame_put_taken(dst, 1);
}

static size_t silent_1(uint8_t *dst)
{
	return frame_put_silent(dst, 1, true);
}

static size_t half_silent_1(uint8_t *dst)
{
	size_t len_bytes = frame_put_silent(dst, 1, true);

	dst[FRAME_HEAD_BYTES] = 2;
	return len_bytes;
}

static size_t tunnel_window_too_much(uint8_t *dst)
{
	return frame_put_window(dst, 0, 0, &(struct frame_window){ 5, 1 << 20 });
}

static size_t end_wrong_offset(uint8_t *dst)
{
	return frame_put_end(dst, 1, 17);
}

static size_t end_at_0(uint8_t *dst)
{
	return frame_put_end(dst, 1, 0);
}

static size_t switch_without_bulk(uint8_t *dst)
{
	return frame_put_switch(dst, 1, &(struct frame_switch){ 0, FRAME_LINK_BULK });
}

static size_t switch_to_light(uint8_t *dst)
{
	return frame_put_switch(dst, 1, &(struct frame_switch){ 0, FRAME_LINK_LIGHT });
}

static size_t opened_1(uint8_t *dst)
{
	return frame_put_opened(dst, 1, &(struct frame_opened){ .mss_bytes = 1448 });
}

static size_t reset_1(uint8_t *dst)
{
	return frame_put_reset(dst, 1, &(struct frame_reset){ 0, REASON_POD_RESET });
}

static size_t data_1(uint8_t *dst)
{
	frame_put_head(dst, FRAME_DATA, 0, 100, 1);
	memset(dst + FRAME_HEAD_BYTES, 'x', 100);
	return FRAME_HEAD_BYTES + 100;
}

static size_t urgent_data(uint8_t *dst)
{
	frame_put_head(dst, FRAME_DATA, FRAME_DATA_URGENT | 0xe0, 4, 1);
	memcpy(dst + FRAME_HEAD_BYTES, "abc!", 4);
	return FRAME_HEAD_BYTES + 4;
}

static size_t unknown_critical(uint8_t *dst)
{
	frame_put_head(dst, 0x55, 0, 0, 0);
	return FRAME_HEAD_BYTES;
}

static size_t unknown_ignorable(uint8_t *dst)
{
	frame_put_head(dst, 0x95, 0, 4, 77);
	memset(dst + FRAME_HEAD_BYTES, 0, 4);
	return FRAME_HEAD_BYTES + 4;
}

static size_t too_long(uint8_t *dst)
{
	frame_put_head(dst, FRAME_DATA, 0, 5000, 1);
	return FRAME_HEAD_BYTES;
}

static void no_hello_first(void **state)
{
	(void)state;
	liar_start(false);
	put(open_1);
	expect_goaway("a frame before HELLO");
}

static void second_hello(void **state)
{
	(void)state;
	liar_start(true);
	put(make_hello);
	expect_goaway("a second HELLO");
}

static void open_with_our_id(void **state)
{
	(void)state;
	liar_start(true);
	put(open_2);
	expect_goaway("OPEN with a stream id that was used or is ours");
}

static void open_twice(void **state)
{
	(void)state;
	liar_start(true);
	put(open_1);
	put(open_1);
	expect_goaway("OPEN with a stream id that was used or is ours");
}

static void frames_for_a_stream_that_never_was(void **state)
{
	(void)state;
	liar_start(true);
	put(data_1);
	expect_goaway("a frame for a stream that was never opened");
}

static void data_beyond_the_window(void **state)
{
	(void)state;
	liar_start(true);
	put(open_1);
	/* The pod does not come into it: 32 KiB are allowed before anybody has asked. */
	pair.side[1].connect_pod_error = 0;
	for (int i = 0; i < WINDOW_INITIAL_BYTES / 100 + 1; i++) {
		if (link_room(liar.link) < FRAME_CONTROL_MAX)
			assert_int_equal(link_flush(liar.link), 0);
		put(data_1);
	}
	expect_goaway("DATA beyond the stream's window");
}

static void data_after_end(void **state)
{
	(void)state;
	liar_start(true);
	put(open_1);
	put(end_at_0);
	put(data_1);
	expect_goaway("DATA after END");
}

static void end_with_another_offset(void **state)
{
	(void)state;
	liar_start(true);
	put(open_1);
	put(end_wrong_offset);
	expect_goaway("END with another offset than was sent");
}

static void window_for_what_was_not_sent(void **state)
{
	(void)state;
	liar_start(true);
	put(open_1);
	put(window_too_much);
	expect_goaway("WINDOW acknowledges more than was sent");
}

static void accept_without_ask(void **state)
{
	(void)state;
	liar_start(true);
	put(open_1);
	put(window_accept);
	expect_goaway("WINDOW with ACCEPT that was not asked for");
}

static void tunnel_window_for_what_was_not_sent(void **state)
{
	(void)state;
	liar_start(true);
	put(tunnel_window_too_much);
	expect_goaway("WINDOW of the tunnel that can not be");
}

static void switch_to_nowhere(void **state)
{
	(void)state;
	liar_start(true);
	put(open_1);
	put(switch_without_bulk);
	expect_goaway("SWITCH that does not fit the stream");
}

static void switch_back(void **state)
{
	(void)state;
	liar_start(true);
	put(open_1);
	put(switch_to_light);
	expect_goaway("SWITCH that does not fit the stream");
}

static void opened_unasked(void **state)
{
	(void)state;
	liar_start(true);
	put(open_1);
	put(opened_1);
	expect_goaway("OPENED for a stream that was not asked for");
}

static void silent_before_opened(void **state)
{
	(void)state;
	liar_start(true);
	put(open_1);
	put(silent_1);
	expect_goaway("SILENT before OPENED");
}

/* The client of an optimistic stream is there from the beginning. */
static void taken_unasked(void **state)
{
	(void)state;
	liar_start(true);
	put(open_1);
	put(taken_1);
	expect_goaway("TAKEN that nobody waits for");
}

static size_t open_1_faithful(uint8_t *dst)
{
	struct frame_open m = { .is_optimistic = false };

	assert_int_equal(endpoint_parse("10.1.0.9:1234", &m.client), 0);
	assert_int_equal(endpoint_parse("10.2.0.9:80", &m.server), 0);
	return frame_put_open(dst, 1, &m);
}

static void taken_before_opened(void **state)
{
	(void)state;
	liar_start(true);
	put(open_1_faithful);
	put(taken_1);
	expect_goaway("TAKEN that nobody waits for");
}

static bool liar_has_answer(void *ctx)
{
	return liar.is_gone || liar.answers > *(uint32_t *)ctx;
}

static void taken_twice(void **state)
{
	uint32_t answers;

	(void)state;
	liar_start(true);
	pair_run(&pair, 20);
	answers = liar.answers;
	put(open_1_faithful);
	assert_int_equal(link_flush(liar.link), 0);
	assert_true(pair_pump(&pair, liar_has_answer, &answers)); /* OPENED */
	put(taken_1);
	put(taken_1);
	expect_goaway("TAKEN that nobody waits for");
}

static void silent_that_is_neither(void **state)
{
	(void)state;
	liar_start(true);
	put(open_1);
	put(half_silent_1);
	expect_goaway(frame_result_text(FRAME_BAD_MESSAGE));
}

static void frame_beyond_its_record(void **state)
{
	(void)state;
	liar_start(true);
	put(open_1);
	put(too_long);
	expect_goaway(frame_result_text(FRAME_TRUNCATED));
}

static void unknown_critical_frame(void **state)
{
	(void)state;
	liar_start(true);
	put(unknown_critical);
	expect_goaway(frame_result_text(FRAME_UNKNOWN_TYPE));
}

static void unknown_ignorable_frame_and_late_frames_are_harmless(void **state)
{
	(void)state;
	liar_start(true);
	put(unknown_ignorable);
	put(open_1);
	put(reset_1);
	put(data_1); /* late: the stream is gone */
	put(reset_1);
	put(end_at_0);
	assert_int_equal(link_flush(liar.link), 0);
	pair_run(&pair, 200);
	assert_false(liar.is_gone);
	assert_int_equal(liar.resets, 0); /* a reset is not answered */
}

/* This implementation sends an urgent byte alone; another may send it behind others. */
static void urgent_data_is_urgent_in_its_last_byte(void **state)
{
	char byte = 0;
	int pod;

	(void)state;
	liar_start(true);
	put(open_1);
	put(urgent_data);
	put(data_1);
	assert_int_equal(link_flush(liar.link), 0);
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	pod = side_take_pod(&pair.side[1]);
	talk_expect(&pair, pod, "abc");
	assert_int_equal(talk_wait(&pair, pod), 1); /* what is behind it */
	assert_int_equal(recv(pod, &byte, 1, MSG_OOB), 1);
	assert_int_equal(byte, '!');
	talk_expect(&pair, pod, "xxxxxxxxxx");
	close(pod);
	assert_false(liar.is_gone);
}

static size_t pair_of_a_later_version(uint8_t *dst)
{
	frame_put_head(dst, FRAME_PAIR, 0x10, 40, 0);
	memset(dst + FRAME_HEAD_BYTES, 0, 40);
	dst[FRAME_HEAD_BYTES] = PAIR_JOINING;
	return FRAME_HEAD_BYTES + 40;
}

static size_t pair_of_no_state(uint8_t *dst)
{
	return frame_put_pair(dst, &(struct frame_pair){ .state = PAIR_STATE_COUNT });
}

static void what_it_says_of_the_pair_is_taken_or_refused(void **state)
{
	(void)state;
	liar_start(true);
	put(pair_of_a_later_version);
	assert_int_equal(link_flush(liar.link), 0);
	pair_run(&pair, 20);
	assert_false(liar.is_gone);
	assert_int_equal(pair.side[1].heard, PAIR_JOINING);
	put(pair_of_no_state);
	expect_goaway("a control message that does not parse or has a value out of range");
	assert_int_equal(pair.side[1].heard, PAIR_JOINING);
}

static void pair_before_hello(void **state)
{
	(void)state;
	liar_start(false);
	put(pair_of_a_later_version);
	expect_goaway("a frame before HELLO");
}

/* The liar's tunnel, as the other side has it. */
static struct tunnel *victim(void)
{
	list_for_each(at, &container_of(pair.side[1].pool->peers.next, struct peer, entry)->tunnels) {
		struct tunnel *t = container_of(at, struct tunnel, entry);

		if (!memcmp(t->id, "liar", 4))
			return t;
	}
	return NULL;
}

/* It opens streams that can only be refused, and reads nothing. */
static void a_peer_that_does_not_read_its_refusals(void **state)
{
	const struct peer *peer = container_of(pair.side[1].pool->peers.next, struct peer, entry);
	uint64_t left = (256 << 20) - budget_granted(&pair.side[1].budget);
	struct frame_open m = { 0 };
	uint32_t most = 0, id = 1;
	int small = 4096;

	(void)state;
	liar_start(true);
	assert_non_null(victim());
	assert_int_equal(setsockopt(victim()->link[FRAME_LINK_LIGHT]->source.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	assert_int_equal(setsockopt(liar.link->source.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	loop_remove(pair.side[0].loop, &liar.link->source);
	assert_int_equal(endpoint_parse("10.1.0.9:1234", &m.client), 0);
	assert_int_equal(endpoint_parse("10.2.0.9:80", &m.server), 0);
	assert_true(budget_reserve(&pair.side[1].budget, left)); /* no room for one more */
	while (victim() && id < 4 * TUNNEL_STREAMS_MAX) {
		uint8_t *dst = link_reserve(liar.link);

		if (dst) {
			link_commit(liar.link, frame_put_open(dst, id, &m));
			id += 2;
			continue;
		}
		liar.link->is_tx_blocked = false;
		assert_int_equal(link_flush(liar.link), 0);
		pair_run(&pair, 1);
		if (pair.side[1].pool->streams_count > most)
			most = pair.side[1].pool->streams_count;
	}
	budget_release(&pair.side[1].budget, left);
	assert_null(victim());
	assert_in_range(most, 2, TUNNEL_RESETS_MAX + 1);
	assert_string_equal(peer->last_error, "the peer opens streams, and does not read that they are refused");
	assert_int_equal(pair.side[1].pool->streams_count, 1);
}

static bool has_more_streams(void *ctx)
{
	return pair.side[1].pool->streams_count > *(uint32_t *)ctx;
}

/* Each is a connect(), and what came behind them must not wait for all of them. */
static void streams_that_come_together_are_opened_over_several_turns(void **state)
{
	struct frame_open m = { .is_optimistic = true };
	uint32_t before = pair.side[1].pool->streams_count, all = before + 39;

	(void)state;
	liar_start(true);
	assert_int_equal(endpoint_parse("10.1.0.9:1234", &m.client), 0);
	assert_int_equal(endpoint_parse("10.2.0.9:80", &m.server), 0);
	for (uint32_t id = 1; id <= 79; id += 2)
		link_commit(liar.link, frame_put_open(link_reserve(liar.link), id, &m));
	assert_int_equal(link_flush(liar.link), 0);
	assert_true(pair_pump(&pair, has_more_streams, &before));
	assert_in_range(pair.side[1].pool->streams_count, before + 1, before + 16);
	assert_true(pair_pump(&pair, has_more_streams, &all));
	assert_false(liar.is_gone);
}

static bool is_refused(void *ctx)
{
	(void)ctx;
	return liar.resets;
}

static void a_claim_of_another_nodes_pod_is_refused_and_the_tunnel_lives(void **state)
{
	uint32_t before = pair.side[1].pool->streams_count;
	struct frame_open m = { 0 };
	uint8_t *dst;

	(void)state;
	liar_start(true);
	assert_int_equal(endpoint_parse("10.2.0.50:1234", &m.client), 0); /* node2's own */
	assert_int_equal(endpoint_parse("10.2.0.9:80", &m.server), 0);
	dst = link_reserve(liar.link);
	link_commit(liar.link, frame_put_open(dst, 1, &m));
	assert_int_equal(link_flush(liar.link), 0);
	assert_true(pair_pump(&pair, has_more_streams, &before));
	pair_advance_s(&pair, PAIR_JUDGED_S);
	assert_true(pair_pump(&pair, is_refused, NULL));
	assert_false(liar.is_gone);
	assert_int_equal(liar.resets, 1);
	assert_int_equal(liar.last_reset.reason, REASON_FOREIGN_ADDRESS);
	assert_int_equal(pair.side[1].pool->counters.foreign_claims, 1);
}

static bool has_ten_resets(void *ctx)
{
	(void)ctx;
	return liar.resets >= 10;
}

static void a_flood_of_waiting_opens_is_bounded(void **state)
{
	struct frame_open m = { 0 };

	(void)state;
	liar_start(true);
	assert_int_equal(endpoint_parse("10.9.0.50:1234", &m.client), 0); /* nobody's */
	assert_int_equal(endpoint_parse("10.2.0.9:80", &m.server), 0);
	for (uint32_t i = 0; i < TUNNEL_JUDGING_MAX + 10; i++) {
		uint8_t *dst = link_reserve(liar.link);

		if (!dst) {
			assert_int_equal(link_flush(liar.link), 0);
			dst = link_reserve(liar.link);
		}
		link_commit(liar.link, frame_put_open(dst, 2 * i + 1, &m));
	}
	assert_int_equal(link_flush(liar.link), 0);
	assert_true(pair_pump(&pair, has_ten_resets, NULL));
	pair_run(&pair, 20);
	assert_int_equal(liar.resets, 10);
	assert_int_equal(liar.last_reset.reason, REASON_OVER_BUDGET);
}

/* Its words are read, and the answer to them finds that it has gone. */
static void who_breaks_a_rule_before_hello_and_resets_is_gone_once(void **state)
{
	(void)state;
	liar_start(false);
	pair_run(&pair, 20);
	assert_int_equal(pair.side[1].pool->strangers_count, 1);
	put(open_1);
	assert_int_equal(link_flush(liar.link), 0);
	assert_int_equal(setsockopt(liar.link->source.fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger)),
	                 0);
	link_destroy(liar.link, false);
	liar.link = NULL;
	pair_run(&pair, 20);
	assert_int_equal(pair.side[1].pool->strangers_count, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(no_hello_first),
		T(second_hello),
		T(open_with_our_id),
		T(open_twice),
		T(frames_for_a_stream_that_never_was),
		T(data_beyond_the_window),
		T(data_after_end),
		T(end_with_another_offset),
		T(window_for_what_was_not_sent),
		T(accept_without_ask),
		T(tunnel_window_for_what_was_not_sent),
		T(switch_to_nowhere),
		T(switch_back),
		T(opened_unasked),
		T(silent_before_opened),
		T(taken_unasked),
		T(taken_before_opened),
		T(taken_twice),
		T(silent_that_is_neither),
		T(frame_beyond_its_record),
		T(unknown_critical_frame),
		T(unknown_ignorable_frame_and_late_frames_are_harmless),
		T(urgent_data_is_urgent_in_its_last_byte),
		T(what_it_says_of_the_pair_is_taken_or_refused),
		T(pair_before_hello),
		T(a_peer_that_does_not_read_its_refusals),
		T(streams_that_come_together_are_opened_over_several_turns),
		T(a_claim_of_another_nodes_pod_is_refused_and_the_tunnel_lives),
		T(a_flood_of_waiting_opens_is_bounded),
		T(who_breaks_a_rule_before_hello_and_resets_is_gone_once),
	};

	return PAIR_RUN(tests);
}
