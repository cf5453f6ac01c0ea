/* SPDX-License-Identifier: GPL-3.0-or-later */
/* wire.h - protobuf's wire format, as far as the envelopes around objects need it: one field after the other, nothing copied.
 * Plain functions; any thread. */
#ifndef CULVERT_KUBE_WIRE_H
#define CULVERT_KUBE_WIRE_H

#include <stddef.h>
#include <stdint.h>

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };
enum { WIRE_VARINT_MAX = 10 }; /* bytes of a 64-bit varint */

struct wire_field {
	uint32_t number; /* 1.. */
	enum wire_type type;
	uint64_t value;       /* of WIRE_VARINT */
	const uint8_t *bytes; /* of WIRE_BYTES; borrowed */
	size_t len_bytes;
};

/* Reads the field at *at. Returns 1 and moves *at behind it; 0 at end; -EBADMSG where it is cut, lies about its length or has no known
 * type. */
int wire_next(const uint8_t **at, const uint8_t *end, struct wire_field *ret);

#endif
