/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/loop.h"

#include "net/spin.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
	BATCH_EVENTS = 256, /* of one epoll_wait; loop_remove looks through those that are still to come */
	HEAP_FIRST_SLOTS = 64,
	LINE_BYTES = 64, /* of the processors' caches */
};

/* Deadline and order lie beside the pointer, so that the heap is kept in order without touching the timers. */
struct heap_slot {
	uint64_t deadline_ns;
	uint64_t order; /* timers of one deadline expire in the order of setting */
	struct loop_timer *timer;
};

/* Main makes each worker's, one after the other: on lines of their own, else one would write each turn what its neighbour reads. */
struct loop {
	_Alignas(LINE_BYTES) const struct clock *clock;
	struct instant now;
	int epoll_fd;
	bool is_stopping;
	enum loop_next next;
	struct spin spin;
	uint64_t waited_ns;

	struct epoll_event events[BATCH_EVENTS];
	int events_count, events_next;

	struct heap_slot *heap; /* slot 0 is not used: heap_index 0 means "not set" */
	uint32_t heap_count, heap_slots;
	uint64_t heap_order;

	enum loop_next (*turn)(void *ctx);
	void *turn_ctx;

	struct loop_garbage *garbage;
};

static void heap_place(struct loop *l, uint32_t index, struct heap_slot slot)
{
	l->heap[index] = slot;
	slot.timer->heap_index = index;
}

static bool slot_before(const struct heap_slot *a, const struct heap_slot *b)
{
	return a->deadline_ns != b->deadline_ns ? a->deadline_ns < b->deadline_ns : a->order < b->order;
}

/* Moves the slot at index up or down to where it belongs. */
static void heap_settle(struct loop *l, uint32_t index)
{
	struct heap_slot slot = l->heap[index];

	while (index > 1 && slot_before(&slot, &l->heap[index / 2])) {
		heap_place(l, index, l->heap[index / 2]);
		index /= 2;
	}
	for (;;) {
		uint32_t child = index * 2;

		if (child > l->heap_count)
			break;
		if (child < l->heap_count && slot_before(&l->heap[child + 1], &l->heap[child]))
			child++;
		if (!slot_before(&l->heap[child], &slot))
			break;
		heap_place(l, index, l->heap[child]);
		index = child;
	}
	heap_place(l, index, slot);
}

static int heap_reserve(struct loop *l)
{
	uint32_t slots = l->heap_slots ? l->heap_slots * 2 : HEAP_FIRST_SLOTS;
	struct heap_slot *heap;

	if (l->heap_count + 1 < l->heap_slots)
		return 0;
	if (slots > UINT32_MAX / 4)
		return -ENOMEM;
	heap = reallocarray(l->heap, slots, sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	l->heap = heap;
	l->heap_slots = slots;
	return 0;
}

/* Timers that are set by these callbacks wait for the next batch, else one that is set to "now" would never let the others go on. */
static void expire_timers(struct loop *l)
{
	uint64_t order_end = l->heap_order;

	while (l->heap_count > 0 && l->heap[1].deadline_ns <= l->now.ns && l->heap[1].order < order_end) {
		struct loop_timer *t = l->heap[1].timer;

		loop_timer_clear(l, t);
		t->on_expire(t);
	}
}

static void free_garbage(struct loop *l)
{
	while (l->garbage) {
		struct loop_garbage *g = l->garbage;

		l->garbage = g->next;
		g->free_fn(g);
	}
}

/* begins: when the waiting does. */
static int wait_ms(const struct loop *l, int max_wait_ms, struct instant begins)
{
	uint64_t left_ns, left_ms;

	if (l->heap_count == 0)
		return max_wait_ms;
	left_ns = instant_elapsed_ns(begins, (struct instant){ l->heap[1].deadline_ns });
	/* Rounded up, else the loop would spin through the last millisecond. */
	left_ms = left_ns / NS_PER_MS + (left_ns % NS_PER_MS != 0);
	if (max_wait_ms > 0 && left_ms > (uint64_t)max_wait_ms)
		return max_wait_ms;
	return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

int loop_create(const struct clock *clock, struct loop **ret)
{
	struct loop *l = aligned_alloc(_Alignof(struct loop), sizeof(*l));
	int rc;

	if (!l)
		return -ENOMEM;
	*l = (struct loop){ .clock = clock };
	l->now = clock_now(clock);
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0) {
		rc = -errno;
		free(l);
		return rc;
	}
	*ret = l;
	return 0;
}

void loop_destroy(struct loop *l)
{
	if (!l)
		return;
	free_garbage(l);
	(void)close(l->epoll_fd);
	free(l->heap);
	free(l);
}

static int control(struct loop *l, int op, struct loop_source *src, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = src };

	return epoll_ctl(l->epoll_fd, op, src->fd, &event) == 0 ? 0 : -errno;
}

int loop_add(struct loop *l, struct loop_source *src, uint32_t events)
{
	int rc = control(l, EPOLL_CTL_ADD, src, events);

	if (rc == 0)
		src->is_registered = true;
	return rc;
}

int loop_modify(struct loop *l, struct loop_source *src, uint32_t events)
{
	return control(l, EPOLL_CTL_MOD, src, events);
}

static void forget_events(struct loop *l, const struct loop_source *src)
{
	for (int i = l->events_next; i < l->events_count; i++) {
		if (l->events[i].data.ptr == src)
			l->events[i].data.ptr = NULL;
	}
}

void loop_remove(struct loop *l, struct loop_source *src)
{
	if (!src->is_registered)
		return;
	src->is_registered = false;
	/* Fails only where the descriptor is closed already, and then the kernel has forgotten it. */
	(void)control(l, EPOLL_CTL_DEL, src, 0);
	forget_events(l, src);
}

void loop_close(struct loop *l, struct loop_source *src)
{
	if (src->is_registered)
		forget_events(l, src);
	src->is_registered = false;
	(void)close(src->fd);
	src->fd = -1;
}

int loop_timer_set(struct loop *l, struct loop_timer *t, struct instant deadline)
{
	if (t->heap_index == 0) {
		int rc = heap_reserve(l);

		if (rc < 0)
			return rc;
		t->heap_index = ++l->heap_count;
	}
	t->deadline = deadline;
	l->heap[t->heap_index] = (struct heap_slot){ deadline.ns, l->heap_order++, t };
	heap_settle(l, t->heap_index);
	return 0;
}

void loop_timer_clear(struct loop *l, struct loop_timer *t)
{
	uint32_t index = t->heap_index;

	if (index == 0)
		return;
	t->heap_index = 0;
	if (index == l->heap_count--)
		return;
	l->heap[index] = l->heap[l->heap_count + 1];
	heap_settle(l, index);
}

void loop_free_later(struct loop *l, struct loop_garbage *g)
{
	g->next = l->garbage;
	l->garbage = g;
}

struct instant loop_now(const struct loop *l)
{
	return l->now;
}

uint64_t loop_waited_ns(const struct loop *l)
{
	return l->waited_ns;
}

void loop_set_turn_hook(struct loop *l, enum loop_next (*turn)(void *ctx), void *ctx)
{
	l->turn = turn;
	l->turn_ctx = ctx;
	l->next = turn ? LOOP_NOW : LOOP_BLOCK;
}

static int poll_events(struct loop *l, int timeout_ms)
{
	return epoll_wait(l->epoll_fd, l->events, BATCH_EVENTS, timeout_ms);
}

/* Looks for events without blocking, for SPIN_NS. Returns epoll_wait's last word. */
static int spin_for_events(struct loop *l, struct instant begins)
{
	int count;

	/* A pod of this processor that has just got something goes first: its answer may be what is waited for. Once, since one that wakes later takes the
	 * processor by itself, and who yields again and again is put off when it has work. */
	(void)sched_yield();
	if (instant_elapsed_ns(begins, clock_now(l->clock)) >= SPIN_SLICE_NS) {
		spin_was_away(&l->spin);
		return poll_events(l, 0);
	}
	count = poll_events(l, 0);
	for (int looks = 1; count == 0 && looks < SPIN_LOOKS_MAX && instant_elapsed_ns(begins, clock_now(l->clock)) < SPIN_NS; looks++)
		count = poll_events(l, 0);
	spin_ended(&l->spin, count > 0);
	return count;
}

static int wait_for_events(struct loop *l, int max_wait_ms)
{
	struct instant begins = { 0 };
	int timeout_ms = 0, count = 0;

	if (l->next != LOOP_NOW && !l->is_stopping && max_wait_ms != 0) {
		begins = clock_now(l->clock);
		timeout_ms = wait_ms(l, max_wait_ms, begins);
	}
	if (timeout_ms != 0 && l->next == LOOP_SOON && spin_is_worth_it(&l->spin))
		count = spin_for_events(l, begins);
	if (count == 0)
		count = poll_events(l, timeout_ms);
	l->now = clock_now(l->clock);
	if (timeout_ms != 0)
		l->waited_ns += instant_elapsed_ns(begins, l->now);
	if (count > 0)
		spin_saw(&l->spin, count);
	return count;
}

int loop_run_once(struct loop *l, int max_wait_ms)
{
	int count = wait_for_events(l, max_wait_ms);

	if (count < 0) {
		if (errno != EINTR)
			return -errno;
		count = 0;
	}
	l->events_count = count;
	for (l->events_next = 0; l->events_next < l->events_count;) {
		struct epoll_event *event = &l->events[l->events_next++];
		struct loop_source *src = event->data.ptr;

		if (src)
			src->on_event(src, event->events);
	}
	l->events_count = l->events_next = 0;
	expire_timers(l);
	l->next = l->turn ? l->turn(l->turn_ctx) : LOOP_BLOCK;
	free_garbage(l);
	return 0;
}

int loop_run(struct loop *l)
{
	int rc = 0;

	while (!l->is_stopping && rc == 0)
		rc = loop_run_once(l, -1);
	l->is_stopping = false;
	return rc;
}

void loop_stop(struct loop *l)
{
	l->is_stopping = true;
}
