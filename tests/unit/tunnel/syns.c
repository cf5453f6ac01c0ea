/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "syns.h"

#include "talk.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static bool are_released(void *ctx)
{
	const struct syns_count *wanted = ctx;

	return wanted->side->released >= wanted->count;
}

bool syns_are_answered(void *ctx)
{
	const struct syns_count *wanted = ctx;

	return wanted->side->answered >= wanted->count;
}

void syns_expect_released(struct pair *p, int count)
{
	const struct side *near = &p->side[0];

	assert_true(pair_pump(p, are_released, &(struct syns_count){ near, count }));
	assert_int_equal(near->released, count);
}

void syns_expect_answer(struct pair *p, enum syn_answer_kind answer)
{
	const struct side *near = &p->side[0];

	assert_true(pair_pump(p, syns_are_answered, &(struct syns_count){ near, 1 }));
	assert_int_equal(near->answered, 1);
	assert_int_equal(near->last_answer.kind, answer);
	assert_int_equal(near->released, 0);
	assert_int_equal(near->pool->held.count, 0);
	assert_true(pair_pump(p, talk_is_over, p));
}
