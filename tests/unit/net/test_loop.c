/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { SOURCES = 4, TIMERS = 200 };

/* A source over an eventfd, and what it shall do to the others when its event comes. */
struct probe {
	struct loop_source source;
	int events_count;
	struct loop_source *victim;
	struct loop_garbage *garbage;
	bool stops;
};

struct alarm {
	struct loop_timer timer;
	int number;
};

static struct clock fake_clock;
static struct loop *loop;
static struct probe probes[SOURCES];
static struct alarm alarms[TIMERS];
static int expired[4 * TIMERS], expired_count;

static void probe_event(struct loop_source *src, uint32_t events)
{
	struct probe *p = container_of(src, struct probe, source);

	assert_true(events & EPOLLIN);
	p->events_count++;
	if (p->victim)
		loop_remove(loop, p->victim);
	if (p->garbage)
		loop_free_later(loop, p->garbage);
	if (p->stops)
		loop_stop(loop);
}

static void alarm_expired(struct loop_timer *t)
{
	assert_int_equal(t->heap_index, 0);
	expired[expired_count++] = container_of(t, struct alarm, timer)->number;
}

static int set_up(void **state)
{
	(void)state;
	clock_init_fake(&fake_clock, NS_PER_S);
	memset(alarms, 0, sizeof(alarms));
	expired_count = 0;
	for (int i = 0; i < TIMERS; i++) {
		alarms[i].timer.on_expire = alarm_expired;
		alarms[i].number = i;
	}
	if (loop_create(&fake_clock, &loop) < 0)
		return -1;
	for (int i = 0; i < SOURCES; i++) {
		probes[i] = (struct probe){ .source.on_event = probe_event, .source.fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC) };
		if (probes[i].source.fd < 0)
			return -1;
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	loop_destroy(loop);
	for (int i = 0; i < SOURCES; i++) {
		if (probes[i].source.fd >= 0)
			(void)close(probes[i].source.fd);
	}
	return 0;
}

static void add_all(uint32_t events)
{
	for (int i = 0; i < SOURCES; i++)
		assert_int_equal(loop_add(loop, &probes[i].source, events), 0);
}

static int events_of_all(void)
{
	int count = 0;

	for (int i = 0; i < SOURCES; i++)
		count += probes[i].events_count;
	return count;
}

static void set_ms(int number, uint64_t ms)
{
	assert_int_equal(loop_timer_set(loop, &alarms[number].timer, instant_add_ms((struct instant){ NS_PER_S }, ms)), 0);
}

static void run_at_ms(uint64_t ms)
{
	fake_clock.fake_now = instant_add_ms((struct instant){ NS_PER_S }, ms);
	assert_int_equal(loop_run_once(loop, 0), 0);
}

static void every_ready_source_is_called(void **state)
{
	(void)state;
	add_all(EPOLLIN);
	assert_int_equal(loop_run_once(loop, 0), 0);
	for (int i = 0; i < SOURCES; i++)
		assert_int_equal(probes[i].events_count, 1);
	assert_int_equal(loop_run_once(loop, -1), 0);
	assert_int_equal(events_of_all(), 2 * SOURCES);
}

static void an_edge_is_told_once(void **state)
{
	const uint64_t one = 1;

	(void)state;
	assert_int_equal(loop_add(loop, &probes[0].source, EPOLLIN | EPOLLET), 0);
	assert_int_equal(loop_run_once(loop, 0), 0);
	assert_int_equal(loop_run_once(loop, 0), 0);
	assert_int_equal(probes[0].events_count, 1);
	assert_int_equal(write(probes[0].source.fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(loop_run_once(loop, 0), 0);
	assert_int_equal(probes[0].events_count, 2);
	assert_int_equal(loop_modify(loop, &probes[0].source, EPOLLIN | EPOLLET), 0);
	assert_int_equal(loop_run_once(loop, 0), 0);
	assert_int_equal(probes[0].events_count, 3);
}

static void interest_can_be_taken_back(void **state)
{
	(void)state;
	assert_int_equal(loop_add(loop, &probes[0].source, EPOLLIN), 0);
	assert_int_equal(loop_modify(loop, &probes[0].source, 0), 0);
	assert_int_equal(loop_run_once(loop, 0), 0);
	assert_int_equal(probes[0].events_count, 0);
}

static void a_source_is_added_once(void **state)
{
	struct loop_source closed = { .fd = -1, .on_event = probe_event };

	(void)state;
	assert_int_equal(loop_add(loop, &probes[0].source, EPOLLIN), 0);
	assert_int_equal(loop_add(loop, &probes[0].source, EPOLLIN), -EEXIST);
	assert_true(probes[0].source.is_registered);
	assert_int_equal(loop_modify(loop, &probes[1].source, EPOLLIN), -ENOENT);
	assert_int_equal(loop_add(loop, &closed, EPOLLIN), -EBADF);
	assert_false(closed.is_registered);
	loop_remove(loop, &closed);
}

/* All are ready in one batch; whoever comes first removes another one. */
static void a_source_removed_in_a_batch_is_not_called(void **state)
{
	(void)state;
	add_all(EPOLLIN);
	for (int i = 0; i < SOURCES; i++)
		probes[i].victim = &probes[(i + 1) % SOURCES].source;
	assert_int_equal(loop_run_once(loop, 0), 0);
	/* In the order of readiness each one called spares the next: half of them are called. */
	assert_int_equal(events_of_all(), SOURCES / 2);
	for (int i = 0; i < SOURCES; i++)
		assert_int_equal(probes[i].events_count + probes[(i + 1) % SOURCES].events_count, 1);
}

static void a_source_may_remove_itself(void **state)
{
	(void)state;
	add_all(EPOLLIN);
	probes[1].victim = &probes[1].source;
	assert_int_equal(loop_run_once(loop, 0), 0);
	assert_int_equal(loop_run_once(loop, 0), 0);
	assert_int_equal(probes[1].events_count, 1);
	assert_int_equal(probes[0].events_count, 2);
	assert_false(probes[1].source.is_registered);
	loop_remove(loop, &probes[1].source);
}

static void remove_and_reopen(struct loop_source *src, uint32_t events)
{
	struct probe *p = container_of(src, struct probe, source), *other = &probes[p == &probes[0]];

	(void)events;
	p->events_count++;
	/* The other's descriptor is closed, and another source gets its number before the batch is over. */
	loop_remove(loop, &other->source);
	assert_int_equal(close(other->source.fd), 0);
	other->source.fd = -1;
	(void)close(probes[2].source.fd);
	probes[2].source.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(loop_add(loop, &probes[2].source, EPOLLIN), 0);
}

static void a_reused_descriptor_gets_no_foreign_event(void **state)
{
	(void)state;
	probes[0].source.on_event = probes[1].source.on_event = remove_and_reopen;
	assert_int_equal(loop_add(loop, &probes[0].source, EPOLLIN), 0);
	assert_int_equal(loop_add(loop, &probes[1].source, EPOLLIN), 0);
	assert_int_equal(loop_run_once(loop, 0), 0);
	assert_int_equal(probes[0].events_count + probes[1].events_count, 1);
	assert_int_equal(probes[2].events_count, 0);
}

static void timers_expire_in_order(void **state)
{
	(void)state;
	set_ms(0, 30);
	set_ms(1, 10);
	set_ms(2, 20);
	set_ms(3, 10);
	run_at_ms(9);
	assert_int_equal(expired_count, 0);
	run_at_ms(20);
	assert_int_equal(expired_count, 3);
	assert_int_equal(expired[0], 1);
	assert_int_equal(expired[1], 3);
	assert_int_equal(expired[2], 2);
	run_at_ms(1000);
	assert_int_equal(expired_count, 4);
	assert_int_equal(expired[3], 0);
	run_at_ms(2000);
	assert_int_equal(expired_count, 4);
}

static void a_timer_moves_and_is_cleared(void **state)
{
	(void)state;
	set_ms(0, 10);
	set_ms(1, 20);
	set_ms(2, 30);
	set_ms(0, 40);
	set_ms(2, 5);
	loop_timer_clear(loop, &alarms[1].timer);
	loop_timer_clear(loop, &alarms[1].timer);
	run_at_ms(39);
	assert_int_equal(expired_count, 1);
	assert_int_equal(expired[0], 2);
	run_at_ms(40);
	assert_int_equal(expired_count, 2);
	assert_int_equal(expired[1], 0);
	set_ms(1, 41);
	run_at_ms(41);
	assert_int_equal(expired[2], 1);
}

/* Many timers, moved and cleared at random, against the plain rule. */
static void many_timers_keep_their_order(void **state)
{
	uint64_t deadlines[TIMERS] = { 0 }, last = 0;
	uint32_t seed = 7;
	int set = 0;

	(void)state;
	for (int i = 0; i < 20 * TIMERS; i++) {
		int number;

		seed = seed * 1664525 + 1013904223;
		number = (int)(seed >> 16) % TIMERS;
		if ((seed >> 8) % 4 == 0) {
			loop_timer_clear(loop, &alarms[number].timer);
			deadlines[number] = 0;
		} else {
			deadlines[number] = 1 + (seed >> 4) % 997;
			set_ms(number, deadlines[number]);
		}
	}
	for (int i = 0; i < TIMERS; i++)
		set += deadlines[i] > 0;
	run_at_ms(1000);
	assert_int_equal(expired_count, set);
	for (int i = 0; i < expired_count; i++) {
		assert_true(deadlines[expired[i]] >= last);
		last = deadlines[expired[i]];
	}
}

static void set_again(struct loop_timer *t)
{
	alarm_expired(t);
	assert_int_equal(loop_timer_set(loop, t, loop_now(loop)), 0);
}

static void clear_the_others(struct loop_timer *t)
{
	alarm_expired(t);
	for (int i = 0; i < TIMERS; i++)
		loop_timer_clear(loop, &alarms[i].timer);
}

static void a_timer_set_to_now_lets_the_batch_end(void **state)
{
	(void)state;
	alarms[0].timer.on_expire = set_again;
	set_ms(0, 1);
	set_ms(1, 2);
	run_at_ms(5);
	assert_int_equal(expired_count, 2);
	run_at_ms(5);
	assert_int_equal(expired_count, 3);
	assert_int_equal(expired[2], 0);
	loop_timer_clear(loop, &alarms[0].timer);
}

static void a_timer_may_clear_others(void **state)
{
	(void)state;
	alarms[0].timer.on_expire = clear_the_others;
	for (int i = 0; i < 10; i++)
		set_ms(i, 5);
	run_at_ms(5);
	assert_int_equal(expired_count, 1);
}

static void now_stands_still_within_a_batch(void **state)
{
	(void)state;
	assert_int_equal(loop_now(loop).ns, NS_PER_S);
	clock_fake_advance(&fake_clock, NS_PER_S);
	assert_int_equal(loop_now(loop).ns, NS_PER_S);
	assert_int_equal(loop_run_once(loop, 0), 0);
	assert_int_equal(loop_now(loop).ns, 2 * NS_PER_S);
}

static void a_due_timer_ends_the_wait(void **state)
{
	struct clock real;
	struct loop *l;

	(void)state;
	clock_init(&real);
	assert_int_equal(loop_create(&real, &l), 0);
	assert_int_equal(loop_timer_set(l, &alarms[0].timer, instant_add_ms(clock_now(&real), 2)), 0);
	/* Without the timer's deadline the first call would wait for ever. */
	while (expired_count == 0)
		assert_int_equal(loop_run_once(l, -1), 0);
	assert_false(instant_before(loop_now(l), alarms[0].timer.deadline));
	loop_destroy(l);
}

struct scrap {
	struct loop_garbage garbage;
	int *freed;
	struct loop_garbage *more;
};

static void scrap_free(struct loop_garbage *g)
{
	struct scrap *s = container_of(g, struct scrap, garbage);

	(*s->freed)++;
	if (s->more)
		loop_free_later(loop, s->more);
	free(s);
}

static struct scrap *scrap_create(int *freed)
{
	struct scrap *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->garbage.free_fn = scrap_free;
	s->freed = freed;
	return s;
}

static int freed_at_turn, *freed_now;

static enum loop_next look_at_freed(void *ctx)
{
	(void)ctx;
	freed_at_turn = *freed_now;
	return LOOP_BLOCK;
}

static void garbage_goes_when_the_batch_is_over(void **state)
{
	int freed = 0;
	struct scrap *s = scrap_create(&freed);

	(void)state;
	s->more = &scrap_create(&freed)->garbage;
	freed_now = &freed;
	freed_at_turn = -1;
	loop_set_turn_hook(loop, look_at_freed, NULL);
	probes[0].garbage = &s->garbage;
	assert_int_equal(loop_add(loop, &probes[0].source, EPOLLIN), 0);
	assert_int_equal(loop_run_once(loop, 0), 0);
	assert_int_equal(freed_at_turn, 0);
	assert_int_equal(freed, 2);
	loop_remove(loop, &probes[0].source);
	loop_free_later(loop, &scrap_create(&freed)->garbage);
	loop_destroy(loop);
	loop = NULL;
	assert_int_equal(freed, 3);
}

struct turns {
	int count, work;
};

static enum loop_next take_turn(void *ctx)
{
	struct turns *t = ctx;

	t->count++;
	/* Last in its batch: after the events and the timers. */
	assert_true(expired_count > 0);
	return t->work-- > 0 ? LOOP_NOW : LOOP_BLOCK;
}

static void the_turn_hook_keeps_the_loop_awake(void **state)
{
	struct turns t = { .work = 3 };

	(void)state;
	set_ms(0, 0);
	loop_set_turn_hook(loop, take_turn, &t);
	/* No descriptor is there: a wait without limit would never end. */
	for (int i = 0; i < 4; i++)
		assert_int_equal(loop_run_once(loop, -1), 0);
	assert_int_equal(t.count, 4);
	assert_int_equal(t.work, -1);
	loop_set_turn_hook(loop, NULL, NULL);
	assert_int_equal(loop_run_once(loop, 0), 0);
	assert_int_equal(t.count, 4);
}

static enum loop_next say_soon(void *ctx)
{
	(*(int *)ctx)++;
	return LOOP_SOON;
}

static void looking_again_finds_what_comes_and_ends_where_nothing_does(void **state)
{
	int turns = 0;

	(void)state;
	loop_set_turn_hook(loop, say_soon, &turns);
	/* The clock stands still, so only the count of looks ends a try, and each hit is followed by another try. */
	assert_int_equal(loop_add(loop, &probes[0].source, EPOLLIN), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(loop_run_once(loop, -1), 0);
	assert_int_equal(probes[0].events_count, 100);
	loop_remove(loop, &probes[0].source);
	for (int i = 0; i < 100; i++)
		assert_int_equal(loop_run_once(loop, 1), 0);
	assert_int_equal(turns, 200);
}

static void stop_ends_the_run(void **state)
{
	(void)state;
	probes[0].stops = true;
	assert_int_equal(loop_add(loop, &probes[0].source, EPOLLIN), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(probes[0].events_count, 1);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(probes[0].events_count, 2);
}

static enum loop_next go_on(void *ctx)
{
	(void)ctx;
	return LOOP_NOW;
}

/* By the machine's clock: a fake one stands still while the loop waits. */
static void what_it_waited_is_known(void **state)
{
	struct clock clock;
	struct alarm alarm = { .timer.on_expire = alarm_expired };
	struct loop *l;
	uint64_t waited_ns;

	(void)state;
	clock_init(&clock);
	assert_int_equal(loop_create(&clock, &l), 0);
	assert_int_equal(loop_waited_ns(l), 0);
	assert_int_equal(loop_timer_set(l, &alarm.timer, instant_add_ms(loop_now(l), 20)), 0);
	while (expired_count == 0)
		assert_int_equal(loop_run_once(l, -1), 0);
	waited_ns = loop_waited_ns(l);
	assert_in_range(waited_ns, 10 * NS_PER_MS, clock_now(&clock).ns);
	/* What does not wait counts for nothing: told not to, or work is left. */
	assert_int_equal(loop_run_once(l, 0), 0);
	loop_set_turn_hook(l, go_on, NULL);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(l, -1), 0);
	assert_int_equal(loop_waited_ns(l), waited_ns);
	loop_destroy(l);
}

/* Two threads' loops that main makes one after the other: neither writes what the other reads. */
static void a_loop_has_cache_lines_of_its_own(void **state)
{
	struct loop *other;

	(void)state;
	assert_int_equal(loop_create(&fake_clock, &other), 0);
	assert_int_equal((uintptr_t)loop % 64, 0);
	assert_int_equal((uintptr_t)other % 64, 0);
	loop_destroy(other);
}

#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOOP_TEST(a_loop_has_cache_lines_of_its_own),
		LOOP_TEST(every_ready_source_is_called),
		LOOP_TEST(an_edge_is_told_once),
		LOOP_TEST(interest_can_be_taken_back),
		LOOP_TEST(a_source_is_added_once),
		LOOP_TEST(a_source_removed_in_a_batch_is_not_called),
		LOOP_TEST(a_source_may_remove_itself),
		LOOP_TEST(a_reused_descriptor_gets_no_foreign_event),
		LOOP_TEST(timers_expire_in_order),
		LOOP_TEST(a_timer_moves_and_is_cleared),
		LOOP_TEST(many_timers_keep_their_order),
		LOOP_TEST(a_timer_set_to_now_lets_the_batch_end),
		LOOP_TEST(a_timer_may_clear_others),
		LOOP_TEST(now_stands_still_within_a_batch),
		LOOP_TEST(a_due_timer_ends_the_wait),
		LOOP_TEST(garbage_goes_when_the_batch_is_over),
		LOOP_TEST(the_turn_hook_keeps_the_loop_awake),
		LOOP_TEST(looking_again_finds_what_comes_and_ends_where_nothing_does),
		LOOP_TEST(stop_ends_the_run),
		LOOP_TEST(what_it_waited_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
