/* SPDX-License-Identifier: GPL-3.0-or-later */
/* dice.h - chance that is the same in each run. */
#ifndef CULVERT_TESTS_DICE_H
#define CULVERT_TESTS_DICE_H

#include <stdint.h>

/* From 0 to sides - 1. */
static inline uint32_t dice(uint64_t *seed, uint32_t sides)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*seed >> 33) % sides;
}

#endif
