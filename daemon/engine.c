/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine.h"

#include "base/log.h"
#include "cluster/trail.h"
#include "edge/hold.h"
#include "net/mailbox.h"
#include "net/sock.h"
#include "net/worker.h"
#include "tunnel/stranger.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 16384 };

enum message_type {
	TO_VIEW,
	TO_TLS,
	TO_LINK,
	TO_MOVED,
	TO_WANT,
	TO_RESTARTED,
	TO_SETTINGS,
	TO_DRAIN,
	TO_QUESTION,
	FROM_MOVED,
	FROM_FULL,
	FROM_RESTARTED,
	FROM_DRAINED,
	FROM_ANSWER
};

/* One message for all that workers are told; what does not belong to a type is zero. */
struct engine_message {
	struct message base;
	struct view *view;
	uint64_t view_number; /* in the trail; 0: none */
	struct tls_ctx *tls;
	int64_t certificate_end_s;
	int fd;                   /* -1: none */
	uint32_t node_id, worker; /* worker: the one that a link moves to, or that says it */
	uint64_t settings_hash, incarnation;
	struct moved_link *moved;
	struct engine_question *question;
	void *part;
};

/* Belongs to main; workers only touch their part. */
struct engine_question {
	void (*in_worker)(struct pool *pool, void *part, void *ctx);
	void (*done)(void *ctx, void *const *parts, uint32_t parts_count);
	void *ctx;
	uint32_t waiting;
	void *parts[ENGINE_WORKERS_MAX];
};

struct engine_worker {
	struct engine *engine;
	struct worker *worker;
	struct pool *pool;
	struct hold *hold;            /* NULL: it can not */
	int listener_fd[2];           /* AF_INET, AF_INET6; written before worker_start returns */
	_Atomic uint64_t view_number; /* of the view that it reads; written by the worker */
};

struct engine {
	struct loop *loop;
	struct engine_settings settings;
	struct engine_ops ops;
	void *ctx;
	struct budget budget;
	struct mailbox *mailbox; /* main's: answers */
	struct view *view;       /* in force; also what workers begin with */
	struct trail trail;      /* of the views that workers may still read */
	struct tls_ctx *tls;
	int64_t certificate_end_s;
	uint32_t drained_count, workers_count;
	bool is_ended; /* the workers are gone: nothing is posted any more */
	struct engine_worker workers[ENGINE_WORKERS_MAX];
};

/* --- messages --- */

static void engine_message_destroy(struct message *base)
{
	struct engine_message *m = container_of(base, struct engine_message, base);

	view_unref(m->view);
	tls_ctx_unref(m->tls);
	if (m->fd >= 0)
		close(m->fd);
	moved_link_destroy(m->moved);
	free(m);
}

static struct engine_message *engine_message_create(int type)
{
	struct engine_message *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	list_init(&m->base.link);
	m->base.type = type;
	m->base.destroy = engine_message_destroy;
	m->fd = -1;
	return m;
}

/* --- in the workers' threads --- */

static int connect_node(void *ctx, const struct endpoint *dst, bool *ret_pending)
{
	struct engine_worker *w = ctx;
	int fd, r = sock_enter_netns(edge_netns_host_fd(w->engine->settings.netns));

	if (r)
		return r;
	fd = sock_connect(NULL, dst, ret_pending);
	/* A worker outside its namespace would make pods' connections in the wrong one: nothing may go on. */
	if (sock_enter_netns(edge_netns_fd(w->engine->settings.netns)))
		abort();
	if (fd >= 0)
		sock_tune_tunnel(fd, w->engine->settings.pool.peer_timeout_ms);
	return fd;
}

static int connect_pod(void *ctx, const struct endpoint *client, const struct endpoint *server, bool is_ack_late, bool *ret_pending)
{
	(void)ctx;
	return sock_connect_transparent(client, server, is_ack_late, ret_pending);
}

static uint32_t number_of(const struct engine_worker *w)
{
	return (uint32_t)(w - w->engine->workers);
}

static void peer_reach(void *ctx, const char *node, struct pair_reach reach)
{
	struct engine_worker *w = ctx;

	w->engine->ops.peer_reach(w->engine->ctx, node, number_of(w), reach);
}

static uint32_t lane_of(void *ctx, const char *node)
{
	struct engine_worker *w = ctx;
	uint32_t workers = w->engine->settings.workers;

	return (number_of(w) + workers - view_home_worker(node, workers)) % workers;
}

/* By way of main, as all that one worker has for another: so none of them posts to one that has ended. */
static void post_to_main(struct engine_worker *w, struct engine_message *m)
{
	m->worker = number_of(w);
	mailbox_post(w->engine->mailbox, &m->base);
}

static void move_link(void *ctx, const char *node, uint32_t lane, struct moved_link *moved)
{
	struct engine_worker *w = ctx;
	struct engine_message *m = engine_message_create(FROM_MOVED);
	uint32_t workers = w->engine->settings.workers;

	if (!m) {
		moved_link_destroy(moved);
		return;
	}
	m->moved = moved;
	m->worker = (view_home_worker(node, workers) + lane) % workers;
	mailbox_post(w->engine->mailbox, &m->base);
}

static void set_full(void *ctx, bool is_full)
{
	struct engine_worker *w = ctx;

	w->engine->ops.set_full(w->engine->ctx, number_of(w), is_full);
}

static void want_lane(void *ctx, uint32_t node_id)
{
	struct engine_message *m = engine_message_create(FROM_FULL);

	if (!m)
		return; /* said again */
	m->node_id = node_id;
	post_to_main(ctx, m);
}

static void peer_restarted(void *ctx, uint32_t node_id, uint64_t incarnation)
{
	struct engine_message *m = engine_message_create(FROM_RESTARTED);

	if (!m)
		return; /* each tunnel finds out by itself, later */
	m->node_id = node_id;
	m->incarnation = incarnation;
	post_to_main(ctx, m);
}

static enum pair_state hear_peer(void *ctx, const char *node, enum pair_state said)
{
	struct engine_worker *w = ctx;

	return w->engine->ops.hear_peer(w->engine->ctx, node, said);
}

static int silence_flow(void *ctx, const char *node, const struct endpoint *local, const struct endpoint *remote, bool is_silent)
{
	struct engine_worker *w = ctx;

	return w->engine->ops.silence_flow(w->engine->ctx, node, local, remote, is_silent);
}

static int ask_pod(void *ctx, int fd, struct sock_answers *ret)
{
	(void)ctx;
	return sock_answers(fd, ret);
}

static void release_syn(void *ctx, const struct syn *s)
{
	hold_release(((struct engine_worker *)ctx)->hold, s);
}

static void answer_syn(void *ctx, const struct syn *s, const struct syn_answer *answer)
{
	hold_answer(((struct engine_worker *)ctx)->hold, s, answer);
}

static void on_syn(void *ctx, const struct syn *s)
{
	pool_take_syn(((struct engine_worker *)ctx)->pool, s);
}

static void drained(void *ctx)
{
	struct engine_worker *w = ctx;
	struct engine_message *m = engine_message_create(FROM_DRAINED);

	if (m)
		mailbox_post(w->engine->mailbox, &m->base);
}

static const struct pool_ops pool_ops = { .connect_node = connect_node,
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

/* Always, where it can be: a reload may ask for it later. */
static int engine_worker_hold(struct engine_worker *w, struct loop *loop)
{
	char error[EDGE_ERROR_BYTES];
	int r = hold_create(loop, w->engine->settings.netns, &w->engine->settings.passing, on_syn, w, &w->hold, error);

	if (!r || !w->engine->settings.is_holding)
		return 0;
	log_error("a worker can not hold connections until the far side has answered", L_TEXT("detail", error));
	return r;
}

static int engine_worker_start(void *ctx, struct worker *worker)
{
	static const int families[2] = { AF_INET, AF_INET6 };
	struct engine_worker *w = ctx;
	struct engine *e = w->engine;
	int r = sock_enter_netns(edge_netns_fd(e->settings.netns));

	if (r)
		return r;
	r = pool_create(worker_loop(worker), &e->settings.pool, &pool_ops, w, e->view, e->tls, e->certificate_end_s, &w->pool);
	if (!r)
		r = engine_worker_hold(w, worker_loop(worker));
	for (int i = 0; !r && i < 2; i++) {
		int fd = sock_listen_transparent(families[i], LISTEN_BACKLOG);

		if (fd < 0) {
			/* A node without IPv6 has no IPv6 pods either. */
			if (families[i] == AF_INET6 && fd == -EAFNOSUPPORT)
				continue;
			r = fd;
			break;
		}
		w->listener_fd[i] = fd;
		r = pool_add_listener(w->pool, fd);
	}
	if (r) {
		hold_destroy(w->hold);
		pool_destroy(w->pool);
		w->hold = NULL;
		w->pool = NULL;
	}
	return r;
}

static void engine_worker_message(void *ctx, struct message *base)
{
	struct engine_worker *w = ctx;
	struct engine_message *m = container_of(base, struct engine_message, base);

	switch ((enum message_type)base->type) {
	case TO_VIEW:
		pool_set_view(w->pool, m->view);
		/* Release: what it read of the views before is read before main frees them. */
		if (m->view_number)
			atomic_store_explicit(&w->view_number, m->view_number, memory_order_release);
		break;
	case TO_TLS:
		pool_set_tls(w->pool, m->tls, m->certificate_end_s);
		break;
	case TO_LINK:
		pool_accept_link(w->pool, m->fd);
		m->fd = -1;
		break;
	case TO_MOVED:
		pool_take_moved(w->pool, m->moved);
		m->moved = NULL;
		break;
	case TO_WANT:
		pool_want_peer(w->pool, m->node_id);
		break;
	case TO_RESTARTED:
		pool_peer_restarted(w->pool, m->node_id, m->incarnation);
		break;
	case TO_SETTINGS:
		pool_set_settings_hash(w->pool, m->settings_hash);
		break;
	case TO_DRAIN:
		pool_drain(w->pool);
		break;
	case TO_QUESTION:
		m->question->in_worker(w->pool, m->part, m->question->ctx);
		base->type = FROM_ANSWER;
		mailbox_post(w->engine->mailbox, base);
		return;
	case FROM_MOVED:
	case FROM_FULL:
	case FROM_RESTARTED:
	case FROM_DRAINED:
	case FROM_ANSWER:
		break;
	}
	engine_message_destroy(base);
}

static void engine_worker_stop(void *ctx)
{
	struct engine_worker *w = ctx;

	pool_destroy(w->pool); /* it may still answer what it holds */
	hold_destroy(w->hold);
	w->pool = NULL;
	w->hold = NULL;
}

static const struct worker_ops worker_ops = { .start = engine_worker_start, .message = engine_worker_message, .stop = engine_worker_stop };

/* --- in main's thread --- */

static void question_finish(struct engine_question *q, uint32_t parts_count)
{
	q->done(q->ctx, q->parts, parts_count);
	for (uint32_t i = 0; i < parts_count; i++)
		free(q->parts[i]);
	free(q);
}

static void engine_post(struct engine *e, uint32_t worker, struct engine_message *m)
{
	if (e->is_ended) {
		engine_message_destroy(&m->base);
		return;
	}
	worker_post(e->workers[worker].worker, &m->base);
}

static void engine_forward(struct engine *e, uint32_t worker, enum message_type type, struct engine_message *m)
{
	m->base.type = type;
	engine_post(e, worker, m);
}

/* A worker is full of a node's traffic: another one makes a tunnel to it, if one is left. While that is under way the same one is asked again, and has
 * nothing to do. */
static void engine_widen(struct engine *e, struct engine_message *m)
{
	const struct view_node *node = view_node_by_id(e->view, m->node_id);
	uint32_t worker;

	if (node && e->ops.next_lane(e->ctx, node->name, view_home_worker(node->name, e->workers_count), e->settings.pool.tunnels_per_peer,
	                             &worker))
		engine_forward(e, worker, TO_WANT, m);
	else
		engine_message_destroy(&m->base);
}

static void engine_tell_others(struct engine *e, const struct engine_message *m)
{
	for (uint32_t i = 0; i < e->workers_count; i++) {
		struct engine_message *told = i != m->worker ? engine_message_create(TO_RESTARTED) : NULL;

		if (!told)
			continue;
		told->node_id = m->node_id;
		told->incarnation = m->incarnation;
		engine_post(e, i, told);
	}
}

static void engine_on_message(void *ctx, struct message *base)
{
	struct engine *e = ctx;
	struct engine_message *m = container_of(base, struct engine_message, base);

	switch ((enum message_type)base->type) {
	case FROM_MOVED:
		engine_forward(e, m->worker, TO_MOVED, m);
		return;
	case FROM_FULL:
		engine_widen(e, m);
		return;
	case FROM_RESTARTED:
		engine_tell_others(e, m);
		break;
	case FROM_DRAINED:
		if (++e->drained_count == e->workers_count)
			e->ops.drained(e->ctx);
		break;
	case FROM_ANSWER:
		if (--m->question->waiting == 0)
			question_finish(m->question, e->workers_count);
		break;
	default:
		break;
	}
	engine_message_destroy(base);
}

int engine_create(struct loop *loop, const struct engine_settings *settings, const struct engine_ops *ops, void *ctx, struct view *view,
                  struct tls_ctx *tls, int64_t certificate_end_s, struct engine **ret)
{
	struct engine *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	e->loop = loop;
	e->settings = *settings;
	e->settings.pool.budget = &e->budget;
	e->settings.pool.workers = settings->workers;
	e->ops = *ops;
	e->ctx = ctx;
	e->view = view_ref(view);
	trail_init(&e->trail);
	(void)trail_add(&e->trail, view);
	e->tls = tls_ctx_ref(tls);
	e->certificate_end_s = certificate_end_s;
	budget_init(&e->budget, settings->memory_bytes);
	r = mailbox_create(loop, engine_on_message, e, &e->mailbox);
	for (uint32_t i = 0; !r && i < settings->workers; i++) {
		struct engine_worker *w = &e->workers[i];
		char name[16];

		snprintf(name, sizeof(name), "culvert-%u", i % ENGINE_WORKERS_MAX);
		*w = (struct engine_worker){ .engine = e, .listener_fd = { -1, -1 } };
		r = worker_start(name, &worker_ops, w, &w->worker);
		if (r)
			log_error("a worker does not start", L_U64("worker", i), L_ERRNO(r));
		else
			e->workers_count++;
	}
	if (r) {
		engine_destroy(e);
		return r;
	}
	*ret = e;
	return 0;
}

void engine_destroy(struct engine *e)
{
	if (!e)
		return;
	for (uint32_t i = 0; i < e->workers_count; i++)
		worker_stop(e->workers[i].worker);
	/* The workers have answered what they were asked; their answers still wait here, and who asked owns memory until they come. Whatever else
	 * the loop finds at this moment finds no workers. */
	e->is_ended = true;
	if (e->mailbox)
		(void)loop_run_once(e->loop, 0);
	mailbox_destroy(e->mailbox);
	trail_done(&e->trail);
	view_unref(e->view);
	tls_ctx_unref(e->tls);
	free(e);
}

uint32_t engine_workers(const struct engine *e)
{
	return e ? e->workers_count : 0;
}

int engine_listener_fd(const struct engine *e, uint32_t worker, int family)
{
	return e->workers[worker].listener_fd[family == AF_INET6];
}

int engine_hold_fd(const struct engine *e, uint32_t worker)
{
	return e->workers[worker].hold ? hold_ring_fd(e->workers[worker].hold) : -1;
}

const struct budget *engine_budget(const struct engine *e)
{
	static const struct budget none;

	return e ? &e->budget : &none;
}

/* What every worker has left behind is freed here, not on the data path. */
static void engine_let_go(struct engine *e)
{
	uint64_t oldest = UINT64_MAX;

	for (uint32_t i = 0; i < e->workers_count; i++) {
		uint64_t number = atomic_load_explicit(&e->workers[i].view_number, memory_order_acquire);

		if (number < oldest)
			oldest = number;
	}
	trail_let_go(&e->trail, oldest);
}

void engine_set_view(struct engine *e, struct view *view)
{
	struct view *old = e->view;
	uint64_t number = trail_add(&e->trail, view);

	e->view = view_ref(view);
	view_unref(old);
	engine_let_go(e);
	for (uint32_t i = 0; i < e->workers_count; i++) {
		struct engine_message *m = engine_message_create(TO_VIEW);

		if (!m) {
			log_error("no memory to hand a worker the new view: it keeps the old one", L_U64("worker", i));
			continue;
		}
		m->view = view_ref(view);
		m->view_number = number;
		engine_post(e, i, m);
	}
}

void engine_set_tls(struct engine *e, struct tls_ctx *tls, int64_t certificate_end_s)
{
	for (uint32_t i = 0; i < e->workers_count; i++) {
		struct engine_message *m = engine_message_create(TO_TLS);

		if (!m) {
			log_error("no memory to hand a worker the new certificates: it keeps the old ones", L_U64("worker", i));
			continue;
		}
		m->tls = tls_ctx_ref(tls);
		m->certificate_end_s = certificate_end_s;
		engine_post(e, i, m);
	}
}

void engine_accept(struct engine *e, int fd, const struct endpoint *from)
{
	const struct view_node *node = view_node_by_address(e->view, &from->addr);
	struct engine_message *m = engine_message_create(TO_LINK);
	uint32_t worker;

	if (!m) {
		close(fd);
		return;
	}
	sock_tune_tunnel(fd, e->settings.pool.peer_timeout_ms);
	m->fd = fd;
	/* Behind a NAT the address is nobody's: any worker will do, until HELLO says whose it is. */
	worker = node ? view_home_worker(node->name, e->workers_count)
	              : (uint32_t)(from->addr.bytes[15] + from->addr.bytes[14]) % e->workers_count;
	engine_post(e, worker, m);
}

void engine_want_peer(struct engine *e, uint32_t node_id)
{
	const struct view_node *node = view_node_by_id(e->view, node_id);
	struct engine_message *m = node ? engine_message_create(TO_WANT) : NULL;

	if (!m)
		return;
	m->node_id = node_id;
	engine_post(e, view_home_worker(node->name, e->workers_count), m);
}

void engine_set_settings_hash(struct engine *e, uint64_t settings_hash)
{
	for (uint32_t i = 0; i < e->workers_count; i++) {
		struct engine_message *m = engine_message_create(TO_SETTINGS);

		if (!m) {
			log_error("no memory to tell other nodes of the new settings", L_U64("worker", i));
			continue;
		}
		m->settings_hash = settings_hash;
		engine_post(e, i, m);
	}
}

void engine_drain(struct engine *e)
{
	for (uint32_t i = 0; i < e->workers_count; i++) {
		struct engine_message *m = engine_message_create(TO_DRAIN);

		if (m)
			engine_post(e, i, m);
	}
}

int engine_ask(struct engine *e, size_t part_bytes, void (*in_worker)(struct pool *pool, void *part, void *ctx),
               void (*done)(void *ctx, void *const *parts, uint32_t parts_count), void *ctx)
{
	struct engine_message *m[ENGINE_WORKERS_MAX] = { NULL };
	struct engine_question *q;
	bool is_complete;

	if (!e) {
		done(ctx, NULL, 0);
		return 0;
	}
	q = calloc(1, sizeof(*q));
	is_complete = q != NULL && !e->is_ended;

	for (uint32_t i = 0; is_complete && i < e->workers_count; i++) {
		q->parts[i] = calloc(1, part_bytes);
		m[i] = engine_message_create(TO_QUESTION);
		is_complete = q->parts[i] && m[i];
	}
	if (!is_complete) {
		for (uint32_t i = 0; i < e->workers_count; i++) {
			if (q)
				free(q->parts[i]);
			free(m[i]);
		}
		free(q);
		return -ENOMEM;
	}
	q->in_worker = in_worker;
	q->done = done;
	q->ctx = ctx;
	q->waiting = e->workers_count;
	for (uint32_t i = 0; i < e->workers_count; i++) {
		m[i]->question = q;
		m[i]->part = q->parts[i];
		engine_post(e, i, m[i]);
	}
	return 0;
}
