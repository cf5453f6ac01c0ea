/* SPDX-License-Identifier: GPL-3.0-or-later */
/* printed.h - what a function printed, as a text. */
#ifndef CULVERT_TESTS_CTL_PRINTED_H
#define CULVERT_TESTS_CTL_PRINTED_H

#include <stdio.h>
#include <stdlib.h>

/* The caller frees the text; out is open between the two. */
static inline FILE *printed_begin(char **text, size_t *len)
{
	FILE *out = open_memstream(text, len);

	if (!out)
		abort();
	return out;
}

#define PRINTED(text, out, call) \
	do { \
		size_t printed_len; \
		FILE *out = printed_begin(&(text), &printed_len); \
		call; \
		if (fclose(out)) \
			abort(); \
	} while (0)

#endif
