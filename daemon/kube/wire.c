/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/wire.h"

#include <errno.h>

static int get_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < WIRE_VARINT_MAX && *at < end; i++) {
		uint8_t byte = *(*at)++;

		value |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (!(byte & 0x80)) {
			*ret = value;
			return 0;
		}
	}
	return -EBADMSG;
}

static int skip(const uint8_t **at, const uint8_t *end, uint64_t len_bytes)
{
	if (len_bytes > (uint64_t)(end - *at))
		return -EBADMSG;
	*at += len_bytes;
	return 0;
}

int wire_next(const uint8_t **at, const uint8_t *end, struct wire_field *ret)
{
	struct wire_field f = { 0 };
	uint64_t tag, len;

	if (*at == end)
		return 0;
	if (get_varint(at, end, &tag) < 0 || tag >> 3 == 0 || tag >> 3 > UINT32_MAX >> 3)
		return -EBADMSG;
	f.number = (uint32_t)(tag >> 3);
	f.type = (enum wire_type)(tag & 7);
	switch (tag & 7) {
	case WIRE_VARINT:
		if (get_varint(at, end, &f.value) < 0)
			return -EBADMSG;
		break;
	case WIRE_64:
		if (skip(at, end, 8) < 0)
			return -EBADMSG;
		break;
	case WIRE_32:
		if (skip(at, end, 4) < 0)
			return -EBADMSG;
		break;
	case WIRE_BYTES:
		if (get_varint(at, end, &len) < 0)
			return -EBADMSG;
		f.bytes = *at;
		f.len_bytes = (size_t)len;
		if (skip(at, end, len) < 0)
			return -EBADMSG;
		break;
	default:
		return -EBADMSG;
	}
	*ret = f;
	return 1;
}
