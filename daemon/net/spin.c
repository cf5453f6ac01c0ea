/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/spin.h"

enum {
	SCORE_MAX = 16,
	MISS_COST = 2, /* what hits by chance would not pay */
	TRY_ONE_IN = 32,
	TRY_CROWDED_ONE_IN = 2048, /* a try costs a slice of milliseconds */
	MEAN_UNIT = 16,
	/* More at a time: others' work fills the wait, and the core is better theirs. */
	EVENTS_MEAN_MAX = 2 * MEAN_UNIT,
};

void spin_saw(struct spin *s, int events)
{
	s->events_mean = (uint32_t)(s->events_mean * 7 + (uint32_t)events * MEAN_UNIT) / 8;
}

bool spin_is_worth_it(struct spin *s)
{
	if (s->events_mean > EVENTS_MEAN_MAX)
		return false;
	if (s->score > 0)
		return true;
	if (++s->passed_over < (s->is_crowded ? TRY_CROWDED_ONE_IN : TRY_ONE_IN))
		return false;
	s->passed_over = 0;
	return true;
}

void spin_was_away(struct spin *s)
{
	s->score = 0;
	s->is_crowded = true;
}

void spin_ended(struct spin *s, bool has_hit)
{
	s->is_crowded = false;
	if (has_hit)
		s->score += s->score < SCORE_MAX;
	else
		s->score = s->score > MISS_COST ? s->score - MISS_COST : 0;
}
