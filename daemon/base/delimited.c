/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/delimited.h"

#include <errno.h>

int delimited_get(const uint8_t *bytes, size_t len_bytes, uint32_t *ret_message_bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < DELIMITED_HEAD_MAX; i++) {
		if (i == len_bytes)
			return 0;
		value |= (uint64_t)(bytes[i] & 0x7f) << (7 * i);
		if (bytes[i] & 0x80)
			continue;
		if (value > UINT32_MAX)
			return -EBADMSG;
		*ret_message_bytes = (uint32_t)value;
		return (int)i + 1;
	}
	return -EBADMSG;
}

size_t delimited_put(uint8_t dst[DELIMITED_HEAD_MAX], uint32_t message_bytes)
{
	size_t len_bytes = 0;

	while (message_bytes >= 0x80) {
		dst[len_bytes++] = (uint8_t)(message_bytes | 0x80);
		message_bytes >>= 7;
	}
	dst[len_bytes++] = (uint8_t)message_bytes;
	return len_bytes;
}
