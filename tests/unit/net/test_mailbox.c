/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/mailbox.h"

#include <pthread.h>
#include <stdlib.h>

enum { POSTERS = 4, MESSAGES = 2000 };

struct note {
	struct message message;
	int poster, number;
};

struct box {
	struct clock clock;
	struct loop *loop;
	struct mailbox *mailbox;
	int received, next[POSTERS];
	bool is_out_of_order;
	struct note *answer; /* posted from within the first delivery */
};

static int destroyed;

static void note_destroy(struct message *m)
{
	destroyed++;
	free(container_of(m, struct note, message));
}

static struct note *note_create(int poster, int number)
{
	struct note *n = calloc(1, sizeof(*n));

	if (!n)
		abort();
	n->message.destroy = note_destroy;
	n->message.type = 5;
	n->poster = poster;
	n->number = number;
	return n;
}

static void receive(void *ctx, struct message *m)
{
	struct box *b = ctx;
	struct note *n = container_of(m, struct note, message);

	if (m->type != 5 || b->next[n->poster]++ != n->number)
		b->is_out_of_order = true;
	b->received++;
	if (b->answer) {
		mailbox_post(b->mailbox, &b->answer->message);
		b->answer = NULL;
	}
	free(n);
}

static int set_up(void **state)
{
	struct box *b = calloc(1, sizeof(*b));

	if (!b)
		return -1;
	destroyed = 0;
	clock_init(&b->clock);
	*state = b;
	return loop_create(&b->clock, &b->loop) < 0 || mailbox_create(b->loop, receive, b, &b->mailbox) < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	struct box *b = *state;

	mailbox_destroy(b->mailbox);
	loop_destroy(b->loop);
	free(b);
	return 0;
}

static void messages_come_in_order(void **state)
{
	struct box *b = *state;

	for (int i = 0; i < 10; i++)
		mailbox_post(b->mailbox, &note_create(0, i)->message);
	assert_int_equal(b->received, 0);
	assert_int_equal(loop_run_once(b->loop, -1), 0);
	assert_int_equal(b->received, 10);
	assert_false(b->is_out_of_order);
	assert_int_equal(loop_run_once(b->loop, 0), 0);
	assert_int_equal(b->received, 10);
}

static void a_message_posted_while_one_is_received_comes_next(void **state)
{
	struct box *b = *state;

	b->answer = note_create(0, 1);
	mailbox_post(b->mailbox, &note_create(0, 0)->message);
	assert_int_equal(loop_run_once(b->loop, -1), 0);
	assert_int_equal(loop_run_once(b->loop, -1), 0);
	assert_int_equal(b->received, 2);
	assert_false(b->is_out_of_order);
}

static void what_was_not_received_is_destroyed(void **state)
{
	struct box *b = *state;

	mailbox_post(b->mailbox, &note_create(0, 0)->message);
	mailbox_post(b->mailbox, &note_create(0, 1)->message);
	mailbox_destroy(b->mailbox);
	b->mailbox = NULL;
	assert_int_equal(destroyed, 2);
	assert_int_equal(b->received, 0);
	assert_int_equal(loop_run_once(b->loop, 0), 0);
}

struct poster {
	struct box *box;
	int number;
	pthread_t thread;
};

static void *post_all(void *arg)
{
	struct poster *p = arg;

	for (int i = 0; i < MESSAGES; i++)
		mailbox_post(p->box->mailbox, &note_create(p->number, i)->message);
	return NULL;
}

static void many_threads_post_and_nothing_is_lost(void **state)
{
	struct box *b = *state;
	struct poster posters[POSTERS];

	for (int i = 0; i < POSTERS; i++) {
		posters[i] = (struct poster){ .box = b, .number = i };
		assert_int_equal(pthread_create(&posters[i].thread, NULL, post_all, &posters[i]), 0);
	}
	/* A lost wake-up would leave this waiting for ever. */
	while (b->received < POSTERS * MESSAGES)
		assert_int_equal(loop_run_once(b->loop, -1), 0);
	for (int i = 0; i < POSTERS; i++)
		assert_int_equal(pthread_join(posters[i].thread, NULL), 0);
	assert_false(b->is_out_of_order);
	assert_int_equal(loop_run_once(b->loop, 0), 0);
	assert_int_equal(b->received, POSTERS * MESSAGES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(messages_come_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_message_posted_while_one_is_received_comes_next, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_was_not_received_is_destroyed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(many_threads_post_and_nothing_is_lost, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
