/* SPDX-License-Identifier: GPL-3.0-or-later */
/* text.h - figures as people read them, and UTF-8.
 * Plain functions; any thread. */
#ifndef CULVERT_CTL_TEXT_H
#define CULVERT_CTL_TEXT_H

#include <stddef.h>
#include <stdint.h>

enum { FIGURE_BYTES = 48 };

/* Length of the UTF-8 character at p (RFC 3629); 0: it is none. p ends with a NUL, which is a character of length 1. */
size_t utf8_length(const uint8_t *p);
/* Characters that text takes on a terminal; bytes that are no UTF-8 count one each. */
size_t utf8_width(const char *text);

/* Each returns its last argument. */
const char *figure_bytes(uint64_t bytes, char ret[FIGURE_BYTES]); /* "512 B", "1.5 MiB" */
const char *figure_count(uint64_t count, char ret[FIGURE_BYTES]); /* "1,234,567" */
const char *figure_micros(uint64_t us, char ret[FIGURE_BYTES]);   /* "312 us", "1.5 ms" */
const char *figure_span(uint64_t ms, char ret[FIGURE_BYTES]);     /* "350 ms", "1.5 s", "3m 12s", "2h 5m", "89 days" */
/* A time of day seen from now_s: "in 89 days", "3m 12s ago", "never" for 0. */
const char *figure_when(int64_t time_s, int64_t now_s, char ret[FIGURE_BYTES]);
const char *figure_date(int64_t time_s, char ret[FIGURE_BYTES]); /* "2027-04-14 08:00 UTC" */

#endif
