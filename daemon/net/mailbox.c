/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct mailbox {
	struct loop *loop;
	struct loop_source source; /* of the eventfd */
	void (*on_message)(void *ctx, struct message *m);
	void *ctx;

	pthread_mutex_t lock; /* covers queue */
	struct list queue;
};

static void mailbox_readable(struct loop_source *src, uint32_t events)
{
	struct mailbox *mb = container_of(src, struct mailbox, source);
	struct list batch, *link;
	uint64_t count;

	(void)events;
	/* The counter is taken before the queue: a message that is posted in between wakes the loop once more for nothing, and none is
	 * ever left lying. */
	(void)!read(mb->source.fd, &count, sizeof(count));
	list_init(&batch);
	(void)pthread_mutex_lock(&mb->lock);
	list_splice(&batch, &mb->queue);
	(void)pthread_mutex_unlock(&mb->lock);
	while ((link = list_pop(&batch)))
		mb->on_message(mb->ctx, container_of(link, struct message, link));
}

int mailbox_create(struct loop *loop, void (*on_message)(void *ctx, struct message *m), void *ctx, struct mailbox **ret)
{
	struct mailbox *mb = calloc(1, sizeof(*mb));
	int rc;

	if (!mb)
		return -ENOMEM;
	mb->loop = loop;
	mb->on_message = on_message;
	mb->ctx = ctx;
	list_init(&mb->queue);
	rc = -pthread_mutex_init(&mb->lock, NULL);
	if (rc < 0)
		goto undo_memory;
	mb->source.on_event = mailbox_readable;
	mb->source.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (mb->source.fd < 0) {
		rc = -errno;
		goto undo_lock;
	}
	rc = loop_add(loop, &mb->source, EPOLLIN);
	if (rc < 0)
		goto undo_fd;
	*ret = mb;
	return 0;

undo_fd:
	(void)close(mb->source.fd);
undo_lock:
	(void)pthread_mutex_destroy(&mb->lock);
undo_memory:
	free(mb);
	return rc;
}

void mailbox_destroy(struct mailbox *mb)
{
	struct list *link;

	if (!mb)
		return;
	loop_close(mb->loop, &mb->source);
	while ((link = list_pop(&mb->queue))) {
		struct message *m = container_of(link, struct message, link);

		m->destroy(m);
	}
	(void)pthread_mutex_destroy(&mb->lock);
	free(mb);
}

void mailbox_post(struct mailbox *mb, struct message *m)
{
	static const uint64_t one = 1;
	bool was_empty;

	(void)pthread_mutex_lock(&mb->lock);
	was_empty = list_is_empty(&mb->queue);
	list_append(&mb->queue, &m->link);
	/* Inside the lock: once it is free the receiver may take the last message and end, and the descriptor with it. Whoever finds
	 * messages waiting knows that the eventfd is set, or will be before they are taken. The counter can not overflow. */
	if (was_empty)
		(void)!write(mb->source.fd, &one, sizeof(one));
	(void)pthread_mutex_unlock(&mb->lock);
}
