/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

enum { WORKERS = 3, ROUNDS = 500 };

/* Written by the worker's thread; read by the test when it has ended. */
struct crew {
	struct worker *worker;
	struct worker *neighbour;
	int start_rc, started, stopped, received;
	bool has_signals_blocked, was_started_first, is_in_own_thread;
	char name[16];
	pthread_t creator;
	struct loop_timer timer;
	int expired;
};

struct note {
	struct message message;
	int rounds_left;
};

static _Atomic int destroyed;

static void note_destroy(struct message *m)
{
	destroyed++;
	free(container_of(m, struct note, message));
}

static struct note *note_create(int rounds_left)
{
	struct note *n = calloc(1, sizeof(*n));

	if (!n)
		abort();
	n->message.destroy = note_destroy;
	n->rounds_left = rounds_left;
	return n;
}

static void timer_expired(struct loop_timer *t)
{
	struct crew *c = container_of(t, struct crew, timer);

	c->expired++;
}

static int crew_start(void *ctx, struct worker *w)
{
	struct crew *c = ctx;
	sigset_t blocked;

	c->worker = w;
	c->started++;
	c->is_in_own_thread = !pthread_equal(pthread_self(), c->creator);
	c->has_signals_blocked = pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0 && sigismember(&blocked, SIGTERM) == 1 &&
	                         sigismember(&blocked, SIGHUP) == 1;
	c->timer.on_expire = timer_expired;
	if (c->start_rc == 0)
		return loop_timer_set(worker_loop(w), &c->timer, loop_now(worker_loop(w)));
	return c->start_rc;
}

static void crew_message(void *ctx, struct message *m)
{
	struct crew *c = ctx;
	struct note *n = container_of(m, struct note, message);

	c->was_started_first = c->started == 1;
	c->received++;
	(void)pthread_getname_np(pthread_self(), c->name, sizeof(c->name));
	if (c->neighbour && n->rounds_left > 0) {
		n->rounds_left--;
		worker_post(c->neighbour, m);
		return;
	}
	free(n);
}

static void crew_stop(void *ctx)
{
	struct crew *c = ctx;

	c->stopped++;
	/* The loop is still there. */
	loop_timer_clear(worker_loop(c->worker), &c->timer);
}

static const struct worker_ops ops = { .start = crew_start, .message = crew_message, .stop = crew_stop };

static void a_worker_receives_until_it_is_stopped(void **state)
{
	struct crew c = { .creator = pthread_self() };
	struct worker *w;

	(void)state;
	assert_int_equal(worker_start("culvert-w0", &ops, &c, &w), 0);
	for (int i = 0; i < 100; i++)
		worker_post(w, &note_create(0)->message);
	worker_stop(w);
	assert_int_equal(c.started, 1);
	assert_int_equal(c.received, 100);
	assert_int_equal(c.stopped, 1);
	assert_int_equal(c.expired, 1);
	assert_true(c.was_started_first);
	assert_true(c.is_in_own_thread);
	assert_true(c.has_signals_blocked);
	assert_string_equal(c.name, "culvert-w0");
}

static void the_callers_signal_mask_stays(void **state)
{
	struct crew c = { .creator = pthread_self() };
	sigset_t before, after;
	struct worker *w;

	(void)state;
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
	assert_int_equal(worker_start("w", &ops, &c, &w), 0);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
	worker_stop(w);
	assert_int_equal(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
	assert_int_equal(sigismember(&before, SIGINT), sigismember(&after, SIGINT));
}

static void a_start_that_fails_is_told(void **state)
{
	struct crew c = { .start_rc = -EPERM };
	struct worker *w = NULL;

	(void)state;
	assert_int_equal(worker_start("w", &ops, &c, &w), -EPERM);
	assert_null(w);
	assert_int_equal(c.started, 1);
	assert_int_equal(c.stopped, 0);
	worker_stop(NULL);
}

/* Messages go round from worker to worker, and more are posted from outside meanwhile. */
static void workers_post_to_each_other(void **state)
{
	struct crew crews[WORKERS] = { { 0 } };
	struct worker *workers[WORKERS];
	int received = 0;

	(void)state;
	destroyed = 0;
	for (int i = 0; i < WORKERS; i++)
		assert_int_equal(worker_start("w", &ops, &crews[i], &workers[i]), 0);
	/* Set before the first message is posted: the mailbox's lock orders it before every delivery. */
	for (int i = 0; i < WORKERS - 1; i++)
		crews[i].neighbour = workers[i + 1];
	for (int i = 0; i < ROUNDS; i++)
		worker_post(workers[i % WORKERS], &note_create(WORKERS)->message);
	/* In the direction in which they post, so that none posts to one that is gone. */
	for (int i = 0; i < WORKERS; i++)
		worker_stop(workers[i]);
	for (int i = 0; i < WORKERS; i++)
		received += crews[i].received;
	/* A note that starts at worker i is received by i and by all that follow. */
	for (int i = 0; i < ROUNDS; i++)
		received -= WORKERS - i % WORKERS;
	assert_int_equal(received, 0);
	assert_int_equal(destroyed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_worker_receives_until_it_is_stopped),
		cmocka_unit_test(the_callers_signal_mask_stays),
		cmocka_unit_test(a_start_that_fails_is_told),
		cmocka_unit_test(workers_post_to_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
