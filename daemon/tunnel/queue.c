/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Small enough that a stuck stream with a few bytes costs little, large enough that a full window is few parts. */
enum { CHUNK_MIN_BYTES = 4096 - 32, CHUNK_MAX_BYTES = 65536 - 32 };

struct queue_chunk {
	struct queue_chunk *next;
	uint32_t cap, head, tail;
	uint8_t bytes[];
};

void queue_init(struct queue *q)
{
	*q = (struct queue){ 0 };
}

void queue_done(struct queue *q)
{
	struct queue_chunk *next;

	for (struct queue_chunk *c = q->first; c; c = next) {
		next = c->next;
		free(c);
	}
	queue_init(q);
}

static size_t chunk_room(const struct queue_chunk *c)
{
	return c ? c->cap - c->tail : 0;
}

static struct queue_chunk *chunk_create(size_t len_bytes)
{
	size_t cap = len_bytes < CHUNK_MIN_BYTES ? CHUNK_MIN_BYTES : len_bytes > CHUNK_MAX_BYTES ? CHUNK_MAX_BYTES : len_bytes;
	struct queue_chunk *c = malloc(sizeof(*c) + cap);

	if (!c)
		return NULL;
	c->next = NULL;
	c->cap = (uint32_t)cap;
	c->head = c->tail = 0;
	return c;
}

static void chunks_free(struct queue_chunk *c)
{
	while (c) {
		struct queue_chunk *next = c->next;

		free(c);
		c = next;
	}
}

int queue_append(struct queue *q, const void *bytes, size_t len_bytes)
{
	size_t first_part = chunk_room(q->last);
	struct queue_chunk *fresh = NULL, **end = &fresh, *last = q->last;
	const uint8_t *src = bytes;

	if (first_part > len_bytes)
		first_part = len_bytes;
	/* All memory first, so that a failure leaves the queue as it was. */
	for (size_t left = len_bytes - first_part; left;) {
		struct queue_chunk *c = chunk_create(left);

		if (!c) {
			chunks_free(fresh);
			return -ENOMEM;
		}
		left -= left < c->cap ? left : c->cap;
		*end = c;
		end = &c->next;
	}
	if (first_part) {
		memcpy(last->bytes + last->tail, src, first_part);
		last->tail += (uint32_t)first_part;
	}
	if (fresh) {
		if (last)
			last->next = fresh;
		else
			q->first = fresh;
	}
	for (size_t at = first_part; fresh; fresh = fresh->next) {
		size_t n = len_bytes - at < fresh->cap ? len_bytes - at : fresh->cap;

		memcpy(fresh->bytes, src + at, n);
		fresh->tail = (uint32_t)n;
		at += n;
		q->last = fresh;
	}
	q->len_bytes += len_bytes;
	return 0;
}

int queue_peek(const struct queue *q, struct iovec *ret, int max)
{
	int n = 0;

	for (struct queue_chunk *c = q->first; c && n < max; c = c->next)
		ret[n++] = (struct iovec){ c->bytes + c->head, c->tail - c->head };
	return n;
}

void queue_drop(struct queue *q, size_t len_bytes)
{
	q->len_bytes -= len_bytes;
	while (len_bytes) {
		struct queue_chunk *c = q->first;
		size_t n = c->tail - c->head;

		if (n > len_bytes) {
			c->head += (uint32_t)len_bytes;
			return;
		}
		len_bytes -= n;
		q->first = c->next;
		if (!q->first)
			q->last = NULL;
		free(c);
	}
}

void queue_splice(struct queue *to, struct queue *from)
{
	if (!from->first)
		return;
	if (to->last)
		to->last->next = from->first;
	else
		to->first = from->first;
	to->last = from->last;
	to->len_bytes += from->len_bytes;
	queue_init(from);
}
