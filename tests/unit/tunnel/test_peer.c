/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What one peer, and somebody who is none, can make a node hold by connecting to it. */
#include "talk.h"

#include "tls/ca.h"
#include "unit/pki.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { LINKS_MAX = PEER_TUNNELS_MAX + 8 };

static struct pair pair; /* node2, side 1, is connected to */

/* Links of node1's identity, beside the honest ones of its pool. */
static struct caller {
	struct link *link; /* NULL: it was closed */
	bool has_hello;
} callers[LINKS_MAX];
static struct link_stock stock;
static uint64_t incarnation;

static size_t put_hello(uint8_t *dst, int i)
{
	struct frame_hello m = { .node = "node1",
		                 .incarnation = incarnation,
		                 .initial_credit_bytes = 65536,
		                 .streams_max = 100,
		                 .tunnel_credit_bytes = 1 << 20,
		                 .tunnel_id = { (uint8_t)i, 1 },
		                 .pair.state = PAIR_JOINED };

	return frame_put_hello(dst, &m);
}

static void caller_up(struct link *l)
{
	struct caller *c = l->owner;
	uint8_t *dst = link_reserve(l);

	assert_non_null(dst);
	link_commit(l, put_hello(dst, (int)(c - callers)));
	assert_int_equal(link_flush(l), 0);
}

static void caller_wake(struct link *l)
{
	struct caller *c = l->owner;
	enum link_result r;
	struct frame f;

	for (;;) {
		r = link_next_frame(l, &f);
		if (r == LINK_EMPTY && link_receive(l, TLS_RECORD_MAX) == LINK_FRAME)
			continue;
		if (r != LINK_FRAME)
			return;
		c->has_hello |= f.type == FRAME_HELLO;
	}
}

static void caller_failed(struct link *l, enum close_reason reason, const char *text)
{
	struct caller *c = l->owner;

	(void)reason;
	(void)text;
	c->link = NULL;
	link_destroy(l, false);
}

static const struct link_ops caller_ops = { .up = caller_up, .wake = caller_wake, .failed = caller_failed };

static bool caller_knows(void *ctx)
{
	struct caller *c = ctx;

	return c->has_hello || !c->link;
}

static void call(int i)
{
	bool is_pending;
	int fd = pair_connect_node(&pair.side[0], &is_pending);

	assert_true(fd >= 0);
	callers[i] = (struct caller){ 0 };
	assert_int_equal(link_create(pair.side[0].loop, &stock, pki_get()->nodes[0].ctx, fd, is_pending, TLS_CLIENT, &caller_ops,
	                             &callers[i], &callers[i].link),
	                 0);
	assert_true(pair_pump(&pair, caller_knows, &callers[i]));
}

static uint32_t tunnels_of_peer(void)
{
	struct peer *p = container_of(pair.side[1].pool->peers.next, struct peer, entry);
	uint32_t count = 0;

	list_for_each(at, &p->tunnels)
		count++;
	return count;
}

static int set_up(void **state)
{
	(void)state;
	memset(callers, 0, sizeof(callers));
	link_stock_init(&stock);
	incarnation = 77;
	pair_init(&pair, 256 << 20);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (int i = 0; i < LINKS_MAX; i++)
		link_destroy(callers[i].link, false);
	pair_run(&pair, 10);
	link_stock_done(&stock);
	pair_done(&pair);
	return 0;
}

static void a_peer_makes_only_so_many_tunnels(void **state)
{
	(void)state;
	for (int i = 0; i < PEER_TUNNELS_MAX; i++) {
		call(i);
		assert_true(callers[i].has_hello);
	}
	call(PEER_TUNNELS_MAX);
	assert_false(callers[PEER_TUNNELS_MAX].has_hello);
	assert_int_equal(tunnels_of_peer(), PEER_TUNNELS_MAX);
	/* One that has restarted is let in, and its old ones are gone. */
	incarnation++;
	call(PEER_TUNNELS_MAX + 1);
	assert_true(callers[PEER_TUNNELS_MAX + 1].has_hello);
	assert_int_equal(tunnels_of_peer(), 1);
}

static void handshakes_that_stand_still_do_not_keep_nodes_out(void **state)
{
	enum { N = 300 };
	int fds[N], client;
	bool is_pending;

	(void)state;
	for (int i = 0; i < N; i++) {
		fds[i] = pair_connect_node(&pair.side[0], &is_pending);
		assert_true(fds[i] >= 0);
	}
	pair_run(&pair, 5);
	assert_true(pair.side[1].pool->strangers_count < N);
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	close(client);
	for (int i = 0; i < N; i++)
		close(fds[i]);
}

static void new_certificates_end_handshakes_under_old_ones(void **state)
{
	const struct pki_node *id = &pki_get()->nodes[1];
	bool is_pending;
	int fd = pair_connect_node(&pair.side[0], &is_pending);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(pair.side[1].pool->strangers_count, 1);
	pool_set_tls(pair.side[1].pool, id->ctx, id->info.self.not_after_s);
	assert_int_equal(pair.side[1].pool->strangers_count, 0);
	close(fd);
}

static void a_revoked_peer_is_cut_at_once_and_others_are_not(void **state)
{
	const struct pki *pki = pki_get();
	const struct pki_node *id = &pki->nodes[1];
	const char *serial = pki->nodes[0].info.self.serial;
	char path[200], command[600], error[CA_ERROR_BYTES], byte;
	struct tls_ctx *next;
	struct cred_info info;
	int client;

	(void)state;
	client = pair_open(&pair, 0, "10.1.0.5:40000", "10.2.0.7:80");
	assert_true(pair_pump(&pair, talk_has_come, &pair.side[1]));
	snprintf(command, sizeof(command), "rm -rf %.90s/next && cp -r %.120s %.90s/next", pki->dir, id->dir, pki->dir);
	assert_int_equal(system(command), 0);
	snprintf(path, sizeof(path), "%s/next/crl.pem", pki->dir);
	/* A list that names nobody: the stream goes on. */
	assert_int_equal(ca_revoke(pki->ca_dir, path, NULL, 0, 1, 0, error), 0);
	snprintf(path, sizeof(path), "%s/next", pki->dir);
	assert_int_equal(cred_load(path, &id->name, &next, &info, error), 0);
	pool_set_tls(pair.side[1].pool, next, info.self.not_after_s);
	tls_ctx_unref(next);
	pair_run(&pair, 200);
	assert_int_equal(recv(client, &byte, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	/* One that names node1. */
	snprintf(path, sizeof(path), "%s/next/crl.pem", pki->dir);
	assert_int_equal(ca_revoke(pki->ca_dir, path, &serial, 1, 2, 0, error), 0);
	snprintf(path, sizeof(path), "%s/next", pki->dir);
	assert_int_equal(cred_load(path, &id->name, &next, &info, error), 0);
	pool_set_tls(pair.side[1].pool, next, info.self.not_after_s);
	tls_ctx_unref(next);
	assert_int_equal(pair.side[1].pool->streams_count, 0);
	assert_int_equal(pair.side[1].pool->counters.closed[REASON_CERTIFICATE], 1);
	pair_run(&pair, 200);
	assert_int_equal(recv(client, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_null(peer_tunnel(container_of(pair.side[1].pool->peers.next, struct peer, entry)));
	close(client);
}

static bool attempt_failed(void *ctx)
{
	const struct side *s = ctx;
	uint64_t failed = 0;

	for (int i = 0; i < REASON_COUNT; i++)
		failed += s->pool->counters.tunnels_failed[i];
	return failed > 0;
}

/* A client's handshake is done before the server has judged its certificate: the refusal comes where HELLO should. */
static void a_refused_client_certificate_is_named_as_one(void **state)
{
	const struct pki *pki = pki_get();
	const struct pki_node *id = &pki->nodes[1];
	const char *serial = pki->nodes[0].info.self.serial;
	char path[200], command[600], error[CA_ERROR_BYTES];
	struct tls_ctx *next;
	struct cred_info info;

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %.90s/judge && cp -r %.120s %.90s/judge", pki->dir, id->dir, pki->dir);
	assert_int_equal(system(command), 0);
	snprintf(path, sizeof(path), "%s/judge/crl.pem", pki->dir);
	assert_int_equal(ca_revoke(pki->ca_dir, path, &serial, 1, 3, 0, error), 0);
	snprintf(path, sizeof(path), "%s/judge", pki->dir);
	assert_int_equal(cred_load(path, &id->name, &next, &info, error), 0);
	pool_set_tls(pair.side[1].pool, next, info.self.not_after_s);
	tls_ctx_unref(next);
	pool_want_peer(pair.side[0].pool, view_node_by_name(pair.side[0].view, "node2")->id);
	assert_true(pair_pump(&pair, attempt_failed, &pair.side[0]));
	assert_int_equal(pair.side[0].pool->counters.tunnels_failed[REASON_CERTIFICATE], 1);
	assert_non_null(strstr(container_of(pair.side[0].pool->peers.next, struct peer, entry)->last_error, "refused our certificate"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_peer_makes_only_so_many_tunnels),
		T(handshakes_that_stand_still_do_not_keep_nodes_out),
		T(new_certificates_end_handshakes_under_old_ones),
		T(a_revoked_peer_is_cut_at_once_and_others_are_not),
		T(a_refused_client_certificate_is_named_as_one),
	};

	return PAIR_RUN(tests);
}
