/* SPDX-License-Identifier: GPL-3.0-or-later */
/* loop.h - one epoll loop: descriptors, timers, a turn hook, and an end-of-batch free list.
 * Knows nothing of what the descriptors are. One thread runs a loop and calls everything here. */
#ifndef CULVERT_NET_LOOP_H
#define CULVERT_NET_LOOP_H

#include "base/clock.h"
#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;

/* A descriptor that is watched; embedded in its owner. */
struct loop_source {
	int fd;
	/* events: EPOLLIN and so on. May remove any source, its own too, and call loop_free_later. */
	void (*on_event)(struct loop_source *src, uint32_t events);
	bool is_registered; /* loop's own */
};

/* A timer; embedded in its owner, zeroed before its first use. */
struct loop_timer {
	void (*on_expire)(struct loop_timer *t); /* the timer is unset when it is called */
	struct instant deadline;
	uint32_t heap_index; /* loop's own; 0: not set */
};

/* Memory that a callback of this batch may still point at; embedded, freed by its function when the batch is over. */
struct loop_garbage {
	struct loop_garbage *next;
	void (*free_fn)(struct loop_garbage *g);
};

/* clock is borrowed for the loop's life. 0 or -errno. */
int loop_create(const struct clock *clock, struct loop **ret);
void loop_destroy(struct loop *l); /* NULL is welcome; runs what is in the free list */

/* Registers src->fd. events may hold EPOLLET. 0 or -errno. */
int loop_add(struct loop *l, struct loop_source *src, uint32_t events);
int loop_modify(struct loop *l, struct loop_source *src, uint32_t events);
/* No callback of src comes after it, even if the batch in hand has an event of it. The descriptor stays the caller's to close, afterwards.
 * Harmless where it is not registered. src's memory must last until the end of the batch: loop_free_later. */
void loop_remove(struct loop *l, struct loop_source *src);
/* The same, and closes src->fd, which becomes -1. A system call cheaper: what nobody else has open the kernel takes out of epoll by itself. So fd
 * must not have been duplicated. */
void loop_close(struct loop *l, struct loop_source *src);

/* Sets or moves a timer; precision is 1 ms. 0 or -ENOMEM. */
int loop_timer_set(struct loop *l, struct loop_timer *t, struct instant deadline);
void loop_timer_clear(struct loop *l, struct loop_timer *t); /* harmless where it is not set */

void loop_free_later(struct loop *l, struct loop_garbage *g);

/* The time at which this batch began: cheap, and the same for everything in it. */
struct instant loop_now(const struct loop *l);

/* How long the loop has waited for events since it was made: blocked, or looking again and again. */
uint64_t loop_waited_ns(const struct loop *l);

/* How the loop goes on after a turn. */
enum loop_next {
	LOOP_BLOCK, /* until something comes */
	LOOP_SOON,  /* something may come within microseconds: blocking is put off for them where that has been paying (net/spin.h) */
	LOOP_NOW,   /* there is work left: the next epoll_wait does not block */
};

/* Called after each batch of events and timers. */
void loop_set_turn_hook(struct loop *l, enum loop_next (*turn)(void *ctx), void *ctx);

/* One batch: epoll_wait for at most max_wait_ms (-1: no limit; less where a timer is due or the turn hook says so), callbacks, timers,
 * turn hook, frees. 0, or -errno of epoll_wait (EINTR counts as an empty batch). */
int loop_run_once(struct loop *l, int max_wait_ms);
/* Batches until loop_stop; the flag is cleared on return. */
int loop_run(struct loop *l);
void loop_stop(struct loop *l); /* from a callback */

#endif
