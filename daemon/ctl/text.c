/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

enum { S = 1000, MINUTE = 60 * S, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

size_t utf8_length(const uint8_t *p)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
	uint32_t c = len == 1 ? p[0] : (uint32_t)p[0] & (0x7fu >> len);

	if (!len)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if (p[i] >> 6 != 2)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	return c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : len;
}

size_t utf8_width(const char *text)
{
	size_t width = 0;

	for (const uint8_t *p = (const uint8_t *)text; *p; width++) {
		size_t len = utf8_length(p);

		p += len ? len : 1;
	}
	return width;
}

const char *figure_bytes(uint64_t bytes, char ret[FIGURE_BYTES])
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes / 1024;
	size_t unit = 0;

	if (bytes < 1024) {
		snprintf(ret, FIGURE_BYTES, "%" PRIu64 " B", bytes);
		return ret;
	}
	/* 1023.95 would print as 1024.0. */
	while (value >= 1023.95 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	snprintf(ret, FIGURE_BYTES, "%.1f %s", value, units[unit]);
	return ret;
}

const char *figure_count(uint64_t count, char ret[FIGURE_BYTES])
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, count);
	size_t at = 0;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			ret[at++] = ',';
		ret[at++] = digits[i];
	}
	ret[at] = '\0';
	return ret;
}

const char *figure_micros(uint64_t us, char ret[FIGURE_BYTES])
{
	if (us < 1000)
		snprintf(ret, FIGURE_BYTES, "%" PRIu64 " us", us);
	else if (us < 999950)
		snprintf(ret, FIGURE_BYTES, "%.1f ms", (double)us / 1e3);
	else
		snprintf(ret, FIGURE_BYTES, "%.1f s", (double)us / 1e6);
	return ret;
}

const char *figure_span(uint64_t ms, char ret[FIGURE_BYTES])
{
	if (ms < S)
		snprintf(ret, FIGURE_BYTES, "%" PRIu64 " ms", ms);
	else if (ms < 10 * S - 50)
		snprintf(ret, FIGURE_BYTES, "%.1f s", (double)ms / S);
	else if (ms < MINUTE)
		snprintf(ret, FIGURE_BYTES, "%" PRIu64 " s", ms / S);
	else if (ms < HOUR)
		snprintf(ret, FIGURE_BYTES, "%" PRIu64 "m %" PRIu64 "s", ms / MINUTE, ms % MINUTE / S);
	else if (ms < 2 * DAY)
		snprintf(ret, FIGURE_BYTES, "%" PRIu64 "h %" PRIu64 "m", ms / HOUR, ms % HOUR / MINUTE);
	else
		snprintf(ret, FIGURE_BYTES, "%" PRIu64 " days", ms / DAY);
	return ret;
}

const char *figure_when(int64_t time_s, int64_t now_s, char ret[FIGURE_BYTES])
{
	char span[FIGURE_BYTES];
	uint64_t distance_s = time_s > now_s ? (uint64_t)time_s - (uint64_t)now_s : (uint64_t)now_s - (uint64_t)time_s;

	if (!time_s) {
		snprintf(ret, FIGURE_BYTES, "never");
		return ret;
	}
	/* Whole seconds are all that is known. */
	if (distance_s < 10)
		snprintf(span, sizeof(span), "%" PRIu64 " s", distance_s);
	else
		figure_span(distance_s < UINT64_MAX / S ? distance_s * S : UINT64_MAX, span);
	if (time_s > now_s)
		snprintf(ret, FIGURE_BYTES, "in %.40s", span);
	else
		snprintf(ret, FIGURE_BYTES, "%.40s ago", span);
	return ret;
}

const char *figure_date(int64_t time_s, char ret[FIGURE_BYTES])
{
	time_t t = (time_t)time_s;
	struct tm tm;

	if (!time_s || !gmtime_r(&t, &tm) || !strftime(ret, FIGURE_BYTES, "%Y-%m-%d %H:%M UTC", &tm))
		snprintf(ret, FIGURE_BYTES, "-");
	return ret;
}
