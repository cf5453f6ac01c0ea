/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/log.h"

#include "base/addr.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	LINE_BYTES = 4096,    /* PIPE_BUF: a line is never torn by another writer's where standard error is a pipe */
	TEXT_MAX_BYTES = 768, /* of one value, before escaping: the longest sentence that a module makes about a fault */
	TAIL_BYTES = 24,      /* room kept for " truncated=true" and the newline */
};

struct line {
	char bytes[LINE_BYTES];
	size_t len_bytes;
	bool is_cut;
};

static const char *const level_names[] = {
	[LOG_DEBUG] = "debug",
	[LOG_INFO] = "info",
	[LOG_WARN] = "warn",
	[LOG_ERROR] = "error",
};

static _Atomic int current_level = LOG_INFO;

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
	return (int)level >= atomic_load_explicit(&current_level, memory_order_relaxed);
}

bool log_level_parse(const char *text, enum log_level *ret)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*ret = (enum log_level)i;
			return true;
		}
	}
	return false;
}

static void put_bytes(struct line *l, const char *bytes, size_t len)
{
	if (l->is_cut || len > LINE_BYTES - TAIL_BYTES - l->len_bytes) {
		l->is_cut = true;
		return;
	}
	memcpy(l->bytes + l->len_bytes, bytes, len);
	l->len_bytes += len;
}

static void put_string(struct line *l, const char *s)
{
	put_bytes(l, s, strlen(s));
}

static bool is_bare(const char *text)
{
	if (*text == '\0')
		return false;
	for (size_t i = 0; text[i] != '\0'; i++) {
		if (i >= TEXT_MAX_BYTES || text[i] <= ' ' || text[i] >= 0x7f || strchr("\"=\\", text[i]))
			return false;
	}
	return true;
}

static void put_text(struct line *l, const char *text)
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	if (!text) {
		put_string(l, "-");
		return;
	}
	/* A lone dash is quoted, so that it is not taken for "no text". */
	if (is_bare(text) && strcmp(text, "-") != 0) {
		put_string(l, text);
		return;
	}
	put_string(l, "\"");
	for (i = 0; text[i] != '\0' && i < TEXT_MAX_BYTES; i++) {
		unsigned char c = (unsigned char)text[i];
		char escaped[4] = { '\\', 'x', digits[c >> 4], digits[c & 15] };

		if (c == '"' || c == '\\')
			put_bytes(l, (const char[]){ '\\', (char)c }, 2);
		else if (c < ' ' || c >= 0x7f)
			put_bytes(l, escaped, sizeof(escaped));
		else
			put_bytes(l, &text[i], 1);
	}
	put_string(l, text[i] != '\0' ? "...\"" : "\"");
}

static void put_value(struct line *l, const struct log_field *f)
{
	char text[ENDPOINT_TEXT_BYTES];
	const char *description;
	int64_t error;

	switch (f->kind) {
	case LOG_END:
		break;
	case LOG_TEXT:
		put_text(l, f->text);
		break;
	case LOG_U64:
		(void)snprintf(text, sizeof(text), "%" PRIu64, f->u64);
		put_string(l, text);
		break;
	case LOG_I64:
		(void)snprintf(text, sizeof(text), "%" PRId64, f->i64);
		put_string(l, text);
		break;
	case LOG_HEX:
		(void)snprintf(text, sizeof(text), "0x%" PRIx64, f->u64);
		put_string(l, text);
		break;
	case LOG_ADDR:
		put_string(l, f->addr ? addr_print(f->addr, text) : "-");
		break;
	case LOG_ENDPOINT:
		put_string(l, f->endpoint ? endpoint_print(f->endpoint, text) : "-");
		break;
	case LOG_ERRNO:
		error = f->i64 < 0 ? -f->i64 : f->i64;
		description = error <= INT32_MAX ? strerrordesc_np((int)error) : NULL;
		(void)snprintf(text, sizeof(text), "error %" PRId64, error);
		put_text(l, description ? description : text);
		break;
	}
}

static void put_time(struct line *l)
{
	struct timespec now;
	struct tm utc;
	char text[40];
	size_t len;

	if (clock_gettime(CLOCK_REALTIME, &now) != 0 || !gmtime_r(&now.tv_sec, &utc))
		return;
	len = strftime(text, sizeof(text), "time=%Y-%m-%dT%H:%M:%S", &utc);
	put_bytes(l, text, len);
	(void)snprintf(text, sizeof(text), ".%03dZ ", (int)(now.tv_nsec / 1000000));
	put_string(l, text);
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
	int saved_errno = errno;
	struct line l;
	ssize_t written;

	l.len_bytes = 0;
	l.is_cut = false;
	put_time(&l);
	put_string(&l, "level=");
	put_string(&l, level_names[level]);
	put_string(&l, " event=");
	put_text(&l, event);
	for (const struct log_field *f = fields; f->kind != LOG_END; f++) {
		size_t before = l.len_bytes;

		put_string(&l, " ");
		put_string(&l, f->key);
		put_string(&l, "=");
		put_value(&l, f);
		if (l.is_cut) {
			l.len_bytes = before;
			break;
		}
	}
	if (l.is_cut) {
		static const char mark[] = " truncated=true";

		memcpy(l.bytes + l.len_bytes, mark, sizeof(mark) - 1);
		l.len_bytes += sizeof(mark) - 1;
	}
	l.bytes[l.len_bytes++] = '\n';
	do
		written = write(STDERR_FILENO, l.bytes, l.len_bytes);
	while (written < 0 && errno == EINTR);
	errno = saved_errno;
}

bool log_limit_allow(struct log_limit *l, uint64_t now_ns, uint32_t *ret_suppressed)
{
	/* A window that was never begun begins with the first line, whatever the clock's zero is. */
	if (l->used == 0 || now_ns - l->window_start_ns >= l->interval_ns) {
		l->window_start_ns = now_ns;
		l->used = 0;
	}
	if (l->used >= l->burst) {
		if (l->suppressed < UINT32_MAX)
			l->suppressed++;
		return false;
	}
	l->used++;
	*ret_suppressed = l->suppressed;
	l->suppressed = 0;
	return true;
}
