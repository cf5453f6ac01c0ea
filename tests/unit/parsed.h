/* SPDX-License-Identifier: GPL-3.0-or-later */
/* parsed.h - addresses and prefixes out of texts; a text that is none fails the test. Include it behind cmocka.h. */
#ifndef CULVERT_TESTS_PARSED_H
#define CULVERT_TESTS_PARSED_H

#include "base/addr.h"

static inline struct addr addr(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static inline struct prefix prefix(const char *text)
{
	struct prefix p;

	assert_int_equal(prefix_parse(text, &p), 0);
	return p;
}

#endif
