/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pair.h"

#include "base/log.h"
#include "tunnel/admission.h"
#include "unit/pki.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCHES_MAX = 200000 };

static const char *const node_names[2] = { "node1", "node2" };

/* Two connected TCP sockets on loopback, non-blocking. */
static void tcp_pair(int ret[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct linger reset = { 1, 0 };

	assert(listener >= 0 && !bind(listener, (struct sockaddr *)&a, sizeof(a)) && !listen(listener, 1));
	assert(!getsockname(listener, (struct sockaddr *)&a, &len));
	ret[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert(ret[0] >= 0 && !connect(ret[0], (struct sockaddr *)&a, sizeof(a)));
	ret[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert(ret[1] >= 0);
	close(listener);
	for (int i = 0; i < 2; i++) {
		assert(!fcntl(ret[i], F_SETFL, O_NONBLOCK));
		assert(!setsockopt(ret[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	}
	/* As on the real sockets of pods. */
	assert(!setsockopt(ret[0], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)));
	assert(!setsockopt(ret[0], SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one)));
}

static int connect_node(void *ctx, const struct endpoint *dst, bool *ret_pending)
{
	struct side *s = ctx, *other = &s->pair->side[!s->index];
	int fds[2];

	(void)dst;
	if (s->connect_node_error)
		return s->connect_node_error;
	if (!other->pool)
		return -ECONNREFUSED;
	s->connects++;
	tcp_pair(fds);
	*ret_pending = false;
	pool_accept_link(other->pool, fds[1]);
	return fds[0];
}

int pair_connect_node(struct side *s, bool *ret_pending)
{
	return connect_node(s, NULL, ret_pending);
}

static int connect_pod(void *ctx, const struct endpoint *client, const struct endpoint *server, bool is_ack_late, bool *ret_pending)
{
	struct side *s = ctx;
	int fds[2];

	(void)client;
	(void)server;
	s->is_ack_late = is_ack_late;
	if (s->connect_pod_error)
		return s->connect_pod_error;
	tcp_pair(fds);
	*ret_pending = !s->is_pod_at_once;
	if (s->is_pod_rude) {
		struct linger reset = { .l_onoff = 1 };

		assert(send(fds[1], "busy", 4, 0) == 4 && !setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)));
		close(fds[1]);
		return fds[0];
	}
	assert(s->pods_count < PAIR_PODS_MAX);
	s->pods[s->pods_count++] = fds[1];
	return fds[0];
}

static void release_syn(void *ctx, const struct syn *syn)
{
	struct side *s = ctx;

	s->released++;
	s->last_released = *syn;
}

static void answer_syn(void *ctx, const struct syn *syn, const struct syn_answer *answer)
{
	struct side *s = ctx;

	(void)syn;
	s->answered++;
	s->last_answer = *answer;
}

static void peer_reach(void *ctx, const char *node, struct pair_reach reach)
{
	struct side *s = ctx;

	assert(!strcmp(node, node_names[!s->index]));
	/* Only what is new is told. */
	assert(!pair_reach_equal(reach, s->reach));
	s->reach = reach;
}

/* As edge/pairs does it, without its times. */
static enum pair_state hear_peer(void *ctx, const char *node, enum pair_state said)
{
	struct side *s = ctx;

	assert(!strcmp(node, node_names[!s->index]));
	s->heard = said;
	if (s->pair_state == PAIR_JOINING && said >= PAIR_JOINING)
		s->pair_state = PAIR_JOINED;
	return s->pair_state;
}

static int silence_flow(void *ctx, const char *node, const struct endpoint *local, const struct endpoint *remote, bool is_silent)
{
	struct side *s = ctx;

	assert(!strcmp(node, node_names[!s->index]));
	if (is_silent && s->silence_error)
		return s->silence_error;
	s->silenced += is_silent ? 1 : -1;
	assert(s->silenced >= 0);
	s->silenced_local = *local;
	s->silenced_remote = *remote;
	return 0;
}

static int ask_pod(void *ctx, int fd, struct sock_answers *ret)
{
	struct side *s = ctx;

	assert(fd >= 0);
	s->asked++;
	*ret = s->answers;
	return 0;
}

static void drained(void *ctx)
{
	struct side *s = ctx;

	s->is_drained = true;
	s->drained++;
}

static uint32_t lane_of(void *ctx, const char *node)
{
	struct side *s = ctx;

	assert(!strcmp(node, node_names[!s->index]));
	return s->lane;
}

static void move_link(void *ctx, const char *node, uint32_t lane, struct moved_link *m)
{
	struct side *s = ctx;

	assert(!strcmp(node, node_names[!s->index]) && lane % s->settings.workers != s->lane && !s->moved);
	s->moved = m;
	s->moves++;
}

static void set_full(void *ctx, bool is_full)
{
	struct side *s = ctx;

	/* Only what is new is told. */
	assert(is_full != s->is_full);
	s->is_full = is_full;
	s->full_told++;
}

static void want_lane(void *ctx, uint32_t node_id)
{
	struct side *s = ctx;

	assert(!strcmp(view_node_by_id(s->view, node_id)->name, node_names[!s->index]));
	s->lanes_wanted++;
}

static void peer_restarted(void *ctx, uint32_t node_id, uint64_t incarnation)
{
	struct side *s = ctx;

	assert(!strcmp(view_node_by_id(s->view, node_id)->name, node_names[!s->index]));
	s->restarted = incarnation;
	s->restarts++;
}

static const struct pool_ops ops = { .connect_node = connect_node,
	                             .connect_pod = connect_pod,
	                             .release_syn = release_syn,
	                             .answer_syn = answer_syn,
	                             .peer_reach = peer_reach,
	                             .hear_peer = hear_peer,
	                             .silence_flow = silence_flow,
	                             .ask_pod = ask_pod,
	                             .drained = drained,
	                             .lane_of = lane_of,
	                             .move_link = move_link,
	                             .set_full = set_full,
	                             .want_lane = want_lane,
	                             .peer_restarted = peer_restarted };

int pair_begin(void)
{
	log_set_level(getenv("TEST_LOG") ? LOG_DEBUG : LOG_ERROR);
	return tls_init();
}

struct view *pair_view(int self, const char *pods1, const char *pods2)
{
	struct view_node nodes[2] = { 0 };
	struct addr addresses[2];
	struct prefix pods[2];
	const char *texts[2] = { pods1, pods2 };
	char error[VIEW_ERROR_BYTES];
	struct view *v = NULL;

	assert(!addr_parse("192.0.2.1", &addresses[0]) && !addr_parse("192.0.2.2", &addresses[1]));
	for (int i = 0; i < 2; i++) {
		strcpy(nodes[i].name, node_names[i]);
		nodes[i].addresses = &addresses[i];
		nodes[i].addresses_count = 1;
		nodes[i].pods = &pods[i];
		nodes[i].pods_count = texts[i] ? 1 : 0;
		assert(!texts[i] || !prefix_parse(texts[i], &pods[i]));
	}
	if (view_create(nodes, 2, NULL, 0, node_names[self], NULL, &v, error))
		abort();
	return v;
}

void side_start(struct side *s)
{
	const struct pki_node *id = &pki_get()->nodes[s->index];

	s->settings.incarnation++;
	s->is_drained = false;
	if (pool_create(s->loop, &s->settings, &ops, s, s->view, id->ctx, id->info.self.not_after_s, &s->pool))
		abort();
}

void side_stop(struct side *s)
{
	pool_destroy(s->pool);
	s->pool = NULL;
	(void)loop_run_once(s->loop, 0);
}

static void side_init(struct side *s, struct pair *p, int index, uint64_t budget_bytes)
{
	char error[NAME_ERROR_BYTES];

	s->pair = p;
	s->index = index;
	clock_init_fake(&s->clock, NS_PER_S);
	if (loop_create(&s->clock, &s->loop))
		abort();
	budget_init(&s->budget, budget_bytes);
	strcpy(s->settings.node, node_names[index]);
	s->settings.incarnation = (uint64_t)(index + 1) * 1000;
	s->settings.tunnel_port = 7117;
	s->settings.budget = &s->budget;
	s->settings.peer_timeout_ms = 120000;
	s->settings.idle_timeout_ms = 600000;
	s->settings.drain_timeout_ms = 30000;
	s->settings.tunnels_per_peer = 4;
	s->pair_state = PAIR_JOINED;
	if (name_template_parse("URI:spiffe://cluster.local/ns/culvert/node/{node}", &s->settings.name, error))
		abort();
	s->view = pair_view(index, "10.1.0.0/16", "10.2.0.0/16");
	side_start(s);
}

void pair_init(struct pair *p, uint64_t budget_bytes)
{
	memset(p, 0, sizeof(*p));
	for (int i = 0; i < 2; i++)
		side_init(&p->side[i], p, i, budget_bytes);
}

void pair_add_worker(struct pair *p)
{
	side_init(&p->other, p, 1, p->side[1].budget.limit_bytes);
	p->side[0].lane = p->other.lane = 1;
	p->side[0].settings.workers = p->side[1].settings.workers = p->other.settings.workers = 2;
}

static void side_done(struct side *s)
{
	for (int pod = s->pods_taken; pod < s->pods_count; pod++)
		close(s->pods[pod]);
	moved_link_destroy(s->moved);
	loop_destroy(s->loop);
	view_unref(s->view);
	/* Whatever happened to the streams, nothing may stay reserved. */
	assert(budget_granted(&s->budget) == 0);
}

void pair_done(struct pair *p)
{
	for (int i = 0; i < 2; i++) {
		if (p->side[i].pool)
			side_stop(&p->side[i]);
	}
	if (p->other.pool)
		side_stop(&p->other);
	for (int i = 0; i < 2; i++)
		side_done(&p->side[i]);
	if (p->other.loop)
		side_done(&p->other);
}

int pair_open(struct pair *p, int i, const char *client, const char *server)
{
	struct endpoint from, to;
	int fds[2];

	assert(!endpoint_parse(client, &from) && !endpoint_parse(server, &to));
	tcp_pair(fds);
	stream_accepted(p->side[i].pool, fds[0], &from, &to);
	return fds[1];
}

void pair_syn(struct pair *p, int i, const char *client, const char *server, uint32_t seq)
{
	pair_syn_by(p, i, 0, client, server, seq);
}

void pair_syn_by(struct pair *p, int i, uint32_t device, const char *client, const char *server, uint32_t seq)
{
	struct syn s = { .seq = seq, .device = device };

	assert(!endpoint_parse(client, &s.client) && !endpoint_parse(server, &s.server));
	pool_take_syn(p->side[i].pool, &s);
}

int side_take_pod(struct side *s)
{
	return s->pods_taken < s->pods_count ? s->pods[s->pods_taken++] : -1;
}

static void batch(struct pair *p)
{
	for (int i = 0; i < 2; i++) {
		if (!p->side[i].is_cut)
			(void)loop_run_once(p->side[i].loop, 0);
	}
	if (p->other.loop)
		(void)loop_run_once(p->other.loop, 0);
}

/* Sleeps now and then: on a busy machine the kernel hands over what was sent in a thread of its own (ksoftirqd), which a test that only looks
 * and looks again keeps from its processor, so that a number of batches would say nothing about what came. */
void pair_run(struct pair *p, int batches)
{
	for (int i = 1; i <= batches; i++) {
		batch(p);
		if (i % 4 == 0)
			usleep(20);
	}
}

bool pair_pump(struct pair *p, bool (*done)(void *ctx), void *ctx)
{
	for (int i = 0; i < BATCHES_MAX; i++) {
		if (done(ctx))
			return true;
		batch(p);
	}
	return done(ctx);
}

void pair_advance_s(struct pair *p, int seconds)
{
	while (seconds--)
		pair_advance_ms(p, 1000);
}

void pair_advance_ms(struct pair *p, uint64_t ms)
{
	for (int i = 0; i < 2; i++)
		clock_fake_advance(&p->side[i].clock, ms * NS_PER_MS);
	clock_fake_advance(&p->other.clock, ms * NS_PER_MS);
	pair_run(p, 10);
}

void side_run(struct side *s, int batches)
{
	while (batches--)
		(void)loop_run_once(s->loop, 0);
}

bool side_pump(struct side *s, bool (*done)(void *ctx), void *ctx)
{
	for (int i = 0; i < BATCHES_MAX && !done(ctx); i++)
		side_run(s, 1);
	return done(ctx);
}

struct tunnel *side_tunnel(const struct side *s)
{
	list_for_each(at, &s->pool->peers) {
		struct peer *peer = container_of(at, struct peer, entry);

		if (!list_is_empty(&peer->tunnels))
			return container_of(peer->tunnels.next, struct tunnel, entry);
	}
	return NULL;
}
