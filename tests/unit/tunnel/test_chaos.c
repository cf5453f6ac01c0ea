/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Everything at once, in an order that a seed decides: streams both ways while tunnels close, wires are cut, nodes restart, views and certificates
 * change, and keys go after a few records. Whatever happens, a byte that arrives is the right one, an end comes only behind all bytes, and nothing is
 * left at the end. Where nothing is lost, what was sent arrives without the help of any timer. */
#include "pair.h"

#include "tls/session.h"
#include "unit/pki.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { CONNECTIONS = 10, STEPS = 6000, ROUNDS = 4, VIEWS = 4, SEND_MAX = 400000, RECORDS_PER_KEY = 7, FLOW_TRIES = 20000 };

/* One direction of a connection, as its two pods see it. */
struct way {
	size_t sent, got;
	bool is_shut;  /* the sender has ended in order */
	bool is_ended; /* the receiver has read the end */
};

/* fd[0]: the client's, fd[1]: the server's; -1: not there or closed. */
struct connection {
	int fd[2];
	uint32_t number;   /* what the client says first, and the pattern's seed */
	struct way way[2]; /* by sender */
	bool is_in_use;
};

static struct pair pair;
static struct connection connections[CONNECTIONS];
static int unnamed[PAIR_PODS_MAX]; /* server pods whose client has not said its number */
static int unnamed_count;
static struct view *views[2][VIEWS];
static uint32_t rng, numbers;

static uint32_t chance(uint32_t below)
{
	/* xorshift32 (Marsaglia 2003): the same on every machine. */
	rng ^= rng << 13;
	rng ^= rng >> 17;
	rng ^= rng << 5;
	return rng % below;
}

static uint8_t pattern(uint32_t number, int sender, size_t at)
{
	return (uint8_t)((at * 131 + (at >> 9)) ^ number ^ (uint32_t)sender * 0x55);
}

static void connection_forget(struct connection *c)
{
	for (int i = 0; i < 2; i++) {
		if (c->fd[i] >= 0)
			close(c->fd[i]);
	}
	*c = (struct connection){ .fd = { -1, -1 } };
}

/* An urgent byte stays among the others. */
static void read_inline(int fd)
{
	int one = 1;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one)), 0);
}

static void connection_open(struct connection *c)
{
	int from = (int)chance(2);
	char client[32], server[32];

	connection_forget(c);
	if (!pair.side[from].pool || pair.side[from].pool->is_draining ||
	    pair.side[0].pods_count + pair.side[1].pods_count > PAIR_PODS_MAX - 100)
		return;
	snprintf(client, sizeof(client), "10.%d.%u.5:%u", from + 1, chance(3), 20000 + numbers % 40000);
	snprintf(server, sizeof(server), "10.%d.%u.7:80", 2 - from, chance(3));
	c->is_in_use = true;
	c->number = ++numbers;
	c->fd[0] = pair_open(&pair, from, client, server);
	read_inline(c->fd[0]);
	if (send(c->fd[0], &c->number, sizeof(c->number), MSG_NOSIGNAL) != sizeof(c->number))
		connection_forget(c);
}

/* Server pods learn whose they are. */
static void take_pods(void)
{
	for (int i = 0; i < 2; i++) {
		int fd;

		while ((fd = side_take_pod(&pair.side[i])) >= 0) {
			read_inline(fd);
			unnamed[unnamed_count++] = fd;
		}
	}
	for (int i = 0; i < unnamed_count; i++) {
		uint32_t number;
		ssize_t n = recv(unnamed[i], &number, sizeof(number), 0);
		int fd = unnamed[i];

		if (n < 0 && errno == EAGAIN)
			continue;
		unnamed[i--] = unnamed[--unnamed_count];
		for (int k = 0; n == sizeof(number) && k < CONNECTIONS; k++) {
			struct connection *c = &connections[k];

			if (c->is_in_use && c->number == number) {
				assert_int_equal(c->fd[1], -1); /* never two */
				c->fd[1] = fd;
				fd = -1;
			}
		}
		if (fd >= 0)
			close(fd);
	}
}

static void see_reset(struct connection *c, int pod)
{
	close(c->fd[pod]);
	c->fd[pod] = -1;
}

static void send_some(struct connection *c, int sender)
{
	static uint8_t bytes[SEND_MAX];
	struct way *w = &c->way[sender];
	size_t len = chance(2) ? chance(2000) + 1 : chance(SEND_MAX) + 1;
	ssize_t n;

	if (c->fd[sender] < 0 || w->is_shut)
		return;
	for (size_t i = 0; i < len; i++)
		bytes[i] = pattern(c->number, sender, w->sent + i);
	n = send(c->fd[sender], bytes, len, MSG_NOSIGNAL | (chance(4) ? 0 : MSG_OOB));
	if (n > 0)
		w->sent += (size_t)n;
	else if (errno != EAGAIN)
		see_reset(c, sender); /* told now, the kernel shows an end to who reads */
}

static void read_some(struct connection *c, int reader)
{
	static uint8_t bytes[300000];
	struct way *w = &c->way[!reader];
	ssize_t n;

	if (c->fd[reader] < 0 || w->is_ended)
		return;
	n = recv(c->fd[reader], bytes, sizeof(bytes), 0);
	if (n < 0) {
		if (errno != EAGAIN)
			see_reset(c, reader);
		return;
	}
	if (n == 0) {
		assert_true(w->is_shut);
		assert_int_equal(w->got, w->sent);
		w->is_ended = true;
		return;
	}
	for (ssize_t i = 0; i < n; i++)
		assert_int_equal(bytes[i], pattern(c->number, !reader, w->got + (size_t)i));
	w->got += (size_t)n;
	assert_true(w->got <= w->sent);
}

static void shut(struct connection *c, int sender)
{
	if (c->fd[sender] >= 0 && !shutdown(c->fd[sender], SHUT_WR))
		c->way[sender].is_shut = true;
}

/* close() with nothing unread is an end in order; else the kernel makes a reset of it. */
static void close_pod(struct connection *c, int pod)
{
	struct linger reset = { 1, 0 };

	if (c->fd[pod] < 0)
		return;
	c->way[pod].is_shut = true;
	if (chance(2)) {
		(void)setsockopt(c->fd[pod], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	}
	close(c->fd[pod]);
	c->fd[pod] = -1;
}

static int deaf_steps; /* until all links are heard again */

/* What comes on one link is not read for a while, so that the other one is ahead. */
static void go_deaf(struct side *s, enum frame_link kind)
{
	struct tunnel *t = s->pool ? side_tunnel(s) : NULL;

	if (!t || t->state == TUNNEL_CONNECTING || !t->link[kind] || t->link[kind]->state != LINK_OPEN)
		return;
	loop_remove(s->loop, &t->link[kind]->source);
	deaf_steps = (int)chance(200);
}

static void hear_again(struct side *s)
{
	if (!s->pool)
		return;
	list_for_each(at, &s->pool->peers) {
		list_for_each(entry, &container_of(at, struct peer, entry)->tunnels) {
			struct tunnel *t = container_of(entry, struct tunnel, entry);

			for (int kind = 0; kind < 2; kind++) {
				struct link *l = t->link[kind];

				if (l && !l->source.is_registered)
					assert_int_equal(loop_add(s->loop, &l->source, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET), 0);
			}
		}
	}
}

static void disturb(bool is_hard)
{
	struct side *s = &pair.side[chance(2)];
	const struct pki_node *id = &pki_get()->nodes[s->index];
	struct tunnel *t = s->pool ? side_tunnel(s) : NULL;

	switch (chance(is_hard ? 9 : 3)) {
	case 0:
		if (t)
			tunnel_want_bulk(t);
		break;
	case 1:
		if (s->pool)
			pool_set_tls(s->pool, id->ctx, id->info.self.not_after_s);
		break;
	case 2:
		for (int i = 0; i < 2; i++)
			clock_fake_advance(&pair.side[i].clock, NS_PER_S * (1 + chance(2)));
		break;
	case 3:
		if (t)
			tunnel_close(t, chance(2) ? REASON_PROTOCOL : REASON_TUNNEL_LOST, "the test ends it");
		break;
	case 4:
		if (s->pool)
			pool_set_view(s->pool, views[s->index][chance(VIEWS)]);
		break;
	case 5:
		s->is_cut = !s->is_cut;
		break;
	case 6:
		s->connect_pod_error = chance(2) ? 0 : -ECONNREFUSED;
		break;
	case 7:
		if (s->pool && !s->is_cut && !chance(4)) {
			side_stop(s);
		} else if (!s->pool) {
			side_start(s);
		}
		break;
	case 8:
		if (s->pool && !chance(4))
			pool_drain(s->pool);
		if (s->pool && s->is_drained) {
			side_stop(s);
			side_start(s);
		}
		break;
	}
}

static void renew_keys_often(struct side *s)
{
	if (!s->pool)
		return;
	list_for_each(at, &s->pool->peers) {
		list_for_each(entry, &container_of(at, struct peer, entry)->tunnels) {
			const struct tunnel *t = container_of(entry, struct tunnel, entry);

			for (int kind = 0; kind < 2; kind++) {
				if (t->link[kind])
					t->link[kind]->tls->records_per_key = RECORDS_PER_KEY;
			}
		}
	}
}

static void step(bool is_hard)
{
	struct connection *c = &connections[chance(CONNECTIONS)];
	int pod = (int)chance(2);

	switch (chance(20)) {
	case 0:
		if (!c->is_in_use || (c->fd[0] < 0 && c->fd[1] < 0))
			connection_open(c);
		break;
	case 1:
		if (!chance(3))
			shut(c, pod);
		break;
	case 2:
		if (!chance(5))
			close_pod(c, pod);
		break;
	case 3:
		if (!chance(3))
			disturb(is_hard);
		break;
	case 4:
		if (!deaf_steps && !chance(3))
			go_deaf(&pair.side[chance(2)], chance(4) ? FRAME_LINK_LIGHT : FRAME_LINK_BULK);
		break;
	default:
		if (chance(2))
			send_some(c, pod);
		else
			read_some(c, pod);
	}
	take_pods();
	if (deaf_steps && !--deaf_steps) {
		hear_again(&pair.side[0]);
		hear_again(&pair.side[1]);
	}
	renew_keys_often(&pair.side[0]);
	renew_keys_often(&pair.side[1]);
	pair_run(&pair, (int)chance(3));
}

static void settle(void)
{
	for (int i = 0; i < 2; i++) {
		struct side *s = &pair.side[i];

		hear_again(s);
		s->is_cut = false;
		s->connect_pod_error = 0;
		if (!s->pool || s->pool->is_draining) {
			side_stop(s);
			side_start(s);
		}
		pool_set_view(s->pool, views[i][0]);
	}
}

static bool all_streams_gone(void *ctx)
{
	(void)ctx;
	return !pair.side[0].pool->streams_count && !pair.side[1].pool->streams_count;
}

static void expect_nothing_left(void)
{
	for (int i = 0; i < CONNECTIONS; i++)
		connection_forget(&connections[i]);
	while (unnamed_count)
		close(unnamed[--unnamed_count]);
	for (int i = 0; i < 300 && !all_streams_gone(NULL); i++) {
		take_pods();
		while (unnamed_count)
			close(unnamed[--unnamed_count]);
		pair_advance_s(&pair, 1);
	}
	assert_true(all_streams_gone(NULL));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(budget_granted(&pair.side[i].budget), 0);
		assert_true(list_is_empty(&pair.side[i].pool->unknown));
		list_for_each(at, &pair.side[i].pool->peers) {
			struct peer *p = container_of(at, struct peer, entry);

			assert_int_equal(p->waiting_count, 0);
			assert_true(list_is_empty(&p->waiting));
			list_for_each(entry, &p->tunnels) {
				struct tunnel *t = container_of(entry, struct tunnel, entry);

				assert_int_equal(t->streams_count, 0);
				assert_int_equal(t->peer_streams_count, 0);
				assert_int_equal(t->judging_count, 0);
				assert_int_equal(t->budgeted_bytes, 0);
				assert_int_equal(t->rx_consumed, t->rx_received);
			}
		}
	}
}

static void expect_only_pods_ended_streams(void)
{
	for (int i = 0; i < 2; i++) {
		const uint64_t *closed = pair.side[i].pool->counters.closed;

		for (int reason = 0; reason < REASON_COUNT; reason++) {
			if (closed[reason] && reason != REASON_FINISHED && reason != REASON_POD_RESET && reason != REASON_OVER_BUDGET)
				fail_msg("node%d: %s", i + 1, reason_text((uint32_t)reason));
		}
	}
}

/* All that the pods of a connection have said so far has come. */
static bool has_arrived(struct connection *c)
{
	for (int reader = 0; reader < 2; reader++) {
		const struct way *w = &c->way[!reader];

		read_some(c, reader);
		if (c->fd[0] < 0 || c->fd[1] < 0)
			return true; /* not there, or reset by a pod */
		if (w->got != w->sent || (w->is_shut && !w->is_ended))
			return false;
	}
	return true;
}

/* While the clocks stand still. The kernel may need time of its own for a pod that did not read for long. */
static void expect_all_arrives(void)
{
	int i = 0;

	for (int k = 0; k < 2; k++)
		hear_again(&pair.side[k]);
	deaf_steps = 0;
	for (int tries = 0; i < CONNECTIONS && tries < FLOW_TRIES; tries++) {
		take_pods();
		pair_run(&pair, 4);
		for (i = 0; i < CONNECTIONS && has_arrived(&connections[i]); i++)
			;
	}
	assert_int_equal(i, CONNECTIONS);
}

static void round_of(uint32_t seed, bool is_hard)
{
	rng = seed * 2654435761u + 1;
	deaf_steps = 0;
	pair_init(&pair, chance(2) ? 256 << 20 : 3 << 20);
	for (int i = 0; i < 2; i++) {
		views[i][0] = pair_view(i, "10.1.0.0/16", "10.2.0.0/16");
		views[i][1] = pair_view(i, "10.1.0.0/24", "10.2.0.0/24");                       /* most are nobody's */
		views[i][2] = pair_view(i, "10.2.0.0/16", "10.1.0.0/16");                       /* all have moved */
		views[i][3] = pair_view(i, i ? NULL : "10.1.0.0/16", i ? "10.2.0.0/16" : NULL); /* the other has none */
	}
	for (int i = 0; i < CONNECTIONS; i++)
		connections[i] = (struct connection){ .fd = { -1, -1 } };
	for (int i = 0; i < STEPS; i++) {
		step(is_hard);
		if (!is_hard && i % (STEPS / 10) == 0)
			expect_all_arrives();
	}
	if (!is_hard)
		expect_only_pods_ended_streams();
	settle();
	expect_nothing_left();
	for (int i = 0; i < 2; i++) {
		for (int k = 0; k < VIEWS; k++)
			view_unref(views[i][k]);
	}
	pair_done(&pair);
}

/* A failure is repeated with TEST_SEED=N. */
static void rounds(bool is_hard)
{
	const char *only = getenv("TEST_SEED");

	for (uint32_t seed = only ? (uint32_t)atol(only) : 1, last = only ? seed : ROUNDS; seed <= last; seed++) {
		print_message("seed %u\n", seed);
		round_of(seed, is_hard);
	}
}

static void with_new_certificates_only(void **state)
{
	(void)state;
	rounds(false);
}

static void with_all_that_can_go_wrong(void **state)
{
	(void)state;
	rounds(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(with_new_certificates_only), cmocka_unit_test(with_all_that_can_go_wrong) };

	return PAIR_RUN(tests);
}
