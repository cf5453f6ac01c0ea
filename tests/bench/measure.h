/* SPDX-License-Identifier: GPL-3.0-or-later */
/* measure.h - what the measuring programs of this folder have in common. */
#ifndef CULVERT_BENCH_MEASURE_H
#define CULVERT_BENCH_MEASURE_H

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline double measure_us(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static inline double cpu_us(void)
{
	return measure_us(CLOCK_PROCESS_CPUTIME_ID);
}

static inline double wall_us(void)
{
	return measure_us(CLOCK_MONOTONIC);
}

static inline size_t heap_bytes(void)
{
	return mallinfo2().uordblks;
}

static inline void must(int rc)
{
	if (rc < 0) {
		fprintf(stderr, "failed: %s\n", strerror(-rc));
		exit(EXIT_FAILURE);
	}
}

#endif
