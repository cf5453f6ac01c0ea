/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct worker {
	const struct worker_ops *ops;
	void *ctx;
	struct clock clock;
	struct loop *loop;
	struct mailbox *mailbox;
	pthread_t thread;
	struct message stop_message; /* known by its address */

	pthread_mutex_t lock; /* covers the two below */
	pthread_cond_t started;
	bool is_started;
	int start_rc;
};

static void stop_message_destroy(struct message *m)
{
	(void)m; /* a part of the worker */
}

static void worker_message(void *ctx, struct message *m)
{
	struct worker *w = ctx;

	if (m == &w->stop_message)
		loop_stop(w->loop);
	else
		w->ops->message(w->ctx, m);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	int rc = w->ops->start(w->ctx, w);

	(void)pthread_mutex_lock(&w->lock);
	w->start_rc = rc;
	w->is_started = true;
	(void)pthread_cond_signal(&w->started);
	(void)pthread_mutex_unlock(&w->lock);
	if (rc < 0)
		return NULL;
	/* An error of epoll_wait itself can only be a fault of ours; the thread ends as if it had been asked to. */
	(void)loop_run(w->loop);
	w->ops->stop(w->ctx);
	return NULL;
}

static void worker_free(struct worker *w)
{
	mailbox_destroy(w->mailbox);
	loop_destroy(w->loop);
	(void)pthread_cond_destroy(&w->started);
	(void)pthread_mutex_destroy(&w->lock);
	free(w);
}

static int thread_create(struct worker *w)
{
	sigset_t all, before;
	int rc;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = -pthread_create(&w->thread, NULL, worker_main, w);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

int worker_start(const char *name, const struct worker_ops *ops, void *ctx, struct worker **ret)
{
	struct worker *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return -ENOMEM;
	w->ops = ops;
	w->ctx = ctx;
	w->stop_message.destroy = stop_message_destroy;
	clock_init(&w->clock);
	(void)pthread_mutex_init(&w->lock, NULL);
	(void)pthread_cond_init(&w->started, NULL);
	rc = loop_create(&w->clock, &w->loop);
	if (rc < 0)
		goto undo;
	rc = mailbox_create(w->loop, worker_message, w, &w->mailbox);
	if (rc < 0)
		goto undo;
	rc = thread_create(w);
	if (rc < 0)
		goto undo;
	(void)pthread_setname_np(w->thread, name);

	(void)pthread_mutex_lock(&w->lock);
	while (!w->is_started)
		(void)pthread_cond_wait(&w->started, &w->lock);
	rc = w->start_rc;
	(void)pthread_mutex_unlock(&w->lock);
	if (rc < 0) {
		(void)pthread_join(w->thread, NULL);
		goto undo;
	}
	*ret = w;
	return 0;

undo:
	worker_free(w);
	return rc;
}

struct loop *worker_loop(struct worker *w)
{
	return w->loop;
}

void worker_post(struct worker *w, struct message *m)
{
	mailbox_post(w->mailbox, m);
}

void worker_stop(struct worker *w)
{
	if (!w)
		return;
	mailbox_post(w->mailbox, &w->stop_message);
	(void)pthread_join(w->thread, NULL);
	worker_free(w);
}
