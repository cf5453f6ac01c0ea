/* SPDX-License-Identifier: GPL-3.0-or-later */
/* queue.h - bytes that a pod's socket did not take yet, in chunks, first in first out. Bounded by its user: the stream's credit.
 * One thread. */
#ifndef CULVERT_TUNNEL_QUEUE_H
#define CULVERT_TUNNEL_QUEUE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct queue_chunk;

struct queue {
	struct queue_chunk *first, *last;
	size_t len_bytes;
};

void queue_init(struct queue *q);
void queue_done(struct queue *q); /* frees all that is in it */
/* Copies len_bytes to the end. 0, or -ENOMEM with the queue as it was. */
int queue_append(struct queue *q, const void *bytes, size_t len_bytes);
/* Describes the head of the queue in at most max parts; returns their number. Valid until the queue is changed. */
int queue_peek(const struct queue *q, struct iovec *ret, int max);
void queue_drop(struct queue *q, size_t len_bytes); /* at most q->len_bytes */
/* Moves all of from behind what is in to. */
void queue_splice(struct queue *to, struct queue *from);

#endif
