/* SPDX-License-Identifier: GPL-3.0-or-later */
/* log.h - one line an event on standard error, as key=value fields.
 *   time=2026-01-02T03:04:05.678Z level=info event="tunnel up" peer=node2 streams=3
 * Text values are quoted and escaped where they need it (control bytes as \xNN, at most 768 bytes of each), so that outside bytes can not
 * forge a line. Any thread; one write(2) a line. Keys, certificates' private parts and payload are never logged. */
#ifndef CULVERT_BASE_LOG_H
#define CULVERT_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

struct addr;
struct endpoint;

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum log_kind { LOG_END, LOG_TEXT, LOG_U64, LOG_I64, LOG_HEX, LOG_ADDR, LOG_ENDPOINT, LOG_ERRNO };

struct log_field {
	enum log_kind kind;
	const char *key;
	union {
		const char *text; /* NULL prints as - */
		uint64_t u64;
		int64_t i64;
		const struct addr *addr;
		const struct endpoint *endpoint;
	};
};

/* clang-format off */
#define L_TEXT(k, v)     (struct log_field){ .kind = LOG_TEXT, .key = (k), .text = (v) }
#define L_U64(k, v)      (struct log_field){ .kind = LOG_U64, .key = (k), .u64 = (uint64_t)(v) }
#define L_I64(k, v)      (struct log_field){ .kind = LOG_I64, .key = (k), .i64 = (int64_t)(v) }
#define L_HEX(k, v)      (struct log_field){ .kind = LOG_HEX, .key = (k), .u64 = (uint64_t)(v) }
#define L_ADDR(k, v)     (struct log_field){ .kind = LOG_ADDR, .key = (k), .addr = (v) }
#define L_ENDPOINT(k, v) (struct log_field){ .kind = LOG_ENDPOINT, .key = (k), .endpoint = (v) }
/* v: a positive or negative errno; prints its text. */
#define L_ERRNO(v)       (struct log_field){ .kind = LOG_ERRNO, .key = "error", .i64 = (v) }

void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
bool log_level_parse(const char *text, enum log_level *ret);
void log_write(enum log_level level, const char *event, const struct log_field *fields);

#define LOG_AT(level, event, ...) \
	do { \
		if (log_enabled(level)) \
			log_write((level), (event), (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(,) { .kind = LOG_END } }); \
	} while (0)
#define log_debug(event, ...) LOG_AT(LOG_DEBUG, event __VA_OPT__(,) __VA_ARGS__)
#define log_info(event, ...)  LOG_AT(LOG_INFO, event __VA_OPT__(,) __VA_ARGS__)
#define log_warn(event, ...)  LOG_AT(LOG_WARN, event __VA_OPT__(,) __VA_ARGS__)
#define log_error(event, ...) LOG_AT(LOG_ERROR, event __VA_OPT__(,) __VA_ARGS__)
/* clang-format on */

/* For lines that a stranger or a fault could repeat without end: true at most `burst` times in each interval; the number that was kept
 * back since the last true comes out in *ret_suppressed. One limiter belongs to one thread. */
struct log_limit {
	uint64_t interval_ns, window_start_ns;
	uint32_t burst, used, suppressed;
};
bool log_limit_allow(struct log_limit *l, uint64_t now_ns, uint32_t *ret_suppressed);

#endif
