/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/base64.h"

#include <errno.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encode(const void *bytes, size_t len_bytes, char *ret_text)
{
	const uint8_t *p = bytes;
	size_t n = 0;

	for (size_t i = 0; i < len_bytes; i += 3) {
		size_t left = len_bytes - i;
		uint32_t group = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);

		ret_text[n++] = alphabet[group >> 18];
		ret_text[n++] = alphabet[group >> 12 & 63];
		ret_text[n++] = left > 1 ? alphabet[group >> 6 & 63] : '=';
		ret_text[n++] = left > 2 ? alphabet[group & 63] : '=';
	}
	ret_text[n] = '\0';
	return n;
}

int base64_decode(const char *text, size_t len_bytes, uint8_t *ret_bytes, size_t *ret_len_bytes)
{
	unsigned digits = 0, padding = 0;
	uint32_t group = 0;
	size_t n = 0;

	for (size_t i = 0; i < len_bytes; i++) {
		const char *digit;

		if (text[i] == '\n' || text[i] == '\r' || text[i] == ' ' || text[i] == '\t')
			continue;
		if (text[i] == '=') {
			padding++;
			continue;
		}
		digit = text[i] ? strchr(alphabet, text[i]) : NULL;
		if (!digit || padding > 0)
			return -EINVAL;
		group = group << 6 | (uint32_t)(digit - alphabet);
		if (++digits % 4 == 0) {
			ret_bytes[n++] = (uint8_t)(group >> 16);
			ret_bytes[n++] = (uint8_t)(group >> 8);
			ret_bytes[n++] = (uint8_t)group;
		}
	}
	if (digits % 4 == 1 || padding > 2 || (digits + padding) % 4 != 0)
		return -EINVAL;
	if (digits % 4 == 2)
		ret_bytes[n++] = (uint8_t)(group >> 4);
	if (digits % 4 == 3) {
		ret_bytes[n++] = (uint8_t)(group >> 10);
		ret_bytes[n++] = (uint8_t)(group >> 2);
	}
	ret_bytes[n] = '\0';
	*ret_len_bytes = n;
	return 0;
}
