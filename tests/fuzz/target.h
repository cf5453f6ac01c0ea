/* SPDX-License-Identifier: GPL-3.0-or-later */
/* target.h - what every fuzz target has: its entry point, which libFuzzer declares in no header of C, and a claim whose failure is a finding. */
#ifndef CULVERT_TESTS_FUZZ_TARGET_H
#define CULVERT_TESTS_FUZZ_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes);

static inline void must(bool is_so)
{
	if (!is_so)
		abort();
}

#endif
