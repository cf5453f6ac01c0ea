/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { QUOTE_MAX_BYTES = 80, DISTANCE_MAX_BYTES = 64, SUBDOMAIN_MAX_BYTES = 253 };

const char *text_quote(const char *text, char ret[TEXT_QUOTE_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	char *out = ret;
	size_t i;

	*out++ = '"';
	for (i = 0; text[i] != '\0' && i < QUOTE_MAX_BYTES; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c >= ' ' && c < 0x7f) {
			*out++ = (char)c;
			continue;
		}
		*out++ = '\\';
		*out++ = 'x';
		*out++ = digits[c >> 4];
		*out++ = digits[c & 15];
	}
	if (text[i] != '\0') {
		memcpy(out, "...", 3);
		out += 3;
	}
	*out++ = '"';
	*out = '\0';
	return ret;
}

int text_parse_u64(const char *text, uint64_t *ret)
{
	uint64_t value = 0;

	if (*text == '\0')
		return -EINVAL;
	for (const char *p = text; *p != '\0'; p++) {
		if (*p < '0' || *p > '9')
			return -EINVAL;
	}
	for (; *text != '\0'; text++) {
		if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return -ERANGE;
	}
	*ret = value;
	return 0;
}

static bool is_small_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool text_is_subdomain(const char *text)
{
	size_t len = strnlen(text, SUBDOMAIN_MAX_BYTES + 1);

	if (len == 0 || len > SUBDOMAIN_MAX_BYTES)
		return false;
	for (size_t i = 0; i < len; i++) {
		bool is_edge = i == 0 || i == len - 1 || text[i - 1] == '.' || text[i + 1] == '.';

		if (!is_small_alnum(text[i]) && (is_edge || (text[i] != '-' && text[i] != '.')))
			return false;
	}
	return true;
}

bool text_is_signer(const char *text)
{
	const char *slash = strchr(text, '/');
	char domain[SUBDOMAIN_MAX_BYTES + 1];

	if (!slash || (size_t)(slash - text) >= sizeof(domain))
		return false;
	memcpy(domain, text, (size_t)(slash - text));
	domain[slash - text] = '\0';
	return text_is_subdomain(domain) && strchr(domain, '.') && text_is_subdomain(slash + 1);
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned least = a < b ? a : b;

	return least < c ? least : c;
}

void text_percent(const char *text, char *ret, size_t size)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~";
	size_t n = 0;

	for (; *text && n + 4 <= size; text++) {
		if (strchr(plain, *text))
			ret[n++] = *text;
		else
			n += (size_t)snprintf(ret + n, size - n, "%%%02X", (unsigned char)*text);
	}
	ret[n] = '\0';
}

unsigned text_distance(const char *a, const char *b)
{
	/* Rows of the matrix of Damerau and Levenshtein: two before, one before, this one. */
	unsigned rows[3][DISTANCE_MAX_BYTES + 1];
	size_t a_len = strlen(a), b_len = strlen(b);

	if (a_len > DISTANCE_MAX_BYTES || b_len > DISTANCE_MAX_BYTES)
		return (unsigned)(a_len > b_len ? a_len : b_len);
	for (size_t j = 0; j <= b_len; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned *row = rows[i % 3], *before = rows[(i + 2) % 3], *before2 = rows[(i + 1) % 3];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			row[j] = min3(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before2[j - 2] + 1 < row[j])
				row[j] = before2[j - 2] + 1;
		}
	}
	return rows[a_len % 3][b_len];
}

const char *text_nearest(const char *word, const char *const *words, size_t count)
{
	/* About one slip in three letters; more is another word. */
	unsigned best = (unsigned)(strlen(word) / 3 + 1);
	const char *nearest = NULL;

	for (size_t i = 0; i < count; i++) {
		unsigned distance = text_distance(word, words[i]);

		if (distance < best || (distance == best && !nearest)) {
			best = distance;
			nearest = words[i];
		}
	}
	return nearest;
}
